"""Tags of TIFF files, some of which EXIF has, too: those that may be kept, in Pillow's form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import IO, Any, TypeAlias

from PIL import ExifTags, TiffTags
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2, TiffImageFile

from translate.io.metadata.exif import PREFIX

Number: TypeAlias = int | float | IFDRational

MAX_BYTES = 4 * 2**20  # of a tag's bytes or text
MAX_NUMBERS = 2**18  # bytes of numbers, which take ten times as much in Python
MOST = 6  # tags that a warning names
XMP = 700
IPTC = 33723
PROFILE = 34675
DESCRIPTION = 270
X_RESOLUTION = 282
Y_RESOLUTION = 283
RESOLUTION_UNIT = 296
INCH = 2
CENTIMETRE = 3
EXIF = int(ExifTags.IFD.Exif)
GPS = int(ExifTags.IFD.GPSInfo)
INTEROP = int(ExifTags.IFD.Interop)
# The tags that are directories of their own, by the directory that they are in; None is the first.
PARTS: dict[int | None, tuple[int, ...]] = {None: (EXIF, GPS), EXIF: (INTEROP,)}
BYTES = (TiffTags.BYTE, TiffTags.ASCII, TiffTags.UNDEFINED)
BIG = 43  # the version that BigTIFF's head has
# Tags of the first directory that EXIF 2.32 has: text, times, names, and its parts.
IN_EXIF = frozenset({DESCRIPTION, 271, 272, 305, 306, 315, 316, 33432, *range(40091, 40096)}) | {
    EXIF,
    GPS,
}
# How pixels lie in the file and what their levels mean, which the one who writes decides; and XMP,
# IPTC, the resolution and the colour profile, which are metadata of their own.
STRUCTURE = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279),
        *(280, 281, 284, 288, 289, 290, 291, 292, 293, 297, 301, 317, 318, 319, 320, 321),
        *(322, 323, 324, 325, 332, 333, 334, 336, 337, 338, 339, 340, 341, 342, 347),
        *(512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
        *(X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, XMP, IPTC, PROFILE, 50674),
    }
)
# What shows or undoes the picture as it was: said to be lost.
REFUSED = {
    330: "smaller pictures (SubIFDs)",
    34377: "Photoshop's resources",
    37724: "Photoshop's layers",
    50706: "the mark of a raw file (DNGVersion)",
}
# Where a picture lies on the earth, in terms of its rows and columns as they are in the file.
GEOREFERENCE = frozenset({33550, 33920, 33922, 34264})


@dataclass(frozen=True)
class Tag:
    """A tag.

    Args:
        code: its number.
        kind: its type in the file, as TIFF numbers them.
        numbers: its values, where it has numbers.
        text: its value, where it is text or other bytes.
        parts: of EXIF, GPS and the like, the tags in it.
    """

    code: int
    kind: int
    numbers: tuple[Number, ...] = ()
    text: bytes = b""
    parts: tuple[Tag, ...] = ()


def named(tags: Sequence[Tag]) -> str:
    """Return the names of some tags as part of a sentence."""
    found = [(tag.code, TiffTags.lookup(tag.code).name) for tag in tags]
    names = [str(code) if name == "unknown" else name for code, name in found]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"TIFF tags ({', '.join(names[:MOST])}{more})"


def from_tiff(
    image: TiffImageFile, size: tuple[int, int], orientation: int
) -> tuple[list[Tag], list[str]]:
    """Return what of an opened TIFF's tags may be kept, before its pixels are loaded.

    Args:
        image: the file, at the page that is read.
        size: (width, height) of the upright picture.
        orientation: that is undone, after which a georeference is no longer true.

    Returns:
        The tags, and what is lost, a phrase each.
    """
    assert image.fp is not None
    place = image.fp.tell()
    image.fp.seek(0)
    head = image.fp.read(8)
    if head[2] == BIG:
        head += image.fp.read(8)
    tags, lost = _kept(image.tag_v2, image.fp, head)
    image.fp.seek(place)

    if orientation != 1 and any(tag.code in GEOREFERENCE for tag in tags):
        tags = [tag for tag in tags if tag.code not in GEOREFERENCE]
        lost.append("the georeference is not kept: the picture was turned upright")
    sides = {
        int(ExifTags.Base.ExifImageWidth): size[0],
        int(ExifTags.Base.ExifImageHeight): size[1],
    }
    for i, tag in enumerate(tags):
        if tag.code == EXIF:
            inner = (
                Tag(part.code, TiffTags.LONG, (sides[part.code],)) if part.code in sides else part
                for part in tag.parts
            )
            tags[i] = replace(tag, parts=tuple(inner))
    return tags, lost


def from_exif(block: bytes) -> tuple[list[Tag], list[str]]:
    """Return what of a corrected EXIF block a TIFF may hold; else as `from_tiff`."""
    directory, file, head = _opened(block)
    return _kept(directory, file, head)


def _opened(block: bytes) -> tuple[ImageFileDirectory_v2, IO[bytes], bytes]:
    """Return an EXIF block's first directory, and what others are read from."""
    file = BytesIO(block[len(PREFIX) :])
    head = file.read(8)
    directory = ImageFileDirectory_v2(head)
    file.seek(directory.next)
    directory.load(file)
    return directory, file, head


