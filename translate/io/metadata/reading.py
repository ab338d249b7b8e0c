"""Metadata found in files; see translate.io.metadata. No file is refused for its metadata."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from PIL import ImageFile
from PIL.PngImagePlugin import iTXt
from PIL.TiffImagePlugin import TiffImageFile

from translate.io.metadata import exif, tiff_tags
from translate.io.metadata.descriptions import corrected_xmp
from translate.io.metadata.record import MAX_BYTES, Metadata, Text

MAX_DPI = 65535  # JPEG has 2 bytes for it
SWAPPING = (5, 6, 7, 8)  # orientations whose undoing exchanges the sides
IPTC = 0x0404  # among Photoshop's resources
# Those that are of no use afterwards: resolution, thumbnails, profile, digests and their like.
NO_LOSS = frozenset({IPTC, 1005, 1033, 1036, 1039, 1041, 1061})
# Segments of a JPEG that are known, by their number and beginning.
KNOWN_SEGMENTS = (
    ("COM", b""),
    ("APP0", b"JF"),
    ("APP1", b"Exif\0"),
    ("APP1", b"http://ns.adobe.com/xap/1.0/\0"),
    ("APP2", b"ICC_PROFILE\0"),
    ("APP13", b"Photoshop 3.0\0"),
    ("APP14", b"Adobe"),
)
NAMED_SEGMENTS = {
    ("APP1", b"http://ns.adobe.com/xmp/extension/\0"): "extended XMP",
    ("APP2", b"MPF\0"): "further pictures (MPF), such as depth or gain maps",
    ("APP11", b"JP"): "content credentials (JUMBF), which are not true of a translation",
}
JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
MAX_BOXES = 1000
HEAD = 2**16  # bytes before the pixels that are searched for what Pillow does not read
BMP_V5 = 124  # bytes of the header that may name a profile
BMP_COLOUR_SPACE = 14 + 56
BMP_PROFILES = (b"DEBM", b"KNIL")  # embedded, in a file of its own
JP2_PROFILES = (b"\2", b"\3")  # methods of a colour box
PROFILE_TAKEN_FOR_SRGB = "colour profile: its colours are taken for sRGB"
WEBP_CHUNKS = {
    *(b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"),
    *(b"ICCP", b"EXIF", b"XMP "),
}
GAMMA = 0.45455  # of a PNG whose levels are meant as sRGB's
RAW_PROFILE = "Raw profile type "  # ImageMagick's text, with a profile in hexadecimal digits


class _Reader:
    """Reads the metadata of one file.

    Args:
        image: as Pillow opened it; a TIFF before its pixels are loaded, others after.
        file: the same file.
        size: (width, height) of the upright picture.
        orientation: that is undone.
    """

    def __init__(
        self,
        image: ImageFile.ImageFile,
        file: BinaryIO,
        size: tuple[int, int],
        orientation: int,
    ) -> None:
        self.image = image
        self.file = file
        self.size = size
        self.orientation = orientation
        self.swaps = orientation in SWAPPING
        self.lost: list[str] = []

    def read(self) -> Metadata:
        """Return all that is found."""
        found = Metadata()
        parts: list[tuple[str, Callable[[], dict[str, Any]]]] = [
            ("EXIF", self.exif),
            ("XMP", self.xmp),
            ("IPTC", self.iptc),
            ("PNG text", self.texts),
            ("comment", self.comment),
            ("other metadata", self.others),
        ]
        if isinstance(self.image, TiffImageFile):
            parts.insert(0, ("TIFF tags", self.tags))
        for name, part in parts:
            try:
                found = replace(found, **part())
            except Exception as error:  # a parser of bytes, as in read_image
                reason = " ".join(str(error).split()) or type(error).__name__
                self.lost.append(f"malformed {name} is not kept: {reason[:80]}")
        found = replace(found, resolution=self.resolution(found))
        return replace(found, lost=tuple(self.lost))

    def bounded(self, name: str, data: bytes) -> bytes:
        """Return data, or nothing where it is too large."""
        if len(data) > MAX_BYTES:
            self.lost.append(f"{name} of {len(data) / 1e6:.0f} MB is not kept: too large")
            return b""
        return data

    def exif(self) -> dict[str, Any]:
        """Read EXIF, of all but TIFF."""
        block = self.image.info.get("exif", b"")
        raw = self.image.info.get(f"{RAW_PROFILE}exif")
        if not block and isinstance(raw, str) and len(raw) <= 3 * MAX_BYTES:
            block = bytes.fromhex("".join(raw.split("\n")[3:]))
        block = self.bounded("EXIF", block)
        if not block:
            return {}
        corrected, damaged = exif.corrected(block, self.size, self.swaps)
        if damaged:
            self.lost.append(f"EXIF: {damaged} damaged entries are not kept")
        return {"exif": corrected}

    def tags(self) -> dict[str, Any]:
        """Read the tags of a TIFF."""
        assert isinstance(self.image, TiffImageFile)
        tags, lost = tiff_tags.from_tiff(self.image, self.size, self.orientation)
        self.lost += lost
        return {"tags": tuple(tags)}

    def xmp(self) -> dict[str, Any]:
        """Read XMP."""
        packet = self.image.info.get("xmp", b"")
        if isinstance(packet, str):
            packet = packet.encode("latin-1")
        packet = self.bounded("XMP", packet)
        return {"xmp": corrected_xmp(packet, self.size)} if packet.strip(b"\0") else {}

    def iptc(self) -> dict[str, Any]:
        """Read IPTC, of JPEG and TIFF."""
        data = b""
        if isinstance(self.image, TiffImageFile):
            value = self.image.tag_v2.get(tiff_tags.IPTC, b"")
            if isinstance(value, (int, tuple)):  # of type LONG, as some programs write it
                numbers = value if isinstance(value, tuple) else (value,)
                order = "<" if self.image.tag_v2.prefix == b"II" else ">"
                value = struct.pack(f"{order}{len(numbers)}L", *numbers)
            data = value
        else:
            resources = self.image.info.get("photoshop", {})
            data = resources.get(IPTC, b"")
            if resources.keys() - NO_LOSS:
                self.lost.append("not kept: Photoshop's resources other than IPTC")
        return {"iptc": self.bounded("IPTC", data)}

    def texts(self) -> dict[str, Any]:
        """Read the text chunks of a PNG."""
        found = []
        used = ("XML:com.adobe.xmp", "exif", f"{RAW_PROFILE}exif")
        size = 0
        for keyword, value in getattr(self.image, "text", {}).items():
            if keyword in used:
                continue
            if keyword.startswith(RAW_PROFILE) and keyword != f"{RAW_PROFILE}iptc":
                self.lost.append(f"not kept: {keyword.lower()}")
                continue
            if not 1 <= len(keyword) <= 79:
                self.lost.append("malformed PNG text is not kept: its keyword is too long")
                continue
            size += len(value)
            if isinstance(value, iTXt):
                language = value.lang or ""
                translated = value.tkey or ""
                found.append(Text(keyword, str(value), str(language), str(translated)))
            else:
                found.append(Text(keyword, value))
        if size > MAX_BYTES:
            self.lost.append(f"PNG text of {size / 1e6:.0f} MB is not kept: too large")
            return {}
        return {"texts": tuple(found)}

    def comment(self) -> dict[str, Any]:
        """Read a comment; several of a JPEG are joined by line ends, as those of a GIF."""
        segments = [data for name, data in getattr(self.image, "applist", []) if name == "COM"]
        data = b"\n".join(segments)
        if not segments and self.image.format in ("GIF", "JPEG2000"):
            data = self.image.info.get("comment", b"")
        return {"comment": self.bounded("comment", data)}

    def resolution(self, found: Metadata) -> tuple[float, float] | None:
        """Return dots an inch: what the format says, or else EXIF."""
        info = self.image.info
        said = info.get("dpi")
        # Pillow gives 72 where a JPEG's EXIF cannot be read
        if hasattr(self.image, "applist") and info.get("jfif_unit") not in (1, 2):
            said = None
        # and 1 where a TIFF says none
        if isinstance(self.image, TiffImageFile) and (
            tiff_tags.X_RESOLUTION not in self.image.tag_v2
        ):
            said = None
        if said is None and found.exif:
            return tiff_tags.resolution_in(found.exif)  # exchanged already, where it is
        if said is None:
            return None
        try:
            across, down = (float(value) for value in said)
        except (TypeError, ValueError, ArithmeticError):
            across = down = math.nan
        if not all(0 < value <= MAX_DPI for value in (across, down)):
            if (across, down) != (0, 0):  # some say none in this way
                self.lost.append("malformed resolution is not kept")
            return None
        return (down, across) if self.swaps else (across, down)

    def others(self) -> dict[str, Any]:
        """Say what else there is, which is not read."""
        info = self.image.info
        others = set()
        for name, data in getattr(self.image, "applist", []):
            if any(name == known and data.startswith(start) for known, start in KNOWN_SEGMENTS):
                continue
            spoken = f"application data ({name})"
            for (known, start), text in NAMED_SEGMENTS.items():
                if name == known and data.startswith(start):
                    spoken = text
            others.add(spoken)
        private = getattr(self.image, "private_chunks", None) or []
        others |= {f"private chunks ({chunk[0].decode('latin-1')})" for chunk in private}
        if self.image.format == "JPEG2000":
            boxes = sorted(_boxes(self.file) & {"uuid", "xml "})
            others |= {f"what is in boxes ({box.strip()})" for box in boxes}
        others |= set(_unread(str(self.image.format), self.file))
        if info.get("extension", (b"",))[0].startswith(b"XMP Data"):
            others.add("XMP of a GIF")
        density = None if info.get("jfif_unit") else info.get("jfif_density")
        across, down = info.get("aspect", density) or (1, 1)
        if across != down:
            others.add("the shape of pixels that are not square")
        gamma = info.get("gamma", GAMMA)
        if abs(gamma - GAMMA) > 0.01 and not {"srgb", "icc_profile"} & info.keys():
            others.add(f"a gamma of {gamma:.4g}")
        self.lost += [f"not kept: {text}" for text in sorted(others)]
        return {}


def _unread(kind: str, file: BinaryIO) -> Iterator[str]:
    """Say what a file holds that Pillow does not give."""
    file.seek(0)
    head = file.read(HEAD)
    if kind == "BMP" and head[BMP_COLOUR_SPACE : BMP_COLOUR_SPACE + 4] in BMP_PROFILES:
        if struct.unpack_from("<L", head, 14)[0] >= BMP_V5:
            yield f"a BMP's {PROFILE_TAKEN_FOR_SRGB}"
    elif kind == "PNG" and b"cICP" in head.partition(b"IDAT")[0]:
        yield "the colour space that a PNG's cICP says: taken for sRGB"
    elif kind == "JPEG2000":
        place = head.partition(b"jp2c")[0].find(b"colr")
        if place >= 0 and head[place + 4 : place + 5] in JP2_PROFILES:
            yield f"a JPEG 2000's {PROFILE_TAKEN_FOR_SRGB}"
    elif kind == "WEBP":
        for name in sorted(_riff_chunks(file) - WEBP_CHUNKS):
            yield f"what is in chunks ({name.decode('latin-1').strip()})"


def _riff_chunks(file: BinaryIO) -> set[bytes]:
    """Return the kinds of the chunks of a RIFF file."""
    kinds: set[bytes] = set()
    file.seek(12)
    while len(head := file.read(8)) == 8 and len(kinds) < MAX_BOXES:
        name, length = struct.unpack("<4sL", head)
        kinds.add(name)
        file.seek(length + length % 2, 1)
    return kinds


def _boxes(file: BinaryIO) -> set[str]:
    """Return the kinds of the boxes of a JP2 file; XMP, EXIF and GeoJP2 are in some of them."""
    file.seek(0)
    kinds: set[str] = set()
    if file.read(12) != JP2_SIGNATURE:  # a bare codestream
        return kinds
    for _ in range(MAX_BOXES):
        place = file.tell()
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = struct.unpack_from(">L4s", head)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        kinds.add(kind.decode("latin-1"))
        if not 8 <= length < 2**62:  # 0: up to the end
            break
        file.seek(place + length)
    return kinds


def find_metadata(
    image: ImageFile.ImageFile, file: BinaryIO, size: tuple[int, int], orientation: int
) -> Metadata:
    """Return the metadata of an opened file, for a picture that is upright.

    Args:
        image: as Pillow opened it; a TIFF before its pixels are loaded, others after.
        file: the same file.
        size: (width, height) of the upright picture.
        orientation: that is undone, 1 to 8.
    """
    return _Reader(image, file, size, orientation).read()
