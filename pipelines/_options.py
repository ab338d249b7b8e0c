"""Options and arguments of the command line that several commands take, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def _model_file(path: str) -> Path:
    """Return the model file that the argument means; a run folder stands for its model."""
    from translate.models.metadata import model_file

    return model_file(path)


# every command
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]

# files
ModelFile = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        parser=str,  # not a path, which makes one slash of two
        callback=_model_file,
        help="A model file, a run folder, a model that comes along (typefaces, emoji), one on a "
        "hub: hf://USER/NAME, or at another address: s3://BUCKET/RUN.",
    ),
]
Pictures = Annotated[Path, typer.Argument(metavar="IN", help="Folder of pictures, or one picture.")]
PictureOut = Annotated[Path, typer.Argument(metavar="OUT.png", help="Picture to write.")]
MirrorOut = Annotated[
    Path, typer.Argument(metavar="OUT", help="Folder to write into; sub-folders are mirrored.")
]

# training
PRECISIONS = "auto, fp32 or bf16."
Precision = Annotated[str, typer.Option(help=PRECISIONS)]
OptionalPrecision = Annotated[str | None, typer.Option("--precision", help=PRECISIONS)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a setting.")
]

# what is black and white; a text of `data.range`
RANGES = "file|auto|LOW,HIGH|percentile"

# translation of folders
Scale = Annotated[
    str,
    typer.Option(
        help="model: through the training size and back; native: at the picture's own resolution; "
        "detail: what changed at the training size is carried to the picture; auto: detail for "
        "large photographs, else model."
    ),
]
Format = Annotated[
    str, typer.Option(help="keep, png, jpg (or jpeg), webp, avif, jp2, gif or tiff.")
]
Quality = Annotated[int, typer.Option(min=1, max=100, help="Of JPEG, WebP and AVIF.")]
Suffix = Annotated[str, typer.Option(help="Text appended to output names.")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Do only what the manifest shows missing.")
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="With --skip-existing: also compare the content of what is there with the manifest.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Do all again in a folder that was written into before.")
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Files that are no pictures fail instead of being skipped."),
]

# evaluation
LpipsName = Literal["alex", "vgg", "squeeze"]
LpipsNet = Annotated[
    LpipsName, typer.Option("--lpips-net", help="Network of the visible errors (LPIPS).")
]
LpipsWeights = Annotated[
    Path | None,
    typer.Option(
        "--lpips-weights", help="Its weights: safetensors with torchvision's features.* tensors."
    ),
]
ReportOut = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for report.html, metrics.json, per_image.csv, grids."),
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="'METRIC>VALUE'",
        help="Exit with code 3 when this holds, such as 'lpips_paired>0.3'.",
    ),
]
AllowMissing = Annotated[
    bool,
    typer.Option("--allow-missing", help="Leave out pictures that have no partner of their name."),
]
