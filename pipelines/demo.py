"""`introshift demo`: draw, train, translate and evaluate the embedded data set."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import count_progress, log, result
from pipelines._options import Device, Json
from pipelines._training import only_training, prepare, quoted, train_with_progress

STEPS = 4600  # some eight minutes on two cores


def command(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="New folder for data, run, translations and report."),
    ],
    steps: Annotated[
        int, typer.Option(min=1, help="Steps of the training, the same on every machine.")
    ] = STEPS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw two typefaces, train, translate unseen characters, evaluate the translations."""
    from translate.config import load_config
    from translate.models.metadata import RUN_MODEL

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: not an empty folder; give a new one")

    from dataclasses import asdict

    start = time.perf_counter()
    run = out / "run"
    model = run / RUN_MODEL
    config_path = _write_data_and_config(out)
    config = load_config(config_path, [], {"train.steps": steps})
    with only_training(run):
        prepared = prepare(config, run, device, start)
        for line in prepared.lines(datetime.now()):
            log(line)
        log("then translations and the report, another minute or so")
        summary = train_with_progress(prepared)

    from translate.evaluation.options import EvaluationOptions
    from translate.evaluation.protocols import evaluate
    from translate.evaluation.report import table, write_report

    _translate_both_directions(out, model, device)
    evaluation = evaluate(model, out / "data", options=EvaluationOptions(device=device))
    for note in evaluation.notes:
        log(f"note: {note}")
    paths = {
        "model": model,
        "translations": out / "A_to_B",
        "back": out / "B_to_A",
        **write_report(evaluation, out / "report", run),
    }

    training_minutes = summary["seconds"] / 60
    total_minutes = (time.perf_counter() - start) / 60
    took = (
        f"{summary['step']} steps in {training_minutes:.1f} minutes, {total_minutes:.1f} altogether"
    )
    lines = [
        table(evaluation),
        "",
        took,
        *filter(None, [summary["quality"]]),
        *(f"{name}: {path}" for name, path in paths.items()),
        "",
        *how_to_open(paths["report"]),
    ]
    data = {
        **asdict(evaluation),
        "paths": {name: str(path) for name, path in paths.items()},
        "training": summary,
    }
    result(data, "\n".join(lines), as_json)


def how_to_open(report: Path) -> list[str]:
    """Say how to look at a page, on this system."""
    opener = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    return [
        f"to look at the report, open {report.resolve().as_uri()} in a browser,",
        f"or type: {quoted([opener, str(report)])}",
    ]


def _write_data_and_config(out: Path) -> Path:
    """Draw the characters into OUT/data and write OUT/demo.yaml; return its path."""
    import yaml

    from translate.data.glyphs import write_glyphs
    from translate.data.inspection import suggest_config
    from translate.io.files import write_text

    log("drawing the characters of two typefaces")
    write_glyphs(out / "data")
    values = suggest_config({name: out / "data" / f"train{name}" for name in "AB"}, base=out)
    path = out / "demo.yaml"
    write_text(path, yaml.safe_dump(values, sort_keys=False))
    return path


def _translate_both_directions(out: Path, model: Path, device: str) -> None:
    """Translate the test pictures into OUT/A_to_B and OUT/B_to_A."""
    from translate.inference.translator import Translator

    translator = Translator.load(model, device)
    for source, to in (("A", "B"), ("B", "A")):
        pictures = out / "data" / f"test{source}"
        with count_progress(f"translating {source} to {to}") as progress:
            translator.translate_folder(pictures, out / f"{source}_to_{to}", to, progress=progress)
