"""How good a model, or a folder of results, is on test images: files in, plain data out.

Files of one name are pairs. The name is the stem or, where two files of a folder share one, the path below the folder
without the suffix. Legend: n images; H, W, C height, width, channels; K styles; a, b domains. Pictures, by what they
show, are uint8 (n, H, W, C): source (input), translation, truth (what it should be), reconstruction, cycle (a to b to a).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from itertools import combinations, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translate import __version__, images
from translate.checkpoint import load_model
from translate.data import center_crop, load_image
from translate.metrics import METRICS, SSIM_WINDOW, Direction, Metric, bootstrap_interval, kernel_distance, l1, ssim
from translate.networks import Model
from translate.perceptual import Net, Perceptual, WeightsUnavailable
from translate.trainer import choose_device

REPORTED: dict[str, Metric] = METRICS | {
    "reconstruction_l1": Metric("lower", "0 to 1", "mean absolute difference between an image and its reconstruction")
}
# Metric: its measure and the pictures compared. Against the truth, the source is measured as well: the identity.
COMPARED = {
    "lpips_paired": ("lpips", "translation", "truth"),
    "l1": ("l1", "translation", "truth"),
    "ssim": ("ssim", "translation", "truth"),
    "lpips_source": ("lpips", "translation", "source"),
    "lpips_reconstruction": ("lpips", "reconstruction", "source"),
    "lpips_cycle": ("lpips", "cycle", "source"),
    "reconstruction_l1": ("l1", "reconstruction", "source"),
}
IDENTITY = "identity_"  # how the names of its columns begin
DIVERSE, SHOWN, LISTED = 64, 16, 10  # images: whose styles are compared, whose pictures are kept, that a message names
BATCH, BATCH_PIXELS = 64, 1 << 20  # images, and pixels, that are floats at a time

Group = dict[str, Path]  # the files of one name, by what they show
Pictures = dict[str, Tensor]
Extend = Callable[[list[Group], Pictures, int], Pictures]  # a batch, what is in its files, its start -> all to measure


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % bootstrap interval over n images; `identity` is that of the input as the answer."""

    value: float
    low: float
    high: float
    n: int
    better: Direction
    identity: Figure | None = None


@dataclass(frozen=True)
class Result:
    """One direction; what could not be measured is not in `metrics`."""

    source: str
    to: str
    metrics: dict[str, Figure]
    per_image: list[dict[str, Any]]  # name, and what was measured on this image
    shown: list[tuple[str, dict[str, images.UInt8]]] = field(repr=False)  # name, and pictures (H, W, C)

    @property
    def name(self) -> str:
        return f"{self.source}-{self.to}"


@dataclass(frozen=True)
class Evaluation:
    """All that was found, what it depends on, and notes on what was left out; plain data, but for `Result.shown`."""

    versions: dict[str, str]
    model_sha256: str | None
    weights_sha256: str | None
    net: str
    seed: int
    size: int | None  # None: each pair has its own
    resize: str
    notes: list[str]
    directions: list[Result]


def evaluate(
    model_path: Path,
    data: Path | None = None,
    directions: Sequence[str] | None = None,
    net: Net | None = None,
    weights: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    styles: int = 4,
    allow_missing: bool = False,
) -> Evaluation:
    """Measures a model on DATA/test{NAME}, or where its config's data.tests says, at its own size.

    directions: the domains to translate to, default all. net: default the config's. Broken images are left out, noted.
    Raises ValueError for a wrong argument, folder or file, and for files without a partner unless `allow_missing`.
    """
    place, file = choose_device(device), load_model(model_path)
    config, names, model = file.config.data, file.config.data.names, file.model.to(place)
    config = config.model_copy(update={"root": str(data)}) if data else config
    if unknown := sorted(set(directions or ()) - set(names)):
        raise ValueError(f"--to {', '.join(unknown)}: the model's domains are {', '.join(names)}")
    read = cache(lambda path: center_crop(load_image(path, config), config.size))  # the other direction reads it again
    bench = _Bench(read, net or file.config.evaluate.lpips_net, weights, place, seed)
    plans = {}
    for a, b in ((a, b) for a in names for b in names if a != b and b in (directions or names)):
        folders = {"source": config.folder(a, "test"), "truth": config.folder(b, "test")}
        plans[a, b] = bench.pair(folders, allow_missing)
    z_s = torch.randn(DIVERSE, styles, model.style_dim, generator=torch.Generator().manual_seed(seed)).to(place)
    results = []
    for (a, b), groups in plans.items():

        def extend(_: list[Group], found: Pictures, start: int, y: int = names.index(a), to: int = names.index(b)) -> Pictures:
            ...

        results.append(bench.measure(a, b, groups, extend))
    if bench.broken:
        bench.notes.append(f"left out, since they cannot be read: {_some(bench.broken)}")
    resize = f"lanczos, shorter side {config.load_size or config.size}, then the central square of {config.size}"
    return bench.evaluation(results, file.sha256, config.size, resize)
