"""Files of several frames, read and written."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests._helpers.frames import DURATIONS, KINDS, animation, damage, pictures
from translate.io.frame_writers import encode_frame, frame_writer, holds_frames, lost_of_frames
from translate.io.frames import FrameSequence, read_frames, read_sequence
from translate.io.images import ImageError, Picture, UInt8, composite, encode, read_image


def alone(kind: str, pixels: UInt8, alpha: UInt8 | None, folder: Path) -> Picture:
    """What a frame becomes as a picture of its own."""
    path = folder / "alone"
    path.write_bytes(encode(kind, pixels, alpha))
    return read_image(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_frames_come_back_as_they_would_alone(
    kind: str, channels: int, has_alpha: bool, tmp_path: Path
) -> None:
    frames = pictures(5, has_alpha, channels)
    sequence = FrameSequence(range(5), [(30, 20)] * 5, 3, True, has_alpha)
    path = tmp_path / "a"
    with open(path, "w+b") as file, frame_writer(kind, file, sequence, 95) as writer:
        for (pixels, alpha), milliseconds in zip(frames, DURATIONS, strict=True):
            writer.add(encode_frame(kind, sequence, pixels, alpha, 95), milliseconds)

    found = read_sequence(path)
    assert len(found.places) == 5
    assert found.size == (30, 20)
    if kind not in ("TIFF", "AVIF"):
        assert found.plays == 3
    back = list(read_frames(path, found))
    if kind != "TIFF":
        assert [frame.milliseconds for frame in back] == DURATIONS
    for (pixels, alpha), (picture, _) in zip(frames, back, strict=True):
        if has_alpha and alpha is None:
            alpha = np.full((20, 30), 255, np.uint8)
        expected = alone(kind, pixels, alpha, tmp_path)
        difference = np.abs(composite(picture).astype(int) - composite(expected)).max()
        assert difference <= (12 if kind == "AVIF" else 0)  # which predicts frames from others
        assert picture.warnings == ()


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_ffmpeg_shows_the_same_frames(kind: str, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg: install it (apt-get install ffmpeg)")
    path = animation(tmp_path / "in", kind, has_alpha=True)
    sequence = read_sequence(path)
    out = tmp_path / f"a.{kind.lower()}"
    with open(out, "w+b") as file, frame_writer(kind, file, sequence, 95) as writer:
        for picture, milliseconds in read_frames(path, sequence):
            data = encode_frame(kind, sequence, picture.pixels, picture.alpha, 95)
            writer.add(data, milliseconds)
    shown = frames_by_ffmpeg(out, 30, 20)
    ours = [frame.picture for frame in read_frames(out, read_sequence(out))]
    assert len(shown) == len(ours) == 5
    for theirs, picture in zip(shown, ours, strict=True):
        expected = Picture(theirs[..., :3], theirs[..., 3], "", "", ())
        assert np.array_equal(composite(picture), composite(expected))


def gif(frames: list[tuple[int, tuple[int, int, int, int], int]]) -> bytes:
    """A GIF of 4 x 4: for each frame its colour (3 is a hole), its box and its disposal."""
    image = Image.new("P", (4, 4))
    parts = [b"GIF89a\x04\0\x04\0\xf1\0\0" + bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])]
    for colour, (x0, y0, x1, y1), disposal in frames:
        buffer = BytesIO()
        image = Image.new("P", (x1 - x0, y1 - y0), colour)
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        image.save(buffer, "GIF", optimize=False)
        data = buffer.getvalue()
        # all that follows the image's block: the size of codes and the codes
        palette = 3 << (data[10] & 7) + 1
        start = data.index(b",", 13 + palette) + 10
        parts.append(bytes([0x21, 0xF9, 4, disposal << 2 | 1, 10, 0, 3, 0]))
        parts.append(b"," + b"".join(v.to_bytes(2, "little") for v in (x0, y0, x1 - x0, y1 - y0)))
        parts.append(b"\0" + data[start:-1])
    return b"".join(parts) + b";"


def test_disposal_is_that_of_a_viewer(tmp_path: Path) -> None:
    """Left, cleared, put back; and what names no disposal is left, whatever came before."""
    whole = (0, 0, 4, 4)
    left = (0, 0, 2, 4)
    right = (2, 0, 4, 4)
    cases = {
        1: [(1, 255), (2, 255)],  # left: the red right half is below the green left one
        0: [(1, 255), (2, 255)],
        2: [(0, 0), (2, 255)],  # cleared: nothing is
    }
    for disposal, ((red, opacity), _) in cases.items():
        path = tmp_path / "a.gif"
        path.write_bytes(gif([(1, whole, disposal), (2, left, 1), (2, left, 1)]))
        _, second, _ = (frame.picture for frame in read_frames(path, read_sequence(path)))
        assert second.pixels[0, 0].tolist() == [0, 255, 0]
        alpha = np.full((4, 4), 255) if second.alpha is None else second.alpha
        assert alpha[0, 3] == opacity
        if red:
            assert second.pixels[0, 3].tolist() == [255, 0, 0]

    path.write_bytes(gif([(1, whole, 1), (2, left, 3), (2, right, 1)]))
    third = [frame.picture for frame in read_frames(path, read_sequence(path))][2]
    assert third.pixels[0, 0].tolist() == [255, 0, 0]  # put back

    path.write_bytes(gif([(1, whole, 1), (2, left, 2), (2, right, 0), (3, whole, 1)]))
    last = [frame.picture for frame in read_frames(path, read_sequence(path))][3]
    assert last.alpha is not None
    assert (last.alpha[0, 0], last.alpha[0, 3]) == (0, 255)


def test_ffmpeg_composes_the_same(tmp_path: Path) -> None:
    """Boxes, holes and disposals at random."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg: install it (apt-get install ffmpeg)")
    rng = np.random.default_rng(1)
    path = tmp_path / "a.gif"
    for _ in range(20):
        frames = []
        for _ in range(rng.integers(2, 6)):
            x0, y0 = (int(place) for place in rng.integers(0, 3, 2))
            box = (x0, y0, int(rng.integers(x0 + 1, 5)), int(rng.integers(y0 + 1, 5)))
            frames.append((int(rng.integers(4)), box, int(rng.integers(4))))
        path.write_bytes(gif(frames))
        pictures = [frame.picture for frame in read_frames(path, read_sequence(path))]
        shown = frames_by_ffmpeg(path, 4, 4)
        assert len(shown) == len(pictures) == len(frames)
        for theirs, picture in zip(shown, pictures, strict=True):
            expected = Picture(theirs[..., :3], theirs[..., 3], "", "", ())
            assert np.array_equal(composite(picture), composite(expected)), frames


