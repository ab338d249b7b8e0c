"""`introshift swap`: draw every content in every style, as the paper does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import result
from pipelines._options import Device, Json, ModelFile, PictureOut


def command(  # noqa: PLR0913  (options of the command line)
    model: ModelFile,
    contents: Annotated[
        Path,
        typer.Argument(
            metavar="CONTENT", help="A picture or a folder of one domain: the first row."
        ),
    ],
    styles: Annotated[
        Path,
        typer.Argument(
            metavar="STYLE", help="A picture or a folder of the other: the first column."
        ),
    ],
    out: PictureOut,
    to: Annotated[
        str | None, typer.Option("--to", help="Domain of STYLE; default: the model's last.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="Domain of CONTENT, where the model has more than two."),
    ] = None,
    columns: Annotated[int, typer.Option(min=1, help="Contents at most, evenly spaced.")] = 8,
    rows: Annotated[int, typer.Option(min=1, help="Styles at most, evenly spaced.")] = 8,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw every content in every style: rows keep the style, columns keep the content."""
    from translate.inference.predictor import Predictor
    from translate.inference.styles import resolve_direction
    from translate.inference.swap import spread_of, swap_figure
    from translate.io.images import format_from_suffix, write_image
    from translate.io.outputs import prepare_output

    format_from_suffix(out)
    prepare_output(out, contents, styles, model)
    predictor = Predictor.load(model, device)
    names = predictor.config.data.names
    exchanged = len(names) == 1 and not predictor.config.model.one_latent
    domains = (0, 0) if exchanged else resolve_direction(names, to or names[-1], source)
    first_row = spread_of(contents, columns, predictor.config.data)
    first_column = spread_of(styles, rows, predictor.config.data)
    write_image(out, swap_figure(predictor.model, first_row, first_column, *domains))
    source, to = (names[domain] for domain in domains)

    text = f"{out}: {len(first_row)} contents of {source} in {len(first_column)} styles of {to}"
    data = {"out": str(out), "contents": len(first_row), "styles": len(first_column)}
    result(data, text, as_json)
