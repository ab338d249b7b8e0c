"""Files to arrays and back: the only place that decodes or encodes images.

Legend: H, W height and width; C channels, 1 (gray) or 3 (sRGB); pixels uint8 (H, W, C); `size`
is (width, height).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError, features
from PIL.TiffImagePlugin import TiffImageFile

from translate.io.depth import Levels, encode_levels, has_hidden_depth, is_deep, read_levels
from translate.io.files import PathLike, atomic, list_files, open_regular
from translate.io.metadata.deep import with_metadata
from translate.io.metadata.reading import SWAPPING, find_metadata
from translate.io.metadata.record import NONE, Metadata
from translate.io.profiles import in_srgb
from translate.io.ranges import FILE
from translate.io.trial import DecodingLimitError, require_decodable
from translate.runtime.process_state import PROCESS_STATE

UInt8: TypeAlias = NDArray[np.uint8]

# Codecs that Pillow may have been built without: their formats, and Pillow's name of the feature.
OPTIONAL_FORMATS = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
FORMATS = (
    *("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"),
    *(name for name, codec in OPTIONAL_FORMATS.items() if features.check(codec)),
)
# What a folder scan takes for an image, and what a name asks for when writing; decoding goes by
# content.
SUFFIXES = {f".{name.lower()}": name for name in FORMATS if name != "JPEG2000"} | {
    ".jpg": "JPEG",
    ".jfif": "JPEG",
    ".tif": "TIFF",
    ".apng": "PNG",
}
if "JPEG2000" in FORMATS:
    SUFFIXES |= {".jp2": "JPEG2000", ".j2k": "JPEG2000"}
# Suffixes of images of formats that are not read: to be named among failures, not left out.
FOREIGN_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avif", "exr", "hdr", "heic", "heif", "ico", "j2k", "jp2", "jpe", "jxl"),
        *("pbm", "pgm", "pnm", "ppm", "psd", "svg", "tga"),
        *("arw", "cr2", "cr3", "dng", "nef", "orf", "raf", "rw2"),  # raw photographs
    )
)
ALPHA_FORMATS = ("PNG", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000")
DEFAULT_QUALITY = 95
ONE_FRAME = "has several frames, only the first is used"
CLEAR = 255  # index of a GIF's palette that stands for transparency
# EXIF orientation -> what undoes it; 1 is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow itself refuses twice as many. Some formats allocate when they are opened, before a size can
# be compared with `max_pixels`: a GIF of 50 bytes took 4 GB.
PILLOW_PIXELS = 500_000_000
_lock = threading.Lock()
_quiet = ExitStack()
_readers = 0


class ImageError(ValueError):
    """A file cannot be read as an image; the message is one line, without the path."""


@dataclass(frozen=True)
class Picture:
    """A decoded file, upright and in sRGB, or in the profile of its metadata.

    Attributes:
        pixels: uint8 (H, W, 3).
        alpha: uint8 (H, W), 0 is transparent; None where the file has none.
        format: the file's format, one of FORMATS.
        mode: Pillow's name of the file's own colour model and depth, such as L or RGBA.
        warnings: what was tolerated in the file, a phrase each.
        levels: its own numbers, where it has more than 8 bits a channel.
        several: whether it is the first of several frames, which `translate.io.frames` reads.
        metadata: what the file says besides.
        converted_from: name of the colour profile from which the colours were converted.
    """

    pixels: UInt8
    alpha: UInt8 | None
    format: str
    mode: str
    warnings: tuple[str, ...]
    levels: Levels | None = None
    several: bool = False
    metadata: Metadata = NONE
    converted_from: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def bits(self) -> int:
        """How many bits a channel can be had: 8, 16, or 32 for floats."""
        return 8 if self.levels is None else 8 * self.levels.values.itemsize


def read_image(
    path: PathLike,
    max_pixels: int = 178_000_000,
    value_range: str = FILE,
    profile_space: str | None = None,
) -> Picture:
    """Decode one file by its content: the first frame, upright, in sRGB.

    Of more than 8 bits a channel, black and white are by default what the file's tags say, else
    0 and 65535, and 0 and 1 of floats; what lies outside is clipped with a warning. As 8 bits, gray
    is rounded and colour of the whole range keeps its high byte. Safe to call from several threads.

    Args:
        path: the file; its suffix is compared with its content, for a warning.
        max_pixels: width times height above which a file is refused before it is decoded.
        value_range: what is black and white in files of more than 8 bits a channel, see
            `fixed_range`.
        profile_space: "RGB" or "GRAY": colours of a profile for that space stay as they are, and
            it is part of the metadata.

    Raises:
        ImageError: whatever is wrong with the file or with the access to it.
    """
    with image_errors(), open_regular(path) as file:
        if not file.read(1):
            raise ImageError("empty file")
        with Image.open(file, formats=FORMATS) as image:
            size = image.width * image.height
            if size > max_pixels:
                raise ImageError(
                    f"{size / 1e6:.6g} Mpx exceed --max-pixels {max_pixels / 1e6:.6g} Mpx"
                )
            require_decodable(image, file, max_pixels)
            return decode(image, file, Path(path).suffix.lower(), value_range, profile_space)


@contextmanager
def image_errors() -> Iterator[None]:
    """Raise ImageError for whatever Pillow meets in a file; its own warnings are kept quiet."""
    try:
        with _pillow_kept_quiet():
            yield
    except MemoryError:  # the machine's fault, not the file's
        raise
    except Exception as error:
        # hostile bytes make decoders raise anything: struct.error, AssertionError, KeyError
        raise ImageError(_reason(error)) from error


def read_thumbnail(path: PathLike, side: int, max_pixels: int = 178_000_000) -> UInt8:
    """Decode one file coarsely and quickly: over white, as it lies in the file, colours as stored.

    Args:
        path: the file.
        side: pixels of the square that it is squeezed into.
        max_pixels: as of `read_image`.

    Returns:
        uint8 (side, side, 3).

    Raises:
        ImageError: whatever is wrong with the file or with the access to it.
    """
    with (
        image_errors(),
        open_regular(path) as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        if image.width * image.height > max_pixels:
            raise ImageError("too large")
        require_decodable(image, file, max_pixels)
        image.draft("RGB", (2 * side, 2 * side))  # JPEG: decodes fewer pixels
        rawmode = _rawmode(image)
        image.load()
        plain, alpha = _without_alpha(image, rawmode)
        if plain.mode[0] in "IF":
            levels = read_levels(image, file, rawmode, FILE, [])
            assert levels is not None
            plain = _to_pillow(levels.to_bytes())
        picture = Picture(np.array(plain.convert("RGB")), alpha, "", "", ())
    small = Image.fromarray(composite(picture)).resize((side, side), Image.Resampling.BOX)
    return np.array(small)


def has_several_frames(path: PathLike) -> bool:
    """Tell from its headers whether a file has several frames, of which `read_image` reads one.

    Raises:
        ImageError: the headers cannot be read.
    """
    with image_errors(), open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
        return _has_several_frames(image)


def looks_like_image(path: PathLike) -> bool:
    """Tell whether a file calls itself an image or begins like one of a format that is read.

    A file that cannot be opened is taken for one, so that reading it says why.
    """
    if is_named_like_image(path):
        return True
    try:
        with open_regular(path) as file:
            return begins_like_image(file)
    except OSError:
        return True


def is_named_like_image(path: PathLike) -> bool:
    """Tell whether a file has the suffix of an image, of whatever format."""
    return Path(path).suffix.lower() in SUFFIXES.keys() | FOREIGN_SUFFIXES


def begins_like_image(file: BinaryIO) -> bool:
    """Tell whether bytes begin like an image of a format that is read; see `looks_like_image`."""
    try:
        with _pillow_kept_quiet(), Image.open(file, formats=FORMATS):
            return True
    except Exception as error:  # hostile bytes, see read_image
        return isinstance(error, OSError) and error.errno is not None


def read_size(path: PathLike) -> tuple[int, int]:
    """Read the width and height that `read_image` gives a file, from its header alone.

    Raises:
        ImageError: the header cannot be read.
    """
    try:
        with (
            _pillow_kept_quiet(),
            open_regular(path) as file,
            Image.open(file, formats=FORMATS) as image,
        ):
            width, height = image.size
            turn = None
            with suppress(Exception):  # malformed, see _upright
                # not where it is missing: a PNG would be decoded to look for it behind the pixels
                if "exif" in image.info:
                    turn = image.getexif().get(ExifTags.Base.Orientation)
            return (height, width) if turn in SWAPPING else (width, height)
    except Exception as error:  # hostile bytes, see read_image
        raise ImageError(_reason(error)) from error


def count_pixels(path: PathLike) -> int:
    """Return how many pixels decoding a file gives, from its header; 0 where it cannot be read."""
    try:
        width, height = read_size(path)
    except ImageError:
        return 0
    return width * height


def _reason(error: Exception) -> str:
    """Return what is wrong with a file, in one line, from whatever decoding it raised."""
    if isinstance(error, UnidentifiedImageError):
        formats = ", ".join(FORMATS)
        return f"not an image of a supported format ({formats}), or damaged in its header"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * PILLOW_PIXELS / 1e6:g} Mpx, too large to be opened"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror.lower()}"

    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ImageError | DecodingLimitError):
        return text
    return f"{'truncated' if 'truncat' in text.lower() else 'damaged'} ({text})"


@contextmanager
def _pillow_kept_quiet() -> Iterator[None]:
    """Silence Pillow's warnings, shown or raised, and raise its limit of pixels above ours."""
    global _readers
    # this state belongs to the process, not to a thread: the first reader sets it, the last
    # restores it, and no other thread changes it in between
    with _lock:
        if not _readers:
            PROCESS_STATE.acquire()
            _quiet.callback(PROCESS_STATE.release)
            _quiet.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            _quiet.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            Image.MAX_IMAGE_PIXELS = PILLOW_PIXELS
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                _quiet.close()


