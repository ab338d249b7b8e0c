"""`introshift export`: write a model as a graph for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import result
from pipelines._options import Json, ModelFile


def command(
    model: ModelFile,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="[onnx|pt2]",
            help="onnx: needs pip install 'introshift[onnx]'; pt2: of torch.export.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write; default: MODEL_A_to_B.onnx or .pt2 beside MODEL."
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Domain to translate to; default: the model's last.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="Domain of the inputs, where the model has more than two."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the translation to a domain as one graph of image and style.

    image: (B, C, S, S) in [-1, 1], S is the training size. style: (B, Ds), drawn from N(0, I), or
    zeros for the mean. translation: like image.
    """
    from translate.inference.export import SUFFIXES, export, parse_format
    from translate.inference.predictor import Predictor
    from translate.inference.styles import resolve_direction
    from translate.io.outputs import prepare_output

    chosen = parse_format(format)
    if out is not None:
        prepare_output(out, model)
    predictor = Predictor.load(model, "cpu")
    names = predictor.config.data.names
    domains = [names[domain] for domain in resolve_direction(names, to or names[-1], source)]
    path = out or model.with_name(f"{model.stem}_{'_to_'.join(domains)}{SUFFIXES[chosen]}")
    facts = export(predictor, domains[1], domains[0], path, chosen)
    size, channels, style = (facts[name] for name in ("size", "channels", "style_dim"))
    image_shape = f"(B, {channels}, {size}, {size})"
    text = f"{path}: image {image_shape} of {domains[0]} in [-1, 1], style (B, {style}) -> "
    text += domains[1]
    result({"out": str(path), "format": chosen, **facts}, text, as_json)
