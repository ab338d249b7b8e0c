"""translate.io.files: written whole or not at all, by failing on purpose; what lies in a folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests._helpers.encoders import PHOTO, put
from translate.io.files import (
    Stamp,
    append_lines,
    atomic,
    cell,
    evenly_spaced,
    held,
    list_files,
    printable,
    readable_json,
    sync,
    write_text,
)
from translate.io.images import list_images, write_image
from translate.models.checkpoint import save_tensors


def test_text_is_written_as_it_is_with_the_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_text(path, "line\r\nzwölf ✓\n")
    assert path.read_bytes() == "line\r\nzwölf ✓\n".encode()
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failing_block_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = put(tmp_path / "x.txt", b"before")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), atomic(path) as temporary:
        fail(temporary)
    with pytest.raises(FileNotFoundError), atomic(path):
        pass  # the block wrote nothing
    assert os.listdir(tmp_path) == ["x.txt"]
    assert path.read_bytes() == b"before"


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder") as caught, atomic(target) as temporary:
        temporary.write_text("a file cannot replace a folder")
    assert caught.value.filename == str(target)
    with pytest.raises(FileNotFoundError) as missing:
        write_text(tmp_path / "missing" / "x.txt", "")
    assert missing.value.filename == str(tmp_path / "missing" / "x.txt")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.fixture
def disk_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Calls of os.fsync and os.replace, in order, with the kind of file or the file's new name."""
    calls: list[tuple[str, str]] = []
    fsync = os.fsync
    replace = os.replace

    def watched_fsync(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        calls.append(("fsync", "folder" if stat.S_ISDIR(mode) else "file"))
        fsync(descriptor)

    def watched_replace(old: Any, new: Any) -> None:
        calls.append(("replace", Path(new).name))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    return calls


def durable(name: str) -> list[tuple[str, str]]:
    return [("fsync", "file"), ("replace", name), ("fsync", "folder")]


def test_texts_and_models_are_on_the_disk_before_they_replace_anything(
    tmp_path: Path, disk_calls: list[tuple[str, str]]
) -> None:
    write_text(tmp_path / "manifest.jsonl", "{}\n")
    assert disk_calls == durable("manifest.jsonl")
    disk_calls.clear()
    save_tensors(tmp_path / "model.safetensors", {"x": torch.zeros(3)}, {})
    assert disk_calls == durable("model.safetensors")
    disk_calls.clear()
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "x", durable=True):
        raise ZeroDivisionError
    assert disk_calls == []


def test_pictures_are_not_synced(tmp_path: Path, disk_calls: list[tuple[str, str]]) -> None:
    write_image(tmp_path / "x.png", PHOTO)
    assert disk_calls == [("replace", "x.png")]


def test_a_folder_that_cannot_be_synced_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def of_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    write_text(tmp_path / "x.txt", "whole")
    assert (tmp_path / "x.txt").read_text() == "whole"


