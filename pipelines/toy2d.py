"""`introshift toy2d`: run the paper's experiments in the plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines._console import EXIT_DIVERGED, count_progress, log, result, table
from pipelines._options import Device, Json, Seed

if TYPE_CHECKING:
    from translate.toy2d.report import Match

HEAD = ("", "KL", "JSD", "KL 5000", "JSD 5000", "ELBO")


def command(
    name: Annotated[
        Literal["8gaussians", "2spirals", "checkerboard", "rings"],
        typer.Argument(metavar="NAME", help="Set of points."),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for toy2d.png and metrics.json.")
    ],
    seed: Seed = 0,
    steps: Annotated[
        int, typer.Option(min=15, help="Steps of each model; schedules follow.")
    ] = 30_000,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a Soft-IntroVAE and a plain VAE on points in the plane.

    Writes a picture of samples and densities, and measures KL and JSD to the data.
    """
    import time
    from dataclasses import asdict

    from translate import __version__
    from translate.runtime.device import choose_device, keep_freed_memory
    from translate.toy2d.datasets import TOYS
    from translate.toy2d.model import train_toy
    from translate.toy2d.report import write_toy

    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; name a folder")
    toy = TOYS[name]
    chosen = choose_device(device)
    keep_freed_memory()
    models = {}
    seconds = {}
    for title, introspective in (("Soft-IntroVAE", True), ("VAE", False)):
        start = time.process_time()
        with count_progress(f"training the {title}", "steps") as progress:
            try:
                models[title] = train_toy(toy, steps, seed, chosen, introspective, progress)
            except FloatingPointError as error:
                log(f"introshift: {error}")
                raise typer.Exit(EXIT_DIVERGED) from None
        seconds[title] = round(time.process_time() - start, 1)
    facts: dict[str, object] = {
        "toy": name,
        "seed": seed,
        "steps": steps,
        "cpu_seconds": seconds,
        "version": __version__,
    }
    matches = write_toy(out, models, toy, facts)
    values = {
        **facts,
        "out": str(out),
        "matches": {title: asdict(match) for title, match in matches.items()},
    }
    result(values, f"{_table(matches)}\n{out / 'toy2d.png'}", as_json)


def _table(matches: dict[str, Match]) -> str:
    rows = []
    for title, match in matches.items():
        divergences = [match.kl, match.jsd, match.kl_5000, match.jsd_5000]
        cells = [f"{value:.3f}" for value in divergences]
        elbo = "" if match.elbo is None else f"{match.elbo:.4f}"
        rows.append([title, *cells, elbo])
    return f"{table(HEAD, rows)}\nKL and JSD in nats, lower is better"
