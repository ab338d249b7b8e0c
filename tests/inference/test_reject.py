"""Inputs with an energy beyond a quantile: warned of or skipped, and no output changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests._helpers.commands import call
from tests._helpers.folders import build, draw, files, manifest
from tests._helpers.shards import pack, read
from translate.inference.anomaly import measure_folder
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import UP_TO_DATE
from translate.inference.predictor import Predictor
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.losses.energy import KEY
from translate.models.checkpoint import load_model, save_model
from translate.models.networks import Encoder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose training ended with energies such that two of six inputs lie above the 0.5
    quantile, none above the largest.
    """
    translator = build(tmp_path)
    for i in range(6):
        draw(tmp_path / "in" / "deep" / f"{i}.png", 16 + 7 * (i % 2), 16, seed=i)
    found = sorted(
        value.energy
        for value in measure_folder(translator.predictor, tmp_path / "in", "A")[0].values()
    )
    assert found[3] < found[4]
    file = load_model(tmp_path / "model.safetensors")
    quantiles = [0.0, (found[3] + found[4]) / 2, found[5] * 1.5]
    summary = {KEY: {"levels": [0, 0.5, 1], "quantiles": {"A": quantiles}}}
    save_model(tmp_path / "model.safetensors", file.model, file.config, summary)
    return tmp_path / "model.safetensors"


def highest_energies(where: Path, model: Path) -> set[str]:
    """The two inputs whose energy is highest."""
    found = measure_folder(Predictor.load(model, "cpu"), where / "in", "A")[0]
    return set(sorted(found, key=lambda name: found[name].energy)[-2:])


@pytest.mark.parametrize("scale", ["model", "native"])
def test_energies_beyond_the_quantile_are_warned_of_and_no_output_changes(
    model: Path, tmp_path: Path, scale: str
) -> None:
    translator = Translator.load(model, "cpu", PredictorOptions(scale=scale))
    beyond = highest_energies(tmp_path, model)
    translator.translate_folder(
        tmp_path / "in", tmp_path / "plain", "B", FolderOptions(style="random")
    )
    done = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(style="random", reject=0.5)
    )
    assert (done.ok, done.skipped) == (6, 0)
    assert files(tmp_path / "out") == files(tmp_path / "plain")
    lines = manifest(tmp_path / "out")
    warned = {name for name, line in lines.items() if line["warnings"]}
    assert done.warned == len(warned)
    if scale == "model":
        assert warned == beyond
        (warning,) = lines[min(beyond)]["warnings"]
        assert "0.5 quantile of A" in warning
    assert not any(line["warnings"] for line in manifest(tmp_path / "plain").values())
    translator.translate_folder(
        tmp_path / "in", tmp_path / "all", "B", FolderOptions(style="random", reject=1)
    )
    if scale == "model":
        assert not any(line["warnings"] for line in manifest(tmp_path / "all").values())


def test_energies_beyond_the_quantile_are_skipped_with_reject_skip(
    model: Path, tmp_path: Path
) -> None:
    translator = Translator.load(model, "cpu")
    beyond = highest_energies(tmp_path, model)
    (tmp_path / "in" / "cut.png").write_bytes(b"nothing")
    options: dict[str, Any] = {"reject": 0.5, "reject_skip": True, "samples": 2}
    done = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(**options)
    )
    assert (done.ok, done.skipped, done.failed) == (4, 2, 1)
    lines = manifest(tmp_path / "out")
    assert {name for name, line in lines.items() if line["status"] == "skipped"} == beyond
    for name in beyond:
        assert "0.5 quantile of A" in lines[name]["reason"]
        assert lines[name]["output"] is None
    assert len(files(tmp_path / "out")) == 8
    again = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(skip_existing=True, **options)
    )
    assert (again.ok, again.skipped, again.failed) == (0, 6, 1)
    lines_again = manifest(tmp_path / "out")
    up_to_date = {name for name, line in lines_again.items() if line["reason"] == UP_TO_DATE}
    assert up_to_date == {name for name, line in lines.items() if line["status"] == "ok"}


def test_skip_existing_compares_the_options_of_rejection(model: Path, tmp_path: Path) -> None:
    translator = Translator.load(model, "cpu")

    def redone(**options: Any) -> int:
        with_skipping = FolderOptions(skip_existing=True, **options)
        return translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", with_skipping).ok

    assert [redone(), redone(), redone(reject=0.5), redone(reject=0.5)] == [6, 0, 6, 0]
    warned = [line for line in manifest(tmp_path / "out").values() if line["warnings"]]
    assert len(warned) == 2, "of inputs that are up to date, warnings are kept"
    assert [redone(reject=1), redone(reject=1, reject_skip=True), redone()] == [6, 6, 6]


