"""An evaluation as one HTML file that works offline: the layout is templates/report.html, filled
in here.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from translate.evaluation.evaluator import Evaluation, MetricValue, Result
from translate.io.images import UInt8, resize, to_channels
from translate.metrics.registry import METRICS
from translate.viz.curves import curves_svg, read_stats

# of pictures, in the order of the large view
KINDS = ("source", "translation", "truth", "reconstruction", "cycle")
SMALL = 128  # px; up to this, pictures are enlarged pixel by pixel


def html_page(evaluation: Evaluation, run: Path | None = None) -> str:
    """The page; with the training curves of the folder `run`, where it has any."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("translate.evaluation")
        .joinpath("templates", "report.html")
        .read_text(encoding="utf-8")
    )
    hashes = {
        "model": evaluation.model_sha256,
        f"LPIPS network ({evaluation.net})": evaluation.weights_sha256,
        "Inception": evaluation.inception_sha256,
    }
    return template.render(
        title=" and ".join(
            dict.fromkeys(f"{result.source} to {result.to}" for result in evaluation.directions)
        ),
        evaluation=evaluation,
        ways=[_way(result) for result in evaluation.directions],
        hashes={what: found for what, found in hashes.items() if found},
        curves=_curves(run) if run else None,
    )


def _curves(run: Path) -> dict[str, Any] | None:
    try:
        return {"names": list(read_stats(run)), "svg": Markup(curves_svg(run))}
    except ValueError:  # a model on its own, or a run that logged nothing yet
        return None


def _way(result: Result) -> dict[str, Any]:
    rows = {str(row["name"]): row for row in result.per_image}
    measured = {name for row in result.per_image for name in row}
    cards = [_card(name, rows[name], pictures) for name, pictures in result.shown.items()]
    return {
        "source": result.source,
        "to": result.to,
        "n": len(result.per_image),
        "sizes": result.sizes,
        "figures": [_tile(name, figure) for name, figure in result.metrics.items()],
        "sorts": [
            {"name": name, "better": METRICS[name].better} for name in METRICS if name in measured
        ],
        "kinds": [
            kind
            for kind in KINDS[:3]
            if any(kind in pictures for pictures in result.shown.values())
        ],
        "cards": cards,
        "swap": None if result.swap is None else to_data_uri(result.swap, max(result.swap.shape)),
    }


def _card(name: str, row: dict[str, str | float], pictures: dict[str, UInt8]) -> dict[str, Any]:
    found = {metric: float(row[metric]) for metric in METRICS if metric in row}
    # JSON has no NaN
    values = {metric: round(value, 6) for metric, value in found.items() if math.isfinite(value)}
    kinds = [(kind, pictures[kind]) for kind in KINDS if kind in pictures]
    styles = [(f"style {k + 1}", made) for k, made in enumerate(pictures.get("styles", ()))]
    encoded = [(kind, to_data_uri(pixels)) for kind, pixels in kinds + styles]
    height, width = kinds[0][1].shape[:2]
    card = {"name": name, "measured": values, "pictures": encoded}
    # of four thumbnails
    return card | {"small": max(height, width) <= SMALL, "aspect": f"{4 * width} / {height}"}


def to_data_uri(pixels: UInt8, side: int = 256) -> str:
    """(H, W, C), made smaller where it exceeds `side`, as a data: URI of a WebP, lossless up to 64
    px a side.
    """
    factor = min(1.0, side / max(pixels.shape[:2]))
    width, height = (max(1, round(s * factor)) for s in pixels.shape[1::-1])
    small = to_channels(resize(pixels, (width, height)), 3)
    buffer = BytesIO()
    lossless = max(small.shape) <= 64
    Image.fromarray(small).save(
        buffer, "WEBP", lossless=lossless, quality=0 if lossless else 90, method=0
    )
    return "data:image/webp;base64," + b64encode(buffer.getvalue()).decode()


def _tile(name: str, figure: MetricValue) -> dict[str, Any]:
    other = figure.identity
    return {
        "name": name,
        "figure": figure,
        "meaning": METRICS[name].meaning,
        "value": f"{figure.value:.4f}",
        "interval": interval(figure),
        "input": f"{other.value:.4f}" if other else "",
        "input_interval": interval(other) if other else "",
        "verdict": verdict(figure),
        "bar": list(_bar(figure, other))
        if other and figure.is_finite() and other.is_finite()
        else [],
    }


def _bar(figure: MetricValue, identity: MetricValue) -> Iterator[float]:
    """Left end and width of the figure's interval and of its identity's, in per cent of what holds
    both and 0.
    """
    low = min(0.0, figure.low, identity.low)
    high = max(figure.high, identity.high)
    for one in (figure, identity):
        yield from (
            round(100 * x / max(high - low, 1e-12), 2) for x in (one.low - low, one.high - one.low)
        )


def interval(figure: MetricValue) -> str:
    """The 95 % interval as text."""
    return f"[{figure.low:.4f}, {figure.high:.4f}]"


def verdict(figure: MetricValue) -> str:
    """How the value stands to that of the input as the answer, such as "-24 % better"; empty
    without the latter or where either is not finite.
    """
    if figure.identity is None or not (figure.is_finite() and figure.identity.is_finite()):
        return ""
    change = figure.value - figure.identity.value
    if change == 0:
        return "same"
    # an unbiased kernel distance may fall below 0: no share then
    ratio = min(figure.value, figure.identity.value) > 0
    share = f"{100 * change / figure.identity.value:+.0f} % " if ratio else ""
    return share + ("better" if (change < 0) == (figure.better == "lower") else "worse")
