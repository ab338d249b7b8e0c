"""Thresholds of metrics (`--fail-if`): reading them, and checking an evaluation against them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from translate.evaluation.results import DirectionMetrics, Evaluation
from translate.metrics.registry import METRICS

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
ALIASES = {"lpips": "lpips_paired"}
THRESHOLD = re.compile(
    r"(?:(?P<direction>.+):)?(?P<metric>\w+)(?P<operator>[<>]=?)(?P<bound>[^<>=]+)"
)


@dataclass(frozen=True)
class Threshold:
    """What must not hold: `metric` `operator` `bound`, in one direction or in any.

    Attributes:
        text: as it was given.
        metric: a name in METRICS.
        operator: >, <, >= or <=.
        bound: a finite number, in the metric's unit.
        direction: such as "A-B"; None means every direction.
    """

    text: str
    metric: str
    operator: str
    bound: float
    direction: str | None = None

    def problem(self, result: DirectionMetrics, notes: Sequence[str]) -> str | None:
        """Return what is wrong in a direction; None where the threshold does not hold."""
        found = result.metrics.get(self.metric)
        if found is None:
            reason = "; ".join(notes) or "nothing to compare"
            return f"{result.name} has no {self.metric} ({reason})"

        if not math.isfinite(found.value):  # every comparison is false: it must not count as met
            reason = found.warning or "not finite"
            return f"{result.name} has {self.metric} {reason}"

        if OPERATORS[self.operator](found.value, self.bound):
            return f"{result.name} has {self.metric} {found.value:.6g}"
        return None


def parse_threshold(text: str) -> Threshold:
    """Parse a threshold such as "lpips_paired>0.3" or "A-B:lpips_paired>0.3".

    Args:
        text: METRIC, one of > < >= <=, and a finite number; a direction and a colon may precede.

    Raises:
        ValueError: for anything else, and for an unknown metric.
    """
    without_spaces = re.sub(r"\s+(?=[<>])|(?<=[<>=])\s+", "", text.strip())
    found = THRESHOLD.fullmatch(without_spaces)
    try:
        bound = float(found["bound"]) if found else math.nan
    except ValueError:
        bound = math.nan
    if not found or not math.isfinite(bound):
        raise ValueError(
            f"--fail-if {text!r}: expected METRIC>NUMBER (or < >= <=), such as lpips_paired>0.3"
        )

    metric = ALIASES.get(found["metric"], found["metric"])
    if metric not in METRICS:
        raise ValueError(f"--fail-if {text!r}: no metric {metric}; there are {', '.join(METRICS)}")
    return Threshold(text, metric, found["operator"], bound, found["direction"])


def missed_thresholds(evaluation: Evaluation, thresholds: Sequence[Threshold]) -> list[str]:
    """Return a line for each threshold that holds, and for each that cannot be checked."""
    lines = []
    for threshold in thresholds:
        results = [
            result for result in evaluation.directions if threshold.direction in (None, result.name)
        ]
        if not results:
            names = ", ".join(result.name for result in evaluation.directions)
            lines.append(f"{threshold.text}: not measured, the directions are {names}")
        for result in results:
            problem = threshold.problem(result, evaluation.notes)
            if problem:
                lines.append(f"{threshold.text}: {problem}")
    return lines
