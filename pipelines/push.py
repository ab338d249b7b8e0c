"""`introshift push`: put a trained model on a hub, with its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines._console import log, result
from pipelines._options import Json, ModelFile

if TYPE_CHECKING:
    from translate.evaluation.card import Report

CARD = "README.md"
PICTURE = "pictures.png"


def command(
    model: ModelFile,
    repository: Annotated[
        str, typer.Argument(metavar="USER/NAME", help="Repository; it is made where it is new.")
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Folder of the evaluation whose figures go into the card; default: MODEL's report "
            "folder, where there is one.",
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", metavar="NAME", help="Of the model, such as mit or cc-by-4.0."),
    ] = None,
    public: Annotated[
        bool,
        typer.Option("--public", help="Let everybody see a new repository; default: only you."),
    ] = False,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures", help="Show pictures of the evaluation on the card."
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the card and the files, and send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a model on the Hugging Face Hub, or on HF_ENDPOINT, as hf://USER/NAME.

    It needs a token that may write, in HF_TOKEN or by `hf auth login`.
    """
    from translate.evaluation.card import model_card
    from translate.io.hub import HubAddress, upload
    from translate.models.metadata import RUN_MODEL, read_info

    address = HubAddress.parse(repository)
    figures = _figures(model, report)
    grid = figures.grid if figures and pictures else None
    card = model_card(read_info(model), str(address), figures, PICTURE if grid else None, licence)
    files: dict[str, Path | bytes] = {RUN_MODEL: model, CARD: card.encode()}
    if grid:
        files[PICTURE] = grid
    names = ", ".join(files)
    if dry_run:
        data = {"repository": str(address), "files": list(files), "card": card}
        result(data, f"{card}\n{address}: would get {names}", as_json)
        return

    commit = upload(address, files, "Model and card by introshift", public)
    text = f"{address}: has {names} now, {commit}\n"
    text += f"next: introshift translate {address} MY_PICTURES translated"
    result({"repository": str(address), "files": list(files), "commit": commit}, text, as_json)


def _figures(model: Path, folder: Path | None) -> Report | None:
    """Read the evaluation of a model; without one, say how to make it."""
    from translate.evaluation.card import METRICS, Report
    from translate.io.files import sha256

    folder = folder or model.parent / "report"
    if not (folder / METRICS).is_file() and folder == model.parent / "report":
        log(
            f"advice: a card with figures helps others more: introshift evaluate {model} TEST_A "
            f"TEST_B --out {folder}"
        )
        return None
    report = Report.read(folder)
    if report.values.get("model_sha256") not in (None, sha256(model)):
        raise ValueError(f"{folder}: the evaluation of another model; evaluate {model} again")
    return report
