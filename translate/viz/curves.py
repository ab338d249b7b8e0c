"""The course of a training as curves: the score first, then every number that it logged.

They are drawn with matplotlib, which is imported when needed.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translate.io.files import atomic
from translate.viz.history import DistanceCurve, History, Points, read_history, read_stats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOGARITHMIC = 30  # axes of values that are all positive and differ by more than this factor
FEW = 40  # points of a curve that are marked one by one, so that a single one is seen
INK = "#010203"  # of text and axes: becomes the page's own colour in `curves_svg`
LINE = "#4a8fd4"
SCORE_LINE = "#2e9d5b"
DO_NOTHING = "pictures as they were given"

# What the logged numbers are, in plain words, and their units; panels are in this order.
TERMS = {
    "rec": ("reconstruction error", "sum over a picture"),
    "cyc": ("error there and back", "sum over a picture"),
    "kl_c": ("content divergence", "nats"),
    "kl_s": ("style divergence", "nats"),
    "kl_s_translation": ("style divergence, translations", "nats"),
    "kl_s_wrong": ("style divergence, wrong domain", "nats"),
    "learning_rate": ("learning rate", ""),
    "images_per_second": ("speed", "pictures a second"),
    "beta_neg": ("weight of negatives", ""),
}


def draw_curves(history: History, columns: int = 3) -> Figure:
    """Draw a small panel for each direction's distance and each number, all over the same steps.

    The beginning of the introspective phase, rollbacks and the kept model are marked in each. The
    matplotlib figure is made without pyplot: it needs no screen.
    """
    from matplotlib.figure import Figure

    count = len(history.distances) + len(history.terms)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns, 2.2 * rows + 0.4), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)
    waiting = iter(panels)

    for curve, panel in zip(history.distances, waiting, strict=False):
        _draw_distance(panel, curve)
    names = [name for name in TERMS if name in history.terms]
    names += [name for name in history.terms if name not in TERMS]
    for name, panel in zip(names, waiting, strict=False):
        title, unit = TERMS.get(name, (name, ""))
        _draw_points(panel, history.terms[name], LINE)
        _name_panel(panel, title if title == name else f"{title} ({name})", unit)

    for number, panel in enumerate(panels[:count]):
        _mark(panel, history)
        panel.tick_params(labelbottom=True)
        if number + columns >= count:  # none below it
            panel.set_xlabel("training step", fontsize=7, color=INK)
    panels[0].set_xlim(0, 1.04 * max(1, history.last_step))  # which all of them share
    for panel in panels[count:]:
        panel.set_visible(False)
    _add_legend(figure, panels[:count], columns)
    return figure


def _draw_distance(panel: Any, curve: DistanceCurve) -> None:
    """Draw how far translations are from their target, and what doing nothing costs."""
    _draw_points(panel, curve.values, SCORE_LINE)
    if curve.baseline is not None:
        panel.axhline(curve.baseline, color=INK, linewidth=0.8, linestyle="--", label=DO_NOTHING)
        if panel.get_yscale() == "linear":
            values = [value for _, value in curve.values]
            panel.set_ylim(bottom=min([0.0, *values]))
            if curve.baseline > 0 and max([0.0, *values]) > LOGARITHMIC * curve.baseline:
                # beside the first scores, all others would be a line at 0
                panel.set_yscale("symlog", linthresh=curve.baseline)
    _name_panel(panel, curve.title, curve.unit)


def _draw_points(panel: Any, points: Points, colour: str) -> None:
    """Draw a curve, its points where they are few, on a scale that fits."""
    steps = [step for step, _ in points]
    values = [value for _, value in points]
    marker = "o" if len(points) <= FEW else ""
    panel.plot(steps, values, linewidth=1.2, color=colour, marker=marker, markersize=3)
    if values and min(values) > 0 and max(values) > LOGARITHMIC * min(values):
        panel.set_yscale("log")
        panel.tick_params(which="minor", color=INK, labelcolor=INK, labelsize=6)


def _name_panel(panel: Any, title: str, unit: str) -> None:
    panel.set_title(title, fontsize=8, color=INK)
    panel.set_ylabel(unit, fontsize=7, color=INK)
    panel.tick_params(labelsize=7, color=INK, labelcolor=INK)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(INK)


def _mark(panel: Any, history: History) -> None:
    """Draw vertical lines where something happened."""
    marks = [(history.introspective, "introspective phase begins", "#8a8f99", "--")]
    marks += [
        (step, "went back, half the learning rate", "#d0493f", ":") for step in history.rollbacks
    ]
    marks += [(history.kept, "model that is kept", SCORE_LINE, "-")]
    for step, label, colour, style in marks:
        if step is not None:
            panel.axvline(step, color=colour, linewidth=0.9, linestyle=style, label=label, zorder=0)


def _add_legend(figure: Figure, panels: list[Any], columns: int) -> None:
    """Explain the marks of all panels once, below them."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            found.values(),
            found.keys(),
            loc="outside lower center",
            ncols=len(found) if columns > 1 else 1,
            fontsize=7,
            frameon=False,
            labelcolor=INK,
        )


def _checked_history(run: Path) -> History:
    """Read a run's course; refuse one that has logged nothing."""
    read_stats(run)
    return read_history(run)


def write_curves(run: Path, path: Path) -> None:
    """Draw a run into a PNG, SVG or PDF, as the suffix says, all or nothing.

    Raises:
        ValueError: another suffix, or what `read_stats` refuses.
    """
    import matplotlib

    figure = draw_curves(_checked_history(run))
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
    return _as_svg(_checked_history(run))


def distance_svgs(history: History) -> list[str]:
    """Draw each direction's distance alone, as `curves_svg` does: narrow enough for a phone."""
    alone = [replace(history, terms={}, distances=[curve]) for curve in history.distances]
    return [_as_svg(one, columns=1) for one in alone]


def _as_svg(history: History, columns: int = 3) -> str:
    import matplotlib

    style = {"svg.fonttype": "none", "svg.hashsalt": "introshift", "font.family": "sans-serif"}
    buffer = io.StringIO()
    with matplotlib.rc_context(style):
        figure = draw_curves(history, columns)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
