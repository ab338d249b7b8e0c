"""The one pair between pixels in bytes and images in floats: p = 127.5 (x + 1).

Pixels are uint8, channels last, as files have them; images are float32 in [-1, 1], channels
first, as networks take them. Legend: C channels, H W pixels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from translate.io.images import UInt8


def to_float(pixels: Tensor, device: torch.device | None = None) -> Tensor:
    """Convert bytes to floats, whatever the layout.

    Args:
        pixels: uint8, any shape; moved to the device as bytes.
        device: where the images are to be; None keeps it where the pixels are.

    Returns:
        float32 in [-1, 1], shape of the pixels.
    """
    return pixels.to(device, non_blocking=True).float().div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Convert floats, clipped to [-1, 1], to bytes, half rounded up, whatever the layout.

    Args:
        x: any floating type and shape; NaN becomes 128.

    Returns:
        uint8, shape and device of `x`.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return ((x.nan_to_num().clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8)


def images_from_pixels(pixels: UInt8, device: torch.device | None = None) -> Tensor:
    """Convert pixels (..., H, W, C) to images (..., C, H, W), float32 in [-1, 1]."""
    return to_float(torch.from_numpy(pixels), device).movedim(-1, -3)


def pixels_from_images(x: Tensor) -> UInt8:
    """Convert images (..., C, H, W), clipped to [-1, 1], to pixels (..., H, W, C).

    Raises:
        ValueError: if a value is not finite.
    """
    if not x.isfinite().all():
        raise ValueError("the image holds values that are not finite")
    return pixels_on_host(to_uint8(x))


def pixels_on_host(x: Tensor) -> UInt8:
    """Move bytes (..., C, H, W) to the CPU as pixels (..., H, W, C)."""
    return cast(UInt8, x.movedim(-3, -1).contiguous().cpu().numpy())
