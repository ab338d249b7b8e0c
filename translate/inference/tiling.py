"""Images of any size in bounded memory: networks run on maps that are read a few rows at a time.

A `Map` takes the place of a tensor wherever networks.py takes one. Operations on it are recorded,
and run when rows of the result are read, which reads the rows around them that each operation
needs. Only where a GroupNorm needs statistics is a map computed as a whole, strip by strip, into
an unlinked temporary file (in TMPDIR). So statistics are those of the whole image, nothing is
computed twice but a few rows, and strips meet without a seam: the output is the whole image's but
for rounding.

Legend: C channels, H W pixels of the map at hand; [a, b) rows.
"""

from __future__ import annotations

import math
import operator
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from typing import Any, TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from translate.io.images import UInt8
from translate.io.tensors import images_from_pixels
from translate.models.alignment import affine_flow
from translate.models.layers import Warp

ReadRows: TypeAlias = Callable[[int, int], Tensor]  # a, b -> (1, C, b - a, W)
Count: TypeAlias = Callable[[int], None]  # takes how many numbers of a map are done
Statistics: TypeAlias = tuple[Tensor, Tensor, Tensor]


def ignore(numbers: int) -> None:
    """Count nothing."""


@dataclass(frozen=True)
class Strips:
    """How an image and all maps made of it are worked on.

    Attributes:
        number: The strips in which a map is read as a whole.
        counted: Called with the numbers in each strip that is done; what it raises ends the work.
    """

    number: int
    counted: Count = ignore


