"""The manifest: shards, damaged lines, deep folders, lists of files, full disks."""

from __future__ import annotations

import json
import os
import subprocess
import tracemalloc
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests._helpers.folders import draw, files, manifest
from translate.inference.anomaly import measure_folder
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import (
    ELSEWHERE,
    NO_SPACE,
    Entry,
    belongs,
    mark_up_to_date,
    write_manifest,
)
from translate.inference.planning import plan_outputs, scan
from translate.inference.translator import Translator
from translate.io import files as writing
from translate.io import images
from translate.io.files import DiskFullError, Stamp
from translate.io.folders import LOCK, LocalFolder

SHARDS = [(3, 3), (1, 3), (2, 3)]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    for i in range(12):
        draw(tmp_path / "in" / f"{i % 3}" / f"{i}.png", 16 + 4 * (i % 2), 16, seed=i)
    draw(tmp_path / "in" / "a.jpg")
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "broken.png").write_text("broken")
    (tmp_path / "in" / "link.png").symlink_to("a.png")
    return tmp_path / "in"


# -- shards --


def test_the_union_of_shards_is_the_whole_byte_for_byte(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    options: Any = {"style": "random", "format": "png", "samples": 2}
    whole = translator.translate_folder(inputs, tmp_path / "whole", "B", FolderOptions(**options))
    parts = [
        translator.translate_folder(
            inputs, tmp_path / "out", "B", FolderOptions(shard=shard, **options)
        )
        for shard in SHARDS
    ]
    for count in ("ok", "skipped", "failed"):
        assert sum(getattr(part, count) for part in parts) == getattr(whole, count)
    assert all(part.ok for part in parts)
    assert [part.failures for part in parts if part.failures] == [whole.failures]
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    one, other = ((tmp_path / name / "manifest.jsonl").read_bytes() for name in ("whole", "out"))
    assert one == other


def test_a_shard_alone_leaves_a_line_for_every_input(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    done = translator.translate_folder(inputs, tmp_path / "out", "B", FolderOptions(shard=(2, 3)))
    lines = manifest(tmp_path / "out")
    assert len(lines) == 16
    assert lines["link.png"]["reason"] == "symbolic link"
    elsewhere = {name for name, line in lines.items() if line["reason"] == ELSEWHERE}
    assert elsewhere == {name for name in lines if not belongs(name, (2, 3)) and name != "link.png"}
    assert len(files(tmp_path / "out")) == done.ok > 0


def test_runs_of_any_number_of_shards_skip_what_others_did(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    def translated(n: int) -> int:
        """The number of inputs that n shards translate, one after the other."""
        out = tmp_path / "out"
        options = [FolderOptions(shard=(i + 1, n), skip_existing=True) for i in range(n)]
        return sum(translator.translate_folder(inputs, out, "B", each).ok for each in options)

    assert [translated(n) for n in (3, 1, 2, 5, 3)] == [14, 0, 0, 0, 0]
    (tmp_path / "out" / "1" / "4.png").unlink()
    assert [translated(n) for n in (4, 1)] == [1, 0]
    (inputs / "1" / "7.png").unlink()
    assert translated(2) == 0
    assert "1/7.png" not in manifest(tmp_path / "out")


def test_shards_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    names = [f"{i:03}.png" for i in range(200)]

    def write(i: int) -> None:
        for _ in range(5):
            entries = [Entry(name, "failed", f"by {i}") for name in names]
            write_manifest(LocalFolder(tmp_path / "out"), entries, (i, 6))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(1, 7)))
    lines = manifest(tmp_path / "out")
    assert list(lines) == names
    for name, line in lines.items():
        assert belongs(name, (int(line["reason"].removeprefix("by ")), 6))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.jsonl"]


def test_a_shard_removes_its_own_unfinished_files_alone(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    parts = {}
    for i in range(12):
        name = f"{i % 3}/{i}.png"
        parts[name] = out / f"{i % 3}" / f"{writing.PART}{writing.part_tag(name)}-0123.part"
        parts[name].parent.mkdir(parents=True, exist_ok=True)
        parts[name].touch()
    translator.translate_folder(inputs, out, "B", FolderOptions(shard=(1, 2)))
    assert {name for name, part in parts.items() if part.exists()} == {
        n for n in parts if not belongs(n, (1, 2))
    }
    (out / LOCK).touch()  # of a shard that was killed
    translator.translate_folder(inputs, out, "B", FolderOptions(shard=(2, 2)))
    assert not list(out.rglob("*.part"))
    (out / LOCK).touch()
    translator.translate_folder(inputs, out, "B", FolderOptions(overwrite=True))
    assert not list(out.rglob("*.part"))


# -- damaged lines --

DAMAGED = [
    b"",
    b"\xff\xfe",
    b"null",
    b"7",
    b"[1]",
    b'"text"',
    b"[" * 5000,
    b'{"source": "x.png", "ke',
    b'{"source": "x.png"}',
    b'{"source": 3, "key": "k", "width": 1, "height": 1, "warnings": []}',
    b'{"source": "x.png", "key": [], "width": 1, "height": 1, "warnings": []}',
    b'{"source": "x.png", "key": {}, "width": 1, "height": 1, "warnings": []}',
    b'{"source": "x.png", "key": 5, "width": 1, "height": 1, "warnings": []}',
    b'{"source": "x.png", "key": "k", "width": "1", "height": [], "warnings": []}',
    b'{"source": "x.png", "key": "k", "width": 1, "height": 1, "warnings": null}',
    b'{"source": "x.png", "key": "k", "width": 1, "height": 1, "warnings": [{}]}',
    b'{"source": "\\ud800.png", "key": "k", "width": 1, "height": 1, "warnings": []}',
]


@pytest.mark.parametrize("damaged", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("shard", [(1, 1), (1, 2)])
def test_a_damaged_line_changes_nothing_for_the_others(
    translator: Translator, inputs: Path, tmp_path: Path, damaged: bytes, shard: tuple[int, int]
) -> None:
    path = tmp_path / "out" / "manifest.jsonl"
    translator.translate_folder(inputs, tmp_path / "out", "B")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([damaged, *lines[:3], damaged, *lines[3:-1], damaged]))
    again = translator.translate_folder(
        inputs, tmp_path / "out", "B", FolderOptions(skip_existing=True, shard=shard)
    )
    assert again.ok == 0
    assert again.skipped > 0
    assert "x.png" not in manifest(tmp_path / "out")
    assert len(manifest(tmp_path / "out")) == len(lines) - 1


# -- deep folders --


def nest(top: Path, depth: int) -> None:
    """Make folders d/d/d... below `top`, deeper than a path may be long."""
    here = Path.cwd()
    try:
        os.chdir(top)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)


@pytest.mark.skipif(os.name == "nt", reason="paths of Windows are shorter")
@pytest.mark.parametrize("depth", [1100, 2500])
def test_folders_nested_deeper_than_python_recurses(
    translator: Translator, tmp_path: Path, depth: int
) -> None:
    root = tmp_path / "in"
    out = tmp_path / "out"
    draw(root / "a.png")
    draw(root / "d.png")
    name = "/".join(["d"] * min(depth, 1100)) + "/b.png"
    try:
        nest(root, depth)
        os.rename(root / "d.png", root / name)
        for skipped in (0, 2):
            done = translator.translate_folder(root, out, "B", FolderOptions(skip_existing=True))
            assert (done.ok, done.skipped) == (2 - skipped, skipped)
            assert {"a.png", name} <= manifest(out).keys()
            assert (out / name).is_file()
            if depth == 1100:
                assert not done.failures
            else:  # longer than the system's limit for a path
                ((_, reason),) = done.failures
                assert "file name too long" in reason
        measured, failures = measure_folder(translator.predictor, root, "A")
        assert measured.keys() == {"a.png", name}
        assert len(failures) == len(done.failures)
    finally:
        subprocess.run(["rm", "-rf", root, out], check=True)  # shutil.rmtree recurses


# -- lists --


def test_listed_files_keep_their_place_and_stay_in_the_output_folder(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    draw(here / "a.png")
    draw(here / "sub" / "-b c.png")
    draw(here / "x.png")
    outside = draw(tmp_path / "far" / "x.png")
    (here / "link.png").symlink_to(outside)
    (here / "folder").symlink_to(outside.parent)
    os.mkfifo(here / "pipe.png")
    monkeypatch.chdir(here)
    draw(here / str(outside)[1:])  # takes the place that the absolute path asks for
    near = str(outside)[1:]
    listed = [
        "a.png",
        "./a.png",
        "sub/../a.png",
        str(here / "sub" / "-b c.png"),
        str(outside),
        "../far/x.png",
        near,
        "folder/../here/x.png",
        "link.png",
        "nowhere.png",
        "sub",
        "pipe.png",
        "folder/x.png",
        "a\0b.png",
    ]
    done = translator.translate_folder(listed, tmp_path / "out", "B")
    lines = manifest(tmp_path / "out")
    assert lines.keys() == {
        "a.png",
        "sub/-b c.png",
        str(outside),
        near,
        "x.png",
        "link.png",
        "nowhere.png",
        "sub",
        "pipe.png",
        "folder/x.png",
        "a\0b.png",
    }
    assert lines["a.png"]["warnings"] == ["listed 3 times"]
    assert lines["a.png"]["output"] == "a.png"
    assert lines[str(outside)]["warnings"] == ["listed 2 times"]
    assert {lines[str(outside)]["output"], lines[near]["output"]} == {near, near + ".png"}
    reasons = dict(done.failures)
    assert reasons.keys() == {"nowhere.png", "sub", "a\0b.png"}
    assert "no such file" in reasons["nowhere.png"]
    assert "folder" in reasons["sub"]
    assert lines["pipe.png"]["status"] == "skipped"
    assert len(files(tmp_path / "out")) == done.ok == 7
    assert {path.name for path in tmp_path.iterdir()} == {"here", "far", "out"}
    again = translator.translate_folder(
        listed, tmp_path / "out", "B", FolderOptions(skip_existing=True)
    )
    assert (again.ok, again.skipped) == (0, 8)


@pytest.mark.parametrize("listed", [[], ["out/a.png"], ["in/a.png", "../{here}/out/sub/b.png"]])
def test_lists_that_are_refused(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: list[str]
) -> None:
    for name in ("out/a.png", "out/sub/b.png", "in/a.png"):
        draw(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    paths = [path.format(here=tmp_path.name) for path in listed]
    with pytest.raises(ValueError, match="out: the output folder" if listed else "list"):
        translator.translate_folder(paths, "out", "B")


# -- full disks --


def test_a_full_disk_ends_the_run_and_leaves_a_valid_output_folder(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(60):
        draw(tmp_path / "in" / f"{i:02}.png", seed=i)
    write = images.write_image
    out = tmp_path / "out"
    written: list[Path] = []

    def full(path: Path, *rest: Any) -> None:
        if len(written) >= 20:
            raise OSError(28, "No space left on device")
        write(path, *rest)
        written.append(path)

    options = FolderOptions(workers=1, batch_size=4)
    with monkeypatch.context() as patch:
        patch.setattr(images, "write_image", full)
        with pytest.raises(DiskFullError, match=r"\A[^\n]*out: no space left[^\n]*\Z"):
            translator.translate_folder(tmp_path / "in", out, "B", options)
    lines = manifest(out)
    assert len(lines) == 60
    assert {name for name, line in lines.items() if line["status"] == "ok"} == files(out).keys()
    failed = {line["reason"] for line in lines.values() if line["status"] == "failed"}
    skipped = {line["reason"] for line in lines.values() if line["status"] == "skipped"}
    assert len(failed) == 1
    assert "no space left" in failed.pop()
    assert skipped == {NO_SPACE}

    options = FolderOptions(skip_existing=True)
    assert translator.translate_folder(tmp_path / "in", out, "B", options).ok == 40


def test_on_a_full_disk_an_output_makes_room_for_the_manifest(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = writing.write_lines
    out = tmp_path / "out"

    def full(path: Path, lines: Iterable[str]) -> None:
        if len(list(out.rglob("*.png"))) + len(list(out.rglob("*.jpg"))) > 10:
            raise OSError(28, "No space left on device")
        write(path, lines)

    monkeypatch.setattr(writing, "write_lines", full)
    done = translator.translate_folder(inputs, out, "B")
    lines = manifest(out)
    assert done.ok == len(files(out)) == 10
    assert done.failed == 5
    written = {line["output"] for line in lines.values() if line["status"] == "ok"}
    assert written == files(out).keys()


def test_a_manifest_line_is_one_line() -> None:
    line = Entry("a\nb\u2028c\udcff.png").line()
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line)["source"] == "a\nb\u2028c\udcff.png"


def test_a_line_without_output_has_no_key() -> None:
    line = json.loads(Entry("a.png", outputs=("a.png",), key="k").line())
    assert line["output"] is None
    assert line["key"] is None


@pytest.mark.skipif(os.name == "nt", reason="two slashes begin the name of a server there")
def test_two_slashes_are_another_name_of_the_root(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png")
    _, entries = scan([str(path), f"/{path}"])
    assert [entry.path for entry in entries] == [path.as_posix()]
    assert entries[0].warnings == ("listed 2 times",)


# -- many lines --


def test_the_memory_of_an_input_is_bounded(tmp_path: Path) -> None:
    """A job of a million inputs has them all in memory, and its manifest only line by line."""
    count = 3000
    names = [f"some/folder/picture_{i:09}.png" for i in range(count)]
    tracemalloc.start()
    try:
        outputs = plan_outputs(names, "", "", 1)
        entries = [
            Entry(name, "ok", None, outputs[name], f"{i:064}", (9, 9), (), (Stamp(1, f"{i:064}"),))
            for i, name in enumerate(names)
        ]
        tracemalloc.reset_peak()
        write_manifest(LocalFolder(tmp_path), entries)
        assert tracemalloc.get_traced_memory()[1] / count < 1100, "2130 bytes once"

        again = [Entry(entry.path, outputs=entry.outputs, key=entry.key) for entry in entries]
        del entries, outputs
        tracemalloc.reset_peak()
        mark_up_to_date(LocalFolder(tmp_path), again)
        assert tracemalloc.get_traced_memory()[1] / count < 1400, "2840 bytes once"
    finally:
        tracemalloc.stop()
