"""`introshift translate`: translates a folder, some pictures or one with a trained model."""

from __future__ import annotations

import glob
import os
import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple

import typer

from pipelines._console import (
    EXIT_FAILED,
    count_progress,
    library_messages,
    log,
    log_failures,
    result,
    translate_with_progress,
)
from pipelines._options import (
    RANGES,
    Device,
    Format,
    Json,
    ModelFile,
    Overwrite,
    Precision,
    Quality,
    Scale,
    Seed,
    SkipExisting,
    Strict,
    Suffix,
    Verify,
)
from pipelines._video import check_options, frame_size, translate_pipe
from translate.runtime.launch import rank_and_count

if TYPE_CHECKING:
    from translate.inference.folder import Engine
    from translate.inference.folder_options import FolderOptions, FolderSummary, Progress
    from translate.inference.planning import Inputs
    from translate.inference.shards import FoundShards
    from translate.inference.translator import Translator
    from translate.io.frames import FrameSequence

STANDARD = "-"  # input or output
RAY = "ray"
LIST = "@"  # before the name of a file of paths


def command(  # noqa: PLR0913  (options of the command line)
    model: ModelFile,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="Folder of pictures, one picture or several, a quoted pattern such as "
            "'photos/**/*.png', @LIST for a file of paths, or - for such a list on standard input; "
            "all of them also at addresses such as s3://BUCKET/photos. Or WebDataset shards: a "
            "folder of .tar files, or 'photos-{000000..000099}.tar'.",
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="Folder to write into, sub-folders are mirrored; for one picture also a picture "
            "to write, or - for standard output. May be at an address.",
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Domain to translate to, or the beginning of its name; of two by default the one "
            "that the pictures do not look like.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Domain of IN, where the model has more than two.")
    ] = None,
    style: Annotated[
        str,
        typer.Option(
            metavar="auto|mean|random|keep|own|PATH",
            help="Style: the mean one, random, the picture's own taken along (keep), whichever of "
            "these suits the domain (auto), that of a picture or folder; or own, with --from as "
            "--to: a reconstruction.",
        ),
    ] = "auto",
    samples: Annotated[int, typer.Option(min=1, help="Translations of each picture.")] = 1,
    seed: Seed = 0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures a forward pass; default: by device.")
    ] = None,
    scale: Scale = "auto",
    strength: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="How much of the change to make, of pictures that keep their detail: 0.5 is half "
            "of it, up to 2.",
        ),
    ] = 1.0,
    value_range: Annotated[
        str | None,
        typer.Option(
            "--range",
            metavar=RANGES,
            help="Black and white of more than 8 bits a channel; default: as trained (data.range).",
        ),
    ] = None,
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
    quality: Quality = 95,
    suffix: Suffix = "",
    on_error: Annotated[str, typer.Option(help="continue or stop.")] = "continue",
    skip_existing: SkipExisting = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
    strict: Strict = False,
    null: Annotated[bool, typer.Option("--null", "-0", help="The list ends paths by NUL.")] = False,
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
    frames: Annotated[
        str,
        typer.Option(help="Of animations and TIFFs of several pages: all, in one style, or first."),
    ] = "all",
    strip: Annotated[
        bool, typer.Option("--strip", help="Write no metadata (EXIF, XMP, ...), for privacy.")
    ] = False,
    keep_profile: Annotated[
        bool,
        typer.Option("--keep-profile", help="Stay in a picture's colour profile; default: sRGB."),
    ] = False,
    members: Annotated[
        str | None,
        typer.Option(
            metavar="EXTENSION,...",
            help="Of the samples in shards: translate these alone, such as jpg,input.png; "
            "default: all pictures.",
        ),
    ] = None,
    rgb24: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="With - - as IN and OUT: raw video in ffmpeg's rgb24, frames of this size.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="What does the work: this machine, or the workers of a Ray cluster; pip install "
            "'introshift[ray]'.",
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            help="With --engine ray: the cluster to join, whose machines all see MODEL, IN and "
            "OUT; default: one on this machine.",
        ),
    ] = None,
    num_actors: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="With --engine ray: workers; default: one for each GPU of the cluster, else for "
            "each core.",
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: Json = False,
) -> None:
    """Translate pictures; in a folder, OUT/manifest.jsonl has a line for each file."""
    share = _share(shard)
    _check_engine(engine, address, num_actors, share)
    colour = None if background is None else _colour(background)
    size = None if rgb24 is None else frame_size(rgb24, inputs, out)

    import torch

    from translate.inference.folder_options import FolderOptions
    from translate.inference.predictor_options import PredictorOptions
    from translate.inference.translator import Translator
    from translate.io.address import without_secrets
    from translate.io.named import fetched, is_file, put_whole
    from translate.viz.preview import PAGE

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
        quality=quality,
        suffix=suffix,
        on_error=on_error,
        skip_existing=skip_existing,
        verify=verify,
        overwrite=overwrite,
        strict=strict,
        workers=workers,
        max_pixels=max_pixels,
        shard=share,
        reject=reject,
        reject_skip=reject_skip,
        preview=preview,
        frames=frames,
        strip=strip,
        keep_profile=keep_profile,
    )
    predictor_options = PredictorOptions(precision, colour, scale, tile, value_range, strength)
    if engine == RAY and (size is not None or _one_picture(inputs, out) is not None):
        raise ValueError("--engine ray: is for many pictures; name a folder to write into")
    if size is not None:
        check_options(options, as_json)
        translate_pipe(Translator.load(model, device, predictor_options), size, to, options)
        return
    picture = _one_picture(inputs, out)
    if picture is not None:
        _check_output(picture, out, overwrite, as_json)
        with ExitStack() as stack:
            file = stack.enter_context(fetched(picture))
            place = out if out == STANDARD else str(stack.enter_context(put_whole(out)))
            translator = Translator.load(model, device, predictor_options)
            one = OnePicture(file, without_secrets(picture), place, without_secrets(out))
            report = _translate_one(translator, one, to, options)
        if report is not None:
            result(*report, as_json)
        return
    pictures = _pictures(inputs, null)
    found = _shards(pictures, members, out, engine)
    translator = Translator.load(model, device, predictor_options)
    with _engine(engine, address, num_actors) as work:

        def translate(progress: Progress) -> FolderSummary:
            if found is None:
                return translator.translate_folder(pictures, out, to, options, progress, work)
            extensions = members.split(",") if members else []
            return translator.translate_shards(found, out, to, options, extensions, progress)

        unit = "images" if found is None else "shards"
        data, text, failures = translate_with_progress(
            translate, without_secrets(out), "translate", unit
        )
    page = f"{out.rstrip('/')}/{PAGE}"
    if preview and is_file(page):  # not where nothing could be translated
        text += f"\n{without_secrets(page)}: the first of them, before and after"
    result(data, text, as_json)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _check_engine(
    engine: str, address: str | None, num_actors: int | None, share: tuple[int, int]
) -> None:
    """Refuse options that do not go together, before anything heavy is imported."""
    if engine not in ("local", RAY):
        raise ValueError(f"--engine {engine}: unknown; use local or ray")
    for value, name in ((address, "--address"), (num_actors, "--num-actors")):
        if engine != RAY and value is not None:
            raise ValueError(f"{name}: goes with --engine ray")
    if engine == RAY and share[1] > 1:
        raise ValueError(
            "--shard: is for runs that share OUT by themselves; with --engine ray, start one run, "
            "without torchrun"
        )


