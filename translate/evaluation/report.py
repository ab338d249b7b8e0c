"""An evaluation as files and as text: metrics.json, per_image.csv, report.html, a grid of pictures
a direction; a table, thresholds. The page itself: `page.py`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from translate.evaluation.evaluator import IDENTITY, Evaluation, Result
from translate.evaluation.html import html_page, interval, verdict
from translate.io.files import evenly_spaced, write_text
from translate.io.images import UInt8, resize, to_channels, write_image
from translate.metrics.registry import METRICS
from translate.viz.grids import grid

COLUMNS = ("source", "translation", "truth", "reconstruction")  # of a grid
# px a side that a tile has at least, and at most; tiles in a row
TILE = 96
LARGEST = 256
TILES = 16
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


def write_report(evaluation: Evaluation, out: Path, run: Path | None = None) -> dict[str, Path]:
    """Writes the files into the folder `out`, each whole or not at all; ValueError where that
    cannot be.

    run: the folder of the training whose curves the page shows, where it has any.
    Returns their paths by name: metrics, per_image, report, and grid_A_to_B for each direction
    that has pictures.
    """
    texts = {
        "metrics.json": metrics_json(evaluation),
        "per_image.csv": per_image_csv(evaluation),
        "report.html": html_page(evaluation, run),
    }
    grids = {
        f"grid_{_safe(r.source)}_to_{_safe(r.to)}.png": picture_grid(r)
        for r in evaluation.directions
        if r.shown
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            # names of files may be no text
            write_text(out / name, text.encode("utf-8", "replace").decode())
        for name, pixels in grids.items():
            write_image(out / name, pixels)
    except OSError as error:
        raise ValueError(
            f"--out {out}: cannot be written ({error.strerror or error}); name another folder"
        ) from None
    return {Path(name).stem: out / name for name in (*texts, *grids)}


def as_plain_data(evaluation: Evaluation) -> dict[str, Any]:
    """Give an evaluation as dictionaries, lists and numbers; None stands for what is not finite,
    as JSON has no NaN.
    """
    plain: dict[str, Any] = _without_nan(asdict(evaluation))
    return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def metrics_json(evaluation: Evaluation) -> str:
    """All but what was measured on single images."""
    values = as_plain_data(evaluation)
    for direction in values["directions"]:
        del direction["per_image"]
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def per_image_csv(evaluation: Evaluation) -> str:
    """A line for each image of each direction; what was not measured on it, or is not finite, is
    empty.
    """
    columns = [column for name in METRICS for column in (name, IDENTITY + name)]
    rows = [
        {**row, "direction": result.name}
        for result in evaluation.directions
        for row in result.per_image
    ]
    used = [
        "direction",
        "name",
        *(column for column in columns if any(column in row for row in rows)),
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, used, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        found = _without_nan(row)
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in found.items()})
    return text.getvalue()


def picture_grid(result: Result) -> UInt8:
    """Some of the images kept for pictures, evenly spaced, a column each, in rows that say what
    they show.
    """
    chosen = evenly_spaced(list(result.shown.items()), TILES)
    kinds = [what for what in COLUMNS if any(what in pictures for _, pictures in chosen)]
    shapes = [pictures[what].shape for _, pictures in chosen for what in kinds if what in pictures]
    height, width = (min(LARGEST, max(shape[axis] for shape in shapes)) for axis in range(2))
    rows = [[_tile(pictures.get(what), height, width) for _, pictures in chosen] for what in kinds]
    return grid(
        rows, [name for name, _ in chosen], kinds, scale=math.ceil(TILE / max(height, width))
    )


def _tile(pixels: UInt8 | None, height: int, width: int) -> UInt8:
    """A picture (H, W, C) in the middle of a white (height, width, 3), made smaller where it must
    be.
    """
    tile = np.full((height, width, 3), 255, np.uint8)
    if pixels is not None:
        factor = min(1, height / pixels.shape[0], width / pixels.shape[1])
        h, w = (max(1, round(side * factor)) for side in pixels.shape[:2])
        top = (height - h) // 2
        left = (width - w) // 2
        tile[top : top + h, left : left + w] = to_channels(resize(pixels, (w, h)), 3)
    return tile


def _safe(name: str) -> str:
    """A domain's name as part of a file's: letters, digits, . and - stay, anything else is told by
    its code.
    """
    return re.sub(r"[^\w.-]", lambda found: f"%{ord(found[0]):02x}", name)


def table(evaluation: Evaluation) -> str:
    """Plain aligned text, a line a figure, with the input itself as the answer beside it; cautions
    below.
    """
    head = (
        "direction",
        "metric",
        "value",
        "95 % interval",
        "input itself",
        "95 % interval",
        "n",
        "better",
        "verdict",
    )
    rows = [head]
    cautions = list[str]()
    for result in evaluation.directions:
        for name, figure in result.metrics.items():
            cells = [
                (f"{one.value:.4f}", interval(one)) if one else ("", "")
                for one in (figure, figure.identity)
            ]
            last = "not to be quoted" if figure.warning else verdict(figure)
            cautions += [f"{result.name} {name}: {figure.warning}"] if figure.warning else []
            rows.append(
                (result.name, name, *cells[0], *cells[1], str(figure.n), figure.better, last)
            )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join([*(line.rstrip() for line in lines), *cautions])


@dataclass(frozen=True)
class Threshold:
    """What must not hold: `metric` `operator` `bound`, in one direction or, without one, in any."""

    text: str
    metric: str
    operator: str
    bound: float
    direction: str | None = None


def parse_threshold(text: str) -> Threshold:
    """Reads "lpips_paired>0.3" or "A-B:lpips_paired>0.3"; operators > < >= <=. Raises ValueError
    for anything else.
    """
    found = THRESHOLD.fullmatch(re.sub(r"\s+(?=[<>])|(?<=[<>=])\s+", "", text.strip()))
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


def missed(evaluation: Evaluation, thresholds: Sequence[Threshold]) -> list[str]:
    """A line for each threshold that holds, and for each that cannot be checked."""
    lines = []
    for threshold in thresholds:
        results = [r for r in evaluation.directions if threshold.direction in (None, r.name)]
        if not results:
            names = ", ".join(result.name for result in evaluation.directions)
            lines.append(f"{threshold.text}: not measured, the directions are {names}")
        for result in results:
            figure = result.metrics.get(threshold.metric)
            if figure is None:
                reason = "; ".join(evaluation.notes) or "nothing to compare"
                lines.append(
                    f"{threshold.text}: {result.name} has no {threshold.metric} ({reason})"
                )
            elif not math.isfinite(
                figure.value
            ):  # compares with nothing: it must not pass for good
                reason = figure.warning or "not finite"
                lines.append(f"{threshold.text}: {result.name} has {threshold.metric} {reason}")
            elif OPERATORS[threshold.operator](figure.value, threshold.bound):
                lines.append(
                    f"{threshold.text}: {result.name} has {threshold.metric} {figure.value:.6g}"
                )
    return lines
