"""translate.images: what the decoding rules promise, in numbers; what writing promises, by failing on purpose."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from translate import images
from translate.images import (
    FORMATS,
    SUFFIXES,
    ImageError,
    Picture,
    atomic,
    flatten,
    grid,
    list_files,
    list_images,
    read_image,
    resize,
    to_channels,
    to_float,
    to_uint8,
    write_image,
    write_text,
)

UInt8 = NDArray[np.uint8]
RNG = np.random.default_rng(0)
PHOTO: UInt8 = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property: hypothesis wants no fixture that is made anew for each test."""
    return tmp_path_factory.mktemp("images")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def reason(path: Path, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert "\n" not in str(caught.value) and path.name not in str(caught.value)
    return str(caught.value)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, transparent: bytes = b"") -> bytes:
    """A PNG byte by byte, for what Pillow cannot write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    key = chunk(b"tRNS", transparent) if transparent else b""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + key
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(order: str, width: int, bits: int, photometric: int, sample_format: int, data: bytes) -> bytes:
    """A TIFF of one gray row, in the byte order "<" or ">"."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: 1, 279: len(data)}
    tags |= {339: sample_format}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return start + struct.pack(order + "H", len(tags)) + entries + bytes(4) + data


def profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC profile, version 2.4 (ICC.1:2001-04, section 6)."""
    white = struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white, b"desc": b"desc" + bytes(8) + bytes(79), **tags}
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4xI", offset + len(body), 0x02400000) + (b"prtr" if space == b"CMYK" else b"mntr")
    head += space + pcs + bytes(12) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + table + body


def matrix_profile(gamma: float, order: str = "rgb") -> bytes:
    """sRGB's primaries in the order given, with a pure power for a curve."""
    primaries = {"r": (0.43607, 0.22249, 0.01392), "g": (0.38515, 0.71687, 0.09708), "b": (0.14307, 0.06061, 0.7141)}
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {f"{channel}TRC".encode(): curve for channel in "rgb"}
    for channel, primary in zip("rgb", order, strict=True):
        xyz = struct.pack(">3i", *(round(value * 65536) for value in primaries[primary]))
        tags[f"{channel}XYZ".encode()] = b"XYZ " + bytes(4) + xyz
    return profile(b"RGB ", b"XYZ ", tags)


def cmyk_profile() -> bytes:
    """A table of 2**4 colours: white without ink, black with K, one middle gray (L* = 50) for any other ink."""
    nodes = [(0, 128, 128) if n & 1 else (255, 128, 128) if n == 0 else (128, 128, 128) for n in range(16)]
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + bytes(sum(nodes, ())) + identity * 3
    return profile(b"CMYK", b"Lab ", {b"A2B0": table})


def srgb_curve(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1, from [0, 1] to [0, 255]."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# --- Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_ramp_is_divided_by_257(folder: Path, kind: str) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    picture = read_image(put(folder / f"ramp.{kind.lower()}", encode(Image.fromarray(ramp), kind)))
    assert picture.mode.startswith("I;16") and picture.format == kind and picture.warnings == ()
    assert np.array_equal(picture.pixels, np.rint(ramp / 257)[..., None].repeat(3, 2).astype(np.uint8))


@pytest.mark.parametrize("peak", [1, 100, 255, 4095])
def test_dark_16_bit_images_stay_dark(folder: Path, peak: int) -> None:
    dark = np.linspace(0, peak, 64).astype(np.uint16).reshape(8, 8)
    pixels = read_image(put(folder / "dark.png", encode(Image.fromarray(dark), "PNG"))).pixels
    assert pixels.max() == round(peak / 257)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "photometric", "sample_format", "code", "values", "expected", "warned"),
    [
        (16, 1, 1, "H", (0, 257 * 100, 65535), (0, 100, 255), False),
        (16, 1, 2, "h", (-5, 257 * 100, 32767), (0, 100, 127), True),
        (32, 1, 2, "i", (-5, 257 * 100, 10**6), (0, 100, 255), True),
        (32, 1, 3, "f", (0.0, 0.5, 1.0), (0, 128, 255), False),
        (32, 1, 3, "f", (-0.1, 0.2, 7.5), (0, 51, 255), True),
        (32, 1, 3, "f", (float("nan"), float("inf"), float("-inf")), (0, 255, 0), True),
        (32, 0, 3, "f", (0.0, 0.2, 1.0), (255, 204, 0), False),
    ],
)
def test_deep_gray_tiff(
    folder: Path,
    order: str,
    bits: int,
    photometric: int,
    sample_format: int,
    code: str,
    values: tuple[float, ...],
    expected: tuple[int, ...],
    warned: bool,
) -> None:
    data = tiff(order, 3, bits, photometric, sample_format, struct.pack(f"{order}3{code}", *values))
    picture = read_image(put(folder / "deep.tif", data))
    assert picture.pixels[0, :, 0].tolist() == list(expected)
    assert bool(picture.warnings) is warned


