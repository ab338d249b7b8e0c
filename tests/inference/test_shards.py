"""WebDataset shards in and out, read by webdataset itself."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests._helpers.folders import draw, files
from tests._helpers.kills import Killed
from tests._helpers.s3 import upload
from tests._helpers.shards import contents, pack, picture, read, samples
from translate.inference import shard_work, shards
from translate.inference.folder_options import FolderOptions
from translate.inference.shard_manifest import ShardManifest
from translate.inference.shard_plan import WITH_SAMPLE, WITH_SHARD
from translate.inference.shards import find_shards
from translate.inference.status import RunNote, read_status
from translate.inference.translator import Translator
from translate.io.files import Stamp
from translate.io.folders import WORK

RANDOM = FolderOptions(style="random")
AGAIN = FolderOptions(style="random", skip_existing=True)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Two shards, x-0.tar and x-1.tar, of three samples each."""
    for i in range(2):
        pack(tmp_path / "in" / f"x-{i}.tar", samples(tmp_path, 3, 3 * i))
    return tmp_path / "in"


def lines(out: Path) -> dict[str, dict[str, Any]]:
    """The manifest's lines by their source, of which each has one."""
    found = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    sources = [line["source"] for line in found]
    assert len(sources) == len(set(sources))
    return dict(zip(sources, found, strict=True))


# -- what is in the new shards --


