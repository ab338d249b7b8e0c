"""Folders at addresses: what is read and written is whole, and is said in words where it is not."""

from __future__ import annotations

import io
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests._helpers.folders import draw
from tests._helpers.s3 import contents, upload
from translate.io import storage as module
from translate.io.address import Facts, StorageError
from translate.io.files import Stamp
from translate.io.folders import WORK, LocalFolder
from translate.io.named import ListedFiles, fetched, is_file, put_whole
from translate.io.storage import StoredFolder


@pytest.fixture(params=["memory", "file"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder in the memory, or of this machine by its address."""
    if request.param == "file":
        return f"file://{tmp_path}/store"
    return str(request.getfixturevalue("memory")) + "bucket/photos"


@pytest.fixture
def stored(address: str, tmp_path: Path) -> StoredFolder:
    (tmp_path / "some" / "sub").mkdir(parents=True)
    (tmp_path / "some" / "a.png").write_bytes(b"a")
    (tmp_path / "some" / "sub" / "b.txt").write_bytes(b"bb")
    (tmp_path / "store").mkdir()
    for name in ("a.png", "sub/b.txt"):
        with put_whole(f"{address}/{name}") as path:
            path.write_bytes((tmp_path / "some" / name).read_bytes())
    return StoredFolder(address)


def test_files_are_listed_relative_to_the_folder(stored: StoredFolder) -> None:
    found = stored.find()
    assert {path: facts.size for path, facts in found.items()} == {"a.png": 1, "sub/b.txt": 2}
    assert all(facts.version for facts in found.values())
    assert stored.facts("a.png") == found["a.png"]


def test_a_file_is_fetched_and_let_go_of(stored: StoredFolder) -> None:
    file = stored.fetch("sub/b.txt")
    assert file.read_bytes() == b"bb"
    assert file.suffix == ".txt"
    assert stored.fetch("sub/b.txt") == file
    stored.release("sub/b.txt")
    assert not file.exists()
    stored.fetch("a.png")
    stored.close()
    assert not file.parent.exists()


def test_a_missing_file_is_named_and_leaves_nothing(stored: StoredFolder) -> None:
    with pytest.raises(StorageError, match=r"photos/none.png|store/none.png") as caught:
        stored.fetch("none.png")
    assert "no such file, folder or bucket" in str(caught.value)
    stored.fetch("a.png")
    assert len(list(stored.fetch("a.png").parent.iterdir())) == 1
    stored.close()


def test_a_file_of_another_size_than_listed_is_refused(stored: StoredFolder) -> None:
    stored.find()["a.png"] = Facts(7, "1")
    with pytest.raises(StorageError, match="1 bytes came, not the 7"):
        stored.fetch("a.png")
    stored.close()


def test_outputs_are_put_whole(stored: StoredFolder, address: str) -> None:
    place = stored.place("new/c.png")
    place.write_bytes(b"ccc")
    assert contents(address).keys() == {"a.png", "sub/b.txt"}
    stored.commit(["new/c.png"])
    assert contents(address)["new/c.png"] == b"ccc"
    assert not place.exists()
    stored.place("a.png").write_bytes(b"again")
    stored.commit(["a.png"])
    assert contents(address) == {"a.png": b"again", "sub/b.txt": b"bb", "new/c.png": b"ccc"}
    stored.close()


def test_an_upload_that_fails_leaves_what_was_there(
    stored: StoredFolder, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file = type(stored.file_system).put_file

    def half(self: object, source: str, target: str) -> None:
        put_file(self, source, target)
        raise OSError("connection lost")

    monkeypatch.setattr(type(stored.file_system), "put_file", half)
    place = stored.place("a.png")
    place.write_bytes(b"new")
    with pytest.raises(StorageError, match="connection lost"):
        stored.commit(["a.png"])
    assert contents(address) == {"a.png": b"a", "sub/b.txt": b"bb"}
    assert not place.exists()
    stored.close()


def test_a_file_is_put_when_it_is_written_whole(
    stored: StoredFolder, address: str, tmp_path: Path
) -> None:
    here = LocalFolder(tmp_path / "here")
    for target, place in ((stored, address), (here, f"file://{here}")):
        before = contents(place)
        with target.writing("new/c.tar") as file:
            file.write_bytes(b"ccc")
            assert "new/c.tar" not in contents(place)
        after = before | {"new/c.tar": b"ccc"}
        assert contents(place) == after
        with suppress(ZeroDivisionError), target.writing("new/c.tar") as file:
            file.write_bytes(b"half" * (1 // 0))
        assert contents(place) == after
        assert not file.exists()
    stored.close()


def test_a_workplace_is_of_one_run_and_goes(stored: StoredFolder, tmp_path: Path) -> None:
    here = LocalFolder(tmp_path / "here")
    here.prepare()
    for owner in ("1-of-2", "2-of-2", "1-of-3"):
        place = here.workplace(owner, lambda _: False)
        assert place.parent == here.folder
        place.mkdir()
    place = here.workplace("1-of-2", lambda owner: owner != "2-of-2")
    assert [path.name for path in here.folder.iterdir()] == [f"{WORK}2-of-2"]

    place = stored.workplace("1-of-1", lambda _: True)
    place.mkdir()
    assert not StoredFolder(stored.address).workplace("1-of-1", lambda _: True).exists()
    stored.close()
    assert not place.exists()


def test_what_a_killed_run_has_left_is_found(stored: StoredFolder, address: str) -> None:
    with put_whole(f"{address}/sub/.introshift-0123-4567.part") as path:
        path.write_bytes(b"")
    stored.find()
    assert stored.unfinished() == ["sub/.introshift-0123-4567.part"]
    stored.remove("sub/.introshift-0123-4567.part")
    assert contents(address).keys() == {"a.png", "sub/b.txt"}


def test_outputs_are_compared_with_their_stamps(stored: StoredFolder, tmp_path: Path) -> None:
    stamp = Stamp.of(tmp_path / "some" / "a.png")
    for content in (False, True):
        assert stored.is_as_written("a.png", stamp, content)
        assert not stored.is_as_written("a.png", Stamp(2, stamp.sha256), content)
    other = Stamp(1, "0" * 64)
    assert stored.is_as_written("a.png", other, False)
    assert not stored.is_as_written("a.png", other, True)
    assert stored.holds_file("a.png")
    assert not stored.holds("none.png")
    stored.close()


def test_lines_are_appended_as_parts_and_forgotten_when_written(
    stored: StoredFolder, address: str
) -> None:
    assert list(stored.read_log("lines.jsonl")) == []
    stored.append_log("lines.jsonl", ["1"], "1-of-2", shared=True)
    stored.append_log("lines.jsonl", [], "1-of-2", shared=True)
    StoredFolder(address).append_log("lines.jsonl", ["2", "3"], "2-of-2", shared=True)
    assert list(stored.read_log("lines.jsonl")) == [b"1\n", b"2\n", b"3\n"]
    stored.write_log("lines.jsonl", ["all"], lambda owner: owner == "1-of-2")
    assert list(stored.read_log("lines.jsonl")) == [b"all\n", b"2\n", b"3\n"]
    stored.write_log("lines.jsonl", ["all"], lambda owner: True)
    assert contents(address).keys() == {"a.png", "sub/b.txt", "lines.jsonl"}
    stored.close()


def test_a_folder_can_be_opened_in_another_process(stored: StoredFolder) -> None:
    again = pickle.loads(pickle.dumps(stored))
    assert again.find() == stored.find()


@pytest.mark.parametrize(
    "address", ["https://host/a", "zip://::memory://bucket/a.zip", "hf://datasets/me/set"]
)
def test_what_can_only_be_read_is_not_written_to(address: str, memory: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "a")
    with put_whole("memory://bucket/a.zip") as path:
        path.write_bytes((tmp_path / "a.zip").read_bytes())
    with pytest.raises(ValueError, match="can only be read; write into a folder"):
        StoredFolder(address).prepare()


def test_members_of_an_archive_are_read(memory: str, tmp_path: Path) -> None:
    picture = draw(tmp_path / "a.png").read_bytes()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("in/a.png", picture)
        archive.writestr("../out.png", picture)
    with put_whole("memory://bucket/a.zip") as path:
        path.write_bytes(made.getvalue())
    folder = StoredFolder("zip://::memory://bucket/a.zip")
    assert folder.find().keys() == {"in/a.png", "../out.png"}
    assert folder.fetch("in/a.png").read_bytes() == picture
    folder.close()


def test_what_is_a_picture_is_told_by_name_or_first_bytes(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD", 2000)
    for name in ("named.png", "b.tif", "c.png"):
        draw(tmp_path / "in" / name, 64, 64)
    (tmp_path / "in" / "b.tif").rename(tmp_path / "in" / "tiff without suffix")
    (tmp_path / "in" / "c.png").rename(tmp_path / "in" / "png.bin")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    (tmp_path / "in" / "empty.png").touch()
    folder = StoredFolder(upload(tmp_path / "in", f"{memory}in"))
    pictures = {path for path in folder.find() if folder.is_picture(path)}
    assert pictures == {"named.png", "tiff without suffix", "png.bin", "empty.png"}
    assert folder.is_picture("none")  # reading it says why


def test_listed_files_are_here_or_elsewhere(memory: str, tmp_path: Path) -> None:
    here = draw(tmp_path / "here.png")
    there = draw(tmp_path / "in" / "there.png", seed=1)
    upload(tmp_path / "in", f"{memory}in")
    source = ListedFiles(
        {"here.png": here, "there.png": f"{memory}in/there.png", "none.png": f"{memory}in/none.png"}
    )
    missing = source.ask(["here.png", "there.png", "none.png"])
    assert list(missing) == ["none.png"]
    assert source.fetch("here.png") == here
    assert source.facts("here.png") == Facts(here.stat().st_size, here.stat().st_mtime_ns)
    copy = source.fetch("there.png")
    assert copy.read_bytes() == there.read_bytes()
    source.release("here.png")
    source.release("there.png")
    assert here.exists()
    assert not copy.exists()
    source.close()


def test_one_file_is_fetched_and_put(memory: str, tmp_path: Path) -> None:
    with put_whole(f"{memory}a/b.txt") as path:
        path.write_text("hello")
    with fetched(f"{memory}a/b.txt") as path:
        assert path.read_text() == "hello"
    assert not path.exists()
    assert is_file(f"{memory}a/b.txt")
    assert not is_file(f"{memory}a")
    assert not is_file(f"{memory}none")

    def fail() -> None:
        with put_whole(f"{memory}a/c.txt") as path:
            path.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert contents(f"{memory}a").keys() == {"b.txt"}
