"""What a translation changes, carried to the image itself.

The autoencoder loses detail. Its translation t and its reconstruction r of one content lose the
same, so that their difference is the change of domain alone. Local affine colour maps that take
r to t give it to the image x: f = M x + b, fitted at the training size and applied there or at
any other (guided filter in colour, He et al. 2010; fitted small and applied large as in bilateral
guided upsampling, Chen et al. 2016). A model that keeps detail is trained on f: it is what the
encoder is shown as a fake.

Legend: B batch, C channels, h w pixels of the training size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 2  # places; windows of 5 x 5
SUBSAMPLE = 2  # pixels a place, across: windows of 10 x 10 pixels
# pixels up and down that a map depends on: of the windows around a place, whose maps are averaged,
# those of their own places; and a place more, as maps are interpolated
REACH = SUBSAMPLE * (2 * RADIUS + 1)


def clipped(image: Tensor) -> Tensor:
    """Clip to [-1, 1].

    The gradient passes: where the image is at its bound, a loss can still tell the translation
    which way to go.
    """
    return image + (image.clamp(-1, 1) - image).detach()


class ColourMaps(NamedTuple):
    """At each place a colour map, y = M x + b.

    Attributes:
        matrices: M, (B, C, C, h, w).
        offsets: b, (B, C, h, w).
    """

    matrices: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, numbers: Tensor) -> ColourMaps:
        """Take maps from `numbers`, (B, C * C + C, h, w)."""
        channels = math.isqrt(numbers.shape[1])
        size = (-1, channels, channels, *numbers.shape[2:])
        return cls(numbers[:, : channels**2].reshape(size), numbers[:, channels**2 :])

    @property
    def numbers(self) -> Tensor:
        """All of M and b, (B, C * C + C, h, w)."""
        return torch.cat([self.matrices.flatten(1, 2), self.offsets], dim=1)

    def scaled(self, strength: float) -> ColourMaps:
        """Change as many times as much: by 0 nothing, by 1 what the maps do.

        They then lead from r to r + strength (t - r), as the fit is linear in t.
        """
        eye = torch.eye(self.matrices.shape[1], device=self.matrices.device)[:, :, None, None]
        return ColourMaps(eye + strength * (self.matrices - eye), strength * self.offsets)

    def resized(self, size: Sequence[int]) -> ColourMaps:
        """Interpolate the maps bilinearly to (h', w')."""
        full = F.interpolate(self.numbers, tuple(size), mode="bilinear", align_corners=False)
        return ColourMaps.of(full)

    def apply(self, x: Tensor) -> Tensor:
        """Map the colours of images (B, C, h, w)."""
        return (self.matrices * x[:, None]).sum(2) + self.offsets


def fit_colour_maps(
    r: Tensor,
    t: Tensor,
    ridge: float,
    radius: int = RADIUS,
    subsample: int = SUBSAMPLE,
) -> ColourMaps:
    """Fit maps from reconstructions to translations, by ridge regression in windows.

    A window's map minimises the mean of |M r + b - t|^2 over its places, plus
    ridge |M - I|^2; at each place the maps of all windows around it are averaged. It is done on
    images made smaller (fast guided filter, He & Sun 2015). Linear in t, whose gradient passes.

    Args:
        r: (B, C, h, w) in [-1, 1].
        t: like `r`.
        ridge: strength of the pull towards the identity, in squared units of [-1, 1].
        radius: of the windows, in places.
        subsample: pixels a place, across.

    Returns:
        Maps of (h, w).
    """
    channels = r.shape[1]
    size = r.shape[2:]
    r = F.avg_pool2d(r.float(), subsample)
    t = F.avg_pool2d(t.float(), subsample)
    mean_r = _window_mean(r, radius)
    mean_t = _window_mean(t, radius)
    covariance = _products(r, r, radius) - mean_r[:, :, None] * mean_r[:, None]
    cross = _products(t, r, radius) - mean_t[:, :, None] * mean_r[:, None]
    penalty = ridge * torch.eye(channels, device=r.device)[:, :, None, None]

    inverse = _inverse(covariance + penalty)
    # not a matrix product, which autocast would compute in bf16
    matrices = ((cross + penalty)[:, :, :, None] * inverse[:, None]).sum(2)
    offsets = mean_t - (matrices * mean_r[:, None]).sum(2)
    smooth = _window_mean(ColourMaps(matrices, offsets).numbers, radius)
    return ColourMaps.of(smooth).resized(size)


def share_not_carried(maps: ColourMaps, r: Tensor, t: Tensor) -> Tensor:
    """Return which share of the change t - r the maps do not reproduce.

    Args:
        maps: fitted from `r` to `t`.
        r: (B, C, h, w).
        t: (B, C, h, w).

    Returns:
        |M r + b - t|^2 / (|t - r|^2 + n (4 / 255)^2), (B,), in [0, 1] or little above: of a change
        well below 4/255 it is near 0, as nobody sees what is missing of it.
    """
    missing = (maps.apply(r) - t).square().flatten(1).sum(1)
    change = (t - r).square().flatten(1).sum(1)
    return missing / (change + r[0].numel() * (4 / 255) ** 2)


def _inverse(matrices: Tensor) -> Tensor:
    """Invert symmetric matrices (B, C, C, h, w), C 1 or 3, by their cofactors.

    In place of torch.linalg.inv, which no ONNX graph can hold and takes three times as long.
    """
    if matrices.shape[1] == 1:
        return 1 / matrices
    (a, b, c), (_, d, e), (_, _, f) = (row.unbind(1) for row in matrices.unbind(1))
    first = torch.stack([d * f - e * e, c * e - b * f, b * e - c * d], dim=1)
    second = torch.stack([c * e - b * f, a * f - c * c, b * c - a * e], dim=1)
    third = torch.stack([b * e - c * d, b * c - a * e, a * d - b * b], dim=1)
    determinant = a * first[:, 0] + b * first[:, 1] + c * first[:, 2]
    return torch.stack([first, second, third], dim=1) / determinant[:, None, None]


def _products(a: Tensor, b: Tensor, radius: int) -> Tensor:
    """Return window means of all products of channels. Shape: (B, C, C, h, w)."""
    products = a[:, :, None] * b[:, None]
    return _window_mean(products.flatten(1, 2), radius).reshape(products.shape)


def _window_mean(x: Tensor, radius: int) -> Tensor:
    """Return means over (2 radius + 1)^2 pixels, fewer at the border. Shape: like x."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)