def frames_by_ffmpeg(path: Path, width: int, height: int) -> UInt8:
    """What ffmpeg makes of a file, (N, H, W, 4)."""
    raw = ("-f", "rawvideo", "-pix_fmt", "rgba", "-vsync", "0", "-")
    command = ("ffmpeg", "-v", "error", "-i", path, *raw)
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 4)


def test_frames_beyond_the_canvas_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    data = bytearray(gif([(1, (0, 0, 4, 4), 1), (2, (0, 0, 2, 4), 1)]))
    at = data.rindex(b"\0\0\0\0\x02\0\x04\0\0")
    data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(ImageError, match="beyond its canvas of 4 x 4.*--frames first"):
        read_sequence(path)


@pytest.mark.parametrize("kind", KINDS)
def test_bombs_are_refused(kind: str, tmp_path: Path) -> None:
    path = animation(tmp_path / "a", kind)
    assert len(read_sequence(path, 5 * 64 * 64).places) == 5
    with pytest.raises(ImageError, match=r"5 frames of 30 x 20 .*--max-pixels.*--frames first"):
        read_sequence(path, 5 * 64 * 64 - 1)


def test_a_count_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.png", "PNG")
    data = bytearray(path.read_bytes())
    at = data.index(b"acTL") + 4
    data[at : at + 4] = (6).to_bytes(4, "big")
    data[at + 8 : at + 12] = zlib.crc32(data[at - 4 : at + 8]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(ImageError, match="frame 6"):
        list(read_frames(path, read_sequence(path)))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
def test_a_damaged_frame_is_named(kind: str, tmp_path: Path) -> None:
    path = animation(tmp_path / "a", kind)
    damage(path, 2)
    sequence = read_sequence(path)
    frames = read_frames(path, sequence)
    for _ in range(2):
        next(frames)
    with pytest.raises(ImageError, match="^frame 3: "):
        next(frames)


def test_loops_mean_the_same_in_every_format(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (0, 99, 200)]
    for name, loop, plays in [
        ("a.gif", 2, 3),
        ("a.gif", 0, 0),
        ("a.gif", None, 1),
        ("a.png", 2, 2),
        ("a.webp", 2, 2),
    ]:
        options = {} if loop is None else {"loop": loop}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert read_sequence(tmp_path / name).plays == plays


def test_what_is_no_frame_is_left_out(tmp_path: Path) -> None:
    """Reduced copies in a TIFF, and an APNG's picture for viewers without animation."""
    large = Image.new("L", (16, 16), 9)
    small = Image.new("L", (8, 8), 9)
    small.encoderinfo = {"tiffinfo": {254: 1}}  # a reduced copy
    large.save(tmp_path / "a.tif", save_all=True, append_images=[small, large])
    found = read_sequence(tmp_path / "a.tif")
    assert found.places == [0, 2]
    assert found.size == (16, 16)
    assert found.warnings == ("1 reduced copies or masks left out",)

    frames = [Image.new("L", (8, 8), level) for level in (0, 99, 200)]
    options = {"save_all": True, "append_images": frames[1:], "default_image": True}
    frames[0].save(tmp_path / "a.png", **options)
    found = read_sequence(tmp_path / "a.png")
    shown = [frame.picture.pixels[0, 0, 0] for frame in read_frames(tmp_path / "a.png", found)]
    assert shown == [99, 200]
    assert "without animation" in found.warnings[0]


def test_pages_of_several_sizes_are_for_tiffs() -> None:
    pages = FrameSequence(range(2), [(8, 8), (9, 8)], 0, False, False)
    assert [holds_frames(kind, pages) for kind in ("TIFF", "GIF", "JPEG")] == [True, False, False]
    timed = FrameSequence(range(2), [(8, 8), (8, 8)], 2, True, False)
    assert lost_of_frames("TIFF", timed)
    assert lost_of_frames("AVIF", timed)
    assert not lost_of_frames("GIF", timed)
