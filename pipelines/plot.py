"""`introshift plot`: draw the curves of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import result
from pipelines._options import Json


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run, with its stats.jsonl.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help=".png, .svg or .pdf; default: RUN/curves.png."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the terms that a run logged over its steps; it may still be running."""
    from translate.io.files import make_parent
    from translate.viz.curves import write_curves

    path = out or run / "curves.png"
    if out is not None:
        make_parent(out)
    write_curves(run, path)
    result({"curves": str(path)}, str(path), as_json)
