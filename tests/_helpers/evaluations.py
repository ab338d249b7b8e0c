"""Evaluations made by hand, for tests of what is done with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from translate.evaluation.results import Difference, DirectionMetrics, Evaluation, MetricValue
from translate.io.images import UInt8
from translate.metrics.registry import Direction

EVIL = "<script>alert('x')</script>\"&'"  # a name that a page must escape


def metric(
    value: float,
    identity: float | None = None,
    better: Direction | None = "lower",
    warning: str | None = None,
    margin: float = 0.01,
    n: int = 9,
) -> MetricValue:
    """A value of n images with an interval 0.04 wide, its identity with one of 0.02.

    The interval of their difference is twice the margin.
    """
    found = MetricValue(value, value - 0.02, value + 0.02, n, better, warning=warning)
    if identity is None:
        return found
    change = value - identity
    return replace(
        found,
        identity=MetricValue(identity, identity - 0.01, identity + 0.01, n, better),
        difference=Difference(change, change - margin, change + margin),
    )


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


def drawn_direction(
    names: list[str], side: int = 16, source: str = "A", to: str = "B"
) -> DirectionMetrics:
    """Pictures of one gray each: source 10 i, translation 100, truth 200 - i for image i."""
    metrics = {
        "lpips_paired": metric(0.15, 0.2),
        "fid_alex": metric(7.0, 9.0, warning="not to be quoted"),
    }
    rows: list[dict[str, str | float]] = [
        {"name": name, "lpips_paired": 0.1 * (i * 7 % 5), "ssim": 0.9 - 0.1 * i}
        for i, name in enumerate(names)
    ]
    sizes = {f"{side} x {side}": len(names)}
    made = DirectionMetrics(f"{source}-{to}", source, to, metrics, rows, sizes)

    def flat(gray: int) -> UInt8:
        return np.full((side, side, 3), gray % 256, np.uint8)

    for i, name in enumerate(names):
        made.shown[name] = {
            "source": flat(10 * i),
            "translation": flat(100),
            "truth": flat(200 - i),
            "reconstruction": flat(50),
            "cycle": flat(60),
            "styles": np.stack([flat(1), flat(2)]),
        }
    made.swap = np.zeros((40, 30, 3), np.uint8)
    return made


def write_log(folder: Path) -> None:
    """What a training leaves in its folder, as far as curves are drawn from it."""
    lines = [json.dumps({"step": i, "rec": 1.0 / i, EVIL: i}) for i in range(1, 9)]
    (folder / "stats.jsonl").write_text("\n".join(lines) + "\n")
