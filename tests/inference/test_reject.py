"""Inputs that do not belong to their domain: marked or left out, and nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.folders import build, draw, files, manifest
from translate.inference.anomaly import measure_folder
from translate.inference.folder import FolderOptions
from translate.inference.predictor import Predictor
from translate.inference.translator import Translator
from translate.losses.energy import KEY
from translate.models.checkpoint import load_model, save_model
from translate.models.networks import Encoder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose training ended with energies such that two of six inputs lie beyond the 0.5
    quantile, none beyond the largest.
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
    usual = {KEY: {"levels": [0, 0.5, 1], "quantiles": {"A": quantiles}}}
    save_model(tmp_path / "model.safetensors", file.model, file.config, usual)
    return tmp_path / "model.safetensors"


def foreign(where: Path, model: Path) -> set[str]:
    """The two inputs whose energy is highest."""
    found = measure_folder(Predictor.load(model, "cpu"), where / "in", "A")[0]
    return set(sorted(found, key=lambda name: found[name].energy)[-2:])


@pytest.mark.parametrize("scale", ["model", "native"])
def test_what_is_beyond_the_quantile_is_marked_and_nothing_else_changes(
    model: Path, tmp_path: Path, scale: str
) -> None:
    translator = Translator.load(model, "cpu", scale=scale)
    far = foreign(tmp_path, model)
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
        assert warned == far
        (warning,) = lines[min(far)]["warnings"]
        assert warning.startswith("energy ")
        assert "beyond the 0.5 quantile of A, " in warning
    assert not any(line["warnings"] for line in manifest(tmp_path / "plain").values())
    translator.translate_folder(
        tmp_path / "in", tmp_path / "all", "B", FolderOptions(style="random", reject=1)
    )
    if scale == "model":
        assert not any(line["warnings"] for line in manifest(tmp_path / "all").values())


def test_what_is_beyond_is_left_out_when_asked(model: Path, tmp_path: Path) -> None:
    translator = Translator.load(model, "cpu")
    far = foreign(tmp_path, model)
    (tmp_path / "in" / "cut.png").write_bytes(b"nothing")
    options: dict[str, Any] = {"reject": 0.5, "reject_skip": True, "samples": 2}
    done = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(**options)
    )
    assert (done.ok, done.skipped, done.failed) == (4, 2, 1)
    lines = manifest(tmp_path / "out")
    left = {name for name, line in lines.items() if line["status"] == "skipped"}
    assert left == far
    for name in far:
        assert "beyond the 0.5 quantile of A" in lines[name]["reason"]
        assert lines[name]["output"] is None
    assert len(files(tmp_path / "out")) == 8
    again = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(skip_existing=True, **options)
    )
    assert (again.ok, again.skipped, again.failed) == (0, 6, 1)
    assert {
        name for name, line in manifest(tmp_path / "out").items() if line["reason"] == "up to date"
    } == {name for name in lines if lines[name]["status"] == "ok"}


def test_rejecting_is_among_the_options_that_skip_existing_compares(
    model: Path, tmp_path: Path
) -> None:
    translator = Translator.load(model, "cpu")

    def redone(**options: Any) -> int:
        return translator.translate_folder(
            tmp_path / "in", tmp_path / "out", "B", FolderOptions(skip_existing=True, **options)
        ).ok

    assert [redone(), redone(), redone(reject=0.5), redone(reject=0.5)] == [6, 0, 6, 0]
    assert len([line for line in manifest(tmp_path / "out").values() if line["warnings"]]) == 2, (
        "kept"
    )
    assert [redone(reject=1), redone(reject=1, reject_skip=True), redone()] == [6, 6, 6]


def test_content_is_encoded_once(
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


def test_an_input_does_not_know_its_neighbours(model: Path, tmp_path: Path) -> None:
    translator = Translator.load(model, "cpu")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", FolderOptions(reject=0.5))
    lines = manifest(tmp_path / "out")
    for i in range(6):
        path = tmp_path / "in" / "deep" / f"{i}.png"
        translator.translate_folder(path, tmp_path / f"{i}", "B", FolderOptions(reject=0.5))
        assert (
            manifest(tmp_path / f"{i}")[f"{i}.png"]["warnings"]
            == lines[f"deep/{i}.png"]["warnings"]
        )


def test_bf16_judges_too(model: Path, tmp_path: Path) -> None:
    translator = Translator.load(model, "cpu", "bf16")
    translator.translate_folder(tmp_path / "in", tmp_path / "plain", "B")
    assert (
        translator.translate_folder(
            tmp_path / "in", tmp_path / "out", "B", FolderOptions(reject=0.5)
        ).ok
        == 6
    )
    assert files(tmp_path / "out") == files(tmp_path / "plain")
    with torch.no_grad():
        translator.predictor.model.encoder.style_head.bias.fill_(np.nan)
    done = translator.translate_folder(
        tmp_path / "in", tmp_path / "nan", "B", FolderOptions(reject=0.5)
    )
    assert done.ok == 6
    assert all("energy nan" in line["warnings"][0] for line in manifest(tmp_path / "nan").values())


def test_the_command(model: Path, tmp_path: Path) -> None:
    words = ["translate", str(model), str(tmp_path / "in"), str(tmp_path / "out"), "--to", "B"]
    done = CliRunner().invoke(app, [*words, "--reject", "0.5", "--reject-skip", "--json"])
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["ok"], said["skipped"], said["failed"]) == (4, 2, 0)
    done = CliRunner().invoke(app, [*words, "--reject", "0.5"])
    assert "6 translated" in done.stdout
    assert "2 with warnings in its manifest.jsonl" in done.stdout
    for wrong, message in (
        (["--reject", "0"], "--reject 0"),
        (["--reject-skip"], "--reject-skip: needs --reject"),
        (["--to", "A", "--reject", "0.5"], "quantiles of B"),
    ):
        done = CliRunner().invoke(app, [*words, *wrong])
        assert done.exit_code == 2 and message in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
