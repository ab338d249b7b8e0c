"""Pictures in, metrics with their intervals out: what `evaluate` and `compare` share.

Legend: n images; H, W, C height, width, channels; K styles; a, b domains; D features. Pictures,
by what they show, are uint8 (n, H, W, C): source (input), translation, truth (its pair, or any of
b), reconstruction, cycle (to b and back to a); styles, the translation in K random styles, is
(n, K, H, W, C).
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import combinations, groupby, islice
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from translate import __version__
from translate.data.pairing import Groups
from translate.evaluation.options import EvaluationOptions
from translate.evaluation.results import Difference, DirectionMetrics, Evaluation, MetricValue
from translate.io import images
from translate.io.files import evenly_spaced
from translate.metrics.distribution import (
    FID_HEADLINE,
    error_of_difference,
    fid,
    kid,
    scaled,
)
from translate.metrics.image import SSIM_WINDOW, l1, ssim
from translate.metrics.inception import ENVIRONMENT, Inception
from translate.metrics.lpips import SMALLEST, Net, Perceptual, WeightsUnavailableError
from translate.metrics.registry import METRICS
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
SETS = ("source", "translation", "truth")  # pictures whose features KID and FID take
PACKAGES = ("torch", "torchvision", "lpips", "torch-fidelity", "numpy", "pillow")
# images, and pixels, that are floats at a time; larger batches are slower on CPUs
BATCH = 16
BATCH_PIXELS = 1 << 20
# images of a set whose kernel distances give the error of KID's difference; of more, it would
# take much memory, and with fewer it is larger, on the safe side
DIFFERENCE = 2000
# images whose pictures are kept, and what these may take
SHOWN = 500
SHOWN_BYTES = 1 << 27

Read: TypeAlias = Callable[[Path], images.UInt8]
Pictures: TypeAlias = dict[str, Tensor]
# names and pictures of a batch -> all to be measured
Extend: TypeAlias = Callable[[list[str], Pictures], Pictures]
Progress: TypeAlias = Callable[[int, int], None]  # images done, of so many


@dataclass
class _Collected:
    """What the batches of one direction have given so far."""

    total: int  # images that are to come, those without a translation not counted
    columns: dict[str, dict[str, float]] = field(default_factory=dict)  # column: image: number
    features: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    names: list[str] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    shown: dict[str, dict[str, images.UInt8]] = field(default_factory=dict)
    to_show: set[int] = field(default_factory=set)  # numbers of the images that are kept

    def add_column(self, column: str, names: list[str], values: Tensor) -> None:
        """Add the values (n,) of a batch to a column."""
        numbers = zip(names, values.tolist(), strict=True)
        self.columns.setdefault(column, {}).update(numbers)

    def add_images(self, names: list[str], pictures: Pictures) -> None:
        """Count the images of a batch and keep the pictures of those that are to be shown."""
        if not self.to_show:
            bytes_each = sum(stack[0].nbytes for stack in pictures.values())
            most = max(1, min(SHOWN, SHOWN_BYTES // bytes_each))
            self.to_show = set(evenly_spaced(range(self.total), most))

        for i, name in enumerate(names):
            if len(self.names) + i in self.to_show:
                # a copy, which does not keep the whole batch in memory
                kept = {kind: stack[i].numpy().copy() for kind, stack in pictures.items()}
                self.shown[name] = kept

        height, width = pictures["translation"].shape[1:3]
        self.sizes[f"{width} x {height}"] += len(names)
        self.names += names

    def rows(self) -> list[dict[str, str | float]]:
        """Return a row an image: its name, and what was measured on it."""
        rows = []
        for name in self.names:
            row: dict[str, str | float] = {"name": name}
            for column, numbers in self.columns.items():
                if name in numbers:
                    row[column] = numbers[name]
            rows.append(row)
        return rows


class Evaluator:
    """The part of an evaluation that reads files and turns their pictures into metrics.

    Args:
        read: decodes a file to uint8 (H, W, C); raises ImageError where it cannot.
        options: LPIPS network and its weights, device, seed.
        notes: what readers must know; the evaluator appends to it.
        progress: called after each batch with the images done and `total`.
        total: images of all directions.

    Attributes:
        device: the device that `options` chose.
        broken: files that could not be read, each with the reason, in order.

    Raises:
        ValueError: for a device that is not there, and for LPIPS weights that do not fit.
    """

    def __init__(
        self,
        read: Read,
        options: EvaluationOptions,
        notes: list[str],
        progress: Progress | None = None,
        total: int = 0,
    ) -> None:
        self.read = read
        self.options = options
        self.net: Net = options.net or "alex"
        self.notes = notes
        self.device = choose_device(options.device)
        self.broken: dict[str, None] = {}  # an ordered set
        self.progress = progress
        self.done = 0
        self.total = total
        self.enlarged = False
        self.measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "ssim": ssim}
        self.perceptual: Perceptual | None = None
        try:
            self.perceptual = Perceptual.load(self.net, options.weights, self.device)
            self.measures["lpips"] = self.perceptual.distance
        except WeightsUnavailableError as error:
            self.notes.append(f"LPIPS is left out: {error}")
        self.inception = Inception.find(self.device)
        self.features = self.inception or self.perceptual
        self.suffix = "" if self.inception else f"_{self.net}"
        if not self.features:
            self.notes.append(
                f"KID and FID are left out: no LPIPS network, and {ENVIRONMENT} names no weights"
            )

    def batches(self, groups: Groups) -> Iterator[tuple[list[str], Pictures]]:
        """Yield names and pictures of one or more images that show the same in the same shapes.

        Broken files are left out, and noted in `broken`.
        """
        decoded = ((name, self._decode(files)) for name, files in groups.items())
        for shapes, alike in groupby(decoded, lambda item: _shapes(item[1])):
            pixels = max((shape[0] * shape[1] for shape in shapes.values()), default=1)
            size = max(1, min(BATCH, BATCH_PIXELS // pixels))
            while part := list(islice(alike, size)):
                names = [name for name, _ in part]
                stacks = {kind: torch.stack([x[kind] for _, x in part]) for kind in shapes}
                yield names, stacks

    def _decode(self, files: dict[str, Path]) -> Pictures:
        """Read the files of one group, but for those that are broken: uint8 (H, W, C) each."""
        pictures = {}
        for kind, path in files.items():
            try:
                pictures[kind] = torch.from_numpy(self.read(path))
            except images.ImageError as error:
                self.broken[f"{path} ({error})"] = None
        return pictures

    def measure(self, a: str, b: str, groups: Groups, extend: Extend) -> DirectionMetrics:
        """Measure what `extend` makes of the pictures in files.

        Args:
            a: name of the source domain.
            b: name of the target domain.
            groups: the files, by image and by what they show.
            extend: takes the names and the pictures of a batch, and returns the pictures to
                measure; without a translation only their features are taken.
        """
        total = sum(group.keys() != {"truth"} for group in groups.values())
        collected = _Collected(total)
        for names, decoded in self.batches(groups):
            pictures = extend(names, decoded)
            self._collect_features(pictures, collected)
            if "translation" in pictures:
                collected.add_images(names, pictures)
                for column, values in self.image_metrics(pictures):
                    collected.add_column(column, names, values)
            self._count_progress(len(names))

        metrics = self._means(collected) | self._distances(collected)
        sizes = dict(collected.sizes)
        result = DirectionMetrics(f"{a}-{b}", a, b, metrics, collected.rows(), sizes)
        result.shown = collected.shown
        return result

    def _collect_features(self, pictures: Pictures, collected: _Collected) -> None:
        """Add a batch's features, (n, D) for each set that KID and FID compare."""
        if not self.features:
            return
        for kind in SETS:
            if kind in pictures:
                collected.features[kind].append(self.features.features(pictures[kind]))

    def _means(self, collected: _Collected) -> dict[str, MetricValue]:
        """Return the metrics that are means over images, in the registry's order."""
        columns = collected.columns
        return {name: self.mean_over_images(name, columns) for name in METRICS if name in columns}

    def _distances(self, collected: _Collected) -> dict[str, MetricValue]:
        """Return the metrics of sets."""
        features = {kind: torch.cat(parts) for kind, parts in collected.features.items()}
        return self.set_metrics(features)

    def image_metrics(self, pictures: Pictures) -> Iterator[tuple[str, Tensor]]:
        """Yield the columns of a batch: a metric's or its identity's name, and values (n,)."""
        smallest = min(pictures["translation"].shape[1:3])
        measures = dict(self.measures)
        if smallest < SSIM_WINDOW:
            self.notes.append(f"SSIM is left out where images are under {SSIM_WINDOW} px")
            del measures["ssim"]
        self.enlarged |= smallest < SMALLEST and self.perceptual is not None

        for metric, (measure, measured, reference) in COMPARED.items():
            columns = {metric: measured}
            if reference == "truth":
                columns[IDENTITY + metric] = "source"
            for column, kind in columns.items():
                if measure in measures and {kind, reference} <= pictures.keys():
                    yield column, measures[measure](pictures[kind], pictures[reference])

        if "styles" in pictures and self.perceptual:
            pairs = combinations(pictures["styles"].unbind(1), 2)
            distances = [self.perceptual.distance(one, other) for one, other in pairs]
            yield "lpips_diversity", torch.stack(distances).mean(0)

    def mean_over_images(self, metric: str, columns: dict[str, dict[str, float]]) -> MetricValue:
        """Return the mean of a metric with its bootstrap interval, and that of its identity.

        Args:
            metric: name of a column.
            columns: numbers by column and image.
        """
        values = torch.tensor(list(columns[metric].values()), dtype=torch.float64)
        not_finite = int((~values.isfinite()).sum())
        warning = None
        if not_finite:  # a mean of the others would hide it
            mean = math.nan
            low = math.nan
            high = math.nan
            warning = f"not finite on {not_finite} of {len(values)} images"
            self.notes.append(f"{metric} is {warning}: see per_image.csv, where these are empty")
        else:
            low, high = bootstrap_interval(values, seed=self.options.seed)
            mean = values.mean().item()

        identity = None
        difference = None
        if columns.get(IDENTITY + metric):
            identity = self.mean_over_images(IDENTITY + metric, columns)
            difference = self._paired_difference(columns[metric], columns[IDENTITY + metric])
        better = METRICS[metric.removeprefix(IDENTITY)].better
        return MetricValue(
            mean,
            low,
            high,
            len(values),
            better,
            identity,
            warning=warning,
            difference=difference,
        )

    def _paired_difference(
        self, measured: dict[str, float], identity: dict[str, float]
    ) -> Difference | None:
        """Return the mean difference over images, and its bootstrap interval; None if not finite.

        Args:
            measured: numbers of the translations, by image.
            identity: those of the inputs; the images are the same.
        """
        changes = [number - identity[name] for name, number in measured.items()]
        values = torch.tensor(changes, dtype=torch.float64)
        if not values.isfinite().all():
            return None
        low, high = bootstrap_interval(values, seed=self.options.seed)
        return Difference(values.mean().item(), low, high)

    def set_metrics(self, features: Pictures) -> dict[str, MetricValue]:
        """Return KID and FID of the translations, and of the sources, to the truth.

        Args:
            features: (n, D), n of its own for each, by what the pictures show.

        Returns:
            Values by metric; none without translations and truth. A metric that cannot be had
            (too few images, no variance among the target's) is left out and noted.
        """
        metrics: dict[str, MetricValue] = {}
        if not {"translation", "truth"} <= features.keys():
            return metrics

        for name in ("kid", "fid"):
            try:
                value = self.set_distance(name, features["translation"], features["truth"])
                if "source" in features:
                    identity = self.set_distance(name, features["source"], features["truth"])
                    difference = self._set_difference(name, value, identity, features)
                    value = replace(value, identity=identity, difference=difference)
            except ValueError as error:
                self.notes.append(f"{name.upper()} is left out: {error}")
                continue
            metrics[name + self.suffix] = value
        return metrics

    def _set_difference(
        self, name: str, value: MetricValue, identity: MetricValue, features: Pictures
    ) -> Difference | None:
        """Return the difference of two distances to the same target set; None if not finite.

        KID's error is that of kernel distances whose images are paired. FID has none of its own:
        its two intervals are taken as independent, which makes it too wide rather than too narrow.
        """
        if not (value.is_finite() and identity.is_finite()):
            return None
        change = value.value - identity.value
        if name == "fid":
            margin = math.hypot(value.high - value.value, identity.high - identity.value)
        else:
            chosen = {
                kind: found[evenly_spaced(range(len(found)), DIFFERENCE)]
                for kind, found in features.items()
            }
            target = chosen["truth"]
            translation, source, truth = (
                self._in_units_of(target, chosen[kind])
                for kind in ("translation", "source", "truth")
            )
            margin = 1.96 * error_of_difference(translation, source, truth)
        return Difference(change, change - margin, change + margin)

    def set_distance(self, name: str, measured: Tensor, target: Tensor) -> MetricValue:
        """Return KID or FID of two sets of features.

        Inception's features are taken as they are, as published; those of another network in
        units of their deviation in the target set.

        Args:
            name: "kid" or "fid".
            measured: (n, D).
            target: (m, D).

        Raises:
            ValueError: for too few images, and for a target set without variance.
        """
        sets = (self._in_units_of(target, measured), self._in_units_of(target, target))
        distance = kid if name == "kid" else fid
        found = distance(*sets, self.options.seed)
        fewest = min(len(measured), len(target))
        warning = None
        if name == "fid" and fewest < FID_HEADLINE:
            warning = (
                f"not to be quoted: FID is mostly bias with {fewest} images,"
                f" under {FID_HEADLINE}; see KID"
            )
        value = MetricValue(
            found.value,
            found.low,
            found.high,
            len(measured),
            "lower",
            subset=found.subset,
            warning=warning,
        )
        if not value.is_finite():
            self.notes.append(
                f"{name.upper()} is not finite: the network's features overflow, or hold NaN"
            )
            value = replace(value, warning="not finite")
        return value

    def _in_units_of(self, target: Tensor, features: Tensor) -> Tensor:
        """Return features (n, D) in units of the target's deviation; Inception's as they are."""
        return features if self.inception else scaled(features, target)[0]

    def _count_progress(self, images: int) -> None:
        """Count images that are done, and report it."""
        self.done += images
        if self.progress:
            self.progress(self.done, self.total)

    def summarize(
        self,
        directions: list[DirectionMetrics],
        model_sha256: str | None,
        size: int | None,
        resize: str,
    ) -> Evaluation:
        """Put everything together, each note once.

        Args:
            directions: what `measure` returned.
            model_sha256: of the model file, where there is one.
            size: side of all images in pixels; None where each pair has its own.
            resize: how pictures were brought to their size, in words.
        """
        versions = {"introshift": __version__, "python": sys.version.split()[0]}
        versions |= {package: version(package) for package in PACKAGES}
        if self.enlarged:
            resize += f"; for the LPIPS network bilinear to {SMALLEST}, where smaller"
        return Evaluation(
            versions=versions,
            model_sha256=model_sha256,
            weights_sha256=self.perceptual.weights_sha256 if self.perceptual else None,
            inception_sha256=self.inception.weights_sha256 if self.inception else None,
            net=self.net,
            seed=self.options.seed,
            size=size,
            resize=resize,
            notes=list(dict.fromkeys(self.notes)),
            broken=list(self.broken),
            directions=directions,
        )


def _shapes(pictures: Pictures) -> dict[str, torch.Size]:
    """Return the shape of each picture by what it shows."""
    return {kind: picture.shape for kind, picture in pictures.items()}
