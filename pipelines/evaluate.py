"""`introshift evaluate`: judges a model on test folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines._console import (
    Device,
    Json,
    LpipsName,
    LpipsWeights,
    Seed,
    count_progress,
    failed,
    result,
    say,
)

if TYPE_CHECKING:
    from translate.evaluation.evaluator import Evaluation
    from translate.evaluation.report import Threshold

# exit codes
BROKEN = 1
MISSED = 3
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for report.html, metrics.json, per_image.csv, picture grids."),
]
FailIf = Annotated[
    list[str] | None,
    typer.Option("--fail-if", metavar="'METRIC>VALUE'", help="Exit 3 when this holds."),
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go on when some pictures have no partner.")
]


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors.")],
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Folder with testA and testB; equal names are pairs."),
    ],
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Domain to translate to; default: each.")
    ] = None,
    out: Out = None,
    lpips_net: Annotated[
        LpipsName | None,
        typer.Option(
            "--lpips-net", help="LPIPS network; default: the config's evaluate.lpips_net."
        ),
    ] = None,
    lpips_weights: LpipsWeights = None,
    styles: Annotated[
        int, typer.Option(min=1, help="Random styles of each picture, for the diversity.")
    ] = 4,
    fail_if: FailIf = None,
    allow_missing: AllowMissing = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure how good translations are: against the truth where names pair, beside the input
    itself as the answer.
    """
    from translate.evaluation.protocols import evaluate
    from translate.evaluation.report import parse_threshold

    thresholds = [parse_threshold(text) for text in fail_if or []]
    with count_progress("measuring") as progress:
        evaluation = evaluate(
            model, data, to, lpips_net, lpips_weights, device, seed, styles, allow_missing, progress
        )
    report_results(evaluation, out, thresholds, as_json, model.parent)


def report_results(
    evaluation: Evaluation,
    out: Path | None,
    thresholds: list[Threshold],
    as_json: bool,
    run: Path | None = None,
) -> None:
    """Writes and prints an evaluation; exits 3 when a threshold is missed, else 1 when pictures
    were broken.
    """
    from translate.evaluation.report import as_plain_data, missed, table, write_report

    for note in evaluation.notes:
        say(f"note: {note}")
    failed(evaluation.broken, "metrics.json")
    if out is not None:
        for path in write_report(evaluation, out, run).values():
            say(str(path))
    result(as_plain_data(evaluation), table(evaluation), as_json)
    misses = missed(evaluation, thresholds)
    for miss in misses:
        say(f"missed: {miss}")
    if misses or evaluation.broken:
        raise typer.Exit(MISSED if misses else BROKEN)
