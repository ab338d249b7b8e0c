"""The change found at the training size, carried to a picture of any size.

Legend: C channels, h w places of the training size, H W pixels of the picture; pixels are uint8
(H, W, C).
"""

from __future__ import annotations

import numpy as np
import torch
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
    height, width, _ = pixels.shape
    rows = max(1, STRIP_PIXELS // width)
    made = np.empty_like(pixels)
    one = ColourMaps(maps.matrices[None], maps.offsets[None])
    numbers = one.resized((maps.offsets.shape[1], width)).numbers
    for a in range(0, height, rows):
        b = min(a + rows, height)
        strip = ColourMaps.of(_rows(numbers, a, b, height))
        y = strip.apply(images_from_pixels(pixels[a:b])[None])[0]
        made[a:b] = pixels_on_host(to_uint8(y))
    return made


def _rows(numbers: Tensor, a: int, b: int, height: int) -> Tensor:
    """Interpolate numbers (1, n, h, W) at rows [a, b) of a picture. Shape: (1, n, b - a, W)."""
    known = numbers.shape[2]
    place = ((torch.arange(a, b) + 0.5) * (known / height) - 0.5).clamp(0, known - 1)
    above = place.floor().long().clamp(max=max(known - 2, 0))
    below = (above + 1).clamp(max=known - 1)
    return numbers[:, :, above].lerp(numbers[:, :, below], (place - above)[:, None])
