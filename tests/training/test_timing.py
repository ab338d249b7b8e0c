"""What a training will take is told within a factor of two, and nothing else changes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests._helpers.trainings import bars, run, settings
from translate.training.step import TrainStep
from translate.training.timing import time_training
from translate.training.validation import ModelSelector


@pytest.fixture
def processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the seconds of this process alone, so that a busy machine changes nothing."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)


@pytest.mark.usefixtures("processor_time")
def test_a_run_takes_at_most_twice_as_long_as_told_and_at_least_half(tmp_path: Path) -> None:
    config = settings(
        train={"steps": 20, "warmup": 0.5, "score_every": 10, "checkpoint_every": 1000},
    )
    images = len(bars(config)[0].images)
    run(config, tmp_path / "first")  # what is loaded once
    told = time_training(config, "cpu", images)

    start = time.perf_counter()
    run(config, tmp_path / "run")
    taken = time.perf_counter() - start
    assert taken / 2 < told.total < taken * 2
    assert told.warmup_step < told.introspective_step


@pytest.mark.parametrize("seconds_an_image", [0.0001, 0.01, 0.5])
def test_a_slow_step_is_timed_on_fewer_images_and_scaled_up(
    seconds_an_image: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def gradients(_: TrainStep, x: torch.Tensor, *__: object) -> None:
        nonlocal now
        now += len(x) * seconds_an_image

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(TrainStep, "gradients", gradients)
    monkeypatch.setattr(TrainStep, "update", lambda *_: None)
    monkeypatch.setattr(ModelSelector, "score", lambda *_: None)
    told = time_training(settings(train={"batch_size": 64}), "cpu", budget=10.0)
    assert told.warmup_step == pytest.approx(2 * 64 * seconds_an_image)
    assert now < 10.0


def test_random_numbers_of_the_process_stay_as_they_are() -> None:
    torch.manual_seed(7)
    expected = torch.get_rng_state()
    drawn = np.random.get_state()[1].tolist()  # type: ignore[index]
    time_training(settings(), "cpu", budget=0.1)
    assert torch.equal(torch.get_rng_state(), expected)
    assert np.random.get_state()[1].tolist() == drawn  # type: ignore[index]


def test_a_limit_of_minutes_ends_the_training_before_its_steps() -> None:
    config = settings(train={"steps": 10**9, "max_minutes": 0.5})
    assert time_training(config, "cpu", budget=0.1).total == 30
