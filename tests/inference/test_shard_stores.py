"""WebDataset shards are written into stores as into folders here, whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests._helpers.folders import build, files
from tests._helpers.kills import Killed
from tests._helpers.s3 import contents, upload
from tests._helpers.shards import pack, picture, read, samples
from tests._helpers.small_model import save
from translate.inference import shard_work, shards
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import MANIFEST
from translate.inference.shard_manifest import ShardManifest
from translate.inference.status import RunNote, read_status
from translate.inference.translator import Translator
from translate.io import lease
from translate.io.named import put_whole
from translate.io.storage import STATE, StoredFolder

RANDOM = FolderOptions(style="random")
FIRST = "sub/x-2.tar"
AGAIN = FolderOptions(style="random", skip_existing=True)


@pytest.fixture(params=["memory", "bucket"])
def store(request: pytest.FixtureRequest) -> str:
    """A place in a store that is empty."""
    above = str(request.getfixturevalue(request.param))
    return f"{above}place" if above.endswith("/") else f"{above}/place"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of killed runs are free at once."""
    monkeypatch.setattr(lease, "PATIENCE", 0.3)
    monkeypatch.setattr(lease, "LOOK", 0.05)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Three shards, x-0.tar, x-1.tar and sub/x-2.tar, of two samples each."""
    for i, name in enumerate(("x-0", "x-1", "sub/x-2")):
        pack(tmp_path / "in" / f"{name}.tar", samples(tmp_path, 2, 2 * i))
    return tmp_path / "in"


def everything(folder: Path) -> dict[str, bytes]:
    """The files below a folder, the manifest included."""
    return files(folder) | {MANIFEST: (folder / MANIFEST).read_bytes()}


def lines_at(address: str) -> dict[str, dict[str, Any]]:
    """The manifest's lines by their source, of which each has one."""
    lines = [json.loads(line) for line in contents(address)[MANIFEST].splitlines()]
    sources = [line["source"] for line in lines]
    assert len(sources) == len(set(sources))
    return dict(zip(sources, lines, strict=True))


def test_shards_in_a_store_are_those_of_a_folder_here(
    translator: Translator,
    inputs: Path,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pack(inputs / "broken.tar", {"a.png": b"no picture", **samples(tmp_path, 1, 9)})
    (inputs / "cut.tar").write_bytes(b"cut")
    here = translator.translate_shards(inputs, tmp_path / "out", "B", RANDOM)
    staging = tmp_path / "staging"
    staging.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(staging))
    before = set(files(tmp_path))
    there = translator.translate_shards(inputs, f"{store}/out", "B", RANDOM)
    assert (there.ok, there.failed) == (here.ok, here.failed) == (7, 2)
    assert contents(f"{store}/out") == everything(tmp_path / "out")
    assert contents(store).keys() == {f"out/{name}" for name in everything(tmp_path / "out")}

    address = upload(inputs, f"{store}/in")
    translator.translate_shards(f"{address}/**/*.tar", f"{store}/stored", "B", RANDOM)
    stored = contents(f"{store}/stored")
    del stored[MANIFEST]
    assert stored == files(tmp_path / "out")
    assert lines_at(f"{store}/stored").keys() == lines_at(f"{store}/out").keys()
    assert set(files(tmp_path)) == before
    assert list(staging.iterdir()) == []

    (tmp_path / "x-1.tar").write_bytes(contents(f"{store}/out")["x-1.tar"])
    found = read(tmp_path / "x-1.tar", "rgb8")
    assert [sample["__key__"] for sample in found] == ["0002", "0003"]
    assert [sample["json"] for sample in found] == [{"number": 2}, {"number": 3}]


def test_what_is_up_to_date_is_left_and_what_has_changed_is_done_again(
    translator: Translator, inputs: Path, store: str, tmp_path: Path
) -> None:
    out = f"{store}/out"
    translator.translate_shards(inputs, out, "B", RANDOM)
    whole = contents(out)
    with pytest.raises(ValueError, match="out: holds what an earlier run has written"):
        translator.translate_shards(inputs, out, "B", RANDOM)
    again = translator.translate_shards(inputs, out, "B", AGAIN)
    assert (again.ok, again.reasons) == (0, {"up to date": 6})
    assert contents(out) == whole

    # gone, longer, and changed in the same number of bytes, which reading alone finds
    StoredFolder(out).remove("sub/x-2.tar")
    with put_whole(f"{out}/x-0.tar") as path:
        path.write_bytes(whole["x-0.tar"] + bytes(10240))
    changed = bytearray(whole["x-1.tar"])
    changed[600] ^= 1
    with put_whole(f"{out}/x-1.tar") as path:
        path.write_bytes(changed)
    assert translator.translate_shards(inputs, out, "B", AGAIN).ok == 4
    verify = FolderOptions(style="random", skip_existing=True, verify=True)
    assert translator.translate_shards(inputs, out, "B", verify).ok == 2
    found = contents(out)
    found[MANIFEST] = b"".join(sorted(found[MANIFEST].splitlines(keepends=True)))
    whole[MANIFEST] = b"".join(sorted(whole[MANIFEST].splitlines(keepends=True)))
    assert found == whole

    pack(inputs / "x-0.tar", samples(tmp_path, 3, 7))
    assert translator.translate_shards(inputs, out, "B", AGAIN).ok == 3
    assert [s for s in lines_at(out) if s.startswith("x-0.tar/")] == [
        f"x-0.tar/{i:04}.png" for i in (7, 8, 9)
    ]


