"""`introshift demo`: the whole way in one go, on the embedded data set."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import Device, Json, count_progress, result, say


def command(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="New folder for data, run, translations and report."),
    ],
    minutes: Annotated[float, typer.Option(min=0.01, help="Training time.")] = 8.0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw two typefaces, train, translate unseen characters, judge the result."""
    from dataclasses import asdict

    import yaml

    from pipelines.train import train
    from translate.data.glyphs import write_glyphs
    from translate.data.inspection import suggest_config
    from translate.io.files import write_text

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: not an empty folder; give a new one")
    start = time.perf_counter()
    say("drawing the characters of two typefaces")
    write_glyphs(out / "data")
    values = suggest_config({name: out / "data" / f"train{name}" for name in "AB"})
    write_text(out / "demo.yaml", yaml.safe_dump(values, sort_keys=False))

    options = {"train.max_minutes": minutes}
    summary = train(out / "demo.yaml", [], options, out / "run", resume=False, device=device)
    model = out / "run" / "model.safetensors"

    from translate.evaluation.protocols import evaluate
    from translate.evaluation.report import table, write_report
    from translate.inference.translator import Translator

    translator = Translator.load(model, device)
    for source, to in (("A", "B"), ("B", "A")):
        with count_progress(f"translating {source} to {to}") as progress:
            translator.translate_folder(
                out / "data" / f"test{source}", out / f"{source}_to_{to}", to, progress=progress
            )

    evaluation = evaluate(model, out / "data", device=device)
    for note in evaluation.notes:
        say(f"note: {note}")
    paths = {
        "model": model,
        "translations": out / "A_to_B",
        "back": out / "B_to_A",
        **write_report(evaluation, out / "report", out / "run"),
    }
    minutes_in_all = (time.perf_counter() - start) / 60
    took = f"{summary['step']} steps in {summary['seconds'] / 60:.1f} minutes, {minutes_in_all:.1f} in all"
    text = "\n".join(
        [table(evaluation), "", took, *(f"{name}: {path}" for name, path in paths.items())]
    )
    result(
        {
            **asdict(evaluation),
            "paths": {name: str(path) for name, path in paths.items()},
            "training": summary,
        },
        text,
        as_json,
    )
