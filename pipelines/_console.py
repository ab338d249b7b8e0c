"""What commands share at the terminal: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from translate.io.files import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from translate.evaluation.results import Evaluation
    from translate.evaluation.thresholds import Threshold
    from translate.inference.folder_options import FolderSummary, Progress
    from translate.training.trainer import TrainProgress

# exit codes
EXIT_FAILED = 1  # some pictures failed, the rest is done; or an error that should not happen
EXIT_MISTAKE = 2  # of the user
EXIT_MISSED = 3  # a threshold of --fail-if
EXIT_DIVERGED = 4
EXIT_INTERRUPTED = 130

MAX_LISTED = 20  # failures named at the terminal
MAIN_TERMS = ("rec", "kl_c", "kl_s", "kl_s_translation", "cyc")  # of the loss, shown with the bar


def log(message: str) -> None:
    """Print a message for the user on stderr."""
    _print(message, sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    """Print a text, with codes for what the stream cannot write and for what terminals obey."""
    shown = printable(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(shown.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


class _BareMessages(logging.Handler):
    """Prints what the library logs as the commands print their own messages."""

    def emit(self, record: logging.LogRecord) -> None:
        log(record.getMessage())


@contextmanager
def library_messages() -> Iterator[None]:
    """Show the library's log messages, from INFO on, on stderr."""
    logger = logging.getLogger("translate")
    handler = _BareMessages()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def result(data: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the command's result on stdout: `data` as one JSON object, or else `text`."""
    _print(json.dumps(data) if as_json else text, sys.stdout)


def duration(seconds: float) -> str:
    """Return a duration in words, as precise as a plan is: minutes, hours or days."""
    minutes = seconds / 60
    if minutes < 1:
        return "less than a minute"
    if minutes < 100:
        return f"{minutes:.0f} minute{'s' * (round(minutes) != 1)}"
    hours = minutes / 60
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"


def short_duration(seconds: float) -> str:
    """Return a duration in seconds with as many digits as say something; from 120 s in words."""
    if seconds >= 120:
        return duration(seconds)
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def log_failures(lines: Sequence[str], whole_list: object) -> None:
    """Print the first failures on stderr, and `whole_list`, where all of them can be read."""
    for line in lines[:MAX_LISTED]:
        log(f"failed {' '.join(line.splitlines())}")
    if len(lines) > MAX_LISTED:
        log(f"... and {len(lines) - MAX_LISTED} more; see {whole_list}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Lay out rows of cells as aligned text, one line a row, however wide.

    Args:
        head: Names of the columns.
        rows: Cells of each row, as many as `head` has. Taken literally: no markup.
        text_columns: How many of the first columns hold text and are aligned to the left;
            numbers in the rest are aligned to the right.

    Returns:
        The lines without a final newline.
    """
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head[:text_columns]:
        grid.add_column(name, no_wrap=True)
    for name in head[text_columns:]:
        grid.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)

    # as wide as the table needs: rich breaks or crops what is wider than its console
    stream = StringIO()
    console = Console(
        file=stream,
        width=sys.maxsize,
        color_system=None,
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.print(grid)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


@contextmanager
def _bar(what: str, console: Console) -> Iterator[Callable[[float, RenderableType], None]]:
    """Show a bar on a line of its own, as wide as the terminal, and terms below it.

    Yields:
        A function that takes the share that is done, in [0, 1], and the terms.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn

    share = TextColumn("{task.percentage:3.0f} %")
    bar = Progress(TextColumn(what), BarColumn(None), share, console=console, expand=True)
    task = bar.add_task("", total=1.0)
    with Live(bar, console=console) as shown:

        def update(done: float, terms: RenderableType) -> None:
            bar.update(task, completed=done)
            shown.update(Group(bar, terms))

        yield update


@contextmanager
def training_progress() -> Iterator[Callable[[TrainProgress], None]]:
    """Show a bar and plain terms on a terminal, plain lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda state: log(_progress_line(state))
        return
    with _bar("training", console) as update:
        yield lambda state: update(state.progress, _progress_terms(state))


def _progress_line(state: TrainProgress) -> str:
    terms = [f"{name} {state.terms[name]:.3g}" for name in MAIN_TERMS if name in state.terms]
    parts = [
        f"step {state.step}",
        f"{state.images_per_second:.0f} images/s",
        f"{clock(state.seconds_left)} left",
        *terms,
    ]
    return "  ".join(parts)


def _progress_terms(state: TrainProgress) -> RenderableType:
    """Lay out where a training stands: step, time and speed, then the terms of the loss.

    The terms are in columns, as many as fit: none is broken or cut.
    """
    from rich.columns import Columns
    from rich.console import Group
    from rich.text import Text

    from translate.viz.curves import TERMS

    terms = [
        f"{TERMS[name][0]} {short_number(state.terms[name])}"
        for name in MAIN_TERMS
        if name in state.terms
    ]
    course = [
        f"step {state.step}",
        f"{clock(state.seconds_left)} left",
        f"{short_number(state.images_per_second)} pictures a second",
    ]
    return Group(Text("   ".join(course)), Columns(map(Text, terms), padding=(0, 3)))


def short_number(number: float) -> str:
    """Return a number with three digits, or all those before its point."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def count_progress(what: str, unit: str = "images") -> Iterator[Callable[[float, int], None]]:
    """Show a bar with a rate and the time left on a terminal; elsewhere one line at the end.

    Args:
        what: The work, such as "translating".
        unit: What is counted.

    Yields:
        A function that takes how many are done, and of how many.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: log(f"{what}: {done} of {total}") if done == total else None
        return

    start = time.perf_counter()
    before: float | None = None  # what was done already at the first call
    with _bar(what, console) as update:

        def show(done: float, total: int) -> None:
            nonlocal before
            before = done if before is None else before
            rate = (done - before) / (time.perf_counter() - start)
            parts = [f"{done:.0f} of {total} {unit}"]
            if rate > 0:
                parts += [f"{short_number(rate)} a second", f"{clock((total - done) / rate)} left"]
            update(done / max(total, 1), Text("   ".join(parts)))

        yield show


def translate_with_progress(
    job: Callable[[Progress], FolderSummary], out: str, verb: str, unit: str = "images"
) -> tuple[dict[str, Any], str, int]:
    """Translate a folder with a bar, and name what failed.

    Args:
        job: Translates the folder and reports its progress.
        out: The folder that it writes into, or its address.
        verb: What is done, for messages: translate, reconstruct.
        unit: What the progress counts.

    Returns:
        The result for programs, the result for people, and the number of failures.
    """
    stem = verb.removesuffix("e")
    try:
        with library_messages(), count_progress(f"{stem}ing", unit) as progress:
            done = job(progress)
    except KeyboardInterrupt:
        remedy = f"the same command with --skip-existing does the rest of {out}"
        log(f"introshift: interrupted; {remedy}")
        raise

    log_failures(
        [f"{name}: {reason}" for name, reason in done.failures], os.path.join(out, "manifest.jsonl")
    )
    why = ", ".join(f"{reason}: {count}" for reason, count in sorted(done.reasons.items()))
    skipped = f"{done.skipped} skipped" + f" ({why})" * bool(why)
    way = f" to {done.to}" * (done.source != done.to)
    counts = f"{done.ok} {stem}ed{way}, {skipped}, {done.failed} failed"
    text = f"{out}: {counts} in {done.seconds:.1f} s"
    if done.warned:
        text += f", {done.warned} with warnings in its manifest.jsonl"
    return {"out": out, **asdict(done)}, text, done.failed


def report_evaluation(
    evaluation: Evaluation,
    out: Path | None,
    thresholds: list[Threshold],
    as_json: bool,
    run: Path | None = None,
) -> None:
    """Write and print an evaluation.

    Args:
        evaluation: What was measured.
        out: Folder of the report, if there is to be one.
        thresholds: What must not hold (--fail-if).
        as_json: Whether to print JSON.
        run: The model's run folder, whose training curves are part of the report.

    Raises:
        typer.Exit: When a threshold is missed, or else when pictures could not be read.
    """
    from translate.evaluation import report
    from translate.evaluation.thresholds import missed_thresholds

    for note in evaluation.notes:
        log(f"note: {note}")
    log_failures(evaluation.broken, "metrics.json")
    if out is not None:
        for path in report.write_report(evaluation, out, run).values():
            log(str(path))
    result(report.as_plain_data(evaluation), report.table(evaluation), as_json)

    misses = missed_thresholds(evaluation, thresholds)
    for miss in misses:
        log(f"missed: {miss}")
    if misses:
        raise typer.Exit(EXIT_MISSED)
    if evaluation.broken:
        raise typer.Exit(EXIT_FAILED)
