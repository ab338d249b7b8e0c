"""What a picture's file says besides its pixels: found in one format, written into another.

Everything is bounded in size, nothing is trusted: what is malformed is left out, and said.
Legend: `kind` is a format, one of translate.io.images.FORMATS; size is (width, height) in pixels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields, replace
from typing import Any

from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from translate.io.metadata import exif, tiff_tags
from translate.io.metadata.descriptions import Layout, fitting_description
from translate.io.metadata.tiff_tags import Tag

MAX_BYTES = 4 * 2**20  # of each kind: a picture waits for the model together with its metadata
# What a field is called in warnings and in the documentation.
NAMES = {
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "profile": "colour profile",
    "resolution": "resolution",
    "comment": "comment",
    "texts": "PNG text",
    "tags": "TIFF tags",
}
# The fields that each format holds, as Pillow writes them. A resolution goes into the EXIF of WebP
# and AVIF where there is none; in a TIFF, EXIF is a part of the tags.
HELD = {
    "JPEG": ("exif", "xmp", "iptc", "profile", "resolution", "comment"),
    "PNG": ("exif", "xmp", "profile", "resolution", "comment", "texts"),
    "TIFF": ("exif", "xmp", "iptc", "profile", "resolution", "tags"),
    "WEBP": ("exif", "xmp", "profile"),
    "AVIF": ("exif", "xmp", "profile"),
    "JPEG2000": ("comment",),
    "GIF": ("comment",),
    "BMP": ("resolution",),
}
# The most bytes of a field, where a format bounds it: a JPEG's segments have 2 bytes of length.
MOST = {
    ("JPEG", "exif"): 65533,
    ("JPEG", "xmp"): 65533 - len(b"http://ns.adobe.com/xap/1.0/\0"),
    ("JPEG", "iptc"): 65533 - 26,  # the head that _photoshop writes
    ("JPEG", "comment"): 65533,
    ("JPEG2000", "comment"): 65531,
}
WITH_PROFILE = tuple(kind for kind, held in HELD.items() if "profile" in held)


@dataclass(frozen=True)
class Text:
    """A text chunk of a PNG.

    Args:
        keyword: such as Title or Author.
        value: the text.
        language: of international text.
        translated: the keyword in that language; None is for plain text.
    """

    keyword: str
    value: str
    language: str = ""
    translated: str | None = None


@dataclass(frozen=True)
class Metadata:
    """Metadata of an upright picture.

    Args:
        exif: a block with its prefix.
        xmp: a packet.
        iptc: records of IPTC-IIM.
        profile: the ICC profile that the pixels are for.
        resolution: dots an inch, horizontal and vertical.
        comment: of a JPEG, GIF or JPEG 2000, or a PNG's text of that name.
        texts: of a PNG.
        tags: of a TIFF, but for those that say how its pixels lie.
        lost: what cannot be kept, a phrase each.
    """

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    profile: bytes = b""
    resolution: tuple[float, float] | None = None
    comment: bytes = b""
    texts: tuple[Text, ...] = ()
    tags: tuple[Tag, ...] = ()
    lost: tuple[str, ...] = ()

    def fitting(self, kind: str, layout: Layout) -> Metadata:
        """Return what a format holds of it; `lost` says what it does not."""
        made = self._in_tags(layout) if kind == "TIFF" else self._in_exif()
        if kind != "PNG":
            made = made._with_comment()
        if kind in ("WEBP", "AVIF"):
            made = made._with_exif_resolution()
        if made.profile[16:20] != {1: b"GRAY", 3: b"RGB "}[layout.channels]:
            # one that is kept fits: this one says no more than that the pixels are sRGB
            made = replace(made, profile=b"")

        missing = []
        empty: dict[str, Any] = {}
        for field, name in NAMES.items():
            value = getattr(made, field)
            if not value:
                continue
            if field not in HELD[kind]:
                if field != "profile":  # see above
                    missing.append(tiff_tags.named(made.tags) if field == "tags" else name)
            elif isinstance(value, bytes) and len(value) > MOST.get((kind, field), len(value)):
                missing.append(f"{name} of {len(value)} bytes")
            else:
                continue
            empty[field] = EMPTY[field]
        said = (f"not kept in a {_spoken(kind)}: {', '.join(missing)}",) if missing else ()
        return replace(made, **empty, lost=(*made.lost, *said))

    def of_page(self, place: int) -> Metadata:
        """Return it for a page of a TIFF; only the first, at place 0, has EXIF and GPS."""
        tags = tuple(tag for tag in self.tags if not tag.parts)
        if place == 0 or (not self.exif and tags == self.tags):
            return self
        # Pillow, which puts pages behind each other, does not move the places in these
        lost = (*self.lost, "EXIF is kept on the first page alone")
        return replace(self, exif=b"", tags=tags, lost=lost)

    def _in_tags(self, layout: Layout) -> Metadata:
        """Give EXIF the form that it has in a TIFF."""
        found = list(self.tags)
        lost = []
        if self.exif:
            read, damaged = tiff_tags.from_exif(self.exif)
            known = {tag.code for tag in found}
            found += [tag for tag in read if tag.code not in known]
            lost += damaged
        tags = []
        for tag in found:
            if tag.code == tiff_tags.DESCRIPTION:
                text = fitting_description(tag.text, layout)
                if text is None:
                    lost.append("OME-XML is not kept: it describes other pages or channels")
                    continue
                tag = replace(tag, text=text)
            tags.append(tag)
        return replace(self, exif=b"", tags=tuple(tags), lost=(*self.lost, *lost))

    def _in_exif(self) -> Metadata:
        """Give the tags of a TIFF that EXIF has the form of EXIF."""
        if not self.tags:
            return self
        block = tiff_tags.to_exif(self.tags, self.resolution)
        rest = tuple(tag for tag in self.tags if tag.code not in tiff_tags.IN_EXIF)
        return replace(self, exif=self.exif or block, tags=rest)

    def _with_comment(self) -> Metadata:
        """Take a PNG's text of the name Comment for the comment."""
        comments = [text for text in self.texts if text.keyword == "Comment"]
        if self.comment or not comments:
            return self
        rest = tuple(text for text in self.texts if text is not comments[0])
        return replace(self, comment=comments[0].value.encode(), texts=rest)

    def _with_exif_resolution(self) -> Metadata:
        """Say the resolution in EXIF, where nothing else is in it."""
        if self.resolution is None:
            return self
        if not self.exif:
            return replace(self, exif=tiff_tags.to_exif((), self.resolution), resolution=None)
        said = tiff_tags.resolution_in(self.exif) is not None
        return replace(self, resolution=None if said else self.resolution)

    def options(self, kind: str) -> dict[str, Any]:
        """Return the arguments by which Pillow writes it; it must be fitting."""
        if kind == "TIFF":
            directory = self.directory()
            return {"tiffinfo": directory} if directory else {}
        given: dict[str, Any] = {
            "exif": self.exif,
            "xmp": self.xmp,
            "icc_profile": self.profile,
            "dpi": self.resolution,
            "comment": self.comment,
        }
        if kind == "PNG":
            given["pnginfo"] = self._png_chunks()
        if kind == "JPEG" and self.iptc:
            given["extra"] = _photoshop(self.iptc)
        if kind == "AVIF" and self.exif:
            # Pillow would write anew EXIF that has an orientation; without one it is upright
            given["exif"] = exif.without_orientation(self.exif)
        return {name: value for name, value in given.items() if value}

    def directory(self) -> ImageFileDirectory_v2:
        """Return all of it as tags of a TIFF."""
        others = {
            tiff_tags.XMP: self.xmp,
            tiff_tags.IPTC: self.iptc,
            tiff_tags.PROFILE: self.profile,
        }
        return tiff_tags.to_pillow(self.tags, others, self.resolution)

    def _png_chunks(self) -> PngInfo | None:
        """Return the texts of a PNG, XMP among them."""
        texts = list(self.texts)
        if self.comment:
            texts.append(Text("Comment", _decoded(self.comment)))
        chunks = PngInfo()
        for text in texts:
            if text.translated is None:
                chunks.add_text(text.keyword, text.value)
            else:
                chunks.add_itxt(text.keyword, text.value, text.language, text.translated)
        if self.xmp:
            chunks.add_itxt("XML:com.adobe.xmp", self.xmp)
        return chunks if chunks.chunks else None


NONE = Metadata()
EMPTY = {field.name: field.default for field in fields(Metadata)}


def _spoken(kind: str) -> str:
    return {"JPEG2000": "JPEG 2000", "WEBP": "WebP"}.get(kind, kind)


def _decoded(data: bytes) -> str:
    """Decode text of unknown encoding: UTF-8 where it is that, else Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _photoshop(iptc: bytes) -> bytes:
    """Return the segment in which a JPEG holds IPTC: a resource of Photoshop."""
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">L", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    body = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
