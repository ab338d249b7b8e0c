"""The command line as a whole: mistakes, --debug, --help, and commands that have no file here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.commands import call, fill

pytestmark = pytest.mark.usefixtures("no_lpips_weights")


def test_info_shows_what_a_model_is(model: Path) -> None:
    code, out, _ = call("info", model, "--json")
    assert code == 0
    info = json.loads(out)
    assert info["domains"] == ["A", "B"]
    assert (info["size"], info["channels"]) == (32, 1)
    assert info["training"]["step"] == 4
    code, out, _ = call("info", model, "--config")
    assert code == 0
    assert "beta_neg: auto" in out


def test_info_in_lines_of_words(model: Path) -> None:
    code, out, _ = call("info", model)
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert {"model", "translates", "pictures", "network", "trained", "more"} <= lines.keys()
    assert "A and B" in lines["translates"]
    assert "32 x 32" in lines["pictures"]
    assert "gray" in lines["pictures"]
    assert "4 steps" in lines["trained"]


def test_info_reads_no_weights(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translate.io.files.sha256", pytest.fail)
    monkeypatch.setattr("translate.models.checkpoint.load_tensors", pytest.fail)
    code, _, err = call("info", model)
    assert code == 0, err


def test_a_run_folder_stands_for_its_model(model: Path, tmp_path: Path) -> None:
    assert call("info", model.parent, "--json") == call("info", model, "--json")
    code, _, err = call("export", model.parent, "--format", "pt2", "-o", tmp_path / "graph.pt2")
    assert code == 0, err
    code, _, err = call("info", tmp_path)
    assert code == 2
    assert "model.safetensors" in err


def mistakes(trained: Path, root: Path) -> list[tuple[list[object], list[str]]]:
    """Commands with a user's mistake, and what the message must name."""
    model = trained / "run" / "model.safetensors"
    config = trained / "my.yaml"
    data = trained / "data"
    test = data / "testA"
    (root / "empty").mkdir()
    fill(root / "one" / "trainA", 1)
    fill(root / "one" / "trainB", 4)
    plain = root / "plain.yaml"
    plain.write_text("data: {size: 32}\n")
    bad = root / "bad.yaml"
    bad.write_text("trian: {}\n")
    file = root / "file"
    file.write_text("")
    foreign = root / "foreign.safetensors"
    foreign.write_bytes(b"x" * 100)

    nowhere = root / "nowhere"
    empty = root / "empty"
    out = root / "o"
    to_b = ["--to", "B"]
    new = ["-o", root / "n.yaml"]
    return [
        (["init", nowhere, data / "trainB", *new], ["nowhere"]),
        (["init", empty, data / "trainB", *new], ["empty"]),
        (["init", data / "trainA", data / "trainB", "-o", config], ["my.yaml", "--force"]),
        (["train", root / "nowhere.yaml"], ["nowhere.yaml"]),
        (["train", bad], ["bad.yaml", "trian", "train?"]),
        (["train", plain, "--data", empty, "--out", out], ["empty", "domain A"]),
        (["train", plain, "--data", root / "one", "--out", out], ["trainA", "1 "]),
        (["train", config, "--set", "train.stesp=3"], ["train.stesp", "train.steps"]),
        (["train", config, "--set", "train.steps=many"], ["train.steps", "'many'"]),
        (["train", config, "--set", "train.learning_rate=-1"], ["train.learning_rate", "-1"]),
        (["train", config, "--out", file / "run"], ["run"]),
        (["train", config, "--out", out, "--resume"], ["o: ", "--resume"]),
        (["train", config, "--out", out, "--force"], ["--force", "--resume"]),
        (["train", config, "--out", out, "--device", "abacus"], ["--device abacus"]),
        (["translate", model, test, out, "--to", "C"], ["C"]),
        (["translate", model, nowhere, out, *to_b], ["nowhere"]),
        (["translate", model, empty, out, *to_b], ["empty"]),
        (["translate", model, test, test / "o", *to_b], ["testA"]),
        (["translate", model, test, file, *to_b], ["file"]),
        (["translate", nowhere, test, out, *to_b], ["nowhere"]),
        (["translate", foreign, test, out, *to_b], ["foreign.safetensors"]),
        (["translate", model, test, out, *to_b, "--style", nowhere], ["nowhere"]),
        (["translate", model, test, out, *to_b, "--shard", "4/3"], ["--shard 4/3"]),
        (["translate", model, test, out, *to_b, "--scale", "big"], ["--scale big"]),
        (["translate", model, test, out, *to_b, "--background", "1,2"], ["--background 1,2"]),
        (["evaluate", model, empty], ["testA"]),
        (["evaluate", model, data, "--fail-if", "beauty<1"], ["beauty"]),
        (["compare", nowhere, test], ["nowhere"]),
        (["info", foreign], ["foreign.safetensors"]),
        (["demo", data], ["data"]),
        (["data", "glyphs", root / "g", "--size", "4"], ["--size"]),
        (["data", "glyphs", file], ["file/trainA"]),
        (["trian"], ["trian"]),
    ]


def test_mistakes_are_one_line_and_exit_2_and_leave_nothing(trained: Path, tmp_path: Path) -> None:
    cases = mistakes(trained, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for arguments, names in cases:
        code, out, err = call(*arguments)
        assert code == 2, (arguments, code, err)
        assert not out
        lines = [line for line in err.splitlines() if not line.startswith(("domain ", "left out "))]
        assert len(lines) == 1, (arguments, err)
        assert lines[0].startswith("introshift: "), lines
        for name in names:
            assert name in lines[0], (arguments, err)
        assert sorted(tmp_path.rglob("*")) == before, f"{arguments} left something half-written"


DEBUG_AS_AN_OPTION = [
    ["--debug", "info", "none"],
    ["info", "--debug", "none"],
    ["info", "none", "--debug"],
    ["bench", "--debug", "translate", "none"],
    ["bench", "translate", "none", "--debug"],
]


@pytest.mark.parametrize("words", DEBUG_AS_AN_OPTION, ids=" ".join)
def test_debug_shows_the_traceback_wherever_it_stands(words: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, words).exception, ValueError)


DEBUG_AS_TEXT = [
    (["train", "my.yaml", "--set", "--debug"], "--set --debug"),
    (["train", "my.yaml", "--set=--debug"], "--set --debug"),
    (["info", "--", "--debug"], "--debug: "),
    (["translate", "--to", "--debug", "--", "--debug", "a", "b"], "--debug: "),
]


@pytest.mark.parametrize(("words", "name"), DEBUG_AS_TEXT)
def test_debug_as_a_value_is_the_value(
    words: list[str], name: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    code, _, err = call(*words)
    assert code == 2
    assert err.startswith(f"introshift: {name}")


def test_a_suffix_may_be_called_debug(model: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 1)
    code, _, err = call(
        "translate", model, folder, tmp_path / "o", "--to", "B", "--suffix", "--debug"
    )
    assert code == 0, err
    assert (tmp_path / "o" / "0--debug.png").exists()


@pytest.mark.parametrize(
    "words", [["train"], ["translate"], ["bench", "train"], ["bench", "translate"]]
)
def test_precisions_are_called_alike_in_every_help(words: list[str]) -> None:
    code, out, _ = call(*words, "--help")
    assert code == 0
    assert "auto, fp32 or bf16" in out