def _rawmode(image: ImageFile.ImageFile) -> str:
    """Return how the pixels lie in an opened file, as Pillow names it; gone once it is loaded."""
    arguments = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def decode(
    image: ImageFile.ImageFile,
    file: BinaryIO,
    suffix: str,
    value_range: str,
    profile_space: str | None = None,
) -> Picture:
    """Decode the frame that an opened file is at.

    Args:
        image: the file as Pillow opened it; it can be moved to another frame afterwards.
        file: the same file.
        suffix: of its name, in lower case.
        value_range: as of `read_image`.
        profile_space: as of `read_image`.
    """
    notes: list[str] = []
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    mode = image.mode
    if SUFFIXES.get(suffix, kind) != kind:
        notes.append(f"named {suffix} but its content is {kind}")
    several = _has_several_frames(image)
    if several:
        notes.append(ONE_FRAME)

    rawmode = _rawmode(image)
    deep = is_deep(image, rawmode)
    # of animations Pillow alone composes frames, and deep colour it reads to 8 bits
    composed = several and not isinstance(image, TiffImageFile)
    stored, turn, metadata = _load(image, file, notes)
    levels = None
    if deep and (not composed or image.mode[0] in "IF"):
        levels = read_levels(image, file, rawmode, value_range, notes, stored)
    profile: bytes | None = image.info.get("icc_profile")
    upright = image.transpose(TURNS[turn]) if turn in TURNS else image
    if composed:
        upright = upright.copy()  # the next frame needs the file's own transparency
    plain, alpha = _without_alpha(upright, rawmode)
    if levels is not None:
        levels = levels.upright(turn, alpha)
        plain = _to_pillow(levels.to_bytes())

    plain, kept, converted_from = in_srgb(plain, profile, profile_space, notes)
    metadata = replace(metadata, profile=kept)
    if converted_from:
        levels = None
    if deep and levels is None:
        why = "its colour profile is applied" if converted_from else "gray and RGB alone are kept"
        if composed:
            why = "it is an animation"
        notes.append(f"more than 8 bits a channel became 8: {why}")
    elif has_hidden_depth(image, file):
        notes.append(f"more than 8 bits a channel became 8: colour of {kind} is read so")
    pixels = np.array(plain.convert("RGB"))
    facts = (levels, several, metadata, converted_from)
    return Picture(pixels, alpha, kind, mode, tuple(notes), *facts)


