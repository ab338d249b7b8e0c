"""translate.io.images: arrays of every kind, and what writing promises."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests._helpers.encoders import PHOTO, put
from translate.io.images import (
    ALPHA_FORMATS,
    SUFFIXES,
    Picture,
    composite,
    read_image,
    resize,
    to_channels,
    write_image,
)


def test_a_gif_is_clear_or_not(tmp_path: Path) -> None:
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8, 1).repeat(3, 2) * np.array(
        [1, 2, 3], np.uint8
    )
    alpha = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
    for pixels in (ramp, ramp[..., :1]):
        write_image(tmp_path / "x.gif", pixels, alpha)
        picture = read_image(tmp_path / "x.gif")
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, np.where(alpha < 128, 0, 255))
        assert np.array_equal(picture.pixels[alpha >= 128], to_channels(pixels, 3)[alpha >= 128])


def test_composite() -> None:
    pixels = np.full((1, 3, 3), 200, np.uint8)
    alpha = np.array([[0, 128, 255]], np.uint8)
    picture = Picture(pixels, alpha, "PNG", "RGBA", ())
    assert composite(picture)[0, :, 0].tolist() == [255, 227, 200]
    assert composite(picture, (0, 0, 100))[0].tolist() == [
        [0, 0, 100],
        [100, 100, 150],
        [200, 200, 200],
    ]
    assert composite(Picture(pixels, None, "PNG", "RGB", ())) is pixels


def test_to_channels() -> None:
    gray = to_channels(PHOTO, 1)
    assert gray.shape == (9, 13, 1)
    assert np.array_equal(gray[..., 0], np.array(Image.fromarray(PHOTO).convert("L")))
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
def test_resize_keeps_flat_colours(
    h: int, w: int, height: int, width: int, channels: int, value: int
) -> None:
    pixels = np.full((h, w, channels), value, np.uint8)
    resized = resize(pixels, (width, height))
    assert resized.shape == (height, width, channels)
    assert (resized == value).all()
    assert resize(pixels, (w, h)) is pixels


def test_resize_is_antialiased() -> None:
    stripes = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.abs(resize(stripes, (16, 16))[2:-2, 2:-2].astype(int) - 127).max() <= 3


# -- Writing


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 33),
    st.integers(1, 33),
    st.sampled_from((1, 3)),
    st.booleans(),
    st.sampled_from((".png", ".tif", ".TIFF", ".bmp", ".jp2")),
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
    assert picture.warnings == ()
    assert picture.size == (width, height)
    if with_alpha and suffix == ".bmp":
        assert np.array_equal(
            picture.pixels, composite(Picture(to_channels(pixels, 3), alpha, "", "", ()))
        )
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
    first = tmp_path / f"a{suffix}"
    second = tmp_path / f"b{suffix}"
    write_image(first, pixels, alpha)
    write_image(second, pixels, alpha)
    assert first.read_bytes() == second.read_bytes()
    picture = read_image(first)
    assert picture.format == SUFFIXES[suffix]
    assert picture.warnings == ()
    assert (picture.alpha is not None) == (with_alpha and picture.format in ALPHA_FORMATS)
    assert np.abs(picture.pixels.astype(int) - to_channels(pixels, 3)).max() <= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_jpeg_keeps_colour_at_full_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = 200
    stripes[:, 1::2, 2] = 200
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
    assert seen[0].startswith(".introshift-")
    assert seen[0].endswith(".part")
    assert seen[1] == "x.png"
    assert os.listdir(tmp_path) == ["x.png"]
    assert path.read_bytes() == b"before"
