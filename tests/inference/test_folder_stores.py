"""Folders at addresses are translated to the same bytes as on this machine, whole or not at all."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests._helpers.folders import build, draw, files, manifest
from tests._helpers.frames import animation
from tests._helpers.kills import killed_after
from tests._helpers.s3 import contents, upload
from tests._helpers.small_model import save
from translate.inference import manifest as manifests
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import HIDDEN, NO_PICTURE, only_run
from translate.inference.translator import Translator
from translate.io import lease
from translate.io.named import put_whole
from translate.io.storage import STATE, StoredFolder

AGAIN = FolderOptions(skip_existing=True)
GOOD = 8


@pytest.fixture(params=["memory", "bucket"])
def store(request: pytest.FixtureRequest) -> str:
    """A place in a store that is empty."""
    above = str(request.getfixturevalue(request.param))
    return f"{above}place" if above.endswith("/") else f"{above}/place"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Pictures of many kinds, GOOD of them good."""
    root = tmp_path / "in"
    draw(root / "a.png", 20, 16)
    draw(root / "photo.jpg", 30, 20)
    draw(root / "sub" / "deep er" / "ünï 図.png", 17, 16, "RGBA")
    draw(root / "no suffix", 16, 16)
    draw(root / "bytes.bin", 18, 16)
    deep = np.linspace(0, 65535, 20 * 24).round().astype(np.uint16).reshape(20, 24)
    Image.fromarray(deep).save(root / "sub" / "deep.png")
    Image.fromarray(deep).save(root / "sub" / "deep.tif")
    animation(root / "moving.gif", "GIF", count=3)
    (root / "cut.png").write_bytes(draw(tmp_path / "whole.png", 40, 40).read_bytes()[:900])
    (root / "notes.txt").write_text("hello")
    (root / ".hidden" / "x").mkdir(parents=True)
    draw(root / ".hidden" / "x" / "b.png")
    return root


def lines_at(address: str) -> dict[str, dict[str, Any]]:
    """The manifest's lines by their source, of which each has one, in order."""
    lines = [json.loads(line) for line in contents(address)["manifest.jsonl"].splitlines()]
    sources = [line["source"] for line in lines]
    assert sources == sorted(set(sources))
    return dict(zip(sources, lines, strict=True))


def outputs_at(address: str) -> dict[str, bytes]:
    found = contents(address)
    del found["manifest.jsonl"]
    return found


