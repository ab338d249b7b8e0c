"""Files to arrays and back: the only place that decodes or encodes images.

Legend: H, W height and width; C channels, 1 (gray) or 3 (sRGB); pixels uint8 (H, W, C); `size`
is (width, height).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from translate.io.files import PathLike, atomic, list_files

UInt8: TypeAlias = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
# What a folder scan takes for an image, and what a name asks for when writing; decoding goes by
# content.
SUFFIXES = {f".{name.lower()}": name for name in FORMATS} | {
    ".jpg": "JPEG",
    ".jfif": "JPEG",
    ".tif": "TIFF",
}
ALPHA_FORMATS = ("PNG", "WEBP", "TIFF", "GIF")
CLEAR = 255  # the colour of a GIF's palette that is none
# EXIF orientation -> what undoes it: mirrored, half turn, flipped, transposed, quarter turn,
# transversed, quarter back.
TURNS = {2 + i: Image.Transpose(turn) for i, turn in enumerate((0, 3, 1, 5, 4, 6, 2))}
_lock = threading.Lock()
_quiet = ExitStack()
_readers = 0


class ImageError(ValueError):
    """Why a file cannot be read as an image: one line, without the path, which the caller knows."""


@dataclass(frozen=True)
class Picture:
    """A decoded file, upright and in sRGB; `format` and `mode` are the file's own, `warnings` what
    was tolerated.
    """

    pixels: UInt8  # (H, W, 3)
    alpha: UInt8 | None  # (H, W), 0 is transparent
    format: str
    mode: str
    warnings: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


def read_image(path: PathLike, max_pixels: int = 178_000_000) -> Picture:
    """Decodes one file by its content: the first frame, EXIF orientation applied, colours
    converted to sRGB.

    Gray of 16 bits is divided by 257 and rounded; colour of 16 bits keeps its high byte (Pillow
    reads no more); 32-bit integers are read as [0, 65535], floats as [0, 1], clipped with a
    warning. Safe to call from several threads. Raises ImageError for whatever is wrong with the
    file or with the access to it.
    """
    try:
        with _pillow_kept_quiet(), open(path, "rb") as file:
            if not file.read(1):
                raise ImageError("empty file")
            with Image.open(file, formats=FORMATS) as image:
                if (found := image.width * image.height) > max_pixels:
                    raise ImageError(
                        f"{found / 1e6:.6g} Mpx exceed --max-pixels {max_pixels / 1e6:.6g} Mpx"
                    )
                return _decode(image, Path(path).suffix.lower())
    except MemoryError:  # the machine's fault, not the file's
        raise
    except Exception as error:  # hostile bytes make decoders raise anything: struct.error, AssertionError, KeyError
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"not an image of a supported format ({', '.join(FORMATS)}), or damaged in its header"
        elif isinstance(error, OSError) and error.strerror:
            reason = f"cannot be read: {error.strerror.lower()}"
        elif not isinstance(error, ImageError):
            reason = f"{'truncated' if 'truncat' in reason.lower() else 'damaged'} ({reason})"
        raise ImageError(reason) from error


@contextmanager
def _pillow_kept_quiet() -> Iterator[None]:
    """No warnings from Pillow, shown or raised, nor its own pixel limit, which would undercut
    ours.
    """
    global _readers
    # this state belongs to the process, not to a thread: the first reader sets it, the last
    # restores it
    with _lock:
        if not _readers:
            _quiet.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            _quiet.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            Image.MAX_IMAGE_PIXELS = None
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                _quiet.close()


def _decode(image: ImageFile.ImageFile, suffix: str) -> Picture:
    notes: list[str] = []
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    mode = image.mode
    if SUFFIXES.get(suffix, kind) != kind:
        notes.append(f"named {suffix} but its content is {kind}")
    # MPO: a photograph with its depth or gain map
    if getattr(image, "is_animated", False) and image.format != "MPO":
        notes.append("has several frames, only the first is used")
    rawmode = str(image.tile[0][3]) if image.tile else ""  # gone once the pixels are loaded
    image.load()
    profile: bytes | None = image.info.get("icc_profile")
    plain, alpha = _without_alpha(_upright(image, notes), rawmode, notes)
    transform, complaints = _to_srgb(profile, plain.mode) if profile else (None, ())
    plain = (
        transform.apply(plain.convert(transform.input_mode)) if transform else plain.convert("RGB")
    )
    return Picture(np.array(plain), alpha, kind, mode, (*notes, *complaints))


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Applies the EXIF orientation of a loaded image: PNG may hold it behind the pixels, TIFF was
    turned by Pillow.
    """
    turn = None
    with suppress(Exception):  # a parser of bytes, see read_image
        exif = image.getexif()
        # opening a JPEG with broken EXIF drops all of it, without an error
        if exif or not image.info.get("exif"):
            turn = exif.get(ExifTags.Base.Orientation, 1)
    if turn not in range(1, 9):
        notes.append("malformed EXIF: its orientation is ignored")
    return image.transpose(TURNS[turn]) if turn in TURNS else image