def _engine(
    engine: str, address: str | None, num_actors: int | None
) -> AbstractContextManager[Engine]:
    """Return what does the work, for a block."""
    if engine == RAY:
        from translate.inference.ray_engine import ray_engine

        return ray_engine(address, num_actors)

    from translate.inference.folder_work import FolderWork

    return nullcontext(FolderWork.run)


class OnePicture(NamedTuple):
    """A picture and what it is to become.

    Attributes:
        file: of this machine, to read.
        said: how messages name the picture.
        place: of this machine, to write, or - for standard output.
        out: how messages name that.
    """

    file: Path
    said: str
    place: str
    out: str


def _one_picture(inputs: list[str], out: str) -> str | None:
    """Return the input where OUT names a picture or standard output, else None.

    A name with a suffix is a picture's, unless a folder has it or it ends with a separator. A shard
    is no picture, whatever OUT is.
    """
    if out != STANDARD and (_is_folder(out) or not Path(out).suffix):
        return None

    from translate.io.address import CHAIN, address_of
    from translate.io.images import SUFFIXES
    from translate.io.named import is_file
    from translate.io.shards import is_shard

    if is_shard(inputs[0]) and CHAIN not in inputs[0]:  # a chain leads to a member of it
        return None

    if address_of(out) is not None and Path(out).suffix.lower() not in SUFFIXES:
        return None  # buckets have dots in their names
    if len(inputs) == 1 and is_file(inputs[0]):
        return inputs[0]
    if inputs == [STANDARD] and out == STANDARD:
        raise ValueError("- -: raw video needs the size of its frames, --rgb24 WIDTHxHEIGHT")
    if out == STANDARD or Path(out).suffix.lower() in SUFFIXES:
        raise ValueError(f"{out}: takes one picture; of several, name a folder to write into")
    return None


