"""How well points drawn from a toy model match its data: metrics.json and the paper's panels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from translate.io.files import atomic, write_text
from translate.toy2d.datasets import Toy, histogram, jsd, kl_divergence
from translate.toy2d.model import ToyVae

SAMPLES = 100_000  # in a histogram: ten a bin
# The same in the paper's code: most bins are empty, and those without samples raise KL much.
PUBLISHED = 5000
GRID = 256  # points a side at which the density is taken
SHOWN = 4000  # points in a panel


@dataclass(frozen=True)
class Match:
    """Divergences between 100 x 100 histograms of data and samples, in nats; lower is better.

    The paper's code gives KL and JSD of densities, and divides the ELBO by its sum over 1024 x 1024
    points, so its numbers have another scale.

    Attributes:
        kl: KL(data || samples), of 100 000 points each.
        jsd: Jensen-Shannon divergence of the same.
        kl_5000: As `kl`, of 5000 points each, as the paper's code takes them.
        jsd_5000: As `jsd`, of 5000 points each.
        elbo: The grid-normalised negative ELBO, the mean of KL + L_r over data divided by its mean
            over the square: below 1 where data have a lower energy than other places. None where
            there is no model. It is no measure of sharpness: far from data the energy of a VAE
            grows without bound.
    """

    kl: float
    jsd: float
    kl_5000: float
    jsd_5000: float
    elbo: float | None = None


def match(model: ToyVae, toy: Toy, seed: int) -> Match:
    """Compare samples of a model with as many points of the data."""
    data, samples = draws(model, toy, seed)
    elbo = float(model.energy(data).mean() / model.energy(square(toy.half_width)).mean())
    return Match(**_divergences(data, samples, toy), elbo=elbo)


def data_match(toy: Toy, seed: int) -> Match:
    """Compare points of the data with others of it: no model can do better but by chance."""
    draw = torch.Generator().manual_seed(seed)
    return Match(**_divergences(toy.draw(SAMPLES, draw), toy.draw(SAMPLES, draw), toy))


def _divergences(data: Tensor, samples: Tensor, toy: Toy) -> dict[str, float]:
    """Compute the fields of Match but the last, from points (100 000, 2) each."""
    many, few = (
        (histogram(data[:n], toy.half_width), histogram(samples[:n], toy.half_width))
        for n in (SAMPLES, PUBLISHED)
    )
    return {
        "kl": kl_divergence(*many),
        "jsd": jsd(*many),
        "kl_5000": kl_divergence(*few),
        "jsd_5000": jsd(*few),
    }


def draws(model: ToyVae, toy: Toy, seed: int) -> tuple[Tensor, Tensor]:
    """Draw new points of the data and of the model, (100 000, 2) each."""
    draw = torch.Generator().manual_seed(seed)
    return toy.draw(SAMPLES, draw), model.sample(SAMPLES, draw)


def square(half_width: float) -> Tensor:
    """Return the middles of 256 x 256 cells of a square around 0, row by row from below.

    Returns:
        (65536, 2), x and y.
    """
    line = ((torch.arange(GRID) + 0.5) / GRID * 2 - 1) * half_width
    return torch.cartesian_prod(line, line).flip(1)


def write_figure(models: dict[str, ToyVae], toy: Toy, seed: int, path: Path) -> None:
    """Draw the paper's panels, a row for each model: data, samples, density exp(-KL - L_r).

    Args:
        models: Name -> model.
        toy: The data.
        seed: Of the points.
        path: The PNG, which is written whole or not at all.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.1 * len(models)), layout="constrained")
    rows = figure.subplots(len(models), 3, squeeze=False)
    for (name, model), row in zip(models.items(), rows, strict=True):
        data, samples = draws(model, toy, seed)
        row[0].scatter(*data[:SHOWN].T.numpy(), s=1, color="#4a8fd4", linewidths=0)
        row[1].scatter(*samples[:SHOWN].T.numpy(), s=1, color="#2f9e5b", linewidths=0)
        density = torch.exp(-model.energy(square(toy.half_width))).view(GRID, GRID)
        row[2].imshow(
            density.numpy(),
            origin="lower",
            extent=2 * (-toy.half_width, toy.half_width),
            cmap="jet",
        )
        titles = ("data", f"{name}: samples", f"{name}: density")
        for panel, title in zip(row, titles, strict=True):
            panel.set(
                xlim=(-toy.half_width, toy.half_width),
                ylim=(-toy.half_width, toy.half_width),
                aspect="equal",
                xticks=[],
                yticks=[],
            )
            panel.set_title(title, fontsize=9)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def write_toy(
    out: Path, models: dict[str, ToyVae], toy: Toy, facts: dict[str, object]
) -> dict[str, Match]:
    """Measure the models; write toy2d.png and metrics.json.

    Args:
        out: The folder that they are written into.
        models: Name -> model.
        toy: The data.
        facts: What metrics.json tells about the training; its `seed` is needed here.

    Returns:
        Name -> match, and that of the data itself as "data".

    Raises:
        ValueError: Where the folder cannot be written.
    """
    seed = int(str(facts["seed"])) + 1  # other points than those of the training
    matches = {name: match(model, toy, seed) for name, model in models.items()}
    matches["data"] = data_match(toy, seed)
    values = {
        **facts,
        "samples": SAMPLES,
        "matches": {name: asdict(found) for name, found in matches.items()},
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_figure(models, toy, seed, out / "toy2d.png")
        write_text(out / "metrics.json", json.dumps(values, indent=1) + "\n")
    except OSError as error:
        raise ValueError(
            f"{out}: cannot be written ({error.strerror or error}); name another folder"
        ) from None
    return matches
