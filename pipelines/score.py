"""`introshift score`: which pictures do not belong to a domain?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines._console import Device, Json, count_progress, failed, result

if TYPE_CHECKING:
    from translate.inference.anomaly import Score
    from translate.losses.energy import Measured

WHOLE_LIST = "the result of --json"


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors.")],
    inputs: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of pictures, or one picture.")
    ],
    domain: Annotated[str, typer.Option("--domain", help="Domain that they are taken for.")],
    reject: Annotated[
        float,
        typer.Option(
            metavar="QUANTILE", help="Flag what lies beyond this quantile of the training images."
        ),
    ] = 0.999,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="Instead of a table.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Pictures that say what is usual instead of the training's."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Foreign pictures: how well are they told from those in DIR?"
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure the encoder's energy of every picture: how ill does it fit a domain?"""
    from translate.inference.anomaly import PARTS, measure_folder, scores, to_csv
    from translate.inference.predictor import Predictor
    from translate.io.files import make_way, write_text
    from translate.losses.energy import EnergyQuantiles
    from translate.metrics.statistics import auroc

    if out is not None:
        make_way(out)
    predictor = Predictor.load(model, device)
    failures: list[str] = []

    def measured(folder: Path) -> dict[str, Measured]:
        with count_progress("measuring") as progress:
            found, broken = measure_folder(predictor, folder, domain, progress=progress)
        failures.extend(f"{name}: {reason}" for name, reason in broken)
        return found

    if reference is None:
        usual = predictor.usual(domain)
    else:
        usual = EnergyQuantiles.of([energy for energy, *_ in measured(reference).values()])
    rows = scores(found := measured(inputs), usual, reject)
    told = {}
    if against is not None:
        foreign = measured(against)
        told = {
            part: auroc(*([values[i] for values in side.values()] for side in (found, foreign)))
            for i, part in enumerate(PARTS)
        }
    if out is not None:
        write_text(out, to_csv(rows))
    failed(failures, WHOLE_LIST)
    beyond = sum(row.rejected for row in rows)
    text = f"{len(rows)} measured, {beyond} beyond the {reject:g} quantile of {domain}, {len(failures)} failed"
    if told:
        text += f"\nAUROC against {against}: " + ", ".join(
            f"{part} {value:.3f}" for part, value in told.items()
        )
    data = {
        "domain": domain,
        "reject": reject,
        "limit": usual.limit(reject),
        "measured": len(rows),
        "rejected": beyond,
        "failures": failures,
        "auroc": told,
        "out": None if out is None else str(out),
        "scores": [asdict(row) for row in rows],
    }
    result(data, f"{_table(rows)}\n{text}" if out is None else f"{out}: {text}", as_json)
    if failures:
        raise typer.Exit(1)


def _table(rows: list[Score]) -> str:
    from translate.inference.anomaly import readable

    lines = ["    energy      L_r     KL_c     KL_s percentile"]
    for row in rows:
        name = readable(row.source)
        flag = "beyond" if row.rejected else ""
        numbers = f"{row.energy:10.5f} {row.rec:8.1f} {row.kl_c:8.1f} {row.kl_s:8.2f} {row.percentile:10.2f}"
        lines.append(f"{numbers} {flag:6} {name}")
    return "\n".join(lines)