def _kill_packing(patch: pytest.MonkeyPatch) -> None:
    """After the first shard, before the second is put."""
    pack_up = shard_work.ShardWork._pack

    def kill(self: Any, shard: str, *arguments: Any) -> Any:
        if shard != FIRST:
            raise Killed
        return pack_up(self, shard, *arguments)

    patch.setattr(shard_work.ShardWork, "_pack", kill)
    patch.setattr(shards.ShardJob, "finish", lambda self: None)


def _kill_between_shard_and_lines(patch: pytest.MonkeyPatch) -> None:
    add = ShardManifest.add

    def kill(self: Any, entries: Any) -> None:
        if entries[-1].path != FIRST:
            raise Killed
        add(self, entries)

    patch.setattr(ShardManifest, "add", kill)
    patch.setattr(shards.ShardJob, "finish", lambda self: None)


def _kill_between_manifest_and_parts(patch: pytest.MonkeyPatch) -> None:
    """At the end of a run: lines are joined into the manifest, but there as parts, too."""
    remove = StoredFolder.remove

    def kill(self: StoredFolder, path: str) -> None:
        if "manifest" in path:
            raise Killed
        remove(self, path)

    patch.setattr(StoredFolder, "remove", kill)


KILLS = [_kill_packing, _kill_between_shard_and_lines, _kill_between_manifest_and_parts]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("share", [(1, 1), (1, 2)])
@pytest.mark.parametrize("kill", KILLS)
def test_a_killed_run_is_completed_to_the_same_bytes(
    translator: Translator,
    inputs: Path,
    memory: str,
    monkeypatch: pytest.MonkeyPatch,
    kill: Callable[[pytest.MonkeyPatch], None],
    share: tuple[int, int],
) -> None:
    options = FolderOptions(style="random", skip_existing=True, shard=share)
    translator.translate_shards(inputs, f"{memory}whole", "B", options)
    whole = contents(f"{memory}whole")
    with monkeypatch.context() as patch:
        kill(patch)
        with pytest.raises(Killed):
            translator.translate_shards(inputs, f"{memory}out", "B", options)
    left = contents(f"{memory}out")
    assert any(name.startswith(f"{STATE}/{MANIFEST}-") for name in left)
    assert {name: whole[name] for name in left if name.endswith(".tar")}.items() <= left.items()
    status = read_status(f"{memory}out")
    assert status.total == 3
    assert status.done + status.left == 3

    translator.translate_shards(inputs, f"{memory}out", "B", options)
    assert contents(f"{memory}out") == whole


