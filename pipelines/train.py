"""`introshift train`: train a model for a set of domains."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import log, result
from pipelines._options import Device, Json, OptionalPrecision, Settings
from pipelines._training import (
    STATES,
    next_command,
    only_training,
    prepare,
    train_with_progress,
)
from translate.io.files import is_writable


def command(  # noqa: PLR0913  (options of the command line)
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="YAML config; introshift init writes one.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Folder with trainA and trainB; replaces data.root.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/NAME of the config.")
    ] = None,
    settings: Settings = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the run folder.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="With --resume: continue although settings or data differ."),
    ] = False,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="End after so many minutes, choosing and writing the model included; schedules "
            "follow."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and how long it takes, and stop.")
    ] = False,
    device: Device = "auto",
    precision: OptionalPrecision = None,
    as_json: Json = False,
) -> None:
    """Train a model; RUN/model.safetensors is the one that scores best on held-out images."""
    started = time.perf_counter()

    from translate.config import load_config
    from translate.models.metadata import RUN_MODEL

    given = {
        "train.max_minutes": max_minutes,
        "train.precision": precision,
        "data.root": None if data is None else str(data),
    }
    options = {key: value for key, value in given.items() if value is not None}
    loaded = load_config(config, settings or [], options)
    run = out or Path("runs") / config.stem
    _check_run_folder(run, resume, force)
    _check_apart(run, [loaded.data.folder(name) for name in loaded.data.names])

    if dry_run:
        prepared = prepare(loaded, run, device, started, resume)
        result(prepared.values(), "\n".join(prepared.lines(datetime.now())), as_json)
        return

    with only_training(run):
        prepared = prepare(loaded, run, device, started, resume)
        for line in prepared.lines(datetime.now()):
            log(line)
        summary = train_with_progress(prepared, resume, force)
    model = run / RUN_MODEL
    following = next_command(loaded, run)
    minutes = (time.perf_counter() - started) / 60
    lines = [
        f"{model}: kept after step {summary['best_step']} of {summary['step']}, "
        f"{minutes:.1f} minutes",
        *filter(None, [summary["quality"]]),
        f"next: {following}",
    ]
    result({"model": str(model), **summary, "next": following}, "\n".join(lines), as_json)


def _check_apart(run: Path, folders: list[Path]) -> None:
    """Refuse a run folder in a domain's, where its previews would be training pictures."""
    for folder in folders:
        if run.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"{run}: lies in {folder}, whose pictures are trained on; choose another --out"
            )


def _check_run_folder(run: Path, resume: bool, force: bool) -> None:
    """Refuse to overwrite a run, to resume where there is none, and what cannot be written."""
    from translate.models.metadata import RUN_MODEL

    if force and not resume:
        raise ValueError("--force goes with --resume; to start anew, give another --out")
    if not is_writable(run):
        raise ValueError(f"{run}: cannot be written into; choose another --out")

    has_state = any((run / "state").glob(STATES))
    if resume and not has_state:
        raise ValueError(
            f"{run}: no training state to resume from; leave out --resume to start anew"
        )
    if not resume and (has_state or (run / RUN_MODEL).exists()):
        raise ValueError(
            f"{run}: holds a run already; --resume continues it, another --out starts anew"
        )
