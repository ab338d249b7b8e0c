"""`introshift bench`: measure how fast this machine is, compared with what its parts allow."""

from __future__ import annotations

import typer

from pipelines.bench import gpu, train, translate

app = typer.Typer(help="Measure speed.")
app.command("train")(train.command)
app.command("translate")(translate.command)
app.command("gpu")(gpu.command)
