"""translate.images: files that are not what they should be, arrays, and what writing promises."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import (
    PHOTO,
    RNG,
    SRGB_PROFILE,
    encode,
    png,
    put,
    reason,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from translate.images import (
    FORMATS,
    SUFFIXES,
    ImageError,
    Picture,
    flatten,
    read_image,
    resize,
    to_channels,
    to_float,
    to_uint8,
    write_image,
)


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


# --- Arrays ----------------------------------------------------------------------------------------------------------


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


# --- Writing ---------------------------------------------------------------------------------------------------------


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


def test_imports_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import translate.images"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parents[1], check=True)
