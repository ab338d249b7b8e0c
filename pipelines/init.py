"""`introshift init`: write a config that fits the pictures of each domain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import log, result
from pipelines._options import Json

HEADER = (
    "# What differs from the defaults; all settings, once trained: introshift info MODEL --config\n"
)


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="A_DIR B_DIR ...",
            help="A folder of pictures for each domain: A, B and so on; a model of one alone can "
            "draw new pictures, not translate.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Config file to write.")] = Path(
        "introshift.yaml"
    ),
    size: Annotated[
        int | None,
        typer.Option(min=8, max=2048, help="Training size in pixels; default: from the pictures."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing config.")] = False,
    as_json: Json = False,
) -> None:
    """Look at folders of pictures and write a config with fitting size, channels and preset."""
    from string import ascii_uppercase

    import yaml

    from translate.config import from_dict
    from translate.data.inspection import suggest_config
    from translate.io.files import make_parent, write_text

    if out.exists() and not force:
        raise ValueError(f"{out}: exists already; give another -o or --force")
    if len(folders) > len(ascii_uppercase):
        raise ValueError(
            f"{len(folders)} folders: at most {len(ascii_uppercase)} have a letter; write {out} "
            "by hand"
        )
    make_parent(out)
    values = suggest_config(dict(zip(ascii_uppercase, folders, strict=False)), size)
    from_dict(values, str(out))
    write_text(out, HEADER + yaml.safe_dump(values, sort_keys=False))
    for key, value in values["data"].items():
        log(f"{key}: {value}")
    result({"config": str(out), **values}, f"{out}: next, introshift train {out}", as_json)
