"""Bootstrap intervals against closed forms, their width and coverage."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
import torch

from translate.metrics.statistics import bootstrap_interval


def test_bootstrap_closed_forms() -> None:
    assert bootstrap_interval(torch.tensor([0.25])) == (0.25, 0.25)
    assert bootstrap_interval(torch.full((9,), 0.3)) == pytest.approx((0.3, 0.3))
    # means 0, 1/2, 1 with 1/4, 1/2, 1/4
    low, high = bootstrap_interval(torch.tensor([0.0, 1.0]), resamples=4000)
    assert (low, high) == (0, 1)
    assert bootstrap_interval(torch.tensor([0.0, 1.0]), level=0.4, resamples=4000) == (0.5, 0.5)


def test_bootstrap_depends_on_its_seed_alone() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    first = bootstrap_interval(values)
    torch.rand(7)  # the global stream is of no concern
    assert bootstrap_interval(values) == first
    assert bootstrap_interval(values, seed=1) != first


def test_bootstrap_width_and_coverage() -> None:
    trials = torch.randn(200, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bounds = torch.tensor([bootstrap_interval(values, resamples=500) for values in trials])
    covered = ((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)).float().mean().item()
    # 0.95 less the bootstrap's small-sample bias, four standard errors of 200 trials
    assert 0.87 <= covered <= 0.99
    width = (bounds[:, 1] - bounds[:, 0]).mean().item()
    assert width == pytest.approx(2 * 1.96 / 40**0.5, rel=0.1)


@pytest.mark.parametrize(
    "arguments", [{"level": 0.0}, {"level": 1.0}, {"level": 95}, {"resamples": 0}]
)
def test_bootstrap_refuses(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="level between 0 and 1"):
        bootstrap_interval(torch.ones(3), **arguments)
    with pytest.raises(ValueError, match="N >= 1"):
        bootstrap_interval(torch.ones(0))
    with pytest.raises(ValueError, match=r"got \(2, 2\)"):
        bootstrap_interval(torch.ones(2, 2))


def test_memory_of_the_bootstrap_does_not_grow_with_the_resamples() -> None:
    values = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    tracemalloc.start()
    bootstrap_interval(values, resamples=200)  # 160 MB of draws if taken at once
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
