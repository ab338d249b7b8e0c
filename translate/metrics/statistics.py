"""Intervals and ranks of measured values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import bootstrap, mannwhitneyu
from torch import Tensor

DRAWN = 1 << 20  # values drawn at a time, so that memory does not grow with their number


def auroc(usual: Sequence[float], foreign: Sequence[float]) -> float:
    """The chance that a foreign value lies above a usual one, ties counting half (Mann & Whitney
    1947): 1 tells them apart without fault, 0.5 not at all. Raises ValueError where either side
    is empty.
    """
    if not usual or not foreign:
        raise ValueError(
            f"at least one value is needed on each side, got {len(usual)} and {len(foreign)}"
        )
    # Only the statistic is asked for: "asymptotic" spares the exact p-value, whose cost grows with
    # the square.
    pairs = mannwhitneyu(foreign, usual, method="asymptotic").statistic
    return float(pairs) / (len(usual) * len(foreign))


def bootstrap_interval(
    values: Tensor, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979): how far it could have moved with
    other images.

    The same values, in the same order, and the same seed give the same interval. One value v
    gives (v, v).

    Shape: values (N,), any unit -> (low, high) in that unit.
    Raises ValueError without values, for another shape, a level outside (0, 1) or no resamples.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected values (N,) with N >= 1, got {tuple(values.shape)}")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            f"expected a level between 0 and 1 and at least 1 resample, got {level} and {resamples}"
        )
    values = values.detach().cpu().double()
    if len(values) == 1:  # of which scipy makes no interval
        return values.item(), values.item()
    found = bootstrap(
        (values.numpy(),),
        np.mean,
        n_resamples=resamples,
        batch=max(1, DRAWN // len(values)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
