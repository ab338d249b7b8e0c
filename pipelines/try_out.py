"""`introshift try`: see what translation does, with the models that come with the package."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from pipelines._console import log, log_failures, result
from pipelines._options import Device, Json
from translate.zoo import SHIPPED

if TYPE_CHECKING:
    from translate.io.images import UInt8
    from translate.viz.preview import PreviewRow

Named: TypeAlias = "tuple[str, UInt8]"  # a file's name and its pixels (H, W, 3)

MOST = 12  # pictures of one's own
LARGEST = 1024  # px a side to which they are reduced, more than the page shows
SATURATED = 24  # levels between the channels of a pixel in colour
IN_COLOUR = 0.01  # share of such pixels in a picture in colour


def command(
    pictures: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PICTURE|FOLDER]",
            help=f"Your own, of a folder {MOST}; default: pictures that come with the models and "
            "were not in their training.",
        ),
    ] = None,
    model: Annotated[
        Literal["typefaces", "emoji"] | None,
        typer.Option(
            "--model",
            help="Model that comes with introshift; default: both, for your own pictures "
            "typefaces if they are gray and else emoji.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for preview.html and preview.png.")
    ] = Path("introshift-try"),
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Translate pictures both ways with models that come along, and show before and after.

    It takes seconds and needs neither training nor a network.
    """
    from translate.viz.preview import PAGE, write_preview

    used = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if used and not (out / PAGE).exists():
        raise ValueError(f"{out}: holds something else; name a new folder with --out")

    start = time.perf_counter()
    own = [] if pictures is None else _own_pictures(pictures)
    names: list[str] = [model] if model else [_fitting_model(own)] if own else list(SHIPPED)
    rows = [row for name in names for row in _translations(name, own, device)]

    out.mkdir(parents=True, exist_ok=True)
    page, sheet = write_preview(out.joinpath, rows, "introshift try")
    seconds = time.perf_counter() - start
    text = [
        *(f"model {name}: {SHIPPED[name].about}" for name in names),
        f"{page}: {len(rows)} translations in {seconds:.1f} s, the same in {sheet.name}",
        "",
        *_next_steps(names[-1], pictures),
    ]
    data = {
        "page": str(page),
        "sheet": str(sheet),
        "models": {name: str(SHIPPED[name].file) for name in names},
        "translations": len(rows),
        "seconds": round(seconds, 2),
    }
    result(data, "\n".join(text), as_json)
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _own_pictures(place: Path) -> list[Named]:
    """Read the picture named, or at most MOST of a folder, evenly spaced by name."""
    from translate.io.files import evenly_spaced
    from translate.io.images import list_images

    if place.is_dir():
        found = [place / path for path in list_images(place)]
        if len(found) > MOST:
            log(f"{MOST} of {len(found)} pictures, evenly spaced by name")
        pictures = _read(evenly_spaced(found, MOST))
    elif place.exists():
        pictures = _read([place])
    else:
        raise ValueError(f"{place}: no such file or folder")
    if not pictures:
        raise ValueError(f"{place}: no picture that can be read; name another")
    return pictures


def _read(paths: Sequence[Path]) -> list[Named]:
    """Read pictures over white, reduced to LARGEST; say which cannot be read."""
    from translate.io.images import ImageError, composite, read_image, shrink

    pictures = []
    failures = []
    for path in paths:
        try:
            pixels = composite(read_image(path))
        except ImageError as error:
            failures.append(f"{path}: {error}")
            continue
        pictures.append((path.name, shrink(pixels, LARGEST)))
    log_failures(failures, "the folder")
    return pictures


def _fitting_model(pictures: Sequence[Named]) -> str:
    """Return the model for pictures: emoji if one of them is in colour."""
    in_colour = any(_is_in_colour(pixels) for _, pixels in pictures)
    name, kind = ("emoji", "in colour") if in_colour else ("typefaces", "gray")
    log(f"pictures {kind}: model {name}, made for {SHIPPED[name].suits}; --model takes the other")
    return name


def _is_in_colour(pixels: UInt8) -> bool:
    """Whether more than single pixels are in colour."""
    saturation = pixels.max(axis=2) - pixels.min(axis=2)
    return bool((saturation > SATURATED).mean() > IN_COLOUR)


def _translations(name: str, own: Sequence[Named], device: str) -> list[PreviewRow]:
    """Translate one's own pictures, or else the model's examples, both ways."""
    from translate.inference.translator import Translator
    from translate.io.images import list_images
    from translate.viz.preview import PreviewRow

    model = SHIPPED[name]
    translator = Translator.load(model.file, device)
    first, second = translator.config.data.names
    rows = []
    for source, to in ((first, second), (second, first)):
        folder = model.examples(source)
        pictures = own or _read([folder / path for path in list_images(folder)])
        log(f"{name}: {len(pictures)} pictures to {to}")
        made = translator.translate([pixels for _, pixels in pictures], to)
        label = "yours" if own else source
        rows += [
            PreviewRow(caption, pixels, [translation], label, to)
            for (caption, pixels), translation in zip(pictures, made, strict=True)
        ]
    return rows


def _next_steps(name: str, pictures: Path | None) -> list[str]:
    """Return lines with the commands that come next."""
    from translate.models.metadata import read_info

    to = read_info(SHIPPED[name].file).config.data.names[-1]
    place = "MY_PICTURES" if pictures is None else str(pictures)
    steps = [
        (["translate", name, place, "translated", "--to", to], "every picture of a folder"),
        (["init", "FOLDER_A", "FOLDER_B"], "a model of your own: write its config"),
        (["train", "introshift.yaml"], "and train it"),
    ]
    if pictures is None:
        steps.insert(0, (["try", "MY_PICTURES"], "the same with your own pictures"))
    commands = [shlex.join(["introshift", *words]) for words, _ in steps]
    width = max(map(len, commands))
    lines = [f"  {line:{width}}  # {why}" for line, (_, why) in zip(commands, steps, strict=True)]
    return ["Next:", *lines]