def _is_folder(out: str) -> bool:
    """Tell whether OUT is the name of a folder, even if it has a picture's suffix."""
    return out.endswith(("/", os.sep)) or os.path.isdir(out)


def _check_output(picture: str, out: str, overwrite: bool, as_json: bool) -> None:
    """Refuse an output that cannot or should not be written."""
    from translate.io.address import address_of
    from translate.io.images import format_from_suffix
    from translate.io.named import is_file

    if out == STANDARD:
        if as_json:
            raise ValueError("--json: the picture goes to standard output; name a file instead")
        if sys.stdout.isatty():
            raise ValueError("-: a terminal shows no pictures; redirect it into a file or a pipe")
        return
    try:
        format_from_suffix(out)
    except ValueError as error:
        raise ValueError(f"{out}: {error}, or end a folder's name with /") from None
    address = address_of(out)
    if os.path.lexists(out) if address is None else is_file(address):
        is_input = picture == out
        if address is None and address_of(picture) is None and os.path.exists(out):
            is_input = os.path.samefile(picture, out)
        if is_input:
            raise ValueError(f"{out}: is the input; name another file")
        if not overwrite:
            raise ValueError(f"{out}: is there already; replace it with --overwrite")


def _translate_one(
    translator: Translator, one: OnePicture, to: str | None, options: FolderOptions
) -> tuple[dict[str, Any], str] | None:
    """Translate one picture into a file or to standard output.

    Returns:
        What is told of a file, to programs and to people.
    """
    from translate.inference.folder_options import SUFFIXES
    from translate.inference.single import frames_of, translate_picture
    from translate.io import images
    from translate.io.files import make_parent

    asked = SUFFIXES[options.format]
    if one.place == STANDARD:
        suffix = asked or one.file.suffix.lower()
        kind = images.SUFFIXES.get(suffix, "PNG")
    else:
        kind = images.format_from_suffix(one.place)
        if asked and images.SUFFIXES[asked] != kind:
            raise ValueError(f"--format {options.format}: {one.out} is named otherwise")
        make_parent(one.place)

    start = time.perf_counter()
    try:
        kept = frames_of(one.file, kind, options)
        if not isinstance(kept, str):
            return _translate_animation(translator, one, kept, kind, to, options)
        if kept:
            log(f"warning: {one.said}: {kept}")
        with library_messages(), count_progress("translating") as progress:
            made = translate_picture(translator.predictor, one.file, to, options, progress, kind)
    except images.ImageError as error:
        log_failures([f"{one.said}: {error}"], "")
        raise typer.Exit(EXIT_FAILED) from None
    for warning in made.warnings:
        log(f"warning: {one.said}: {warning}")

    pixels, alpha = made.pixels, made.alpha
    if one.place == STANDARD:
        sys.stdout.buffer.write(images.encode(kind, pixels, alpha, options.quality, made.metadata))
        sys.stdout.buffer.flush()
        return None
    images.write_image(one.place, pixels, alpha, options.quality, made.metadata)
    seconds = time.perf_counter() - start
    data = {
        "out": one.out,
        "source": made.source,
        "to": made.to,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "frames": 1,
        "warnings": made.warnings,
        "seconds": seconds,
    }
    return data, f"{one.out}: translated from {made.source} to {made.to} in {seconds:.1f} s"


