"""What a training wrote about itself, read back: stats.jsonl, scores.jsonl, samples/."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Points: TypeAlias = list[tuple[int, float]]  # (step, value), steps ascending
Curves: TypeAlias = dict[str, Points]  # by name

STATS = "stats.jsonl"
SCORES = "scores.jsonl"
GRIDS = "samples"
# said by lines and marks of the curves
NO_CURVE = ("step", "seconds", "rollbacks")


@dataclass
class DistanceCurve:
    """How far a run's translations are from their target, measured on held-out pictures.

    Args:
        source: Domain.
        to: Domain; with one domain alone the source itself.
        points: Kernel distance, lower is better.
        untranslated: The same for pictures that are not translated: what doing nothing costs.
    """

    source: str
    to: str
    points: Points = field(default_factory=list)
    untranslated: float | None = None

    @property
    def single_domain(self) -> bool:
        """Whether there is one domain alone, with drawn pictures in place of translations."""
        return self.source == self.to

    @property
    def title(self) -> str:
        """What it shows, for a heading."""
        if self.single_domain:
            return f"distance of drawn pictures to {self.to}"
        return f"distance to {self.to}, translated from {self.source}"

    @property
    def relative(self) -> bool:
        """Whether `values` are in per cent of what untranslated pictures have."""
        return not self.single_domain and (self.untranslated or 0) > 0

    @property
    def values(self) -> Points:
        """The points as they are drawn."""
        if not self.relative:
            return self.points
        assert self.untranslated is not None
        return [(step, 100 * value / self.untranslated) for step, value in self.points]

    @property
    def baseline(self) -> float | None:
        """What doing nothing costs, in the unit of `values`."""
        return 100.0 if self.relative else self.untranslated

    @property
    def unit(self) -> str:
        """Unit of `values`, for an axis."""
        return f"% of untranslated {self.source}" if self.relative else "kernel distance"

    @property
    def baseline_label(self) -> str:
        """What `untranslated` is, for a legend."""
        return "real pictures" if self.single_domain else f"untranslated {self.source}"


@dataclass
class History:
    """The course of a run.

    Args:
        terms: Every number that was logged, by name.
        distances: A curve for each direction that was scored.
        introspective: The first step logged in the introspective phase; None before it.
        kept: The step of the model that was kept last.
        rollbacks: The first steps logged after the run went back with half the learning rate.
    """

    terms: Curves
    distances: list[DistanceCurve]
    introspective: int | None
    kept: int | None
    rollbacks: list[int]

    @property
    def last_step(self) -> int:
        """The last step that was logged or scored; 0 before it."""
        curves = [*self.terms.values(), *(curve.points for curve in self.distances)]
        return max((points[-1][0] for points in curves if points), default=0)


def read_history(run: Path) -> History:
    """Read what a run has logged so far; a run without scores or statistics has empty parts.

    Raises:
        ValueError: A line is no line of such a log.
    """
    stats = _by_step(run / STATS) if (run / STATS).exists() else {}
    distances, kept = read_scores(run)
    introspective = [step for step, line in stats.items() if line.get("beta_neg") is not None]
    return History(
        terms=_curves(stats),
        distances=distances,
        introspective=introspective[0] if introspective else None,
        kept=kept,
        rollbacks=_rollbacks(stats),
    )


def read_scores(run: Path) -> tuple[list[DistanceCurve], int | None]:
    """Read a run's scores: a curve for each direction, and the step of the model that is kept.

    Raises:
        ValueError: A line is no line of such a log.
    """
    scores = _by_step(run / SCORES) if (run / SCORES).exists() else {}
    kept = next((line.get("best_step") for line in reversed(scores.values())), None)
    return _distances(scores), kept


def read_stats(run: Path) -> Curves:
    """Read every number that a run logged; of a step logged twice, as after --resume, the last.

    A half-written last line, as a kill leaves it, is left out; values that are missing or not
    finite leave a gap.

    Args:
        run: the run's folder.

    Returns:
        (step, value) by name, steps ascending.

    Raises:
        ValueError: there is nothing to draw, or a line is no line of a run's statistics.
    """
    path = Path(run) / STATS
    curves = _curves(_by_step(path))
    if not curves:
        raise ValueError(f"{path}: nothing was logged yet; try again after train.log_every steps")
    return curves


def read_grids(run: Path, last_step: int) -> list[tuple[int, str]]:
    """List the sample grids of a run: (step, path relative to the run), steps ascending.

    Args:
        run: The run's folder.
        last_step: Those of later steps are of a run that went back, and are left out.
    """
    found = []
    for path in (run / GRIDS).glob("step_*.png"):
        digits = path.stem.removeprefix("step_")
        if digits.isdecimal() and int(digits) <= last_step:
            found.append((int(digits), f"{GRIDS}/{path.name}"))
    return sorted(found)


def _curves(lines: dict[int, dict[str, Any]]) -> Curves:
    curves: Curves = {}
    for step, stats in lines.items():
        for name, value in stats.items():
            if name not in NO_CURVE and _is_finite(value):
                curves.setdefault(name, []).append((step, value))
    return curves


def _distances(scores: dict[int, dict[str, Any]]) -> list[DistanceCurve]:
    found: dict[tuple[str, str], DistanceCurve] = {}
    for step, line in scores.items():
        for score in line.get("direction_scores", []):
            direction = (str(score.get("source")), str(score.get("to")))
            curve = found.setdefault(direction, DistanceCurve(*direction))
            if _is_finite(score.get("distance")):
                curve.points.append((step, score["distance"]))
            if _is_finite(score.get("identity")):
                curve.untranslated = score["identity"]
    return list(found.values())


def _rollbacks(stats: dict[int, dict[str, Any]]) -> list[int]:
    steps = []
    before = 0
    for step, line in stats.items():
        count = line.get("rollbacks", 0)  # runs of older versions do not log it
        if count > before:
            steps.append(step)
        before = count
    return steps


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _by_step(path: Path) -> dict[int, dict[str, Any]]:
    """Read the lines of a log, by step, ascending."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); give the folder of a run"
        ) from None

    steps: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        try:
            stats = json.loads(line)
            steps[stats["step"]] = stats
        except (ValueError, TypeError, KeyError):
            if number < len(lines):
                raise ValueError(
                    f"{path}: line {number} is no line of a run's statistics; fix or remove it"
                ) from None
    return dict(sorted(steps.items()))
