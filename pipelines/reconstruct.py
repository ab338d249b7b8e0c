"""`introshift reconstruct`: a folder of pictures through the model and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines._console import result, translate_with_progress
from pipelines._options import (
    Device,
    Format,
    Json,
    MirrorOut,
    ModelFile,
    Overwrite,
    Pictures,
    Quality,
    Scale,
    SkipExisting,
    Strict,
    Suffix,
    Verify,
)

if TYPE_CHECKING:
    from translate.config import DataConfig
    from translate.io.images import UInt8

SHOWN = 12  # columns of the grid at most


def command(  # noqa: PLR0913  (options of the command line)
    model: ModelFile,
    inputs: Pictures,
    out: MirrorOut,
    domain: Annotated[str, typer.Option("--domain", help="Domain of IN.")],
    grid: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Picture to write: originals above reconstructions."),
    ] = None,
    scale: Scale = "model",
    format: Format = "keep",
    quality: Quality = 95,
    suffix: Suffix = "",
    skip_existing: SkipExisting = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
    strict: Strict = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw every picture of a folder again from its own content and style.

    `translate` with --style own has more options.
    """
    from translate.inference.folder_options import FolderOptions
    from translate.inference.predictor_options import PredictorOptions
    from translate.inference.translator import Translator
    from translate.io.address import address_of
    from translate.io.images import format_from_suffix, write_image
    from translate.io.outputs import prepare_output
    from translate.viz.grids import image_grid

    if grid is not None:
        if address_of(inputs) is not None or address_of(out) is not None:
            raise ValueError("--grid: shows pictures of folders of this machine; leave it out")
        format_from_suffix(grid)
        prepare_output(grid, inputs, model)
    options = FolderOptions(
        style="own",
        format=format,
        quality=quality,
        suffix=suffix,
        skip_existing=skip_existing,
        verify=verify,
        overwrite=overwrite,
        strict=strict,
    )
    translator = Translator.load(model, device, PredictorOptions(scale=scale))
    data, text, failures = translate_with_progress(
        lambda progress: translator.translate_folder(inputs, out, domain, options, progress),
        str(out),
        "reconstruct",
    )
    if grid is not None and (shown := _shown(inputs, out, translator.config.data)):
        write_image(grid, image_grid(list(zip(*shown, strict=True))))
        data = {**data, "grid": str(grid)}
        text = f"{text}; grid: {grid}"
    result(data, text, as_json)
    if failures:
        raise typer.Exit(1)


def _shown(inputs: Path, out: Path, config: DataConfig) -> list[tuple[UInt8, UInt8]]:
    """Return some inputs with their outputs, evenly spaced over the manifest's."""
    from translate.data.dataset import load_square
    from translate.io.files import evenly_spaced

    lines = [
        json.loads(line)
        for line in (out / "manifest.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    ]
    done = [(line["source"], line["output"]) for line in lines if line["output"]]
    root = inputs if inputs.is_dir() else inputs.parent
    config = config.model_copy(update={"load_size": None})
    return [
        (load_square(root / source, config), load_square(out / output, config))
        for source, output in evenly_spaced(done, SHOWN)
    ]
