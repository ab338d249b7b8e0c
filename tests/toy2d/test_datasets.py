"""The sets of points in the plane: where they lie; divergences of histograms against plain sums."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from translate.toy2d.datasets import BINS, EMPTY, TOYS, histogram, jsd, kl_divergence

N = 20_000


def drawn(name: str, seed: int = 0) -> Tensor:
    return TOYS[name].draw(N, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", TOYS)
def test_draws_fill_their_square_and_repeat(name: str) -> None:
    points = drawn(name)
    assert points.shape == (N, 2)
    assert points.dtype == torch.float32
    assert points.abs().max() > 0.7 * TOYS[name].half_width
    assert (points.abs() > TOYS[name].half_width).any(1).double().mean() < 1e-4
    assert torch.equal(points, drawn(name))
    assert not torch.equal(points, drawn(name, 1))


def test_eight_gaussians_are_eight_and_narrow() -> None:
    points = drawn("8gaussians")
    mode = (torch.atan2(points[:, 1], points[:, 0]) / (math.pi / 4)).round().long() % 8
    counts = torch.bincount(mode, minlength=8)
    assert (counts - N / 8).abs().max() < 5 * math.sqrt(N / 8)
    for k in range(8):
        centre = torch.tensor([math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)]) * 2 / 1.414
        own = points[mode == k] - centre
        assert own.mean(0).abs().max() < 5 * 0.0142 / math.sqrt(len(own))
        assert own.std(0).tolist() == pytest.approx([0.02 / 1.414] * 2, rel=0.06)


def test_rings_have_four_radii_of_equal_weight() -> None:
    radius = drawn("rings").norm(dim=1)
    shares = [((radius - r).abs() < 0.375).double().mean().item() for r in (0.75, 1.5, 2.25, 3.0)]
    assert shares == pytest.approx([0.25] * 4, abs=0.015)
    assert (radius - (radius / 0.75).round() * 0.75).std().item() == pytest.approx(0.08, rel=0.05)


def test_the_board_s_squares_alternate() -> None:
    points = drawn("checkerboard")
    squares = (points / 2).floor()
    assert (squares.sum(1) % 2 == 0).all(), "column and row of a square are both even or both odd"
    assert len(torch.unique(squares, dim=0)) == 8


def test_spirals_are_two_mirrored_arms() -> None:
    """A point at angle t of its arm lies at radius t / 3, but for noise: 0.5 / 3 at most each way
    and 0.1 at random.
    """
    points = drawn("2spirals")
    radius = points.norm(dim=1)
    # t modulo pi: the two arms are half a turn apart
    turn = torch.atan2(points[:, 1], -points[:, 0])
    outer = radius > 1  # nearer in, noise turns a point too far
    nearest = ((3 * radius - turn) / math.pi).round() * math.pi + turn
    assert ((radius - nearest / 3).abs()[outer] < 0.45).double().mean() > 0.99
    assert points.mean(0).abs().max() < 0.05
    assert radius.max().item() == pytest.approx(math.pi, abs=0.7)


def test_histograms_count_shares() -> None:
    points = torch.tensor(
        [[-1.0, -1.0], [0.999, 0.0], [0.0, 0.0], [0.001, 0.001], [1.0, 0.0], [0.0, -1.01]]
    )
    shares = histogram(points, 1.0)
    assert shares.shape == (BINS, BINS)
    assert {
        tuple(place): shares[tuple(place)].item() for place in shares.nonzero().tolist()
    } == pytest.approx({(0, 0): 1 / 6, (99, 50): 1 / 6, (50, 50): 2 / 6}), (
        "what lies on or beyond the far border is in no bin"
    )


def test_divergences_are_the_plain_sums() -> None:
    draw = torch.Generator().manual_seed(0)
    p, q = (torch.rand(7, 5, generator=draw, dtype=torch.float64) for _ in range(2))
    p[0] = 0
    q[1] = 0
    p = p / p.sum()
    q = q / q.sum()
    pairs = list(zip(p.flatten().tolist(), q.flatten().tolist(), strict=True))
    plain = sum(a * math.log(a / max(b, EMPTY)) for a, b in pairs if a > 0)
    assert kl_divergence(p, q) == pytest.approx(plain, rel=1e-12)
    halves = [
        a * math.log(2 * a / (a + b)) / 2 for a, b in [*pairs, *((b, a) for a, b in pairs)] if a > 0
    ]
    assert jsd(p, q) == pytest.approx(sum(halves), rel=1e-12)
    assert jsd(q, p) == pytest.approx(jsd(p, q), rel=1e-12)


def test_divergences_at_their_ends() -> None:
    p = torch.tensor([0.25, 0.75, 0, 0]).double()
    q = torch.tensor([0, 0, 0.5, 0.5]).double()
    assert kl_divergence(p, p) == jsd(p, p) == 0
    assert jsd(p, q) == pytest.approx(math.log(2))
    assert kl_divergence(p, q) == pytest.approx(
        0.25 * math.log(0.25 / EMPTY) + 0.75 * math.log(0.75 / EMPTY)
    )
