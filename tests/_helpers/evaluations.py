"""Evaluations made by hand, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Sequence

from translate.evaluation.results import DirectionMetrics, Evaluation, MetricValue
from translate.metrics.registry import Direction


def metric(
    value: float,
    identity: float | None = None,
    better: Direction = "lower",
    warning: str | None = None,
) -> MetricValue:
    """A value of nine images with an interval 0.04 wide, its identity with one of 0.02."""
    other = None
    if identity is not None:
        other = MetricValue(identity, identity - 0.01, identity + 0.01, 9, better)
    return MetricValue(value, value - 0.02, value + 0.02, 9, better, other, warning=warning)


def evaluation(
    *directions: DirectionMetrics, notes: Sequence[str] = (), broken: Sequence[str] = ()
) -> Evaluation:
    return Evaluation(
        versions={"introshift": "0", "torch": "1"},
        model_sha256="m" * 64,
        weights_sha256="w" * 64,
        inception_sha256=None,
        net="alex",
        seed=0,
        size=16,
        resize="lanczos",
        notes=list(notes),
        broken=list(broken),
        directions=list(directions),
    )
