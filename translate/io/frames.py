"""Files of several frames, read frame by frame: animations, and TIFFs of several pages.

A frame is what a viewer shows: whatever an animation lays over an earlier frame is composed.
Legend: C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from translate.io.files import PathLike, open_regular
from translate.io.images import FORMATS, ONE_FRAME, ImageError, Picture, decode, image_errors
from translate.io.ranges import FILE
from translate.io.trial import require_decodable

# a frame counts as so many pixels at least: a million tiny frames take as long as large ones
LEAST_PIXELS = 64 * 64
NEW_SUBFILE_TYPE = 254  # TIFF
# of a GIF: the label of the block that controls a frame, and its flags
GRAPHIC_CONTROL = 0xF9
HOLES = 1
DISPOSAL = 7 << 2
CLEARED = 2 << 2
NO_PAGE = 1 | 4  # its bits for a reduced copy of another page, and for a mask
PAGE_MILLISECONDS = 100  # of a page where pages become an animation, as browsers show a GIF's 0


class Frame(NamedTuple):
    """One frame.

    Attributes:
        picture: as a viewer shows it.
        milliseconds: how long.
    """

    picture: Picture
    milliseconds: int


@dataclass(frozen=True)
class FrameSequence:
    """What a file's headers tell of its frames.

    Attributes:
        places: where they are in the file, as Pillow counts.
        sizes: (width, height) of each.
        plays: how often an animation is shown, 0 is for ever.
        timed: whether frames have durations; a TIFF's pages have none.
        has_alpha: whether any frame has alpha.
        warnings: what is in the file and is no frame, a phrase each.
    """

    places: Sequence[int]
    sizes: Sequence[tuple[int, int]]
    plays: int
    timed: bool
    has_alpha: bool
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of all frames, None where they differ."""
        return self.sizes[0] if len(set(self.sizes)) == 1 else None


def read_sequence(path: PathLike, max_pixels: int = 178_000_000) -> FrameSequence:
    """Read from a file's headers which frames it has.

    Args:
        path: the file, of one of FORMATS.
        max_pixels: of all frames together; each counts as LEAST_PIXELS at least.

    Raises:
        ImageError: for a file that cannot be read, and for one with more pixels.
    """
    with image_errors(), open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
        require_decodable(image, file, max_pixels)
        if isinstance(image, TiffImageFile):
            sequence = _pages(image)
        elif isinstance(image, GifImageFile):
            sequence = _gif(image, file)
        else:
            sequence = _animation(image)
    pixels = sum(max(width * height, LEAST_PIXELS) for width, height in sequence.sizes)
    if pixels > max_pixels:
        width, height = max(sequence.sizes)
        raise ImageError(
            f"{len(sequence.sizes)} frames of {width} x {height} are {pixels / 1e6:.6g} Mpx and "
            f"exceed --max-pixels {max_pixels / 1e6:.6g} Mpx; raise it, or translate the first "
            "with --frames first"
        )
    return sequence


def _pages(image: TiffImageFile) -> FrameSequence:
    """Return the pages of a TIFF, but for reduced copies of other pages and for masks."""
    places: list[int] = []
    sizes: list[tuple[int, int]] = []
    has_alpha = False
    for place in range(image.n_frames):
        image.seek(place)
        if place == 0 or not int(image.tag_v2.get(NEW_SUBFILE_TYPE, 0)) & NO_PAGE:
            places.append(place)
            sizes.append(image.size)
            has_alpha |= image.has_transparency_data
    left_out = image.n_frames - len(places)
    warnings = (f"{left_out} reduced copies or masks left out",) if left_out else ()
    return FrameSequence(places, sizes, 0, False, has_alpha, warnings)


def _animation(image: ImageFile) -> FrameSequence:
    """Return the frames of an animation; an APNG's picture for other viewers is none."""
    hidden = int(image.info.get("default_image", False))
    places = range(hidden, getattr(image, "n_frames", 1))
    warnings = ("the picture for viewers without animation left out",) if hidden else ()
    plays = image.info.get("loop", 0)
    has_alpha = image.has_transparency_data
    return FrameSequence(places, [image.size] * len(places), plays, True, has_alpha, warnings)


