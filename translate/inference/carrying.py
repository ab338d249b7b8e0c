"""The change found at the training size, carried to a picture of any size and depth.

Legend: C channels, h w places of the training size, H W pixels of the picture; pixels are uint8
(H, W, C).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from translate.io.depth import WHITE, Float32, Levels
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
    made = np.empty_like(pixels)
    for a, b, strip in _strips(maps, *pixels.shape[:2]):
        y = strip.apply(images_from_pixels(pixels[a:b])[None])[0]
        made[a:b] = pixels_on_host(to_uint8(y))
    return made


def carry_levels(
    maps: ColourMaps, levels: Levels, background: tuple[int, int, int], channels: int
) -> Levels:
    """Apply colour maps of the training size to a picture at its own depth, in strips.

    Args:
        maps: as of `carry`.
        levels: of the picture.
        background: sRGB colour behind transparency.
        channels: of the maps, 1 or 3.

    Returns:
        Levels of the same type, range and alpha.
    """
    height, width = levels.shape[:2]
    made = np.empty((height, width, channels), levels.values.dtype)
    bounds = levels.bounds()
    for a, b, strip in _strips(maps, height, width):
        image = _on_background(levels, a, b, background)
        x = torch.from_numpy(_to_channels(image, channels)).movedim(-1, 0)
        y = strip.apply(x[None])[0].movedim(0, -1).numpy()
        made[a:b] = levels.stored(y, bounds)
    return replace(levels, values=made)


def _on_background(levels: Levels, a: int, b: int, background: tuple[int, int, int]) -> Float32:
    """Return rows [a, b) as networks take them, transparency over a colour."""
    image = levels.image(a, b)
    if levels.alpha is None:
        return image
    opacity = levels.alpha[a:b, :, None].astype(np.float32) / np.float32(WHITE)
    behind = np.array(background, np.float32) / np.float32(127.5) - 1
    return behind + opacity * (image - behind)


def _to_channels(image: Float32, channels: int) -> Float32:
    """Convert (H, W, 1 or 3) between gray, by the luma of Rec. 601, and colour."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return (image @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]


def _strips(maps: ColourMaps, height: int, width: int) -> Iterator[tuple[int, int, ColourMaps]]:
    """Yield rows [a, b) of a picture and the maps of its pixels there, interpolated."""
    rows = max(1, STRIP_PIXELS // width)
    one = ColourMaps(maps.matrices[None], maps.offsets[None])
    numbers = one.resized((maps.offsets.shape[1], width)).numbers
    for a in range(0, height, rows):
        b = min(a + rows, height)
        yield a, b, ColourMaps.of(_rows(numbers, a, b, height))


def _rows(numbers: Tensor, a: int, b: int, height: int) -> Tensor:
    """Interpolate numbers (1, n, h, W) at rows [a, b) of a picture. Shape: (1, n, b - a, W)."""
    known = numbers.shape[2]
    place = ((torch.arange(a, b) + 0.5) * (known / height) - 0.5).clamp(0, known - 1)
    above = place.floor().long().clamp(max=max(known - 2, 0))
    below = (above + 1).clamp(max=known - 1)
    return numbers[:, :, above].lerp(numbers[:, :, below], (place - above)[:, None])