def without_keys(lines: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Lines without what depends on where the files are: times and hashes of them."""
    return {source: line | {"key": bool(line["key"])} for source, line in lines.items()}


def test_a_folder_in_a_store_is_translated_as_one_here(
    translator: Translator, mixed: Path, store: str, tmp_path: Path
) -> None:
    here = translator.translate_folder(mixed, tmp_path / "out", "B")
    address = upload(mixed, f"{store}/in")
    there = translator.translate_folder(address, f"{store}/out", "B")
    assert (there.ok, there.skipped, there.failed) == (GOOD, 2, 1)
    assert there.reasons == here.reasons == {NO_PICTURE: 1, HIDDEN: 1}
    assert there.failures == here.failures
    assert outputs_at(f"{store}/out") == files(tmp_path / "out")
    assert without_keys(lines_at(f"{store}/out")) == without_keys(manifest(tmp_path / "out"))
    assert contents(address) == {
        path.relative_to(mixed).as_posix(): path.read_bytes()
        for path in mixed.rglob("*")
        if path.is_file()
    }

    translator.translate_folder(mixed, f"{store}/from here", "B")
    assert outputs_at(f"{store}/from here") == files(tmp_path / "out")
    translator.translate_folder(address, tmp_path / "from there", "B")
    assert files(tmp_path / "from there") == files(tmp_path / "out")


def test_what_is_up_to_date_is_left_and_what_has_changed_is_done_again(
    translator: Translator, mixed: Path, store: str
) -> None:
    address = upload(mixed, f"{store}/in")
    translator.translate_folder(address, f"{store}/out", "B")
    before = contents(f"{store}/out")
    with pytest.raises(ValueError, match="out: holds what an earlier run has written"):
        translator.translate_folder(address, f"{store}/out", "B")
    again = translator.translate_folder(address, f"{store}/out", "B", AGAIN)
    assert (again.ok, again.reasons["up to date"]) == (0, GOOD)
    assert outputs_at(f"{store}/out").items() <= before.items()

    draw(mixed / "a.png", 20, 16, seed=9)
    upload(mixed, address)
    translator.translate_folder(address, f"{store}/out", "B", AGAIN)
    after = outputs_at(f"{store}/out")
    assert {path for path in after if after[path] != before[path]} == {"a.png"}

    # damaged, gone, and damaged in the same number of bytes, which reading alone finds
    for name, data in (("photo.jpg", b"cut"), ("a.png", bytes(len(after["a.png"])))):
        with put_whole(f"{store}/out/{name}") as path:
            path.write_bytes(data)
    StoredFolder(f"{store}/out").remove("moving.gif")
    assert translator.translate_folder(address, f"{store}/out", "B", AGAIN).ok == 2
    verify = FolderOptions(skip_existing=True, verify=True)
    assert translator.translate_folder(address, f"{store}/out", "B", verify).ok == 1
    assert outputs_at(f"{store}/out") == after


@pytest.mark.parametrize("shard", [(1, 1), (1, 2)])
def test_a_killed_run_loses_no_line_that_it_has_written(
    translator: Translator,
    memory: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shard: tuple[int, int],
) -> None:
    monkeypatch.setattr(manifests, "STORE_BATCH", 2)
    monkeypatch.setattr(lease, "PATIENCE", 0.5)
    monkeypatch.setattr(lease, "LOOK", 0.05)
    for i in range(20):
        draw(tmp_path / "in" / f"{i:02}.png", seed=i)
    address = upload(tmp_path / "in", f"{memory}in")
    whole = translator.translate_folder(address, f"{memory}whole", "B", FolderOptions(shard=shard))

    with killed_after(whole.ok - 1):
        translator.translate_folder(address, f"{memory}out", "B", FolderOptions(shard=shard))
    left = StoredFolder(f"{memory}out")
    left.create(f"{STATE}/.introshift-run-1-of-7.lock", b"killed 1")
    parts = [path for path in left.state() if "manifest" in path]
    assert len(parts) == (whole.ok - 1) // 2
    again = translator.translate_folder(
        address, f"{memory}out", "B", FolderOptions(shard=shard, skip_existing=True)
    )
    assert again.ok == whole.ok - 2 * len(parts)
    assert contents(f"{memory}out").keys() == contents(f"{memory}whole").keys()
    assert outputs_at(f"{memory}out") == outputs_at(f"{memory}whole")
    done = {s: line["output_sha256"] for s, line in lines_at(f"{memory}out").items()}
    assert done == {s: line["output_sha256"] for s, line in lines_at(f"{memory}whole").items()}


def test_shards_fill_one_manifest_in_a_store(
    translator: Translator, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LOOK", 0.05)
    for i in range(12):
        draw(tmp_path / "in" / f"{i:02}.png", seed=i)
    address = upload(tmp_path / "in", f"{memory}in")
    translator.translate_folder(address, f"{memory}whole", "B")

    def work(i: int) -> None:
        options = FolderOptions(shard=(i, 2))
        translator.translate_folder(address, f"{memory}out", "B", options)

    threads = [threading.Thread(target=work, args=(i,)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(f"{memory}out") == contents(f"{memory}whole")


def test_a_second_run_into_one_address_is_refused(
    translator: Translator, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.05)
    monkeypatch.setattr(lease, "LOOK", 0.05)
    draw(tmp_path / "in" / "a.png")
    with (
        only_run(StoredFolder(f"{memory}out"), (1, 1)),
        pytest.raises(ValueError, match="memory://out: another run is writing into it"),
    ):
        translator.translate_folder(tmp_path / "in", f"{memory}out", "B")
    assert contents(f"{memory}out") == {}


def test_names_in_a_store_lead_nowhere(translator: Translator, memory: str, tmp_path: Path) -> None:
    picture = draw(tmp_path / "a.png").read_bytes()
    made = io.BytesIO()
    names = ["../../out.png", "/etc/x.png", "a\\b.png", "new\nline.png", "Case.png", "case.png"]
    with zipfile.ZipFile(made, "w") as archive:
        for name in [*names, "long" * 100 + ".png", "good.png"]:
            archive.writestr(name, picture)
    with put_whole(f"{memory}a.zip") as path:
        path.write_bytes(made.getvalue())
    (tmp_path / "some" / "where").mkdir(parents=True)
    result = translator.translate_folder(
        f"zip://::{memory}a.zip", tmp_path / "some" / "where" / "out", "B"
    )
    reasons = dict(result.failures)
    assert reasons.keys() == {*names[:4], "long" * 100 + ".png"}
    assert "leads to another folder" in reasons["../../out.png"]
    assert "signs that names of files cannot have" in reasons["a\\b.png"]
    assert "file name too long" in reasons["long" * 100 + ".png"]
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"a.png", "manifest.jsonl", "good.png", "Case.png", "case.png.png"}
    matching = translator.translate_folder(f"zip://g*.png::{memory}a.zip", f"{memory}out", "B")
    assert matching.ok == 1
    assert contents(f"{memory}out").keys() == {"good.png", "manifest.jsonl"}


def test_patterns_match_as_they_do_here(
    translator: Translator, mixed: Path, memory: str, tmp_path: Path
) -> None:
    upload(mixed, f"{memory}in")
    for i, pattern in enumerate(["*.png", "**/*.png", "sub/*", "s?b/**/[a-z]*"]):
        translator.translate_folder(f"{mixed}/{pattern}", tmp_path / f"{i}", "B")
        translator.translate_folder(f"{memory}in/{pattern}", f"{memory}{i}", "B")
        there = without_keys(lines_at(f"{memory}{i}"))
        assert there == without_keys(manifest(tmp_path / f"{i}")), pattern
    with pytest.raises(ValueError, match=r"in/\*.webp: no files match"):
        translator.translate_folder(f"{memory}in/*.webp", f"{memory}none", "B")


def test_a_list_may_hold_addresses(translator: Translator, memory: str, tmp_path: Path) -> None:
    here = draw(tmp_path / "here.png")
    draw(tmp_path / "in" / "sub" / "there.png", seed=1)
    upload(tmp_path / "in", f"{memory}bucket")
    there = f"{memory}bucket/sub/there.png"
    result = translator.translate_folder(
        [
            here,
            there,
            there,
            f"{memory}bucket/none.png",
            f"{memory}a/../../b.png",
            f"{memory}bucket/sub",
        ],
        tmp_path / "out",
        "B",
    )
    lines = manifest(tmp_path / "out")
    assert result.ok == 2
    assert lines[there]["output"] == "bucket/sub/there.png"
    assert lines[there]["warnings"] == ["listed 2 times"]
    assert lines[here.as_posix()]["output"] == here.as_posix()[1:]
    reasons = dict(result.failures)
    assert "bucket/none.png: no such file" in reasons[f"{memory}bucket/none.png"]
    assert "leads to another folder" in reasons[f"{memory}a/../../b.png"]
    assert reasons[f"{memory}bucket/sub"].endswith("sub: a folder; list the files in it")
    again = translator.translate_folder([here, there], tmp_path / "out", "B", AGAIN)
    assert again.ok == 0


def test_outputs_do_not_go_where_the_inputs_are(
    translator: Translator, memory: str, tmp_path: Path
) -> None:
    draw(tmp_path / "in" / "a.png")
    address = upload(tmp_path / "in", f"{memory}photos/in")
    for inputs, out in (
        (address, address),
        (address, f"{address}/out"),
        (f"{address}/*.png", f"{memory}photos"),
        (f"{address}/a.png", address),
        ([f"{address}/a.png"], f"{memory}photos"),
    ):
        with pytest.raises(ValueError, match="the output folder may not be inside the input"):
            translator.translate_folder(inputs, out, "B")
    assert translator.translate_folder(address, f"{memory}photos/in2", "B").ok == 1
    assert translator.translate_folder(f"{address}/a.png", f"{address}/out", "B").ok == 1
    with pytest.raises(ValueError, match="can only be read; write into a folder"):
        translator.translate_folder(address, "https://host/out", "B")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("{}/none", "{}/none: no files in it"),
        ("s3://no-such-bucket-of-the-test/x", "s3://no-such-bucket-of-the-test/x: no such file"),
        ("nonsense://x/y", "nonsense:// is none of the schemes"),
        ("{}/none/*.png", "{}/none/*.png: no files in it"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    translator: Translator, bucket: str, tmp_path: Path, inputs: str, said: str
) -> None:
    with pytest.raises((ValueError, OSError)) as caught:
        translator.translate_folder(inputs.format(bucket), tmp_path / "out", "B")
    assert said.format(bucket) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_endpoint_that_does_not_answer_is_said(
    translator: Translator, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(OSError, match="s3://photos/in: does not answer; check the network"):
        translator.translate_folder("s3://photos/in", tmp_path / "out", "B")


def test_an_upload_that_fails_fails_its_picture_alone(
    translator: Translator, bucket_tried_once: str, tmp_path: Path
) -> None:
    for name in ("a.png", "unlucky.png", "z.png"):
        draw(tmp_path / "in" / name)
    result = translator.translate_folder(tmp_path / "in", f"{bucket_tried_once}/out", "B")
    assert (result.ok, result.failed) == (2, 1)
    [(name, reason)] = result.failures
    assert name == "unlucky.png"
    assert reason.startswith(f"cannot be written: {bucket_tried_once}/out/unlucky.png: ")
    assert "Out of order" in reason
    assert contents(f"{bucket_tried_once}/out").keys() == {"a.png", "z.png", "manifest.jsonl"}


def test_what_is_staged_stays_bounded_and_goes(
    translator: Translator, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "staging").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "staging"))
    for i in range(60):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    animation(tmp_path / "in" / "b.gif", "GIF", count=2)
    address = upload(tmp_path / "in", f"{memory}in")
    most = 0

    def count(done: float, total: int) -> None:
        nonlocal most
        most = max(most, sum(path.is_file() for path in (tmp_path / "staging").rglob("*")))

    options = FolderOptions(batch_size=2, workers=2)
    assert translator.translate_folder(address, f"{memory}out", "B", options, count).ok == 61
    assert 1 < most <= 30
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_preview_is_written_beside_the_outputs(
    translator: Translator, memory: str, tmp_path: Path
) -> None:
    draw(tmp_path / "in" / "a.png")
    address = upload(tmp_path / "in", f"{memory}in")
    translator.translate_folder(address, f"{memory}out", "B", FolderOptions(preview=True))
    translator.translate_folder(address, tmp_path / "out", "B", FolderOptions(preview=True))
    found = contents(f"{memory}out")
    for name in ("preview.html", "preview.png"):
        assert found[name] == (tmp_path / "out" / name).read_bytes()


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_whole_objects_and_is_completed(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = build(tmp_path)
    for i in range(120):
        draw(tmp_path / "in" / f"{i % 3}" / f"{i:03}.png", 40, 40, seed=i)
    address = upload(tmp_path / "in", f"{bucket}/in")
    translator.translate_folder(tmp_path / "in", tmp_path / "whole", "B")
    whole = files(tmp_path / "whole")

    command = ["translate", save(tmp_path), address, f"{bucket}/out", "--to", "B", "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "pipelines.cli", *map(str, command)])
    _wait(lambda: len(contents(f"{bucket}/out")) > 10)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = {path: data for path, data in contents(f"{bucket}/out").items() if path in whole}
    assert 5 < len(left) < 120, "killed too late"
    assert left.items() <= whole.items()

    monkeypatch.setattr(lease, "PATIENCE", 1.0)
    again = translator.translate_folder(address, f"{bucket}/out", "B", AGAIN)
    assert again.failed == 0
    assert outputs_at(f"{bucket}/out") == whole
    assert len(lines_at(f"{bucket}/out")) == 120


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