def _translate_animation(
    translator: Translator,
    one: OnePicture,
    sequence: FrameSequence,
    kind: str,
    to: str | None,
    options: FolderOptions,
) -> tuple[dict[str, Any], str] | None:
    """Translate all frames of one file into one of a kind; see `_translate_one`."""
    import io

    from translate.inference.single import translate_animation
    from translate.io.files import atomic

    start = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(library_messages())
        progress = stack.enter_context(count_progress("translating"))
        file: BinaryIO = io.BytesIO()
        if one.place != STANDARD:
            part = stack.enter_context(atomic(one.place))
            file = stack.enter_context(open(part, "w+b"))
        made = translate_animation(
            translator.predictor, one.file, sequence, (file, kind), to, options, progress
        )
    for warning in made.warnings:
        log(f"warning: {one.said}: {warning}")
    if isinstance(file, io.BytesIO):
        sys.stdout.buffer.write(file.getbuffer())
        sys.stdout.buffer.flush()
        return None
    seconds = time.perf_counter() - start
    data = {
        "out": one.out,
        "source": made.source,
        "to": made.to,
        "width": made.size[0],
        "height": made.size[1],
        "frames": made.count,
        "warnings": made.warnings,
        "seconds": seconds,
    }
    text = f"{one.out}: {made.count} frames translated from {made.source} to {made.to}"
    return data, f"{text} in {seconds:.1f} s"


def _pictures(inputs: list[str], null: bool) -> Inputs:
    """Return what is to be translated: a folder, a file or a pattern, or a list of files."""
    from translate.inference.planning import is_pattern

    lists = [name for name in inputs if name == STANDARD or _is_list(name)]
    if null and not lists:
        raise ValueError("--null: is for a list; give - or @LIST as IN")
    if lists and len(inputs) > 1:
        raise ValueError(f"{lists[0]}: is the whole list of inputs; give no others")
    if lists:
        return _listed(lists[0], null)
    if len(inputs) == 1:
        return inputs[0]
    for name in inputs:
        if os.path.isdir(name):
            raise ValueError(f"{name}: a folder among several inputs; give files, or one folder")
    return [
        path
        for name in inputs
        for path in (sorted(glob.glob(name, recursive=True)) if is_pattern(name) else [name])
    ]


def _shards(pictures: Inputs, members: str | None, out: str, engine: str) -> FoundShards | None:
    """Return the WebDataset shards that inputs stand for; None where they are pictures."""
    from translate.inference.shards import find_shards
    from translate.io.address import without_secrets
    from translate.io.images import SUFFIXES

    found = find_shards(pictures)
    if found is None:
        if members is not None:
            raise ValueError("--members: is about the samples in WebDataset shards (.tar)")
        return None
    is_picture = Path(out).suffix.lower() in SUFFIXES and not _is_folder(out)
    if out == STANDARD or is_picture:
        raise ValueError(
            f"{without_secrets(out)}: takes one picture; of shards, name a folder to write into"
        )
    if engine == RAY:
        raise ValueError("--engine ray: is for pictures; of shards, start runs with --shard I/N")
    return found


def _is_list(name: str) -> bool:
    """Tell whether an input is @LIST, unless that is a file's own name."""
    return len(name) > 1 and name.startswith(LIST) and not os.path.lexists(name)


def _listed(name: str, null: bool) -> list[str]:
    """Read paths from standard input or @LIST, one a line, or each ended by NUL."""
    from translate.io.named import fetched

    if name == STANDARD:
        data = sys.stdin.buffer.read()
    else:
        with fetched(name.removeprefix(LIST)) as file:
            data = file.read_bytes()
    paths = data.split(b"\0") if null else [line for line in data.splitlines() if line.strip()]
    return [os.fsdecode(path) for path in paths if path]


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
