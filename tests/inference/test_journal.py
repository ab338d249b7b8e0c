"""What a run puts on the disk before it ends, and what the next one makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests._helpers.folders import draw, files, manifest
from tests._helpers.kills import killed_after
from translate.inference import manifest as manifests
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import Entry, Journal, only_run
from translate.inference.translator import Translator
from translate.io import files as writing
from translate.io.files import Stamp
from translate.io.folders import LocalFolder, run_lock

AGAIN = FolderOptions(skip_existing=True)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    for i in range(11):
        draw(tmp_path / "in" / f"{i % 2}" / f"{i:02}.png", seed=i)
    return tmp_path / "in"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "BATCH", 2)


def done(out: Path) -> list[str]:
    """Inputs that the manifest of a killed run vouches for."""
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    return [line["source"] for line in lines if line["status"] == "ok"]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("shard", [(1, 1), (1, 2)])
def test_a_killed_run_loses_its_last_batch_alone(
    translator: Translator, inputs: Path, tmp_path: Path, shard: tuple[int, int]
) -> None:
    out = tmp_path / "out"
    whole = translator.translate_folder(inputs, tmp_path / "whole", "B", FolderOptions(shard=shard))
    with killed_after(whole.ok - 1) as ended:
        translator.translate_folder(inputs, out, "B", FolderOptions(shard=shard))
    vouched = (whole.ok - 1) // 2 * 2
    assert sorted(done(out)) == sorted(ended[:vouched])
    assert vouched >= 2

    with open(out / "manifest.jsonl", "a") as file:
        file.write('{"source": "cut off by the ki')
    again = translator.translate_folder(
        inputs, out, "B", FolderOptions(shard=shard, skip_existing=True)
    )
    assert again.ok == whole.ok - vouched
    assert files(out) == files(tmp_path / "whole")
    lines = manifest(out)  # a line for each again
    for name, line in manifest(tmp_path / "whole").items():
        kept = ("output", "output_bytes", "output_sha256", "key", "width", "height")
        assert {part: lines[name][part] for part in kept} == {part: line[part] for part in kept}


@pytest.mark.usefixtures("small_batches")
def test_pictures_are_on_the_disk_before_a_line_vouches_for_them(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    fsync = os.fsync
    synced: set[int] = set()  # inodes
    vouched = []

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def check(lines: list[str]) -> None:
        for line in map(json.loads, lines):
            if line["status"] == "ok":
                path = out / line["output"]
                assert {path.stat().st_ino, path.parent.stat().st_ino} <= synced
                vouched.append(line["source"])

    append_lines = writing.append_lines
    write_lines = writing.write_lines

    def checked_append(path: Path, lines: list[str]) -> None:
        check(lines)
        append_lines(path, lines)

    def checked_write(path: Path, lines: Iterable[str]) -> None:
        found = list(lines)
        check(found)
        write_lines(path, found)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(writing, "append_lines", checked_append)
    monkeypatch.setattr(writing, "write_lines", checked_write)
    translator.translate_folder(inputs, out, "B")
    assert len(vouched) == 10 + 11  # five batches, then all


def test_an_output_that_does_not_reach_the_disk_fails_alone(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    entries = [Entry(name, "ok", None, (name,), "key", (16, 16)) for name in ("a.png", "gone.png")]
    journal = Journal(LocalFolder(tmp_path), (1, 1))
    journal.sync(entries)
    assert [entry.status for entry in entries] == ["ok", "failed"]
    assert "no such file" in str(entries[1].reason)


def test_damaged_outputs_are_made_again(
    translator: Translator, inputs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    translator.translate_folder(inputs, out, "B")
    whole = files(out)
    (out / "0" / "00.png").write_bytes(b"")
    (out / "1" / "01.png").write_bytes(whole["1/01.png"] + b"more")
    assert translator.translate_folder(inputs, out, "B", AGAIN).ok == 2
    assert files(out) == whole
    assert "2 outputs, such as" in caplog.text

    # of the same size: found by reading alone
    changed = bytearray(whole["0/02.png"])
    changed[-30] ^= 1
    (out / "0" / "02.png").write_bytes(changed)
    assert translator.translate_folder(inputs, out, "B", AGAIN).ok == 0
    verify = FolderOptions(skip_existing=True, verify=True)
    assert translator.translate_folder(inputs, out, "B", verify).ok == 1
    assert files(out) == whole


def test_the_manifest_knows_the_content_of_every_output(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {"style": "random", "samples": 2}
    translator.translate_folder(inputs, out, "B", FolderOptions(**options))
    for _ in range(2):  # those that are up to date keep it
        for line in manifest(out).values():
            stamps = [Stamp.of(out / path) for path in line["output"]]
            assert line["output_bytes"] == [stamp.size for stamp in stamps]
            assert line["output_sha256"] == [stamp.sha256 for stamp in stamps]
        translator.translate_folder(inputs, out, "B", FolderOptions(skip_existing=True, **options))


def test_a_manifest_of_an_older_version_is_believed(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_folder(inputs, out, "B")
    lines = manifest(out).values()
    for line in lines:
        del line["output_bytes"], line["output_sha256"]
    (out / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert translator.translate_folder(inputs, out, "B", AGAIN).ok == 0


@pytest.mark.parametrize(
    ("working", "refused"),
    [
        ((1, 1), (1, 1)),
        ((1, 1), (2, 3)),
        ((2, 3), (1, 1)),
        ((2, 3), (2, 3)),
        ((1, 2), (2, 3)),
        ((1, 2), (2, 2)),
    ],
)
def test_runs_into_one_folder_wait_for_no_one_and_spoil_nothing(
    translator: Translator,
    inputs: Path,
    tmp_path: Path,
    working: tuple[int, int],
    refused: tuple[int, int],
) -> None:
    out = tmp_path / "out"
    options = FolderOptions(shard=refused, overwrite=True)
    with only_run(LocalFolder(out), working):
        before = sorted(out.iterdir())
        if working == (1, 2) and refused == (2, 2):  # shards of one number
            assert translator.translate_folder(inputs, out, "B", options).ok
        else:
            with pytest.raises(ValueError, match="out: another run is writing into it"):
                translator.translate_folder(inputs, out, "B", options)
            assert sorted(out.iterdir()) == before
    (out / run_lock("1-of-7")).touch()  # of a run that was killed
    assert translator.translate_folder(inputs, out, "B", FolderOptions(overwrite=True)).ok == 11
    assert not list(out.glob(".*"))
