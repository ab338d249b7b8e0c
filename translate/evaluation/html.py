"""An evaluation as one HTML file that works offline; templates/report.html is its layout."""

from __future__ import annotations

import math
from base64 import b64encode
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from translate.evaluation.results import DirectionMetrics, Evaluation, MetricValue
from translate.io.images import UInt8, resize, to_channels
from translate.metrics.registry import METRICS
from translate.viz.curves import curves_svg, read_stats

# of pictures, in the order of the large view
KINDS = ("source", "translation", "truth", "reconstruction", "cycle")
THUMBNAILS = KINDS[:3]  # with their difference, four on a card
SMALL = 128  # px; up to this, pictures are enlarged pixel by pixel
LOSSLESS = 64  # px a side; pictures up to this are encoded exactly


def html_page(evaluation: Evaluation, run: Path | None = None) -> str:
    """Return the page, with the training curves of the folder `run`, where it has any."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    layout = files("translate.evaluation").joinpath("templates", "report.html")
    template = environment.from_string(layout.read_text(encoding="utf-8"))
    titles = dict.fromkeys(_title(result) for result in evaluation.directions)
    hashes = {
        "model": evaluation.model_sha256,
        f"LPIPS network ({evaluation.net})": evaluation.weights_sha256,
        "Inception": evaluation.inception_sha256,
    }
    return template.render(
        title=" and ".join(titles),
        evaluation=evaluation,
        directions=[_direction(result) for result in evaluation.directions],
        hashes={file: digest for file, digest in hashes.items() if digest},
        curves=_curves(run) if run else None,
    )


def _curves(run: Path) -> dict[str, Any] | None:
    """Return names and drawing of a run's training curves; None where it has none."""
    try:
        return {"names": list(read_stats(run)), "svg": Markup(curves_svg(run))}
    except ValueError:  # a model on its own, or a run that logged nothing yet
        return None


def _title(result: DirectionMetrics) -> str:
    """Return the name of a direction as readers see it."""
    return f"{result.source} to {result.to}"


def _direction(result: DirectionMetrics) -> dict[str, Any]:
    """Return what the template shows of one direction."""
    rows = {str(row["name"]): row for row in result.per_image}
    measured = {column for row in result.per_image for column in row}
    shown = {kind for pictures in result.shown.values() for kind in pictures}
    swap = None
    if result.swap is not None:
        swap = to_data_uri(result.swap, max(result.swap.shape))
    return {
        "title": _title(result),
        "source": result.source,
        "to": result.to,
        "n": len(result.per_image),
        "sizes": result.sizes,
        "metrics": [_metric(name, found) for name, found in result.metrics.items()],
        "sorts": [
            {"name": name, "better": METRICS[name].better} for name in METRICS if name in measured
        ],
        "kinds": [kind for kind in THUMBNAILS if kind in shown],
        "cards": [_card(name, rows[name], pictures) for name, pictures in result.shown.items()],
        "swap": swap,
    }


def _card(name: str, row: dict[str, str | float], pictures: dict[str, UInt8]) -> dict[str, Any]:
    """Return what the template shows of one image: its numbers and encoded pictures."""
    numbers = {metric: float(row[metric]) for metric in METRICS if metric in row}
    kinds = [(kind, pictures[kind]) for kind in KINDS if kind in pictures]
    styles = [(f"style {k + 1}", pixels) for k, pixels in enumerate(pictures.get("styles", ()))]
    height, width = kinds[0][1].shape[:2]
    return {
        "name": name,
        # JSON has no NaN
        "measured": {
            metric: round(number, 6) for metric, number in numbers.items() if math.isfinite(number)
        },
        "pictures": [(kind, to_data_uri(pixels)) for kind, pixels in kinds + styles],
        "small": max(height, width) <= SMALL,
        "aspect": f"{4 * width} / {height}",  # of four thumbnails
    }


def to_data_uri(pixels: UInt8, side: int = 256) -> str:
    """Encode a picture as a data: URI of a WebP, lossless up to 64 px a side.

    Args:
        pixels: uint8 (H, W, C), C 1, 3 or 4.
        side: pixels; a picture whose longer side exceeds it is made smaller.
    """
    factor = min(1.0, side / max(pixels.shape[:2]))
    height, width = (max(1, round(length * factor)) for length in pixels.shape[:2])
    small = to_channels(resize(pixels, (width, height)), 3)
    lossless = max(small.shape) <= LOSSLESS
    buffer = BytesIO()
    Image.fromarray(small).save(
        buffer, "WEBP", lossless=lossless, quality=0 if lossless else 90, method=0
    )
    return "data:image/webp;base64," + b64encode(buffer.getvalue()).decode()


def _metric(name: str, found: MetricValue) -> dict[str, Any]:
    """Return what the template shows of one metric."""
    identity = found.identity
    bar: list[float] = []
    if identity and found.is_finite() and identity.is_finite():
        bar = _bar(found, identity)
    return {
        "name": name,
        "found": found,
        "meaning": METRICS[name].meaning,
        "value": f"{found.value:.4f}",
        "interval": interval(found),
        "input": f"{identity.value:.4f}" if identity else "",
        "input_interval": interval(identity) if identity else "",
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


def interval(found: MetricValue) -> str:
    """Return the 95 % interval as text."""
    return f"[{found.low:.4f}, {found.high:.4f}]"


def verdict(found: MetricValue) -> str:
    """Return how a value compares with that of the input itself, such as "-24 % better".

    Empty without the latter, and where either is not finite.
    """
    identity = found.identity
    if identity is None or not (found.is_finite() and identity.is_finite()):
        return ""
    change = found.value - identity.value
    if change == 0:
        return "same"
    better = (change < 0) == (found.better == "lower")
    # an unbiased kernel distance may fall below 0: no share then
    has_share = min(found.value, identity.value) > 0
    share = f"{100 * change / identity.value:+.0f} % " if has_share else ""
    return share + ("better" if better else "worse")
