"""`introshift train`: trains a model for a pair of domains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines._console import Device, Json, result, say, training_progress

DIVERGED, INTERRUPTED = 4, 130  # exit codes


def command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML config; introshift init writes one.")],
    data: Annotated[Path | None, typer.Option(help="Folder with trainA and trainB; replaces data.root.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/NAME of the config.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a setting.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")] = False,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes; schedules follow.")] = None,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, 32 or bf16.")] = None,
    as_json: Json = False,
) -> None:
    """Train a model; the result is RUN/model.safetensors, the best by its score on held-out images."""
    overrides = list(settings or [])
    overrides += [f"train.max_minutes={max_minutes}"] if max_minutes is not None else []
    overrides += [f"train.precision='{precision}'"] if precision is not None else []
    overrides += [f"data.root={str(data)!r}"] if data is not None else []
    run = out or Path("runs") / config.stem
    summary = train(config, overrides, run, resume, device)
    model = run / "model.safetensors"
    result(
        {"model": str(model), **summary},
        f"{model}: {summary['step']} steps, {summary['seconds'] / 60:.1f} minutes, best after {summary['best_step']}",
        as_json,
    )


def train(config: Path, overrides: list[str], run: Path, resume: bool, device: str) -> dict[str, Any]:
    """Loads config and data, trains into `run`, returns the summary."""
    from translate.config import load_config

    loaded = load_config(config, overrides)
    states = list((run / "state").glob("step_*.safetensors"))
    if not resume and (states or (run / "model.safetensors").exists()):
        raise ValueError(f"{run}: holds a run already; --resume continues it, another --out starts anew")
    if resume and not states:
        raise ValueError(f"{run}: no training state to resume from; leave out --resume to start anew")

    from translate.data.dataset import load_domains
    from translate.runtime.device import keep_freed_memory
    from translate.training.trainer import Diverged, Interrupted, Trainer

    keep_freed_memory()
    domains = load_domains(loaded.data)
    for domain in domains:
        say(f"domain {domain.name}: {len(domain.images)} images")
        for path, reason in domain.failed.items():
            say(f"left out {path}: {reason}")
    try:
        with training_progress() as tick:
            return Trainer(loaded, domains, run, device, say, tick).run(resume)
    except (Interrupted, Diverged) as end:
        say(f"introshift: {end}")
        raise typer.Exit(INTERRUPTED if isinstance(end, Interrupted) else DIVERGED) from None
