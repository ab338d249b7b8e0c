"""Metadata of a stranger: bounded, and left out with a warning where it is malformed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo

from tests._helpers.metadata import (
    XMP,
    directory,
    exif_block,
    exif_of,
    opened,
    pixels,
    source,
    stored,
    written,
)
from translate.io.images import FORMATS, encode, read_image
from translate.io.metadata import exif
from translate.io.metadata.descriptions import Layout, corrected_xmp, fitting_description
from translate.io.metadata.record import MAX_BYTES, Metadata

BLOCK = exif_block(6, thumbnail=True)
KINDS = [kind for kind in FORMATS if kind != "BMP"]


def lost(path: Path) -> str:
    picture = read_image(path)
    assert (picture.pixels == pixels()).all()
    return " / ".join(picture.metadata.lost)


@settings(max_examples=300)
@given(st.data())
def test_damaged_exif_is_no_error(data: st.DataObject) -> None:
    block = bytearray(BLOCK)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(6, len(block) - 1))
        block[place] = data.draw(st.integers(0, 255))
    block = block[: data.draw(st.integers(0, len(block)))]
    try:
        made, _ = exif.corrected(bytes(block), (24, 16), True)
    except ValueError:
        return
    assert len(made) <= len(BLOCK) + 4
    # what is written can be read again, and turned into tags and back
    again, damaged = exif.corrected(made, (24, 16), False)
    assert (again, damaged) == (made, 0)
    for kind in ("TIFF", "AVIF", "JPEG"):
        fitting = Metadata(exif=made).fitting(kind, Layout(24, 16, 3))
        encode(kind, pixels(), metadata=fitting)


def test_what_is_malformed_is_left_out_and_said(tmp_path: Path) -> None:
    stored().save(tmp_path / "exif.jpg", exif=b"Exif\0\0XX*\0\x08\0\0\0", quality=100)
    picture = read_image(tmp_path / "exif.jpg")
    assert picture.metadata.exif == b""
    assert "malformed EXIF is not kept" in " ".join(picture.metadata.lost)

    for packet in (b"<x", b"\xff\xfe<\0x\0/\0>\0", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"):
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", packet.decode("latin-1"))
        stored().save(tmp_path / "xmp.png", pnginfo=chunks)
        assert "malformed XMP is not kept" in lost(tmp_path / "xmp.png")


def test_what_is_too_large_is_left_out_and_said(tmp_path: Path) -> None:
    large = XMP % 1 + b" " * MAX_BYTES
    stored().save(tmp_path / "a.webp", xmp=large, lossless=True)
    assert "XMP of 4 MB is not kept: too large" in lost(tmp_path / "a.webp")
    stored().save(tmp_path / "b.png", exif=BLOCK + bytes(MAX_BYTES))
    assert "EXIF of 4 MB is not kept: too large" in " ".join(
        read_image(tmp_path / "b.png").metadata.lost
    )
    tags = directory()
    tags.tagtype[65000] = 3
    tags[65000] = (1,) * 2**18
    tags[270] = "x" * (MAX_BYTES + 1)
    stored().save(tmp_path / "c.tif", tiffinfo=tags)
    assert "damaged or too large tags are not kept: 270, 65000" in lost(tmp_path / "c.tif")


def test_a_jpeg_holds_segments_of_64_kilobytes(tmp_path: Path) -> None:
    stored().save(tmp_path / "a.png", exif=exif_block(), xmp=b"")
    chunks = PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", (XMP % 1).decode() + " " * 65536)
    chunks.add_text("Comment", "c" * 65536)
    stored().save(tmp_path / "a.png", pnginfo=chunks)
    _, said = written(tmp_path / "a.png", "JPEG")
    assert any("XMP of" in text and "comment of 65536 bytes" in text for text in said)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str, seed: int) -> None:
    """Whatever is read can be written in every format."""
    from translate.io.images import ImageError

    whole = source(tmp_path / "a.bin", kind, 6 if kind in ("JPEG", "PNG", "TIFF") else 1)
    data = bytearray(whole.read_bytes())
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    for _ in range(25):
        damaged = bytearray(data)
        for place in rng.integers(8, len(data), 4):
            damaged[place] = rng.integers(256)
        whole.write_bytes(damaged)
        try:
            read_image(whole)
        except ImageError:
            continue
        written(whole, ("TIFF", "PNG", "JPEG")[seed % 3])


def test_texts_do_not_stand_for_what_pillow_finds(tmp_path: Path) -> None:
    """A PNG's text may have any keyword, and Pillow puts it among what it has found itself."""
    chunks = PngInfo()
    for keyword in ("dpi", "gamma", "exif", "xmp", "photoshop", "comment", "extension", "aspect"):
        chunks.add_text(keyword, "a")
    stored().save(tmp_path / "a.png", pnginfo=chunks)
    assert "malformed" in lost(tmp_path / "a.png")
    written(tmp_path / "a.png", "PNG")


def test_a_thumbnail_of_the_input_is_dropped_from_xmp() -> None:
    packet = (XMP % 6).replace(
        b"</rdf:RDF>",
        b"<rdf:Description xmlns:xmp='x'><xmp:Thumbnails>secret</xmp:Thumbnails>"
        b"</rdf:Description></rdf:RDF>",
    )
    made = corrected_xmp(packet, (24, 16))
    assert b"secret" not in made
    assert b'tiff:Orientation="1"' in made


