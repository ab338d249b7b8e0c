"""Pictures of more than 8 bits a channel: the numbers in their files, and which of them count.

Pillow reads deep gray; deep colour it reads to 8 bits, so that OpenCV reads it. Legend: H, W height
and width; C channels, 1 (gray) or 3 (RGB).
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    IMAGEDESCRIPTION,
    PHOTOMETRIC_INTERPRETATION,
    TiffImageFile,
)

from translate.io.ranges import AUTO, FILE, PERCENTILE, fixed_range
from translate.io.tiff_page import page_alone

UInt16: TypeAlias = NDArray[np.uint16]
Float32: TypeAlias = NDArray[np.float32]
Values: TypeAlias = NDArray[Any]  # uint16 or float32

DEEP_FORMATS = ("PNG", "TIFF")  # those that are written with 16 bits a channel
WHITE = 65535  # of 16 bits
PERCENTILES = (0.1, 99.9)  # of a picture's numbers: what is black and white with PERCENTILE
FAINT = 1 / 8  # of the range: a picture that stays below is said to be nearly black
# how warnings begin that say which numbers of a file are black and white
NEARLY_BLACK = "nearly black"
READ_AS = "read as"
CLIPPED = "values outside"
FEWER_BITS = (10, 12, 14)  # that cameras and scanners have, and write as 16
FLOAT_WHITES = (1, 255, 4095, WHITE)
# how colour of 16 bits lies in a PNG, as Pillow names it
DEEP_PNG = ("RGB;16B", "RGBA;16B", "LA;16B")
# TIFF tags that Pillow has no names for
MAX_SAMPLE_VALUE = 281
PLANAR_CONFIGURATION = 284
S_MIN_SAMPLE_VALUE = 340
S_MAX_SAMPLE_VALUE = 341
HEAD = 2**16  # bytes in which AVIF and JPEG 2000 say how deep they are
AV1_HIGH_BITDEPTH = 0x40
JPEG_2000_SIZE = b"\xff\x4f\xff\x51"  # the beginning of the codestream, with the sizes
OME_BITS = re.compile(r'\bSignificantBits="(\d{1,2})"')


@dataclass(frozen=True)
class Levels:
    """The numbers that a file stores, upright, and which of them are black and white.

    Attributes:
        values: uint16 or float32 (H, W, C).
        alpha: uint16 (H, W), 0 is transparent; None where the file has none.
        low: the number that is black.
        high: the number that is white.
    """

    values: Values
    alpha: UInt16 | None
    low: float = 0
    high: float = WHITE

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C)."""
        return self.values.shape

    def to_bytes(self) -> NDArray[np.uint8]:
        """Return black to white as 0 to 255, (H, W, C); numbers outside are clipped."""
        if self.values.dtype != np.uint16:
            return self._bytes_of(self.values)
        if self.values.shape[2] == 3 and (self.low, self.high) == (0, WHITE):
            return (self.values >> 8).astype(np.uint8)  # as Pillow reads them
        return self._bytes_of(np.arange(WHITE + 1, dtype=np.float32))[self.values]

    def _bytes_of(self, values: Float32) -> NDArray[np.uint8]:
        share = (values - np.float32(self.low)) / np.float32(self.high - self.low)
        return (share.clip(0, 1) * 255 + np.float32(0.5)).astype(np.uint8)

    def image(self, a: int, b: int) -> Float32:
        """Return rows [a, b) as networks take them: -1 is black, 1 is white, nothing is clipped.

        Returns:
            (b - a, W, C).
        """
        values = self.values[a:b].astype(np.float32)
        return (values - np.float32(self.low)) * np.float32(2 / (self.high - self.low)) - 1

    def stored(self, image: Float32, bounds: tuple[float, float]) -> Values:
        """Return an image as numbers of the file's type and range, clipped to `bounds`."""
        scale = np.float32((self.high - self.low) / 2)
        values = ((image + 1) * scale + np.float32(self.low)).clip(*bounds)
        if self.values.dtype != np.uint16:
            return values
        return (values + np.float32(0.5)).astype(np.uint16)

    def upright(self, orientation: int | None, key: NDArray[np.uint8] | None) -> Levels:
        """Return levels turned as the EXIF orientation says.

        Args:
            orientation: 1 to 8; anything else turns nothing.
            key: alpha (H, W), upright, of one colour that is transparent; for those that have none.
        """
        alpha = self.alpha
        if alpha is not None:
            alpha = turned(alpha, orientation)
        elif key is not None:
            alpha = key.astype(np.uint16) * np.uint16(257)
        return replace(self, values=turned(self.values, orientation), alpha=alpha)

    def bounds(self) -> tuple[float, float]:
        """Return what outputs keep to: black to white, and the picture's own numbers beyond."""
        return min(self.low, float(self.values.min())), max(self.high, float(self.values.max()))


