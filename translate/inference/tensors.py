"""Tensors in, tensors out: translations without a detour by bytes.

Legend: N images, K variants of each, B rows of a batch, C channels, H W pixels, Ds style
dimensions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from translate.inference.domains import Direction
from translate.inference.predictor import Predictor, padded
from translate.inference.styles import StyleSource
from translate.inference.tiling import Map, Strips
from translate.models.detail import ColourMaps


def translate_tensor(
    predictor: Predictor, images: Tensor, direction: Direction, style_of: StyleSource
) -> Tensor:
    """Translate images, each the same to the bit whatever the others are.

    What bf16 makes not finite is computed again in float32.

    Args:
        predictor: the model.
        images: (N, C, H, W), floats in [-1, 1].
        direction: from which domain to which.
        style_of: the styles (K, Ds) of the image at a place.

    Returns:
        (N * K, C, H, W), type and device of `images`; variant k of image i is at i * K + k.

    Raises:
        ValueError: for another shape or type, values that are not finite, and an output that is
            not finite in float32 either; it names the image's place.
    """
    _check(images, predictor.config.data.channels)
    if len(images) == 0:
        return images.clone()
    shape = _to_model(predictor, images[:1]).shape[2:]

    # On a CPU one image fills the cores; elsewhere batches are filled up with their last image,
    # so that all have one shape. Either way no output depends on the other images.
    alone = predictor.device.type == "cpu" or predictor.in_strips(shape)
    rows = 1 if alone else predictor.batching().rows(shape)
    parts = []
    for first in range(0, len(images), rows):
        batch = images[first : first + rows]
        z_s = torch.stack([style_of(i) for i in range(first, first + len(batch))], dim=1)
        y = _finite(predictor, batch, direction, z_s, rows, first)
        parts.append(y.to(images))
    return torch.cat(parts)


def _check(images: Tensor, channels: int) -> None:
    known = images.is_floating_point() and images.ndim == 4 and images.shape[1] == channels
    if not known or 0 in images.shape[2:]:
        found = f"{images.dtype} {tuple(images.shape)}"
        raise ValueError(f"a float tensor (N, {channels}, H, W) is expected, not {found}")
    finite = images.isfinite().flatten(1).all(1)
    if not finite.all():
        i = finite.tolist().index(False)
        raise ValueError(
            f"image {i} of the tensor holds values that are not finite; "
            "replace them or leave it out"
        )


def _to_model(predictor: Predictor, images: Tensor) -> Tensor:
    """Return images (B, C, H, W) in the size that the model takes, float32 on the device."""
    x = images.detach().to(predictor.device, torch.float32)
    height, width = x.shape[2:]
    if predictor.scale != "native":
        return _resize(x, predictor.model_size(width, height))
    stride = predictor.config.model.stride
    rows, columns = (
        torch.from_numpy(padded(side, stride)).to(x.device) for side in (height, width)
    )
    return x[:, :, rows][..., columns]


def _finite(
    predictor: Predictor, images: Tensor, direction: Direction, z_s: Tensor, rows: int, first: int
) -> Tensor:
    """Translate a batch; what bf16 makes not finite in float32.

    Args:
        predictor: the model.
        images: (B, C, H, W).
        direction: from which domain to which.
        z_s: styles (K, B, Ds).
        rows: images that a forward pass is filled up to.
        first: the place of the batch's first image in the tensor, for messages.

    Returns:
        (B * K, C, H, W).
    """

    def run(images: Tensor, z_s: Tensor, dtype: torch.dtype) -> Tensor:
        x = _to_model(predictor, images)
        height, width = images.shape[2:]
        if predictor.in_strips(x.shape[2:]):
            return _run_in_strips(predictor, x, direction, z_s, dtype)[..., :height, :width]
        places = torch.arange(rows).clamp(max=len(x) - 1)
        full = x[places.to(x.device)]
        made = predictor.forward(full, direction, z_s[:, places], dtype)
        if made.maps is not None and predictor.carries((width, height)):
            original = images.detach().to(predictor.device, torch.float32)
            # of a batch that was filled up, the first maps are its own
            return torch.stack([_carried(maps, original) for maps in made.maps])
        y = made.images[:, : len(x)]
        if predictor.scale == "native":
            return y[..., :height, :width]
        resized = _resize(y.flatten(0, 1), (width, height))
        return resized.reshape(*y.shape[:3], height, width)

    # outside of inference mode: it may be written to
    y = run(images, z_s, predictor.dtype).transpose(0, 1).clone()
    for i in range(len(images)) if not y.isfinite().all() else ():
        if not y[i].isfinite().all() and predictor.dtype != torch.float32:
            y[i] = run(images[i : i + 1], z_s[:, i : i + 1], torch.float32)[:, 0]
        if not y[i].isfinite().all():
            raise ValueError(f"image {first + i} of the tensor: the model's output is not finite")
    return y.flatten(0, 1)


def _carried(maps: ColourMaps, images: Tensor) -> Tensor:
    """Apply maps of the training size to images (B, C, H, W) of any size."""
    full = ColourMaps.of(maps.numbers[: len(images)]).resized(images.shape[2:])
    return full.apply(images).clamp(-1, 1)


def _run_in_strips(
    predictor: Predictor, x: Tensor, direction: Direction, z_s: Tensor, dtype: torch.dtype
) -> Tensor:
    """Translate one image (1, C, H, W) with z_s (K, 1, Ds). Shape: (K, 1, C, H, W)."""
    y = x.new_empty(len(z_s), *x.shape)

    def read(a: int, b: int) -> Tensor:
        return x[:, :, a:b].contiguous(memory_format=torch.channels_last)

    shape = (x.shape[1], x.shape[2], x.shape[3])
    strips = math.ceil(shape[1] * shape[2] / predictor.tile**2)
    with predictor.inference(dtype):
        image = Map(shape, read, Strips(strips))
        for k, output in enumerate(predictor.translations_in_strips(image, direction, z_s)):
            for a, b in output.bands():
                y[k, :, :, a:b] = output.read(a, b)
    return y


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, H, W) to (width, height), antialiased and within [-1, 1], where needed."""
    if x.shape[:1:-1] == size:
        return x
    return F.interpolate(x, (size[1], size[0]), mode="bicubic", antialias=True).clamp(-1, 1)
