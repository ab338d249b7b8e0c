"""`introshift export`: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines._console import Json, result


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors.")],
    format: Annotated[
        Literal["onnx", "torchscript"],
        typer.Option("--format", help="onnx: needs pip install 'introshift[onnx]'."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write; default: MODEL_A_to_B.onnx or .pt beside MODEL."
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
    """Write the translation to a domain as one graph: image (B, C, S, S) in [-1, 1] and style (B,
    Ds) to translation.

    S is the training size; style is drawn from N(0, I), or zeros, the mean.
    """
    from translate.inference.export import SUFFIXES, export
    from translate.inference.translator import Translator
    from translate.io.files import make_way

    if out is not None:
        make_way(out)
    translator = Translator.load(model, "cpu")
    names = translator.config.data.names
    domains = [names[domain] for domain in translator.domains(to or names[-1], source)]
    path = out or model.with_name(f"{model.stem}_{'_to_'.join(domains)}{SUFFIXES[format]}")
    facts = export(translator, domains[1], domains[0], path, format)
    size, channels, style = (facts[name] for name in ("size", "channels", "style_dim"))
    text = f"{path}: image (B, {channels}, {size}, {size}) of {domains[0]} in [-1, 1], style (B, {style}) -> {domains[1]}"
    result({"out": str(path), "format": format, **facts}, text, as_json)
