"""`introshift train`: trains a model for a pair of domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines._console import Device, Json, result, say, training_progress

# exit codes
DIVERGED = 4
INTERRUPTED = 130


def command(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="YAML config; introshift init writes one.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Folder with trainA and trainB; replaces data.root.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default runs/NAME of the config.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a setting.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the run folder.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --resume: go on although settings or data differ.")
    ] = False,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop after so many minutes; schedules follow.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    as_json: Json = False,
) -> None:
    """Train a model; the result is RUN/model.safetensors, the best by its score on held-out
    images.
    """
    given = {
        "train.max_minutes": max_minutes,
        "train.precision": precision,
        "data.root": None if data is None else str(data),
    }
    options = {key: value for key, value in given.items() if value is not None}
    run = out or Path("runs") / config.stem
    summary = train(config, settings or [], options, run, resume, device, force)
    model = run / "model.safetensors"
    result(
        {"model": str(model), **summary},
        f"{model}: {summary['step']} steps, {summary['seconds'] / 60:.1f} minutes, best after {summary['best_step']}",
        as_json,
    )


def train(
    config: Path,
    settings: Sequence[str],
    options: Mapping[str, object],
    run: Path,
    resume: bool,
    device: str,
    force: bool = False,
) -> dict[str, Any]:
    """Load config and data, and train into a run folder.

    Args:
        config: the YAML config.
        settings: `section.key=value` texts of --set; the values are YAML.
        options: dotted key -> value of the command's own options; they go before `settings`.
        run: the run folder.
        resume: whether to continue the run that it holds.
        device: auto, cpu, cuda or mps.
        force: whether to resume although settings or data differ from the run's.

    Returns:
        The training's summary.
    """
    from translate.config import load_config

    loaded = load_config(config, settings, options)
    if force and not resume:
        raise ValueError("--force goes with --resume; to start anew, give another --out")
    states = list((run / "state").glob("step_*.safetensors"))
    if not resume and (states or (run / "model.safetensors").exists()):
        raise ValueError(
            f"{run}: holds a run already; --resume continues it, another --out starts anew"
        )
    if resume and not states:
        raise ValueError(
            f"{run}: no training state to resume from; leave out --resume to start anew"
        )

    from translate.data.dataset import load_domains
    from translate.runtime.device import keep_freed_memory
    from translate.training.trainer import Trainer, TrainingDivergedError, TrainingInterruptedError

    keep_freed_memory()
    domains = load_domains(loaded.data)
    for domain in domains:
        say(f"domain {domain.name}: {len(domain.images)} images")
        for path, reason in domain.failed.items():
            say(f"left out {path}: {reason}")
    try:
        with training_progress() as tick:
            return Trainer(loaded, domains, run, device, say, tick).run(resume, force)
    except (TrainingInterruptedError, TrainingDivergedError) as end:
        say(f"introshift: {end}")
        raise typer.Exit(
            INTERRUPTED if isinstance(end, TrainingInterruptedError) else DIVERGED
        ) from None
