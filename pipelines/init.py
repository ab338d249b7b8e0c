"""`introshift init`: writes a config that fits two folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import Json, result, say


def command(
    a: Annotated[Path, typer.Argument(metavar="A_DIR", help="Folder of pictures of domain A.")],
    b: Annotated[Path, typer.Argument(metavar="B_DIR", help="Folder of pictures of domain B.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Config file to write.")] = Path("introshift.yaml"),
    size: Annotated[
        int | None, typer.Option(min=8, max=2048, help="Training size in pixels; default: from the pictures.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing config.")] = False,
    as_json: Json = False,
) -> None:
    """Look at two folders and write a config with fitting size, channels and preset."""
    import yaml

    from translate.config import from_dict
    from translate.files import write_text
    from translate.survey import propose

    if out.exists() and not force:
        raise ValueError(f"{out}: exists already; give another -o or --force")
    values = propose({"A": a, "B": b}, size)
    from_dict(values, str(out))
    write_text(
        out,
        "# What differs from the defaults; all settings, once trained: introshift info MODEL --config\n"
        + yaml.safe_dump(values, sort_keys=False),
    )
    for key, value in values["data"].items():
        say(f"{key}: {value}")
    result({"config": str(out), **values}, f"{out}: next, introshift train {out}", as_json)
