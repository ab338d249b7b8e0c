"""Raw video from one stream to another: frames of one size, without headers, as ffmpeg pipes them.

Legend: H W pixels of a frame, uint8 (H, W, 3); Ds style dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np
from torch import Tensor

from translate.inference.domains import Direction
from translate.inference.predictor import Predictor
from translate.io.depth import Levels
from translate.io.images import Picture, UInt8, to_channels


@dataclass(frozen=True)
class VideoOptions:
    """How a stream of frames is translated.

    Args:
        size: (width, height) of every frame.
        direction: from which domain to which.
        style: (1, Ds), of all frames.
        batch_size: images of the training size in a forward pass; by default one on a CPU, so
            that few frames are on their way, else the device's.

    Raises:
        ValueError: for a frame without pixels.
    """

    size: tuple[int, int]
    direction: Direction
    style: Tensor
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"--rgb24 {self}: must be at least 1x1")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of a frame."""
        return self.size[1], self.size[0], 3

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


def translate_video(
    predictor: Predictor,
    source: BinaryIO,
    sink: BinaryIO,
    options: VideoOptions,
    written: Callable[[int], None],
) -> None:
    """Translate frames of 24 bits a pixel (rgb24) to the pixels that `Translator` gives them.

    No more frames are held than are in work, and each is written as soon as it and those before
    are done.

    Args:
        predictor: the model.
        source: frames, one after another.
        sink: where translations go, frame for frame.
        options: how.
        written: called with the number of frames so far.

    Raises:
        ValueError: for a stream that ends within a frame, after the frames before are written, for
            one without any, and for a frame whose translation is not finite.
    """
    frames = _Frames(source, options)
    batch_size = options.batch_size
    if batch_size is None and predictor.device.type == "cpu":
        batch_size = 1
    stream = predictor.predict_stream(
        ((picture, predictor.preprocess(picture)) for picture in frames),
        options.direction,
        lambda _: options.style,
        batch_size,
        carried=lambda _: predictor.carries(options.size),
    )
    number = 0
    with closing(stream):
        for picture, prediction in stream:
            number += 1
            if isinstance(prediction.pixels, ValueError):
                raise ValueError(f"frame {number}: {prediction.pixels}") from prediction.pixels
            (pixels,) = predictor.outputs(prediction, options.size, partial(_given, picture))
            assert not isinstance(pixels, Levels), "frames have 8 bits a channel"
            sink.write(to_channels(pixels, 3).tobytes())
            written(number)
    frames.check_end()


def _given(picture: Picture) -> Picture:
    return picture


class _Frames:
    """The frames of a stream, read as they are asked for."""

    def __init__(self, source: BinaryIO, options: VideoOptions) -> None:
        self.source = source
        self.options = options
        self.count = 0
        self.rest = 0  # bytes behind the last whole frame

    def __iter__(self) -> Iterator[Picture]:
        size = int(np.prod(self.options.shape))
        while len(data := self.source.read(size)) == size:
            self.count += 1
            # a copy that may be written to, as torch asks
            pixels: UInt8 = np.frombuffer(bytearray(data), np.uint8).reshape(self.options.shape)
            yield Picture(pixels, None, "", "RGB", ())
        self.rest = len(data)

    def check_end(self) -> None:
        """Refuse a stream that ended within a frame, or before the first."""
        height, width, channels = self.options.shape
        if self.rest:
            raise ValueError(
                f"--rgb24 {self.options}: the input ends within frame {self.count + 1}, after "
                f"{self.rest} of {height * width * channels} bytes; give the size of the frames "
                "and -pix_fmt rgb24"
            )
        if not self.count:
            raise ValueError(
                f"--rgb24 {self.options}: no frames on standard input; see what ffmpeg says"
            )
