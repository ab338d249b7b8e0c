"""`introshift toy2d`: the paper's experiments in the plane, a Soft-IntroVAE beside a plain VAE."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines._console import Device, Json, Seed, count_progress, result, say

DIVERGED = 4  # exit code


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
    """Train both models on points in the plane; draw samples and density, measure KL and JSD to
    the data.
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
                say(f"introshift: {error}")
                raise typer.Exit(DIVERGED) from None
        seconds[title] = round(time.process_time() - start, 1)
    facts: dict[str, object] = {
        "toy": name,
        "seed": seed,
        "steps": steps,
        "cpu_seconds": seconds,
        "version": __version__,
    }
    matches = write_toy(out, models, toy, facts)
    rows = [
        f"{'':14}{'KL':>8}{'JSD':>8}{'KL 5000':>10}{'JSD 5000':>10}{'ELBO':>8}   (KL and JSD in nats, lower is better)"
    ]
    for title, m in matches.items():
        row = f"{title:14}{m.kl:8.3f}{m.jsd:8.3f}{m.kl_5000:10.3f}{m.jsd_5000:10.3f}"
        rows.append(row + (f"{m.elbo:8.4f}" if m.elbo is not None else ""))
    values = {
        **facts,
        "out": str(out),
        "matches": {title: asdict(value) for title, value in matches.items()},
    }
    result(values, "\n".join([*rows, str(out / "toy2d.png")]), as_json)
