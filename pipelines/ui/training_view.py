"""How trainings are shown: what to expect of one, where it stands, its curves."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._console import duration, short_duration
from pipelines.ui import runs
from pipelines.ui.markdown import literal, table
from pipelines.ui.runs import RunStatus
from translate.viz.history import read_history

if TYPE_CHECKING:
    from translate.data.inspection import Survey


def survey_in_words(seen: Survey) -> str:
    """Say how many pictures a folder has, and how large they are."""
    sides = f"{min(seen.sides)} to {max(seen.sides)}"
    if min(seen.sides) == max(seen.sides):
        sides = str(seen.sides[0])
    kind = "gray" if seen.gray else "in colour"
    return f"{seen.count} pictures, {sides} px, {kind}"


def training_in_words(plan: dict[str, Any]) -> str:
    """Say what `introshift train --dry-run` has found out."""
    took = duration(plan["seconds"])
    device = f"{plan['device']} ({plan['precision']})"
    return f"{plan['steps']} steps at most on {device}: {took}"


def plan_in_words(plan: dict[str, Any], commands: Sequence[Sequence[str]]) -> str:
    """Return what `introshift init` says, and the commands, as Markdown."""
    advice = [f"- **Advice:** {literal(text)}" for text in plan["advice"]]
    notes = [f"- {literal(text)}" for text in plan["notes"]]
    typed = "\n".join(map(runs.shown, commands))
    parts = [
        table(plan["in_words"].items()),
        "\n".join(advice + notes),
        f"In a terminal:\n```shell\n{typed}\n```",
    ]
    return "\n\n".join(filter(None, parts))


def nothing_yet() -> str:
    """Say that there is no run."""
    return "<p>No training here yet.</p>"


def state_html(name: str, status: RunStatus) -> str:
    """Say where a run stands, as HTML."""
    parts = [_paragraph(f"<strong>{html.escape(status.phase)}</strong>", status.sentence)]
    with suppress(TypeError, ValueError):  # someone has edited what the training wrote
        parts += _course(name, status)
    return "".join(parts)


def _course(name: str, status: RunStatus) -> Iterator[str]:
    """Yield how far a run has come, how good it is, and what to do, as far as it is known."""
    live = status.live
    if not live:
        return
    progress = float(live["progress"])
    numbers = [
        f"{int(100 * progress)} % done",
        f"step {int(live['step'])}",
        f"{short_duration(float(live['seconds']))} so far",
    ]
    if status.running and live.get("seconds_left") is not None:
        numbers.append(f"about {short_duration(float(live['seconds_left']))} left")
    if live.get("speed"):
        numbers.append(f"{float(live['speed']):.3g} pictures a second")
    spoken = html.escape(f"Share of {name} that is done")
    yield f'<progress max="1" value="{progress:.4f}" aria-label="{spoken}"></progress>'
    yield _paragraph("", " · ".join(numbers))
    if live.get("quality"):
        yield _paragraph(f"<strong>{html.escape(str(live['quality']))}</strong>", "")
    for kind in ("advice", "remarks"):
        items = "".join(f"<li>{html.escape(str(line))}</li>" for line in live.get(kind, ()))
        if items:
            yield f'<ul class="{kind}">{items}</ul>'


def _paragraph(markup: str, text: str) -> str:
    return f"<p>{markup} {html.escape(text)}</p>"


def curves_html(run: Path) -> str:
    """Draw how far translations are from their target."""
    from translate.viz.curves import distance_svgs

    try:
        history = read_history(run)
    except ValueError as error:  # someone has edited the logs
        return f"<p>{html.escape(str(error))}</p>"
    if not any(curve.points for curve in history.distances):
        return "<p>Measured on held-out pictures every <code>train.score_every</code> steps.</p>"
    drawn = []
    for curve, svg in zip(history.distances, distance_svgs(history), strict=True):
        values = ", ".join(f"{value:.3g} at step {step}" for step, value in curve.values)
        spoken = html.escape(f"{curve.title}: {values}")
        drawn.append(f'<figure role="img" aria-label="{spoken}">{svg}</figure>')
    explained = (
        "<p>Lower is better, measured on held-out pictures. A model below the dashed line has "
        "done something.</p>"
    )
    return "".join(drawn) + explained
