"""How good a model, or a folder of results, is on test images: files in, plain data out.

Files of one name are pairs: their path below the folder without its suffix or, where the folders share no such path,
their stem. Legend: n images; H, W, C height, width, channels; K styles; a, b domains. Pictures are uint8 (n, H, W, C):
source (the input), translation, truth (its pair), target (any image of b), reconstruction, cycle; styles (n, K, ...).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

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

Group = dict[str, Path]  # the files of one name
Arrays = dict[str, images.UInt8]  # the pictures of one image, each (H, W, C)
Pictures = dict[str, Tensor]
Progress = Callable[[int, int], None]  # images done, and in all


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
    """One direction. `absent` says why a metric has no figure, `shown` has (name, pictures) of images spread evenly."""

    source: str
    to: str
    pairs: int
    metrics: dict[str, Figure]
    absent: dict[str, str]
    per_image: list[dict[str, str | float]]  # name, and what was measured on this image
    shown: list[tuple[str, Arrays]] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.source}-{self.to}"


@dataclass(frozen=True)
class Evaluation:
    """All that was found and what it depends on; plain data, but for the pictures in `Result.shown`."""

    versions: dict[str, str]
    inputs: dict[str, str]
    model_sha256: str | None
    weights_sha256: str | None
    net: str
    seed: int
    size: int | None  # None: every pair has its own
    resize: str
    notes: list[str]
    failed: dict[str, str]  # file that could not be read: why
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
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Measures a model on DATA/test{NAME}, or where its config's data.tests says, at its own size.

    directions: the domains to translate to, default all. net: default the config's. Broken images are left out, noted.
    Raises ValueError for a wrong argument, folder or file, and for pairs that lack a partner unless `allow_missing`.
    """
    file, generator = load_model(model_path), torch.Generator().manual_seed(seed)
    config, names = file.config.data, file.config.data.names
    if unknown := sorted(set(directions or ()) - set(names)):
        raise ValueError(f"--to {', '.join(unknown)}: the model's domains are {', '.join(names)}")
    if data:
        config = config.model_copy(update={"root": str(data)})
    ways = [(a, b) for a in names for b in names if a != b and b in (directions or names)]
    folders = {name: config.folder(name, "test") for name in names if any(name in way for way in ways)}
    bench = _Bench(net or file.config.evaluate.lpips_net, weights, device, seed, allow_missing, progress)
    groups = {(a, b): bench.pair({"source": folders[a], "truth": folders[b]}, alone="source") for a, b in ways}
    targets = {b: [{"target": path} for path in _files(folders[b])] for b in folders}
    model, bench.total = file.model.to(bench.device), sum(map(len, groups.values()))
    z_s = torch.randn(DIVERSE, styles, model.style_dim, generator=generator).to(bench.device)
    bench.read = cache(lambda path: center_crop(load_image(path, config), config.size))  # files serve in several roles

    def pictures(a: str, b: str) -> Iterator[Pictures]:
        ...

    results = [bench.measure(a, b, folders[a], groups[a, b], targets[b], imagine) for a, b in ways]
    resize = f"lanczos, shorter side {config.load_size or config.size}, then the central square of {config.size}"
    inputs = {"model": str(model_path)} | {f"test{name}": str(folder) for name, folder in folders.items()}
    return bench.evaluation(inputs, file.sha256, config.size, resize, results)
