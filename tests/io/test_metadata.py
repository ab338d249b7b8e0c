"""Metadata: compared tag by tag between what is read and what is written, in every format."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import iTXt

from tests._helpers.encoders import matrix_profile
from tests._helpers.metadata import (
    BASE,
    FIRST,
    GEOTIFF,
    GPS,
    HEIGHT,
    INNER,
    IPTC,
    MAKER_NOTE,
    WIDTH,
    XMP,
    exif_of,
    fitted,
    opened,
    pixels,
    source,
    stored,
    written,
)
from translate.io.depth import Levels
from translate.io.images import FORMATS, encode, read_image
from translate.io.lost import layout_of
from translate.io.metadata.descriptions import Layout, fitting_description
from translate.io.metadata.record import HELD, NAMES, Metadata

SUFFIX = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}
RICH = [kind for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF") if kind in FORMATS]


def file(folder: Path, kind: str, orientation: int = 1) -> Path:
    return source(folder / f"a{SUFFIX.get(kind, '.' + kind.lower())}", kind, orientation)


def test_every_format_is_in_the_table() -> None:
    assert HELD.keys() >= set(FORMATS)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", RICH)
@pytest.mark.parametrize("given", RICH)
def test_exif_is_kept_tag_by_tag(tmp_path: Path, given: str, kind: str, orientation: int) -> None:
    picture = read_image(file(tmp_path, given, orientation))
    assert (picture.pixels.shape[:2], picture.warnings) == ((HEIGHT, WIDTH), ())
    data, _ = written(tmp_path / file(tmp_path, given, orientation).name, kind)
    first, inner, gps = exif_of(data)
    assert {tag: first[tag] for tag in FIRST} == FIRST
    assert first.get(BASE.Orientation, 1) == 1
    assert gps == GPS
    for tag, value in INNER.items():
        assert inner[tag] == value, tag
    if given != "TIFF":
        assert (inner[BASE.ExifImageWidth], inner[BASE.ExifImageHeight]) == (WIDTH, HEIGHT)
    assert b"secret" not in data


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", RICH)
@pytest.mark.parametrize("given", RICH)
def test_xmp_is_kept_and_its_orientation_undone(
    tmp_path: Path, given: str, kind: str, orientation: int
) -> None:
    data, _ = written(file(tmp_path, given, orientation), kind)
    assert opened(data).info["xmp"] == XMP % 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "BMP"])
@pytest.mark.parametrize("given", ["JPEG", "PNG", "TIFF", "BMP"])
def test_the_resolution_is_kept(tmp_path: Path, given: str, kind: str) -> None:
    if kind not in FORMATS:
        pytest.skip("this Pillow has no such format")
    data, _ = written(file(tmp_path, given), kind)
    if kind in ("WEBP", "AVIF"):
        first, _, _ = exif_of(data)
        # where there is EXIF, what it says stays
        expected = (300, 150) if given in ("TIFF", "BMP") else (300, 300)
        assert (first[BASE.XResolution], first[BASE.YResolution]) == pytest.approx(expected, 0.01)
        assert first[BASE.ResolutionUnit] == 2
    else:
        assert opened(data).info["dpi"] == pytest.approx((300, 150), abs=0.05)


def test_the_resolution_turns_with_the_picture(tmp_path: Path) -> None:
    data, _ = written(file(tmp_path, "JPEG", 6), "PNG")
    assert opened(data).info["dpi"] == pytest.approx((150, 300), abs=0.05)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("given", ["JPEG", "TIFF"])
def test_iptc_is_kept(tmp_path: Path, given: str, kind: str) -> None:
    data, lost = written(file(tmp_path, given), kind)
    image = opened(data)
    assert not any("IPTC" in text for text in lost)
    if kind == "JPEG":
        assert image.info["photoshop"][0x0404] == IPTC
    else:
        assert image.tag_v2[33723] == IPTC  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "JPEG2000"])
@pytest.mark.parametrize("given", ["JPEG", "PNG", "GIF", "JPEG2000"])
def test_comments_are_kept(tmp_path: Path, given: str, kind: str) -> None:
    if not {given, kind} <= set(FORMATS):
        pytest.skip("this Pillow has no such format")
    data, _ = written(file(tmp_path, given), kind)
    info = opened(data).info
    if kind == "PNG":
        assert info["Comment"] == "a comment"
    else:
        assert info["comment"] == b"a comment"


def test_the_texts_of_a_png_are_kept(tmp_path: Path) -> None:
    data, lost = written(file(tmp_path, "PNG"), "PNG")
    text = opened(data).text  # type: ignore[attr-defined]
    assert lost == ()
    assert text.keys() == {"Title", "Comment", "Author", "XML:com.adobe.xmp"}
    assert (text["Title"], text["Author"]) == ("a title", "Bö 図")
    assert not isinstance(text["Title"], iTXt)
    assert (text["Author"].lang, text["Author"].tkey) == ("de", "Autor")


def test_geotiff_is_kept_in_a_tiff_alone(tmp_path: Path) -> None:
    path = file(tmp_path, "TIFF")
    data, lost = written(path, "TIFF")
    tags = opened(data).tag_v2  # type: ignore[attr-defined]
    assert lost == ()
    for tag, (kind, value) in GEOTIFF.items():
        assert (tags[tag], tags.tagtype[tag]) == (value, kind)
    _, lost = written(path, "PNG")
    assert [text for text in lost if "ModelPixelScale" in text and "GeoKeyDirectory" in text]
    _, lost = written(file(tmp_path, "TIFF", 6), "TIFF")
    assert "the georeference is not kept: the picture was turned upright" in lost


def test_text_that_is_not_ascii_is_kept_in_tiff(tmp_path: Path) -> None:
    directory = Image.Exif()
    directory[BASE.Artist] = "Bö".encode()
    stored().save(tmp_path / "a.jpg", exif=directory)
    data, _ = written(tmp_path / "a.jpg", "TIFF")
    assert opened(data).tag_v2[BASE.Artist].encode("latin-1") == "Bö".encode()  # type: ignore[attr-defined]
    (tmp_path / "b.tif").write_bytes(data)
    data, _ = written(tmp_path / "b.tif", "JPEG")
    assert exif_of(data)[0][BASE.Artist].encode("latin-1") == "Bö".encode()


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_format_does_not_hold_is_said(tmp_path: Path, kind: str) -> None:
    names = {"exif": "EXIF", "xmp": "XMP", "iptc": "IPTC", "comment": "comment"}
    _, lost = written(file(tmp_path, "JPEG"), kind)
    said = " ".join(lost)
    for field, name in names.items():
        assert (name in said) != (field in HELD[kind]), name
    _, lost = written(file(tmp_path, "PNG"), kind)
    assert ("PNG text" in " ".join(lost)) != ("texts" in HELD[kind])


@pytest.mark.parametrize("kind", FORMATS)
def test_strip_writes_none_and_nothing_is_said(tmp_path: Path, kind: str) -> None:
    path = file(tmp_path, kind)
    data, lost = written(path, kind, strip=True)
    assert data == encode(kind, read_image(path).pixels)
    assert not any("kept" in text for text in lost)
    for secret in (b"Camera", b"a comment", b"title", b"adobe:ns:meta", b"2025"):
        assert secret not in data


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_bytes_twice(tmp_path: Path, kind: str) -> None:
    for given in RICH:
        path = file(tmp_path, given)
        assert written(path, kind) == written(path, kind)


# -- the colour profile --


def with_profile(path: Path, profile: bytes, mode: str = "RGB") -> Path:
    stored().convert(mode).save(path, icc_profile=profile)
    return path


@pytest.mark.parametrize("kind", RICH)
def test_a_profile_is_converted_and_said_or_kept(tmp_path: Path, kind: str) -> None:
    wide = matrix_profile(1.4, "rbg")
    path = with_profile(tmp_path / "a.png", wide)
    data, lost = written(path, kind)
    assert "icc_profile" not in opened(data).info
    assert any(text.startswith("colour profile converted to sRGB") for text in lost)

    picture = read_image(path, profile_space="RGB")
    assert (picture.pixels == pixels()).all()
    kept, lost = fitted(picture, kind)
    assert lost == ()
    assert opened(encode(kind, picture.pixels, metadata=kept)).info["icc_profile"] == wide


@pytest.mark.parametrize("kind", RICH)
def test_a_profile_that_is_srgb_stays(tmp_path: Path, kind: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data, lost = written(with_profile(tmp_path / "a.png", srgb), kind)
    assert (opened(data).info["icc_profile"], lost) == (srgb, ())
    data, _ = written(tmp_path / "a.png", kind, channels=1)
    assert "icc_profile" not in opened(data).info


def test_a_profile_of_another_space_is_not_kept(tmp_path: Path) -> None:
    path = with_profile(tmp_path / "a.png", matrix_profile(1.4))
    assert read_image(path, profile_space="GRAY").converted_from
    assert read_image(path, profile_space="RGB").converted_from == ""


# -- what becomes of pixels --


@pytest.mark.parametrize(
    ("mode", "suffix", "kind", "channels", "expected"),
    [
        ("CMYK", ".jpg", "JPEG", 3, "CMYK was converted to RGB"),
        ("P", ".png", "PNG", 3, "the palette became full colour"),
        ("RGB", ".png", "GIF", 3, "the colours were reduced to the 256 of a GIF"),
        ("RGB", ".png", "PNG", 1, "a colour picture through a gray model became gray"),
        ("RGBA", ".png", "JPEG", 3, "transparency was laid over white: a JPEG has none"),
        ("RGBA", ".png", "BMP", 3, "transparency was laid over white: a BMP has none"),
        ("RGBA", ".png", "GIF", 1, "half transparency was made whole or none"),
    ],
)
def test_lost_pixels_are_said(
    tmp_path: Path, mode: str, suffix: str, kind: str, channels: int, expected: str
) -> None:
    image = Image.fromarray(pixels())
    image.paste((200, 30, 30, 255), (0, 0, 4, 4))
    image = image.convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    image.save(tmp_path / f"a{suffix}")
    _, lost = written(tmp_path / f"a{suffix}", kind, channels=channels)
    assert [text for text in lost if text.startswith(expected)]


def test_nothing_is_said_where_nothing_is_lost(tmp_path: Path) -> None:
    Image.fromarray(pixels(1)[..., 0]).save(tmp_path / "gray.png")
    stored().save(tmp_path / "noise.jpg", quality=30)
    opaque = stored().convert("RGBA")
    opaque.save(tmp_path / "opaque.png")
    for name, kind, channels in (
        ("gray.png", "PNG", 1),
        ("gray.png", "JPEG", 3),
        ("noise.jpg", "JPEG", 1),
        ("opaque.png", "JPEG", 3),
    ):
        assert written(tmp_path / name, kind, channels=channels)[1] == ()


# -- descriptions of pixels --

OME = (
    b'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/'
    b'2016-06"><Image ID="Image:0"><!-- <Pixels --><Pixels DimensionOrder="XYZCT" ID="Pixels:0" '
    b'SizeX="24" SizeY="16" SizeZ="1" SizeC="1" SizeT="1" SignificantBits="12" Type="uint16" '
    b'PhysicalSizeX="0.25"><TiffData/></Pixels></Image></OME>'
)


def test_ome_xml_is_true_of_the_output() -> None:
    deep = Layout(24, 16, 1, bits=16)
    assert fitting_description(OME, deep) == OME
    made = fitting_description(OME, Layout(24, 16, 1))
    assert made is not None
    assert b'Type="uint8"' in made
    assert b"SignificantBits" not in made
    assert b'PhysicalSizeX="0.25"' in made
    assert fitting_description(OME, Layout(24, 16, 3)) is None
    assert fitting_description(OME, Layout(24, 16, 1, pages=3)) is None
    assert fitting_description(OME.replace(b"</OME>", b""), deep) is None
    assert fitting_description(b"a leaf", deep) == b"a leaf"


def test_imagej_is_true_of_the_output() -> None:
    text = b"ImageJ=1.54\nimages=3\nslices=3\nunit=micron\nspacing=2.0\nmin=0.0\nmax=4095.0\n"
    assert fitting_description(text, Layout(24, 16, 1, 16, pages=3)) == text
    kept = fitting_description(text, Layout(24, 16, 1))
    assert kept == b"ImageJ=1.54\nunit=micron\nspacing=2.0\n"


def test_ome_xml_goes_from_tiff_to_tiff(tmp_path: Path) -> None:
    image = Image.fromarray(pixels(1)[..., 0])
    image.save(tmp_path / "a.tif", description=OME.decode())
    picture = read_image(tmp_path / "a.tif")
    kept, _ = fitted(picture, "TIFF", channels=1)
    data = encode("TIFF", picture.pixels[..., :1], metadata=kept)
    said = opened(data).tag_v2[270]  # type: ignore[attr-defined]
    assert said == OME.decode().replace("uint16", "uint8").replace(' SignificantBits="12"', "")
    assert "OME-XML is not kept" in " ".join(fitted(picture, "TIFF")[1])


def test_maker_notes_stay_where_they_are(tmp_path: Path) -> None:
    """They refer to bytes by their place in the block."""
    path = file(tmp_path, "JPEG", 6)
    before = opened(path.read_bytes()).info["exif"]
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        if kind in FORMATS:
            after = opened(written(path, kind)[0]).info["exif"]
            place = before.index(MAKER_NOTE) - before.index(b"MM\0*")
            assert after.index(MAKER_NOTE) - after.index(b"MM\0*") == place, kind


def test_metadata_is_empty_by_itself() -> None:
    for kind in FORMATS:
        assert Metadata().options(kind) == {}
        assert Metadata().fitting(kind, Layout(1, 1, 3)) == Metadata()


def test_the_table_of_the_guide_is_that_of_the_code() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "folders.md"
    rows = re.findall(r"^\| ([\w ]+) \| (.+) \|$", guide.read_text("utf-8"), re.M)
    table = dict(rows)
    for kind, held in HELD.items():
        name = {"JPEG2000": "JPEG 2000", "WEBP": "WebP"}.get(kind, kind)
        expected = [NAMES[field] for field in held]
        if kind in ("WEBP", "AVIF"):
            expected.append("resolution (as EXIF)")
        assert table[name] == ", ".join(expected)


# -- more than 8 bits a channel --


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("given", RICH)
def test_metadata_of_deep_pictures(tmp_path: Path, given: str, kind: str, channels: int) -> None:
    picture = read_image(file(tmp_path, given))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = Levels(picture.pixels[..., :channels].astype(np.uint16) * 257, None)
    found = replace(picture.metadata, profile=srgb)
    kept = found.fitting(kind, layout_of(deep))
    data = encode(kind, deep, metadata=kept)
    assert data == encode(kind, deep, metadata=kept)

    (tmp_path / "deep").write_bytes(data)
    again = read_image(tmp_path / "deep")
    assert again.levels is not None
    assert (again.levels.values == deep.values).all()
    assert again.metadata.lost == ()
    first, inner, gps = exif_of(data)
    assert {tag: first[tag] for tag in FIRST} == FIRST
    assert {tag: inner[tag] for tag in INNER} == INNER
    assert gps == GPS
    info = opened(data).info
    assert info["xmp"] == XMP % 1
    assert info.get("icc_profile") == (srgb if channels == 3 else None)
    if given in ("JPEG", "PNG", "TIFF"):
        assert info["dpi"] == pytest.approx((300, 150), abs=0.05)
    if (given, kind) == ("TIFF", "TIFF"):
        tags = opened(data).tag_v2  # type: ignore[attr-defined]
        assert {tag: tags[tag] for tag in GEOTIFF} == {tag: GEOTIFF[tag][1] for tag in GEOTIFF}


def test_ome_xml_keeps_the_depth_that_the_output_has(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.arange(24 * 16, dtype=np.uint16).reshape(16, 24) * 10)
    ramp.save(tmp_path / "a.tif", description=OME.decode())
    picture = read_image(tmp_path / "a.tif")
    assert picture.levels is not None
    kept = picture.metadata.fitting("TIFF", layout_of(picture.levels))
    data = encode("TIFF", picture.levels, metadata=kept)
    (tmp_path / "b.tif").write_bytes(data)
    assert opened(data).tag_v2[270] == OME.decode()  # type: ignore[attr-defined]
    again = read_image(tmp_path / "b.tif")
    assert again.levels is not None
    assert again.levels.high == picture.levels.high == 4095


def test_letters_that_a_tiff_of_pillow_has_not_are_said(tmp_path: Path) -> None:
    said = {}
    for name, letter in (("plain", b"e"), ("accent", "\u00e9".encode("latin-1"))):
        found = Image.Exif()
        found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "cafX lens"
        path = tmp_path / f"{name}.jpg"
        Image.new("RGB", (8, 8)).save(path, exif=found.tobytes().replace(b"cafX", b"caf" + letter))
        metadata = read_image(path).metadata.fitting("TIFF", Layout(8, 8, 3, 8, 1))
        said[name] = [text for text in metadata.lost if "not ASCII" in text]
    assert said["plain"] == []
    assert said["accent"] == ["EXIF text that is not ASCII has ? for some letters: tag 42036"]
