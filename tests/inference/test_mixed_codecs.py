"""Folder translation of mixed and broken files, with flipped bytes, kills and shards at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests._helpers.folders import build, draw, files, manifest, opened, pixels
from tests._helpers.small_model import save
from translate.inference.folder_options import FolderOptions
from translate.inference.translator import Translator

ROOT = Path(__file__).parents[2]
MODES = {
    ".png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    ".tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    ".jpg": ("L", "RGB", "CMYK"),
    ".webp": ("RGB", "RGBA"),
    ".bmp": ("1", "L", "P", "RGB"),
    ".gif": ("L", "P"),
}
KINDS = [(suffix, mode) for suffix, modes in MODES.items() for mode in modes]


def put(path: Path, width: int, height: int, mode: str, seed: int = 0) -> Path:
    """Noise in any mode."""
    if mode not in ("I;16", "F"):
        return draw(path, width, height, mode, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).random((height, width), np.float32)
    Image.fromarray(noise if mode == "F" else (noise * 65535).astype(np.uint16)).save(path)
    return path


def flip(data: bytes, rng: random.Random) -> bytes:
    """Replace one to five bytes."""
    broken = bytearray(data)
    for _ in range(rng.choice((1, 2, 5))):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    return bytes(broken)


def start(model: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start the command `translate` in a process of its own."""
    words = ["translate", model, *arguments, "--to", "B", "--device", "cpu"]
    command = [sys.executable, "-m", "pipelines.cli", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


# -- in the suite --


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.integers(1, 90), st.sampled_from(KINDS)),
        min_size=1,
        max_size=6,
    )
)
def test_images_of_any_size_and_mode_keep_their_size(
    translator: Translator, shared: Path, cases: list[Any]
) -> None:
    folder = shared / f"{len(list(shared.iterdir()))}"
    out = folder / "out"
    for i, (width, height, (suffix, mode)) in enumerate(cases):
        put(folder / "in" / f"{i}{suffix}", width, height, mode, i)
    assert translator.translate_folder(folder / "in", out, "B").failures == []
    for i, (width, height, (suffix, _)) in enumerate(cases):
        line = manifest(out)[f"{i}{suffix}"]
        assert (line["status"], line["width"], line["height"]) == ("ok", width, height)
        assert opened(out / line["output"]).size == (width, height)


def test_files_with_flipped_bytes_have_their_lines(translator: Translator, tmp_path: Path) -> None:
    rng = random.Random(4)
    for i in range(120):
        suffix, mode = KINDS[i % len(KINDS)]
        data = put(tmp_path / f"good{suffix}", 9, 13, mode, i).read_bytes()
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{i:03}{suffix}").write_bytes(flip(data, rng))
    done = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(max_pixels=10**6)
    )
    lines = manifest(tmp_path / "out")
    assert len(lines) == done.ok + done.failed == 120
    assert done.ok > 20 < done.failed
    written = {line["output"] for line in lines.values() if line["status"] == "ok"}
    assert files(tmp_path / "out").keys() == written
    assert all(line["reason"] for line in lines.values() if line["status"] == "failed")


def test_batches_of_1_7_and_64_differ_by_1_at_most(translator: Translator, tmp_path: Path) -> None:
    for i in range(20):
        draw(tmp_path / "in" / f"{i}.png", 16 + 16 * (i % 3), 16, seed=i)
    for size in (1, 7, 64):
        options = FolderOptions(style="random", batch_size=size)
        translator.translate_folder(tmp_path / "in", tmp_path / f"{size}", "B", options)
    for i in range(20):
        one, *others = (
            pixels(tmp_path / size / f"{i}.png").astype(int) for size in ("1", "7", "64")
        )
        assert all(np.abs(one - other).max() <= 1 for other in others)