def test_replacing_a_link_leaves_its_target_alone(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside.png", b"mine")
    (tmp_path / "link.png").symlink_to(outside)
    write_image(tmp_path / "link.png", PHOTO)
    assert outside.read_bytes() == b"mine"
    assert not (tmp_path / "link.png").is_symlink()


def test_listing(tmp_path: Path) -> None:
    root = tmp_path / "in"
    outside = tmp_path / "outside"
    for name in (
        "b.PNG",
        "a/z.jpg",
        "a/deep/x.tiff",
        "a.png",
        "notes.txt",
        "noext",
        ".introshift-12.part",
        ".hidden.gif",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    (root / ".introshift-work").mkdir()
    put(root / ".introshift-work" / "x.png", b"")
    outside.mkdir()
    put(outside / "o.png", b"")
    (root / "link.png").symlink_to(root / "a.png")
    (root / "broken.png").symlink_to(root / "nowhere.png")
    (root / "linked").symlink_to(outside, target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    found = [path.as_posix() for path in list_images(root)]
    assert found == ["a.png", "a/deep/x.tiff", "a/z.jpg", "b.PNG", "link.png"]
    everything = [".hidden.gif", *found, "noext", "notes.txt"]
    assert [path.as_posix() for path in list_files(str(root))] == everything
    assert all(not path.is_absolute() for path in list_images(root))


def test_listing_reports_what_it_cannot_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[OSError] = []
    assert list_images(tmp_path / "none") == []
    assert list_images(tmp_path / "none", errors.append) == []
    assert [type(error) for error in errors] == [FileNotFoundError]
    (tmp_path / "locked").mkdir()
    put(tmp_path / "a.png", b"")
    scandir = os.scandir

    def locked(path: Any) -> Any:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert list_images(tmp_path, errors.append) == [Path("a.png")]
    assert errors[1].filename.endswith("locked")


@given(st.integers(0, 60), st.integers(1, 70))
def test_evenly_spaced_items_reach_from_the_first_to_the_last(total: int, count: int) -> None:
    chosen = evenly_spaced(range(total), count)
    assert len(chosen) == len(set(chosen)) == min(count, total)
    assert chosen == sorted(chosen)
    if len(chosen) > 1:
        steps = np.diff(chosen)
        assert (chosen[0], chosen[-1]) == (0, total - 1)
        assert steps.max() - steps.min() <= 1


def test_json_is_readable_on_one_line_and_valid_utf_8() -> None:
    data = {"ünï 図": ["b\udcff.png", "ls\u2028.png", "nel\x85", "a\nb", '"']}
    text = readable_json(data)
    assert "ünï 図" in text
    assert len(text.splitlines()) == 1
    assert json.loads(text.encode("utf-8")) == data


def test_many_files_are_synced_with_their_folders(
    tmp_path: Path, disk_calls: list[tuple[str, str]]
) -> None:
    (tmp_path / "out" / "deep" / "er").mkdir(parents=True)
    paths = [put(tmp_path / "out" / name, b"x") for name in ("a", "b", "deep/er/c")]
    missing = tmp_path / "out" / "missing"
    errors = sync([*paths, missing], tmp_path / "out")
    assert errors[:3] == [None] * 3
    assert isinstance(errors[3], FileNotFoundError)
    assert disk_calls == [("fsync", "file")] * 3 + [("fsync", "folder")] * 3
    assert sync([], tmp_path) == []


def test_a_folder_that_fails_to_sync_fails_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad").mkdir()
    paths = [put(tmp_path / name, b"x") for name in ("a", "bad/b")]
    inode = (tmp_path / "bad").stat().st_ino
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    first, second = sync(paths, tmp_path)
    assert first is None
    assert second is not None
    assert second.errno == errno.EIO


@pytest.mark.parametrize("before", [b"", b"one\n", b"cut o"])
def test_appended_lines_are_whole_whatever_was_there(tmp_path: Path, before: bytes) -> None:
    path = put(tmp_path / "log", before)
    append_lines(path, ["two", "drei ü"])
    assert path.read_bytes().splitlines()[-2:] == [b"two", "drei ü".encode()]
    assert path.read_bytes().startswith(before)


def test_a_lock_is_free_when_its_process_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from translate.io.files import held\n"
        "with held(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError), held(lock):
            pass
        process.kill()
        process.wait()
    with held(lock):
        with pytest.raises(BlockingIOError), held(lock):
            pass
        assert lock.exists()
    assert not lock.exists()


def test_a_stamp_tells_size_and_content(tmp_path: Path) -> None:
    path = put(tmp_path / "x", b"abc")
    stamp = Stamp.of(path)
    assert stamp.size == 3
    assert stamp.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert stamp.is_of(path, content=True)
    put(path, b"abd")
    assert stamp.is_of(path, content=False)
    assert not stamp.is_of(path, content=True)
    put(path, b"ab")
    assert not stamp.is_of(path, content=False)


def test_what_terminals_and_spreadsheets_obey_is_marked() -> None:
    assert printable("a\x1b[2Jb\r\x9bc\u202e\tü\n") == r"a\x1b[2Jb\r\x9bc\u202e" + "\tü\n"
    assert cell("=1+1") == "'=1+1"
    assert cell("-b") == "'-b"
    assert cell("a=b") == "a=b"
    assert cell("") == ""
