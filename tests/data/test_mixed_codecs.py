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
from translate.inference.folder import FolderOptions
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


def flip(data: bytes, source: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(source.choice((1, 2, 5))):
        broken[source.randrange(len(broken))] = source.randrange(256)
    return bytes(broken)


def start(model: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "translate",
        model,
        *arguments,
        "--to",
        "B",
        "--device",
        "cpu",
    ]
    return subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, text=True, stderr=subprocess.PIPE
    )


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
def test_any_sizes_and_modes(translator: Translator, shared: Path, cases: list[Any]) -> None:
    folder = shared / f"{len(list(shared.iterdir()))}"
    out = folder / "out"
    for i, (width, height, (suffix, mode)) in enumerate(cases):
        put(folder / "in" / f"{i}{suffix}", width, height, mode, i)
    assert translator.translate_folder(folder / "in", out, "B").failures == []
    for i, (width, height, (suffix, _)) in enumerate(cases):
        line = manifest(out)[f"{i}{suffix}"]
        assert (line["status"], line["width"], line["height"]) == ("ok", width, height)
        assert opened(out / line["output"]).size == (width, height)


def test_flipped_bytes_never_lose_a_line(translator: Translator, tmp_path: Path) -> None:
    source = random.Random(4)
    for i in range(120):
        suffix, mode = KINDS[i % len(KINDS)]
        data = put(tmp_path / f"good{suffix}", 9, 13, mode, i).read_bytes()
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{i:03}{suffix}").write_bytes(flip(data, source))
    done = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(max_pixels=10**6)
    )
    lines = manifest(tmp_path / "out")
    assert len(lines) == done.ok + done.failed == 120
    assert done.ok > 20 < done.failed
    assert files(tmp_path / "out").keys() == {
        line["output"] for line in lines.values() if line["status"] == "ok"
    }
    assert all(line["reason"] for line in lines.values() if line["status"] == "failed")


def test_batches_of_1_7_and_64_agree(translator: Translator, tmp_path: Path) -> None:
    for i in range(20):
        draw(tmp_path / "in" / f"{i}.png", 16 + 16 * (i % 3), 16, seed=i)
    for size in (1, 7, 64):
        translator.translate_folder(
            tmp_path / "in",
            tmp_path / f"{size}",
            "B",
            FolderOptions(style="random", batch_size=size),
        )
    for i in range(20):
        one, *others = (
            pixels(tmp_path / size / f"{i}.png").astype(int) for size in ("1", "7", "64")
        )
        assert all(np.abs(one - other).max() <= 1 for other in others)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_can_be_finished(tmp_path: Path, end: signal.Signals) -> None:
    translator = build(tmp_path)
    model = tmp_path / "model.safetensors"
    out = tmp_path / "out"
    for i in range(600):
        draw(tmp_path / "in" / f"{i % 5}" / f"{i}.png", 16, 16, seed=i)
    process = start(model, tmp_path / "in", out, "--style", "random", "--batch-size", 4)
    while process.poll() is None and not (out.exists() and len(list(out.rglob("*.png"))) > 4):
        time.sleep(0.005)
    process.send_signal(end)
    _, words = process.communicate(timeout=120)
    done = {name for name, line in manifest(out).items() if line["status"] == "ok"}
    assert len(manifest(out)) == 600
    if end == signal.SIGTERM:
        assert process.returncode == 130
        assert "introshift: interrupted" in words
        assert "Traceback" not in words
        assert 0 < len(done) < 600
        assert files(out).keys() == done
    again = translator.translate_folder(
        tmp_path / "in", out, "B", FolderOptions(style="random", batch_size=4, skip_existing=True)
    )
    assert again.ok == 600 - len(done)
    translator.translate_folder(
        tmp_path / "in", tmp_path / "whole", "B", FolderOptions(style="random", batch_size=4)
    )
    assert files(out) == files(tmp_path / "whole")


# -- slow --


