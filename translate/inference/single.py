"""One picture, translated into its own size; where it goes to is the caller's.

Legend: C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from translate.inference.folder import DEFAULTS, FolderOptions, Progress, no_progress
from translate.inference.likeness import find_direction
from translate.inference.planning import check
from translate.inference.predictor import Predictor
from translate.inference.styles import style_source
from translate.io.depth import Levels, fitting, lost_depth
from translate.io.images import ImageError, UInt8

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
        warnings: what was tolerated.
    """

    pixels: UInt8 | Levels
    alpha: UInt8 | None
    source: str
    to: str
    warnings: tuple[str, ...]


def translate_picture(
    predictor: Predictor,
    path: Path,
    to: str | None = None,
    options: FolderOptions = DEFAULTS,
    progress: Progress = no_progress,
    kind: str = "",
) -> TranslatedPicture:
    """Translate one picture to the same pixels as in a folder of its own.

    Args:
        predictor: the model.
        path: the picture.
        to: the target domain; see `find_direction`.
        options: those that are not about folders.
        progress: called with the share that is done, of 1.
        kind: the format that it is to be written in; some hold more than 8 bits a channel.

    Raises:
        ImageError: for a picture that cannot be read or translated, or is rejected.
        ValueError: for options that do not fit.
    """
    for name in NOT_OF_ONE:
        check(
            getattr(options, name) == getattr(DEFAULTS, name),
            f"--{name.replace('_', '-')}: is for folders; name a folder to write into",
        )
    source, target = direction = find_direction(
        predictor, [path], to, options.source, options.style, options.max_pixels
    )
    names = predictor.config.data.names
    threshold = None
    if options.reject is not None:
        threshold = predictor.rejection_threshold(source, options.reject, options.reject_skip)
    style_of = style_source(predictor, options.style, names[target], options.seed)

    picture = predictor.read(path, options.max_pixels)
    items = [(path.name, predictor.preprocess(picture))]
    stream = predictor.predict_stream(
        items,
        direction,
        style_of,
        options.batch_size,
        threshold,
        on_strip=lambda _, share: progress(share, 1),
    )
    ((_, prediction),) = stream
    if isinstance(prediction.pixels, Exception):
        raise ImageError(str(prediction.pixels)) from prediction.pixels
    fitted = replace(picture, levels=fitting(picture.levels, kind))
    (pixels,) = predictor.outputs(prediction, picture.size, lambda: fitted)
    warnings = (
        *picture.warnings,
        *predictor.warnings(prediction, picture.size),
        *lost_depth(picture.bits, pixels, kind),
    )
    return TranslatedPicture(pixels, picture.alpha, names[source], names[target], warnings)
