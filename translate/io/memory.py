"""Pictures in memory: PIL images and arrays in the form that a decoded file has, and back.

Legend: C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from PIL import Image

from translate.io.images import Picture, UInt8, to_channels

InMemory: TypeAlias = Image.Image | UInt8


def picture_from(image: InMemory) -> Picture:
    """Take a PIL image or an array for a decoded file.

    Args:
        image: any PIL image of 8 bits, or uint8 (H, W) or (H, W, 1 to 4), the last channel of 2
            or 4 being alpha.

    Returns:
        Its pixels as sRGB, and its alpha where it has some.

    Raises:
        ValueError: for another type, shape or depth.
    """
    if isinstance(image, Image.Image):
        image = _array_of(image)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        array = isinstance(image, np.ndarray)
        found = f"an array of {image.dtype}" if array else type(image).__name__
        raise ValueError(f"images are PIL images or uint8 arrays, not {found}")

    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or 0 in pixels.shape:
        raise ValueError(f"an image's shape is (H, W) or (H, W, 1 to 4), not {image.shape}")

    colours = 3 if pixels.shape[2] >= 3 else 1
    has_alpha = pixels.shape[2] in (2, 4)
    alpha = np.ascontiguousarray(pixels[..., -1]) if has_alpha else None
    srgb = to_channels(np.ascontiguousarray(pixels[..., :colours]), 3)
    return Picture(srgb, alpha, "", "", ())


def _array_of(image: Image.Image) -> UInt8:
    """Convert a PIL image to RGB or RGBA, (H, W, 3 or 4)."""
    if image.mode[0] in "IF":
        raise ValueError(f"an image of mode {image.mode} has no known range; convert it to 8 bits")
    return np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def in_the_form_of(image: InMemory, pixels: UInt8, alpha: UInt8 | None) -> InMemory:
    """Give pixels (H, W, C) and alpha (H, W) the type and number of dimensions of an image."""
    full = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    flat = full[..., 0] if full.shape[2] == 1 else full
    if isinstance(image, Image.Image):
        return Image.fromarray(flat)
    return flat if image.ndim == 2 else full
