"""Intervals and ranks of measured values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def auroc(usual: Sequence[float], foreign: Sequence[float]) -> float:
    """The chance that a foreign value lies above a usual one, ties counting half (Mann & Whitney 1947): 1 tells them
    apart without fault, 0.5 not at all. Raises ValueError where either side is empty."""
    if not usual or not foreign:
        raise ValueError(f"at least one value is needed on each side, got {len(usual)} and {len(foreign)}")
    ranked, values = torch.tensor(usual, dtype=torch.float64).sort().values, torch.tensor(foreign, dtype=torch.float64)
    below, up_to = (torch.searchsorted(ranked, values, right=right) for right in (False, True))
    return float((below + up_to).double().mean() / (2 * len(ranked)))


def bootstrap_interval(
    values: Tensor, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979): how far it could have moved with other images.

    The same values, in the same order, and the same seed give the same interval. One value v gives (v, v).

    Shape: values (N,), any unit -> (low, high) in that unit.
    Raises ValueError without values, for another shape, a level outside (0, 1) or no resamples.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected values (N,) with N >= 1, got {tuple(values.shape)}")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"expected a level between 0 and 1 and at least 1 resample, got {level} and {resamples}")
    values = values.detach().cpu().double()
    generator = torch.Generator().manual_seed(seed)
    draws = (torch.randint(len(values), (len(values),), generator=generator) for _ in range(resamples))  # one at a time
    means = torch.stack([values[draw].mean() for draw in draws])
    tail = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = means.quantile(tail).tolist()
    return low, high