def _load(
    image: ImageFile.ImageFile, file: BinaryIO, notes: list[str]
) -> tuple[int, int, Metadata]:
    """Load an opened file's pixels.

    Returns:
        The orientation that the file has, the one that the pixels still have, and metadata.
    """
    if isinstance(image, TiffImageFile):
        # Pillow turns a TIFF as it loads it
        stored = _orientation(image, [])
        metadata = _metadata(image, file, stored)
        image.load()
        return stored, _orientation(image, notes), metadata
    image.load()
    turn = _orientation(image, notes)  # PNG may hold EXIF and text behind the pixels
    return turn, turn, _metadata(image, file, turn)


def _has_several_frames(image: ImageFile.ImageFile) -> bool:
    # MPO: a photograph with its depth or gain map
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _orientation(image: ImageFile.ImageFile, notes: list[str]) -> int:
    """Return the orientation of EXIF or XMP, 1 to 8; a warning is added where it is malformed."""
    turn: object = None
    with suppress(Exception):  # a parser of bytes, see read_image
        exif = image.getexif()
        # opening a JPEG with broken EXIF drops all of it, without an error
        if exif or not image.info.get("exif"):
            turn = exif.get(ExifTags.Base.Orientation, 1)
    if isinstance(turn, int) and 1 <= turn <= 8:
        return turn
    notes.append("malformed EXIF: its orientation is ignored")
    return 1


