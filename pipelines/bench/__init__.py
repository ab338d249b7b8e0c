"""`introshift bench`: measure how fast this machine is, compared with what its parts allow.

And the experiment of the paper that exchanges content and style, `cars3d`.
"""

from __future__ import annotations

import typer

from pipelines.bench import cars3d, gpu, train, translate

app = typer.Typer(help="Measure speed, and how far content and style come apart.")
app.command("train")(train.command)
app.command("translate")(translate.command)
app.command("gpu")(gpu.command)
app.command("cars3d")(cars3d.command)
