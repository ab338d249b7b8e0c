"""Pictures in, figures with their intervals out: what `evaluate` and `compare` share.

Legend: n images; H, W, C height, width, channels; K styles; a, b domains. Pictures, by what they
show, are uint8 (n, H, W, C): source (input), translation, truth (its pair, or any of b),
reconstruction, cycle (to b and back to a); styles, the translation in K random styles, is (n, K,
H, W, C).
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import combinations, groupby, islice
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from translate import __version__
from translate.data.pairing import Groups
from translate.io import images
from translate.io.files import evenly_spaced
from translate.metrics.distribution import FID_HEADLINE, fid, kid, scaled
from translate.metrics.image import SSIM_WINDOW, l1, ssim
from translate.metrics.inception import ENVIRONMENT, Inception
from translate.metrics.lpips import SMALLEST, Net, Perceptual, WeightsUnavailableError
from translate.metrics.registry import METRICS, Direction
from translate.metrics.statistics import bootstrap_interval
from translate.runtime.device import choose_device

# Metric: its measure and the pictures compared. Against the truth, the source is measured as well:
# the identity.
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
# images, and pixels, that are floats at a time; larger batches are slower on CPUs
BATCH = 16
BATCH_PIXELS = 1 << 20
# images whose pictures are kept, and what these may take
SHOWN = 500
SHOWN_BYTES = 1 << 27

Read: TypeAlias = Callable[[Path], images.UInt8]
Pictures: TypeAlias = dict[str, Tensor]
# names and pictures of a batch -> all to be measured
Extend: TypeAlias = Callable[[list[str], Pictures], Pictures]
Progress: TypeAlias = Callable[[int, int], None]  # images done, of so many


@dataclass(frozen=True)
class MetricValue:
    """A value with its 95 % interval over n images; `identity` is that of the input as the answer."""

    value: float
    low: float
    high: float
    n: int
    better: Direction
    identity: MetricValue | None = None
    subset: int | None = None  # images of each set at a time, where sets are compared
    warning: str | None = None  # why this is no figure to quote

    def is_finite(self) -> bool:
        """Whether the value and its interval are numbers."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))


@dataclass
class Result:
    """One direction; what could not be measured is not in `metrics`."""

    name: str  # source-to
    source: str
    to: str
    metrics: dict[str, MetricValue]
    per_image: list[dict[str, str | float]]  # name, and what was measured on this image
    sizes: dict[str, int]  # "width x height": images measured at that size

    def __post_init__(self) -> None:  # no fields, so not in `asdict`
        # pictures (H, W, C) of images evenly spaced, by name
        self.shown: dict[str, dict[str, images.UInt8]] = {}
        # a figure (H, W, 3): contents along the top, styles down the left
        self.swap: images.UInt8 | None = None


@dataclass(frozen=True)
class Evaluation:
    """All that was found, what it depends on, and notes on what was left out; `asdict` gives plain
    data.
    """

    versions: dict[str, str]
    model_sha256: str | None
    weights_sha256: str | None  # of the LPIPS network
    inception_sha256: str | None
    net: str
    seed: int
    size: int | None  # None: each pair has its own
    resize: str
    notes: list[str]
    broken: list[str]  # files that could not be read, with the reason
    directions: list[Result]


