"""Resuming: the newest whole state, of the same config and data or with --force.

Nothing is half restored.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.trainings import bars, logged, run, settings, weights
from translate.config import Config, load_config
from translate.data.dataset import Domain
from translate.models.checkpoint import load_model, load_tensors
from translate.models.metadata import HASH
from translate.training.checkpoint import list_states, load_state, save_state
from translate.training.run_logger import RunLogger
from translate.training.trainer import Trainer, TrainingDivergedError, TrainingInterruptedError

GOLDEN = Path(__file__).parents[1] / "golden" / "run"


def resumed(
    config: Config, out: Path, force: bool = False, domains: list[Domain] | None = None
) -> list[str]:
    """Resume a run; return the messages that are logged."""
    trainer = Trainer(config, domains or bars(config), out, "cpu")
    with logged() as messages:
        trainer.run(resume=True, force=force)
    return messages


def rewrite(path: Path, tensors: dict[str, torch.Tensor], **metadata: object) -> None:
    """Write a state anew, without its hash and with some metadata changed; None: left out."""
    about = {**load_tensors(path)[1], **{k: json.dumps(v) for k, v in metadata.items()}}
    del about[HASH]
    for name in [name for name, value in metadata.items() if value is None]:
        del about[name]
    save_file(tensors, path, about)


@pytest.fixture(scope="module")
def eight_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    run(settings(), out)
    return out


@pytest.fixture
def finished(eight_steps: Path, tmp_path: Path) -> Path:
    """A run of eight steps, with the states of steps 6 and 8; the test may change its files."""
    return shutil.copytree(eight_steps, tmp_path / "run")


def test_terms_that_begin_within_an_interval_are_means_of_their_steps(tmp_path: Path) -> None:
    """Warm-up ends after 2 of 5 steps; a log of each step has what the mean must be."""
    lines = {}
    for every in (1, 5):
        config = settings(train={"steps": 5, "warmup": 0.4, "log_every": every})
        run(config, tmp_path / f"{every}")
        text = (tmp_path / f"{every}" / "stats.jsonl").read_text()
        lines[every] = [json.loads(line) for line in text.splitlines()]
    for name in ("kl_s_translation", "rec"):
        values = [line[name] for line in lines[1] if name in line]
        assert len(values) == (5 if name == "rec" else 3)
        assert lines[5][0][name] == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_states_are_sorted_by_number(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    ema = torch.nn.Linear(2, 2)
    for step in (9_999_998, 9_999_999, 10_000_000):
        save_state(tmp_path, model, ema, [], {"step": step})
    (tmp_path / "step_copy.safetensors").write_bytes(b"somebody's")
    assert [path.stem for path in list_states(tmp_path)] == ["step_9999999", "step_10000000"]
    assert load_state(tmp_path, model, ema, [])[0] == {"step": 10_000_000}


@pytest.mark.parametrize(("added", "removed"), [("momentum", None), (None, "kl_s")])
def test_a_state_of_another_version_is_refused(
    finished: Path, added: str | None, removed: str | None
) -> None:
    path = list_states(finished / "state")[-1]
    state = json.loads(load_tensors(path)[1]["clock"])
    if added:
        state[added] = 1
    state.pop(removed, None)
    rewrite(path, load_file(path), clock=state)
    with pytest.raises(ValueError, match=rf"{path.name}: .*another version.*{added or removed} is"):
        resumed(settings(), finished)


@pytest.mark.parametrize(
    "damage", ["empty", "clock", "no clock", "list", "moments", "nan", "cut", "bit"]
)
def test_a_damaged_state_falls_back_to_the_older_one(finished: Path, damage: str) -> None:
    expected = weights(finished)
    path = list_states(finished / "state")[-1]
    tensors = load_file(path)
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "clock":
        save_file(tensors, path, {"clock": '{"step": 8, "se'})
    elif damage == "no clock":
        rewrite(path, tensors, clock=None)
    elif damage == "list":
        rewrite(path, tensors, clock=[8])
    elif damage == "moments":
        rewrite(path, {k: v for k, v in tensors.items() if not k.endswith(".exp_avg_sq")})
    elif damage == "nan":
        tensors["average.decoder.last.bias"][0] = float("nan")
        rewrite(path, tensors)
    elif damage == "cut":
        rewrite(path, {k: v for k, v in tensors.items() if k != "model.decoder.last.bias"})
    elif damage == "bit":
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
    messages = resumed(settings(), finished)
    assert any("damaged" in line and path.name in line for line in messages), messages
    assert any("step 6" in line for line in messages), messages
    assert all(torch.equal(value, weights(finished)[name]) for name, value in expected.items())


def test_nothing_is_changed_by_a_state_that_does_not_fit(tmp_path: Path) -> None:
    """The decoder's last layer is another: the encoder, which fits, must stay as it is too."""
    run(settings(), tmp_path)
    path = list_states(tmp_path / "state")[-1]
    tensors = load_file(path)
    tensors["average.decoder.last.bias"] = torch.zeros(77)
    rewrite(path, tensors)
    trainer = Trainer(settings(), bars(settings()), tmp_path, "cpu")
    before = {name: value.clone() for name, value in trainer.train_step.model.state_dict().items()}
    with pytest.raises(ValueError, match=r"another model config \(average.decoder.last.bias"):
        trainer.run(resume=True)
    after = trainer.train_step.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_without_a_whole_state_to_go_back_to_a_run_diverges(tmp_path: Path) -> None:
    config = settings(train={"checkpoint_every": 100})
    trainer = Trainer(config, bars(config), tmp_path, "cpu")
    with torch.no_grad():
        next(trainer.train_step.model.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(
        TrainingDivergedError, match=r"step 1: .*no whole training state.*train anew"
    ):
        trainer.run()


@pytest.mark.parametrize(
    ("section", "key", "value", "before"),
    [
        ("objective", "beta_kl_s", 5.0, 3.0),
        ("model", "width", 16, 8),
        ("train", "warmup", 0.5, 0.3),
        ("train", "seed", 1, 0),
        ("augment", "energy_cutout", 0.0, 0.5),
    ],
)
def test_another_config_is_named(
    finished: Path, section: str, key: str, value: object, before: object
) -> None:
    changed = settings(**{section: {key: value}})
    with pytest.raises(ValueError, match=r"--force") as caught:
        resumed(changed, finished)
    assert f"{section}.{key}: {before} in the state, {value} in the config" in str(caught.value)


def test_force_goes_on_with_the_changed_settings(finished: Path) -> None:
    changed = settings(objective={"beta_kl_s": 5.0}, train={"steps": 10})
    messages = resumed(changed, finished, force=True)
    assert any("objective.beta_kl_s: 3.0 in the state, 5.0" in line for line in messages)
    last = load_model(finished / "last.safetensors")
    assert last.config.objective.beta_kl_s == 5
    assert last.summary["step"] == 10
    messages = resumed(changed, finished)
    assert not any("beta_kl_s" in line for line in messages), "it is the run's now"


def test_other_pictures_and_other_numbers_of_them_are_named(finished: Path) -> None:
    a, b = bars(settings())
    with pytest.raises(
        ValueError, match=r"data of B: 12 images, .* in the state, 11 images, .* now"
    ):
        resumed(settings(), finished, domains=[a, replace(b, images=b.images[1:])])
    inverted = [255 - image for image in b.images]
    with pytest.raises(ValueError, match="data of B: ") as caught:
        resumed(settings(), finished, domains=[a, replace(b, images=inverted)])
    assert "data of A" not in str(caught.value)


def test_what_changes_no_weight_may_change_and_a_longer_run_is_logged(finished: Path) -> None:
    free = settings(
        data={"root": "elsewhere"},
        train={"log_every": 3, "sample_every": 4, "checkpoint_every": 5, "steps": 9},
    )
    changes = [line for line in resumed(free, finished) if "change" in line]
    assert len(changes) == 1, changes
    assert "train.steps: 8 in the state, 9 in the config" in changes[0]


def test_a_state_that_does_not_say_its_config_goes_on_with_a_message(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "run")
    messages = resumed(load_config(tmp_path / "run" / "config.yaml"), tmp_path / "run")
    assert any("step_0000004.safetensors" in line and "config" in line for line in messages)


def test_an_interruption_of_the_last_score_leaves_a_state(tmp_path: Path) -> None:
    config = settings(train={"checkpoint_every": 100})
    trainer = Trainer(config, bars(config), tmp_path, "cpu")
    plain = trainer.score

    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        plain()

    trainer.score = interrupted  # type: ignore[method-assign]
    # Without its guard the interruption would end pytest: that of Python has no message to match.
    with pytest.raises((TrainingInterruptedError, KeyboardInterrupt), match="--resume"):
        trainer.run()
    assert list_states(tmp_path / "state")[-1].name == "step_0000008.safetensors"
    assert load_model(tmp_path / "last.safetensors").summary["step"] == 8
    resumed(config, tmp_path)


def test_a_finished_run_that_is_resumed_scores_its_last_step_once(finished: Path) -> None:
    before = (finished / "scores.jsonl").read_text()
    steps = [json.loads(line)["step"] for line in before.splitlines()]
    assert steps == [8]
    run(settings(), finished, resume=True)
    assert (finished / "scores.jsonl").read_text() == before


def test_a_resumed_run_says_no_time_left_before_its_first_step(finished: Path) -> None:
    """Steps of the process before, of both phases, are no measure of those to come."""
    trainer = Trainer(settings(), bars(settings()), finished, "cpu")
    trainer._restore()
    assert trainer.state.step > 0
    assert trainer._seconds_left is None


def test_a_last_score_that_was_lost_is_written_again(finished: Path) -> None:
    """The state is saved before the last score: a run may be killed in between."""
    before = (finished / "scores.jsonl").read_text()
    (finished / "scores.jsonl").write_text(before[:40])
    run(settings(), finished, resume=True)
    assert (finished / "scores.jsonl").read_text() == before


def test_a_new_run_begins_with_empty_logs_samples_and_states(tmp_path: Path) -> None:
    run(settings(train={"steps": 12, "sample_every": 6}), tmp_path)
    run(settings(train={"steps": 4}), tmp_path)
    for name, steps in (("stats", [2, 4]), ("scores", [4])):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == steps
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step_0000004.png"]
    names = [path.name for path in list_states(tmp_path / "state")]
    assert names == ["step_0000002.safetensors", "step_0000004.safetensors"]


def test_a_bad_byte_in_a_log_does_not_refuse_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "stats.jsonl").write_bytes(b'{"step": 2}\n{"st\xffep": 3}\n{"step": 4}\n')
    RunLogger(tmp_path).truncate_after(4)
    assert (tmp_path / "stats.jsonl").read_text() == '{"step": 2}\n{"step": 4}\n'


def test_the_command_names_what_differs_and_force_goes_on(tmp_path: Path) -> None:
    for name in ("trainA", "trainB"):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.new("L", (16, 16), 40 * i).save(tmp_path / name / f"{i}.png")
    (tmp_path / "c.yaml").write_text(settings(data={"root": str(tmp_path)}).to_yaml())
    words = ["train", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu"]

    def call(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, arguments)
        return done.exit_code, done.stdout, done.stderr

    code, _, err = call(*words, "--force")
    assert code == 2
    assert "goes with --resume" in err
    assert call(*words)[0] == 0
    words += ["--resume", "--set", "train.seed=1"]
    code, _, err = call(*words)
    assert code == 2
    assert "train.seed: 0 in the state, 1 in the config" in err
    code, _, err = call(*words, "--force")
    assert code == 0
    assert "resumed with a change: train.seed" in err
    assert "resumed at step 8\n" in err