def mixed(root: Path, count: int = 2000) -> dict[str, bool]:
    """`count` files and links of every kind, 5 % broken; what becomes of each: True for an output,
    else False.
    """
    source = random.Random(7)
    expected = {}
    outside = draw(root.parent / "elsewhere" / "secret.png")
    (root / "empty").mkdir(parents=True)
    for name, target in {
        "link.png": outside,
        "folder": outside.parent,
        "up": "..",
        "nowhere.png": "none",
    }.items():
        (root / name).symlink_to(target)
        expected[name] = False
    names = [
        "with space.png",
        "ünï 図.png",
        ".hidden.png",
        "-rf.png",
        "--to.png",
        "new\nline.png",
        "a.jpg",
        "a.png",
    ]
    names += [letter * 236 + ".png" for letter in "xy"] + [f"deep/{'d/' * 20}x.png"]
    names += [f"{i % 17}/{i}" for i in range(count - len(names) - len(expected))]
    for i, name in enumerate(names):
        suffix, mode = KINDS[i % len(KINDS)] if "." not in name else (Path(name).suffix, "RGB")
        path = root / (name if "." in name else name + suffix)
        size = (
            (1, 1)
            if i % 50 == 0
            else (3000, 2000)
            if i % 400 == 1
            else tuple(source.choices(range(1, 130), k=2))
        )
        put(path, *size, mode, i)
        broken = i % 20 == 3
        expected[path.relative_to(root).as_posix()] = not broken
        data = path.read_bytes()
        if broken:
            cut = data[: len(data) // 3]
            path.write_bytes(
                source.choice([b"", b"hello, world\n", cut, b"\x89PNG\r\n\x1a\n" + bytes(90)])
            )
        elif i == 4:  # nobody may read it, but root may
            path.chmod(0)
            expected[path.relative_to(root).as_posix()] = os.access(path, os.R_OK)
    return expected


def snapshot(root: Path, without: Path) -> dict[str, tuple[bytes, int]]:
    found = (path for path in root.rglob("*") if path.is_file() and without not in path.parents)
    return {
        str(path): (path.read_bytes() if os.access(path, os.R_OK) else b"", path.stat().st_mtime_ns)
        for path in found
    }


@pytest.mark.slow
def test_two_thousand_mixed_files_and_ten_kills(tmp_path: Path) -> None:
    build(tmp_path)
    model = tmp_path / "model.safetensors"
    root = tmp_path / "all" / "in"
    whole = tmp_path / "all" / "whole"
    expected = mixed(root)
    before = snapshot(tmp_path, whole)
    process = start(model, root, whole, "--style", "random")
    _, words = process.communicate()
    lines = manifest(whole)
    assert process.returncode == 1
    assert "Traceback" not in words
    assert len(lines) == len(expected) == 2000
    assert {name for name, line in lines.items() if line["status"] == "ok"} == {
        n for n, good in expected.items() if good
    }
    assert {lines[name]["status"] for name in ("link.png", "folder", "up", "nowhere.png")} == {
        "skipped"
    }
    assert files(whole).keys() == {
        line["output"] for line in lines.values() if line["status"] == "ok"
    }
    for name, line in lines.items():
        if line["status"] == "ok":
            assert opened(whole / line["output"]).size == (line["width"], line["height"]), name
    assert snapshot(tmp_path, whole) == before
    seconds = 8.0
    source = random.Random()
    out = tmp_path / "all" / "out"
    for _ in range(10):
        process = start(model, root, out, "--style", "random", "--skip-existing")
        time.sleep(2 + source.random() * seconds)
        process.kill()
        process.communicate()
    process = start(model, root, out, "--style", "random", "--skip-existing")
    process.communicate()
    assert process.returncode == 1
    assert files(out) == files(whole), "no temporary files either"
    shards = [
        start(model, root, tmp_path / "all" / "three", "--style", "random", "--shard", f"{i}/3")
        for i in (1, 2, 3)
    ]
    for shard in shards:
        shard.communicate()
    assert [shard.returncode for shard in shards] == [1, 1, 1]
    assert files(tmp_path / "all" / "three") == files(whole)
    assert (tmp_path / "all" / "three" / "manifest.jsonl").read_bytes() == (
        whole / "manifest.jsonl"
    ).read_bytes()
    alone = Translator.load(model, "cpu")
    name = "with space.png"
    os.link(root / name, (tmp_path / name))
    alone.translate_folder(
        tmp_path / name, tmp_path / "all" / "alone", "B", FolderOptions(style="random", workers=1)
    )
    assert files(tmp_path / "all" / "alone")[name] == files(whole)[name]