def _gif(image: GifImageFile, file: BinaryIO) -> FrameSequence:
    """Return the frames of a GIF.

    Raises:
        ImageError: for frames that reach beyond the canvas: Pillow would enlarge it without bound.
    """
    # without the number it is shown once, else as often again as the number says
    repeats = image.info.get("loop")
    plays = 1 if repeats is None else (repeats and repeats + 1)
    width, height = image.size
    places = range(image.n_frames)
    controls: list[int] = []
    for right, bottom, control in _gif_frames(file):
        controls.append(control)
        if right > width or bottom > height:
            raise ImageError(
                f"has frames that reach beyond its canvas of {width} x {height}; translate the "
                "first with --frames first"
            )
    # over a first frame without holes, those of later ones show it, unless it was cleared
    is_cleared = any(control & DISPOSAL == CLEARED for control in controls)
    has_alpha = any(control & HOLES for control in controls if is_cleared or controls[0] & HOLES)
    return FrameSequence(places, [image.size] * len(places), plays, True, has_alpha)


def _gif_frames(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Yield of each frame of a GIF the right end, the lower end, and the flags that control it."""

    def skip_palette(flags: int) -> None:
        if flags & 0x80:
            file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)

    def skip_blocks() -> None:
        while (length := file.read(1)) not in (b"", b"\0"):
            file.seek(length[0], os.SEEK_CUR)

    file.seek(10)
    skip_palette(file.read(3)[0])
    control = 0
    while (kind := file.read(1)) in (b"!", b","):
        if kind == b"!":
            label, _, flags = file.read(3)
            if label == GRAPHIC_CONTROL:
                control = flags
            file.seek(-2, os.SEEK_CUR)
        else:
            left, top, width, height, flags = struct.unpack("<4HB", file.read(9))
            yield left + width, top + height, control
            control = 0
            skip_palette(flags)
            file.seek(1, os.SEEK_CUR)
        skip_blocks()


def read_frames(
    path: PathLike,
    sequence: FrameSequence,
    value_range: str = FILE,
    profile_space: str | None = None,
) -> Generator[Frame]:
    """Decode the frames of a file, one after another; none is kept.

    Args:
        path: the file.
        sequence: its frames, by `read_sequence`.
        value_range: as of `read_image`.
        profile_space: as of `read_image`.

    Raises:
        ImageError: at the first frame that cannot be decoded; it says which.
    """
    suffix = Path(path).suffix.lower()
    with ExitStack() as stack:
        with image_errors():
            file = stack.enter_context(open_regular(path))
            image = stack.enter_context(Image.open(file, formats=FORMATS))
        for number, place in enumerate(sequence.places):
            try:
                with image_errors():
                    _move(image, place, sequence.sizes[number])
                    picture = decode(image, file, suffix, value_range, profile_space)
            except ImageError as error:
                raise ImageError(f"frame {number + 1}: {error}") from error
            yield _frame(picture, image, sequence.timed)


def _move(image: ImageFile, place: int, size: tuple[int, int]) -> None:
    """Move an opened file to the frame at a place."""
    if isinstance(image, GifImageFile):
        # Pillow keeps the last frame's where a frame names none; viewers then leave the frame
        image.disposal_method = 0
    image.seek(place)
    if image.size != size:
        raise ImageError("has another size than the file's headers say")


def _frame(picture: Picture, image: ImageFile, timed: bool) -> Frame:
    """Return the frame that an opened file is at."""
    warnings = tuple(text for text in picture.warnings if text != ONE_FRAME)
    milliseconds = round(image.info.get("duration", 0)) if timed else PAGE_MILLISECONDS
    return Frame(replace(picture, warnings=warnings), milliseconds)
