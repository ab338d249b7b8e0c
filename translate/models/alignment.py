"""Where the domains put things: mean place and spread, so that a translation starts in the right
place and size.

A frame is a 2x3 matrix [U | m]: m is the mean place (x, y) of what differs from an image's
border, as shares of width and height, and U U' the covariance about it, U upper triangular. So p
= U q + m takes a place q that means the same in all domains to the place p where a domain has
it: moved, scaled and slanted, but not turned.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BATCH = 32  # images that are floats at a time: a thousand of 256 px would take gigabytes
# of an image that is the same everywhere
PLAIN = ((1 / math.sqrt(12), 0.0, 0.5), (0.0, 1 / math.sqrt(12), 0.5))


def domain_affine(images: Tensor) -> Tensor:
    """The frame of a domain's images (n, C, H, W), of any range; blank ones have the plain frame.
    Shape: (2, 3).
    """
    weight = torch.zeros(images.shape[-2:], dtype=torch.float64, device=images.device)
    for batch in torch.split(images, BATCH):
        weight += _difference(batch.float()) * (len(batch) / len(images))
    if weight.sum() == 0:
        return torch.tensor(PLAIN)
    weight /= weight.sum()
    rows, columns = ((torch.arange(n, dtype=torch.float64) + 0.5) / n for n in weight.shape)
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy")).flatten(1)
    mean = places @ weight.flatten()
    centred = places - mean[:, None]
    covariance = (centred * weight.flatten()) @ centred.T + 1e-6 * torch.eye(2, dtype=torch.float64)
    upper = torch.linalg.cholesky(covariance.flip(0, 1)).flip(0, 1)
    return torch.cat([upper, mean[:, None]], dim=1).float()


def _difference(x: Tensor) -> Tensor:
    """Mean absolute difference of images (n, C, H, W) from their own borders. Shape: (H, W),
    float64.
    """
    border = torch.cat([x[:, :, [0, -1]].flatten(2), x[:, :, :, [0, -1]].flatten(2)], dim=2)
    return (x - border.median(dim=2).values[:, :, None, None]).abs().mean((0, 1)).double()


def relative_affine(source: Tensor, target: Tensor) -> Tensor:
    """Where an image of the target's frame finds its contents in one of the source's: frames (B,
    2, 3) -> (B, 2, 3).
    """
    turn = _product(source[..., :2], _inverse(target[..., :2]))
    return torch.cat([turn, source[..., 2:] - _product(turn, target[..., 2:])], dim=-1)


def _inverse(m: Tensor) -> Tensor:
    """Of 2x2 matrices, without the wait for the device of a solver that looks at them."""
    a, b, c, d = m.flatten(-2).unbind(-1)
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * c)[..., None, None]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Of matrices, in float32 also under autocast."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def affine_flow(
    theta: Tensor, height: int, width: int, first: int = 0, last: int | None = None
) -> Tensor:
    """How far from each pixel `theta` (B, 2, 3) finds its contents, for rows [first, last) of an
    image.

    -> (B, 2, last - first, width), x before y, in pixels.
    """
    columns, rows = ((torch.arange(n, device=theta.device) + 0.5) / n for n in (width, height))
    shares = torch.stack(torch.meshgrid(columns, rows[first:last], indexing="xy"))  # (2, h, W)
    found = (theta[:, :, :2, None, None] * shares).sum(2) + theta[:, :, 2:, None]
    x, y = (found - shares).unbind(1)
    return torch.stack([x * width, y * height], dim=1)
