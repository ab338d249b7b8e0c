"""How far apart domains are, from their thumbnails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from translate.data.overlap import (
    APART,
    CHANCE,
    OWN,
    differ_in_kind,
    domain_gap,
    lie_apart,
    match_colours,
    own_neighbours,
)
from translate.io.images import UInt8
from translate.metrics.lpips import Perceptual


def textures(seed: int, count: int = 12) -> UInt8:
    """Noise, each picture up to a brightness of its own: (count, 64, 64, 3)."""
    rng = np.random.default_rng(seed)
    ceilings = rng.integers(1, 256, (count, 1, 1, 1))
    return (rng.random((count, 64, 64, 3)) * ceilings).astype(np.uint8)


def squares(seed: int, count: int = 12) -> UInt8:
    """Bright squares of 8 x 8 pixels: (count, 64, 64, 3)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(200, 256, (count, 8, 8, 3), dtype=np.uint8)
    return pixels.repeat(8, axis=1).repeat(8, axis=2)


@pytest.mark.parametrize("seed", range(4))
def test_two_samples_of_one_domain_are_no_distance_apart(seed: int) -> None:
    samples = [textures(2 * seed), textures(2 * seed + 1)]
    gap = domain_gap(samples)
    assert abs(gap.value) < 3 * gap.error
    assert not lie_apart(samples)


def test_domains_that_share_no_picture_lie_apart() -> None:
    assert lie_apart([textures(0), squares(1)])


def test_of_three_domains_the_pair_that_is_furthest_counts() -> None:
    alike = [textures(0), textures(1)]
    odd = squares(2)
    assert not lie_apart(alike)
    assert lie_apart([*alike, odd])
    assert domain_gap([*alike, odd]).value >= domain_gap([alike[0], odd]).value


def test_the_nearer_of_both_directions_counts() -> None:
    varied = textures(0)
    flat = np.full_like(varied, 255)
    assert domain_gap([varied, flat]).value == domain_gap([flat, varied]).value


def test_of_a_single_picture_no_distance_is_known() -> None:
    assert not lie_apart([textures(0, count=1), squares(1)])


def features(seed: int, count: int = 200, shift: float = 0.0) -> Tensor:
    drawn = torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    return drawn + shift * torch.eye(16)[0]


def test_every_second_neighbour_is_of_its_own_domain_where_both_are_one() -> None:
    shares = [own_neighbours(features(2 * seed), features(2 * seed + 1)) for seed in range(10)]
    assert abs(sum(shares) / 10 - 0.5) < 3 * 0.5 / (400 * 10) ** 0.5 + 0.01


def test_all_neighbours_are_of_their_own_domain_where_directions_never_mix() -> None:
    assert own_neighbours(features(0, shift=50.0), features(1, shift=-50.0)) == 1.0
    # as many of each are taken, so that the larger one is no nearer by its number alone
    assert own_neighbours(features(0, 20), features(1, 2000)) < 0.8


def test_neighbours_by_direction_not_by_length() -> None:
    x = torch.tensor([[1.0, 0.0], [9.0, 0.3]])
    y = torch.tensor([[0.1, 1.0], [0.0, 5.0]])
    assert own_neighbours(x, y) == 1.0
    assert own_neighbours(torch.cat([x[:1], y[:1]]), torch.cat([x[1:], y[1:]])) == 0.0


def test_domains_of_another_kind_are_told_by_what_they_show(lpips_weights: Path) -> None:
    """Stripes across and along have the same colours and mix in no feature of an image network."""
    network = Perceptual.load("alex", lpips_weights)
    across = stripes(0)
    along = stripes(1).transpose(0, 2, 1, 3).copy()
    assert not lie_apart([across, stripes(2)])
    assert not differ_in_kind([across, stripes(2)], network)
    assert differ_in_kind([across, along], network)


def stripes(seed: int, count: int = 50) -> UInt8:
    """Stripes of any colour, width and place, across: (count, 64, 64, 3)."""
    rng = np.random.default_rng(seed)
    period = rng.uniform(6, 24, (count, 1, 1, 1))
    phase = rng.uniform(0, 1, (count, 1, 1, 1))
    rows = np.arange(64)[None, :, None, None] / period + phase
    colour = rng.uniform(0, 255, (count, 1, 1, 3))
    return (colour * (0.5 + 0.5 * np.sin(2 * np.pi * rows)) * np.ones((1, 1, 64, 1))).astype(
        np.uint8
    )


def night(pictures: UInt8) -> UInt8:
    """The same in dark blue: (count, 64, 64, 3)."""
    return (pictures * np.array([0.1, 0.15, 0.3])).astype(np.uint8)


def test_domains_that_differ_in_their_colours_alone_do_not_lie_apart() -> None:
    day = np.maximum(stripes(0), 60)
    samples = [night(day), np.maximum(stripes(1), 60)]
    gap = domain_gap(samples)
    assert gap.value - CHANCE * gap.error > APART
    assert not lie_apart(samples)


def test_things_are_of_the_same_kind_in_any_colours(lpips_weights: Path) -> None:
    network = Perceptual.load("alex", lpips_weights)
    x, y = night(stripes(0)), stripes(2)
    dark, light = (network.features(torch.from_numpy(pictures)) for pictures in (x, y))
    assert own_neighbours(dark, light) > OWN
    assert not differ_in_kind([x, y], network)


def test_matched_domains_have_one_mean_and_deviation() -> None:
    x, y = match_colours([night(stripes(0)), stripes(1)])
    assert np.allclose(x.mean((0, 1, 2)), y.mean((0, 1, 2)), atol=3)
    assert np.allclose(x.std((0, 1, 2)), y.std((0, 1, 2)), atol=3)


def test_colours_that_match_already_stay_and_flat_pictures_stay_flat() -> None:
    x = stripes(0)
    for same in match_colours([x, x]):
        assert (same == x).all()
    flat = np.full_like(x, 255)
    assert np.ptp(match_colours([x, flat])[1], axis=(0, 1, 2)).max() == 0