def _metadata(image: ImageFile.ImageFile, file: BinaryIO, orientation: int) -> Metadata:
    """Return the metadata of a file whose orientation is undone."""
    width, height = image.size
    size = (height, width) if orientation in SWAPPING else (width, height)
    return find_metadata(image, file, size, orientation)


def _without_alpha(image: Image.Image, rawmode: str) -> tuple[Image.Image, UInt8 | None]:
    """Split an image into its colours and its alpha.

    Args:
        image: of any mode.
        rawmode: how its pixels lie in the file, as Pillow names it.

    Returns:
        The image in L, RGB, CMYK or LAB, the modes that colour profiles are for, and alpha (H, W);
        gray of more than 8 bits as it is.
    """
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in ("RGBa", "La"):  # premultiplied
        image = image.convert(image.mode.upper())

    key = image.info.pop("transparency", None)
    if image.mode in ("RGBA", "LA"):
        return image.convert(image.mode[:-1]), np.array(image.getchannel("A"))

    if image.mode == "1":
        image = image.convert("L")
        key = key and 255
    alpha = None if key is None else _alpha_of_key(image, key, rawmode)
    if image.mode in ("L", "RGB", "CMYK", "LAB") or image.mode[0] in "IF":
        return image, alpha
    return image.convert("RGB"), alpha


def _alpha_of_key(image: Image.Image, key: int | tuple[int, ...], rawmode: str) -> UInt8:
    """Return alpha (H, W), 0 where a PNG's pixel is the one level or colour that is transparent.

    The key is in the file's depth, which is not the one that Pillow's pixels have.
    """
    scale = {"L;2": 85, "L;4": 17}.get(rawmode, 1)
    shift = 8 if rawmode.startswith("RGB;16") else 0
    levels = np.asarray(key) * scale >> shift
    is_key = np.atleast_3d(np.asarray(image) == levels).all(axis=2)
    return np.where(is_key, 0, 255).astype(np.uint8)


def composite(picture: Picture, background: tuple[int, int, int] = (255, 255, 255)) -> UInt8:
    """Lay a picture over a background of one sRGB colour.

    Returns:
        uint8 (H, W, 3); the picture's own pixels where it has no alpha.
    """
    if picture.alpha is None:
        return picture.pixels
    ground = Image.new("RGB", picture.size, background)
    ground.paste(Image.fromarray(picture.pixels), mask=Image.fromarray(picture.alpha))
    return np.array(ground)


def to_channels(pixels: UInt8, channels: int) -> UInt8:
    """Convert between gray, as Pillow's "L" (the luma of Rec. 601), and colour.

    Args:
        pixels: (H, W, 1 or 3).
        channels: 1 or 3; gray is repeated.

    Returns:
        (H, W, channels); the input itself where it has that many.

    Raises:
        ValueError: another number of channels.
    """
    if not {channels, pixels.shape[2]} <= {1, 3}:
        raise ValueError(f"channels must be 1 or 3, not {pixels.shape[2]} -> {channels}")
    if channels == pixels.shape[2]:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.array(Image.fromarray(pixels).convert("L"))[..., None]


def resize(pixels: UInt8, size: tuple[int, int]) -> UInt8:
    """Resize (H, W, C) to (width, height) by Lanczos, antialiased.

    Returns:
        (height, width, C); the input itself where it has that size.
    """
    if pixels.shape[1::-1] == tuple(size):
        return pixels
    image = _to_pillow(pixels)
    return np.array(image.resize(size, Image.Resampling.LANCZOS)).reshape(size[1], size[0], -1)


def shrink(pixels: UInt8, side: int) -> UInt8:
    """Make a picture (H, W, C) smaller whose longer side exceeds `side` pixels.

    Returns:
        The picture in its proportions; the input itself where it is small enough.
    """
    factor = min(1.0, side / max(pixels.shape[:2]))
    height, width = (max(1, round(length * factor)) for length in pixels.shape[:2])
    return resize(pixels, (width, height))


