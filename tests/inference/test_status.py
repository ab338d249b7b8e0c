"""How far a translation is, while it goes on and afterwards, by one run or by several."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests._helpers.commands import call
from tests._helpers.folders import draw
from translate.inference import manifest as manifests
from translate.inference import status as statuses
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import belongs, only_run
from translate.inference.status import Status, read_status
from translate.inference.translator import Translator
from translate.io.folders import LocalFolder

COUNT = 12


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for i in range(COUNT):
        draw(tmp_path / "in" / f"{i:02}.png", seed=i)
    return tmp_path / "in"


@pytest.fixture
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "BATCH", 1)
    monkeypatch.setattr(statuses, "SECONDS", 0.0)


def test_what_a_run_has_done_is_summed(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = translator.translate_folder(inputs, out, "B")
    status = read_status(out)
    assert (status.total, status.left, status.running) == (17, 0, 0)
    assert (status.done, status.skipped, status.failed) == (done.ok, done.skipped, done.failed)
    assert (status.rate, status.seconds_left, status.shards) == (None, None, ())
    translator.translate_folder(inputs, out, "B", FolderOptions(skip_existing=True))
    assert read_status(out) == status, "what is up to date is done"


@pytest.mark.usefixtures("told_at_once")
def test_a_run_tells_while_it_goes_on(
    translator: Translator, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "out"
    seen: list[Status] = []

    def look(done: float, total: int) -> None:
        if (out / "manifest.jsonl").exists():
            seen.append(read_status(out))

    translator.translate_folder(pictures, out, "B", progress=look)
    # progress is told of before the journal
    assert [status.left for status in seen] == [COUNT, *range(COUNT, 0, -1)]
    assert all(status.running == 1 and status.total == COUNT for status in seen)
    last = seen[-1]
    assert last.failed == 1, "known before the end"
    assert last.rate is not None
    assert last.rate > 0
    assert last.seconds_left == pytest.approx(last.left / last.rate)
    assert read_status(out).running == 0
    assert not list(out.glob(".*"))


@pytest.mark.usefixtures("told_at_once")
def test_shards_are_told_apart(translator: Translator, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sizes = [sum(belongs(f"{i:02}.png", (k, 3)) for i in range(COUNT)) for k in (1, 2, 3)]
    assert all(sizes)
    translator.translate_folder(pictures, out, "B", FolderOptions(shard=(1, 3)))
    before = read_status(out)
    assert (before.done, before.left, before.running) == (sizes[0], COUNT - sizes[0], 0)

    seen: list[Status] = []
    translator.translate_folder(
        pictures,
        out,
        "B",
        FolderOptions(shard=(2, 3)),
        lambda done, total: seen.append(read_status(out)),
    )
    first, last = seen[0], seen[-1]
    assert (first.done, first.left, first.running) == (sizes[0], COUNT - sizes[0], 1)
    (share,) = last.shards
    assert (share.shard, share.running) == ((2, 3), True)
    assert share.done + share.left == sizes[1]
    assert last.left == share.left + sizes[2], "those of the shard that has not begun"
    assert read_status(out).left == sizes[2]


def test_a_killed_run_is_not_taken_for_one_at_work(
    translator: Translator, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_folder(pictures, out, "B", FolderOptions(shard=(1, 2)))
    (out / ".introshift-run-2-of-2.lock").touch()
    note = {"started": 0.0, "told": 10.0, "done": 5}
    (out / ".introshift-run-2-of-2.json").write_text(json.dumps(note))
    (share,) = read_status(out).shards
    assert (share.shard, share.running, share.rate) == ((2, 2), False, None)
    with only_run(LocalFolder(out), (2, 2)):
        status = read_status(out)
    assert (status.running, status.rate) == (1, 0.5)
    assert status.seconds_left == 2 * status.left

    translator.translate_folder(pictures, out, "B", FolderOptions(overwrite=True))
    assert not list(out.glob(".*")), "the next run of all takes it away"


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"told": "x"}', '{"other": 1}', "null"])
def test_a_damaged_note_is_passed_over(
    translator: Translator, pictures: Path, tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    translator.translate_folder(pictures, out, "B")
    (out / ".introshift-run-1-of-1.json").write_text(damage)
    assert read_status(out).shards == ()


def test_the_command_says_it_for_people_and_programs(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_folder(inputs, out, "B", FolderOptions(shard=(1, 2)))
    code, text, err = call("status", str(out), "--json")
    assert (code, err) == (0, "")
    data = json.loads(text)
    status = read_status(out)
    assert data["left"] == status.left > 0
    assert data["shards"] == []

    (out / ".introshift-run-2-of-2.json").write_text('{"started": 0, "told": 1}')
    code, text, _ = call("status", str(out))
    assert code == 0
    first, head, row = text.splitlines()
    assert f"{status.done} of {status.total - status.skipped} translated" in first
    assert "no run at work" in first
    assert head.split()[:2] == ["shard", "state"]
    assert row.split()[:2] == ["2/2", "killed"]


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    code, _, err = call("status", str(tmp_path))
    assert code == 2
    assert "no manifest.jsonl in it; give the output folder" in err


def test_the_status_needs_no_torch(translator: Translator, pictures: Path, tmp_path: Path) -> None:
    translator.translate_folder(pictures, tmp_path / "out", "B")
    code = (
        "import sys\nfrom pipelines.cli import app\n"
        f"try: app(['status', {str(tmp_path / 'out')!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
