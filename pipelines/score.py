"""`introshift score`: find the pictures that do not belong to a domain."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines._console import EXIT_FAILED, count_progress, log_failures, result
from pipelines._options import Device, Json, ModelFile

if TYPE_CHECKING:
    from translate.inference.anomaly import Score
    from translate.losses.energy import Measured

WHOLE_LIST = "the result of --json"
PART_NAMES = {
    "energy": "energy",
    "rec": "reconstruction",
    "kl_c": "content",
    "kl_s": "style",
}


def command(  # noqa: PLR0913  (options of the command line)
    model: ModelFile,
    inputs: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of pictures, or one picture.")
    ],
    domain: Annotated[
        str, typer.Option("--domain", help="Name of the domain that they should belong to.")
    ],
    reject: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Mark pictures that fit worse than this share of the training pictures.",
        ),
    ] = 0.999,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.csv", help="Table of all numbers to write."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Pictures to compare with in place of the training pictures."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Foreign pictures: measure how well they are told apart from those in DIR.",
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find pictures that do not belong to a domain, as they fit worse than its training pictures.

    How badly a picture fits is the encoder's energy, which training made low.
    """
    from translate.inference.anomaly import measure_folder, scores, to_csv
    from translate.inference.predictor import Predictor
    from translate.io.files import write_text
    from translate.io.outputs import prepare_output
    from translate.losses.energy import EnergyQuantiles

    if out is not None:
        prepare_output(out, inputs, reference, against, model)
    predictor = Predictor.load(model, device)
    failures: list[str] = []

    def measure(folder: Path) -> dict[str, Measured]:
        with count_progress("measuring") as progress:
            found, broken = measure_folder(predictor, folder, domain, progress=progress)
        failures.extend(f"{name}: {reason}" for name, reason in broken)
        return found

    if reference is None:
        quantiles = predictor.reference(domain)
    else:
        energies = [measured.energy for measured in measure(reference).values()]
        quantiles = EnergyQuantiles.of(energies)
    found = measure(inputs)
    rows = scores(found, quantiles, reject)
    areas = {} if against is None else _areas(found, measure(against))

    if out is not None:
        write_text(out, to_csv(rows))
    log_failures(failures, WHOLE_LIST)
    rejected = sum(row.rejected for row in rows)
    compared_with = f"{domain}'s training pictures" if reference is None else str(reference)
    text = (
        f"{len(rows)} measured, {rejected} of them fit {domain} worse than {100 * reject:g} % of"
        f" {compared_with}, {len(failures)} failed"
    )
    if areas:
        listed = ", ".join(f"{PART_NAMES[part]} {area:.3f}" for part, area in areas.items())
        text += (
            f"\na picture of {against} fits worse than one of {inputs} in"
            f" {100 * areas['energy']:.0f} % of all pairs (50 % is chance; AUROC by {listed})"
        )
    data = {
        "domain": domain,
        "reject": reject,
        "limit": quantiles.limit(reject),
        "measured": len(rows),
        "rejected": rejected,
        "failures": failures,
        "auroc": areas,
        "out": None if out is None else str(out),
        "scores": [asdict(row) for row in rows],
    }
    result(data, f"{_table(rows)}\n\n{text}" if out is None else f"{out}: {text}", as_json)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _areas(own: dict[str, Measured], foreign: dict[str, Measured]) -> dict[str, float]:
    """Compute how well the energy, and each of its parts, tells foreign pictures apart: AUROC."""
    from translate.inference.anomaly import PARTS
    from translate.metrics.statistics import auroc

    areas = {}
    for i, part in enumerate(PARTS):
        own_values = [measured[i] for measured in own.values()]
        foreign_values = [measured[i] for measured in foreign.values()]
        areas[part] = auroc(own_values, foreign_values)
    return areas


def _table(rows: list[Score]) -> str:
    """Lay out a line for each picture, those that fit worst first.

    Not by rich.table, which takes a millisecond a row: a minute for 40 000 pictures.
    """
    from translate.inference.anomaly import readable

    lines = ["    energy  fits worse than    picture"]
    for row in sorted(rows, key=lambda row: -row.energy):
        flag = "!" if row.rejected else " "
        share = f"{row.percentile:.1f} %"
        lines.append(f"{row.energy:10.5f}  {share:>15}  {flag} {readable(row.source)}")
    return "\n".join(lines)
