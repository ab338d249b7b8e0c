"""Training learns, resumes to the same weights, stops cleanly and leaves readable files."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import re
import resource
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests._helpers.trainings import bars, logged, run, settings, weights
from translate.data.dataset import Domain
from translate.io.images import read_image
from translate.models.checkpoint import load_model, load_tensors, save_tensors
from translate.models.metadata import HASH
from translate.presets import PRESETS
from translate.runtime.device import choose_device, choose_precision, keep_freed_memory
from translate.training.timing import time_training
from translate.training.trainer import Trainer, TrainingInterruptedError, TrainProgress
from translate.training.validation import AS_GOOD, CHANCE


def test_a_tiny_model_learns(tmp_path: Path) -> None:
    config = settings(
        train={
            "steps": 120,
            "batch_size": 4,
            "log_every": 20,
            "learning_rate": 2e-3,
            "checkpoint_every": 200,
        }
    )
    run(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(20, 121, 20))
    assert lines[-1]["rec"] < 0.5 * lines[0]["rec"]
    assert {
        "cyc",
        "kl_s_translation",
        "kl_s_wrong",
        "beta_neg",
        "learning_rate",
        "images_per_second",
    } <= lines[-1].keys()
    assert "kl_s_translation" not in lines[0], "the warm-up decodes no fakes"
    file = load_model(tmp_path / "model.safetensors")
    assert file.summary["step"] == 120
    picture = read_image(tmp_path / "samples" / "step_0000120.png").pixels
    assert picture.shape[0] > 8 * 96
    assert picture.shape[1] > 6 * 96


@pytest.mark.parametrize("memorized", [None, 1.0])
def test_interrupted_and_resumed_equals_undisturbed(
    tmp_path: Path, memorized: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translate.training.trainer.KL_EVERY", 1)
    # downwards, as these few steps memorize nothing
    monkeypatch.setattr("translate.training.state.SHARE_STEP", -0.3)
    augment = {"content_affine": 0.5, "energy_shift": 0.1, "memorized": memorized}
    config = settings(augment=augment, data={"flip": 0.5})
    run(config, tmp_path / "whole")
    trainer = Trainer(config, bars(config), tmp_path / "parts", "cpu")
    plain = trainer.step
    count = 0

    def dies_at_the_sixth(x: torch.Tensor) -> dict[str, torch.Tensor]:
        nonlocal count
        count += 1
        if count == 6:
            raise MemoryError
        return plain(x)

    trainer.step = dies_at_the_sixth  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        trainer.run()
    run(config, tmp_path / "parts", resume=True)
    whole = weights(tmp_path / "whole")
    parts = weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    lines = [
        json.loads(line) for line in (tmp_path / "parts" / "stats.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert ("energy_share" in lines[-1]) is (memorized is not None)
    if memorized is not None:
        assert any(line["energy_share"] > 0 for line in lines), "steering has to matter here"


def test_a_process_goes_on_until_all_agree_to_stop(tmp_path: Path) -> None:
    trainer = Trainer(settings(), bars(settings()), tmp_path, "cpu")
    plain = trainer.step

    def interrupted(x: torch.Tensor) -> dict[str, torch.Tensor]:
        if trainer.state.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(x)

    trainer.step = interrupted  # type: ignore[method-assign]
    trainer.processes.agree = lambda seconds, stop: (seconds, False)  # type: ignore[method-assign]
    with pytest.raises(TrainingInterruptedError):
        trainer.run()
    assert trainer.state.step == 8


def test_the_best_model_is_kept_beside_the_last_and_resuming_remembers_it(tmp_path: Path) -> None:
    config = settings(train={"steps": 12, "score_every": 3, "checkpoint_every": 4})
    whole = run(config, tmp_path / "whole")
    lines = [
        json.loads(line) for line in (tmp_path / "whole" / "scores.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    values = [float(line["value"]) for line in lines]
    kept = 0
    for i, line in enumerate(lines):
        lowest = min(values[: i + 1])
        if values[i] - lowest <= max(AS_GOOD * lowest, CHANCE * line["difference_error"]):
            kept = line["step"]
        assert line["best_step"] == kept
    best = {"step": kept, "value": min(values)}
    assert (whole.state.best_step, whole.state.best_value) == (best["step"], best["value"])
    assert load_model(tmp_path / "whole" / "model.safetensors").summary["step"] == best["step"]
    assert lines[-1]["direction_scores"][0].keys() >= {
        "source",
        "to",
        "distance",
        "identity",
        "cycle",
        "energy_gap",
        "kl_generalization_gap",
    }

    first = Trainer(config, bars(config), tmp_path / "parts", "cpu")
    plain = first.save

    def dies_after_step_eight() -> None:
        plain()
        if first.state.step == 8:
            raise MemoryError

    first.save = dies_after_step_eight  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        first.run()
    second = run(config, tmp_path / "parts", resume=True)
    assert (second.state.best_step, second.state.best_value) == (best["step"], best["value"])
    for name in ("whole", "parts"):
        assert (tmp_path / name / "scores.jsonl").read_text() == (
            tmp_path / "whole" / "scores.jsonl"
        ).read_text()
    kept = [load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "parts")]
    assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])


def test_domains_that_cannot_be_told_apart_are_named_once(tmp_path: Path) -> None:
    config = settings(train={"steps": 8, "score_every": 2})
    domain = bars(config)[0]
    trainer = Trainer(config, [domain, Domain("B", domain.images, {})], tmp_path, "cpu")
    with logged() as messages:
        trainer.run()
    alike = [text for text in messages if "told apart" in text]
    assert [re.findall("[AB] to [AB]", text) for text in sorted(alike)] == [["A to B"], ["B to A"]]
    summary = load_model(tmp_path / "model.safetensors").summary
    assert sum("told apart" in text for text in summary["warnings"]) == 2


def test_a_state_of_before_the_criterion_had_an_error_goes_on(tmp_path: Path) -> None:
    config = settings(train={"steps": 8, "score_every": 4, "checkpoint_every": 4})
    run(config, tmp_path)
    for path in (tmp_path / "state").glob("*.safetensors"):
        tensors, metadata = load_tensors(path)
        values = json.loads(metadata["clock"])
        del values["best_influence"], metadata[HASH]
        save_tensors(path, tensors, {**metadata, "clock": json.dumps(values)})
    (tmp_path / "state" / "step_0000008.safetensors").unlink()
    resumed = run(config, tmp_path, resume=True)
    assert resumed.state.step == 8
    assert resumed.state.best_value is not None


def test_what_goes_wrong_is_logged_once_and_stays_in_the_model_file(tmp_path: Path) -> None:
    config = settings(train={"steps": 8, "warmup": 0.25, "score_every": 2})
    with logged() as messages:
        run(config, tmp_path)
    warnings = [text for text in messages if "warning" in text]
    kept = load_model(tmp_path / "model.safetensors").summary["warnings"]
    assert kept, "eight steps cannot translate"
    # Logged when it first went wrong, with the numbers of that step; kept with those of the last
    # score.
    numbers = re.compile(r"-?[\d.]+")
    kinds = [numbers.sub("#", text.split("warning: ")[1]) for text in warnings]
    assert {numbers.sub("#", text) for text in kept} <= set(kinds)
    assert len(set(kinds)) == len(kinds), "logged once"


def test_ctrl_c_says_what_follows_and_twice_stops_at_once(tmp_path: Path) -> None:
    config = settings(train={"steps": 100_000, "checkpoint_every": 3})
    trainer = Trainer(config, bars(config), tmp_path, "cpu")
    plain = trainer.step

    def interrupted(x: torch.Tensor) -> dict[str, torch.Tensor]:
        if trainer.state.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return plain(x)

    trainer.step = interrupted  # type: ignore[method-assign]
    with logged() as messages, pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert any("--resume" in text for text in messages)
    assert trainer.state.step == 4
    states = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert states[-1] == "step_0000003.safetensors"


def test_sigterm_saves_and_stops(tmp_path: Path) -> None:
    config = settings(train={"steps": 100_000, "checkpoint_every": 100_000})
    trainer = Trainer(config, bars(config), tmp_path, "cpu")
    plain = trainer.step

    def terminated(x: torch.Tensor) -> dict[str, torch.Tensor]:
        if trainer.state.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(x)

    trainer.step = terminated  # type: ignore[method-assign]
    with pytest.raises(TrainingInterruptedError, match="--resume"):
        trainer.run()
    assert load_model(tmp_path / "model.safetensors").summary["step"] == trainer.state.step == 5
    states = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert states[0] == "step_0000000.safetensors"


def test_minutes_end_a_run_and_its_schedules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(
        "translate.training.trainer.time", SimpleNamespace(perf_counter=lambda: next(seconds))
    )
    config = settings(train={"steps": 100_000, "max_minutes": 0.2, "warmup": 0.5, "cooldown": 0.3})
    timing = replace(
        time_training(config, "cpu", budget=0.1),
        warmup_step=1.0,
        introspective_step=1.0,
        closing=3.0,
    )
    trainer = Trainer(config, bars(config), tmp_path, "cpu", timing=timing)
    trainer.run()
    # of 12 seconds 1 before the first step, 3 for the closing, 1 for a step that begins too late
    assert trainer.state.step == trainer.state.seconds == 7
    assert trainer.state.progress == 1
    assert trainer.state.learning_rate == 0
    assert trainer.state.beta_neg is not None


def test_three_domains_train_as_two_do(tmp_path: Path) -> None:
    config = settings(data={"domains": {"A": "a", "B": "b", "C": "c"}})
    trainer = run(config, tmp_path, domains=3)
    x = torch.rand(1, 1, 16, 16)
    moved = {to: trainer.train_step.ema.translate(x, 0, to) for to in (1, 2)}
    assert not torch.equal(moved[1], moved[2])


def test_domains_of_very_different_sizes(tmp_path: Path) -> None:
    a, b = bars(settings())
    trainer = Trainer(settings(), [a, Domain("B", b.images[:2], {})], tmp_path, "cpu")
    assert trainer.run()["step"] == 8
    assert read_image(tmp_path / "samples" / "step_0000008.png").pixels.shape[0] < 3 * 100


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_trains_a_few_steps(preset: str, tmp_path: Path) -> None:
    config = settings(
        data={"size": 32, "channels": 3},
        model={"preset": preset, "width": 8},
        train={"steps": 3, "warmup": 0.4, "log_every": 1},
    )
    before = Trainer(config, bars(config), tmp_path / "x", "cpu").train_step.ema.state_dict()
    after = run(config, tmp_path / "run").train_step.ema.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    changed = {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "decoder"}


def test_bf16_trains_too_and_keeps_float32_weights(tmp_path: Path) -> None:
    trainer = run(settings(train={"precision": "bf16"}), tmp_path)
    assert {p.dtype for p in trainer.train_step.ema.parameters()} == {torch.float32}
    assert all(p.isfinite().all() for p in trainer.train_step.ema.parameters())


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_the_slope_of_the_encoder_is_penalized_through_all_augmentations(
    precision: str, tmp_path: Path
) -> None:
    """Shifts between pixels are differentiable only once, and colours by way of HSV hardly."""
    config = settings(
        objective={"gamma_r1": 1.0},
        augment={"memorized": 0.0},
        train={"precision": precision, "steps": 30, "warmup": 0.1},
    )
    run(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert "r1" not in lines[0], "the warm-up has no game"
    assert lines[-1]["energy_share"] > 0, "some images were changed"
    assert 0 < lines[-1]["r1"] < math.inf


def test_progress_is_reported_at_each_line_of_the_log(tmp_path: Path) -> None:
    reports: list[TrainProgress] = []
    Trainer(settings(), bars(settings()), tmp_path, "cpu", progress=reports.append).run()
    assert [report.step for report in reports] == [2, 4, 6, 8]
    assert reports[-1].progress == 1
    assert reports[-1].seconds_left == pytest.approx(0)
    assert all(report.images_per_second > 0 and "rec" in report.terms for report in reports)


def test_devices_that_are_not_there_are_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="--device abacus: "):
        choose_device("abacus")
    assert choose_precision("32", torch.device("cpu")) is torch.float32
    assert choose_precision("bf16", torch.device("cpu")) is torch.bfloat16


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept() -> None:
    keep_freed_memory()
    faults = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        several = [torch.ones(2**20) for _ in range(20)]  # each 1024 pages of 4 KB
        del several
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert faults[-1] < 1024, faults
