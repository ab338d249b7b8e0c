"""`introshift info`: describe a model file."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines._console import result
from pipelines._options import Json, ModelFile


def command(
    model: ModelFile,
    config: Annotated[
        bool, typer.Option("--config", help="Print the whole config as YAML instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a model file holds: domains, size, training, parameters, SHA-256."""
    # no torch here: the file's header has all that is shown
    from translate.io.files import sha256
    from translate.models.metadata import read_info

    file = read_info(model)
    if config:
        result(file.config.model_dump(mode="json"), file.config.to_yaml().rstrip(), as_json)
        return
    data = {
        "model": str(model),
        "domains": list(file.config.data.names),
        "size": file.config.data.size,
        "channels": file.config.data.channels,
        "preset": file.config.model.preset,
        "parameters": file.parameters,
        "sha256": sha256(model),
        "training": file.summary,
    }
    result(data, "\n".join(f"{name}: {value}" for name, value in data.items()), as_json)
