"""`introshift info`: describe a model file."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines._console import result
from pipelines._options import Json, ModelFile

MORE = "--config: all settings; --json: everything, with the SHA-256"


def command(
    model: ModelFile,
    config: Annotated[
        bool, typer.Option("--config", help="Print the whole config as YAML instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a model translates, how large it is, how it was trained, and what to know of it."""
    # no torch here: the file's header has all that is shown
    from translate.io.files import sha256
    from translate.models.description import describe
    from translate.models.metadata import read_info

    file = read_info(model)
    if config:
        result(file.config.model_dump(mode="json"), file.config.to_yaml().rstrip(), as_json)
        return
    lines = [*describe(model, file), ("more", MORE)]
    text = "\n".join(f"{name:<11} {line}" for name, line in lines)
    if not as_json:  # the hash would read the whole file
        result({}, text, as_json)
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
    result(data, text, as_json)