def test_marks_in_text_take_no_time() -> None:
    marks = b"<x><!--" + b"<xmp:Thumbnails <Pixels tiff:Orientation=" * 40_000 + b"--></x>"
    corrected_xmp(marks, (1, 1))
    fitting_description(b"<OME>" + marks + b"</OME>", Layout(1, 1, 1))


def test_what_else_a_jpeg_has_is_named(tmp_path: Path) -> None:
    def segment(number: int, body: bytes) -> bytes:
        return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(body) + 2) + body

    resource = b"8BIM\x04\x22\0\0" + struct.pack(">L", 2) + b"ab"
    extra = segment(1, b"http://ns.adobe.com/xmp/extension/\0abc") + segment(11, b"JPabc")
    extra += segment(4, b"?") + segment(13, b"Photoshop 3.0\0" + resource)
    stored().save(tmp_path / "a.jpg", extra=extra, quality=100)
    said = read_image(tmp_path / "a.jpg").metadata.lost
    assert said == (
        "not kept: Photoshop's resources other than IPTC",
        "not kept: application data (APP4)",
        "not kept: content credentials (JUMBF), which are not true of a translation",
        "not kept: extended XMP",
    )


def test_what_else_a_png_has_is_named(tmp_path: Path) -> None:
    chunks = PngInfo()
    chunks.add(b"teSt", b"a")
    chunks.add(b"gAMA", struct.pack(">L", 100000))
    chunks.add_text("Raw profile type xmp", "\nxmp\n1\n00\n")
    stored().save(tmp_path / "a.png", pnginfo=chunks)
    assert lost(tmp_path / "a.png").split(" / ") == [
        "not kept: raw profile type xmp",
        "not kept: a gamma of 1",
        "not kept: private chunks (teSt)",
    ]


@pytest.mark.skipif("JPEG2000" not in FORMATS, reason="this Pillow has no JPEG 2000")
def test_boxes_of_jpeg_2000_are_named(tmp_path: Path) -> None:
    data = encode("JPEG2000", pixels())
    box = struct.pack(">L", 8 + 20) + b"uuid" + bytes(20)
    (tmp_path / "a.jp2").write_bytes(data[:32] + box + data[32:])  # behind "ftyp"
    assert lost(tmp_path / "a.jp2") == "not kept: what is in boxes (uuid)"
    (tmp_path / "b.jp2").write_bytes(data)
    assert lost(tmp_path / "b.jp2") == ""


def bmp_with_profile() -> bytes:
    """A BMP of version 5 whose header says that a profile is embedded."""
    data = encode("BMP", pixels())
    info = struct.pack("<L", 124) + data[18:54] + bytes(16) + b"DEBM" + bytes(64)
    start = 14 + 124
    return data[:2] + struct.pack("<LLL", len(data) + 84, 0, start) + info + data[54:]


def png_with_cicp() -> bytes:
    data = encode("PNG", pixels())
    body = b"cICP" + bytes([9, 16, 0, 1])
    return data[:33] + struct.pack(">L", 4) + body + struct.pack(">L", crc32(body)) + data[33:]


def webp_with_unknown_chunk() -> bytes:
    data = encode("WEBP", pixels())
    extra = b"abcd" + struct.pack("<L", 4) + b"1234"
    return data[:4] + struct.pack("<L", len(data) - 8 + len(extra)) + data[8:] + extra


def jp2_with_profile() -> bytes:
    return encode("JPEG2000", pixels()).replace(b"colr\1", b"colr\2")


@pytest.mark.parametrize(
    ("kind", "make", "expected"),
    [
        ("BMP", bmp_with_profile, "colours are taken for sRGB"),
        ("PNG", png_with_cicp, "cICP"),
        ("WEBP", webp_with_unknown_chunk, "chunks (abcd)"),
        ("JPEG2000", jp2_with_profile, "colours are taken for sRGB"),
    ],
)
def test_what_pillow_does_not_give_is_named(
    tmp_path: Path, kind: str, make: Callable[[], bytes], expected: str
) -> None:
    if kind not in FORMATS:
        pytest.skip(f"this Pillow has no {kind}")
    (tmp_path / "a").write_bytes(make())
    assert expected in "; ".join(read_image(tmp_path / "a").metadata.lost)
    (tmp_path / "b").write_bytes(encode(kind, pixels()))
    assert read_image(tmp_path / "b").metadata.lost == ()


def test_exif_of_imagemagick_is_found(tmp_path: Path) -> None:
    block = exif_block()
    lines = f"\nexif\n{len(block):8}\n{block.hex()}\n"
    chunks = PngInfo()
    chunks.add_text("Raw profile type exif", lines)
    stored().save(tmp_path / "a.png", pnginfo=chunks)
    data, said = written(tmp_path / "a.png", "PNG")
    assert said == ()
    assert exif_of(data)[0][271] == "Camera & Co"
    assert "Raw profile type exif" not in opened(data).info


def test_layers_and_thumbnails_of_a_tiff_are_dropped(tmp_path: Path) -> None:
    tags = directory()
    tags.tagtype |= {37724: 7, 34377: 1}
    tags[37724] = b"Adobe Photoshop secret layers"
    tags[34377] = b"8BIM secret"
    stored().save(tmp_path / "a.tif", tiffinfo=tags)
    data, said = written(tmp_path / "a.tif", "TIFF")
    assert b"secret" not in data
    assert said == ("not kept: Photoshop's resources", "not kept: Photoshop's layers")
