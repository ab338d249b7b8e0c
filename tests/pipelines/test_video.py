"""`introshift translate M - - --rgb24`: between the ends of a pipe."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests._helpers.commands import call
from tests._helpers.folders import build
from tests._helpers.small_model import save

COMMAND = (sys.executable, "-m", "pipelines.cli", "translate")
WIDTH, HEIGHT, COUNT = 48, 32, 12


def command(model: Path, *words: str) -> list[str]:
    given = ("--to", "B", "--style", "mean", "--rgb24", f"{WIDTH}x{HEIGHT}")
    return [*COMMAND, str(model), "-", "-", *given, *words]


def clip(count: int = COUNT) -> np.ndarray:
    """A gradient that moves, (N, H, W, 3)."""
    x = np.arange(WIDTH)[None, :, None] * 3
    y = np.arange(HEIGHT)[:, None, None] * 5
    frames = [x * (1, 0, 1) + y * (0, 1, 1) + 4 * i for i in range(count)]
    return np.stack(frames).astype(np.uint8)


def ffmpeg(*words: str | Path) -> list[str]:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg: install it (apt-get install ffmpeg)")
    return [program, "-v", "error", "-y", *map(str, words)]


def raw(size: str = f"{WIDTH}x{HEIGHT}") -> tuple[str, ...]:
    return ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", "25")


def test_ffmpeg_at_both_ends(tmp_path: Path) -> None:
    """The frames of a film come out as a translator makes them."""
    frames = clip()
    film = tmp_path / "in.mkv"
    lossless = ("-c:v", "ffv1", "-pix_fmt", "bgr0")
    subprocess.run(ffmpeg(*raw(), "-i", "-", *lossless, film), input=frames.tobytes(), check=True)
    model = save(tmp_path)
    read = ffmpeg("-i", film, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    write = ffmpeg(*raw(), "-i", "-", *lossless, tmp_path / "out.mkv")
    with (
        subprocess.Popen(read, stdout=subprocess.PIPE) as first,
        subprocess.Popen(
            command(model), stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as middle,
        subprocess.Popen(write, stdin=middle.stdout) as last,
    ):
        assert first.stdout is not None
        assert middle.stdout is not None
        assert middle.stderr is not None
        first.stdout.close()
        middle.stdout.close()
        said = middle.stderr.read().decode()
    assert (first.returncode, middle.returncode, last.returncode) == (0, 0, 0), said
    assert f"{COUNT} frames" in said
    assert "translated from A to B" in said

    done = subprocess.run(
        ffmpeg("-i", tmp_path / "out.mkv", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        capture_output=True,
        check=True,
    )
    made = np.frombuffer(done.stdout, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    (tmp_path / "again").mkdir()
    images = [Image.fromarray(frame) for frame in frames]
    expected = build(tmp_path / "again").translate(images, "B", style="mean")
    assert np.array_equal(made, np.stack([np.asarray(image) for image in expected]))


@pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")
def test_a_closed_pipe_and_ctrl_c_end_it_without_noise(tmp_path: Path) -> None:
    model = save(tmp_path)
    frame = clip(1).tobytes()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(model), bufsize=0, **pipes) as closed:  # type: ignore[call-overload]
        closed.stdin.write(frame * 8)
        assert closed.stdout.read(len(frame))
        closed.stdout.close()
        with suppress(BrokenPipeError):
            for _ in range(10_000):
                closed.stdin.write(frame)
        assert closed.stderr.read() == b""
        closed.wait(60)
    assert closed.returncode == 141

    with subprocess.Popen(command(model), **pipes) as ended:  # type: ignore[call-overload]
        ended.stdin.write(frame * 8)
        ended.stdin.flush()
        assert ended.stdout.read(len(frame))
        ended.send_signal(signal.SIGINT)
        said = ended.stderr.read().decode()
        ended.wait(60)
    assert ended.returncode == 130
    assert "interrupted after" in said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("in", "out", "--rgb24", "48x32"), "give - - as IN and OUT"),
        (("-", "out", "--rgb24", "48x32"), "give - - as IN and OUT"),
        (("-", "-", "--rgb24", "48"), "WIDTHxHEIGHT"),
        (("-", "-", "--rgb24", "0x32"), "WIDTHxHEIGHT"),
        (("-", "-"), "--rgb24 WIDTHxHEIGHT"),
        (("-", "-", "--rgb24", "48x32", "--samples", "2"), "--samples"),
        (("-", "-", "--rgb24", "48x32", "--format", "png"), "--format"),
        (("-", "-", "--rgb24", "48x32", "--frames", "first"), "--frames"),
        (("-", "-", "--rgb24", "48x32", "--json"), "--json"),
        (("-", "-", "--rgb24", "48x32", "--to", "B", "--max-pixels", "99"), "--max-pixels"),
        (("-", "-", "--rgb24", "48x32", "--to", "B"), "no frames"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, words: tuple[str, ...], named: str
) -> None:
    code, stdout, stderr = call("translate", save(tmp_path), *words, stdin="")
    assert code == 2
    assert named in stderr
    assert stdout == ""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no peak memory on Windows")
def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """500 frames of 640 x 360 would be 346 MB."""
    model = save(tmp_path)
    frame = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8).tobytes()
    peaks = []
    for count in (50, 500):
        words = [*COMMAND, str(model), "-", "-", "--to", "B", "--rgb24", "640x360"]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as program:
            assert program.stdin is not None
            for _ in range(count):
                program.stdin.write(frame)
            program.stdin.close()
            _, status, usage = os.wait4(program.pid, 0)
            program.returncode = os.waitstatus_to_exitcode(status)
        assert program.returncode == 0
        peaks.append(usage.ru_maxrss / 1024)
    assert peaks[1] < peaks[0] + 60, peaks  # MB
