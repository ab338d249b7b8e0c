"""`introshift interpolate`: draw pictures between two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import result
from pipelines._options import Device, Json, ModelFile, PictureOut, Seed

ROWS = ("content", "style", "both")
ONE_LATENT = ("latent",)


def command(  # noqa: PLR0913  (options of the command line)
    model: ModelFile,
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="A picture.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Another of the same domain.")],
    out: PictureOut,
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
            metavar="FILE.gif",
            help="Animation to write: content, style and both side by side, forth and back.",
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw the steps from one picture to another: in content, in style and in both."""
    from translate.inference.predictor import Predictor
    from translate.inference.sampling import interpolate, read_square
    from translate.io.images import format_from_suffix, write_gif, write_image
    from translate.io.outputs import prepare_output
    from translate.viz.grids import image_grid

    format_from_suffix(out)
    for path in (out, gif):
        if path is not None:
            prepare_output(path, first, second, model)
    predictor = Predictor.load(model, device)
    a = read_square(first, predictor)
    b = read_square(second, predictor)
    rows = interpolate(predictor, a, b, domain, to, steps, seed)
    if gif is not None:
        forth = [image_grid([column]) for column in rows.swapaxes(0, 1)]
        back = forth[-2:0:-1]
        write_gif(gif, [*forth, *back])
    names = ROWS if len(rows) == len(ROWS) else ONE_LATENT
    write_image(out, image_grid(rows, names))

    text = f"{out}: {steps} steps in {', '.join(names)}"
    if gif is not None:
        text += f"; animation: {gif}"
    data = {
        "out": str(out),
        "gif": None if gif is None else str(gif),
        "rows": names,
        "steps": steps,
        "domain": domain,
        "to": to or domain,
    }
    result(data, text, as_json)