def _without_alpha(
    image: Image.Image, rawmode: str, notes: list[str]
) -> tuple[Image.Image, UInt8 | None]:
    """Any mode -> L, RGB, CMYK or LAB, the modes that colour profiles speak of, and alpha (H, W)."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in ("RGBa", "La"):  # premultiplied
        image = image.convert(image.mode.upper())
    key = image.info.pop("transparency", None)
    alpha = None
    if image.mode in ("RGBA", "LA"):
        return image.convert(image.mode[:-1]), np.array(image.getchannel("A"))
    image, key = (image.convert("L"), key and 255) if image.mode == "1" else (image, key)
    # PNG: one level or colour is transparent, told in the file's depth, which is not Pillow's
    if key is not None:
        key = np.asarray(key) * {"L;2": 85, "L;4": 17}.get(rawmode, 1) >> (
            8 if rawmode.startswith("RGB;16") else 0
        )
        alpha = np.where(np.atleast_3d(np.asarray(image) == key).all(axis=2), 0, 255).astype(
            np.uint8
        )
    if image.mode[0] in "IF":
        image = Image.fromarray(_to_8_bits(image, notes))
    return image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB"), alpha


def _to_8_bits(image: Image.Image, notes: list[str]) -> UInt8:
    """Gray that is deeper than a byte, scaled by what its mode says, never by its contents. Shape:
    (H, W).
    """
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    white = 1 if image.mode == "F" else 4095 if tags.get(BITSPERSAMPLE) == (12,) else 65535
    values: NDArray[np.float32] = np.asarray(image).astype(np.float32) / np.float32(white)
    if not (values.min() >= 0 and values.max() <= 1):  # NaN included
        notes.append(f"values outside [0, {white}] were clipped, NaN is read as 0")
        values = np.nan_to_num(values, nan=0).clip(0, 1)
    # white is zero, which Pillow inverts up to 8 bits only
    if tags.get(PHOTOMETRIC_INTERPRETATION) == 0:
        values = 1 - values
    return (values * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=16)
def _to_srgb(
    profile: bytes, mode: str
) -> tuple[ImageCms.ImageCmsTransform | None, tuple[str, ...]]:
    """The transform, relative colorimetric as in browsers, None where it would change nothing; and
    what is wrong.
    """
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        space = source.profile.xcolor_space.strip()
        mode = "RGB" if (space, mode) == ("RGB", "L") else mode
        if space != {"L": "GRAY", "LAB": "Lab"}.get(mode, mode):
            raise ValueError(f"it is for {space}, the pixels are {mode}")
        # optimised, lcms halves the darks of linear gray
        flags |= ImageCms.Flags.NOOPTIMIZE if mode == "L" else 0
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", intent, flags)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return None, (f"colour profile ignored: {' '.join(str(error).split())}",)
    # sRGB goes by many names, some of them false: it is told by what it does to a cube of colours.
    cube = Image.fromarray(
        np.mgrid[0:256:15, 0:256:15, 0:256:15].T.reshape(18, -1, 3).astype(np.uint8)
    ).convert(mode)
    change = np.asarray(transform.apply(cube), np.int16) - np.asarray(cube.convert("RGB"))
    return (transform if np.abs(change).max() > 2 else None), ()


def composite(picture: Picture, background: tuple[int, int, int] = (255, 255, 255)) -> UInt8:
    """The picture as seen on a ground of one colour. Shape: (H, W, 3)."""
    if picture.alpha is None:
        return picture.pixels
    ground = Image.new("RGB", picture.size, background)
    ground.paste(Image.fromarray(picture.pixels), mask=Image.fromarray(picture.alpha))
    return np.array(ground)


def to_channels(pixels: UInt8, channels: int) -> UInt8:
    """(H, W, 1 or 3) -> (H, W, channels): the luma of Rec. 601 as in Pillow's "L", or gray
    repeated.
    """
    if not {channels, pixels.shape[2]} <= {1, 3}:
        raise ValueError(f"channels must be 1 or 3, not {pixels.shape[2]} -> {channels}")
    if channels == pixels.shape[2]:
        return pixels
    return (
        np.repeat(pixels, 3, axis=2)
        if channels == 3
        else np.array(Image.fromarray(pixels).convert("L"))[..., None]
    )


def resize(pixels: UInt8, size: tuple[int, int]) -> UInt8:
    """(H, W, C) to `size` by Lanczos, antialiased; the input itself where it has that size."""
    if pixels.shape[1::-1] == tuple(size):
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return np.array(image.resize(size, Image.Resampling.LANCZOS)).reshape(size[1], size[0], -1)


def to_float(pixels: UInt8) -> NDArray[np.float32]:
    """uint8 (..., H, W, C) -> float32 (..., C, H, W) in [-1, 1]."""
    return np.ascontiguousarray(np.moveaxis(pixels, -1, -3), np.float32) / np.float32(
        127.5
    ) - np.float32(1)


def to_uint8(x: NDArray[np.floating[Any]]) -> UInt8:
    """Floats (..., C, H, W), clipped to [-1, 1] -> uint8 (..., H, W, C), half rounded up;
    ValueError if not finite.
    """
    if not np.isfinite(x).all():
        raise ValueError("the image holds values that are not finite")
    scaled = (x.astype(np.result_type(x, np.float32)).clip(-1, 1) + 1) * 127.5 + 0.5
    return np.ascontiguousarray(np.moveaxis(scaled.astype(np.uint8), -3, -1))


def format_from_suffix(path: PathLike) -> str:
    """The format that a name's suffix stands for. Raises ValueError for a suffix that stands for
    none.
    """
    suffix = Path(path).suffix
    if (kind := SUFFIXES.get(suffix.lower())) is None:
        raise ValueError(
            f"cannot write an image named {suffix or 'without suffix'}: use {' '.join(SUFFIXES)}"
        )
    return kind


def write_image(
    path: PathLike, pixels: UInt8, alpha: UInt8 | None = None, quality: int = 95
) -> None:
    """Writes (H, W, C) as the suffix says, or ValueError; alpha (H, W) is laid over white where it
    cannot be kept, and in a GIF, which knows no half transparency, it is rounded.
    """
    kind = format_from_suffix(path)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"pixels must be uint8 (H, W, 1 or 3), not {pixels.dtype} {pixels.shape}")
    if alpha is not None and kind not in ALPHA_FORMATS:
        on_white = composite(Picture(to_channels(pixels, 3), alpha, kind, "", ()))
        pixels = to_channels(on_white, pixels.shape[2])
        alpha = None
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    options: dict[str, dict[str, int]] = {
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality, "method": 4},
    }
    if alpha is not None and kind == "GIF":
        image = image.convert("RGB").quantize(CLEAR)
        image.paste(CLEAR, mask=Image.fromarray(alpha < 128))
        options["GIF"] = {"transparency": CLEAR}
    elif alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    with atomic(path) as temporary:
        image.save(temporary, kind, **options.get(kind, {}))


def write_gif(path: PathLike, frames: Sequence[UInt8], milliseconds: int = 100) -> None:
    """Writes frames (H, W, C), each shown for so long, round and round; ValueError for a path that
    is no .gif.
    """
    if Path(path).suffix.lower() != ".gif":
        raise ValueError(f"{path}: an animation is a GIF; name a file that ends with .gif")
    first, *more = (Image.fromarray(to_channels(frame, 3)) for frame in frames)
    with atomic(path) as temporary:
        first.save(
            temporary, "GIF", save_all=True, append_images=more, duration=milliseconds, loop=0
        )


def list_images(folder: PathLike, on_error: Callable[[OSError], None] | None = None) -> list[Path]:
    """Those of `list_files` whose suffix is in SUFFIXES, in whatever case."""
    return [path for path in list_files(folder, on_error) if path.suffix.lower() in SUFFIXES]
