"""Distances between pairs of images that need no network: L1 and SSIM.

Images are uint8 (N, H, W, C), C 1 or 3, so that nobody can pass the wrong range; the answers are
plain numbers. No files. Legend: N images; H, W, C height, width, channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SSIM_WINDOW = 11  # px
BATCH = 64  # images in float at a time, so that memory does not grow with N


def check_images(*stacks: Tensor) -> None:
    """Raises ValueError unless every stack is uint8 (N, H, W, C), C 1 or 3, not empty, and all
    have one shape.
    """
    for x in stacks:
        good = (
            isinstance(x, Tensor)
            and x.dtype == torch.uint8
            and x.ndim == 4
            and x.shape[3] in (1, 3)
            and x.numel()
        )
        if not good:
            got = (
                f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            )
            raise ValueError(
                f"expected a torch.uint8 tensor (N, H, W, C) of N >= 1 images with C 1 or 3, got {got}"
            )
    if len({x.shape for x in stacks}) > 1:
        raise ValueError(
            "expected stacks of one shape, got " + " and ".join(str(tuple(x.shape)) for x in stacks)
        )


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of two stacks of images, pixel range [0, 1].

    Shape: x, y uint8 (N, H, W, C) -> float32 (N,) on the CPU, each in [0, 1]. Raises ValueError
    for anything else.
    """
    check_images(x, y)
    return _batched(lambda a, b: (a.float() - b.float()).abs().flatten(1).mean(1) / 255, x, y)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of the luma, taken as the mean of the channels in
    [0, 1].

    Their constants: Gaussian window 11 px, sigma 1.5, K1 0.01, K2 0.03, biased variances;
    windows lie inside the image.

    Shape: x, y uint8 (N, H, W, C) -> float32 (N,) on the CPU, each in [-1, 1]; equal images give 1.
    Raises ValueError for anything else, and for images under 11 px.
    """
    check_images(x, y)
    if min(x.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs images of at least {SSIM_WINDOW} px a side, got {x.shape[1]} x {x.shape[2]}"
        )
    return _batched(_ssim, x, y)


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    from kornia.metrics import ssim as ssim_map  # takes a second to import: no matter for training

    # float64: a variance is a small difference of large means, in float32 some 1e-4 of SSIM where
    # images are flat
    luma_x, luma_y = ((z.double() / 255).mean(3)[:, None] for z in (x, y))
    values: Tensor = ssim_map(luma_x, luma_y, SSIM_WINDOW, padding="valid")
    return values.flatten(1).mean(1).float()


def _batched(measure: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    return torch.cat(
        [
            measure(a.cpu(), b.cpu())
            for a, b in zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True)
        ]
    )
