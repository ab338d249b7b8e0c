"""`introshift translate`: translates a folder with a trained model."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines._console import Device, Json, Seed, count_progress, failed, result, say

if TYPE_CHECKING:
    from translate.inference.manifest import Inputs
    from translate.inference.translator import Translator

Scale = Annotated[
    str,
    typer.Option(
        help="model: through the training size and back; native: at the picture's own resolution."
    ),
]
Format = Annotated[str, typer.Option(help="keep, png, jpg or webp.")]
Suffix = Annotated[str, typer.Option(help="Text appended to output names.")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Do only what the manifest shows missing.")
]


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors.")],
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Folder of pictures, one picture, or - for a list on standard input."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to write into; sub-folders are mirrored.")
    ],
    to: Annotated[str, typer.Option("--to", help="Domain to translate to.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Domain of IN, where the model has more than two.")
    ] = None,
    style: Annotated[
        str,
        typer.Option(
            metavar="auto|mean|random|own|PATH",
            help="Style: the middle one, random, of these what suits the domain (auto), the picture's own (with "
            "--from as --to), or as a picture or folder has it.",
        ),
    ] = "auto",
    samples: Annotated[int, typer.Option(min=1, help="Translations of each picture.")] = 1,
    seed: Seed = 0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures a forward pass; default: by device.")
    ] = None,
    scale: Scale = "model",
    tile: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="PX",
            help="With --scale native: in strips beyond so many pixels squared.",
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
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "fp32",
    as_json: Json = False,
) -> None:
    """Translate every picture of a folder; OUT/manifest.jsonl has a line for each file."""
    share = _share(shard)
    colour = None if background is None else _colour(background)

    import torch

    from translate.inference.translator import Translator

    # under torchrun: a device each
    if shard is None and share[1] > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    translator = Translator.load(
        model, device, precision, background=colour, scale=scale, tile=tile
    )
    data, text, failures = run(
        translator,
        _listed() if str(inputs) == "-" else inputs,
        out,
        to,
        "translat",
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
    )
    result(data, text, as_json)
    if failures:
        raise typer.Exit(1)


def run(
    translator: Translator, inputs: Inputs, out: Path, to: str, verb: str, **options: Any
) -> tuple[dict[str, Any], str, int]:
    """Translates a folder with a bar and names failures. Returns the result for programs, for
    people, and failures.

    `verb` is what is done, less the ending: translat, reconstruct.
    """
    from translate.runtime.signals import terminable

    try:
        with terminable(), count_progress(f"{verb}ing") as progress:
            done = translator.translate_folder(inputs, out, to, progress=progress, **options)
    except KeyboardInterrupt:
        say(
            f"introshift: interrupted; the same command with --skip-existing does the rest of {out}"
        )
        raise
    failed([f"{name}: {reason}" for name, reason in done.failures], out / "manifest.jsonl")
    text = f"{out}: {done.ok} {verb}ed, {done.skipped} skipped, {done.failed} failed in {done.seconds:.1f} s"
    text += f", {done.warned} with warnings in its manifest.jsonl" if done.warned else ""
    return {"out": str(out), **asdict(done)}, text, done.failed


def _listed() -> list[str]:
    """Paths from standard input, one a line."""
    return [os.fsdecode(line) for line in sys.stdin.buffer.read().splitlines() if line.strip()]


def _share(text: str | None) -> tuple[int, int]:
    """What --shard asks for, or what torchrun says."""
    if text is None:
        return _share_of_environment()
    first, slash, last = text.partition("/")
    if not (slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ValueError(f"--shard {text}: use I/N, 1/N to N/N for N shares")
    return int(first), int(last)


def _share_of_environment() -> tuple[int, int]:
    """The share that RANK and WORLD_SIZE name, all without them: half of the pair names none."""
    rank = os.environ.get("RANK")
    size = os.environ.get("WORLD_SIZE")
    if rank is None and size is None:
        return 1, 1
    numbers = rank is not None and size is not None and rank.isdecimal() and size.isdecimal()
    if not numbers or int(rank or 0) >= int(size or 0):
        found = " and ".join(
            f"{name}={value}" if value is not None else f"no {name}"
            for name, value in (("RANK", rank), ("WORLD_SIZE", size))
        )
        raise ValueError(
            f"the environment has {found}, which name no share of the pictures; give --shard I/N "
            "(1/1 for all), or start the processes with torchrun, which sets both"
        )
    return int(rank or 0) + 1, int(size or 1)


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
