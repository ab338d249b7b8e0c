"""`introshift sample`: draw new images of a domain, in random styles."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines._console import count_progress, result
from pipelines._options import Device, Json, ModelFile, Seed

if TYPE_CHECKING:
    from translate.io.images import UInt8

MAX_SHOWN = 64  # images in the grid
COLUMNS = 8  # of the grid


def command(
    model: ModelFile,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to make: OUT/images/ and OUT/grid.png.")
    ],
    domain: Annotated[str, typer.Option("--domain", help="Domain to draw images of.")],
    content: Annotated[
        str,
        typer.Option(
            metavar="training|DIR|prior",
            help="Content: of pictures of the training or of a folder, or random, which gives "
            "texture; a model of one domain has but one latent, which is random.",
        ),
    ] = "training",
    count: Annotated[int, typer.Option(min=1, help="Images to draw.")] = 64,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw new images of a domain: the content of its pictures in random styles."""
    from translate.inference.predictor import Predictor
    from translate.inference.sampling import PRIOR, content_folder, sample
    from translate.io.files import PART
    from translate.io.images import write_image
    from translate.viz.grids import image_grid

    images = out / "images"
    grid = out / "grid.png"
    if images.exists() and any(images.iterdir()):
        raise ValueError(f"{images}: holds files already; choose another folder")
    predictor = Predictor.load(model, device)
    drawn = sample(predictor, domain, count, seed, content)
    folder = content_folder(predictor.config, domain, content)
    if images.exists():  # and empty
        images.rmdir()

    # images/ is made in one step when all images are there: what an interrupted run leaves cannot
    # be taken for the whole
    unfinished = out / f"{PART}images.part"
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
    unfinished.mkdir(parents=True)
    shown: list[UInt8] = []
    try:
        with count_progress("sampling") as progress:
            progress(0, count)
            for i, pixels in enumerate(drawn):
                write_image(unfinished / f"{i:06}.png", pixels)
                if i < MAX_SHOWN:
                    shown.append(pixels)
                progress(i + 1, count)
        rows = [shown[i : i + COLUMNS] for i in range(0, len(shown), COLUMNS)]
        write_image(grid, image_grid(rows))
        os.replace(unfinished, images)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)

    origin = "latents from N(0, I)" if folder is None else f"content of {folder} in random styles"
    text = f"{images}: {count} images of {domain}, {origin}; grid: {grid}"
    data = {
        "images": str(images),
        "grid": str(grid),
        "count": count,
        "domain": domain,
        "seed": seed,
        "style": PRIOR,
        "content": PRIOR if folder is None else str(folder),
    }
    result(data, text, as_json)
