"""The translation of a file of several frames: all in one style, written as they come.

Legend: K variants of the file, Ds style dimensions; `size` is (width, height).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from torch import Tensor

from translate.inference.domains import Direction
from translate.inference.predictor import Prediction, Predictor
from translate.inference.styles import default_workers
from translate.io.depth import fitting, lost_depth
from translate.io.frame_writers import (
    FRAME_FORMATS,
    encode_frame,
    frame_writer,
    holds_frames,
    lost_of_frames,
)
from translate.io.frames import Frame, FrameSequence, read_frames, read_sequence
from translate.io.images import DEFAULT_QUALITY, ImageError, UInt8
from translate.io.lost import layout_of, lost_of_picture, profile_space
from translate.io.metadata.descriptions import Layout
from translate.io.metadata.record import NONE, Metadata
from translate.losses.energy import RejectedImageError, RejectionThreshold
from translate.runtime.prefetch import ahead

FRAMES = ("all", "first")
MOST_COMPLAINTS = 5  # of frames in a file's warnings


@dataclass(frozen=True)
class FrameOptions:
    """How the frames of a file are translated.

    Args:
        direction: from which domain to which.
        styles: (K, Ds), of all frames.
        kind: format of the outputs, one that holds the frames.
        batch_size: images of the training size in a forward pass, default the device's.
        threshold: of energies of the source domain.
        quality: of lossy formats, 1 to 100.
        workers: threads that encode frames, default one a core, at most 8.
        strip: write no metadata.
        keep_profile: stay in the colour profile, where the format and the model can.
    """

    direction: Direction
    styles: Tensor
    kind: str
    batch_size: int | None = None
    threshold: RejectionThreshold | None = None
    quality: int = DEFAULT_QUALITY
    workers: int | None = None
    strip: bool = False
    keep_profile: bool = False


class _Item(NamedTuple):
    """A frame on its way through the model: its place, and its size."""

    place: int
    size: tuple[int, int]


def frames_kept(path: Path, kind: str, max_pixels: int) -> FrameSequence | str:
    """Find out which frames of a file that has several an output can have.

    Args:
        path: the file.
        kind: the output's format.
        max_pixels: of all frames together.

    Returns:
        The frames, or a phrase that says why there is the first alone.

    Raises:
        ImageError: for frames of more pixels, and for headers that cannot be read.
    """
    if kind not in FRAME_FORMATS:
        return f"{kind} holds one frame: --format webp, gif, png or tiff keeps all"
    sequence = read_sequence(path, max_pixels)
    if len(sequence.places) == 1:
        return "; ".join(sequence.warnings)
    if holds_frames(kind, sequence):
        return sequence
    return f"{kind} holds frames of one size alone: --format tiff keeps all"


def translate_frames(
    predictor: Predictor,
    path: Path,
    sequence: FrameSequence,
    files: Sequence[BinaryIO],
    options: FrameOptions,
    progress: Callable[[float], None],
) -> tuple[str, ...]:
    """Translate all frames of a file, each to the pixels that it would have as a picture alone.

    No more frames are held than are in work: the file is decoded twice, before the model and, as
    it comes, for what the model has made.

    Args:
        predictor: the model.
        path: the file.
        sequence: its frames.
        files: K outputs, empty, open for reading and writing.
        options: how.
        progress: called with the share that is done, in (0, 1); what it raises ends the work.

    Returns:
        What is to be said of the outputs, a phrase each.

    Raises:
        ImageError: for a frame that cannot be read or translated; it says which.
        RejectedImageError: for a frame above a threshold that skips.
    """
    count = len(sequence.places)
    workers = options.workers or default_workers()
    complaints = Counter[str]()

    # animations have 8 bits a channel, so that all their frames are of one kind
    deepest = kind = options.kind
    channels = predictor.config.data.channels
    if kind != "TIFF":
        deepest = f"an animated {kind}"
    read = partial(
        read_frames,
        path,
        sequence,
        predictor.value_range,
        profile_space(kind, channels) if options.keep_profile else None,
    )
    of_file = NONE
    if kind != "TIFF" and not options.strip:
        of_file = _metadata_of_file(read(), sequence, kind, channels)

    def encode(made: tuple[tuple[_Item, Prediction], Frame]) -> tuple[list[bytes], tuple[str, ...]]:
        (item, prediction), (picture, _) = made
        fitted = replace(picture, levels=fitting(picture.levels, deepest))
        variants = predictor.outputs(prediction, picture.size, lambda: fitted)
        metadata = NONE if item.place else of_file
        lost = (
            *lost_of_picture(picture, kind, channels),
            *lost_depth(picture.bits, variants[0], deepest),
        )
        if kind == "TIFF" and not options.strip:
            found = picture.metadata.of_page(item.place)
            metadata = found.fitting(kind, layout_of(variants[0], count))
            lost += metadata.lost
        data = [
            encode_frame(kind, sequence, pixels, picture.alpha, options.quality, metadata)
            for pixels in variants
        ]
        return data, lost

    with ExitStack() as stack:
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        predicted = _predictions(predictor, read(), count, options, progress)
        stream = stack.enter_context(closing(predicted))
        again = stack.enter_context(closing(read()))
        writers = [
            stack.enter_context(frame_writer(kind, file, sequence, options.quality, of_file))
            for file in files
        ]
        frames = zip(stream, again, strict=True)
        for ((item, prediction), frame), encoding in ahead(pool, encode, frames, workers):
            with _named(item):
                if isinstance(prediction.pixels, Exception):
                    raise prediction.pixels
                variants, lost = encoding.result()
                for writer, data in zip(writers, variants, strict=True):
                    writer.add(data, frame.milliseconds)
            complaints.update((*frame.picture.warnings, *lost))
            complaints.update(predictor.warnings(prediction, item.size))
            if item.place + 1 < count:  # the whole file is counted by who asked for it
                progress((item.place + 1) / count)
    lost = (*sequence.warnings, *lost_of_frames(kind, sequence), *of_file.lost)
    return (*lost, *_summary(complaints, count))


def _metadata_of_file(
    frames: Generator[Frame], sequence: FrameSequence, kind: str, channels: int
) -> Metadata:
    """Return what an animation of a format keeps: the metadata of the first frame."""
    with closing(frames):
        picture = next(frames).picture
    width, height = picture.size
    layout = Layout(width, height, channels, pages=len(sequence.places))
    kept = picture.metadata.fitting(kind, layout)
    if sequence.timed:
        return kept
    return replace(kept, lost=(*kept.lost, "the metadata is that of the first page"))


def _predictions(
    predictor: Predictor,
    frames: Generator[Frame],
    count: int,
    options: FrameOptions,
    progress: Callable[[float], None],
) -> Generator[tuple[_Item, Prediction]]:
    """Yield what the model makes of each of so many frames, in order."""

    def prepared() -> Iterator[tuple[_Item, UInt8]]:
        with closing(frames):
            for place, frame in enumerate(frames):
                yield _Item(place, frame.picture.size), predictor.preprocess(frame.picture)

    # of frames of one shape the predictions come in order
    for _, run in itertools.groupby(prepared(), lambda item: item[1].shape):
        yield from predictor.predict_stream(
            run,
            options.direction,
            lambda _: options.styles,
            options.batch_size,
            options.threshold,
            lambda item: predictor.carries(item.size),
            lambda item, share: progress((item.place + share) / count),
        )


@contextmanager
def _named(item: _Item) -> Iterator[None]:
    """Name the frame in what is wrong with it."""
    try:
        yield
    except RejectedImageError as error:
        raise RejectedImageError(f"frame {item.place + 1}: {error}") from error
    except ValueError as error:
        raise ImageError(f"frame {item.place + 1}: {error}") from error


def _summary(complaints: Counter[str], count: int) -> list[str]:
    """Return the first complaints of frames, and how many frames each is of."""
    said = [
        text if times == count else f"{text} (of {times} of {count} frames)"
        for text, times in complaints.items()
    ]
    more = len(said) - MOST_COMPLAINTS
    return said if more <= 0 else [*said[:MOST_COMPLAINTS], f"and {more} more of other frames"]
