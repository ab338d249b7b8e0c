"""`--engine ray`: the bytes and the manifest of a run on one machine, whatever the workers do."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests._helpers.commands import call
from tests._helpers.folders import draw, files, manifest
from tests._helpers.s3 import contents, upload
from translate.inference.folder import FolderJob
from translate.inference.folder_options import FolderOptions
from translate.inference.folder_work import FolderWork, Places
from translate.inference.manifest import NO_SPACE, NOT_REACHED, STOPPED, Entry
from translate.inference.ray_engine import BlockWorker, Made, RayEngine, ray_engine
from translate.inference.translator import Translator
from translate.io.files import DiskFullError
from translate.io.folders import LocalFolder

ray = pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]
# 127.0.0.1, the same in IPv6, and ::1
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@dataclass(frozen=True)
class WithoutCluster(RayEngine):
    """The engine with its workers in this process: blocks go through what Ray sends them by.

    Args:
        size: of a block.
        order: in which blocks are done: 1 or -1.
        full: the disk that is full after the first.
    """

    size: int = 3
    order: int = 1
    full: str = ""

    def _blocks(self, work: FolderWork, entries: Sequence[Entry]) -> Generator[Made]:
        rows = self._rows(entries, self.size)[:: self.order]
        assert len(rows) > 2
        for row in rows:
            pickled = ray.cloudpickle.dumps(work.task)
            worker = BlockWorker(pickled, pickle.loads(pickle.dumps(work.places.absolute())))
            made = worker({name: np.array([text], dtype=object) for name, text in row.items()})
            full, results = json.loads(made["block"][0])
            yield full or self.full, results


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for i in range(12):
        draw(tmp_path / "in" / f"{i:02}.png", 16 + i, 20, seed=i)
    return tmp_path / "in"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "options",
    [
        FolderOptions(),
        FolderOptions(style="random", samples=2, format="webp", suffix="-new"),
        FolderOptions(frames="first", strip=True, batch_size=2),
    ],
    ids=["default", "variants", "first"],
)
def test_blocks_make_the_files_and_the_manifest_of_one_run(
    translator: Translator, inputs: Path, tmp_path: Path, options: FolderOptions, order: int
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    expected = translator.translate_folder(inputs, whole, "B", options)
    calls: list[tuple[float, int]] = []
    summary = translator.translate_folder(
        inputs,
        out,
        "B",
        options,
        lambda done, total: calls.append((done, total)),
        WithoutCluster(order=order),
    )
    assert expected.failed == 2
    assert replace(summary, seconds=0) == replace(expected, seconds=0)
    assert files(out) == files(whole)
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    assert calls == [(done, 17) for done in range(1, 18)]

    again = replace(options, skip_existing=True)
    skipped = translator.translate_folder(inputs, out, "B", again)
    assert skipped.reasons["up to date"] == 14, "by the keys of the one engine for the other"


def test_workers_read_and_write_at_addresses(
    translator: Translator, pictures: Path, memory: str, tmp_path: Path
) -> None:
    translator.translate_folder(pictures, tmp_path / "out", "B")
    address = upload(pictures, f"{memory}in")
    translator.translate_folder(address, f"{memory}out", "B", engine=WithoutCluster())
    listed = [f"{address}/{path.name}" for path in pictures.iterdir()]
    translator.translate_folder(listed, f"{memory}listed", "B", engine=WithoutCluster())
    expected = files(tmp_path / "out")
    for found, above in ((contents(f"{memory}out"), ""), (contents(f"{memory}listed"), "in/")):
        del found["manifest.jsonl"]
        assert found == {f"{above}{name}": data for name, data in expected.items()}


def test_a_list_of_relative_names_is_found_by_workers_in_other_folders(
    translator: Translator, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [path.relative_to(tmp_path) for path in sorted(pictures.iterdir())]
    work = BlockWorker.__call__

    def elsewhere(self: BlockWorker, rows: dict[str, Any]) -> Any:
        with monkeypatch.context() as patch:
            patch.chdir("/")
            return work(self, rows)

    monkeypatch.setattr(BlockWorker, "__call__", elsewhere)
    done = translator.translate_folder(names, Path("out"), "B", engine=WithoutCluster())
    assert done.ok == 12
    assert sorted(files(tmp_path / "out")) == [f"in/{i:02}.png" for i in range(12)]


def test_ctrl_c_ends_the_run_after_a_block(
    translator: Translator, pictures: Path, tmp_path: Path
) -> None:
    def press(done: float, total: int) -> None:
        if done == 1:
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        translator.translate_folder(
            pictures, out, "B", progress=press, engine=WithoutCluster(size=4)
        )
    lines = manifest(out)
    assert [line["status"] for line in lines.values()] == ["ok"] * 4 + ["skipped"] * 8
    assert {line["reason"] for line in lines.values()} == {None, NOT_REACHED}
    rest = translator.translate_folder(
        pictures, out, "B", FolderOptions(skip_existing=True), engine=WithoutCluster(size=2)
    )
    assert rest.ok == 8


def test_on_error_stop_does_what_comes_before_the_failure(
    translator: Translator, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "05.png").write_bytes(b"no picture")
    options = FolderOptions(on_error="stop", strict=True, batch_size=1, workers=1)
    done = translator.translate_folder(
        pictures, tmp_path / "out", "B", options, engine=WithoutCluster(size=4)
    )
    assert done.failed == 1
    reasons = [line["reason"] for line in manifest(tmp_path / "out").values()]
    assert reasons[:5] == [None] * 5
    assert reasons[8:] == [STOPPED] * 4


def test_a_full_disk_of_a_worker_ends_the_run(
    translator: Translator, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(DiskFullError, match="make room, then run again with --skip-existing"):
        translator.translate_folder(pictures, out, "B", engine=WithoutCluster(size=4, full="out"))
    assert [line["reason"] for line in manifest(out).values()] == [None] * 4 + [NO_SPACE] * 8


def test_a_worker_tells_of_a_full_disk(
    translator: Translator, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    job = FolderJob(translator.predictor, pictures, out, "B")
    for step in (job.scan, job.plan, job.look, job.skip):
        step()
    worker = BlockWorker(ray.cloudpickle.dumps(job.task), Places(LocalFolder(pictures), job.target))

    def no_room(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("translate.io.images.write_image", no_room)
    block = [(7, {"path": "03.png", "outputs": ["03.png"], "warnings": []})]
    full, ((place, facts),) = worker.translate(block)
    assert (full, place, facts["status"]) == (str(out), 7, "failed")
    assert facts["reason"] == "cannot be written: no space left on device"


def test_what_a_machine_does_not_see_is_named(translator: Translator, tmp_path: Path) -> None:
    task = pickle.dumps(None)
    with pytest.raises(ValueError, match="in: not seen on .*; IN, OUT and MODEL must be"):
        BlockWorker(task, Places(LocalFolder(tmp_path / "in"), LocalFolder(tmp_path)))
    with pytest.raises(ValueError, match="out: not seen on"):
        BlockWorker(task, Places(LocalFolder(tmp_path), LocalFolder(tmp_path / "out")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out", "--engine", "dask"], "--engine dask: unknown; use local or ray"),
        (["out", "--address", "auto"], "--address: goes with --engine ray"),
        (["out", "--num-actors", "2"], "--num-actors: goes with --engine ray"),
        (["out", "--engine", "ray", "--shard", "1/2"], "--shard: is for runs that share OUT"),
        (["out.png", "--engine", "ray"], "--engine ray: is for many pictures"),
        (["out", "--engine", "ray", "--address", "ray://a:1"], "--address ray://a:1: run the"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    translator: Translator, tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert translator.predictor.origin is not None
    model = translator.predictor.origin.path
    picture = draw(tmp_path / "a.png")
    code, out, err = call("translate", model, picture, tmp_path / arguments[0], *arguments[1:])
    assert (code, out) == (2, "")
    assert err.startswith(f"introshift: {message}")
    assert len(err.splitlines()) == 1


def test_where_ray_is_missing_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'introshift\[ray\]'"), ray_engine():
        pass


# -- with a cluster --


def is_ours(process: Path) -> bool:
    """Whether a process descends from this one, as all that Ray starts here."""
    while process.name not in ("0", "1"):
        if process.name == str(os.getpid()):
            return True
        after_name = (process / "stat").read_text().rpartition(")")[2]
        process = process.with_name(after_name.split()[1])
    return False


def workers_at_work() -> list[int]:
    """Processes of Ray's actors that have a block in work: their titles say so."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                title = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if b".submit" in title and title.startswith(b"ray::MapWorker") and is_ours(process):
                found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    translator: Translator, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    for i in range(300):
        draw(folder / f"{i:03}.png", 64, 48, seed=i)
    (folder / "bad.png").write_bytes(b"no picture")
    options = FolderOptions(style="random", strict=True)
    whole, out = tmp_path / "whole", tmp_path / "out"
    translator.translate_folder(folder, whole, "B", options)

    killed: list[int] = []
    after: set[int] = set()

    def kill(done: float, total: int) -> None:
        if not killed and 20 < done < total / 2:
            for worker in workers_at_work()[:1]:
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
        elif killed:
            after.update(workers_at_work())

    with ray_engine(actors=2) as engine:
        done = translator.translate_folder(folder, out, "B", options, kill, engine)
    assert len(killed) == 1, "it had a block in work"
    assert after - set(killed), "others went on"
    assert (done.ok, done.failed) == (300, 1)
    assert files(out) == files(whole)
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    assert not ray.is_initialized()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net/tcp")
def test_the_command_starts_a_cluster_that_no_other_machine_reaches(
    translator: Translator, pictures: Path, tmp_path: Path
) -> None:
    assert translator.predictor.origin is not None
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pipelines.cli", "translate"]
    arguments = [translator.predictor.origin.path, pictures, out, "--to", "B", "--json"]
    options = ["--engine", "ray", "--num-actors", "2"]
    seen: set[str] = set()
    with subprocess.Popen(
        [*command, *map(str, arguments), *options], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        while process.poll() is None:
            seen |= listening()
            time.sleep(0.5)
        assert process.stdout is not None
        assert json.load(process.stdout)["ok"] == 12
    assert len(files(out)) == 12
    assert len(seen) > 3, "Ray's processes listen"
    assert {address.partition(":")[0] for address in seen} <= LOOPBACK


def listening() -> set[str]:
    """Addresses that processes below this one listen at, as /proc has them, in hexadecimal."""
    sockets = set()
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdecimal() and is_ours(process):
                sockets |= {os.readlink(file) for file in (process / "fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and f"socket:[{columns[9]}]" in sockets:
                found.add(columns[1])
    return found