def test_tiff_of_12_bits_and_white_is_zero(folder: Path) -> None:
    twelve = put(folder / "12.tif", tiff("<", 2, 12, 1, 1, bytes([0xFF, 0xF8, 0x00])))
    assert read_image(twelve).pixels[0, :, 0].tolist() == [255, 128]
    inverted = put(folder / "0.tif", tiff("<", 3, 16, 0, 1, struct.pack("<3H", 0, 257 * 100, 65535)))
    assert read_image(inverted).pixels[0, :, 0].tolist() == [255, 155, 0]


@pytest.mark.parametrize(
    ("depth", "colour", "row", "key", "gray", "alpha"),
    [
        (1, 0, b"\xa0", (1,), [255, 0, 255], [0, 255, 0]),
        (2, 0, b"\x1b", (2,), [0, 85, 170, 255], [255, 255, 0, 255]),
        (4, 0, b"\x7f", (7,), [119, 255], [0, 255]),
        (8, 0, b"\1\2\3", (2,), [1, 2, 3], [255, 0, 255]),
        (16, 0, struct.pack(">3H", 0, 2000, 65535), (2000,), [0, 8, 255], [255, 0, 255]),
        (8, 2, bytes([9, 1, 2, 9, 9, 9]), (9, 1, 2), [9, 9], [0, 255]),
        (16, 2, struct.pack(">6H", 5140, 1, 2, 65535, 0, 0), (5140, 1, 2), [20, 255], [0, 255]),
    ],
)
def test_transparent_colour_of_a_png(
    folder: Path, depth: int, colour: int, row: bytes, key: tuple[int, ...], gray: list[int], alpha: list[int]
) -> None:
    data = png(len(gray), 1, depth, colour, b"\0" + row, struct.pack(f">{len(key)}H", *key))
    picture = read_image(put(folder / "key.png", data))
    assert picture.alpha is not None
    assert picture.pixels[0, :, 0].tolist() == gray and picture.alpha[0].tolist() == alpha