def _kept(
    directory: ImageFileDirectory_v2, file: IO[bytes], head: bytes, group: int | None = None
) -> tuple[list[Tag], list[str]]:
    """Return the tags of a directory that may be kept, and what is lost.

    Args:
        directory: of the file.
        file: to read other directories from.
        head: the file's first 8 or 16 bytes.
        group: the tag that refers to the directory, None for the first.
    """
    tags: list[Tag] = []
    damaged: list[str] = []
    lost = [f"not kept: {text}" for code, text in REFUSED.items() if code in directory]
    for code in sorted(directory):
        if code in STRUCTURE or code in REFUSED:
            continue
        try:
            if code in PARTS.get(group, ()):
                part = ImageFileDirectory_v2(head, group=code)
                file.seek(int(directory[code]))
                part.load(file)
                inner, more = _kept(part, file, head, code)
                tags.append(Tag(code, TiffTags.LONG, parts=tuple(inner)))
                lost += more
            else:
                tag = _tag(directory, code, group)
                tags.append(tag)
                # as Pillow writes these
                if group is not None and tag.kind == TiffTags.ASCII and not tag.text.isascii():
                    lost.append(f"EXIF text that is not ASCII has ? for some letters: tag {code}")
        except Exception:  # parsers and writers of bytes raise anything
            damaged.append(str(code))
    if damaged:
        more_of_them = f" and {len(damaged) - MOST} more" if len(damaged) > MOST else ""
        lost.append(
            f"damaged or too large tags are not kept: {', '.join(damaged[:MOST])}{more_of_them}"
        )
    return tags, lost


def _tag(directory: ImageFileDirectory_v2, code: int, group: int | None) -> Tag:
    """Read a tag.

    Raises:
        Exception: for one that is damaged or too large, or that Pillow could not write.
    """
    kind = directory.tagtype[code]
    size = len(directory._tagdata[code])
    is_bytes = kind in BYTES
    if size > MAX_BYTES or (size > MAX_NUMBERS and not is_bytes) or kind == TiffTags.IFD:
        raise ValueError("too large, or refers to another place in the file")
    number = size // directory._load_dispatch[kind][0]
    # Pillow would warn and keep the first
    if number != 1 and not is_bytes and TiffTags.lookup(code, group).length == 1:
        raise ValueError("too many values")

    value = directory[code]
    values = value if isinstance(value, tuple) else (value,)
    if is_bytes:
        (text,) = values
        # as Pillow has decoded it: the bytes of the file
        tag = Tag(code, kind, text=text.encode("latin-1") if isinstance(text, str) else text)
    else:
        tag = Tag(code, TiffTags.LONG if kind == TiffTags.LONG8 else kind, values)
    as_written = tag
    for outer in {EXIF: (EXIF,), GPS: (GPS,), INTEROP: (INTEROP, EXIF)}.get(group or 0, ()):
        as_written = Tag(outer, TiffTags.LONG, parts=(as_written,))
    _directory([as_written]).tobytes()
    return tag


def _directory(tags: Iterable[Tag]) -> ImageFileDirectory_v2:
    """Return tags in the form in which Pillow writes them."""
    made = ImageFileDirectory_v2()
    for tag in tags:
        if tag.parts:
            made[tag.code] = _as_dictionary(tag.parts)
        elif tag.code not in PARTS[None]:
            made.tagtype[tag.code] = tag.kind
            made[tag.code] = tag.text if tag.kind in BYTES else tag.numbers
    return made


def _as_dictionary(tags: Iterable[Tag]) -> dict[int, Any]:
    """Return the tags of EXIF or GPS for Pillow, which takes no types there: values have them."""
    made: dict[int, Any] = {}
    for tag in tags:
        if tag.parts:
            made[tag.code] = _as_dictionary(tag.parts)
        elif tag.kind == TiffTags.ASCII:
            made[tag.code] = tag.text.decode("latin-1")
        elif tag.code not in PARTS[EXIF]:
            made[tag.code] = tag.text if tag.kind in BYTES else tag.numbers
    return made


def to_exif(tags: Iterable[Tag], resolution: tuple[float, float] | None) -> bytes:
    """Return an EXIF block of those tags that EXIF has, and of a resolution in dots an inch."""
    made = _directory(tag for tag in tags if tag.code in IN_EXIF)
    made = _with_resolution(made, resolution)
    head = b"II*\0\x08\0\0\0"
    return PREFIX + head + made.tobytes(len(head)) if len(made) else b""


def to_pillow(
    tags: Iterable[Tag], others: Mapping[int, bytes], resolution: tuple[float, float] | None
) -> ImageFileDirectory_v2:
    """Return what Pillow takes as `tiffinfo`.

    Args:
        tags: to be written.
        others: tags of bytes, left out where they are empty.
        resolution: in dots an inch.
    """
    made = _directory(tags)
    for code, data in others.items():
        if data:
            made.tagtype[code] = TiffTags.BYTE if code == XMP else TiffTags.UNDEFINED
            made[code] = data
    return _with_resolution(made, resolution)


def _with_resolution(
    directory: ImageFileDirectory_v2, resolution: tuple[float, float] | None
) -> ImageFileDirectory_v2:
    if resolution is not None:
        directory[X_RESOLUTION], directory[Y_RESOLUTION] = resolution
        directory[RESOLUTION_UNIT] = INCH
    return directory


def resolution_in(block: bytes) -> tuple[float, float] | None:
    """Return the resolution (dots an inch) that a corrected EXIF block says."""
    directory, _, _ = _opened(block)
    unit = {INCH: 1, CENTIMETRE: 2.54}.get(directory.get(RESOLUTION_UNIT, INCH))
    try:
        found = tuple(float(directory[code]) for code in (X_RESOLUTION, Y_RESOLUTION))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    if unit is None or not all(math.isfinite(value) and value > 0 for value in found):
        return None
    return found[0] * unit, found[1] * unit
