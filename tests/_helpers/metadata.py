"""Pictures with metadata of every kind, and what Pillow finds in a file."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from translate.io.images import Picture, encode, read_image
from translate.io.lost import layout_of, lost_of_picture
from translate.io.metadata.record import NONE, Metadata

BASE = ExifTags.Base
WIDTH = 24
HEIGHT = 16
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    b'tiff:Orientation="%d" dc:creator="B\xc3\xb6"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
IPTC = b"\x1c\x02\x78\x00\x05title\x1c\x02\x19\x00\x03key"
MAKER_NOTE = b"maker\0" + bytes(range(40))
# of the first directory, of EXIF and of GPS
FIRST = {BASE.Make: "Camera & Co", BASE.Software: "5.1", BASE.DateTime: "2026:01:02 03:04:05"}
INNER = {
    BASE.ExposureTime: IFDRational(1, 250),
    BASE.ISOSpeedRatings: 400,
    BASE.DateTimeOriginal: "2025:12:31 23:59:59",
    BASE.ExifVersion: b"0232",
    BASE.MakerNote: MAKER_NOTE,
    BASE.LensSpecification: (IFDRational(24), IFDRational(70), IFDRational(4), IFDRational(4)),
}
GPS = {1: "N", 2: (IFDRational(48), IFDRational(8), IFDRational(2723, 100)), 6: IFDRational(519)}
GEOTIFF = {
    33550: (12, (0.5, 0.5, 0.0)),
    33922: (12, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0)),
    34735: (3, (1, 1, 0, 1, 1024, 0, 1, 1)),
    34736: (12, (6378137.0, 298.257)),
    34737: (2, "WGS 84 / UTM|"),
    42113: (2, "-9999"),
}


def exif_block(orientation: int = 1, thumbnail: bool = False) -> bytes:
    """EXIF of every directory; its thumbnail is the bytes "\\xff\\xd8 secret"."""
    exif = Image.Exif()
    exif.update(FIRST)
    exif[BASE.Orientation] = orientation
    exif[BASE.XResolution] = exif[BASE.YResolution] = IFDRational(300)
    exif[BASE.ResolutionUnit] = 2
    # those of the picture as it lies in the file
    sides = (WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH)
    exif.get_ifd(ExifTags.IFD.Exif).update(
        INNER | {BASE.ExifImageWidth: sides[0], BASE.ExifImageHeight: sides[1]}
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(GPS)
    block = bytearray(exif.tobytes())
    if not thumbnail:
        return bytes(block)

    picture = b"\xff\xd8 secret"
    base = len(b"Exif\0\0")
    order = ">" if block[base : base + 2] == b"MM" else "<"
    second = ImageFileDirectory_v2(bytes(block[base : base + 8]))
    second[BASE.JpegIFOffset] = 0
    second[BASE.JpegIFByteCount] = len(picture)
    place = len(block) - base
    second[BASE.JpegIFOffset] = place + len(second.tobytes(place))
    second.tagtype |= {513: 4, 514: 4}
    body = second.tobytes(place)
    import struct

    (count,) = struct.unpack_from(f"{order}H", block, base + 8)
    struct.pack_into(f"{order}L", block, base + 10 + 12 * count, place)
    return bytes(block) + body + picture


def pixels(channels: int = 3) -> Any:
    """A gray ramp, the upright picture: uint8 (HEIGHT, WIDTH, channels)."""
    ramp = np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH, 1)
    return np.repeat(ramp, channels, axis=2)


def stored(orientation: int = 1) -> Image.Image:
    """The picture as it lies in a file that has this orientation."""
    turn = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}.get(orientation)
    image = Image.fromarray(pixels())
    return image if turn is None else image.transpose(turn)


def source(path: Path, kind: str, orientation: int = 1) -> Path:
    """A file with all that Pillow writes into a format."""
    block = exif_block(orientation, thumbnail=True)
    options: dict[str, Any] = {"exif": block, "xmp": XMP % orientation, "dpi": (300, 150)}
    if kind in ("JPEG", "GIF", "JPEG2000", "PNG"):
        options["comment"] = b"a comment"
    if kind == "JPEG":
        resource = b"8BIM\x04\x04\0\0" + len(IPTC).to_bytes(4, "big") + IPTC
        body = b"Photoshop 3.0\0" + resource + b"\0" * (len(IPTC) % 2)
        options["extra"] = b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body
    if kind == "PNG":
        chunks = PngInfo()
        chunks.add_text("Title", "a title")
        chunks.add_text("Comment", "a comment")
        chunks.add_itxt("Author", "Bö 図", "de", "Autor")
        chunks.add_itxt("XML:com.adobe.xmp", options.pop("xmp"))
        options["pnginfo"] = chunks
    if kind == "TIFF":
        del options["exif"]
        options["tiffinfo"] = directory(orientation)
    stored(orientation).save(path, kind, **options)
    return path


def directory(orientation: int = 1) -> ImageFileDirectory_v2:
    """Tags of a TIFF: those of EXIF, GeoTIFF's, XMP and IPTC."""
    made = ImageFileDirectory_v2()
    for tag, value in FIRST.items():
        made[tag] = value
    made[BASE.Orientation] = orientation
    made[ExifTags.IFD.Exif] = INNER
    made[ExifTags.IFD.GPSInfo] = GPS
    for tag, (kind, value) in GEOTIFF.items():
        made.tagtype[tag] = kind
        made[tag] = value
    made.tagtype |= {700: 1, 33723: 7}
    made[700] = XMP % orientation
    made[33723] = IPTC
    return made


def written(path: Path, kind: str, **options: Any) -> tuple[bytes, tuple[str, ...]]:
    """A file's picture and metadata in another format: its bytes, and what is lost."""
    picture = read_image(path)
    kept, lost = fitted(picture, kind, **options)
    return encode(kind, picture.pixels, metadata=kept), lost


def fitted(
    picture: Picture, kind: str, channels: int = 3, strip: bool = False
) -> tuple[Metadata, tuple[str, ...]]:
    """What a format keeps of a picture through a model, and all that is lost."""
    found = NONE if strip else picture.metadata
    kept = found.fitting(kind, layout_of(picture.pixels[..., :channels]))
    return kept, (*lost_of_picture(picture, kind, channels), *kept.lost)


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def exif_of(data: bytes) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """What Pillow reads in a file: the tags of the first directory, of EXIF and of GPS."""
    exif = Image.open(BytesIO(data)).getexif()
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner |= {BASE.MakerNote: exif._ifds[ExifTags.IFD.Exif].get(BASE.MakerNote)} if inner else {}
    return dict(exif), inner, exif.get_ifd(ExifTags.IFD.GPSInfo)
