"""Domain affines measure position, extent and slant; relative affines invert each other."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from translate.models.alignment import UNIFORM_AFFINE, affine_flow, domain_affine, relative_affine

SCALE = st.floats(0.5, 1.5)


def spot(
    x: float, y: float, wide: float, high: float, slant: float = 0.0, size: int = 64
) -> Tensor:
    """A Gaussian spot on white; mean and deviations in fractions of the image, `slant` is dx/dy."""
    p = (torch.arange(size) + 0.5) / size
    rows, columns = torch.meshgrid(p, p, indexing="ij")
    columns = columns - slant * (rows - y)
    return (
        1 - torch.exp(-0.5 * (((columns - x) / wide) ** 2 + ((rows - y) / high) ** 2))[None, None]
    )


@pytest.mark.parametrize(
    ("x", "y", "wide", "high", "slant"), [(0.5, 0.5, 0.1, 0.1, 0.0), (0.4, 0.55, 0.08, 0.12, 0.3)]
)
def test_the_affine_of_a_spot_is_its_mean_and_extent(
    x: float, y: float, wide: float, high: float, slant: float
) -> None:
    found = domain_affine(spot(x, y, wide, high, slant))
    torch.testing.assert_close(
        found, torch.tensor([[wide, slant * high, x], [0.0, high, y]]), atol=2e-3, rtol=0
    )


@pytest.mark.parametrize(
    "change", [lambda x: -x, lambda x: 40 + 100 * x, lambda x: x.repeat(3, 3, 1, 1)]
)
def test_colours_and_numbers_of_images_do_not_matter(change: object) -> None:
    x = spot(0.4, 0.55, 0.08, 0.12, 0.3)
    torch.testing.assert_close(domain_affine(change(x)), domain_affine(x), atol=1e-5, rtol=0)  # type: ignore[operator]


def test_a_uniform_image_has_the_uniform_affine() -> None:
    assert torch.equal(
        domain_affine(torch.full((3, 1, 8, 8), 7, dtype=torch.uint8)), torch.tensor(UNIFORM_AFFINE)
    )
    noise = torch.rand(400, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        domain_affine(noise), torch.tensor(UNIFORM_AFFINE), atol=1e-2, rtol=0
    )


def test_images_are_measured_in_batches_with_the_same_outcome() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(100, 3, 24, 24, generator=generator) * spot(0.4, 0.55, 0.1, 0.2, size=24)
    x = images
    border = torch.cat([x[:, :, [0, -1]].flatten(2), x[:, :, :, [0, -1]].flatten(2)], dim=2)
    weight = (x - border.median(dim=2).values[:, :, None, None]).abs().mean((0, 1)).double()
    p = (torch.arange(24, dtype=torch.float64) + 0.5) / 24
    mean = torch.stack([(weight.sum(0) * p).sum(), (weight.sum(1) * p).sum()]) / weight.sum()
    torch.testing.assert_close(domain_affine(images)[:, 2], mean.float(), atol=1e-6, rtol=0)
    sizes: list[int] = []

    class Watched(torch.Tensor):
        def float(self, *args: object, **kwargs: object) -> Tensor:
            sizes.append(len(self))
            return super().float()

    domain_affine(images.as_subclass(Watched))
    assert sizes[:-1] == [32, 32, 32, 4]  # the last is the affine itself


@given(
    st.lists(st.tuples(SCALE, st.floats(-0.5, 0.5), SCALE, SCALE, SCALE), min_size=2, max_size=2)
)
def test_relative_affines_invert_each_other(affines: list[tuple[float, ...]]) -> None:
    a, b = (torch.tensor([[[u, v, x], [0.0, w, y]]]) for u, v, w, x, y in affines)
    forth = relative_affine(a, b)
    back = relative_affine(b, a)
    q = torch.tensor([0.3, 0.9])
    p = forth[0, :, :2] @ q + forth[0, :, 2]
    torch.testing.assert_close(back[0, :, :2] @ p + back[0, :, 2], q, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(relative_affine(a, a), torch.eye(2, 3)[None], atol=1e-5, rtol=0)


def test_displacement_in_pixels_and_by_rows() -> None:
    theta = torch.tensor([[[1.0, 0.0, 0.25], [0.0, 1.0, -0.5]], [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    moved = affine_flow(theta, 6, 8)
    assert moved.shape == (2, 2, 6, 8)
    torch.testing.assert_close(moved[0, 0], torch.full((6, 8), 2.0))  # a quarter of the width
    torch.testing.assert_close(moved[0, 1], torch.full((6, 8), -3.0))  # half of the height
    torch.testing.assert_close(moved[1, 0, 0], torch.arange(8) + 0.5)
    torch.testing.assert_close(affine_flow(theta, 6, 8, 2, 5), moved[:, :, 2:5])
    assert affine_flow(torch.eye(2, 3)[None], 7, 5).abs().max() < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(affine_flow(theta, 6, 8), moved)
        assert relative_affine(theta, theta).dtype == torch.float32


def test_sampling_by_the_relative_affine_lays_one_domain_upon_the_other() -> None:
    a = spot(0.4, 0.55, 0.08, 0.12, 0.3)
    b = spot(0.55, 0.5, 0.12, 0.1)
    n = a.shape[-1]
    flow = affine_flow(relative_affine(domain_affine(a)[None], domain_affine(b)[None]), n, n)
    p = torch.arange(n) + 0.5
    grid = torch.stack([p + flow[0, 0], p[:, None] + flow[0, 1]], dim=-1)[None] * 2 / n - 1
    moved = F.grid_sample(a, grid, padding_mode="border", align_corners=False)
    assert (moved - b).abs().max() < 0.03 < (a - b).abs().max()
    assert math.isclose(float((moved - b).abs().mean()), 0, abs_tol=5e-3)
