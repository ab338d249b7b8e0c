"""What tests of the command line share: a runner, settings of a tiny training, pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app


def call(*arguments: object, stdin: str | None = None) -> tuple[int, str, str]:
    """Run a command; return its exit code, stdout and stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    return done.exit_code, done.stdout, done.stderr


def fill(folder: Path, count: int = 4, size: int = 16) -> Path:
    """Make a folder with `count` different pictures 0.png, 1.png and so on."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.linear_gradient("L").resize((size, size)).rotate(90 * i).save(folder / f"{i}.png")
    return folder


def tiny(steps: int = 4) -> list[str]:
    """Make the options of `train` for a training of so many steps."""
    settings = (
        f"train.steps={steps}",
        "train.batch_size=2",
        "train.log_every=2",
        "train.precision=fp32",
        "model.width=8",
    )
    return [word for setting in settings for word in ("--set", setting)]
