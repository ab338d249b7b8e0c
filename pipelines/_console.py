"""What the commands share at the terminal: results on stdout, words and progress on stderr, errors
in one line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from translate.training.trainer import TrainProgress

MOST_LISTED = 20  # failures named at the terminal

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
LpipsName = Literal["alex", "vgg", "squeeze"]
LpipsNet = Annotated[LpipsName, typer.Option("--lpips-net", help="LPIPS network.")]
LpipsWeights = Annotated[
    Path | None,
    typer.Option(
        "--lpips-weights", help="Its weights: safetensors with torchvision's features.* tensors."
    ),
]


def say(text: str) -> None:
    """A word to the user, on stderr."""
    print(text, file=sys.stderr, flush=True)


def result(data: dict[str, Any], text: str, as_json: bool) -> None:
    """The command's result, on stdout."""
    print(json.dumps(data) if as_json else text, flush=True)


def failed(lines: Sequence[str], whole_list: object) -> None:
    """Names what failed, the first of it at least, on stderr; `whole_list` is where all of it can
    be read.
    """
    for line in lines[:MOST_LISTED]:
        say(f"failed {line}")
    if len(lines) > MOST_LISTED:
        say(f"... and {len(lines) - MOST_LISTED} more; see {whole_list}")


@contextmanager
def training_progress() -> Iterator[Callable[[TrainProgress], None]]:
    """A bar on a terminal, plain lines elsewhere: step, images/s, time left, the main terms."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda tick: say(_tick_line(tick))
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %  {task.description}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda tick: bar.update(task, completed=tick.progress, description=_tick_line(tick))


def _tick_line(tick: TrainProgress) -> str:
    main = ("rec", "kl_c", "kl_s", "kl_s_translation", "cyc")
    terms = "  ".join(f"{name} {tick.terms[name]:.3g}" for name in main if name in tick.terms)
    minutes, seconds = divmod(round(tick.seconds_left), 60)
    return f"step {tick.step}  {tick.images_per_second:.0f} images/s  {minutes}:{seconds:02d} left  {terms}"


@contextmanager
def count_progress(what: str, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """A bar with a rate and time left on a terminal; elsewhere a line at the end."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: say(f"{what}: {done} of {total}") if done == total else None
        return
    start = time.perf_counter()
    rate = TextColumn("{task.description}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def tell(done: int, total: int) -> None:
            speed = f"{done / (time.perf_counter() - start):.0f} {unit}/s"
            bar.update(task, completed=done, total=total, description=speed)

        yield tell
