"""Text that describes a picture's pixels, made to describe the picture that is written.

XMP holds the orientation and the size; OME-XML and ImageJ's lines hold what a microscope's file is
made of, and programs believe them rather than the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn
from xml.parsers import expat

XMP_VALUE = rb"""(\b%s\s*(?:=\s*["']|>)\s*)[0-9]+"""
THUMBNAILS = (b"<xmp:Thumbnails", b"</xmp:Thumbnails>")
# what ImageJ believes of a file's pages, and of the levels to be shown
IMAGEJ_PAGES = ("images", "channels", "slices", "frames", "hyperstack", "mode", "loop")
IMAGEJ_LEVELS = ("min", "max")


@dataclass(frozen=True)
class Layout:
    """What a picture's file is made of.

    Args:
        width: in pixels.
        height: in pixels.
        channels: 1 or 3, without alpha.
        bits: of a channel, 8, 16, or 32 for floats.
        pages: pictures in the file.
    """

    width: int
    height: int
    channels: int
    bits: int = 8
    pages: int = 1


def corrected_xmp(xmp: bytes, size: tuple[int, int]) -> bytes:
    """Return XMP of an upright picture (width, height), without its thumbnails.

    Raises:
        ValueError: for what is not well-formed XML in UTF-8, or declares entities.
    """
    xmp = xmp.strip(b"\0")
    _elements(xmp, "")
    xmp = _without(xmp, *THUMBNAILS)
    width, height = size
    for name, value in {
        b"tiff:Orientation": 1,
        b"tiff:ImageWidth": width,
        b"tiff:ImageLength": height,
        b"exif:PixelXDimension": width,
        b"exif:PixelYDimension": height,
    }.items():
        xmp = re.sub(XMP_VALUE % name, rb"\g<1>%d" % value, xmp)
    return xmp


def _without(text: bytes, start: bytes, end: bytes) -> bytes:
    """Cut out whatever lies between two marks, and the marks."""
    kept = []
    place = 0
    while (first := text.find(start, place)) >= 0 and (last := text.find(end, first)) >= 0:
        kept.append(text[place:first])
        place = last + len(end)
    return b"".join((*kept, text[place:]))


def fitting_description(text: bytes, layout: Layout) -> bytes | None:
    """Return the description in a TIFF as it is true of a file, None where it cannot be.

    Args:
        text: the tag ImageDescription; other text than OME-XML and ImageJ's is returned as it is.
        layout: the file that is written.
    """
    if text.startswith(b"ImageJ="):
        return _fitting_imagej(text, layout)
    if text.lstrip().startswith((b"<?xml", b"<OME")) and b"<OME" in text:
        return _fitting_ome(text, layout)
    return text


def _fitting_imagej(text: bytes, layout: Layout) -> bytes:
    """Leave out lines of ImageJ that are not true."""
    lines = text.decode("latin-1").splitlines()
    values = dict(line.partition("=")[::2] for line in lines)
    untrue: set[str] = set()
    if values.get("images", "1") != str(layout.pages):
        untrue.update(IMAGEJ_PAGES)
    if layout.bits == 8:
        untrue.update(IMAGEJ_LEVELS)
    kept = (line for line in lines if line.partition("=")[0] not in untrue)
    return "".join(f"{line}\n" for line in kept).encode("latin-1")


def _fitting_ome(text: bytes, layout: Layout) -> bytes | None:
    """Correct the depth that OME-XML names; all else must be true of the file."""
    try:
        ((values, place),) = _elements(text, "Pixels")
        planes = int(values["SizeZ"]) * int(values["SizeC"]) * int(values["SizeT"])
        size = (int(values["SizeX"]), int(values["SizeY"]))
    except (ValueError, KeyError):
        return None
    if size != (layout.width, layout.height) or planes != layout.channels * layout.pages:
        return None

    kind = {8: "uint8", 16: "uint16", 32: "float"}[layout.bits]
    if values.get("Type") == kind:
        return text
    stop = text.find(b">", place)
    element = text[place:stop]
    element, found = re.subn(rb"""(\sType=["'])\w+""", rb"\g<1>" + kind.encode(), element)
    element = re.sub(rb"""\sSignificantBits=["']\w*["']""", b"", element)
    return text[:place] + element + text[stop:] if found == 1 else None


def _elements(text: bytes, wanted: str) -> list[tuple[dict[str, str], int]]:
    """Return the elements of XML that have a name, whatever its namespace: attributes and place.

    Raises:
        ValueError: for what is not well-formed in UTF-8, or has a document type, which declares
            entities.
    """
    found: list[tuple[dict[str, str], int]] = []
    parser = expat.ParserCreate("utf-8")

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] == wanted:
            found.append((attributes, parser.CurrentByteIndex))

    def refuse(*_: object) -> NoReturn:
        raise ValueError("it has a document type")

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ValueError(f"not well-formed XML: {error}") from None
    return found
