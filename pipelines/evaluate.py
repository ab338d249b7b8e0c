"""`introshift evaluate`: measure a model on test folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import count_progress, report_evaluation
from pipelines._options import (
    AllowMissing,
    Device,
    FailIf,
    Json,
    LpipsName,
    LpipsWeights,
    ModelFile,
    ReportOut,
    Seed,
)


def command(  # noqa: PLR0913  (options of the command line)
    model: ModelFile,
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Folder with testA and testB; equal names are pairs."),
    ],
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Domain to translate to; default: each.")
    ] = None,
    out: ReportOut = None,
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
    """Measure how good translations are, compared with the untranslated input.

    Pictures of equal names are pairs: the translation is measured against its truth. Without
    pairs, sets of pictures are compared.
    """
    from translate.evaluation.options import EvaluationOptions
    from translate.evaluation.protocols import evaluate
    from translate.evaluation.thresholds import parse_threshold

    thresholds = [parse_threshold(text) for text in fail_if or []]
    options = EvaluationOptions(lpips_net, lpips_weights, device, seed, styles, allow_missing)
    with count_progress("measuring") as progress:
        evaluation = evaluate(model, data, to, options, progress)
    report_evaluation(evaluation, out, thresholds, as_json, model.parent)
