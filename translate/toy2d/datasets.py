"""The four sets of points of the paper's 2D experiments, and divergences between sets of points.

Daniel & Tamar, CVPR 2021, section 5.1. The sets, their sizes and the weights are those of the
paper's published code. Legend: n points, (n, 2) x and y.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.special import rel_entr
from torch import Generator, Tensor

BINS = 100  # of a histogram, a side
# stands for the share of a bin without samples, as in the published code: KL stays finite
EMPTY = 1e-14


@dataclass(frozen=True)
class Toy:
    """A set of points, and the weights of the objective that the paper uses for it.

    Attributes:
        draw: (n, generator) -> n points (n, 2).
        half_width: All but about one in 10^4 points lie in the square of twice this side around 0.
        beta_kl: Weight of the divergence of data, and of fakes in L_D.
        beta_rec: Weight of the reconstruction error.
        beta_neg: Weight of the divergence of fakes in L_E.
    """

    draw: Callable[[int, Generator], Tensor]
    half_width: float
    beta_kl: float
    beta_rec: float
    beta_neg: float


def eight_gaussians(n: int, generator: Generator) -> Tensor:
    """Draw (n, 2) from eight modes on a circle of radius 2 / 1.414.

    Each has a standard deviation of 0.02 / 1.414.
    """
    angle = torch.randint(8, (n,), generator=generator) * (math.pi / 4)
    return (2 * _circle(angle) + 0.02 * torch.randn(n, 2, generator=generator)) / 1.414


def two_spirals(n: int, generator: Generator) -> Tensor:
    """Draw (n, 2) from two arms of one and a half turns, of even density and radius up to pi."""
    angle = torch.rand(n, generator=generator).sqrt() * 3 * math.pi
    arm = angle[:, None] * _circle(math.pi - angle) + 0.5 * torch.rand(n, 2, generator=generator)
    side = 2 * torch.randint(2, (n, 1), generator=generator) - 1
    return side * arm / 3 + 0.1 * torch.randn(n, 2, generator=generator)


def checkerboard(n: int, generator: Generator) -> Tensor:
    """Draw (n, 2) in [-4, 4] from every second square, of side 2, of a 4 x 4 board."""
    x = 4 * torch.rand(n, generator=generator) - 2
    within = torch.rand(n, generator=generator)
    row = 2 * torch.randint(2, (n,), generator=generator)
    y = within - row + x.floor() % 2
    return 2 * torch.stack([x, y], 1)


def rings(n: int, generator: Generator) -> Tensor:
    """Draw (n, 2) from four circles with radii 0.75, 1.5, 2.25, 3, as many points on each.

    The noise has a standard deviation of 0.08.
    """
    radius = 0.75 * torch.randint(1, 5, (n, 1), generator=generator)
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    return radius * _circle(angle) + 0.08 * torch.randn(n, 2, generator=generator)


def _circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], 1)


TOYS = {
    "8gaussians": Toy(eight_gaussians, 2.0, beta_kl=0.3, beta_rec=0.2, beta_neg=0.9),
    "2spirals": Toy(two_spirals, 4.0, beta_kl=0.5, beta_rec=0.2, beta_neg=1.0),
    "checkerboard": Toy(checkerboard, 4.0, beta_kl=0.1, beta_rec=0.2, beta_neg=0.2),
    "rings": Toy(rings, 4.0, beta_kl=0.2, beta_rec=0.2, beta_neg=1.0),
}


def histogram(points: Tensor, half_width: float) -> Tensor:
    """Compute the share of all points in each of 100 x 100 bins of a square around 0.

    Args:
        points: (n, 2); those outside are in no bin.
        half_width: Half the square's side.

    Returns:
        (100, 100), x by y, float64.
    """
    places = ((points + half_width) * (BINS / (2 * half_width))).floor().long()
    places = places[((places >= 0) & (places < BINS)).all(1)]
    counts = torch.bincount(places[:, 0] * BINS + places[:, 1], minlength=BINS * BINS)
    return counts.view(BINS, BINS).double() / len(points)


def kl_divergence(p: Tensor, q: Tensor) -> float:
    """Compute KL(p || q) = sum p ln(p / q) in nats, where an empty bin of q counts as 1e-14.

    p and q have one shape, and sums of at most 1.
    """
    return float(rel_entr(p.numpy(), q.clamp(min=EMPTY).numpy()).sum())


def jsd(p: Tensor, q: Tensor) -> float:
    """Compute the Jensen-Shannon divergence in nats, in [0, ln 2]; it is symmetric."""
    middle = (p + q) / 2
    return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2
