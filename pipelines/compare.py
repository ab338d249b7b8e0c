"""`introshift compare`: the metrics of `evaluate` for any two folders of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import count_progress, report_evaluation
from pipelines._options import (
    RANGES,
    AllowMissing,
    Device,
    FailIf,
    Json,
    LpipsNet,
    LpipsWeights,
    ReportOut,
    Seed,
)


def command(  # noqa: PLR0913  (options of the command line)
    results: Annotated[
        Path, typer.Argument(metavar="OUT_DIR", help="Folder of translations, whoever made them.")
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH_DIR",
            help="Folder of what they should be: pictures of equal names are pairs; where no "
            "names are equal, the folders are compared as wholes.",
        ),
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the inputs, to tell whether translations are better than these."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=11, help="Resize all pictures to N x N first.", metavar="N")
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Resize each translation to the size of its pair.")
    ] = False,
    value_range: Annotated[
        str,
        typer.Option(
            "--range", metavar=RANGES, help="Black and white of more than 8 bits a channel."
        ),
    ] = "file",
    out: ReportOut = None,
    lpips_net: LpipsNet = "alex",
    lpips_weights: LpipsWeights = None,
    fail_if: FailIf = None,
    allow_missing: AllowMissing = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure how close one folder of pictures is to another.

    Without pairs, pictures of several sizes become TRUTH_DIR's most common one.
    """
    from translate.evaluation.options import EvaluationOptions
    from translate.evaluation.protocols import compare
    from translate.evaluation.thresholds import parse_threshold

    thresholds = [parse_threshold(text) for text in fail_if or []]
    options = EvaluationOptions(
        lpips_net,
        lpips_weights,
        device,
        seed,
        allow_missing=allow_missing,
        value_range=value_range,
    )
    with count_progress("measuring") as progress:
        evaluation = compare(results, truth, source, size, resize, options, progress)
    report_evaluation(evaluation, out, thresholds, as_json)