def is_deep(image: Image.Image, rawmode: str) -> bool:
    """Tell whether an opened file has more than 8 bits a channel.

    Args:
        image: as Pillow opened it.
        rawmode: how its pixels lie in the file, as Pillow names it.
    """
    bits = image.tag_v2.get(BITSPERSAMPLE, (8,)) if isinstance(image, TiffImageFile) else (8,)
    return image.mode[0] in "IF" or rawmode in DEEP_PNG or max(bits) > 8


def has_hidden_depth(image: Image.Image, file: BinaryIO) -> bool:
    """Tell whether a colour AVIF or JPEG 2000 has more than 8 bits, which Pillow reads to 8.

    Args:
        image: as Pillow opened it.
        file: the same file.
    """
    if image.mode[0] in "IF" or image.format not in ("AVIF", "JPEG2000"):
        return False
    file.seek(0)
    head = file.read(HEAD)
    if image.format == "AVIF":
        place = head.find(b"av1C")  # the codec's configuration
        flags = head[place + 6 : place + 7]
        return place >= 0 and bool(flags) and bool(flags[0] & AV1_HIGH_BITDEPTH)
    place = head.find(JPEG_2000_SIZE)
    count = int.from_bytes(head[place + 40 : place + 42], "big")
    components = head[place + 42 : place + 42 + 3 * count : 3]  # bits less one, then two numbers
    return place >= 0 and any((bits & 0x7F) + 1 > 8 for bits in components)


def read_levels(
    image: Image.Image,
    file: BinaryIO,
    rawmode: str,
    value_range: str,
    notes: list[str],
    orientation: int = 1,
) -> Levels | None:
    """Read the numbers of a file of more than 8 bits a channel, as they lie in it.

    Args:
        image: as Pillow opened and loaded it; its frame is the one that is read.
        file: the same file.
        rawmode: how its pixels lie in the file, as Pillow names it.
        value_range: what is black and white, see `fixed_range`.
        notes: warnings are added to it.
        orientation: of a TIFF as its tags have it, which Pillow turns upright when it is loaded.

    Returns:
        None where they can be had as 8 bits only.
    """
    if image.mode[0] in "IF":
        levels: Levels | None = _read_gray(image)
    elif image.mode in ("RGB", "RGBA", "RGBX"):
        levels = _read_colour(image, file, rawmode, orientation)
    else:
        levels = None
    if levels is None:
        return None

    told = _range_in_file(image, file, levels)
    values = levels.values
    if values.dtype == np.float32 and not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0, posinf=told[1], neginf=told[0])
        notes.append("values that are not finite: NaN is read as 0, infinity as black or white")
    if _white_is_zero(image):
        values = (sum(told) - values.astype(np.float32)).astype(values.dtype)
    return _ranged(replace(levels, values=values), told, value_range, notes)


def _read_gray(image: Image.Image) -> Levels:
    values = np.asarray(image)[..., None]
    if image.mode in ("I", "F"):
        return Levels(values.astype(np.float32), None, 0, 1 if image.mode == "F" else WHITE)
    return Levels(values.astype(np.uint16), None)


def _read_colour(
    image: Image.Image, file: BinaryIO, rawmode: str, orientation: int
) -> Levels | None:
    if isinstance(image, TiffImageFile):
        values = _read_page(image, file)
        values = None if values is None else turned(values, orientation)
    else:
        file.seek(0)
        values = _read_interleaved(file.read())
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        return None
    if values.shape[1::-1] != image.size or values.shape[2] < 3:
        return None

    colours = np.ascontiguousarray(values[..., :3])
    if values.shape[2] != 4 or image.mode != "RGBA":
        return Levels(colours, None)
    alpha = values[..., 3].astype(np.uint16)
    if rawmode.startswith("RGBa"):  # premultiplied
        opaque = np.maximum(alpha, 1)[..., None].astype(np.float64)
        colours = np.rint((colours * (WHITE / opaque)).clip(0, WHITE)).astype(np.uint16)
    return Levels(colours, alpha)


