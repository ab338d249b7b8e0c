"""translate.io.images: the values that modes, colour profiles and orientations are read to."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests._helpers.encoders import (
    PHOTO,
    SRGB_PROFILE,
    UInt8,
    cmyk_profile,
    encode,
    matrix_profile,
    png,
    profile,
    put,
    srgb_curve,
    tiff,
)
from translate.io import images
from translate.io.images import read_image, read_size


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_ramp_is_divided_by_257(folder: Path, kind: str) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    picture = read_image(put(folder / f"ramp.{kind.lower()}", encode(Image.fromarray(ramp), kind)))
    assert picture.mode.startswith("I;16")
    assert picture.format == kind
    assert picture.warnings == ()
    assert np.array_equal(
        picture.pixels, np.rint(ramp / 257)[..., None].repeat(3, 2).astype(np.uint8)
    )


@pytest.mark.parametrize("peak", [1, 100, 255, 4095])
def test_dark_16_bit_images_stay_dark(folder: Path, peak: int) -> None:
    dark = np.linspace(0, peak, 64).astype(np.uint16).reshape(8, 8)
    pixels = read_image(put(folder / "dark.png", encode(Image.fromarray(dark), "PNG"))).pixels
    assert pixels.max() == round(peak / 257)


@dataclass(frozen=True)
class DeepGray:
    """A row of a TIFF, and what it is read as."""

    bits: int
    photometric: int
    sample_format: int
    code: str  # of struct
    values: tuple[float, ...]
    expected: list[int]
    warned: bool


NOT_FINITE = (float("nan"), float("inf"), float("-inf"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "row",
    [
        DeepGray(16, 1, 1, "H", (0, 257 * 100, 65535), [0, 100, 255], False),
        DeepGray(16, 1, 2, "h", (-5, 257 * 100, 32767), [0, 100, 127], True),
        DeepGray(32, 1, 2, "i", (-5, 257 * 100, 10**6), [0, 100, 255], True),
        DeepGray(32, 1, 3, "f", (0.0, 0.5, 1.0), [0, 128, 255], False),
        DeepGray(32, 1, 3, "f", (-0.1, 0.2, 7.5), [0, 51, 255], True),
        DeepGray(32, 1, 3, "f", NOT_FINITE, [0, 255, 0], True),
        DeepGray(32, 0, 3, "f", (0.0, 0.2, 1.0), [255, 204, 0], False),
    ],
)
def test_deep_gray_tiff(folder: Path, order: str, row: DeepGray) -> None:
    pixels = struct.pack(f"{order}3{row.code}", *row.values)
    data = tiff(order, 3, row.bits, row.photometric, row.sample_format, pixels)
    picture = read_image(put(folder / "deep.tif", data))
    assert picture.pixels[0, :, 0].tolist() == row.expected
    assert bool(picture.warnings) is row.warned


def test_tiff_of_12_bits_and_white_is_zero(folder: Path) -> None:
    twelve = put(folder / "12.tif", tiff("<", 2, 12, 1, 1, bytes([0xFF, 0xF8, 0x00])))
    assert read_image(twelve).pixels[0, :, 0].tolist() == [255, 128]
    inverted = put(
        folder / "0.tif", tiff("<", 3, 16, 0, 1, struct.pack("<3H", 0, 257 * 100, 65535))
    )
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
    folder: Path,
    depth: int,
    colour: int,
    row: bytes,
    key: tuple[int, ...],
    gray: list[int],
    alpha: list[int],
) -> None:
    data = png(len(gray), 1, depth, colour, b"\0" + row, struct.pack(f">{len(key)}H", *key))
    picture = read_image(put(folder / "key.png", data))
    assert picture.alpha is not None
    assert picture.pixels[0, :, 0].tolist() == gray
    assert picture.alpha[0].tolist() == alpha


def test_palette_with_transparency(folder: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([2, 0, 1])
    for transparency, alpha in ((bytes([0, 128, 255]), [255, 0, 128]), (1, [255, 255, 0])):
        picture = read_image(put(folder / "p.png", encode(image, "PNG", transparency=transparency)))
        assert picture.mode == "P"
        assert picture.alpha is not None
        assert picture.pixels[0].tolist() == [[70, 80, 90], [10, 20, 30], [40, 50, 60]]
        assert picture.alpha[0].tolist() == alpha
    assert read_image(put(folder / "p.png", encode(image, "PNG"))).alpha is None


def test_gif_with_transparency(folder: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    picture = read_image(put(folder / "p.gif", encode(image, "GIF", transparency=1)))
    assert picture.alpha is not None
    assert picture.alpha[0].tolist() == [255, 0]
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    assert picture.warnings == ()


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", "png"), ("L", "tif"), ("P", "bmp"), ("LA", "png"), ("RGBA", "webp"), ("PA", "tif")],
)
def test_plain_modes_agree_with_pillow(folder: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(PHOTO).convert("P" if mode == "PA" else mode).convert(mode)
    if mode in ("LA", "RGBA", "PA"):
        image.putalpha(Image.fromarray(PHOTO[..., 1]))
    picture = read_image(
        put(folder / f"m.{suffix}", encode(image, images.SUFFIXES[f".{suffix}"], lossless=True))
    )
    assert picture.mode == mode
    assert picture.size == (13, 9)
    visible = picture.alpha != 0 if picture.alpha is not None else np.ones((9, 13), bool)
    assert np.array_equal(picture.pixels[visible], np.array(image.convert("RGB"))[visible])
    if mode in ("LA", "RGBA", "PA"):
        assert np.array_equal(picture.alpha, PHOTO[..., 1])
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "RGBX"])
def test_colour_models_of_tiff(folder: Path, mode: str) -> None:
    picture = read_image(
        put(folder / "m.tif", encode(Image.new("RGB", (4, 4), (200, 60, 30)).convert(mode), "TIFF"))
    )
    assert np.abs(picture.pixels.astype(int) - (200, 60, 30)).max() <= 2
    assert picture.alpha is None


@pytest.mark.parametrize("mode", ["RGBa", "La", "HSV", "YCbCr"])
def test_modes_that_decoders_seldom_give(mode: str) -> None:
    image = Image.new(
        "RGBA" if mode == "RGBa" else "LA" if mode == "La" else "RGB", (2, 2), "white"
    )
    if mode in ("RGBa", "La"):
        image.putalpha(128)
    plain, alpha = images._without_alpha(image.convert(mode), "")
    assert plain.mode in ("L", "RGB")
    assert plain.getpixel((0, 0)) in (255, (255, 255, 255))
    assert (alpha == 128).all() if mode in ("RGBa", "La") else alpha is None


def test_cmyk_jpeg(folder: Path) -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    picture = read_image(put(folder / "c.jpg", encode(inks, "JPEG", quality=100)))
    assert picture.mode == "CMYK"
    assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() <= 2


# -- Colour profiles


def test_linear_profile_is_converted(folder: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(ramp).convert("RGB")
    picture = read_image(
        put(folder / "l.png", encode(image, "PNG", icc_profile=matrix_profile(1.0)))
    )
    assert np.abs(picture.pixels[..., 1] - srgb_curve(ramp / 255)).max() <= 1.5
    assert picture.warnings == ()


def test_primaries_are_obeyed_and_alpha_kept(folder: Path) -> None:
    image = Image.fromarray(PHOTO)
    image.putalpha(Image.fromarray(PHOTO[..., 0]))
    plain = read_image(put(folder / "a.png", encode(image, "PNG", icc_profile=matrix_profile(2.2))))
    swapped = read_image(
        put(folder / "b.png", encode(image, "PNG", icc_profile=matrix_profile(2.2, "bgr")))
    )
    assert np.abs(plain.pixels.astype(int) - swapped.pixels[..., ::-1]).max() <= 1
    assert np.array_equal(swapped.alpha, PHOTO[..., 0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_srgb_profile_moves_no_pixel(folder: Path, kind: str) -> None:
    without = read_image(put(folder / "a.bin", encode(Image.fromarray(PHOTO), kind)))
    within = read_image(
        put(folder / "b.bin", encode(Image.fromarray(PHOTO), kind, icc_profile=SRGB_PROFILE))
    )
    assert np.array_equal(without.pixels, within.pixels)
    assert within.warnings == ()


@pytest.mark.parametrize("deep", [False, True])
def test_gray_profile(folder: Path, deep: bool) -> None:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 256)
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(ramp.astype(np.uint16) * 257 if deep else ramp)
    data = encode(image, "PNG", icc_profile=profile(b"GRAY", b"XYZ ", {b"kTRC": curve}))
    picture = read_image(put(folder / "g.png", data))
    assert np.abs(picture.pixels - srgb_curve(ramp / 255)[..., None]).max() <= 1.5
    lost = "more than 8 bits a channel became 8: its colour profile is applied"
    assert picture.warnings == ((lost,) if deep else ())


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_profile(folder: Path, kind: str) -> None:
    image = Image.new("CMYK", (48, 16))
    image.paste((255, 0, 0, 0), (16, 0, 32, 16))
    image.paste((0, 0, 0, 255), (32, 0, 48, 16))
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    picture = read_image(
        put(folder / "c.bin", encode(image, kind, icc_profile=cmyk_profile(), **options))
    )
    # Without the profile the middle would be cyan; L* = 50 is sRGB 119.
    assert np.abs(picture.pixels[8, [8, 24, 40]].astype(int) - [[255], [119], [0]]).max() <= 3


def test_unusable_profiles_are_ignored_with_a_warning(folder: Path) -> None:
    for broken in (b"", b"no profile", SRGB_PROFILE[:200], bytes(600), cmyk_profile()):
        picture = read_image(
            put(folder / "b.png", encode(Image.fromarray(PHOTO), "PNG", icc_profile=broken))
        )
        assert np.array_equal(picture.pixels, PHOTO)
        assert len(picture.warnings) == bool(broken)
        assert all("colour profile" in warning for warning in picture.warnings)
    gray = read_image(
        put(folder / "g.png", encode(Image.new("L", (2, 2), 77), "PNG", icc_profile=SRGB_PROFILE))
    )
    assert (gray.pixels == 77).all()
    assert gray.warnings == ()


# -- Orientation


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
    assert picture.alpha is not None
    assert picture.warnings == ()
    assert np.array_equal(np.dstack([picture.pixels, picture.alpha]), UPRIGHT[orientation](stored))
    assert read_size(folder / "o.bin") == picture.pixels.shape[1::-1]
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_jpeg_and_16_bits(folder: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.array([[0, 60, 120], [180, 220, 255]], np.uint8).repeat(16, 0).repeat(16, 1)
    picture = read_image(
        put(folder / "o.jpg", encode(Image.fromarray(blocks), "JPEG", exif=exif, quality=98))
    )
    assert np.abs(picture.pixels[..., 0].astype(int) - UPRIGHT[orientation](blocks)).max() <= 3
    deep = encode(Image.fromarray(blocks.astype(np.uint16) * 257), "PNG", exif=exif)
    assert np.array_equal(
        read_image(put(folder / "o.png", deep)).pixels[..., 0], UPRIGHT[orientation](blocks)
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\0\0", b"Exif\0\0MM\0*\0\0\0\x08\x00\x09"]
)
def test_malformed_exif_is_tolerated(folder: Path, kind: str, exif: bytes) -> None:
    plain = read_image(put(folder / "p.bin", encode(Image.fromarray(PHOTO), kind)))
    picture = read_image(put(folder / "x.bin", encode(Image.fromarray(PHOTO), kind, exif=exif)))
    (warning,) = picture.warnings
    assert "EXIF" in warning
    assert np.array_equal(picture.pixels, plain.pixels)
    assert read_size(folder / "x.bin") == plain.pixels.shape[1::-1]


def test_orientation_out_of_range(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    picture = read_image(put(folder / "x.png", encode(Image.fromarray(PHOTO), "PNG", exif=exif)))
    assert picture.warnings
    assert np.array_equal(picture.pixels, PHOTO)
