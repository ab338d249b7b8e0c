"""The numbers that a training logged (stats.jsonl) as curves.

They are drawn with matplotlib, which is imported when needed.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from translate.io.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves: TypeAlias = dict[str, list[tuple[int, float]]]  # (step, value) by name

STATS = "stats.jsonl"
NO_CURVE = ("step", "seconds")
LOGARITHMIC = 30  # axes of values that are all positive and differ by more than this factor
INK = "#010203"  # of text and axes: becomes the page's own colour in `curves_svg`


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
    curves: Curves = {}
    for step, stats in sorted(_by_step(path).items()):
        for name, value in stats.items():
            if name not in NO_CURVE and isinstance(value, int | float) and math.isfinite(value):
                curves.setdefault(name, []).append((step, value))
    if not curves:
        raise ValueError(f"{path}: nothing was logged yet; try again after train.log_every steps")
    return curves


def _by_step(path: Path) -> dict[int, dict[str, Any]]:
    """Read the lines of stats.jsonl, by step."""
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
    return steps


def draw_curves(curves: Curves, columns: int = 3) -> Figure:
    """Draw a small panel for each number, all over the same steps.

    The matplotlib figure is made without pyplot: it needs no screen.
    """
    from matplotlib.figure import Figure

    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.2 * columns, 1.9 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)

    for (name, points), panel in zip(curves.items(), axes, strict=False):
        steps, values = zip(*points, strict=True)
        panel.plot(steps, values, linewidth=1.2, color="#4a8fd4")
        panel.set_title(name, fontsize=9, color=INK)
        panel.tick_params(labelsize=7, color=INK, labelcolor=INK)
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(INK)
        if min(values) > 0 and max(values) > LOGARITHMIC * min(values):
            panel.set_yscale("log")
            panel.tick_params(which="minor", color=INK, labelcolor=INK, labelsize=6)

    for panel in axes[len(curves) :]:
        panel.set_visible(False)
    return figure


def write_curves(run: Path, path: Path) -> None:
    """Draw a run into a PNG, SVG or PDF, as the suffix says, all or nothing.

    Raises:
        ValueError: another suffix, or what `read_stats` refuses.
    """
    import matplotlib

    figure = draw_curves(read_stats(run))
    kind = path.suffix.lower().removeprefix(".")
    if kind not in figure.canvas.get_supported_filetypes():
        raise ValueError(
            f"{path}: curves cannot be written as {kind or 'a file without suffix'}; "
            "use .png, .svg or .pdf"
        )

    metadata = {"Date": None} if kind == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "introshift"}), atomic(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)


def curves_svg(run: Path) -> str:
    """Draw a run as an <svg> element for a page, transparent, in its font and text colour."""
    import matplotlib

    style = {"svg.fonttype": "none", "svg.hashsalt": "introshift", "font.family": "sans-serif"}
    buffer = io.StringIO()
    with matplotlib.rc_context(style):
        figure = draw_curves(read_stats(run))
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
