"""`introshift train` and `init`: resuming, exit codes, odd folders, hostile configs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from tests._helpers.commands import call, fill, tiny
from translate.training.trainer import TrainingDivergedError, TrainingInterruptedError


def small_data(root: Path) -> tuple[Path, Path]:
    """Make a data folder and a config that fits it."""
    for name in ("trainA", "trainB"):
        fill(root / "data" / name)
    config = root / "c.yaml"
    config.write_text("data: {size: 16, channels: 1}\n")
    return root / "data", config


def test_a_broken_file_is_left_out_and_named(tmp_path: Path) -> None:
    data, config = small_data(tmp_path)
    (data / "trainA" / "broken.png").write_bytes(b"nothing")
    code, _, err = call("train", config, "--data", data, "--out", tmp_path / "run", *tiny())
    assert code == 0, err
    assert "broken.png" in err


def test_a_run_is_continued_by_resume_alone(tmp_path: Path) -> None:
    data, config = small_data(tmp_path)
    run = tmp_path / "run"
    arguments = ("train", config, "--data", data, "--out", run, "--json")
    code, _, err = call(*arguments, *tiny(steps=4))
    assert code == 0, err

    code, out, err = call(*arguments, *tiny(steps=4))
    assert (code, out) == (2, "")
    assert str(run) in err
    assert "--resume" in err

    code, out, err = call(*arguments, "--resume", *tiny(steps=6))
    assert code == 0, err
    assert json.loads(out)["step"] == 6
    steps = [json.loads(line)["step"] for line in (run / "stats.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6]


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    data, config = small_data(tmp_path)
    arguments = ("train", config, "--data", data, "--out", tmp_path / "run", "--dry-run", *tiny())
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    labels = [line.split()[0] for line in out.splitlines()]
    assert labels == ["device", "network", "pictures", "training", "end", "folder"]
    assert str(tmp_path / "run") in out

    code, out, _ = call(*arguments, "--json")
    plan = json.loads(out)
    assert plan["images"] == {"A": 4, "B": 4}
    assert plan["steps"] == 4
    assert plan["seconds"] > 0
    assert not (tmp_path / "run").exists()


def test_a_limit_that_is_over_before_a_step_is_refused_with_a_remedy(tmp_path: Path) -> None:
    data, config = small_data(tmp_path)
    arguments = ("train", config, "--data", data, "--out", tmp_path / "run", *tiny())
    code, out, err = call(*arguments, "--max-minutes", 1e-4)
    assert (code, out) == (2, "")
    assert "--max-minutes" in err
    assert "init" in err
    assert not (tmp_path / "run").exists()


def test_the_end_names_the_kept_step_and_the_next_command_for_a_shell(tmp_path: Path) -> None:
    data, config = small_data(tmp_path / "my pictures")
    run = tmp_path / "my pictures" / "run"
    code, out, err = call("train", config, "--data", data, "--out", run, *tiny())
    assert code == 0, err
    *_, last = out.splitlines()
    words = shlex.split(last.removeprefix("next: "))
    assert words[:3] == ["introshift", "translate", str(run)]
    code, _, err = call(*words[1:])
    assert code == 0, err
    assert len(list((run / "A_to_B").glob("*.png"))) == 4


def test_force_resumes_with_other_settings_that_resume_refuses(tmp_path: Path) -> None:
    data, config = small_data(tmp_path)
    arguments = ("train", config, "--data", data, "--out", tmp_path / "run")
    code, _, err = call(*arguments, *tiny())
    assert code == 0, err

    other = ("--set", "objective.lambda_cyc=0.5")
    code, _, err = call(*arguments, "--force", *tiny(steps=6))
    assert code == 2
    assert "--resume" in err
    code, _, err = call(*arguments, "--resume", *tiny(steps=6), *other)
    assert code == 2
    assert "lambda_cyc" in err
    assert "--force" in err
    code, _, err = call(*arguments, "--resume", "--force", *tiny(steps=6), *other)
    assert code == 0, err


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (TrainingInterruptedError("saved"), 130),
        (TrainingDivergedError("rec not finite"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_ends_of_training_have_their_exit_codes(
    end: BaseException,
    expected: int,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: object) -> None:
        raise end

    monkeypatch.setattr("translate.training.trainer.Trainer.run", run)
    code, out, err = call("train", trained / "my.yaml", "--out", tmp_path / "r", *tiny())
    assert (code, out) == (expected, "")
    assert f"introshift: {end}" in err


@pytest.mark.parametrize(
    "name", [r"back\new", "it's", 'a "b"', "a: b", "#1", " spaced ", "null", "1e3", "[x"]
)
def test_data_in_an_oddly_named_folder_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for domain in ("trainA", "trainB"):
        fill(Path(name) / domain)
    (tmp_path / "c.yaml").write_text("data: {size: 16, channels: 1}\n")
    few = ("--set", "train.steps=1", "--set", "model.width=8", "--max-minutes", "1e2")
    code, _, err = call(
        "train", "c.yaml", "--data", name, "--out", "run", "--precision", "32", *few
    )
    assert code == 0, err
    code, out, _ = call("info", "run/model.safetensors", "--config")
    values = yaml.safe_load(out)
    assert values["data"]["root"] == name
    assert values["train"]["max_minutes"] == 100
    assert values["train"]["precision"] == "fp32"


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(
            ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
            + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
        ),
        "[" * 10_000,
        "train: {steps: 1}\ntrain: {steps: 2}\n",
    ],
    ids=["aliases", "nesting", "duplicate"],
)
def test_a_hostile_config_ends_at_once_with_exit_2(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    code, out, err = call("train", tmp_path / "c.yaml", "--out", tmp_path / "r")
    assert (code, out) == (2, "")
    assert "c.yaml: line " in err
    assert len(err) < 1000


@pytest.mark.parametrize(
    "setting",
    [
        "train.batch_size=1000000000",
        "data.memory_gb=.inf",
        "data.root=" + "[" * 5000,
        "train.max_minutes=.nan",
    ],
)
def test_a_hostile_setting_ends_at_once_with_exit_2(setting: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("")
    code, out, err = call("train", tmp_path / "c.yaml", "--out", tmp_path / "r", "--set", setting)
    assert (code, out) == (2, "")
    assert setting.partition("=")[0] in err
    assert len(err) < 1000


def test_an_unknown_precision_is_refused_with_the_known_ones(trained: Path, tmp_path: Path) -> None:
    code, _, err = call(
        "train", trained / "my.yaml", "--out", tmp_path / "r", "--precision", "fp16"
    )
    assert code == 2
    for name in ("train.precision", "'fp16'", "'fp32'"):
        assert name in err
