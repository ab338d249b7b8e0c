"""Phase and learning rate follow from a run's state alone."""

from __future__ import annotations

import pytest

from translate.config import TrainConfig
from translate.training.state import LEARNING_RATE_RAMP, TrainState


def test_the_learning_rate_rises_at_the_start_of_both_phases() -> None:
    train = TrainConfig(steps=4000, warmup=0.25, learning_rate=1e-3, cooldown=0.25)
    rates = []
    state = TrainState(train)
    for state.step in range(4000):
        if state.beta_neg is None and not state.warming_up:
            state.beta_neg = 64.0
            state.introspective_start = state.step
        rates.append(state.learning_rate)
    ramp = [1e-3 * (i + 1) / LEARNING_RATE_RAMP for i in range(LEARNING_RATE_RAMP)]
    assert rates[:100] == pytest.approx(ramp)
    assert rates[1000:1100] == pytest.approx(ramp)
    assert set(rates[100:1000]) == set(rates[1100:3000]) == {1e-3}
    assert rates[3000:] == pytest.approx([1e-3 * (1 - i / 1000) for i in range(1000)])


def test_minutes_decide_where_they_end_first() -> None:
    state = TrainState(TrainConfig(steps=1000, max_minutes=2.0, warmup=0.3), step=100, seconds=30.0)
    assert state.progress == 0.25
    assert state.warming_up
    state.step = 400
    assert state.progress == 0.4
    assert not state.warming_up


def test_what_is_reserved_of_the_minutes_is_no_training_time_and_survives_resuming() -> None:
    train = TrainConfig(steps=1000, max_minutes=2.0)
    state = TrainState(train, seconds=30.0, reserved=60.0)
    assert state.progress == 0.5
    assert TrainState(train, **state.values()).progress == 0.5
