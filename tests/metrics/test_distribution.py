"""Distances of sets against closed forms and plain transcriptions of their papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from translate.metrics import distribution
from translate.metrics.distribution import (
    KID_SUBSETS,
    error_of_difference,
    estimate_kernel_distance,
    fid,
    kernel_distance,
    kid,
    scaled,
)


def features(n: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(seed)) + shift


def test_kernel_distance_by_hand() -> None:
    fx = torch.tensor([[1.0], [2.0]])
    fy = torch.tensor([[0.0], [2.0]])
    within_x = (1 * 2 + 1) ** 3
    within_y = (0 * 2 + 1) ** 3
    across = ((0 + 1) ** 3 + (1 * 2 + 1) ** 3 + (0 + 1) ** 3 + (2 * 2 + 1) ** 3) / 4
    assert kernel_distance(fx, fy) == pytest.approx(within_x + within_y - 2 * across, rel=1e-6)
    units = [z / fy.std() for z in (fx, fy)]
    assert kernel_distance(*scaled(fx, fy)) == pytest.approx(kernel_distance(*units), rel=1e-6)


def test_kernel_distance_separates() -> None:
    same, near, far = (
        kernel_distance(features(300, 1, shift), features(400, 2)) for shift in (0.0, 0.3, 1.0)
    )
    assert abs(same) < 0.02 < near < far
    assert kernel_distance(features(300, 1), features(400, 2)) == same
    # a common unit of both sets does not matter once they are scaled
    one, seven = (
        kernel_distance(*scaled(k * features(300, 1, 1.0), k * features(400, 2))) for k in (1, 7)
    )
    assert one == pytest.approx(seven, rel=1e-5)


def plain_mmd(x: Tensor, y: Tensor) -> float:
    """Binkowski et al. 2018, equation 4, pair by pair."""

    def k(a: Tensor, b: Tensor) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n = len(x)
    m = len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kid_agrees_with_a_plain_one() -> None:
    fx = features(16, 1, 0.5).double()
    fy = features(13, 2).double()
    found = kid(fx, fy, seed=3)
    rng = np.random.RandomState(3)
    drawn = [
        plain_mmd(fx[rng.choice(16, 6, replace=False)], fy[rng.choice(13, 6, replace=False)])
        for _ in range(KID_SUBSETS)
    ]
    assert found.subset == 6
    assert found.value == pytest.approx(np.mean(drawn), abs=1e-10)
    assert found.high - found.value == pytest.approx(
        1.96 * np.std(drawn) * (6 / 7) ** 0.5, abs=1e-10
    )
    standard_error = np.std(drawn) / KID_SUBSETS**0.5
    assert abs(found.value - plain_mmd(fx, fy)) < 5 * standard_error


def test_kid_of_two_points() -> None:
    a = torch.tensor([1.0, 2.0])
    b = torch.tensor([0.0, 3.0])
    found = kid(a.repeat(8, 1), b.repeat(9, 1))
    expected = (5 / 2 + 1) ** 3 + (9 / 2 + 1) ** 3 - 2 * (6 / 2 + 1) ** 3
    assert (found.value, found.low, found.high) == pytest.approx((expected,) * 3)


def test_kids_subset_follows_the_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "KID_SUBSETS", 2)
    for n, m, subset in ((4, 9, 2), (500, 317, 158), (2400, 2100, 1000)):
        assert kid(features(n, 0), features(m, 1)).subset == subset


@pytest.mark.parametrize("measure", [kid, fid])
def test_intervals_of_sets_are_as_wide_as_other_images_would_move_them(measure: Any) -> None:
    drawn = torch.tensor(
        [measure(features(100, 2 * s, 0.5), features(100, 2 * s + 1)).value for s in range(60)]
    )
    found = [measure(features(100, 2 * s, 0.5), features(100, 2 * s + 1)) for s in range(8)]
    assert all(x.low < x.value < x.high for x in found)
    width = np.mean([x.high - x.low for x in found])
    # of 60 draws the spread is 9 % off
    assert width == pytest.approx(2 * 1.96 * drawn.std().item(), rel=0.35)
    assert measure(features(50, 0), features(50, 1), seed=1) == measure(
        features(50, 0), features(50, 1), seed=1
    )
    assert (
        measure(features(50, 0), features(50, 1), seed=1).low
        != measure(features(50, 0), features(50, 1)).low
    )


def test_fid_closed_forms() -> None:
    x = features(200, 0).double()
    offset = torch.arange(16) / 10.0
    assert fid(x, x).value == pytest.approx(0, abs=1e-6)
    assert fid(x + offset, x).value == pytest.approx((offset**2).sum().item(), rel=1e-6)
    # means m and 2 m, covariances S and 4 S
    doubled = x.mean(0).square().sum() + torch.cov(x.T).trace()
    assert fid(2 * x, x).value == pytest.approx(doubled.item(), rel=1e-6)


def test_fid_agrees_with_a_symmetric_root() -> None:
    x = features(150, 0).double()
    y = features(120, 1, 0.2).double() @ torch.linspace(0.5, 2, 16).double().diag()
    a = torch.cov(x.T)
    b = torch.cov(y.T)
    values, vectors = torch.linalg.eigh(a)
    root = vectors @ values.sqrt().diag() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).sqrt().sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * cross
    assert fid(x, y).value == pytest.approx(expected.item(), rel=1e-9)


def test_distances_of_sets_refuse() -> None:
    with pytest.raises(ValueError, match="at least 2 images are needed on each side, got 1 and 5"):
        kernel_distance(features(1, 0), features(5, 0))
    for measure in (kid, fid):
        with pytest.raises(
            ValueError, match="at least 4 images are needed on each side, got 5 and 3"
        ):
            measure(features(5, 0), features(3, 0))
    for any_of in (kernel_distance, kid, fid, scaled):
        with pytest.raises(ValueError, match=r"got \(5, 16\) and \(5, 15\)"):
            any_of(features(5, 0), features(5, 0)[:, 1:])
    with pytest.raises(ValueError, match="no variance"):
        scaled(features(5, 0), torch.ones(5, 16))


@pytest.mark.parametrize("n", [3, 20])
def test_the_error_is_the_jackknifes(n: int) -> None:
    """Every image left out in turn."""
    fx = features(n, 1, 0.3).double()
    fy = features(13, 2).double()
    without_x = [kernel_distance(fx[torch.arange(n) != i], fy) for i in range(n)]
    without_y = [kernel_distance(fx, fy[torch.arange(13) != i]) for i in range(13)]
    variances = [(len(found) - 1) * np.var(found) for found in (without_x, without_y)]
    found = estimate_kernel_distance(fx, fy)
    assert found.value == kernel_distance(fx, fy)
    assert found.error == pytest.approx(sum(variances) ** 0.5, rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_error_is_that_of_other_draws(shift: float) -> None:
    """Of sets of one distribution the jackknife takes up to root 2 times the error."""
    found = [
        estimate_kernel_distance(features(60, seed, shift), features(80, 1000 + seed))
        for seed in range(100)
    ]
    errors = [one.error for one in found]
    assert 0.85 < np.mean(errors) / np.std([one.value for one in found]) < 1.7


def test_the_error_of_a_difference_is_the_jackknifes() -> None:
    """Every image left out in turn, from both measured sets: row i of each belongs to image i."""
    n, m = 12, 9
    fx = features(n, 1, 0.3).double()
    fz = fx + 0.1 * features(n, 3).double()
    fy = features(m, 2).double()

    def difference(keep: torch.Tensor, of_target: torch.Tensor) -> float:
        target = fy[of_target]
        return kernel_distance(fx[keep], target) - kernel_distance(fz[keep], target)

    every = torch.ones(n, dtype=torch.bool), torch.ones(m, dtype=torch.bool)
    without_x = [difference(torch.arange(n) != i, every[1]) for i in range(n)]
    without_y = [difference(every[0], torch.arange(m) != i) for i in range(m)]
    variances = [(len(found) - 1) * np.var(found) for found in (without_x, without_y)]
    error = error_of_difference(fx, fz, fy)
    assert error == pytest.approx(sum(variances) ** 0.5, rel=1e-9)
    assert error < estimate_kernel_distance(fx, fy).error, "what both have in common cancels out"
    assert error_of_difference(fx, fx, fy) == 0


def test_the_error_of_two_images_is_a_number() -> None:
    assert np.isfinite(estimate_kernel_distance(features(2, 1), features(2, 2)).error)
