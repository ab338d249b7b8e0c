"""Affine alignment: a translation starts at the target domain's mean position and extent.

A domain's affine is a 2x3 matrix [U | m]. m is the mean position (x, y) of what differs from an
image's border, in fractions of width and height, and U U' the covariance about it, with U upper
triangular. So p = U q + m takes a position q, which means the same in all domains, to the
position p where one domain has it: translated, scaled and sheared, but not rotated.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BATCH = 32  # images that are floats at a time: a thousand of 256 px would take gigabytes

# The affine of an image whose pixels all differ from its border alike.
UNIFORM_AFFINE = ((1 / math.sqrt(12), 0.0, 0.5), (0.0, 1 / math.sqrt(12), 0.5))

MIN_VARIANCE = 1e-6  # keeps the covariance of a line or a point invertible


def domain_affine(images: Tensor) -> Tensor:
    """Measure the affine of a domain.

    Args:
        images: The domain's images (n, C, H, W), of any range and type.

    Returns:
        The affine (2, 3), float32; UNIFORM_AFFINE where no image differs from its border.
    """
    weight = torch.zeros(images.shape[-2:], dtype=torch.float64, device=images.device)
    for batch in torch.split(images, BATCH):
        weight += _border_difference(batch.float()) * (len(batch) / len(images))
    if weight.sum() == 0:
        return torch.tensor(UNIFORM_AFFINE)
    weight /= weight.sum()

    height, width = weight.shape
    rows = (torch.arange(height, dtype=torch.float64) + 0.5) / height
    columns = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    positions = torch.stack(torch.meshgrid(columns, rows, indexing="xy")).flatten(1)  # (2, H W)

    mean = positions @ weight.flatten()
    centred = positions - mean[:, None]
    covariance = (centred * weight.flatten()) @ centred.T
    covariance = covariance + MIN_VARIANCE * torch.eye(2, dtype=torch.float64)

    # Cholesky gives a lower triangle; with x and y exchanged before and after it is an upper one.
    upper = torch.linalg.cholesky(covariance.flip(0, 1)).flip(0, 1)
    return torch.cat([upper, mean[:, None]], dim=1).float()


def _border_difference(x: Tensor) -> Tensor:
    """Return the mean absolute difference of images (n, C, H, W) from their own borders.

    Shape: (H, W), float64.
    """
    border = torch.cat([x[:, :, [0, -1]].flatten(2), x[:, :, :, [0, -1]].flatten(2)], dim=2)
    median = border.median(dim=2).values[:, :, None, None]
    return (x - median).abs().mean((0, 1)).double()


def relative_affine(source: Tensor, target: Tensor) -> Tensor:
    """Return the affine that samples an image of the source domain at the target's positions.

    Args:
        source: Affines of the source domains (B, 2, 3).
        target: Affines of the target domains (B, 2, 3).

    Returns:
        Affines (B, 2, 3), from positions in the target to positions in the source, both in
        fractions of width and height.
    """
    linear = _matrix_product(source[..., :2], _inverse(target[..., :2]))
    offset = source[..., 2:] - _matrix_product(linear, target[..., 2:])
    return torch.cat([linear, offset], dim=-1)


def _inverse(m: Tensor) -> Tensor:
    """Invert 2x2 matrices (..., 2, 2) without a solver, whose checks wait for the device."""
    a, b, c, d = m.flatten(-2).unbind(-1)
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * c)[..., None, None]


def _matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices in float32, also under autocast."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def affine_flow(
    theta: Tensor, height: int, width: int, first: int = 0, last: int | None = None
) -> Tensor:
    """Return how far from each pixel an affine samples an image.

    Args:
        theta: Affines (B, 2, 3) of positions in fractions of width and height.
        height: Rows of the image.
        width: Columns of the image.
        first: The first row of the result.
        last: The row after the last one of the result; default all rows.

    Returns:
        Displacements (B, 2, last - first, width), x before y, in pixels.
    """
    rows = (torch.arange(height, device=theta.device) + 0.5) / height
    columns = (torch.arange(width, device=theta.device) + 0.5) / width
    positions = torch.stack(torch.meshgrid(columns, rows[first:last], indexing="xy"))  # (2, h, W)

    sampled = (theta[:, :, :2, None, None] * positions).sum(2) + theta[:, :, 2:, None]
    x, y = (sampled - positions).unbind(1)
    return torch.stack([x * width, y * height], dim=1)
