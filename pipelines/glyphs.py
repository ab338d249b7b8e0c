"""`introshift data glyphs`: write the embedded data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import result
from pipelines._options import Json, Seed


def command(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder to write trainA, trainB, testA, testB into."),
    ],
    size: Annotated[
        int, typer.Option(min=16, max=512, help="Side of the pictures in pixels.")
    ] = 32,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw the embedded data set, characters of two typefaces.

    Training pictures are unpaired, test pictures are paired.
    """
    from translate.data.glyphs import write_glyphs

    counts = write_glyphs(out, size, seed)
    text = ", ".join(f"{name} {count}" for name, count in counts.items())
    result({"out": str(out), "images": counts}, f"{out}: {text}", as_json)
