"""A folder's options refuse what cannot be, and its steps can be taken one by one."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from tests._helpers.folders import files, manifest
from translate.inference.folder import FolderJob
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import NO_PICTURE, NOT_REACHED, UP_TO_DATE
from translate.inference.translator import Translator


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("format", "tga", "format tga: .*keep, png, jpg, jpeg, webp"),
        ("quality", 0, "quality 0"),
        ("quality", 101, "quality 101"),
        ("overwrite", "both", "--skip-existing: .*--overwrite"),
        ("on_error", "ignore", "on_error ignore: .*continue or stop"),
        ("suffix", "/../x", "suffix"),
        ("suffix", "a\\b", "suffix"),
        ("suffix", "a\0b", "suffix"),
        ("shard", (0, 3), "shard 0/3"),
        ("shard", (4, 3), "shard 4/3"),
        ("shard", (1, 0), "shard 1/0"),
        ("samples", 0, "samples 0"),
        ("batch_size", 0, "batch_size 0"),
        ("batch_size", -1, "batch_size -1"),
        ("workers", 0, "workers 0"),
        ("max_pixels", 0, "max_pixels 0"),
        ("reject_skip", True, "--reject-skip: .*--reject"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(name: str, value: object, named: str) -> None:
    options: dict[str, Any] = {name: value}
    if value == "both":
        options = {"overwrite": True, "skip_existing": True}
    with pytest.raises(ValueError, match=rf"\A{named}") as refused:
        FolderOptions(**options)
    assert "\n" not in str(refused.value)


def test_options_are_checked_whenever_they_are_made_and_do_not_change() -> None:
    options = FolderOptions(samples=2, shard=(3, 3), reject=0.9, reject_skip=True)
    assert replace(options, samples=3).samples == 3
    with pytest.raises(ValueError, match="samples 0"):
        replace(options, samples=0)
    with pytest.raises(FrozenInstanceError):
        options.samples = 0  # type: ignore[misc]


def test_steps_taken_one_by_one_give_what_translate_gives(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    options = FolderOptions(style="random", samples=2)
    whole = tmp_path / "whole"
    expected = FolderJob(translator.predictor, inputs, whole, "B", options).translate()

    out = tmp_path / "out"
    calls: list[tuple[int, int]] = []
    job = FolderJob(
        translator.predictor, inputs, out, "B", options, lambda *counts: calls.append(counts)
    )
    job.scan()
    assert [entry.path for entry in job.own] == sorted(files(inputs))
    job.plan()
    job.look()
    assert all(len(entry.outputs) == 2 and entry.key for entry in job.jobs)
    assert not out.exists(), "nothing is written before all of it is planned"

    job.skip()
    assert {line["reason"] for line in manifest(out).values()} == {NOT_REACHED, NO_PICTURE}
    assert calls == [(1, 17)]

    job.run()
    assert files(out) == files(whole)
    assert {line["reason"] for line in manifest(out).values()} == {NOT_REACHED, NO_PICTURE}
    assert calls[-1] == (17, 17)

    job.finish()
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    assert replace(job.summary(1.5), seconds=0) == replace(expected, seconds=0)
    assert job.summary(1.5).seconds == 1.5


def test_the_step_skip_leaves_only_what_is_not_up_to_date(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_folder(inputs, out, "B")
    (out / "3.png").unlink()

    job = FolderJob(translator.predictor, inputs, out, "B", FolderOptions(skip_existing=True))
    job.scan()
    job.plan()
    job.look()
    job.skip()
    broken = {"cut.png", "empty.png"}
    assert {entry.path for entry in job.jobs} == {"3.png", *broken}
    assert job.done == 14
    done = {entry.path for entry in job.own} - {"3.png", "notes.txt", *broken}
    reasons = {entry.reason for entry in job.own if entry.path in done}
    assert reasons == {UP_TO_DATE}
