"""The metrics against closed forms, scikit-image and plain transcriptions of their papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor

from tests._helpers.folders import noise as images
from translate.metrics import distribution
from translate.metrics.distribution import KID_SUBSETS, fid, kernel_distance, kid, scaled
from translate.metrics.image import check_images, l1, ssim
from translate.metrics.registry import DIRECTION, METRICS
from translate.metrics.statistics import bootstrap_interval

# L1 and SSIM


def test_l1_closed_forms() -> None:
    x = images(3)
    black, white = torch.zeros_like(x), torch.full_like(x, 255)
    assert l1(x, x).tolist() == [0, 0, 0]
    assert l1(black, white).tolist() == [1, 1, 1]
    assert torch.equal(l1(x, white), l1(white, x))
    assert l1(x, x + 5).tolist() == pytest.approx([5 / 255] * 3, rel=1e-6)  # uint8 differences must not wrap round
    assert l1(x + 5, x).tolist() == pytest.approx([5 / 255] * 3, rel=1e-6)


def test_ssim_closed_forms() -> None:
    x = images(2)
    black, white = torch.zeros_like(x), torch.full_like(x, 255)
    assert ssim(x, x).tolist() == [1, 1]
    assert ssim(black, white).tolist() == pytest.approx(
        [1e-4 / (1 + 1e-4)] * 2, rel=1e-3
    )  # only the constants are left
    assert torch.equal(ssim(x, black), ssim(black, x))
    a, b = 250 / 255, 249 / 255  # flat and bright: only the luminance differs, to seven digits
    flat = ssim(torch.full_like(x, 250), torch.full_like(x, 249)).tolist()
    assert flat == pytest.approx([(2 * a * b + 1e-4) / (a * a + b * b + 1e-4)] * 2, abs=1e-7)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [11, 48])
def test_ssim_agrees_with_scikit_image(channels: int, side: int) -> None:
    x, y = images(3, side, channels), images(3, side, channels, seed=1)
    y[2] = (x[2].int() + 9).to(torch.uint8)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    for ours, a, b in zip(ssim(x, y).tolist(), x.numpy() / 255, y.numpy() / 255, strict=True):
        _, full = structural_similarity(a.mean(2), b.mean(2), full=True, **wang)  # type: ignore[no-untyped-call]
        assert ours == pytest.approx(full[5 : side - 5, 5 : side - 5].mean(), abs=1e-6)


@given(st.integers(11, 20), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_bounds_and_symmetry(side: int, channels: int, seed: int) -> None:
    x, y = (
        torch.from_numpy(np.random.default_rng([seed, i]).integers(0, 256, (2, side, side, channels), np.uint8))
        for i in range(2)
    )
    for measure, lowest in ((l1, 0), (ssim, -1)):
        assert torch.equal(measure(x, y), measure(y, x)) and ((measure(x, y) >= lowest) & (measure(x, y) <= 1)).all()
    assert torch.equal(l1(x, y), l1(255 - x, 255 - y)), "negatives differ as much"


def test_batches_do_not_matter() -> None:
    x, y = images(70, 16), images(70, 16, seed=1)
    for measure in (l1, ssim):
        one_by_one = torch.cat([measure(x[i : i + 1], y[i : i + 1]) for i in range(70)])
        torch.testing.assert_close(measure(x, y), one_by_one, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        images(2).float() / 255,
        images(2).to(torch.int16),
        images(2)[0],
        images(2).permute(0, 3, 1, 2),
        torch.zeros(2, 32, 32, 4, dtype=torch.uint8),
        images(2)[:0],
        images(2).numpy(),
        None,
    ],
    ids=["float", "int16", "HWC", "NCHW", "RGBA", "empty", "numpy", "None"],
)
def test_what_is_no_image_is_refused(bad: Tensor) -> None:
    for arguments in ((bad, images(2)), (images(2), bad)):
        for measure in (l1, ssim, check_images):
            with pytest.raises(ValueError, match=r"expected a torch.uint8 tensor \(N, H, W, C\).*, got ."):
                measure(*arguments)


def test_stacks_must_agree_and_ssim_needs_eleven_pixels() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2, 32, 32, 3\) and \(3, 32, 32, 3\)"):
        l1(images(2), images(3))
    with pytest.raises(ValueError, match="one shape"):
        ssim(images(2), images(2, channels=1))
    with pytest.raises(ValueError, match="at least 11 px a side, got 10 x 32"):
        ssim(images(2)[:, :10], images(2)[:, :10])


# Distances of sets


def features(n: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(seed)) + shift


def test_kernel_distance_by_hand() -> None:
    fx, fy = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [2.0]])
    within_x = (1 * 2 + 1) ** 3
    within_y = (0 * 2 + 1) ** 3
    across = ((0 + 1) ** 3 + (1 * 2 + 1) ** 3 + (0 + 1) ** 3 + (2 * 2 + 1) ** 3) / 4
    assert kernel_distance(fx, fy) == pytest.approx(within_x + within_y - 2 * across, rel=1e-6)
    units = [z / fy.std() for z in (fx, fy)]
    assert kernel_distance(*scaled(fx, fy)) == pytest.approx(kernel_distance(*units), rel=1e-6)


def test_kernel_distance_separates() -> None:
    same, near, far = (kernel_distance(features(300, 1, shift), features(400, 2)) for shift in (0.0, 0.3, 1.0))
    assert abs(same) < 0.02 < near < far
    assert kernel_distance(features(300, 1), features(400, 2)) == same
    # a common unit of both sets does not matter once they are scaled
    one, seven = (kernel_distance(*scaled(k * features(300, 1, 1.0), k * features(400, 2))) for k in (1, 7))
    assert one == pytest.approx(seven, rel=1e-5)


def plain_mmd(x: Tensor, y: Tensor) -> float:
    """Binkowski et al. 2018, equation 4, pair by pair."""

    def k(a: Tensor, b: Tensor) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kid_agrees_with_a_plain_one() -> None:
    fx, fy = features(16, 1, 0.5).double(), features(13, 2).double()
    found, rng = kid(fx, fy, seed=3), np.random.RandomState(3)
    drawn = [
        plain_mmd(fx[rng.choice(16, 6, replace=False)], fy[rng.choice(13, 6, replace=False)])
        for _ in range(KID_SUBSETS)
    ]
    assert found.subset == 6
    assert found.value == pytest.approx(np.mean(drawn), abs=1e-10)
    assert found.high - found.value == pytest.approx(1.96 * np.std(drawn) * (6 / 7) ** 0.5, abs=1e-10)
    standard_error = np.std(drawn) / KID_SUBSETS**0.5
    assert abs(found.value - plain_mmd(fx, fy)) < 5 * standard_error


def test_kid_of_two_points() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 3.0])
    found = kid(a.repeat(8, 1), b.repeat(9, 1))
    expected = (5 / 2 + 1) ** 3 + (9 / 2 + 1) ** 3 - 2 * (6 / 2 + 1) ** 3
    assert (found.value, found.low, found.high) == pytest.approx((expected,) * 3)


def test_kids_subset_follows_the_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "KID_SUBSETS", 2)
    for n, m, subset in ((4, 9, 2), (500, 317, 158), (2400, 2100, 1000)):
        assert kid(features(n, 0), features(m, 1)).subset == subset


@pytest.mark.parametrize("measure", [kid, fid])
def test_intervals_of_sets_are_as_wide_as_other_images_would_move_them(measure: Any) -> None:
    drawn = torch.tensor([measure(features(100, 2 * s, 0.5), features(100, 2 * s + 1)).value for s in range(60)])
    found = [measure(features(100, 2 * s, 0.5), features(100, 2 * s + 1)) for s in range(8)]
    assert all(x.low < x.value < x.high for x in found)
    width = np.mean([x.high - x.low for x in found])
    assert width == pytest.approx(2 * 1.96 * drawn.std().item(), rel=0.35)  # of 60 draws the spread is 9 % off
    assert measure(features(50, 0), features(50, 1), seed=1) == measure(features(50, 0), features(50, 1), seed=1)
    assert measure(features(50, 0), features(50, 1), seed=1).low != measure(features(50, 0), features(50, 1)).low


def test_fid_closed_forms() -> None:
    x = features(200, 0).double()
    offset = torch.arange(16) / 10.0
    assert fid(x, x).value == pytest.approx(0, abs=1e-6)
    assert fid(x + offset, x).value == pytest.approx((offset**2).sum().item(), rel=1e-6)
    doubled = x.mean(0).square().sum() + torch.cov(x.T).trace()  # means m and 2 m, covariances S and 4 S
    assert fid(2 * x, x).value == pytest.approx(doubled.item(), rel=1e-6)


def test_fid_agrees_with_a_symmetric_root() -> None:
    x, y = features(150, 0).double(), features(120, 1, 0.2).double() @ torch.linspace(0.5, 2, 16).double().diag()
    a, b = torch.cov(x.T), torch.cov(y.T)
    values, vectors = torch.linalg.eigh(a)
    root = vectors @ values.sqrt().diag() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).sqrt().sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * cross
    assert fid(x, y).value == pytest.approx(expected.item(), rel=1e-9)


def test_distances_of_sets_refuse() -> None:
    with pytest.raises(ValueError, match="at least 2 images are needed on each side, got 1 and 5"):
        kernel_distance(features(1, 0), features(5, 0))
    for measure in (kid, fid):
        with pytest.raises(ValueError, match="at least 4 images are needed on each side, got 5 and 3"):
            measure(features(5, 0), features(3, 0))
    for any_of in (kernel_distance, kid, fid, scaled):
        with pytest.raises(ValueError, match=r"got \(5, 16\) and \(5, 15\)"):
            any_of(features(5, 0), features(5, 0)[:, 1:])
    with pytest.raises(ValueError, match="no spread"):
        scaled(features(5, 0), torch.ones(5, 16))


# Bootstrap


def test_bootstrap_closed_forms() -> None:
    assert bootstrap_interval(torch.tensor([0.25])) == (0.25, 0.25)
    assert bootstrap_interval(torch.full((9,), 0.3)) == pytest.approx((0.3, 0.3))
    low, high = bootstrap_interval(torch.tensor([0.0, 1.0]), resamples=4000)  # means 0, 1/2, 1 with 1/4, 1/2, 1/4
    assert (low, high) == (0, 1)
    assert bootstrap_interval(torch.tensor([0.0, 1.0]), level=0.4, resamples=4000) == (0.5, 0.5)


def test_bootstrap_depends_on_its_seed_alone() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    first = bootstrap_interval(values)
    torch.rand(7)  # the global stream is of no concern
    assert bootstrap_interval(values) == first
    assert bootstrap_interval(values, seed=1) != first


def test_bootstrap_width_and_coverage() -> None:
    trials = torch.randn(200, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bounds = torch.tensor([bootstrap_interval(values, resamples=500) for values in trials])
    covered = ((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)).float().mean().item()
    assert 0.87 <= covered <= 0.99  # 0.95 less the bootstrap's small-sample bias, four standard errors of 200 trials
    width = (bounds[:, 1] - bounds[:, 0]).mean().item()
    assert width == pytest.approx(2 * 1.96 / 40**0.5, rel=0.1)


@pytest.mark.parametrize("arguments", [{"level": 0.0}, {"level": 1.0}, {"level": 95}, {"resamples": 0}])
def test_bootstrap_refuses(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="level between 0 and 1"):
        bootstrap_interval(torch.ones(3), **arguments)
    with pytest.raises(ValueError, match="N >= 1"):
        bootstrap_interval(torch.ones(0))
    with pytest.raises(ValueError, match=r"got \(2, 2\)"):
        bootstrap_interval(torch.ones(2, 2))


def test_every_metric_has_a_direction() -> None:
    paired = {"lpips_paired", "l1", "ssim", "reconstruction_l1"}
    lpips = {f"lpips_{x}" for x in ("source", "reconstruction", "cycle", "diversity")}
    sets = {name + of for name in ("kid", "fid") for of in ("", "_alex", "_vgg", "_squeeze")}
    assert set(DIRECTION) == paired | lpips | sets
    assert {name for name, better in DIRECTION.items() if better == "higher"} == {"ssim", "lpips_diversity"}
    assert all(metric.meaning and metric.range for metric in METRICS.values())
    assert all("Inception" in METRICS[name].meaning for name in ("kid", "fid"))
    assert "AlexNet" in METRICS["kid_alex"].meaning