class Evaluator:
    """Reads groups of files and measures them; `total` images are announced to `progress`."""

    def __init__(
        self,
        read: Read,
        net: Net,
        weights: Path | None,
        device: str,
        seed: int,
        notes: list[str],
        progress: Progress | None = None,
        total: int = 0,
    ) -> None:
        self.read = read
        self.net = net
        self.seed = seed
        self.notes = notes
        self.device = choose_device(device)
        self.broken: dict[str, None] = {}  # an ordered set
        self.progress = progress
        self.done = 0
        self.total = total
        self.enlarged = False
        self.measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "ssim": ssim}
        self.perceptual: Perceptual | None = None
        try:
            self.perceptual = Perceptual.load(net, weights, self.device)
            self.measures["lpips"] = self.perceptual.distance
        except WeightsUnavailableError as error:
            self.notes.append(f"LPIPS is left out: {error}")
        self.inception = Inception.find(self.device)
        self.features = self.inception or self.perceptual
        self.suffix = "" if self.inception else f"_{net}"
        if not self.features:
            self.notes.append(
                f"KID and FID are left out: no LPIPS network, and {ENVIRONMENT} names no weights"
            )

    def batches(self, groups: Groups) -> Iterator[tuple[list[str], Pictures]]:
        """Decodes files, but for those that are broken, and stacks them while what they show and
        its shape stay.
        """

        def decode(name: str) -> tuple[str, Pictures]:
            pictures = {}
            for what, path in groups[name].items():
                try:
                    pictures[what] = torch.from_numpy(self.read(path))
                except images.ImageError as error:
                    self.broken[f"{path} ({error})"] = None
            return name, pictures

        for shapes, alike in groupby(
            map(decode, groups), lambda item: {k: v.shape for k, v in item[1].items()}
        ):
            size = BATCH_PIXELS // max(
                (shape[0] * shape[1] for shape in shapes.values()), default=1
            )
            while part := list(islice(alike, max(1, min(BATCH, size)))):
                yield (
                    [name for name, _ in part],
                    {what: torch.stack([x[what] for _, x in part]) for what in shapes},
                )

    def measure(self, a: str, b: str, groups: Groups, extend: Extend) -> Result:
        """Measures what `extend` makes of the pictures in files."""
        columns: dict[str, dict[str, float]] = defaultdict(dict)  # metric: name: value
        features: dict[str, list[Tensor]] = defaultdict(list)
        result = Result(f"{a}-{b}", a, b, {}, [], {})
        sizes = defaultdict[str, int](int)
        names = list[str]()
        show = set[int]()
        total = sum(group.keys() != {"truth"} for group in groups.values())
        for batch, found in self.batches(groups):
            pictures = extend(batch, found)
            for what in (
                pictures.keys() & {"source", "translation", "truth"} if self.features else ()
            ):
                features[what].append(self.features.features(pictures[what]))  # type: ignore[union-attr]
            if "translation" in pictures:
                if not show:
                    room = SHOWN_BYTES // sum(x[0].nbytes for x in pictures.values())
                    show = set(evenly_spaced(range(total), max(1, min(SHOWN, room))))
                for i in [i for i in range(len(batch)) if len(names) + i in show]:
                    result.shown[batch[i]] = {
                        what: x[i].numpy().copy() for what, x in pictures.items()
                    }  # not the batch
                for metric, values in self.compared(pictures):
                    columns[metric].update(zip(batch, values.tolist(), strict=True))
                names += batch
                height, width = pictures["translation"].shape[1:3]
                sizes[f"{width} x {height}"] += len(batch)
            self.tell(len(batch))
        result.metrics = {name: self.figure(name, columns) for name in METRICS if name in columns}
        result.metrics |= self.set_figures(
            {what: torch.cat(parts) for what, parts in features.items()}
        )
        result.per_image = [
            {"name": name} | {c: x[name] for c, x in columns.items() if name in x} for name in names
        ]
        result.sizes = dict(sizes)
        return result

    def compared(self, pictures: Pictures) -> Iterator[tuple[str, Tensor]]:
        """Columns of a batch: a metric's or identity's name, and its values (n,)."""
        smallest = min(pictures["translation"].shape[1:3])
        if smallest < SSIM_WINDOW:
            self.notes.append(f"SSIM is left out where images are under {SSIM_WINDOW} px")
        self.enlarged |= smallest < SMALLEST and self.perceptual is not None
        for metric, (measure, what, other) in COMPARED.items():
            if measure not in self.measures or (measure == "ssim" and smallest < SSIM_WINDOW):
                continue
            for column, one in (
                (metric, what),
                (IDENTITY + metric, "source" if other == "truth" else ""),
            ):
                if {one, other} <= pictures.keys():
                    yield column, self.measures[measure](pictures[one], pictures[other])
        if "styles" in pictures and self.perceptual:
            distance = self.perceptual.distance
            between = [distance(*two) for two in combinations(pictures["styles"].unbind(1), 2)]
            yield "lpips_diversity", torch.stack(between).mean(0)

    def figure(self, metric: str, columns: dict[str, dict[str, float]]) -> MetricValue:
        """The mean over images, of a metric and of its identity."""
        values = torch.tensor(list(columns[metric].values()), dtype=torch.float64)
        bad = int((~values.isfinite()).sum())
        warning = None
        if bad:  # a mean of the others would hide it
            low = high = mean = math.nan
            warning = f"not finite on {bad} of {len(values)} images"
            self.notes.append(f"{metric} is {warning}: see per_image.csv, where these are empty")
        else:
            low, high = bootstrap_interval(values, seed=self.seed)
            mean = values.mean().item()
        identity = (
            self.figure(IDENTITY + metric, columns) if columns.get(IDENTITY + metric) else None
        )
        better = METRICS[metric.removeprefix(IDENTITY)].better
        return MetricValue(mean, low, high, len(values), better, identity, warning=warning)

    def set_figures(self, features: Pictures) -> dict[str, MetricValue]:
        """KID and FID of the translations, and of the sources, to the truth; features (n, D) by
        what they are of.
        """
        figures: dict[str, MetricValue] = {}
        if not {"translation", "truth"} <= features.keys():
            return figures
        for name in ("kid", "fid"):
            try:
                made, *identity = (
                    self.between(name, features[what], features["truth"])
                    for what in ("translation", "source")
                    if what in features
                )
            except ValueError as error:  # too few images, or no spread among the target's
                self.notes.append(f"{name.upper()} is left out: {error}")
                continue
            figures[name + self.suffix] = replace(made, identity=identity[0] if identity else None)
        return figures

    def between(self, name: str, measured: Tensor, target: Tensor) -> MetricValue:
        """KID or FID of two sets of features (n, D); Inception's are taken as they are, as
        published.
        """
        sets = (measured, target) if self.inception else scaled(measured, target)
        found = (kid if name == "kid" else fid)(*sets, self.seed)
        fewest = min(map(len, sets))
        warning = None
        if name == "fid" and fewest < FID_HEADLINE:
            warning = f"no figure to quote: FID is mostly bias with {fewest} images, under {FID_HEADLINE}; see KID"
        figure = MetricValue(
            found.value, found.low, found.high, len(measured), "lower", None, found.subset, warning
        )
        if not figure.is_finite():
            self.notes.append(
                f"{name.upper()} is not finite: the network's features overflow, or hold NaN"
            )
            figure = replace(figure, warning="not finite")
        return figure

    def tell(self, images: int) -> None:
        self.done += images
        if self.progress:
            self.progress(self.done, self.total)

    def evaluation(
        self, results: list[Result], model: str | None, size: int | None, resize: str
    ) -> Evaluation:
        """Everything together, each note once."""
        packages = ("torch", "torchvision", "lpips", "torch-fidelity", "numpy", "pillow")
        versions = {"introshift": __version__, "python": sys.version.split()[0]} | {
            p: version(p) for p in packages
        }
        lpips, inception = (
            one.weights_sha256 if one else None for one in (self.perceptual, self.inception)
        )
        notes = list(dict.fromkeys(self.notes))
        broken = list(self.broken)
        resize += (
            f"; for the LPIPS network bilinear to {SMALLEST}, where smaller"
            if self.enlarged
            else ""
        )
        return Evaluation(
            versions,
            model,
            lpips,
            inception,
            self.net,
            self.seed,
            size,
            resize,
            notes,
            broken,
            results,
        )