def test_palette_with_transparency(folder: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([2, 0, 1])
    for transparency, alpha in ((bytes([0, 128, 255]), [255, 0, 128]), (1, [255, 255, 0])):
        picture = read_image(put(folder / "p.png", encode(image, "PNG", transparency=transparency)))
        assert picture.mode == "P" and picture.alpha is not None
        assert picture.pixels[0].tolist() == [[70, 80, 90], [10, 20, 30], [40, 50, 60]]
        assert picture.alpha[0].tolist() == alpha
    assert read_image(put(folder / "p.png", encode(image, "PNG"))).alpha is None


def test_gif_with_transparency(folder: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    picture = read_image(put(folder / "p.gif", encode(image, "GIF", transparency=1)))
    assert picture.alpha is not None and picture.alpha[0].tolist() == [255, 0]
    assert picture.pixels[0, 0].tolist() == [255, 0, 0] and picture.warnings == ()


@pytest.mark.parametrize(
    ("mode", "suffix"), [("1", "png"), ("L", "tif"), ("P", "bmp"), ("LA", "png"), ("RGBA", "webp"), ("PA", "tif")]
)
def test_plain_modes_agree_with_pillow(folder: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(PHOTO).convert("P" if mode == "PA" else mode).convert(mode)
    if mode in ("LA", "RGBA", "PA"):
        image.putalpha(Image.fromarray(PHOTO[..., 1]))
    picture = read_image(put(folder / f"m.{suffix}", encode(image, images.SUFFIXES[f".{suffix}"], lossless=True)))
    assert picture.mode == mode and picture.size == (13, 9)
    visible = picture.alpha != 0 if picture.alpha is not None else np.ones((9, 13), bool)
    assert np.array_equal(picture.pixels[visible], np.array(image.convert("RGB"))[visible])
    if mode in ("LA", "RGBA", "PA"):
        assert np.array_equal(picture.alpha, PHOTO[..., 1])
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "RGBX"])
def test_colour_models_of_tiff(folder: Path, mode: str) -> None:
    picture = read_image(put(folder / "m.tif", encode(Image.new("RGB", (4, 4), (200, 60, 30)).convert(mode), "TIFF")))
    assert np.abs(picture.pixels.astype(int) - (200, 60, 30)).max() <= 2 and picture.alpha is None


@pytest.mark.parametrize("mode", ["RGBa", "La", "HSV", "YCbCr"])
def test_modes_that_decoders_seldom_give(mode: str) -> None:
    image = Image.new("RGBA" if mode == "RGBa" else "LA" if mode == "La" else "RGB", (2, 2), "white")
    if mode in ("RGBa", "La"):
        image.putalpha(128)
    plain, alpha = images._without_alpha(image.convert(mode), "", [])
    assert plain.mode in ("L", "RGB") and plain.getpixel((0, 0)) in (255, (255, 255, 255))
    assert (alpha == 128).all() if mode in ("RGBa", "La") else alpha is None


def test_cmyk_jpeg(folder: Path) -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    picture = read_image(put(folder / "c.jpg", encode(inks, "JPEG", quality=100)))
    assert picture.mode == "CMYK" and np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() <= 2


# --- Colour profiles --------------------------------------------------------------------------------------------------


def test_linear_profile_is_converted(folder: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(ramp).convert("RGB")
    picture = read_image(put(folder / "l.png", encode(image, "PNG", icc_profile=matrix_profile(1.0))))
    assert np.abs(picture.pixels[..., 1] - srgb_curve(ramp / 255)).max() <= 1.5 and picture.warnings == ()


def test_primaries_are_obeyed_and_alpha_kept(folder: Path) -> None:
    image = Image.fromarray(PHOTO)
    image.putalpha(Image.fromarray(PHOTO[..., 0]))
    plain = read_image(put(folder / "a.png", encode(image, "PNG", icc_profile=matrix_profile(2.2))))
    swapped = read_image(put(folder / "b.png", encode(image, "PNG", icc_profile=matrix_profile(2.2, "bgr"))))
    assert np.abs(plain.pixels.astype(int) - swapped.pixels[..., ::-1]).max() <= 1
    assert np.array_equal(swapped.alpha, PHOTO[..., 0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_srgb_profile_moves_no_pixel(folder: Path, kind: str) -> None:
    without = read_image(put(folder / "a.bin", encode(Image.fromarray(PHOTO), kind)))
    within = read_image(put(folder / "b.bin", encode(Image.fromarray(PHOTO), kind, icc_profile=SRGB_PROFILE)))
    assert np.array_equal(without.pixels, within.pixels) and within.warnings == ()


@pytest.mark.parametrize("deep", [False, True])
def test_gray_profile(folder: Path, deep: bool) -> None:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 256)
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(ramp.astype(np.uint16) * 257 if deep else ramp)
    data = encode(image, "PNG", icc_profile=profile(b"GRAY", b"XYZ ", {b"kTRC": curve}))
    picture = read_image(put(folder / "g.png", data))
    assert np.abs(picture.pixels - srgb_curve(ramp / 255)[..., None]).max() <= 1.5 and picture.warnings == ()


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_profile(folder: Path, kind: str) -> None:
    image = Image.new("CMYK", (48, 16))
    image.paste((255, 0, 0, 0), (16, 0, 32, 16))
    image.paste((0, 0, 0, 255), (32, 0, 48, 16))
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    picture = read_image(put(folder / "c.bin", encode(image, kind, icc_profile=cmyk_profile(), **options)))
    # Without the profile the middle would be cyan; L* = 50 is sRGB 119.
    assert np.abs(picture.pixels[8, [8, 24, 40]].astype(int) - [[255], [119], [0]]).max() <= 3


def test_unusable_profiles_are_ignored_with_a_warning(folder: Path) -> None:
    for broken in (b"", b"no profile", SRGB_PROFILE[:200], bytes(600), cmyk_profile()):
        picture = read_image(put(folder / "b.png", encode(Image.fromarray(PHOTO), "PNG", icc_profile=broken)))
        assert np.array_equal(picture.pixels, PHOTO)
        assert [note.startswith("colour profile ignored") for note in picture.warnings] == [True] * bool(broken)
    gray = read_image(put(folder / "g.png", encode(Image.new("L", (2, 2), 77), "PNG", icc_profile=SRGB_PROFILE)))
    assert (gray.pixels == 77).all() and gray.warnings == ()


# --- Orientation ------------------------------------------------------------------------------------------------------

UPRIGHT: dict[int, Callable[[UInt8], UInt8]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_orientation(folder: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.dstack([PHOTO, 255 - PHOTO[..., :1] // 2])
    data = encode(Image.fromarray(stored), kind, exif=exif, lossless=True)
    picture = read_image(put(folder / "o.bin", data))
    assert picture.alpha is not None and picture.warnings == ()
    assert np.array_equal(np.dstack([picture.pixels, picture.alpha]), UPRIGHT[orientation](stored))
    assert picture.pixels.flags.c_contiguous and picture.pixels.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_jpeg_and_16_bits(folder: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.array([[0, 60, 120], [180, 220, 255]], np.uint8).repeat(16, 0).repeat(16, 1)
    picture = read_image(put(folder / "o.jpg", encode(Image.fromarray(blocks), "JPEG", exif=exif, quality=98)))
    assert np.abs(picture.pixels[..., 0].astype(int) - UPRIGHT[orientation](blocks)).max() <= 3
    deep = encode(Image.fromarray(blocks.astype(np.uint16) * 257), "PNG", exif=exif)
    assert np.array_equal(read_image(put(folder / "o.png", deep)).pixels[..., 0], UPRIGHT[orientation](blocks))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\0\0", b"Exif\0\0MM\0*\0\0\0\x08\x00\x09"])
def test_malformed_exif_is_tolerated(folder: Path, kind: str, exif: bytes) -> None:
    plain = read_image(put(folder / "p.bin", encode(Image.fromarray(PHOTO), kind)))
    picture = read_image(put(folder / "x.bin", encode(Image.fromarray(PHOTO), kind, exif=exif)))
    assert picture.warnings == ("malformed EXIF: its orientation is ignored",)
    assert np.array_equal(picture.pixels, plain.pixels)


def test_orientation_out_of_range(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    picture = read_image(put(folder / "x.png", encode(Image.fromarray(PHOTO), "PNG", exif=exif)))
    assert picture.warnings and np.array_equal(picture.pixels, PHOTO)


# --- Files that are not what they should be ---------------------------------------------------------------------------


def seeds() -> dict[str, bytes]:
    """Small files of every format, with the metadata whose parsers a broken byte may upset."""
    photo, exif = Image.fromarray(PHOTO), Image.Exif()
    exif[0x0112] = 6
    more: dict[str, Any] = {"save_all": True, "append_images": [photo.rotate(180)]}
    deep = Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 200)
    floats = Image.fromarray(RNG.random((9, 13), dtype=np.float32))
    return {
        "jpeg": encode(photo, "JPEG", exif=exif, icc_profile=SRGB_PROFILE),
        "progressive": encode(photo, "JPEG", progressive=True),
        "png": encode(photo, "PNG", exif=exif, icc_profile=SRGB_PROFILE),
        "palette": encode(photo.quantize(16), "PNG", transparency=bytes(range(16))),
        "deep": encode(deep, "PNG"),
        "apng": encode(photo, "PNG", **more),
        "gif": encode(photo, "GIF", **more),
        "webp": encode(photo, "WEBP", exif=exif, icc_profile=SRGB_PROFILE),
        "moving webp": encode(photo, "WEBP", **more),
        "bmp": encode(photo, "BMP"),
        "tiff": encode(photo, "TIFF", icc_profile=SRGB_PROFILE),
        "lzw": encode(photo, "TIFF", compression="tiff_lzw"),
        "float": encode(floats, "TIFF"),
    }


@pytest.mark.parametrize("name", seeds())
def test_flipped_bytes_give_a_picture_or_an_image_error(folder: Path, name: str) -> None:
    source, seed = random.Random(name), seeds()[name]
    for _ in range(60):
        data = bytearray(seed)
        for _ in range(source.choice((1, 1, 3))):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            picture = read_image(put(folder / "fuzz.bin", data), max_pixels=10**6)
        except ImageError as error:
            assert str(error) and "\n" not in str(error)
            continue
        assert picture.pixels.dtype == np.uint8 and picture.pixels.shape == (*picture.size[::-1], 3)
        assert picture.alpha is None or picture.alpha.shape == picture.pixels.shape[:2]


@pytest.mark.parametrize("name", seeds())
def test_cut_files_are_errors_or_lack_nothing(folder: Path, name: str) -> None:
    data = seeds()[name]
    whole = read_image(put(folder / "whole.bin", data)).pixels
    for length in range(len(data) // 2, len(data), 7):
        try:
            cut = read_image(put(folder / "cut.bin", data[:length])).pixels
        except ImageError:
            continue
        assert np.array_equal(cut, whole), length  # only what follows the pixels was lost
    with pytest.raises(ImageError):
        read_image(put(folder / "cut.bin", data[: len(data) // 3]))


def test_reasons(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(put(folder / "empty.png", b"")) == "empty file"
    assert reason(put(folder / "text.png", b"hello, world\n" * 9)).startswith(
        "not an image of a supported format (PNG, "
    )
    assert reason(put(folder / "eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")).startswith(
        "not an image"
    )
    for kind in ("JPEG", "PNG", "BMP"):
        data = encode(Image.fromarray(PHOTO), kind)
        assert reason(put(folder / "cut.bin", data[: len(data) - 60])).startswith("truncated")
    assert reason(folder / "none.png") == "cannot be read: no such file or directory"
    (folder / "folder.png").mkdir(exist_ok=True)
    assert reason(folder / "folder.png") == "cannot be read: is a directory"

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/secret.png")

    monkeypatch.setattr("builtins.open", refuse)
    assert reason(folder / "secret.png") == "cannot be read: permission denied"


def test_huge_by_its_header(folder: Path) -> None:
    path = put(folder / "huge.png", png(100_000, 20_000, 8, 2, b""))
    assert reason(path) == "2000 Mpx exceed --max-pixels 178 Mpx"
    path = put(folder / "small.png", encode(Image.new("L", (20, 10)), "PNG"))
    assert reason(path, max_pixels=199) == "0.0002 Mpx exceed --max-pixels 0.000199 Mpx"
    assert read_image(path, max_pixels=200).size == (20, 10)


def test_pillows_own_limit_gives_way_to_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    path = put(folder / "small.png", encode(Image.new("L", (20, 10)), "PNG"))
    assert read_image(path).size == (20, 10)
    assert Image.MAX_IMAGE_PIXELS == 50


def test_content_decides_and_a_wrong_name_is_noted(folder: Path) -> None:
    for kind in FORMATS:
        data = encode(Image.fromarray(PHOTO), kind)
        right = next(suffix for suffix, name in SUFFIXES.items() if name == kind)
        wrong = ".jpg" if kind != "JPEG" else ".png"
        assert read_image(put(folder / f"x{right.upper()}", data)).warnings == ()
        assert read_image(put(folder / "x.data", data)).warnings == ()
        picture = read_image(put(folder / f"x{wrong}", data))
        assert picture.format == kind and picture.warnings == (f"named {wrong} but its content is {kind}",)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_several(folder: Path, kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encode(first, kind, save_all=True, append_images=[second], duration=50)
    picture = read_image(put(folder / "frames.bin", data))
    assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() <= 3
    assert picture.warnings == ("has several frames, only the first is used",)


def test_threads_share_the_silence_and_leave_no_trace(folder: Path) -> None:
    corrupt = b"Exif\0\0MM\0*\0\0\0\x08\x00\x09"  # Pillow warns of it, and warnings are errors here
    path = put(folder / "warns.jpg", encode(Image.fromarray(PHOTO), "JPEG", exif=corrupt))
    empty = put(folder / "empty.jpg", b"")

    def read(i: int) -> bool:
        if i % 3 == 0:
            reason(empty)
        return bool(read_image(path).warnings)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(200)))
        assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == (before, limit)


# --- Arrays -----------------------------------------------------------------------------------------------------------


def test_all_256_values_survive() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1).repeat(3, 3)
    x = to_float(pixels)
    assert x.dtype == np.float32 and x.shape == (2, 3, 8, 16) and x.min() == -1 and x.max() == 1
    assert np.array_equal(to_uint8(x), pixels)
    assert np.array_equal(to_uint8(x.astype(np.float64)), pixels)
    assert np.abs(to_uint8(x.astype(np.float16)).astype(int) - pixels).max() <= 1


def test_to_uint8_clips_rounds_half_up_and_refuses_what_is_not_finite() -> None:
    x = np.array([-9.0, 9.0, 0.0, -1 + 1.01 / 255, -1 + 0.99 / 255]).reshape(1, 1, 5)
    assert to_uint8(x).ravel().tolist() == [0, 255, 128, 1, 0]
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="finite"):
            to_uint8(np.full((1, 2, 2), bad, np.float32))


def test_flatten() -> None:
    pixels, alpha = np.full((1, 3, 3), 200, np.uint8), np.array([[0, 128, 255]], np.uint8)
    picture = Picture(pixels, alpha, "PNG", "RGBA", ())
    assert flatten(picture)[0, :, 0].tolist() == [255, 227, 200]
    assert flatten(picture, (0, 0, 100))[0].tolist() == [[0, 0, 100], [100, 100, 150], [200, 200, 200]]
    assert flatten(Picture(pixels, None, "PNG", "RGB", ())) is pixels


def test_to_channels() -> None:
    gray = to_channels(PHOTO, 1)
    assert gray.shape == (9, 13, 1) and np.array_equal(gray[..., 0], np.array(Image.fromarray(PHOTO).convert("L")))
    assert np.abs(gray[..., 0] - PHOTO @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    assert np.array_equal(to_channels(to_channels(gray, 3), 1), gray)
    assert to_channels(PHOTO, 3) is PHOTO
    with pytest.raises(ValueError, match="1 or 3"):
        to_channels(PHOTO, 2)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from((1, 3)),
    st.integers(0, 255),
)
def test_resize_keeps_flat_colours(h: int, w: int, height: int, width: int, channels: int, value: int) -> None:
    pixels = np.full((h, w, channels), value, np.uint8)
    resized = resize(pixels, (width, height))
    assert resized.shape == (height, width, channels) and (resized == value).all()
    assert resize(pixels, (w, h)) is pixels


def test_resize_is_antialiased() -> None:
    stripes = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.abs(resize(stripes, (16, 16))[2:-2, 2:-2].astype(int) - 127).max() <= 3


# --- Writing ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 33),
    st.integers(1, 33),
    st.sampled_from((1, 3)),
    st.booleans(),
    st.sampled_from((".png", ".tif", ".TIFF", ".bmp")),
    st.integers(0, 2**32),
)
def test_lossless_round_trip(
    folder: Path, height: int, width: int, channels: int, with_alpha: bool, suffix: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    alpha = rng.integers(0, 256, (height, width), dtype=np.uint8) if with_alpha else None
    path = folder / f"trip{suffix}"
    write_image(path, pixels, alpha)
    picture = read_image(path)
    assert picture.warnings == () and picture.size == (width, height)
    if with_alpha and suffix == ".bmp":
        assert np.array_equal(picture.pixels, flatten(Picture(to_channels(pixels, 3), alpha, "", "", ())))
        return
    assert picture.mode == {1: "L", 3: "RGB"}[channels] + "A" * with_alpha
    assert np.array_equal(picture.pixels, to_channels(pixels, 3))
    assert (alpha is None and picture.alpha is None) or np.array_equal(picture.alpha, alpha)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_every_suffix_close_and_the_same_bytes_twice(
    tmp_path: Path, suffix: str, channels: int, with_alpha: bool
) -> None:
    ramp = np.linspace(40, 200, 32).astype(np.uint8)
    pixels = np.broadcast_to(ramp[:, None, None], (32, 24, channels)).copy()
    alpha = np.full((32, 24), 254, np.uint8) if with_alpha else None
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_image(first, pixels, alpha)
    write_image(second, pixels, alpha)
    assert first.read_bytes() == second.read_bytes()
    picture = read_image(first)
    assert picture.format == SUFFIXES[suffix] and picture.warnings == ()
    assert (picture.alpha is not None) == (with_alpha and picture.format in ("PNG", "TIFF", "WEBP"))
    assert np.abs(picture.pixels.astype(int) - to_channels(pixels, 3)).max() <= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_jpeg_keeps_colour_at_full_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 200, 200
    write_image(tmp_path / "s.jpg", stripes, quality=100)
    assert np.abs(read_image(tmp_path / "s.jpg").pixels.astype(int) - stripes).max() <= 6
    write_image(tmp_path / "t.jpg", stripes, quality=20)
    assert (tmp_path / "t.jpg").stat().st_size < (tmp_path / "s.jpg").stat().st_size


def test_write_refuses_other_suffixes_and_arrays(tmp_path: Path) -> None:
    for name in ("x.tga", "x", "x.png.txt"):
        with pytest.raises(ValueError, match=r"\.png.*\.jpg.*\.tif"):
            write_image(tmp_path / name, PHOTO)
    for array in (PHOTO[..., 0], PHOTO[..., :2], PHOTO.astype(np.float32)):
        with pytest.raises(ValueError, match="uint8"):
            write_image(tmp_path / "x.png", array)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_is_left_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    path = put(tmp_path / "x.png", b"before")
    seen: list[str] = []

    def fail(_: Image.Image, target: Path, *__: object, **___: object) -> None:
        target.write_bytes(b"half")
        seen.extend(sorted(os.listdir(tmp_path)))
        raise failure

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(type(failure)):
        write_image(path, PHOTO)
    assert seen[0].startswith(".introshift-") and seen[0].endswith(".part") and seen[1] == "x.png"
    assert os.listdir(tmp_path) == ["x.png"] and path.read_bytes() == b"before"


def test_atomic_replaces_and_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_text(path, "line\r\nzwölf ✓\n")
    assert path.read_bytes() == "line\r\nzwölf ✓\n".encode()
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    with pytest.raises(ZeroDivisionError), atomic(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), atomic(path):
        pass  # the block wrote nothing
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError), atomic(target) as temporary:  # noqa: PT011
        temporary.write_text("a file cannot replace a folder")
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "missing" / "x.txt", "")
    assert sorted(os.listdir(tmp_path)) == ["folder", "x.txt"] and "zwölf" in path.read_text("utf-8")


def test_replacing_a_link_leaves_its_target_alone(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside.png", b"mine")
    (tmp_path / "link.png").symlink_to(outside)
    write_image(tmp_path / "link.png", PHOTO)
    assert outside.read_bytes() == b"mine" and not (tmp_path / "link.png").is_symlink()


# --- Folders ----------------------------------------------------------------------------------------------------------


def test_listing(tmp_path: Path) -> None:
    root, outside = tmp_path / "in", tmp_path / "outside"
    for name in (
        "b.PNG",
        "a/z.jpg",
        "a/deep/x.tiff",
        "a.png",
        "notes.txt",
        "noext",
        ".introshift-12.part",
        ".hidden.gif",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    (root / ".introshift-work").mkdir()
    put(root / ".introshift-work" / "x.png", b"")
    outside.mkdir()
    put(outside / "o.png", b"")
    (root / "link.png").symlink_to(root / "a.png")
    (root / "broken.png").symlink_to(root / "nowhere.png")
    (root / "linked").symlink_to(outside, target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    found = [path.as_posix() for path in list_images(root)]
    assert found == [".hidden.gif", "a.png", "a/deep/x.tiff", "a/z.jpg", "b.PNG"]
    assert [path.as_posix() for path in list_files(str(root))] == [*found, "noext", "notes.txt"]
    assert all(not path.is_absolute() for path in list_images(root))


def test_listing_reports_what_it_cannot_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[OSError] = []
    assert list_images(tmp_path / "none", heard.append) == list_images(tmp_path / "none") == []
    assert [type(error) for error in heard] == [FileNotFoundError]
    (tmp_path / "locked").mkdir()
    put(tmp_path / "a.png", b"")
    scandir = os.scandir

    def locked(path: Any) -> Any:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert list_images(tmp_path, heard.append) == [Path("a.png")]
    assert heard[1].filename.endswith("locked")


# --- Contact sheet ----------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.integers(1, 3))
def test_grid_places_every_tile(rows: int, columns: int, h: int, w: int, pad: int, scale: int) -> None:
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (rows, columns, h, w, 3), dtype=np.uint8)
    sheet = grid([list(row) for row in tiles], pad=pad, scale=scale)
    assert sheet.shape == (rows * (h * scale + pad) + pad, columns * (w * scale + pad) + pad, 3)
    for j in range(rows):
        for i in range(columns):
            y, x = pad + j * (h * scale + pad), pad + i * (w * scale + pad)
            assert np.array_equal(sheet[y : y + h * scale : scale, x : x + w * scale : scale], tiles[j, i])
    inside = scale**2 * tiles.astype(int).sum()
    assert sheet.astype(int).sum() == inside + 255 * (sheet.size - scale**2 * tiles.size)


def test_grid_with_labels() -> None:
    black = np.zeros((40, 64, 1), np.uint8)
    bare = grid([[black] * 3, [black]])
    sheet = grid([[black] * 3, [black]], ["source", "a very long label indeed\nof two lines", ""], ["Ägypten", "漢字"])
    top, left = sheet.shape[0] - bare.shape[0], sheet.shape[1] - bare.shape[1]
    assert top >= 11 and left >= 11
    assert np.array_equal(sheet[top + 2 :, left + 2 :], bare[2:, 2:])  # tiles, gaps and the missing ones
    ink = (sheet[:top] < 128).any(axis=(0, 2))
    columns = [slice(left + 2 + i * 66, left + 66 + i * 66) for i in range(3)]
    assert ink[columns[0]].any() and ink[columns[1]].any() and not ink[columns[2]].any()
    assert ink.sum() == sum(ink[column].sum() for column in columns)  # no label leaves its column
    assert (sheet[top + 2 : top + 42, :left] < 128).any() and (sheet[:, 0] == 255).all() and (sheet[0] == 255).all()


def test_grid_refuses_unlike_tiles() -> None:
    for rows in ([], [[]], [[PHOTO, PHOTO[:5]]]):
        with pytest.raises(ValueError, match="one size"):
            grid(rows)


def test_imports_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import translate.images"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parents[1], check=True)
