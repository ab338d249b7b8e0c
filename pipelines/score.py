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


def command(  # noqa: PLR0913  (options of the command line)
    model: ModelFile,
    inputs: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of pictures, or one picture.")
    ],
    domain: Annotated[str, typer.Option("--domain", help="Domain that they should belong to.")],
    reject: Annotated[
        float,
        typer.Option(
            metavar="QUANTILE",
            help="Flag pictures above this quantile of the training images.",
        ),
    ] = 0.999,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.csv", help="File to write instead of a table."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Pictures for the reference distribution; default: training images."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Foreign pictures; measure how well they are separated from those in DIR.",
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure how badly every picture fits a domain, by the encoder's energy."""
    from translate.inference.anomaly import measure_folder, scores, to_csv
    from translate.inference.predictor import Predictor
    from translate.io.files import make_parent, write_text
    from translate.losses.energy import EnergyQuantiles

    if out is not None:
        make_parent(out)
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
    text = (
        f"{len(rows)} measured, {rejected} above the {reject:g} quantile of {domain}, "
        f"{len(failures)} failed"
    )
    if areas:
        listed = ", ".join(f"{part} {area:.3f}" for part, area in areas.items())
        text += f"\nAUROC against {against}: {listed}"
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
    result(data, f"{_table(rows)}\n{text}" if out is None else f"{out}: {text}", as_json)
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
    """Lay out a line for each picture.

    Not by rich.table, which takes a millisecond a row: a minute for 40 000 pictures.
    """
    from translate.inference.anomaly import readable

    lines = ["    energy      L_r     KL_c     KL_s percentile"]
    for row in rows:
        parts = f"{row.energy:10.5f} {row.rec:8.1f} {row.kl_c:8.1f} {row.kl_s:8.2f}"
        flag = "above" if row.rejected else ""
        lines.append(f"{parts} {row.percentile:10.2f} {flag:6} {readable(row.source)}")
    return "\n".join(lines)
