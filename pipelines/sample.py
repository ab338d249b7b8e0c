"""`introshift sample`: images of a domain from random latents."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import Device, Json, Seed, count_progress, result

# of the grid, at most
SHOWN = 64
COLUMNS = 8


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to make: OUT/images/ and OUT/grid.png.")
    ],
    domain: Annotated[str, typer.Option("--domain", help="Domain to draw images of.")],
    content: Annotated[
        str,
        typer.Option(
            metavar="prior|DIR",
            help="Content: from N(0, I), or as pictures of the domain are encoded.",
        ),
    ] = "prior",
    count: Annotated[int, typer.Option(min=1, help="Images to draw.")] = 64,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw images of a domain: style from its prior, content from its prior or from a folder of
    pictures.
    """
    from translate.inference.predictor import Predictor
    from translate.inference.sampling import PRIOR, sample
    from translate.io.files import PART
    from translate.io.images import write_image
    from translate.viz.grids import image_grid

    images = out / "images"
    grid = out / "grid.png"
    if images.exists() and any(images.iterdir()):
        raise ValueError(f"{images}: holds files already; choose another folder")
    drawn = sample(Predictor.load(model, device), domain, count, seed, content)
    if images.exists():  # and empty
        images.rmdir()

    # Images get their folder when all are there, so that what an interrupted run leaves is not
    # taken for a result.
    unfinished = out / f"{PART}images.part"
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
    unfinished.mkdir(parents=True)
    shown = []
    try:
        with count_progress("sampling") as progress:
            progress(0, count)
            for i, pixels in enumerate(drawn):
                write_image(unfinished / f"{i:06}.png", pixels)
                shown += [pixels] if i < SHOWN else []
                progress(i + 1, count)
        write_image(
            grid, image_grid([shown[i : i + COLUMNS] for i in range(0, len(shown), COLUMNS)])
        )
        os.replace(unfinished, images)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    source = "its prior N(0, I)" if content == PRIOR else f"the encoded pictures of {content}"
    text = f"{images}: {count} images of {domain}, style from its prior, content from {source}; grid: {grid}"
    data = {
        "images": str(images),
        "grid": str(grid),
        "count": count,
        "domain": domain,
        "seed": seed,
        "style": PRIOR,
        "content": content,
    }
    result(data, text, as_json)
