"""`introshift interpolate`: what lies between two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import Device, Json, Seed, result

ROWS = ("content", "style", "both")
ONE_LATENT = ("latent",)


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors.")],
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="A picture.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Another of the same domain.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.png", help="Picture to write.")],
    domain: Annotated[str, typer.Option("--domain", help="Domain of the pictures.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Domain to draw in, between two random styles; default: their own."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Columns, the ends included.")] = 8,
    gif: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.gif", help="Animation to write: the three side by side, to and fro."
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw what lies between two pictures: in content, in style and in both."""
    from translate.inference.predictor import Predictor
    from translate.inference.sampling import interpolate, read_square
    from translate.io.files import make_way
    from translate.io.images import format_from_suffix, write_gif, write_image
    from translate.viz.grids import image_grid

    format_from_suffix(out)
    for path in (out, gif):
        if path is not None:
            make_way(path)
    predictor = Predictor.load(model, device)
    a = read_square(first, predictor)
    b = read_square(second, predictor)
    rows = interpolate(predictor, a, b, domain, to, steps, seed)
    if gif is not None:
        there = [image_grid([row]) for row in rows.swapaxes(0, 1)]
        write_gif(gif, [*there, *there[-2:0:-1]])
    names = ROWS if len(rows) == len(ROWS) else ONE_LATENT
    write_image(out, image_grid(rows, names))
    text = f"{out}: {steps} steps in {', '.join(names)}" + (
        "" if gif is None else f"; animation: {gif}"
    )
    data = {
        "out": str(out),
        "gif": None if gif is None else str(gif),
        "rows": names,
        "steps": steps,
    }
    result(data | {"domain": domain, "to": to or domain}, text, as_json)
