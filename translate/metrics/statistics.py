"""Intervals and ranks of measured values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import bootstrap, mannwhitneyu
from torch import Tensor

DRAWN = 1 << 20  # values drawn at a time, so that memory does not grow with their number


def auroc(reference: Sequence[float], foreign: Sequence[float]) -> float:
    """Compute the area under the ROC curve (Mann & Whitney 1947).

    It is the chance that a foreign value lies above one of the reference, ties counting half.

    Args:
        reference: values that should be lower.
        foreign: values that should be higher.

    Returns:
        1 where all foreign values are higher, 0.5 where the two do not differ.

    Raises:
        ValueError: either side is empty.
    """
    if not reference or not foreign:
        raise ValueError(
            f"at least one value is needed on each side, got {len(reference)} and {len(foreign)}"
        )
    # Only the statistic is asked for: "asymptotic" spares the exact p-value, whose cost grows with
    # the square.
    pairs = mannwhitneyu(foreign, reference, method="asymptotic").statistic
    return float(pairs) / (len(reference) * len(foreign))


def bootstrap_interval(
    values: Tensor, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a mean (Efron 1979).

    It shows how far the mean could have moved with other images. The same values, in the same
    order, and the same seed give the same interval.

    Args:
        values: (N,), in any unit.
        level: probability in (0, 1) that the interval covers the mean.
        resamples: how often N values are drawn.
        seed: of the draws.

    Returns:
        (low, high) in the unit of the values; (v, v) for one value v.

    Raises:
        ValueError: no values, another shape, a level outside (0, 1) or no resamples.
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