def test_webdataset_reads_the_samples_with_translated_pictures(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    done = translator.translate_shards(inputs, tmp_path / "out", "B", RANDOM)
    assert (done.ok, done.skipped, done.failed) == (6, 0, 0)
    assert (done.source, done.to) == ("A", "B")
    for i in range(2):
        name = f"x-{i}.tar"
        # the same pictures as files of a folder, whose path begins with the shard's name
        for member, data in contents(inputs / name).items():
            path = tmp_path / "files" / name / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        translator.translate_folder(tmp_path / "files", tmp_path / "folder", "B", RANDOM)
        before = read(inputs / name, "rgb8")
        after = read(tmp_path / "out" / name, "rgb8")
        assert [list(sample) for sample in after] == [list(sample) for sample in before]
        for old, new in zip(before, after, strict=True):
            assert (new["__key__"], new["json"], new["cls"]) == (
                old["__key__"],
                old["json"],
                old["cls"],
            )
            path = tmp_path / "folder" / name / f"{new['__key__']}.png"
            assert contents(tmp_path / "out" / name)[path.name] == path.read_bytes()
            assert not np.array_equal(new["png"], old["png"])
        shutil.rmtree(tmp_path / "files")
        shutil.rmtree(tmp_path / "folder")


def test_equal_inputs_give_equal_bytes(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    translator.translate_shards(inputs, tmp_path / "one", "B", RANDOM)
    # alone, elsewhere, at another time, from a tar with other times and owners
    members = contents(inputs / "x-1.tar")
    alone = pack(tmp_path / "far" / "x-1.tar", members)
    with tarfile.open(alone, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            (tmp_path / "member").write_bytes(data)
            tar.add(tmp_path / "member", name)
    translator.translate_shards(alone, tmp_path / "two", "B", RANDOM)
    assert files(tmp_path / "two") == {"x-1.tar": files(tmp_path / "one")["x-1.tar"]}


def test_the_manifest_has_a_line_for_every_picture_and_shard(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_shards(inputs, out, "B", RANDOM)
    found = lines(out)
    names = [f"x-{i // 3}.tar/{i:04}.png" for i in range(6)]
    assert list(found) == [*names[:3], "x-0.tar", *names[3:], "x-1.tar"]
    for source, line in found.items():
        assert (line["output"], line["status"], line["reason"]) == (source, "ok", None)
        assert len(line["key"]) == 64
        shard, _, member = source.partition("/")
        data = contents(out / shard)[member] if member else (out / shard).read_bytes()
        (tmp_path / "data").write_bytes(data)
        stamp = Stamp(line["output_bytes"], line["output_sha256"])
        assert stamp == Stamp.of(tmp_path / "data")
    assert (found["x-1.tar/0005.png"]["width"], found["x-1.tar/0005.png"]["height"]) == (12, 15)
    assert sorted(path.name for path in out.iterdir()) == ["manifest.jsonl", "x-0.tar", "x-1.tar"]


def test_a_sample_whose_picture_fails_is_left_out_as_a_whole(
    translator: Translator, tmp_path: Path
) -> None:
    members = {
        "a.input.png": picture(tmp_path, 1),
        "a.mask.png": b"no picture",
        "a.json": b"{}",
        "b.png": picture(tmp_path, 2),
        "c.txt": b"no picture in this sample",
    }
    pack(tmp_path / "in" / "x.tar", members)
    done = translator.translate_shards(tmp_path / "in" / "x.tar", tmp_path / "out", "B")
    assert (done.ok, done.skipped, done.failed) == (1, 1, 1)
    assert done.reasons == {WITH_SAMPLE: 1}
    assert done.failures[0][0] == "x.tar/a.mask.png"
    assert list(contents(tmp_path / "out" / "x.tar")) == ["b.png", "c.txt"]
    found = lines(tmp_path / "out")
    assert found["x.tar/a.input.png"]["reason"] == WITH_SAMPLE
    assert found["x.tar/a.input.png"]["output"] is None
    assert found["x.tar"]["status"] == "ok"

    members["a.mask.png"] = b"a mask that stays"
    pack(tmp_path / "in" / "x.tar", members)
    done = translator.translate_shards(
        tmp_path / "in" / "x.tar", tmp_path / "masks", "B", members=["input.PNG", ".png"]
    )
    assert (done.ok, done.failed) == (2, 0)
    made = contents(tmp_path / "masks" / "x.tar")
    assert list(made) == list(members)
    assert made["a.mask.png"] == b"a mask that stays"


def test_variants_and_formats(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    options = FolderOptions(style="random", samples=2, format="webp")
    translator.translate_shards(inputs / "x-0.tar", tmp_path / "out", "B", options)
    found = read(tmp_path / "out" / "x-0.tar", "rgb8")
    keys = [sample["__key__"] for sample in found]
    assert keys == ["0000_1", "0000_2", "0001_1", "0001_2", "0002_1", "0002_2"]
    assert all(set(sample) == {"__key__", "webp", "json", "cls"} for sample in found)
    assert found[0]["json"] == found[1]["json"] == {"number": 0}
    assert not np.array_equal(found[0]["webp"], found[1]["webp"])
    assert lines(tmp_path / "out")["x-0.tar/0001.png"]["output"] == [
        "x-0.tar/0001_1.webp",
        "x-0.tar/0001_2.webp",
    ]


def test_compressed_shards_stay_so(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    members = contents(inputs / "x-0.tar")
    pack(tmp_path / "gz" / "x-0.tar.gz", members, "w:gz")
    translator.translate_shards(tmp_path / "gz", tmp_path / "out", "B")
    translator.translate_shards(inputs / "x-0.tar", tmp_path / "plain", "B")
    made = tmp_path / "out" / "x-0.tar.gz"
    assert made.read_bytes()[:2] == b"\x1f\x8b"
    assert contents(made) == contents(tmp_path / "plain" / "x-0.tar")


# -- what cannot be used --


def test_bad_shards_are_named_and_the_others_go_on(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    whole = (inputs / "x-0.tar").read_bytes()
    (inputs / "cut.tar").write_bytes(whole[:2000])
    (inputs / "empty.tar").touch()
    (inputs / "none.tar").write_bytes(b"no tar at all" * 100)
    pack(inputs / "nothing.tar", {})
    pack(inputs / "text.tar", {"a.json": b"{}", "a.txt": b""})
    pack(inputs / "broken.tar", {"a.png": b"no picture", "b.png": b""})
    done = translator.translate_shards(inputs, tmp_path / "out", "B")
    assert done.ok == 6
    failures = dict(done.failures)
    assert "cut off" in failures["cut.tar"]
    assert failures["empty.tar"] == "is empty"
    assert "no tar" in failures["none.tar"]
    assert failures["nothing.tar"] == "no pictures in it"
    assert failures["text.tar"] == "no pictures in it, but 2 others, such as a.json"
    assert failures["broken.tar"] == "none of its pictures could be translated"
    assert len(failures) == done.failed == 8
    assert set(files(tmp_path / "out")) == {"x-0.tar", "x-1.tar"}
    found = lines(tmp_path / "out")
    assert {path: found[path]["reason"] for path in failures} == failures


def test_hostile_names_are_never_those_of_files(translator: Translator, tmp_path: Path) -> None:
    good = picture(tmp_path)
    members = {
        "../../escaped.png": good,
        "../../escaped.json": b"{}",
        str(tmp_path / "absolute.png"): good,
        "n" * 3000 + ".png": good,
        "con.png": good,
        "a?*\n\x1b[2J.png": good,
        "dir/../../up.txt": b"",
        "twice.png": good,
    }
    path = pack(tmp_path / "in" / "x.tar", members)
    with tarfile.open(path, "a") as tar:
        for name, kind in [("link.png", tarfile.SYMTYPE), ("device.png", tarfile.CHRTYPE)]:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = "/etc/passwd"
            tar.addfile(info)
        tar.add(draw(tmp_path / "twice.png"), "twice.png")
    before = set(files(tmp_path))
    done = translator.translate_shards(path, tmp_path / "out", "B")
    assert set(files(tmp_path)) - before == {"out/x.tar"}
    assert list(contents(tmp_path / "out" / "x.tar")) == list(members)[3:6]
    assert (done.ok, done.failed) == (3, 5)  # the name that is there twice counts once
    found = lines(tmp_path / "out")
    assert "leads out of the folder" in found["x.tar/../../escaped.png"]["reason"]
    assert "leads out of the folder" in found["x.tar/dir/../../up.txt"]["reason"]
    assert found["x.tar/twice.png"]["reason"] == "is 2 times in the shard; leave one"
    assert found["x.tar"]["warnings"] == ["2 links or devices left out, such as link.png"]


def test_a_shard_that_changes_under_the_work_is_not_written(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_up = shard_work.ShardWork._pack

    def touch(self: Any, shard: str, *arguments: Any) -> Stamp:
        if shard == "x-0.tar":
            os.utime(inputs / shard, (1, 1))
        return pack_up(self, shard, *arguments)

    monkeypatch.setattr(shard_work.ShardWork, "_pack", touch)
    done = translator.translate_shards(inputs, tmp_path / "out", "B")
    assert (done.ok, done.failed, done.reasons) == (3, 1, {WITH_SHARD: 3})
    assert "has changed" in done.failures[0][1]
    assert set(files(tmp_path / "out")) == {"x-1.tar"}


def test_stop_ends_before_the_shard_that_has_a_failure(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    pack(inputs / "x-00.tar", {"a.png": b"no picture", **samples(tmp_path, 2)})
    done = translator.translate_shards(
        inputs, tmp_path / "out", "B", FolderOptions(on_error="stop")
    )
    assert set(files(tmp_path / "out")) == {"x-0.tar"}
    assert "stopped at x-00.tar/a.png" in dict(done.failures)["x-00.tar"]
    found = lines(tmp_path / "out")
    assert found["x-1.tar"]["reason"] == "not reached: stopped at a failure"


def test_a_full_disk_leaves_whole_shards(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shard_work.shards.copy_member
    calls = []

    def fill(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) > 8:
            raise OSError(28, "No space left on device")
        copy(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shard_work.shards, "copy_member", fill)
        with pytest.raises(OSError, match="make room, then run again"):
            translator.translate_shards(inputs, tmp_path / "out", "B", RANDOM)
    assert set(files(tmp_path / "out")) == {"x-0.tar"}
    assert lines(tmp_path / "out")["x-1.tar"]["reason"] == "not reached: no space left on device"
    assert translator.translate_shards(inputs, tmp_path / "out", "B", AGAIN).ok == 3


# -- again --


def test_finished_shards_are_not_done_again(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    pack(inputs / "x-2.tar", {"bad.png": b"no picture", **samples(tmp_path, 2, 9)})
    translator.translate_shards(inputs, out, "B", RANDOM)
    whole = files(out)
    times = {path: (out / path).stat().st_mtime_ns for path in whole}
    done = translator.translate_shards(inputs, out, "B", AGAIN)
    assert (done.ok, done.skipped, done.failed) == (0, 8, 1)
    assert done.reasons == {"up to date": 8}
    assert {path: (out / path).stat().st_mtime_ns for path in whole} == times

    with pytest.raises(ValueError, match="--skip-existing does what is missing"):
        translator.translate_shards(inputs, out, "B", RANDOM)
    (out / "x-0.tar").unlink()
    with open(out / "x-1.tar", "ab") as file:
        file.write(bytes(10240))
    assert translator.translate_shards(inputs, out, "B", AGAIN).ok == 6
    assert files(out) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"style": "mean"},
        {"format": "webp"},
        {"samples": 2},
        {"quality": 50},
        {"strip": True},
    ],
)
def test_other_options_do_all_again(
    translator: Translator, inputs: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    translator.translate_shards(inputs, tmp_path / "out", "B", RANDOM)
    options = FolderOptions(**{"style": "random", **change, "skip_existing": True})
    assert translator.translate_shards(inputs, tmp_path / "out", "B", options).ok == 6
    assert translator.translate_shards(inputs, tmp_path / "out", "B", options).skipped == 6


def test_the_number_of_variants_counts_where_styles_are_the_pictures_own(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    for samples_each in (1, 2):
        options = FolderOptions(style="keep", samples=samples_each, skip_existing=True)
        assert translator.translate_shards(inputs, tmp_path / "out", "B", options).ok == 6


def test_other_members_and_another_shard_are_done_again(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_shards(inputs, out, "B", RANDOM)
    assert translator.translate_shards(inputs, out, "B", AGAIN, ["png"]).ok == 6
    pack(inputs / "x-0.tar", samples(tmp_path, 3, 7))
    assert translator.translate_shards(inputs, out, "B", AGAIN, ["png"]).ok == 3


def test_verify_reads_the_shards(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    translator.translate_shards(inputs, out, "B", RANDOM)
    whole = files(out)
    data = bytearray(whole["x-1.tar"])
    data[600] ^= 1
    (out / "x-1.tar").write_bytes(data)
    assert translator.translate_shards(inputs, out, "B", AGAIN).ok == 0
    verify = FolderOptions(style="random", skip_existing=True, verify=True)
    assert translator.translate_shards(inputs, out, "B", verify).ok == 3
    assert files(out) == whole


def _kill_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(shard_work.ShardWork, "_pack", kill)


def _kill_translating(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(shards.ShardJob, "_count_share", kill)


def _kill_between_shard_and_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(ShardManifest, "add", kill)


@pytest.mark.parametrize("share", [(1, 1), (1, 2)])
@pytest.mark.parametrize("kill", [_kill_packing, _kill_translating, _kill_between_shard_and_lines])
def test_a_killed_run_is_completed_to_the_same_bytes(
    translator: Translator,
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kill: Callable[[pytest.MonkeyPatch], None],
    share: tuple[int, int],
) -> None:
    out = tmp_path / "out"
    options = FolderOptions(style="random", skip_existing=True, shard=share)
    translator.translate_shards(inputs, tmp_path / "whole", "B", options)
    with monkeypatch.context() as patch:
        kill(patch)
        patch.setattr(shards.ShardJob, "finish", lambda self: None)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            translator.translate_shards(inputs, out, "B", options)
    assert any(path.name.startswith(WORK) for path in out.iterdir())
    (out / f"{WORK}3-of-7").mkdir()  # of a run in other shares
    with open(out / "manifest.jsonl", "a") as file:
        file.write('{"source": "cut off by the ki')
    translator.translate_shards(inputs, out, "B", options)
    assert files(out) == files(tmp_path / "whole")
    assert lines(out) == lines(tmp_path / "whole")


def test_a_run_that_is_interrupted_gives_the_shard_in_work_up(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def interrupt(done: float, total: int) -> None:
        if done > 1:
            os.kill(os.getpid(), 2)

    with pytest.raises(KeyboardInterrupt):
        translator.translate_shards(inputs, out, "B", RANDOM, progress=interrupt)
    assert set(files(out)) == {"x-0.tar"}
    assert lines(out)["x-1.tar"]["reason"] == "interrupted"
    assert translator.translate_shards(inputs, out, "B", AGAIN).ok == 3
    assert lines(out)["x-1.tar"]["status"] == "ok"


# -- shares and names --


def test_shares_do_whole_shards_and_fill_one_folder(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    pack(inputs / "x-2.tar", samples(tmp_path, 2, 9))
    translator.translate_shards(inputs, tmp_path / "whole", "B", RANDOM)
    out = tmp_path / "out"
    counts = []
    for i in (2, 1):
        options = FolderOptions(style="random", shard=(i, 2))
        counts.append(translator.translate_shards(inputs, out, "B", options).ok)
    assert counts == [3, 5]
    assert files(out) == files(tmp_path / "whole")
    assert lines(out) == lines(tmp_path / "whole")
    options = FolderOptions(style="random", shard=(1, 2))
    with pytest.raises(ValueError, match="--skip-existing"):
        translator.translate_shards(inputs, out, "B", options)
    assert translator.translate_shards(inputs, out, "B", AGAIN).skipped == 8


def test_what_stands_for_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "d"
    for name in ("x-0.tar", "x-1.tar", "deep/y.tgz", ".hidden.tar", "manifest.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    both = ["x-0.tar", "x-1.tar"]

    def found(inputs: str | list[str]) -> tuple[str, list[str]]:
        shards = find_shards(inputs)
        assert shards is not None
        return str(shards.source), list(shards.paths)

    assert found("d") == ("d", ["deep/y.tgz", *both])
    assert found("d/x-0.tar") == ("d", ["x-0.tar"])
    assert found("d/*.tar") == ("d", both)
    assert found("d/x-{0..1}.tar") == (str(folder), both)
    assert found(["d/x-1.tar", "d/../d/x-0.tar", "d/x-0.tar"]) == (str(folder), both)
    assert found(["d/deep/y.tgz", "d/x-0.tar"]) == (str(folder), ["deep/y.tgz", "x-0.tar"])
    for other in ("d/none.tar", "d/*", "d/manifest.jsonl", "none", ["a.png"], []):
        assert find_shards(other) is None
    with pytest.raises(ValueError, match=r"a\.png: is no shard"):
        find_shards(["x-0.tar", "a.png"])
    draw(folder / "deep" / "picture.PNG")
    assert find_shards("d") is None


def test_the_folder_of_the_shards_is_no_output_folder(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    for given, out in [(inputs, inputs), (inputs / "x-0.tar", inputs), (inputs, tmp_path)]:
        with pytest.raises(ValueError, match="output folder"):
            translator.translate_shards(given, out, "B")


@pytest.mark.parametrize("option", [{"suffix": "_b"}, {"preview": True}, {"strict": True}])
def test_options_about_folders_are_refused(
    translator: Translator, inputs: Path, tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"--{next(iter(option))}"):
        translator.translate_shards(inputs, tmp_path / "out", "B", FolderOptions(**option))
    with pytest.raises(ValueError, match="--members json"):
        translator.translate_shards(inputs, tmp_path / "out", "B", members=["json"])


def test_the_first_pictures_decide_the_direction(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    (inputs / "a.tar").write_bytes(b"broken")
    done = translator.translate_shards(inputs, tmp_path / "out")
    assert {done.source, done.to} == {"A", "B"}
    with pytest.raises(ValueError, match="--to"):
        translator.translate_shards(inputs, tmp_path / "o", options=FolderOptions(shard=(1, 2)))


def test_the_manifest_of_another_work_stays(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_shards(inputs / "x-0.tar", out, "B", RANDOM)
    translator.translate_shards(inputs / "x-1.tar", out, "B", AGAIN)
    translator.translate_shards(inputs, tmp_path / "whole", "B", RANDOM)
    assert files(out) == files(tmp_path / "whole")
    assert list(lines(out)) == list(lines(tmp_path / "whole"))


def test_the_status_counts_shards(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (inputs / "x-2.tar").write_bytes(b"")
    found = []
    monkeypatch.setattr(RunNote, "add", lambda self: found.append(read_status(out)))
    translator.translate_shards(inputs, out, "B", FolderOptions(shard=(2, 2)))
    translator.translate_shards(inputs, out, "B", FolderOptions(shard=(1, 2)))
    assert [(s.done, s.failed, s.left, s.running) for s in found] == [
        (1, 0, 2, 1),
        (2, 0, 1, 1),
        (2, 1, 0, 1),
    ]
    assert [(share.shard, share.done, share.left) for share in found[1].shards] == [((1, 2), 1, 1)]
    status = read_status(out)
    assert (status.total, status.done, status.failed, status.left) == (3, 2, 1, 0)


# -- at addresses --


@pytest.mark.parametrize("named", ["x-{0..1}.tar", "*.tar", "list"])
def test_shards_at_an_address_become_what_they_do_here(
    named: str,
    translator: Translator,
    inputs: Path,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(staging))
    translator.translate_shards(inputs, tmp_path / "here", "B", RANDOM)
    address = upload(inputs, f"{bucket}/in")
    there = (
        [f"{address}/x-0.tar", f"{address}/x-1.tar"] if named == "list" else f"{address}/{named}"
    )
    out = tmp_path / "out"
    assert translator.translate_shards(there, out, "B", RANDOM).ok == 6
    new, expected = files(out), files(tmp_path / "here")
    assert {name: new[name] for name in ("x-0.tar", "x-1.tar")} == {
        name: expected[name] for name in ("x-0.tar", "x-1.tar")
    }
    assert lines(out).keys() == lines(tmp_path / "here").keys()
    assert translator.translate_shards(there, out, "B", AGAIN).skipped == 6
    pack(inputs / "x-1.tar", samples(tmp_path, 2, 7))
    upload(inputs, address)
    again = translator.translate_shards(there, out, "B", AGAIN)
    assert (again.ok, again.skipped) == (2, 3)
    assert list(staging.iterdir()) == []


def test_a_shard_that_cannot_be_fetched_fails_alone(
    translator: Translator, inputs: Path, memory: str, tmp_path: Path
) -> None:
    upload(inputs, f"{memory}in")
    done = translator.translate_shards(f"{memory}in/x-{{0..2}}.tar", tmp_path / "out", "B", RANDOM)
    assert (done.ok, done.failed) == (6, 1)
    (failure,) = done.failures
    assert failure[0] == "x-2.tar"
    assert "in/x-2.tar: no such file" in failure[1]


def test_shards_at_addresses_lie_in_one_folder(translator: Translator, tmp_path: Path) -> None:
    for there, reason in (
        (["memory://a/x.tar", "memory://b/x.tar"], r"memory:///?a, memory:///?b: .*one folder"),
        (["memory://a/x.tar", "y.tar"], "one folder"),
        (["memory://a/x.tar", "memory://a/y.png"], r"y\.png: is no shard"),
    ):
        with pytest.raises(ValueError, match=reason):
            translator.translate_shards(there, tmp_path / "out", "B")
    assert find_shards("tar://a.png::memory://a/x.tar") is None
