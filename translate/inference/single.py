"""One picture, translated into its own size; where it goes to is the caller's.

Legend: C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from translate.inference.animation import frames_kept
from translate.inference.folder_options import DEFAULTS, FolderOptions, Progress, no_progress
from translate.inference.planning import check
from translate.inference.predictor import Predictor
from translate.inference.task import Task
from translate.io.depth import Levels, fitting
from translate.io.frames import FrameSequence
from translate.io.images import ImageError, UInt8, has_several_frames
from translate.io.metadata.record import Metadata
from translate.losses.energy import RejectedImageError

# what is about folders
NOT_OF_ONE = ("samples", "suffix", "skip_existing", "verify", "preview", "shard")


@dataclass(frozen=True)
class TranslatedPicture:
    """A picture and how it was made.

    Attributes:
        pixels: (H, W, C), or levels with an alpha of their own.
        alpha: (H, W), the input's.
        source: name of the domain translated from.
        to: name of the domain translated to.
        warnings: what was tolerated, and what is not kept.
        metadata: of the input, that the format holds.
    """

    pixels: UInt8 | Levels
    alpha: UInt8 | None
    source: str
    to: str
    warnings: tuple[str, ...]
    metadata: Metadata


@dataclass(frozen=True)
class TranslatedFrames:
    """What a file of several frames has become.

    Attributes:
        count: of frames.
        size: (width, height) of the largest.
        source: name of the domain translated from.
        to: name of the domain translated to.
        warnings: what was tolerated.
    """

    count: int
    size: tuple[int, int]
    source: str
    to: str
    warnings: tuple[str, ...]


def translate_picture(
    predictor: Predictor,
    path: Path,
    to: str | None = None,
    options: FolderOptions = DEFAULTS,
    progress: Progress = no_progress,
    kind: str = "PNG",
) -> TranslatedPicture:
    """Translate one picture to the same pixels as in a folder of its own.

    Args:
        predictor: the model.
        path: the picture.
        to: the target domain; see `find_direction`.
        options: those that are not about folders.
        progress: called with the share that is done, of 1.
        kind: the format that it is to be written in, which decides what is kept.

    Raises:
        ImageError: for a picture that cannot be read or translated, or is rejected.
        ValueError: for options that do not fit.
    """
    task = _task(predictor, path, to, options)
    picture = task.read(path, kind)
    items = [(path.name, predictor.preprocess(picture))]
    stream = predictor.predict_stream(
        items,
        task.direction,
        task.style_of,
        options.batch_size,
        task.threshold,
        on_strip=lambda _, share: progress(share, 1),
    )
    ((_, prediction),) = stream
    if isinstance(prediction.pixels, Exception):
        raise ImageError(str(prediction.pixels)) from prediction.pixels
    fitted = replace(picture, levels=fitting(picture.levels, kind))
    (pixels,), metadata, lost = task.fit(
        prediction, kind, picture.size, picture.bits, task.metadata(picture), lambda: fitted
    )
    warnings = (
        *task.warnings(picture, kind),
        *lost,
        *predictor.warnings(prediction, picture.size),
    )
    return TranslatedPicture(pixels, picture.alpha, *task.names, warnings, metadata)


def frames_of(path: Path, kind: str, options: FolderOptions) -> FrameSequence | str:
    """Return the frames that are to be translated, where there are several.

    Args:
        path: the picture.
        kind: the output's format.
        options: those of `translate_picture`.

    Returns:
        The frames, or what is to be said of the first alone, which may be nothing.

    Raises:
        ImageError: as `frames_kept` does.
    """
    if options.frames != "all" or not has_several_frames(path):
        return ""
    return frames_kept(path, kind, options.max_pixels)


def translate_animation(
    predictor: Predictor,
    path: Path,
    sequence: FrameSequence,
    output: tuple[BinaryIO, str],
    to: str | None = None,
    options: FolderOptions = DEFAULTS,
    progress: Progress = no_progress,
) -> TranslatedFrames:
    """Translate all frames of a file to the same bytes as in a folder of its own.

    Args:
        predictor: the model.
        path: the file.
        sequence: its frames.
        output: a file, empty, open for reading and writing, and its format.
        to: the target domain; see `find_direction`.
        options: those that are not about folders.
        progress: called with the share that is done, of 1.

    Raises:
        ImageError: for a frame that cannot be read or translated, or is rejected.
        ValueError: for options that do not fit.
    """
    task = _task(predictor, path, to, options)
    file, kind = output
    try:
        warnings = task.translate_frames(
            path, path.name, sequence, ([file], kind), lambda share: progress(share, 1)
        )
    except RejectedImageError as error:
        raise ImageError(str(error)) from error
    return TranslatedFrames(len(sequence.places), max(sequence.sizes), *task.names, warnings)


def _task(predictor: Predictor, path: Path, to: str | None, options: FolderOptions) -> Task:
    """Check the options, and find out what one picture is to become."""
    for name in NOT_OF_ONE:
        check(
            getattr(options, name) == getattr(DEFAULTS, name),
            f"--{name.replace('_', '-')}: is for folders; name a folder to write into",
        )
    return Task.find(predictor, [path], to, options, nullcontext)