@pytest.fixture(scope="module")
def six_hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, 600 pictures in in/, and their translations in whole/."""
    root = tmp_path_factory.mktemp("600")
    for i in range(600):
        draw(root / "in" / f"{i % 5}" / f"{i}.png", 16, 16, seed=i)
    options = FolderOptions(style="random", batch_size=4)
    build(root).translate_folder(root / "in", root / "whole", "B", options)
    return root


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_can_be_finished(
    six_hundred: Path, tmp_path: Path, end: signal.Signals
) -> None:
    model = six_hundred / "model.safetensors"
    out = tmp_path / "out"
    process = start(model, six_hundred / "in", out, "--style", "random", "--batch-size", 4)
    while process.poll() is None and not (out.exists() and len(list(out.rglob("*.png"))) > 4):
        time.sleep(0.005)
    process.send_signal(end)
    _, stderr = process.communicate(timeout=120)
    done = {name for name, line in manifest(out).items() if line["status"] == "ok"}
    assert len(manifest(out)) == 600
    if end == signal.SIGTERM:
        assert process.returncode == 130
        assert "interrupted" in stderr
        assert "Traceback" not in stderr
        assert 0 < len(done) < 600
        assert files(out).keys() == done

    resumed = FolderOptions(style="random", batch_size=4, skip_existing=True)
    translator = Translator.load(model, "cpu")
    assert translator.translate_folder(six_hundred / "in", out, "B", resumed).ok == 600 - len(done)
    assert files(out) == files(six_hundred / "whole")


# -- slow --


LINKS = ("link.png", "folder", "up", "nowhere.png")
NAMES = [
    "with space.png",
    "ünï 図.png",
    "semi;colon.png",
    "-rf.png",
    "--to.png",
    "new\nline.png",
    "a.jpg",
    "a.png",
    "x" * 236 + ".png",
    "y" * 236 + ".png",
    f"deep/{'d/' * 20}x.png",
]


def mixed(root: Path, count: int = 2000) -> dict[str, bool]:
    """Make files and links of every kind, 5 % broken.

    Returns:
        For each of the `count` paths whether it should be translated.
    """
    rng = random.Random(7)
    outside = draw(root.parent / "elsewhere" / "secret.png")
    (root / "empty").mkdir(parents=True)
    targets = (outside, outside.parent, Path(".."), Path("none"))
    for name, target in zip(LINKS, targets, strict=True):
        (root / name).symlink_to(target)

    expected = dict.fromkeys(LINKS, False)
    numbered = [f"{i % 17}/{i}" for i in range(count - len(NAMES) - len(LINKS))]
    for i, name in enumerate(NAMES + numbered):
        suffix, mode = KINDS[i % len(KINDS)]
        path = root / f"{name}{suffix}"
        if name in NAMES:
            path = root / name
            mode = "RGB"
        put(path, *picture_size(i, rng), mode, i)
        source = path.relative_to(root).as_posix()
        expected[source] = i % 20 != 3
        if not expected[source]:
            path.write_bytes(rng.choice(broken(path.read_bytes())))
        elif i == 4:  # nobody may read it, but root may
            path.chmod(0)
            expected[source] = os.access(path, os.R_OK)
    return expected


def picture_size(i: int, rng: random.Random) -> tuple[int, int]:
    """Return the (width, height) of picture i: mostly small, now and then of one pixel or large."""
    if i % 50 == 0:
        return 1, 1
    if i % 400 == 1:
        return 3000, 2000
    return rng.randrange(1, 130), rng.randrange(1, 130)


def broken(data: bytes) -> list[bytes]:
    """Return what a picture's file may hold when something has gone wrong."""
    return [b"", b"hello, world\n", data[: len(data) // 3], b"\x89PNG\r\n\x1a\n" + bytes(90)]


def snapshot(root: Path, without: Path) -> dict[str, tuple[bytes, int]]:
    """Return the bytes and times of all files below a folder but those below `without`."""
    found = [path for path in root.rglob("*") if path.is_file() and without not in path.parents]
    return {
        str(path): (path.read_bytes() if os.access(path, os.R_OK) else b"", path.stat().st_mtime_ns)
        for path in found
    }


@pytest.mark.slow
def test_two_thousand_mixed_files_and_ten_kills(tmp_path: Path) -> None:
    model = save(tmp_path)
    root = tmp_path / "all" / "in"
    whole = tmp_path / "all" / "whole"
    expected = mixed(root)
    before = snapshot(tmp_path, whole)
    process = start(model, root, whole, "--style", "random")
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in stderr
    lines = manifest(whole)
    ok = {name: line for name, line in lines.items() if line["status"] == "ok"}
    assert len(lines) == len(expected) == 2000
    assert ok.keys() == {name for name, good in expected.items() if good}
    assert {lines[name]["status"] for name in LINKS} == {"skipped"}
    assert files(whole).keys() == {line["output"] for line in ok.values()}
    for name, line in ok.items():
        assert opened(whole / line["output"]).size == (line["width"], line["height"]), name
    assert snapshot(tmp_path, whole) == before

    rng = random.Random()
    resumed = tmp_path / "all" / "resumed"
    for _ in range(10):
        process = start(model, root, resumed, "--style", "random", "--skip-existing")
        time.sleep(2 + 8 * rng.random())
        process.kill()
        process.communicate()
    process = start(model, root, resumed, "--style", "random", "--skip-existing")
    process.communicate()
    assert process.returncode == 1
    assert files(resumed) == files(whole), "no temporary files either"

    three = tmp_path / "all" / "three"
    shards = [
        start(model, root, three, "--style", "random", "--shard", f"{i}/3") for i in (1, 2, 3)
    ]
    for shard in shards:
        shard.communicate()
    assert [shard.returncode for shard in shards] == [1, 1, 1]
    assert files(three) == files(whole)
    assert (three / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()

    name = "with space.png"
    alone = tmp_path / "all" / "alone"
    os.link(root / name, tmp_path / name)
    options = FolderOptions(style="random", workers=1)
    Translator.load(model, "cpu").translate_folder(tmp_path / name, alone, "B", options)
    assert files(alone)[name] == files(whole)[name]
