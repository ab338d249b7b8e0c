"""`introshift compare`: the same metrics for any two folders, whoever made them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import Device, Json, LpipsNet, LpipsWeights, Seed, count_progress
from pipelines.evaluate import AllowMissing, FailIf, Out, report_results


def command(
    results: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder of results.")],
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH_DIR",
            help="Folder of what they should be; names pair them, or sets are compared.",
        ),
    ],
    source: Annotated[
        Path | None, typer.Option(help="Folder of the inputs, for the identity baseline.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=11, help="Bring everything to this size first.")
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Bring results to the size of their truth.")
    ] = False,
    out: Out = None,
    lpips_net: LpipsNet = "alex",
    lpips_weights: LpipsWeights = None,
    fail_if: FailIf = None,
    allow_missing: AllowMissing = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure how close one folder of pictures is to another."""
    from translate.evaluation.protocols import compare
    from translate.evaluation.report import parse_threshold

    thresholds = [parse_threshold(text) for text in fail_if or []]
    with count_progress("measuring") as progress:
        evaluation = compare(
            results,
            truth,
            source,
            size,
            resize,
            lpips_net,
            lpips_weights,
            device,
            seed,
            allow_missing,
            progress,
        )
    report_results(evaluation, out, thresholds, as_json)