@pytest.mark.usefixtures("impatient")
def test_another_work_joins_the_lines_of_a_killed_run_once(
    translator: Translator, inputs: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _kill_between_manifest_and_parts(patch)
        with pytest.raises(Killed):
            translator.translate_shards(inputs / "x-0.tar", f"{memory}out", "B", RANDOM)
    translator.translate_shards(inputs / "x-1.tar", f"{memory}out", "B", AGAIN)
    translator.translate_shards(inputs / "x-0.tar", f"{memory}whole", "B", RANDOM)
    translator.translate_shards(inputs / "x-1.tar", f"{memory}whole", "B", AGAIN)
    assert contents(f"{memory}out") == contents(f"{memory}whole")


def test_shares_fill_one_place_at_once(
    translator: Translator, inputs: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LOOK", 0.05)
    translator.translate_shards(inputs, f"{memory}whole", "B", RANDOM)

    def work(i: int) -> None:
        options = FolderOptions(style="random", shard=(i, 2))
        translator.translate_shards(inputs, f"{memory}out", "B", options)

    threads = [threading.Thread(target=work, args=(i,)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines_at(f"{memory}out") == lines_at(f"{memory}whole")
    found = contents(f"{memory}out")
    whole = contents(f"{memory}whole")
    assert found.keys() == whole.keys()
    assert all(found[name] == whole[name] for name in found if name != MANIFEST)


def test_lines_of_a_share_at_work_are_there_once_in_the_end(
    translator: Translator, inputs: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second share joins what the first has appended, which then appends more."""
    monkeypatch.setattr(lease, "LOOK", 0.05)
    translator.translate_shards(inputs, f"{memory}whole", "B", RANDOM)

    works = iter([FolderOptions(style="random", shard=(i, 2)) for i in (1, 2)])

    def work(_: object = None) -> None:
        options = next(works, None)
        if options is not None:
            translator.translate_shards(inputs, f"{memory}out", "B", options)

    monkeypatch.setattr(RunNote, "add", work)  # when the first shard's lines are there
    work()
    assert lines_at(f"{memory}out") == lines_at(f"{memory}whole")
    assert contents(f"{memory}out").keys() == contents(f"{memory}whole").keys()


def test_an_upload_that_fails_fails_its_shard_alone(
    translator: Translator, bucket_tried_once: str, tmp_path: Path
) -> None:
    for name in ("a", "unlucky", "z"):
        pack(tmp_path / "in" / f"{name}.tar", {"a.png": picture(tmp_path), "a.json": b"{}"})
    done = translator.translate_shards(tmp_path / "in", f"{bucket_tried_once}/out", "B")
    assert (done.ok, done.failed) == (2, 1)
    [(name, reason)] = done.failures
    assert name == "unlucky.tar"
    assert reason.startswith(f"{bucket_tried_once}/out/unlucky.tar: ")
    assert "Out of order" in reason
    assert contents(f"{bucket_tried_once}/out").keys() == {"a.tar", "z.tar", MANIFEST}


def test_outputs_do_not_go_where_the_shards_are(
    translator: Translator, inputs: Path, memory: str, tmp_path: Path
) -> None:
    address = upload(inputs, f"{memory}place/in")
    for given, out in (
        (f"{address}/x-0.tar", address),
        (f"{address}/x-{{0..1}}.tar", address),
        ([f"{address}/x-0.tar", f"{address}/x-1.tar"], f"{memory}place"),
        (f"{address}/*.tar", f"{address}/out"),
    ):
        with pytest.raises(ValueError, match="the output folder may not be inside the input"):
            translator.translate_shards(given, out, "B")
    braces = f"{address}/x-{{0..1}}.tar"
    assert translator.translate_shards(braces, f"{address}/out", "B").ok == 4
    assert translator.translate_shards(braces, f"{memory}place/in2", "B").ok == 4
    with pytest.raises(ValueError, match="can only be read; write into a folder"):
        translator.translate_shards(inputs, "https://host/out", "B")
    with pytest.raises(ValueError, match="name a folder to write into") as caught:
        translator.translate_shards(inputs, "sftp://me:verysecret@host/out.tar", "B")
    assert "verysecret" not in str(caught.value)


def test_the_status_counts_shards_in_a_store(
    translator: Translator, inputs: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inputs / "x-2.tar").write_bytes(b"")
    out = f"{memory}out"
    found = []
    monkeypatch.setattr(RunNote, "add", lambda self: found.append(read_status(out)))
    translator.translate_shards(inputs, out, "B", FolderOptions(shard=(2, 2)))
    translator.translate_shards(inputs, out, "B", FolderOptions(shard=(1, 2)))
    assert [(s.done, s.failed, s.left, s.running) for s in found] == [
        (1, 0, 3, 1),
        (1, 1, 2, 1),
        (2, 1, 1, 1),
        (3, 1, 0, 1),
    ]
    assert [(share.shard, share.done, share.left) for share in found[2].shards] == [((1, 2), 1, 1)]
    status = read_status(out)
    assert (status.total, status.done, status.failed, status.running) == (4, 3, 1, 0)


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_whole_shards_and_is_completed(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = build(tmp_path)
    for i in range(12):
        pack(tmp_path / "in" / f"x-{i:02}.tar", samples(tmp_path, 12, 12 * i))
    address = f"{upload(tmp_path / 'in', f'{bucket}/in')}/x-{{00..11}}.tar"
    translator.translate_shards(address, f"{bucket}/whole", "B")
    whole = contents(f"{bucket}/whole")

    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the killed one leaves files
    command = ["translate", save(tmp_path), address, f"{bucket}/out", "--to", "B", "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "pipelines.cli", *map(str, command)])
    out = StoredFolder(f"{bucket}/out")
    end = time.monotonic() + 240
    while sum(name.endswith(".tar") for name in out.find()) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = {n: data for n, data in contents(f"{bucket}/out").items() if n.endswith(".tar")}
    assert 3 <= len(left) < 12, "killed too late"
    assert left.items() <= whole.items()
    assert read_status(f"{bucket}/out").total == 12

    monkeypatch.setattr(lease, "PATIENCE", 1.0)
    again = translator.translate_shards(
        address, f"{bucket}/out", "B", FolderOptions(skip_existing=True)
    )
    assert again.failed == 0
    assert again.skipped >= 12 * (len(left) - 1)
    assert contents(f"{bucket}/out") == whole
