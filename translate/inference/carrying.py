"""The change found at the training size, carried to a picture of any size.

Legend: C channels, h w places of the training size, H W pixels of the picture; pixels are uint8
(H, W, C).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from translate.io.images import UInt8
from translate.io.tensors import images_from_pixels, pixels_on_host, to_uint8
from translate.models.detail import ColourMaps

STRIP_PIXELS = 1 << 19  # worked on at once: some 30 MiB of float32


def carry(maps: ColourMaps, pixels: UInt8) -> UInt8:
    """Apply colour maps of the training size to a picture, in strips.

    The maps are interpolated bilinearly; strips meet without a seam.

    Args:
        maps: of one image, matrices (C, C, h, w) and offsets (C, h, w).
        pixels: (H, W, C).

    Returns:
        (H, W, C).
    """
    height, width, channels = pixels.shape
    rows = max(1, STRIP_PIXELS // width)
    made = np.empty_like(pixels)
    numbers = _widened(maps, width)
    for a in range(0, height, rows):
        b = min(a + rows, height)
        strip = _rows(numbers, a, b, height)
        matrices = strip[: channels**2].reshape(1, channels, channels, b - a, width)
        offsets = strip[None, channels**2 :]
        x = images_from_pixels(pixels[a:b])
        y = ColourMaps(matrices, offsets).apply(x[None])[0]
        made[a:b] = pixels_on_host(to_uint8(y))
    return made


def _widened(maps: ColourMaps, width: int) -> Tensor:
    """Interpolate maps along rows. Shape: (C * C + C, h, W)."""
    numbers = torch.cat([maps.matrices.flatten(0, 1), maps.offsets])
    size = (numbers.shape[1], width)
    return F.interpolate(numbers[None], size, mode="bilinear", align_corners=False)[0]


def _rows(numbers: Tensor, a: int, b: int, height: int) -> Tensor:
    """Interpolate along columns what belongs to rows [a, b) of a picture. Shape: (n, b - a, W)."""
    known = numbers.shape[1]
    place = ((torch.arange(a, b) + 0.5) * (known / height) - 0.5).clamp(0, known - 1)
    above = place.floor().long().clamp(max=max(known - 2, 0))
    below = (above + 1).clamp(max=known - 1)
    return numbers[:, above].lerp(numbers[:, below], (place - above)[:, None])
