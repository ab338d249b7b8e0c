"""Files whose decoding takes more than pictures of their size may: stopped, each alone."""

from __future__ import annotations

import os
import resource
import struct
import sys
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests._helpers.encoders import PHOTO
from translate.io import trial
from translate.io.images import (
    FORMATS,
    ImageError,
    count_pixels,
    looks_like_image,
    read_image,
    read_size,
    read_thumbnail,
    write_image,
)

SUSPECTS = [suffix for suffix, name in ((".avif", "AVIF"), (".jp2", "JPEG2000")) if name in FORMATS]


@pytest.fixture(params=SUSPECTS)
def suspect(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"x{request.param}"
    write_image(path, PHOTO)
    return path


def many_scans(path: Path, side: int, count: int) -> Path:
    """A progressive JPEG whose last scan comes again and again."""
    buffer = BytesIO()
    Image.new("RGB", (side, side), (10, 200, 30)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    start = data.rindex(b"\xff\xda")
    end = data.rindex(b"\xff\xd9")
    path.write_bytes(data[:start] + data[start:end] * count + data[end:])
    return path


def test_a_jpeg_of_too_many_scans_is_refused(tmp_path: Path) -> None:
    path = many_scans(tmp_path / "x.jpg", 64, 150)
    assert read_image(path).size == (64, 64)  # few pixels: no harm
    for read in (read_image, lambda path, most: read_thumbnail(path, 8, most)):
        with pytest.raises(ImageError, match="its 15[0-9] scans take too long to decode"):
            read(path, 64 * 64)
    many_scans(path, 64, 20)
    assert read_image(path, 64 * 64).size == (64, 64)


def test_a_side_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    Image.new("L", (trial.MAX_SIDE + 1, 1)).save(path)
    with pytest.raises(ImageError, match="100001 x 1 pixels: a side may have at most 100000"):
        read_image(path)
    Image.new("L", (1, trial.MAX_SIDE)).save(path)
    assert read_image(path).size == (1, trial.MAX_SIDE)


def test_a_suspect_is_decoded_as_always_after_its_trial(
    suspect: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_image(suspect)
    tried = []
    run = trial.subprocess.run
    monkeypatch.setattr(
        trial.subprocess, "run", lambda *args, **more: tried.append(1) or run(*args, **more)
    )
    assert np.array_equal(read_image(suspect).pixels, expected.pixels)
    assert not tried, "few pixels in few bytes do no harm"
    monkeypatch.setattr(trial, "HARMLESS", 0)
    assert np.array_equal(read_image(suspect).pixels, expected.pixels)
    assert tried


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
@pytest.mark.parametrize("limit", ["time", "clock", "memory"])
def test_a_suspect_beyond_its_limits_is_stopped_alone(
    suspect: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(trial, "HARMLESS", 0)
    monkeypatch.setattr(trial, "SECONDS", 1)
    act = {
        "time": "while True: pass",
        "clock": "import time; time.sleep(60)",
        "memory": "bytearray(2**32)",
    }[limit]
    if limit == "clock":
        monkeypatch.setattr(trial, "WAITING", 2)
    else:
        monkeypatch.setattr(trial, "WAITING", 60)
    monkeypatch.setattr(trial, "PROGRAM", trial.PROGRAM.replace("image.load()", act))
    with pytest.raises(ImageError, match="stopped: decoding takes more than"):
        read_image(suspect)


def test_a_damaged_suspect_says_what_is_wrong(
    suspect: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "HARMLESS", 0)
    content = suspect.read_bytes()
    suspect.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(ImageError) as caught:
        read_image(suspect)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes among files")
def test_a_pipe_in_a_picture_s_place_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    os.mkfifo(path)
    ended = threading.Event()

    def read() -> None:
        for attempt in (read_image, read_size, lambda path: read_thumbnail(path, 8)):
            with pytest.raises(ImageError, match="cannot be read: not a regular file"):
                attempt(path)
        assert count_pixels(path) == 0
        looks_like_image(tmp_path / "x.png")
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert ended.wait(20)


def test_gif_that_claims_a_huge_frame_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    frame = struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
    cleared_afterwards = b"\x21\xf9\x04\x08\0\0\0\0"  # for which Pillow allocates when it opens it
    data = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes(6) + cleared_afterwards
    path = tmp_path / "bomb.gif"
    path.write_bytes(data + b"," + frame + b"\x02\x02\x4c\x01\0;")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match="too large to be opened"):
            read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB
