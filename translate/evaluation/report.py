"""An evaluation as files and as text.

The files are metrics.json, per_image.csv, report.html (made in html.py) and a grid of pictures a
direction; the text is a table for the terminal.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from translate.evaluation.evaluator import IDENTITY
from translate.evaluation.html import html_page
from translate.evaluation.results import DirectionMetrics, Evaluation, MetricValue
from translate.evaluation.wording import (
    count,
    headline,
    interval,
    number,
    outcome,
    sentence,
    verdict,
)
from translate.io.files import cell, evenly_spaced, write_text
from translate.io.images import UInt8, resize, to_channels, write_image
from translate.metrics.registry import METRICS
from translate.viz.grids import grid

ROWS = ("source", "translation", "truth", "reconstruction")  # of a grid
# px a side that a tile has at least, and at most; tiles in a row
TILE = 96
LARGEST = 256
TILES = 16
NUMBERS = ("value", "95 % interval", "untranslated")  # columns that are aligned to the right
TABLE_HEAD = ("", *NUMBERS, "the translations are")


def write_report(evaluation: Evaluation, out: Path, run: Path | None = None) -> dict[str, Path]:
    """Write the files of a report into a folder, each whole or not at all.

    Args:
        evaluation: what to report.
        out: the folder, which is made where it is missing.
        run: folder of the training whose curves the page shows, where it has any.

    Returns:
        Paths by name: metrics, per_image, report, and grid_A_to_B for each direction that has
        pictures.

    Raises:
        ValueError: if a file cannot be written.
    """
    texts = {
        "metrics.json": metrics_json(evaluation),
        "per_image.csv": per_image_csv(evaluation),
        "report.html": html_page(evaluation, run),
    }
    grids = {
        f"grid_{_safe(result.source)}_to_{_safe(result.to)}.png": picture_grid(result)
        for result in evaluation.directions
        if result.shown
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
    """Return an evaluation as dictionaries, lists, texts and numbers, with what they say in words.

    None stands for what is not finite, as JSON has no NaN.
    """
    plain: dict[str, Any] = _without_nan(asdict(evaluation))
    for direction, result in zip(plain["directions"], evaluation.directions, strict=True):
        direction["in_words"] = headline(result)
        for name, found in result.metrics.items():
            direction["metrics"][name] |= {
                "label": METRICS[name].label,
                "outcome": outcome(found),
                "in_words": sentence(found),
            }
    return plain


def _without_nan(data: Any) -> Any:
    """Return plain data with None for numbers that are not finite."""
    if isinstance(data, dict):
        return {key: _without_nan(item) for key, item in data.items()}
    if isinstance(data, list):
        return [_without_nan(item) for item in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def metrics_json(evaluation: Evaluation) -> str:
    """Return the text of metrics.json: all but what was measured on single images."""
    plain = as_plain_data(evaluation)
    for direction in plain["directions"]:
        del direction["per_image"]
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _text(value: Any) -> Any:
    return cell(value) if isinstance(value, str) else value


def per_image_csv(evaluation: Evaluation) -> str:
    """Return the text of per_image.csv: a line for each image of each direction.

    What was not measured on an image, or is not finite, is empty.
    """
    rows = [
        {**row, "direction": result.name}
        for result in evaluation.directions
        for row in result.per_image
    ]
    measured = {column for row in rows for column in row}
    columns = [column for name in METRICS for column in (name, IDENTITY + name)]
    used = ["direction", "name", *(column for column in columns if column in measured)]

    text = io.StringIO()
    writer = csv.DictWriter(text, used, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        finite = _without_nan(row)
        writer.writerow(
            {
                column: f"{value:.6g}" if isinstance(value, float) else _text(value)
                for column, value in finite.items()
            }
        )
    return text.getvalue()


def picture_grid(result: DirectionMetrics) -> UInt8:
    """Draw some of the pictures of a direction: a column an image, a row for each kind.

    The images are evenly spaced among those that are kept, the rows named by what they show.

    Returns:
        uint8 (H, W, 3).
    """
    chosen = evenly_spaced(list(result.shown.items()), TILES)
    kinds = [kind for kind in ROWS if any(kind in pictures for _, pictures in chosen)]
    shapes = [pictures[kind].shape for _, pictures in chosen for kind in kinds if kind in pictures]
    height = min(LARGEST, max(shape[0] for shape in shapes))
    width = min(LARGEST, max(shape[1] for shape in shapes))
    rows = [[_tile(pictures.get(kind), height, width) for _, pictures in chosen] for kind in kinds]
    names = [name for name, _ in chosen]
    return grid(rows, names, kinds, scale=math.ceil(TILE / max(height, width)))


def _tile(pixels: UInt8 | None, height: int, width: int) -> UInt8:
    """Put a picture (H, W, C), made smaller where it must be, on a white (height, width, 3)."""
    tile = np.full((height, width, 3), 255, np.uint8)
    if pixels is not None:
        factor = min(1, height / pixels.shape[0], width / pixels.shape[1])
        h, w = (max(1, round(side * factor)) for side in pixels.shape[:2])
        top = (height - h) // 2
        left = (width - w) // 2
        tile[top : top + h, left : left + w] = to_channels(resize(pixels, (w, h)), 3)
    return tile


def _safe(name: str) -> str:
    """Return a domain's name as part of a file's name.

    Letters, digits, _ . and - stay; any other character becomes % and its code.
    """
    return re.sub(r"[^\w.-]", lambda found: f"%{ord(found[0]):02x}", name)


def table(evaluation: Evaluation) -> str:
    """Return plain text: for each direction a sentence, its metrics and their warnings."""
    return "\n\n".join(_direction_table(result) for result in evaluation.directions)


def _direction_table(result: DirectionMetrics) -> str:
    """Return one direction as aligned text."""
    ordered = result.ordered()
    lines = [
        f"{result.source} to {result.to}, {count(len(result.per_image), 'picture')}",
        headline(result),
        *_aligned([_table_row(name, found) for name, found in ordered]),
    ]
    lines += [f"{METRICS[name].label}: {found.warning}" for name, found in ordered if found.warning]
    if ordered:
        lines.append(f"in --fail-if and --json, in this order: {', '.join(dict(ordered))}")
    else:
        lines.append("nothing could be measured")
    return "\n".join(filter(None, lines))


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table, without the columns that are empty."""
    columns = []
    for head, cells in zip(TABLE_HEAD, zip(*rows, strict=True), strict=False):
        if not any(cells):
            continue
        width = max(map(len, (head, *cells)))
        align = str.rjust if head in NUMBERS else str.ljust
        columns.append([align(cell, width) for cell in (head, *cells)])
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _table_row(name: str, found: MetricValue) -> tuple[str, ...]:
    """Return the cells of one metric, in the order of TABLE_HEAD."""
    return (
        METRICS[name].label,
        number(found.value, found),
        interval(found),
        number(found.identity.value, found) if found.identity else "",
        verdict(found),
    )