def _read_page(image: TiffImageFile, file: BinaryIO) -> Values | None:
    """Read the page that a TIFF is at, (H, W, C) as it lies there; None where it cannot be."""
    page = page_alone(image, file)
    if page is None:
        return None
    if image.tag_v2.get(PLANAR_CONFIGURATION) != 2:
        return _read_interleaved(page)

    import tifffile

    # OpenCV and Pillow mistake channels that lie one after the other
    return np.moveaxis(tifffile.imread(BytesIO(page)), 0, -1)


def _read_interleaved(data: bytes) -> Values | None:
    """Read a file whose pixels hold all channels, (H, W, 3 or 4); None where OpenCV cannot."""
    import cv2  # takes a quarter of a second

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3 or values.shape[2] < 3:
        return None
    return values[..., [2, 1, 0, 3][: values.shape[2]]]


def _range_in_file(image: Image.Image, file: BinaryIO, levels: Levels) -> tuple[float, float]:
    """Return what a file itself says is black and white; by default what its type can hold."""
    if image.mode == "F":
        return _range_of_floats(image)
    bits = [16]
    if isinstance(image, TiffImageFile):
        bits = _bits_in_tags(image.tag_v2)
    elif image.format == "PNG":
        bits = [_significant_bits(file)]
    for count in sorted(bits):
        if not 8 <= count < 16 or (levels.values >= 1 << count).any():
            continue
        # a PNG that follows its standard has values scaled to 16 bits, and is then nearly black
        if image.format != "PNG" or (levels.values % (1 << (16 - count))).any():
            return 0, (1 << count) - 1
    return levels.low, levels.high


def _range_of_floats(image: Image.Image) -> tuple[float, float]:
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    low, high = (_largest(tags.get(tag)) for tag in (S_MIN_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE))
    if low is not None and high is not None and low < high:
        return low, high
    return 0, 1


def _bits_in_tags(tags: Any) -> list[int]:
    """Return how many bits the tags of a TIFF say there are.

    The largest sample value is often that of the one picture, so that it counts only where it is
    all that a number of bits can hold.
    """
    bits = [int(_largest(tags.get(BITSPERSAMPLE)) or 16)]
    bits += [int(found) for found in OME_BITS.findall(str(tags.get(IMAGEDESCRIPTION, "")))]
    for tag in (MAX_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE):
        largest = int(_largest(tags.get(tag)) or 0)
        if largest & (largest + 1) == 0:
            bits.append(largest.bit_length())
    return bits


def _largest(entry: Any) -> float | None:
    """Return the largest number of a tag, None where it has none."""
    numbers = entry if isinstance(entry, tuple) else (entry,)
    if not numbers or not all(isinstance(number, int | float) for number in numbers):
        return None
    return max(numbers) if all(map(math.isfinite, numbers)) else None


def _white_is_zero(image: Image.Image) -> bool:
    """Tell whether black and white are exchanged; Pillow does it up to 8 bits only."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    return image.mode[0] in "IF" and tags.get(PHOTOMETRIC_INTERPRETATION) == 0


def _significant_bits(file: BinaryIO) -> int:
    """Return the largest number of bits in a PNG's chunk sBIT, 16 where it has none."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"sBIT" and 0 < length <= 4:
            return max(file.read(length))
        if name == b"IDAT":
            break
        file.seek(length + 4, 1)
    return 16


def _ranged(
    levels: Levels, told: tuple[float, float], value_range: str, notes: list[str]
) -> Levels:
    """Set black and white as the setting says, `told` being what the file says."""
    values = levels.values
    smallest = float(values.min())
    largest = float(values.max())
    low, high = told
    fixed = fixed_range(value_range)
    if fixed is not None:
        low, high = fixed
    elif value_range == AUTO:
        low, high = _told_from_values(values.dtype == np.uint16, largest, told, notes)
    elif value_range == PERCENTILE:
        found = np.percentile(values, PERCENTILES)
        low, high = map(float, found) if found[0] < found[1] else told
    if value_range in (FILE, AUTO):
        if smallest < low or largest > high:
            notes.append(f"{CLIPPED} [{low:g}, {high:g}] were clipped")
            values = values.clip(low, high)
        if low < largest < low + FAINT * (high - low):
            remedy = "data.range: auto reads fewer bits, LOW,HIGH any range"
            notes.append(f"{NEARLY_BLACK}: no value is above {largest:g} of {high:g}; {remedy}")
    return replace(levels, values=values, low=low, high=high)


