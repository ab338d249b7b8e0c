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
        list[Path] | None,
        typer.Argument(
            metavar="DATA",
            help="Test pictures: a folder for each domain, in the model's order, or one that has "
            "testA and testB, test/A and test/B, or A and B. Default: those named in training.",
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="Measure only translations to this domain; may be repeated."),
    ] = None,
    out: ReportOut = None,
    lpips_net: Annotated[
        LpipsName | None,
        typer.Option(
            "--lpips-net", help="Network of the visible errors (LPIPS); default: as configured."
        ),
    ] = None,
    lpips_weights: LpipsWeights = None,
    styles: Annotated[
        int, typer.Option(min=1, help="Styles to translate each picture in, for the variety.")
    ] = 4,
    fail_if: FailIf = None,
    allow_missing: AllowMissing = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure how good translations are, compared with the untranslated pictures.

    Where names are equal, each translation is compared with its true picture;
    else all translations together with all pictures of the target.
    """
    from translate.evaluation.options import EvaluationOptions
    from translate.evaluation.protocols import evaluate
    from translate.evaluation.thresholds import parse_threshold

    thresholds = [parse_threshold(text) for text in fail_if or []]
    options = EvaluationOptions(lpips_net, lpips_weights, device, seed, styles, allow_missing)
    with count_progress("measuring") as progress:
        evaluation = evaluate(model, data, to, options, progress)
    report_evaluation(evaluation, out, thresholds, as_json, model.parent)
