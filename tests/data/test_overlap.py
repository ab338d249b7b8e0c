"""How far apart domains are, from their thumbnails."""

from __future__ import annotations

import numpy as np
import pytest

from translate.data.overlap import domain_gap, lie_apart
from translate.io.images import UInt8


def textures(seed: int, low: int = 0, count: int = 12) -> UInt8:
    """Noise, each picture up to a brightness of its own above `low`: (count, 64, 64, 3)."""
    rng = np.random.default_rng(seed)
    ceilings = rng.integers(low + 1, 256, (count, 1, 1, 1))
    shape = (count, 64, 64, 3)
    return (low + rng.random(shape) * (ceilings - low)).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_two_samples_of_one_domain_are_no_distance_apart(seed: int) -> None:
    samples = [textures(2 * seed), textures(2 * seed + 1)]
    gap = domain_gap(samples)
    assert abs(gap.value) < 3 * gap.error
    assert not lie_apart(samples)


def test_domains_that_share_no_picture_lie_apart() -> None:
    assert lie_apart([textures(0), textures(1, low=250)])


def test_of_three_domains_the_pair_that_is_furthest_counts() -> None:
    alike = [textures(0), textures(1)]
    odd = textures(2, low=250)
    assert not lie_apart(alike)
    assert lie_apart([*alike, odd])
    assert domain_gap([*alike, odd]).value >= domain_gap([alike[0], odd]).value


def test_the_nearer_of_both_directions_counts() -> None:
    varied = textures(0)
    flat = np.full_like(varied, 255)
    assert domain_gap([varied, flat]).value == domain_gap([flat, varied]).value


def test_of_a_single_picture_no_distance_is_known() -> None:
    assert not lie_apart([textures(0, count=1), textures(1, low=250)])