def _told_from_values(
    whole: bool, largest: float, told: tuple[float, float], notes: list[str]
) -> tuple[float, float]:
    """Tell what is black and white from the largest value, where the file does not say it.

    Args:
        whole: whether values are whole numbers of 16 bits; else floats.
        largest: of the values.
        told: what the file says, its type's range where it says nothing.
        notes: a warning is added to it where fewer bits are taken.
    """
    known = told not in ((0, WHITE), (0, 1))
    whites = [(1 << bits) - 1 for bits in FEWER_BITS] if whole else list(FLOAT_WHITES)
    fitting = [white for white in whites if largest <= white]
    if known or not fitting or (0, fitting[0]) == told:
        return told
    name = f"{fitting[0].bit_length()} bits" if whole else f"0 to {fitting[0]}"
    notes.append(f"{READ_AS} {name}: no value is above {largest:g} (data.range: auto)")
    return 0, fitting[0]


def fitting(levels: Levels | None, kind: str) -> Levels | None:
    """Return levels as a format can hold them, None where it holds 8 bits alone.

    Args:
        levels: of a picture.
        kind: the format; a PNG has no floats, which become whole numbers, black to white.
    """
    if levels is None or kind not in DEEP_FORMATS:
        return None
    if kind == "TIFF" or levels.values.dtype == np.uint16:
        return levels
    whole = Levels(np.empty((0, 0, 0), np.uint16), None)
    values = whole.stored(levels.image(0, len(levels.values)), (0, WHITE))
    return Levels(values, levels.alpha)


def lost_depth(bits: int, pixels: NDArray[np.uint8] | Levels, kind: str) -> tuple[str, ...]:
    """Say what a picture lost of its depth on its way into a file.

    Args:
        bits: a channel that the picture had.
        pixels: what is written.
        kind: the format.
    """
    if bits == 8:
        return ()
    if isinstance(pixels, Levels):
        became_whole = bits == 32 and pixels.values.dtype == np.uint16
        return ("32 bits a channel became 16: only TIFF keeps them",) if became_whole else ()
    if kind not in DEEP_FORMATS:
        return (f"{bits} bits a channel became 8: {kind} holds no more, PNG and TIFF do",)
    return (f"{bits} bits a channel became 8: only --scale detail keeps them",)


def encode_levels(kind: str, levels: Levels) -> bytes:
    """Return levels as the bytes of a file.

    Args:
        kind: one of DEEP_FORMATS.
        levels: as `fitting` returns them.
    """
    values = levels.values
    if levels.alpha is not None:  # neither library writes gray with alpha
        colours = np.broadcast_to(values, (*values.shape[:2], 3))
        values = np.concatenate([colours, levels.alpha[..., None]], axis=2)
    if kind == "PNG":
        return _encode_png(values)
    return _encode_tiff(replace(levels, values=values))


def _encode_png(values: UInt16) -> bytes:
    import cv2

    channels = values.shape[2]
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    done, data = cv2.imencode(".png", np.ascontiguousarray(values[..., order]))
    assert done
    return data.tobytes()


def _encode_tiff(levels: Levels) -> bytes:
    import tifffile

    values = levels.values
    tags: list[tuple[int, str, int, float, bool]] = []
    if values.dtype == np.uint16:
        if levels.low == 0 and levels.high in [(1 << bits) - 1 for bits in range(8, 16)]:
            tags = [(MAX_SAMPLE_VALUE, "H", 1, int(levels.high), True)]
    elif (levels.low, levels.high) != (0, 1):
        tags = [(S_MIN_SAMPLE_VALUE, "f", 1, levels.low, True)]
        tags += [(S_MAX_SAMPLE_VALUE, "f", 1, levels.high, True)]
    buffer = BytesIO()
    tifffile.imwrite(
        buffer,
        values[..., 0] if values.shape[2] == 1 else values,
        photometric="minisblack" if values.shape[2] == 1 else "rgb",
        extrasamples=["unassalpha"] if values.shape[2] == 4 else None,
        compression="zlib",
        predictor=values.dtype == np.uint16,
        metadata=None,
        software=False,
        extratags=tags,
        maxworkers=1,
    )
    return buffer.getvalue()


def turned(array: NDArray[Any], orientation: int | None) -> NDArray[Any]:
    """Turn pixels (H, W, ...) upright, as their EXIF orientation says."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)