def test_content_is_encoded_once_for_energy_and_translation(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = Translator.load(model, "cpu")
    calls = []
    content = Encoder.content

    def counted(self: Encoder, x: torch.Tensor, y: torch.Tensor) -> Any:
        calls.append(len(x))
        return content(self, x, y)

    monkeypatch.setattr(Encoder, "content", counted)
    for i in (1, 3, 5):
        (tmp_path / "in" / "deep" / f"{i}.png").unlink()
    translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(reject=0.5, batch_size=3)
    )
    assert calls == [3]


def test_warnings_are_batch_invariant(model: Path, tmp_path: Path) -> None:
    translator = Translator.load(model, "cpu")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", FolderOptions(reject=0.5))
    lines = manifest(tmp_path / "out")
    for i in range(6):
        path = tmp_path / "in" / "deep" / f"{i}.png"
        translator.translate_folder(path, tmp_path / f"{i}", "B", FolderOptions(reject=0.5))
        alone = manifest(tmp_path / f"{i}")[f"{i}.png"]
        assert alone["warnings"] == lines[f"deep/{i}.png"]["warnings"]


def test_outputs_in_bf16_do_not_change_when_energies_are_measured(
    model: Path, tmp_path: Path
) -> None:
    translator = Translator.load(model, "cpu", PredictorOptions("bf16"))
    translator.translate_folder(tmp_path / "in", tmp_path / "plain", "B")
    options = FolderOptions(reject=0.5)
    assert translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options).ok == 6
    assert files(tmp_path / "out") == files(tmp_path / "plain")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_energy_that_is_not_a_number_is_warned_of(
    model: Path, tmp_path: Path, precision: str
) -> None:
    translator = Translator.load(model, "cpu", PredictorOptions(precision))
    with torch.no_grad():
        translator.predictor.model.encoder.style_head.bias.fill_(np.nan)
    options = FolderOptions(reject=0.5)
    assert translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options).ok == 6
    lines = manifest(tmp_path / "out").values()
    assert all("nan" in line["warnings"][0] for line in lines)


def test_the_translate_command_rejects(model: Path, tmp_path: Path) -> None:
    arguments = ["translate", model, tmp_path / "in", tmp_path / "out", "--to", "B"]
    exit_code, stdout, stderr = call(*arguments, "--reject", 0.5, "--reject-skip", "--json")
    assert exit_code == 0, stderr
    summary = json.loads(stdout)
    assert (summary["ok"], summary["skipped"], summary["failed"]) == (4, 2, 0)

    exit_code, stdout, _ = call(*arguments, "--reject", 0.5, "--overwrite")
    assert exit_code == 0
    assert "6 translated" in stdout
    assert "2 with warnings" in stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--reject", "0"], "--reject 0"),
        (["--reject-skip"], "--reject-skip"),
        (["--to", "A", "--reject", "0.5"], "quantiles of B"),
    ],
)
def test_wrong_options_of_rejection_are_refused(
    model: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    arguments = ["translate", model, tmp_path / "in", tmp_path / "out", "--to", "B"]
    exit_code, _, stderr = call(*arguments, *options)
    assert exit_code == 2
    assert named in stderr
    assert len(stderr.splitlines()) == 1


def test_a_picture_that_is_rejected_takes_its_sample_out_of_a_shard(
    model: Path, tmp_path: Path
) -> None:
    beyond = {Path(name).stem for name in highest_energies(tmp_path, model)}
    members = {}
    for path in sorted((tmp_path / "in").rglob("*.png")):
        members |= {path.name: path.read_bytes(), f"{path.stem}.cls": b"1"}
    pack(tmp_path / "shards" / "x.tar", members)
    options = FolderOptions(reject=0.5, reject_skip=True)
    translator = Translator.load(model, "cpu", PredictorOptions(scale="model"))
    done = translator.translate_shards(tmp_path / "shards", tmp_path / "out", "B", options)
    assert (done.ok, done.skipped, done.failed) == (4, 2, 0)
    assert done.reasons == {"rejected": 2}
    kept = {sample["__key__"] for sample in read(tmp_path / "out" / "x.tar")}
    assert kept == {f"{i}" for i in range(6)} - beyond