def _to_pillow(pixels: UInt8) -> Image.Image:
    """Convert (H, W, 1 or 3) to an image of mode L or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def format_from_suffix(path: PathLike) -> str:
    """Return the format that a name's suffix stands for.

    Raises:
        ValueError: the suffix stands for none.
    """
    suffix = Path(path).suffix
    kind = SUFFIXES.get(suffix.lower())
    if kind is None:
        raise ValueError(
            f"cannot write an image named {suffix or 'without suffix'}: use {' '.join(SUFFIXES)}"
        )
    return kind


def write_image(
    path: PathLike,
    pixels: UInt8 | Levels,
    alpha: UInt8 | None = None,
    quality: int = DEFAULT_QUALITY,
    metadata: Metadata = NONE,
) -> None:
    """Write a picture in the format that the suffix stands for, all or nothing.

    Args:
        path: the file; the formats are those of SUFFIXES.
        pixels: uint8 (H, W, 1 or 3); or levels that fit the format, with an alpha of their own.
        alpha: uint8 (H, W), 0 is transparent. A format without alpha gets the picture over white;
            in a GIF, which has no half transparency, it is rounded.
        quality: of JPEG, WebP and AVIF, 1 to 100; JPEG 2000 is written without loss.
        metadata: to be written, too; `Metadata.fitting` the format.

    Raises:
        ValueError: another suffix, or pixels of another type or shape.
    """
    kind = format_from_suffix(path)
    with atomic(path) as temporary:
        _save(temporary, kind, pixels, alpha, quality, metadata)


def encode(
    kind: str,
    pixels: UInt8 | Levels,
    alpha: UInt8 | None = None,
    quality: int = DEFAULT_QUALITY,
    metadata: Metadata = NONE,
) -> bytes:
    """Return a picture as the bytes of a file; the arguments are those of `write_image`.

    Args:
        kind: one of FORMATS.
        pixels: uint8 (H, W, 1 or 3), or levels.
        alpha: uint8 (H, W), 0 is transparent.
        quality: of JPEG, WebP and AVIF, 1 to 100.
        metadata: to be written, too; `Metadata.fitting` the format.
    """
    buffer = BytesIO()
    _save(buffer, kind, pixels, alpha, quality, metadata)
    return buffer.getvalue()


def _save(
    file: Path | BytesIO,
    kind: str,
    pixels: UInt8 | Levels,
    alpha: UInt8 | None,
    quality: int,
    metadata: Metadata,
) -> None:
    """Write a picture; see `write_image`.

    Args:
        file: what to write into.
        kind: one of FORMATS.
        pixels: uint8 (H, W, 1 or 3), or levels.
        alpha: uint8 (H, W). A format without it gets the picture over white; in a GIF, which has
            no half transparency, it is rounded.
        quality: of JPEG, WebP and AVIF; JPEG 2000 is written without loss.
        metadata: that fits the format.
    """
    if isinstance(pixels, Levels):
        data = with_metadata(kind, encode_levels(kind, pixels), metadata)
        if isinstance(file, Path):
            file.write_bytes(data)
        else:
            file.write(data)
        return
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"pixels must be uint8 (H, W, 1 or 3), not {pixels.dtype} {pixels.shape}")

    if alpha is not None and kind not in ALPHA_FORMATS:
        on_white = composite(Picture(to_channels(pixels, 3), alpha, kind, "", ()))
        pixels = to_channels(on_white, pixels.shape[2])
        alpha = None

    image = _to_pillow(pixels)
    options: dict[str, dict[str, int]] = {
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality, "method": 4},
        "AVIF": {"quality": quality, "max_threads": 1},  # the same bytes on every machine
    }
    if alpha is not None and kind == "GIF":
        image = image.convert("RGB").quantize(CLEAR)
        image.paste(CLEAR, mask=Image.fromarray(alpha < 128))
        options["GIF"] = {"transparency": CLEAR}
    elif alpha is not None:
        image.putalpha(Image.fromarray(alpha))

    image.save(file, kind, **options.get(kind, {}), **metadata.options(kind))


def write_gif(path: PathLike, frames: Sequence[UInt8], milliseconds: int = 100) -> None:
    """Write an animation that repeats for ever, all or nothing.

    Args:
        path: a file whose name ends with .gif.
        frames: uint8 (H, W, 1 or 3) each, of one size.
        milliseconds: how long each frame is shown.

    Raises:
        ValueError: another suffix.
    """
    if Path(path).suffix.lower() != ".gif":
        raise ValueError(f"{path}: an animation is a GIF; name a file that ends with .gif")
    first, *more = (Image.fromarray(to_channels(frame, 3)) for frame in frames)
    with atomic(path) as temporary:
        first.save(
            temporary, "GIF", save_all=True, append_images=more, duration=milliseconds, loop=0
        )


def list_images(folder: PathLike, on_error: Callable[[OSError], None] | None = None) -> list[Path]:
    """List the files of `list_files` whose suffix is in SUFFIXES, in upper or lower case.

    Hidden ones (.name), and those in hidden folders, are left out: what a system adds to pictures.
    """
    return [
        path
        for path in list_files(folder, on_error)
        if path.suffix.lower() in SUFFIXES and not any(part[0] == "." for part in path.parts)
    ]
