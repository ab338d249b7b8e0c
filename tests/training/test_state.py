"""Phase and learning rate follow from a run's state alone."""

from __future__ import annotations

import pytest

from translate.config import TrainConfig
from translate.training.state import LEARNING_RATE_RAMP, MAX_SHARE, SHARE_STEP, TrainState


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


def test_without_a_cooldown_the_learning_rate_stays_to_the_end() -> None:
    state = TrainState(TrainConfig(steps=4000, learning_rate=1e-3), beta_neg=64.0)
    for state.step in (3000, 3999, 4000):
        assert state.learning_rate == 1e-3


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


def test_more_images_are_changed_while_too_much_is_memorized() -> None:
    """Held-out images lie 0.75 of the way from trained images to fakes, then 0.25 of it."""
    state = TrainState(TrainConfig())
    state.steer(10.0, 25.0, 30.0, target=0.5)
    assert (state.kl_trained, state.kl_held_out, state.kl_fake) == (10.0, 25.0, 30.0)
    assert state.memorized == 0.75
    assert state.energy_share == SHARE_STEP
    for _ in range(200):
        state.steer(10.0, 25.0, 30.0, target=0.5)
    assert state.energy_share == MAX_SHARE

    state.steer(20.0, 15.0, 40.0, target=0.5)
    assert state.kl_trained == pytest.approx(11.0)
    assert state.memorized == pytest.approx((24.0 - 11.0) / (31.0 - 11.0))
    for _ in range(200):
        state.steer(10.0, 15.0, 30.0, target=0.5)
    assert state.memorized == pytest.approx(0.25)
    assert state.energy_share == 0.0
    assert TrainState(TrainConfig(), **state.values()) == state


def test_fakes_that_are_as_typical_as_trained_images_show_nothing_memorized() -> None:
    state = TrainState(TrainConfig())
    assert state.memorized == 0.0
    state.steer(10.0, 40.0, 10.0, target=0.5)
    assert state.memorized == 0.0
    assert state.energy_share == 0.0
