"""More than 8 bits a channel: what is read, which range counts, and what is written."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests._helpers.encoders import SRGB_PROFILE, encode, matrix_profile, png, put, tiff
from translate.io.depth import WHITE, Levels, Values, fitting, lost_depth, read_levels, turned
from translate.io.images import SUFFIXES, read_image, read_thumbnail, write_image
from translate.io.ranges import fixed_range

RNG = np.random.default_rng(0)


def noise(height: int, width: int, channels: int, high: int = WHITE) -> Values:
    return RNG.integers(0, high + 1, (height, width, channels), dtype=np.uint16)


def levels_of(path: Path, value_range: str = "file") -> Levels:
    levels = read_image(path, value_range=value_range).levels
    assert levels is not None
    return levels


def bounds_of(path: Path, value_range: str = "file") -> tuple[float, float]:
    levels = levels_of(path, value_range)
    return levels.low, levels.high


@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_what_is_written_is_read_again(
    folder: Path, name: str, channels: int, with_alpha: bool
) -> None:
    alpha = noise(11, 7, 1)[..., 0] if with_alpha else None
    levels = Levels(noise(11, 7, channels), alpha)
    write_image(folder / name, levels)
    picture = read_image(folder / name)
    assert picture.bits == 16
    assert picture.warnings == ()
    assert picture.levels is not None
    assert picture.levels.values.dtype == np.uint16
    assert (picture.levels.values == levels.values).all()  # gray with alpha comes as three channels
    if alpha is None:
        assert picture.levels.values.shape == levels.values.shape
        assert picture.alpha is None
        return
    assert picture.levels.alpha is not None
    assert picture.alpha is not None
    assert np.array_equal(picture.levels.alpha, alpha)
    assert np.array_equal(picture.alpha, alpha >> 8)


def test_floats_are_written_as_floats_or_as_16_bits(folder: Path) -> None:
    values = RNG.random((11, 7, 1), dtype=np.float32)
    levels = Levels(values, None, 0, 1)
    write_image(folder / "a.tif", levels)
    found = levels_of(folder / "a.tif")
    assert found.values.dtype == np.float32
    assert np.array_equal(found.values, values)
    assert (found.low, found.high) == (0, 1)

    whole = fitting(levels, "PNG")
    assert whole is not None
    write_image(folder / "a.png", whole)
    assert np.array_equal(levels_of(folder / "a.png").values, np.rint(values * np.float32(WHITE)))
    assert fitting(levels, "JPEG") is None


def test_a_range_that_is_not_the_types_is_in_the_tiff(folder: Path) -> None:
    for levels in (
        Levels(noise(5, 4, 3, 4095), None, 0, 4095),
        Levels(RNG.normal(500, 100, (5, 4, 1)).astype(np.float32), None, -1000, 3000),
    ):
        write_image(folder / "a.tif", levels)
        found = levels_of(folder / "a.tif")
        assert (found.low, found.high) == (levels.low, levels.high)
        assert np.array_equal(found.values, levels.values)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_pictures_are_turned_as_those_of_8_bits(
    folder: Path, orientation: int, channels: int
) -> None:
    values = noise(4, 6, channels)
    done, data = cv2.imencode(".png", values)
    assert done
    exif = Image.Exif()
    exif[274] = orientation
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + body))
    written = data.tobytes()
    deep = put(folder / "deep.png", written[:33] + chunk + written[33:])

    shallow = Image.fromarray((values[..., ::-1] >> 8).astype(np.uint8).squeeze())
    shallow.save(folder / "shallow.png", exif=exif)
    expected = read_image(folder / "shallow.png").pixels
    found = read_image(deep)
    assert found.levels is not None
    assert np.array_equal(found.levels.values[..., :1] >> 8, expected[..., :1])
    assert found.size == expected.shape[1::-1]


def test_tiffs_lie_in_many_ways(folder: Path) -> None:
    values = noise(40, 33, 3)
    path = folder / "a.tif"
    for options in (
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"byteorder": ">"},
        {"bigtiff": True},
    ):
        tifffile.imwrite(path, values, photometric="rgb", **options)
        assert np.array_equal(levels_of(path).values, values)
    planes = np.ascontiguousarray(np.moveaxis(values, 2, 0))
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    picture = read_image(path)
    assert picture.levels is not None
    assert np.array_equal(picture.levels.values, values)
    assert np.array_equal(picture.pixels, values >> 8)


def test_the_frame_that_is_open_is_read(folder: Path) -> None:
    pages = np.stack([noise(9, 8, 3) for _ in range(3)])
    tifffile.imwrite(folder / "a.tif", pages, photometric="rgb", metadata=None)
    with open(folder / "a.tif", "rb") as file, Image.open(file) as image:
        for i, page in enumerate(pages):
            image.seek(i)
            image.load()
            levels = read_levels(image, file, "RGB;16L", "file", [])
            assert levels is not None
            assert np.array_equal(levels.values, page)


def test_a_page_is_read_without_the_others(folder: Path) -> None:
    """Twice as many pages are twice as many bytes that are read, not four times."""

    class Counted(io.FileIO):
        total = 0

        def read(self, *size: int) -> bytes:
            data = super().read(*size)
            self.total += len(data)
            return data

    read = []
    for count in (10, 20):
        pages = np.stack([noise(40, 33, 3) for _ in range(count)])
        tifffile.imwrite(folder / "a.tif", pages, photometric="rgb", metadata=None)
        with Counted(folder / "a.tif") as file, Image.open(folder / "a.tif") as image:
            for i, page in enumerate(pages):
                image.seek(i)
                image.load()
                levels = read_levels(image, file, "RGB;16L", "file", [])
                assert levels is not None
                assert np.array_equal(levels.values, page)
            read.append(file.total)
    assert read[1] == 2 * read[0]
    assert read[1] < 1.1 * (folder / "a.tif").stat().st_size


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_are_turned_upright(folder: Path, planes: bool, orientation: int) -> None:
    values = noise(9, 8, 3)
    options = {"planarconfig": "separate"} if planes else {}
    tifffile.imwrite(
        folder / "a.tif",
        np.ascontiguousarray(np.moveaxis(values, 2, 0)) if planes else values,
        photometric="rgb",
        extratags=[(274, "H", 1, orientation, True)],
        metadata=None,
        **options,
    )
    assert np.array_equal(levels_of(folder / "a.tif").values, turned(values, orientation))


def test_premultiplied_alpha_is_divided_out(folder: Path) -> None:
    colours = noise(6, 5, 3)
    alpha = np.full((6, 5, 1), 40000, np.uint16)
    premultiplied = np.rint(colours * (40000 / WHITE)).astype(np.uint16)
    tifffile.imwrite(
        folder / "a.tif",
        np.concatenate([premultiplied, alpha], axis=2),
        photometric="rgb",
        extrasamples=["assocalpha"],
    )
    found = levels_of(folder / "a.tif")
    assert found.alpha is not None
    assert (found.alpha == 40000).all()
    assert np.abs(found.values.astype(int) - colours).max() <= 1


def test_a_transparent_colour_is_alpha(folder: Path) -> None:
    row = struct.pack(">6H", 5140, 1, 2, 65535, 0, 0)
    data = png(2, 1, 16, 2, b"\0" + row, struct.pack(">3H", 5140, 1, 2))
    found = levels_of(put(folder / "key.png", data))
    assert found.alpha is not None
    assert found.alpha.tolist() == [[0, WHITE]]
    assert found.values.tolist() == [[[5140, 1, 2], [65535, 0, 0]]]


def test_damaged_deep_colour_is_an_error_and_not_less_depth(folder: Path) -> None:
    done, data = cv2.imencode(".png", noise(40, 50, 3))
    assert done
    with pytest.raises(ValueError, match="truncated"):
        read_image(put(folder / "a.png", data.tobytes()[:6000]))


def test_a_colour_profile_leaves_8_bits_and_says_so(folder: Path) -> None:
    values = noise(8, 8, 1)[..., 0]
    curved = encode(Image.fromarray(values), "PNG", icc_profile=matrix_profile(1.0))
    picture = read_image(put(folder / "a.png", curved))
    assert picture.levels is None
    assert "more than 8 bits a channel became 8: its colour profile is applied" in picture.warnings
    srgb = encode(Image.fromarray(values), "PNG", icc_profile=SRGB_PROFILE)
    assert read_image(put(folder / "b.png", srgb)).bits == 16


# ranges


@pytest.mark.parametrize(
    ("largest", "high"),
    [(300, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383), (16384, WHITE)],
)
def test_auto_tells_bits_from_the_largest_value(folder: Path, largest: int, high: int) -> None:
    values = noise(9, 9, 3, largest)
    values[0, 0, 0] = largest
    write_image(folder / "a.png", Levels(values, None))
    picture = read_image(folder / "a.png", value_range="auto")
    assert picture.levels is not None
    assert (picture.levels.low, picture.levels.high) == (0, high)
    assert any("data.range: auto" in warning for warning in picture.warnings) is (high < WHITE)
    share = values / high
    assert np.abs(picture.pixels - share * 255).max() <= 1


def test_a_nearly_black_file_is_warned_of_by_default(folder: Path) -> None:
    for peak, warned in ((0, False), (4095, True), (8191, True), (8192, False)):
        values = np.linspace(0, peak, 64).astype(np.uint16).reshape(8, 8, 1)
        write_image(folder / "a.png", Levels(values, None))
        said = " ".join(read_image(folder / "a.png").warnings)
        assert ("nearly black" in said and "data.range: auto" in said) is warned
        assert bounds_of(folder / "a.png") == (0, WHITE)


def test_tags_of_a_tiff_say_how_many_bits_there_are(folder: Path) -> None:
    values = noise(6, 5, 1, 4095)[..., 0]
    path = folder / "a.tif"
    ome = '<?xml version="1.0"?><OME><Image><Pixels SignificantBits="12"/></Image></OME>'
    for told in (
        {"extratags": [(281, "H", 1, 4095, True)]},
        {"extratags": [(341, "H", 1, 4095, True)]},
        {"description": ome},
    ):
        tifffile.imwrite(path, values, metadata=None, **told)
        assert bounds_of(path) == (0, 4095)
        assert read_image(path).warnings == ()
    # the largest value of this one picture
    tifffile.imwrite(path, values, metadata=None, extratags=[(281, "H", 1, 3871, True)])
    assert bounds_of(path) == (0, WHITE)
    # wrong
    tifffile.imwrite(path, values + 1, metadata=None, extratags=[(281, "H", 1, 255, True)])
    assert bounds_of(path) == (0, WHITE)
    twelve = put(folder / "12.tif", tiff("<", 2, 12, 1, 1, bytes([0xFF, 0xF8, 0x00])))
    assert bounds_of(twelve) == (0, 4095)


def test_significant_bits_of_a_png_count_where_values_are_not_scaled(folder: Path) -> None:
    def with_sbit(values: Values) -> Path:
        done, data = cv2.imencode(".png", values)
        assert done
        chunk = struct.pack(">I", 1) + b"sBIT" + b"\x0c"
        chunk += struct.pack(">I", zlib.crc32(b"sBIT\x0c"))
        return put(folder / "a.png", data.tobytes()[:33] + chunk + data.tobytes()[33:])

    assert bounds_of(with_sbit(noise(6, 5, 1, 4095))) == (0, 4095)
    assert bounds_of(with_sbit(noise(6, 5, 1, 255) * np.uint16(16))) == (0, WHITE)
    assert bounds_of(with_sbit(noise(6, 5, 1))) == (0, WHITE)


def test_percentiles_are_each_pictures_own(folder: Path) -> None:
    ramp = np.arange(10001, dtype=np.uint16).reshape(73, 137, 1) + np.uint16(1000)
    write_image(folder / "a.png", Levels(ramp, None))
    low, high = bounds_of(folder / "a.png", "percentile")
    assert low == pytest.approx(1010)
    assert high == pytest.approx(10990)
    pixels = read_image(folder / "a.png", value_range="percentile").pixels
    assert (pixels.min(), pixels.max()) == (0, 255)
    flat = np.full((4, 4, 1), 500, np.uint16)
    write_image(folder / "flat.png", Levels(flat, None))
    assert bounds_of(folder / "flat.png", "percentile") == (0, WHITE)


def test_floats_of_a_larger_range(folder: Path) -> None:
    values = np.linspace(0, 3000, 30, dtype=np.float32).reshape(5, 6)
    tifffile.imwrite(folder / "a.tif", values)
    clipped = read_image(folder / "a.tif")
    assert any("were clipped" in warning for warning in clipped.warnings)
    assert bounds_of(folder / "a.tif", "auto") == (0, 4095)
    found = levels_of(folder / "a.tif", "-1000,2000")
    assert np.array_equal(found.values[..., 0], values)
    assert found.bounds() == (-1000, 3000)


def test_signed_whole_numbers(folder: Path) -> None:
    values = np.array([[-1000, 0, 3000]], np.int16)
    tifffile.imwrite(folder / "a.tif", values)
    found = read_image(folder / "a.tif", value_range="-1000,3000")
    assert found.pixels[0, :, 0].tolist() == [0, 64, 255]
    assert found.levels is not None
    assert found.levels.values[0, :, 0].tolist() == [-1000, 0, 3000]


def test_pictures_of_8_bits_are_taken_as_they_are(folder: Path) -> None:
    pixels = RNG.integers(0, 90, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    for value_range in ("file", "auto", "percentile", "0,4095"):
        picture = read_image(folder / "a.png", value_range=value_range)
        assert picture.levels is None
        assert np.array_equal(picture.pixels, pixels)


def test_a_thumbnail_of_deep_gray_is_that_of_8_bits(folder: Path) -> None:
    gray = np.linspace(0, WHITE, 64).astype(np.uint16).reshape(8, 8, 1)
    write_image(folder / "deep.png", Levels(gray, None))
    Image.fromarray(np.rint(gray[..., 0] / 257).astype(np.uint8)).save(folder / "shallow.png")
    found = read_thumbnail(folder / "deep.png", 8)
    assert np.array_equal(found, read_thumbnail(folder / "shallow.png", 8))


NUMBERS = st.floats(-1e5, 1e5, width=32).map(float)


@given(st.integers(0, WHITE - 1), st.integers(1, WHITE), st.integers(0, 2**32 - 1))
def test_a_range_there_and_back_is_off_by_at_most_a_level(low: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, WHITE + 1, (3, 4, 3), dtype=np.uint16)
    levels = Levels(values, None, low, low + width)
    bounds = levels.bounds()
    assert bounds[0] <= min(low, values.min())
    assert bounds[1] >= max(low + width, values.max())
    again = levels.stored(levels.image(0, 3), (bounds[0], min(bounds[1], WHITE)))
    assert again.dtype == np.uint16
    assert np.abs(again.astype(int) - values).max() <= 1
    share = (values.astype(float) - low) / width
    expected = (share.clip(0, 1) * 255).round()
    assert np.abs(levels.to_bytes() - expected).max() <= 1


@given(NUMBERS, NUMBERS)
def test_a_fixed_range_is_two_numbers_in_order(low: float, high: float) -> None:
    if low < high:
        assert fixed_range(f"{low},{high}") == (low, high)
    else:
        with pytest.raises(ValueError, match="no range"):
            fixed_range(f"{low},{high}")


@pytest.mark.parametrize("text", ["", "0", "0,", "1,0", "0,1,2", "0,inf", "nan,1", "Auto", "a,b"])
def test_other_texts_are_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=r"--range: .* use file, auto, percentile or LOW,HIGH"):
        fixed_range(text, "--range")


def test_what_is_lost_is_said() -> None:
    levels = Levels(noise(2, 2, 1), None)
    pixels = levels.to_bytes()
    assert lost_depth(8, pixels, "PNG") == ()
    assert lost_depth(16, levels, "PNG") == ()
    assert "only --scale detail keeps them" in lost_depth(16, pixels, "PNG")[0]
    assert "JPEG holds no more" in lost_depth(16, pixels, "JPEG")[0]
    assert "32 bits a channel became 16" in lost_depth(32, levels, "PNG")[0]
    assert lost_depth(32, replace(levels, values=levels.values.astype(np.float32)), "TIFF") == ()


@pytest.mark.parametrize("suffix", [".jp2", ".avif"])
def test_depth_that_no_decoder_gives_is_said(tmp_path: Path, suffix: str) -> None:
    if suffix not in SUFFIXES:
        pytest.skip(f"this Pillow has no codec for {suffix}")
    deep = np.random.default_rng(0).integers(0, 1024, (64, 64, 3)).astype(np.uint16)
    options = [cv2.IMWRITE_AVIF_DEPTH, 10] if suffix == ".avif" else []
    said = {}
    for name, pixels, how in (("deep", deep, options), ("plain", deep.astype(np.uint8), [])):
        done, data = cv2.imencode(suffix, pixels, how)
        if not done:
            pytest.skip(f"this OpenCV writes no {suffix} of this depth")
        path = tmp_path / (name + suffix)
        path.write_bytes(data.tobytes())
        said[name] = [note for note in read_image(path).warnings if "became 8" in note]
    assert len(said["deep"]) == 1
    assert not said["plain"]
