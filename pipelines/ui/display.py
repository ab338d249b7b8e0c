"""Pictures as the page shows them: PNG files in sizes for the screen, and rows of small ones."""

from __future__ import annotations

import html
from contextlib import suppress
from pathlib import Path

from pipelines.ui.paths import some_pictures

THUMBNAIL = 320  # px, the longer side
LARGE = 1600
IN_A_ROW = 128
MAGNIFIED = 640  # px to which smaller pictures are enlarged, by whole pixels


def thumbnail(picture: Path, folder: Path, name: str) -> Path:
    """Write a small copy of a picture, over white, unless it is there; return it.

    Args:
        picture: what to show.
        folder: of the copies.
        name: of the copy, relative to that, without suffix.

    Raises:
        ImageError: for a picture that cannot be read.
    """
    return _copy(picture, folder / f"{name}-{THUMBNAIL}.png", THUMBNAIL, 1)


def large_copy(picture: Path, folder: Path, name: str) -> Path:
    """Write a copy of a picture for the large view; see `thumbnail`."""
    return _copy(picture, folder / f"{name}-{LARGE}.png", LARGE, MAGNIFIED)


def _copy(picture: Path, copy: Path, largest: int, smallest: int) -> Path:
    """Write a copy whose longer side is in a range of pixels, as far as whole pixels go."""
    import numpy as np

    from translate.io.files import make_parent
    from translate.io.images import composite, read_image, resize, write_image

    if copy.exists():
        return copy
    pixels = composite(read_image(picture))
    height, width = pixels.shape[:2]
    side = max(width, height)
    if side > largest:
        size = (max(1, round(width * largest / side)), max(1, round(height * largest / side)))
        pixels = resize(pixels, size)
    times = max(1, smallest // side)
    make_parent(copy)
    write_image(copy, np.repeat(np.repeat(pixels, times, axis=0), times, axis=1))
    return copy


def strip(folder: Path, count: int) -> str:
    """Return a row of pictures of a folder as HTML; broken ones are left out.

    Args:
        folder: with sub-folders.
        count: at most so many, evenly spaced by name.
    """
    from translate.io.images import ImageError, composite, read_image
    from translate.viz.pages import to_data_uri

    images = []
    for path in some_pictures(folder, count):
        with suppress(ImageError):
            source = to_data_uri(composite(read_image(path)), IN_A_ROW)
            name = html.escape(path.relative_to(folder).as_posix())
            images.append(f'<img src="{source}" alt="{name}" title="{name}">')
    return f'<div class="strip">{"".join(images)}</div>'
