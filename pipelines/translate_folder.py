"""`introshift translate`: translates a folder with a trained model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import Device, Json, Seed, count_progress, result, say

MOST_LISTED = 20  # failures named at the terminal; the manifest has them all


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors.")],
    inputs: Annotated[Path, typer.Argument(metavar="IN", help="Folder of pictures, or one picture.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write into; sub-folders are mirrored.")],
    to: Annotated[str, typer.Option("--to", help="Domain to translate to.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Domain of IN, where the model has more than two.")
    ] = None,
    style: Annotated[
        str, typer.Option(metavar="mean|random|PATH", help="Style: typical, random, or as a picture or folder has it.")
    ] = "mean",
    samples: Annotated[int, typer.Option(min=1, help="Translations of each picture.")] = 1,
    seed: Seed = 0,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures a forward pass; default: by device.")] = None,
    format: Annotated[str, typer.Option(help="keep, png, jpg or webp.")] = "keep",
    suffix: Annotated[str, typer.Option(help="Text appended to output names.")] = "",
    on_error: Annotated[str, typer.Option(help="continue or stop.")] = "continue",
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Do only what the manifest shows missing.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read and write pictures.")] = 4,
    max_pixels: Annotated[int, typer.Option(min=1, help="Refuse larger pictures.")] = 178_000_000,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, 32 or bf16.")] = "32",
    as_json: Json = False,
) -> None:
    """Translate every picture of a folder; OUT/manifest.jsonl has a line for each file."""
    from translate.translator import Translator

    translator = Translator.load(model, device, precision)
    with count_progress("translating") as progress:
        done = translator.translate_folder(
            inputs, out, to, source=source, style=style, seed=seed, samples=samples, batch_size=batch_size,
            format=format, suffix=suffix, on_error=on_error, skip_existing=skip_existing, workers=workers,
            max_pixels=max_pixels, progress=progress,
        )  # fmt: skip
    for name, reason in done.failures[:MOST_LISTED]:
        say(f"failed {name}: {reason}")
    if len(done.failures) > MOST_LISTED:
        say(f"... and {len(done.failures) - MOST_LISTED} more; see {out / 'manifest.jsonl'}")
    text = f"{out}: {done.ok} translated, {done.skipped} skipped, {done.failed} failed in {done.seconds:.1f} s"
    result({"out": str(out), **asdict(done)}, text, as_json)
    if done.failed:
        raise typer.Exit(1)
