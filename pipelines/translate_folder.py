"""`introshift translate`: translates a folder with a trained model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import result, translate_with_progress
from pipelines._options import (
    Device,
    Format,
    Json,
    MirrorOut,
    ModelFile,
    Precision,
    Scale,
    Seed,
    SkipExisting,
    Suffix,
)
from translate.runtime.launch import rank_and_count


def command(  # noqa: PLR0913  (options of the command line)
    model: ModelFile,
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Folder of pictures, one picture, or - for a list on standard input."
        ),
    ],
    out: MirrorOut,
    to: Annotated[str, typer.Option("--to", help="Domain to translate to.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Domain of IN, where the model has more than two.")
    ] = None,
    style: Annotated[
        str,
        typer.Option(
            metavar="auto|mean|random|own|PATH",
            help="Style: the mean one, random, whichever of these suits the domain (auto), the "
            "picture's own (with --from as --to), or that of a picture or folder.",
        ),
    ] = "auto",
    samples: Annotated[int, typer.Option(min=1, help="Translations of each picture.")] = 1,
    seed: Seed = 0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures a forward pass; default: by device.")
    ] = None,
    scale: Scale = "auto",
    tile: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="PX",
            help="With --scale native: in strips above so many pixels squared.",
        ),
    ] = 512,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="COLOUR",
            help="Behind transparency: R,G,B, a name or #hex; default: as trained.",
        ),
    ] = None,
    format: Format = "keep",
    suffix: Suffix = "",
    on_error: Annotated[str, typer.Option(help="continue or stop.")] = "continue",
    skip_existing: SkipExisting = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Do the I-th of N shares; default: by torchrun's RANK, else all."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that read and write pictures; default: by cores."),
    ] = None,
    max_pixels: Annotated[int, typer.Option(min=1, help="Refuse larger pictures.")] = 178_000_000,
    reject: Annotated[
        float | None,
        typer.Option(
            metavar="QUANTILE",
            help="Warn, in the manifest, of pictures unlike the training's; try 0.999.",
        ),
    ] = None,
    reject_skip: Annotated[
        bool, typer.Option("--reject-skip", help="Do not translate those that --reject finds.")
    ] = False,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview",
            help="Show the first pictures before and after: OUT/preview.html and preview.png.",
        ),
    ] = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: Json = False,
) -> None:
    """Translate every picture of a folder; OUT/manifest.jsonl has a line for each file."""
    share = _share(shard)
    colour = None if background is None else _colour(background)

    import torch

    from translate.inference.folder import FolderOptions
    from translate.inference.translator import Translator

    # under torchrun: a device each
    if shard is None and share[1] > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    options = FolderOptions(
        source=source,
        style=style,
        seed=seed,
        samples=samples,
        batch_size=batch_size,
        format=format,
        suffix=suffix,
        on_error=on_error,
        skip_existing=skip_existing,
        workers=workers,
        max_pixels=max_pixels,
        shard=share,
        reject=reject,
        reject_skip=reject_skip,
        preview=preview,
    )
    translator = Translator.load(
        model, device, precision, background=colour, scale=scale, tile=tile
    )
    pictures = _listed() if str(inputs) == "-" else inputs
    data, text, failures = translate_with_progress(
        lambda progress: translator.translate_folder(pictures, out, to, options, progress),
        out,
        "translate",
    )
    result(data, text, as_json)
    if failures:
        raise typer.Exit(1)


def _listed() -> list[str]:
    """Read paths from standard input, one a line."""
    return [os.fsdecode(line) for line in sys.stdin.buffer.read().splitlines() if line.strip()]


def _share(text: str | None) -> tuple[int, int]:
    """Return the share that --shard asks for, or that torchrun sets."""
    if text is None:
        rank, count = rank_and_count("give --shard I/N (1/1 for all)")
        return rank + 1, count

    first, slash, last = text.partition("/")
    if not (slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ValueError(f"--shard {text}: use I/N, 1/N to N/N for N shares")
    return int(first), int(last)


def _colour(text: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(f"rgb({text})" if "," in text else text)[:3]
        if max(red, green, blue) > 255:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"--background {text}: no colour; use R,G,B from 0 to 255, a name or #rrggbb"
        ) from None
    return red, green, blue
