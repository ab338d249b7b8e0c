"""Images of any size in bounded memory: the networks run on maps that lie in files and are read a
few rows at a time.

A `Map` stands for a tensor wherever networks.py takes one. What is done to it is noted, and done
when rows of the result are read, which reads the rows around them that each step needs. Only
where a GroupNorm asks for statistics is a map computed whole, strip by strip, into an unlinked
temporary file (in TMPDIR). So statistics are those of the whole image, nothing is computed twice
but a few rows, and strips meet without a seam: the result is the whole image's but for rounding.
Legend: C channels, H W pixels of the map at hand; [a, b) rows.
"""

from __future__ import annotations

import math
import operator
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from translate.io.images import UInt8, to_float
from translate.models.alignment import affine_flow
from translate.models.layers import Warp

Rows: TypeAlias = Callable[[int, int], Tensor]  # a, b -> (1, C, b - a, W)


class Map:
    """A feature map (1, C, H, W) known by how its rows are read; it is read and stored in `strips`
    strips.
    """

    def __init__(self, shape: tuple[int, int, int], rows: Rows, strips: int) -> None:
        self.shape = (1, *shape)
        self.strips = strips
        self._rows = rows
        self._statistics: tuple[Tensor, Tensor, Tensor] | None = None

    @classmethod
    def of_image(cls, pixels: UInt8, tile: int, device: torch.device) -> Map:
        """Pixels (H, W, C) as floats in [-1, 1], in strips that have about tile^2 pixels."""
        height, width, channels = pixels.shape

        def rows(a: int, b: int) -> Tensor:
            return torch.from_numpy(to_float(pixels[a:b]))[None].to(
                device, memory_format=torch.channels_last
            )

        return cls((channels, height, width), rows, math.ceil(height * width / tile**2))

    def read(self, a: int, b: int) -> Tensor:
        """Rows [a, b). Shape: (1, C, b - a, W)."""
        return self._rows(a, b)

    def bands(self) -> Iterator[tuple[int, int]]:
        """The strips' rows [a, b), from top to bottom."""
        height = self.shape[2]
        rows = math.ceil(height / self.strips)
        return ((a, min(a + rows, height)) for a in range(0, height, rows))

    def statistics(self) -> tuple[Tensor, Tensor, Tensor]:
        """Number, mean and variance of the values of each strip and channel, each (strips, C), in
        float64.

        The map, which is about to be read again, is stored on the way, and what it was made from
        is let go.
        """
        if self._statistics is None:
            _, channels, _, width = self.shape
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed when the map goes)
            weakref.finalize(self, file.close)
            pieces = []
            for a, b in self.bands():
                strip = self.read(a, b).float()
                variance, mean = torch.var_mean(strip, dim=(0, 2, 3), correction=0)
                pieces.append(
                    torch.stack([torch.full_like(mean, (b - a) * width), mean, variance]).double()
                )
                values = strip[0].permute(1, 2, 0).contiguous().cpu().numpy()
                try:
                    whole = file.write(values.data.cast("B")) == values.nbytes
                except OSError:
                    whole = False
                if not whole:
                    raise ValueError(
                        f"its features need more room than {tempfile.gettempdir()} has; set TMPDIR"
                    )
            device = strip.device

            def rows(a: int, b: int) -> Tensor:
                values = np.empty((b - a, width, channels), np.float32)
                file.seek(a * values[0].nbytes)
                file.readinto(values.data.cast("B"))
                return torch.from_numpy(values).to(device)[None].permute(0, 3, 1, 2)

            self._rows = rows
            self._statistics = cast(tuple[Tensor, Tensor, Tensor], torch.stack(pieces, 1).unbind())
        return self._statistics

    def then(
        self, function: Callable[..., Tensor], *others: Any, channels: int | None = None
    ) -> Map:
        """What works on each place by itself: a function of this map, and maps like it, constants
        and tensors.
        """

        def rows(a: int, b: int) -> Tensor:
            return function(
                self.read(a, b), *(x.read(a, b) if isinstance(x, Map) else x for x in others)
            )

        return Map((channels or self.shape[1], *self.shape[2:]), rows, self.strips)

    def __add__(self, other: Any) -> Map:
        return self.then(operator.add, other)

    def __mul__(self, other: Any) -> Map:
        return self.then(operator.mul, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Map:
        return self.then(operator.truediv, other)

    def contiguous(self, memory_format: torch.memory_format) -> Map:
        return self  # a question of speed alone

    def float(self) -> Map:
        return self.then(Tensor.float)

    def chunk(self, chunks: int, dim: int) -> tuple[Map, ...]:
        assert dim == 1
        assert self.shape[1] % chunks == 0
        part = self.shape[1] // chunks
        return tuple(
            self.then(lambda x, i=i: x[:, i * part : (i + 1) * part], channels=part)
            for i in range(chunks)
        )

    def mean(self, dim: tuple[int, int]) -> Tensor:
        """Over all places (dim is (2, 3)). Shape: (1, C), float32."""
        number, mean, _ = self.statistics()
        return (number * mean).sum(0, keepdim=True).div(number.sum(0, keepdim=True)).float()

    def amax(self, dim: tuple[int, int]) -> Tensor:
        """The same for the largest value."""
        return torch.stack([self.read(a, b).float().amax(dim) for a, b in self.bands()]).amax(0)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Map:
        if function in STEPS:
            return STEPS[function](*args, **(kwargs or {}))
        assert function in (F.silu, torch.tanh), f"{function} is not known to work in strips"
        return cast(Map, args[0]).then(function)


def _conv2d(
    x: Map,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: tuple[int, int],
    dilation: Any,
    groups: int,
) -> Map:
    assert weight.shape[2] == 2 * padding[0] + 1
    assert set((*stride, *dilation)) == {1}
    height = x.shape[2]
    reach = padding[0]

    def rows(a: int, b: int) -> Tensor:
        top = max(a - reach, 0)
        bottom = min(b + reach, height)
        part = F.pad(x.read(top, bottom), (0, 0, top - (a - reach), b + reach - bottom))
        return F.conv2d(part, weight, bias, padding=(0, padding[1]), groups=groups)

    return Map((weight.shape[0], *x.shape[2:]), rows, x.strips)


def _group_norm(
    x: Map, groups: int, weight: None = None, bias: None = None, eps: float = 1e-5
) -> Map:
    assert weight is None
    assert bias is None
    number, mean, variance = (values.reshape(len(values), groups, -1) for values in x.statistics())
    share = number / number.sum((0, 2), keepdim=True)
    centre = (share * mean).sum((0, 2), keepdim=True)
    spread = (share * (variance + (mean - centre) ** 2)).sum((0, 2), keepdim=True)
    shift, scale = (
        values.expand_as(mean[:1]).flatten()[:, None, None].float()
        for values in (centre, (spread + eps).rsqrt())
    )
    return x.then(lambda part: (part - shift) * scale)


def _grown(x: Map, factor: int, channels: int, function: Callable[[Tensor], Tensor]) -> Map:
    """What makes `factor` rows of each one."""

    def rows(a: int, b: int) -> Tensor:
        first = a // factor
        return function(x.read(first, math.ceil(b / factor)))[
            :, :, a - first * factor : b - first * factor
        ]

    return Map((channels, x.shape[2] * factor, x.shape[3] * factor), rows, x.strips)


def _shrunk(x: Map, factor: int, channels: int, function: Callable[[Tensor], Tensor]) -> Map:
    """What makes one row of `factor`."""

    def rows(a: int, b: int) -> Tensor:
        return function(x.read(a * factor, b * factor))

    return Map((channels, x.shape[2] // factor, x.shape[3] // factor), rows, x.strips)


def _interpolate(x: Map, size: None, scale_factor: float, mode: str, **options: Any) -> Map:
    assert size is None
    assert mode == "nearest"
    return _grown(
        x,
        int(scale_factor),
        x.shape[1],
        lambda part: F.interpolate(part, scale_factor=scale_factor),
    )


def _move(h: Map, flow: Map, place: Tensor) -> Map:
    height, width = h.shape[2:]
    factor = height // flow.shape[2]
    identity = torch.eye(2, 3, device=place.device)[None]

    def rows(a: int, b: int) -> Tensor:
        first = max(a // factor - 1, 0)
        last = min(math.ceil(b / factor) + 1, flow.shape[2])
        size = ((last - first) * factor, width)
        fine = F.interpolate(flow.read(first, last), size, mode="bilinear", align_corners=False)
        part = fine[:, :, a - first * factor : b - first * factor] * factor + affine_flow(
            place, height, width, a, b
        )
        reach = int(part[:, 1].nan_to_num().abs().max().clamp(max=height)) + 2
        top = max(a - reach, 0)
        bottom = min(b + reach, height)
        moved = Warp.warp(h.read(top, bottom), F.pad(part, (0, 0, a - top, bottom - b)), identity)
        return moved[:, :, a - top : b - top]

    return Map(h.shape[1:], rows, h.strips)


STEPS: dict[Callable[..., Any], Callable[..., Map]] = {
    F.conv2d: _conv2d,
    F.group_norm: _group_norm,
    F.interpolate: _interpolate,
    F.avg_pool2d: lambda x, n: _shrunk(x, n, x.shape[1], lambda part: F.avg_pool2d(part, n)),
    F.pixel_unshuffle: lambda x, n: _shrunk(
        x, n, x.shape[1] * n**2, lambda part: F.pixel_unshuffle(part, n)
    ),
    F.pixel_shuffle: lambda x, n: _grown(
        x, n, x.shape[1] // n**2, lambda part: F.pixel_shuffle(part, n)
    ),
    Warp.warp: _move,
}
