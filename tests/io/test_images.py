"""translate.io.images: files that are not what they should be."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests._helpers.encoders import PHOTO, RNG, SRGB_PROFILE, encode, png, put, reason
from translate.io import images
from translate.io.images import FORMATS, SUFFIXES, ImageError, looks_like_image, read_image
from translate.runtime.process_state import PROCESS_STATE, warnings_ignored


def seeds() -> dict[str, bytes]:
    """Small files of every format, with the metadata whose parsers a broken byte may upset."""
    photo = Image.fromarray(PHOTO)
    exif = Image.Exif()
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
    rng = random.Random(name)
    seed = seeds()[name]
    for _ in range(60):
        data = bytearray(seed)
        for _ in range(rng.choice((1, 1, 3))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = put(folder / "fuzz.bin", data)
        try:
            picture = read_image(path, max_pixels=10**6)
        except ImageError:
            assert reason(path, max_pixels=10**6)
            continue
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape == (*picture.size[::-1], 3)
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
    assert "empty" in reason(put(folder / "empty.png", b""))
    text = reason(put(folder / "text.png", b"hello, world\n" * 9))
    assert text.startswith("not an image")
    assert all(name in text for name in FORMATS)
    eps = put(folder / "eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert reason(eps).startswith("not an image")
    for kind in ("JPEG", "PNG", "BMP"):
        data = encode(Image.fromarray(PHOTO), kind)
        assert reason(put(folder / "cut.bin", data[: len(data) - 60])).startswith("truncated")
    assert "no such file" in reason(folder / "none.png")
    (folder / "folder.png").mkdir(exist_ok=True)
    assert "is a directory" in reason(folder / "folder.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/secret.png")

    monkeypatch.setattr("builtins.open", refuse)
    assert "permission denied" in reason(folder / "secret.png")


def test_huge_by_its_header(folder: Path) -> None:
    path = put(folder / "huge.png", png(30_000, 20_000, 8, 2, b""))
    assert re.search(r"\b600 Mpx .*--max-pixels 178 Mpx", reason(path))
    path = put(folder / "small.png", encode(Image.new("L", (20, 10)), "PNG"))
    assert re.search(r"\b0.0002 Mpx .*--max-pixels 0.000199 Mpx", reason(path, max_pixels=199))
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
        assert picture.format == kind
        (warning,) = picture.warnings
        assert wrong in warning
        assert kind in warning


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_several(folder: Path, kind: str) -> None:
    first = Image.new("RGB", (8, 8), "red")
    second = Image.new("RGB", (8, 8), "blue")
    data = encode(first, kind, save_all=True, append_images=[second], duration=50)
    picture = read_image(put(folder / "frames.bin", data))
    assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() <= 3
    (warning,) = picture.warnings
    assert "frames" in warning


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
        before = list(warnings.filters)
        limit = Image.MAX_IMAGE_PIXELS
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(200)))
        assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == (before, limit)


def test_reading_takes_turns_with_others_that_silence_warnings(folder: Path) -> None:
    path = put(folder / "a.png", encode(Image.fromarray(PHOTO), "PNG"))
    before = list(warnings.filters)
    silenced = threading.Event()
    read = threading.Event()

    def silence() -> None:
        with warnings_ignored():
            silenced.set()
            read.wait(0.3)  # in vain: the reader has to wait

    def reader() -> None:
        silenced.wait(10)
        read_image(path)
        read.set()

    threads = [threading.Thread(target=silence), threading.Thread(target=reader)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert read.is_set()
    assert warnings.filters == before


def test_reading_leaves_its_lock_free_for_others(folder: Path) -> None:
    reason(put(folder / "empty.jpg", b""))
    assert PROCESS_STATE.acquire(timeout=1)
    PROCESS_STATE.release()


def test_imports_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import translate.io.images"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parents[2], check=True
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.png", b"broken", True),  # calls itself a picture
        ("a.PNG", b"", True),
        ("a.heic", b"unread", True),
        ("a.dat", "PNG", True),
        ("a", "JPEG", True),
        ("a.txt", b"BM: a text that begins like a bitmap", False),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), False),
        ("empty", b"", False),
        ("missing", None, True),  # reading it says why
    ],
)
def test_what_looks_like_an_image(
    tmp_path: Path, name: str, content: bytes | str | None, expected: bool
) -> None:
    path = tmp_path / name
    if isinstance(content, str):
        Image.new("RGB", (8, 8)).save(path, content)
    elif content is not None:
        path.write_bytes(content)
    assert looks_like_image(path) == expected


def test_a_quality_makes_a_smaller_file_and_bytes_are_the_file_s(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    kinds = {".jpg": "JPEG", ".webp": "WEBP", ".avif": "AVIF"}
    for suffix, kind in kinds.items() & SUFFIXES.items():
        sizes = []
        for quality in (40, 95):
            images.write_image(tmp_path / f"a{suffix}", pixels, quality=quality)
            data = (tmp_path / f"a{suffix}").read_bytes()
            assert data == images.encode(kind, pixels, quality=quality)
            sizes.append(len(data))
        assert sizes[0] < 0.7 * sizes[1]


def test_what_a_system_hides_is_no_picture(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", ".cache/b.png", "c/d.PNG", "Thumbs.db", "desktop.ini"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert images.list_images(tmp_path) == [Path("a.png"), Path("c/d.PNG")]
