"""Distances between pairs of images that need no network: L1 and SSIM.

Images are uint8 (N, H, W, C), C 1 or 3, so that no wrong range can be passed; the results are
plain numbers. Legend: N images; H, W, C height, width, channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SSIM_WINDOW = 11  # px
BATCH = 64  # images in float at a time, so that memory does not grow with N


def check_images(*stacks: Tensor) -> None:
    """Refuse anything but stacks of images, all of one shape.

    Raises:
        ValueError: unless every stack is uint8 (N, H, W, C), C 1 or 3, not empty, and all have
            one shape.
    """
    for x in stacks:
        is_stack = (
            isinstance(x, Tensor)
            and x.dtype == torch.uint8
            and x.ndim == 4
            and x.shape[3] in (1, 3)
            and x.numel()
        )
        if not is_stack:
            is_tensor = isinstance(x, Tensor)
            got = f"{x.dtype} {tuple(x.shape)}" if is_tensor else f"a {type(x).__name__}"
            raise ValueError(
                "expected a torch.uint8 tensor (N, H, W, C) of N >= 1 images with C 1 or 3, "
                f"got {got}"
            )

    if len({x.shape for x in stacks}) > 1:
        shapes = " and ".join(str(tuple(x.shape)) for x in stacks)
        raise ValueError(f"expected stacks of one shape, got {shapes}")


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Compute the mean absolute difference of each pair of images, of pixels in [0, 1].

    Args:
        x: uint8 (N, H, W, C).
        y: as `x`.

    Returns:
        float32 (N,) on the CPU, each in [0, 1].

    Raises:
        ValueError: for anything else.
    """
    check_images(x, y)
    return _batched(_l1, x, y)


def _l1(x: Tensor, y: Tensor) -> Tensor:
    """Compute l1 of a batch."""
    return (x.float() - y.float()).abs().flatten(1).mean(1) / 255


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Compute the structural similarity (Wang et al. 2004) of each pair of images.

    It is taken of the luma, the mean of the channels in [0, 1], with their constants: Gaussian
    window 11 px, sigma 1.5, K1 0.01, K2 0.03, biased variances; windows lie inside the image.

    Args:
        x: uint8 (N, H, W, C), H and W at least 11.
        y: as `x`.

    Returns:
        float32 (N,) on the CPU, each in [-1, 1]; 1 for equal images.

    Raises:
        ValueError: for anything else.
    """
    check_images(x, y)
    height, width = x.shape[1:3]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs images of at least {SSIM_WINDOW} px a side, got {height} x {width}"
        )
    return _batched(_ssim, x, y)


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    """Compute SSIM of a batch."""
    # here, as it takes a second to import and training does not need it
    from kornia.metrics import ssim as ssim_map

    # float64: a variance is a small difference of large means, in float32 some 1e-4 of SSIM where
    # images are flat
    luma_x, luma_y = ((z.double() / 255).mean(3)[:, None] for z in (x, y))
    values: Tensor = ssim_map(luma_x, luma_y, SSIM_WINDOW, padding="valid")
    return values.flatten(1).mean(1).float()


def _batched(measure: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Measure pairs of images in batches, on the CPU."""
    batches = zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True)
    return torch.cat([measure(a.cpu(), b.cpu()) for a, b in batches])
