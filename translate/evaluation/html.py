"""An evaluation as one HTML file that works offline; templates/report.html is its layout."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean
from typing import Any

from markupsafe import Markup

from translate.data.inspection import FLAT, flat_share
from translate.evaluation.evaluator import IDENTITY
from translate.evaluation.results import DirectionMetrics, Evaluation, MetricValue
from translate.evaluation.wording import count, headline, interval, number, outcome, verdict
from translate.io.files import evenly_spaced
from translate.io.images import UInt8, to_channels
from translate.metrics.registry import METRICS
from translate.viz.curves import curves_svg
from translate.viz.history import read_stats
from translate.viz.pages import render_page, to_data_uri

# What a picture shows, in the order of the large view, and how readers call it.
KINDS = {
    "source": "input",
    "translation": "translation",
    "truth": "true picture",
    "reconstruction": "reconstruction",
    "cycle": "there and back",
}
THUMBNAILS = ("source", "translation", "truth")  # on a card, and encoded exactly where small
SMALL = 128  # px; up to this, pictures are enlarged so far that their pixels are seen
# px that pictures have at most, and how many images are few enough for the larger ones
SIDE = 256
LARGE = 768
FEW = 60
JUDGED = 16  # images that tell whether these are photographs


def html_page(evaluation: Evaluation, run: Path | None = None) -> str:
    """Return the page, with the training curves of the folder `run`, where it has any."""
    titles = dict.fromkeys(_title(result) for result in evaluation.directions)
    hashes = {
        "model": evaluation.model_sha256,
        f"LPIPS network ({evaluation.net})": evaluation.weights_sha256,
        "Inception": evaluation.inception_sha256,
    }
    directions = [_direction(result) for result in evaluation.directions]
    used = [name for direction in directions for name in direction["columns"]]
    return render_page(
        "translate.evaluation",
        "report.html",
        title=" and ".join(titles),
        evaluation=evaluation,
        directions=directions,
        megabytes=_megabytes(directions),
        kinds=KINDS,
        thumbnails=THUMBNAILS,
        metrics=[[name, METRICS[name].label, METRICS[name].better] for name in dict.fromkeys(used)],
        smooth=_are_photographic(evaluation.directions),
        identity=IDENTITY,
        hashes={file: digest for file, digest in hashes.items() if digest},
        curves=_curves(run) if run else None,
    )


def _curves(run: Path) -> dict[str, Any] | None:
    """Return names and drawing of a run's training curves; None where it has none."""
    try:
        return {"names": list(read_stats(run)), "svg": Markup(curves_svg(run))}
    except ValueError:  # a model on its own, or a run that logged nothing yet
        return None


def _are_photographic(directions: list[DirectionMetrics]) -> bool:
    """Tell whether pictures look better enlarged smoothly than pixel by pixel."""
    shown = [pictures for result in directions for pictures in result.shown.values()]
    flat = [
        flat_share(to_channels(pictures["translation"], 3))
        for pictures in evenly_spaced(shown, JUDGED)
    ]
    return bool(flat) and mean(flat) < FLAT


def _title(result: DirectionMetrics) -> str:
    """Return the name of a direction as readers see it."""
    return f"{result.source} to {result.to}"


def _megabytes(directions: list[dict[str, Any]]) -> str:
    """Return how many bytes of the page are pictures, in words."""
    cards = [card for direction in directions for card in direction["cards"]]
    size = sum(len(uri) for card in cards for _, _, uri in card["pictures"])
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else "under 1 MB"


def _direction(result: DirectionMetrics) -> dict[str, Any]:
    """Return what the template shows of one direction."""
    rows = {str(row["name"]): row for row in result.per_image}
    measured = {column for row in result.per_image for column in row}
    columns = [name for name in METRICS if name in measured]
    shown = {kind for pictures in result.shown.values() for kind in pictures}
    side = LARGE if len(result.shown) <= FEW else SIDE
    swap = None
    if result.swap is not None:
        swap = to_data_uri(result.swap, max(result.swap.shape))
    return {
        "title": _title(result),
        "headline": headline(result),
        "source": result.source,
        "to": result.to,
        "n": len(result.per_image),
        "pictures": count(len(result.per_image), "picture"),
        "sizes": result.sizes,
        "metrics": [_metric(name, found) for name, found in result.ordered()],
        "columns": columns,
        "orders": [{"name": name, "label": METRICS[name].label} for name in columns],
        "thumbnails": [kind for kind in THUMBNAILS if kind in shown],
        "cards": [
            _card(name, rows[name], pictures, side) for name, pictures in result.shown.items()
        ],
        "swap": swap,
    }


def _card(
    name: str, row: dict[str, str | float], pictures: dict[str, UInt8], side: int
) -> dict[str, Any]:
    """Return what the template shows of one image: its numbers and encoded pictures."""
    columns = [column for metric in METRICS for column in (metric, IDENTITY + metric)]
    numbers = {column: float(row[column]) for column in columns if column in row}
    height, width = pictures["translation"].shape[:2]
    encoded = [
        (kind, label, to_data_uri(pictures[kind], side, exact=kind in THUMBNAILS))
        for kind, label in KINDS.items()
        if kind in pictures
    ]
    for k, pixels in enumerate(pictures.get("styles", ()), start=1):
        encoded.append((f"style {k}", f"style {k}", to_data_uri(pixels, side, exact=False)))
    return {
        "name": name,
        # JSON has no NaN
        "measured": {
            column: round(number, 6) for column, number in numbers.items() if math.isfinite(number)
        },
        "pictures": encoded,
        "small": max(height, width) <= SMALL,
        "width": width,
        "height": height,
    }


def _metric(name: str, found: MetricValue) -> dict[str, Any]:
    """Return what the template shows of one metric."""
    identity = found.identity
    bar: list[float] = []
    if identity and found.is_finite() and identity.is_finite():
        bar = _bar(found, identity)
    return {
        "name": name,
        "label": METRICS[name].label,
        "found": found,
        "meaning": METRICS[name].meaning,
        "value": number(found.value, found),
        "interval": interval(found),
        "input": number(identity.value, found) if identity else "",
        "input_interval": interval(identity) if identity else "",
        "outcome": outcome(found) or "",
        "verdict": verdict(found),
        "bar": bar,
    }


def _bar(found: MetricValue, identity: MetricValue) -> list[float]:
    """Return left end and width of a metric's interval, then of its identity's.

    Both are in per cent of a range that holds the two intervals and 0.
    """
    low = min(0.0, found.low, identity.low)
    high = max(found.high, identity.high)
    length = max(high - low, 1e-12)
    ends = []
    for one in (found, identity):
        ends.append(round(100 * (one.low - low) / length, 2))
        ends.append(round(100 * (one.high - one.low) / length, 2))
    return ends