class Map:
    """A feature map (1, C, H, W) whose rows are computed or loaded when they are read.

    Attributes:
        shape: (1, C, H, W).
        strips: In how many strips the map is read as a whole, and who counts them.
    """

    def __init__(self, shape: tuple[int, int, int], read_rows: ReadRows, strips: Strips) -> None:
        self.shape = (1, *shape)
        self.strips = strips
        self._read_rows = read_rows
        self._statistics: Statistics | None = None

    @classmethod
    def of_image(cls, pixels: UInt8, tile: int, device: torch.device, count: Count = ignore) -> Map:
        """Make a map of an image.

        Args:
            pixels: (H, W, C).
            tile: Side of a square that has about as many pixels as a strip.
            device: Where rows are to be.
            count: See `Strips`.

        Returns:
            The map (1, C, H, W), in [-1, 1].
        """
        height, width, channels = pixels.shape

        def read_rows(a: int, b: int) -> Tensor:
            image = images_from_pixels(np.stack([pixels[a:b]]), device)
            return image.contiguous(memory_format=torch.channels_last)

        strips = Strips(math.ceil(height * width / tile**2), count)
        return cls((channels, height, width), read_rows, strips)

    def read(self, a: int, b: int) -> Tensor:
        """Return rows [a, b). Shape: (1, C, b - a, W)."""
        return self._read_rows(a, b)

    def bands(self) -> Iterator[tuple[int, int]]:
        """Return the rows [a, b) of each strip, from top to bottom."""
        height = self.shape[2]
        rows = math.ceil(height / self.strips.number)
        return ((a, min(a + rows, height)) for a in range(0, height, rows))

    def statistics(self) -> Statistics:
        """Measure the strips, and store the map, which is about to be read again.

        Afterwards rows are read from a temporary file, and the maps that this one was computed
        from are released.

        Returns:
            Number, mean and variance of the numbers in each strip and channel, each (strips, C),
            float64.

        Raises:
            ValueError: If the file system of temporary files is full.
        """
        if self._statistics is not None:
            return self._statistics

        width = self.shape[3]
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed when the map goes)
        weakref.finalize(self, file.close)
        measured = []
        for a, b in self.bands():
            strip = self.read(a, b).float()
            variance, mean = torch.var_mean(strip, dim=(0, 2, 3), correction=0)
            number = torch.full_like(mean, (b - a) * width)
            measured.append(torch.stack([number, mean, variance]).double())
            _store(file, strip)
            self.strips.counted(strip.numel())

        self._read_rows = self._reader_of(file, strip.device)
        self._statistics = cast(Statistics, torch.stack(measured, 1).unbind())
        return self._statistics

    def _reader_of(self, file: FileIO, device: torch.device) -> ReadRows:
        """Return what reads rows from a file in which strips were stored one after another."""
        _, channels, _, width = self.shape

        def read_rows(a: int, b: int) -> Tensor:
            stored = np.empty((b - a, width, channels), np.float32)
            file.seek(a * width * channels * stored.itemsize)
            file.readinto(stored.data.cast("B"))
            return torch.from_numpy(stored).to(device)[None].permute(0, 3, 1, 2)

        return read_rows

    def pointwise(
        self, function: Callable[..., Tensor], *others: Any, channels: int | None = None
    ) -> Map:
        """Apply a function that works on each position by itself.

        Args:
            function: Takes rows of this map, then `others`.
            others: Maps of the same size, whose rows are passed; tensors and numbers, which are
                passed as they are.
            channels: Channels of the result; default those of this map.

        Returns:
            The map of the results.
        """

        def read_rows(a: int, b: int) -> Tensor:
            rows = [other.read(a, b) if isinstance(other, Map) else other for other in others]
            return function(self.read(a, b), *rows)

        return Map((channels or self.shape[1], *self.shape[2:]), read_rows, self.strips)

    def nearby(self, function: Callable[..., Tensor], reach: int, *others: Map) -> Map:
        """Apply a function that looks at positions around each, and that knows the map's border.

        Args:
            function: Takes rows of this map, then those of `others`, and returns as many.
            reach: Rows up and down that a row of the result depends on. Rows that it is given begin
                at a multiple of it and, but for the map's last, end at one.
            others: Maps of the same size.

        Returns:
            The map of the results.
        """
        height = self.shape[2]

        def read_rows(a: int, b: int) -> Tensor:
            top = max(a // reach - 1, 0) * reach
            bottom = min((math.ceil(b / reach) + 1) * reach, height)
            made = function(*(each.read(top, bottom) for each in (self, *others)))
            return made[:, :, a - top : b - top]

        return Map(self.shape[1:], read_rows, self.strips)

    def __add__(self, other: Any) -> Map:
        return self.pointwise(operator.add, other)

    def __mul__(self, other: Any) -> Map:
        return self.pointwise(operator.mul, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Map:
        return self.pointwise(operator.truediv, other)

    def contiguous(self, memory_format: torch.memory_format) -> Map:
        """Return the map itself: the memory format affects speed alone."""
        return self

    def float(self) -> Map:
        """Return the map in float32."""
        return self.pointwise(Tensor.float)

    def chunk(self, chunks: int, dim: int) -> tuple[Map, ...]:
        """Split the channels (dim is 1) into equal parts."""
        assert dim == 1
        assert self.shape[1] % chunks == 0
        size = self.shape[1] // chunks
        return tuple(
            self.pointwise(lambda x, i=i: x[:, i * size : (i + 1) * size], channels=size)
            for i in range(chunks)
        )

    def mean(self, dim: tuple[int, int]) -> Tensor:
        """Return the mean over all positions (dim is (2, 3)). Shape: (1, C), float32."""
        number, mean, _ = self.statistics()
        return (number * mean).sum(0, keepdim=True).div(number.sum(0, keepdim=True)).float()

    def amax(self, dim: tuple[int, int]) -> Tensor:
        """Return the largest number over all positions (dim is (2, 3)). Shape: (1, C), float32."""
        largest = [self.read(a, b).float().amax(dim) for a, b in self.bands()]
        return torch.stack(largest).amax(0)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Map:
        if function in OPERATIONS:
            return OPERATIONS[function](*args, **(kwargs or {}))
        assert function in (F.silu, torch.tanh), f"{function} is not known to work in strips"
        return cast(Map, args[0]).pointwise(function)


def _store(file: FileIO, strip: Tensor) -> None:
    """Append a strip (1, C, rows, W) to a file, channels last."""
    rows = strip[0].permute(1, 2, 0).contiguous().cpu().numpy()
    try:
        complete = file.write(rows.data.cast("B")) == rows.nbytes
    except OSError:
        complete = False
    if not complete:
        raise ValueError(
            f"its features need more room than {tempfile.gettempdir()} has; set TMPDIR"
        )


def _conv2d(
    x: Map,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: tuple[int, int],
    dilation: Any,
    groups: int,
) -> Map:
    """Convolve a map, with a stride of 1 and padding that keeps its size."""
    assert weight.shape[2] == 2 * padding[0] + 1
    assert set((*stride, *dilation)) == {1}
    height = x.shape[2]
    margin = padding[0]  # rows above and below that a row of the result depends on

    def read_rows(a: int, b: int) -> Tensor:
        top = max(a - margin, 0)
        bottom = min(b + margin, height)
        rows = F.pad(x.read(top, bottom), (0, 0, top - (a - margin), b + margin - bottom))
        return F.conv2d(rows, weight, bias, padding=(0, padding[1]), groups=groups)

    return Map((weight.shape[0], *x.shape[2:]), read_rows, x.strips)


def _group_norm(
    x: Map, groups: int, weight: None = None, bias: None = None, eps: float = 1e-5
) -> Map:
    """Normalize each group of channels by mean and variance over the whole map."""
    assert weight is None
    assert bias is None

    # Of each strip, group and channel of a group: (strips, groups, C / groups).
    number, mean, variance = (each.reshape(len(each), groups, -1) for each in x.statistics())

    # Mean and variance of a whole from those of its parts: (groups,), then (C, 1, 1).
    part = number / number.sum((0, 2), keepdim=True)
    group_mean = (part * mean).sum((0, 2), keepdim=True)
    group_variance = (part * (variance + (mean - group_mean) ** 2)).sum((0, 2), keepdim=True)
    shift, scale = (
        each.expand_as(mean[:1]).flatten()[:, None, None].float()
        for each in (group_mean, (group_variance + eps).rsqrt())
    )
    return x.pointwise(lambda rows: (rows - shift) * scale)


def _upscale(x: Map, factor: int, channels: int, function: Callable[[Tensor], Tensor]) -> Map:
    """Apply a function that makes `factor` rows, and columns, of each."""

    def read_rows(a: int, b: int) -> Tensor:
        first = a // factor
        rows = function(x.read(first, math.ceil(b / factor)))
        return rows[:, :, a - first * factor : b - first * factor]

    return Map((channels, x.shape[2] * factor, x.shape[3] * factor), read_rows, x.strips)


def _downscale(x: Map, factor: int, channels: int, function: Callable[[Tensor], Tensor]) -> Map:
    """Apply a function that makes one row, or column, of `factor`."""

    def read_rows(a: int, b: int) -> Tensor:
        return function(x.read(a * factor, b * factor))

    return Map((channels, x.shape[2] // factor, x.shape[3] // factor), read_rows, x.strips)


def _interpolate(x: Map, size: None, scale_factor: float, mode: str, **options: Any) -> Map:
    """Enlarge a map by nearest neighbours."""
    assert size is None
    assert mode == "nearest"

    def enlarge(rows: Tensor) -> Tensor:
        return F.interpolate(rows, scale_factor=scale_factor)

    return _upscale(x, int(scale_factor), x.shape[1], enlarge)


def _avg_pool2d(x: Map, factor: int) -> Map:
    """Shrink a map by means of `factor` x `factor` pixels."""
    return _downscale(x, factor, x.shape[1], lambda rows: F.avg_pool2d(rows, factor))


def _pixel_unshuffle(x: Map, factor: int) -> Map:
    """Fold `factor` x `factor` pixels into channels."""
    channels = x.shape[1] * factor**2
    return _downscale(x, factor, channels, lambda rows: F.pixel_unshuffle(rows, factor))


def _pixel_shuffle(x: Map, factor: int) -> Map:
    """Unfold channels into `factor` x `factor` pixels."""
    channels = x.shape[1] // factor**2
    return _upscale(x, factor, channels, lambda rows: F.pixel_shuffle(rows, factor))


def _warp(h: Map, flow: Map, theta: Tensor) -> Map:
    """Sample features as `Warp.warp` does; rows are read as far as the displacements go."""
    height, width = h.shape[2:]
    factor = height // flow.shape[2]  # a pixel of the flow's map in pixels of h
    unchanged = torch.eye(2, 3, device=theta.device)[None]

    def read_rows(a: int, b: int) -> Tensor:
        # Bilinear interpolation depends on one row of the flow above and one below.
        first = max(a // factor - 1, 0)
        last = min(math.ceil(b / factor) + 1, flow.shape[2])
        size = ((last - first) * factor, width)
        fine = F.interpolate(flow.read(first, last), size, mode="bilinear", align_corners=False)
        displacement = fine[:, :, a - first * factor : b - first * factor] * factor
        displacement = displacement + affine_flow(theta, height, width, a, b)

        # Two rows more: int rounds down, and bilinear sampling looks at one more row.
        margin = int(displacement[:, 1].nan_to_num().abs().max().clamp(max=height)) + 2
        top = max(a - margin, 0)
        bottom = min(b + margin, height)
        padded = F.pad(displacement, (0, 0, a - top, bottom - b))
        warped = Warp.warp(h.read(top, bottom), padded, unchanged)
        return warped[:, :, a - top : b - top]

    return Map(h.shape[1:], read_rows, h.strips)


# Functions that do more than look at one position, by what does the same for a map.
OPERATIONS: dict[Callable[..., Any], Callable[..., Map]] = {
    F.conv2d: _conv2d,
    F.group_norm: _group_norm,
    F.interpolate: _interpolate,
    F.avg_pool2d: _avg_pool2d,
    F.pixel_unshuffle: _pixel_unshuffle,
    F.pixel_shuffle: _pixel_shuffle,
    Warp.warp: _warp,
}
