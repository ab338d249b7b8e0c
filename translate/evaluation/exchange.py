"""Content and style exchanged between pictures of labelled things, compared with the truth.

Where things were pictured from the same directions, the content of one picture (its direction) in
the style of another (its thing) is again a picture that exists: the truth. Labels say which that
is; no model need have seen them.

Legend: n exchanges; S side of the pictures, C channels; pixels are uint8 (n, S, S, C).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from translate.config import DataConfig
from translate.data.dataset import load_square
from translate.evaluation.results import MetricValue
from translate.io.files import evenly_spaced
from translate.io.images import ImageError, UInt8
from translate.io.tensors import images_from_pixels, pixels_from_images
from translate.metrics.image import SSIM_WINDOW, l1, ssim
from translate.metrics.lpips import Perceptual
from translate.metrics.registry import METRICS
from translate.metrics.statistics import bootstrap_interval
from translate.models.networks import Model

LABELS = "labels.csv"
COLUMNS = ("file", "object", "azimuth", "elevation", "split")
HELD_OUT = "test"  # split of the things that no model is trained on
BATCH = 64  # pictures in the networks at a time


@dataclass(frozen=True)
class View:
    """A picture of a thing, and the direction that it is seen from.

    Attributes:
        path: The picture.
        thing: The name of what it shows.
        azimuth: Degrees around the vertical.
        elevation: Degrees above the horizon.
        held_out: Whether the thing is not to be trained on.
    """

    path: Path
    thing: str
    azimuth: float
    elevation: float
    held_out: bool

    @property
    def direction(self) -> tuple[float, float]:
        """Azimuth in [0, 360) and elevation, degrees."""
        return self.azimuth % 360, self.elevation

    def angle_to(self, other: View) -> float:
        """Return the angle between the directions of two views, in degrees."""
        a = math.radians(self.elevation)
        b = math.radians(other.elevation)
        turn = math.radians(self.azimuth - other.azimuth)
        # haversine, as an arc cosine rounds small angles away
        h = math.sin((a - b) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(turn / 2) ** 2
        return math.degrees(2 * math.asin(min(1.0, math.sqrt(h))))


@dataclass(frozen=True)
class Exchange:
    """The content of one view in the style of another, and what is known about the result.

    Attributes:
        content: The view that gives the direction.
        style: The view that gives the thing.
        truth: The style's thing from the content's direction.
        nearest: The view of the style's thing whose direction is nearest to the content's, the
            truth left out: how good a picture is that was only looked up.
    """

    content: View
    style: View
    truth: View
    nearest: View


def read_views(folder: Path) -> list[View]:
    """Read the labels of a folder of pictures, FOLDER/labels.csv.

    Its columns are file (relative to the folder), object, azimuth and elevation in degrees, and
    split: `test` for things that are held out. There may be others.

    Raises:
        ValueError: There are no such labels; the message names file, line and column.
    """
    table = folder / LABELS
    if not table.is_file():
        raise ValueError(f"{table}: no such file; name a folder with pictures and {LABELS}")
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{table}: no column {missing[0]}; needed are {', '.join(COLUMNS)}")
        return [_view(folder, row, f"{table}, line {rows.line_num}") for row in rows]


def _view(folder: Path, row: Mapping[str, str | None], where: str) -> View:
    path = folder / (row["file"] or "")
    if not path.is_file():
        raise ValueError(f"{where}: no picture {path}; correct the column file")
    angles = {}
    for name in ("azimuth", "elevation"):
        try:
            angles[name] = float(row[name] or "")
        except ValueError:
            raise ValueError(f"{where}: {name} {row[name]!r} is no number of degrees") from None
    return View(path, row["object"] or "", held_out=row["split"] == HELD_OUT, **angles)


def draw_exchanges(views: Sequence[View], count: int, seed: int = 0) -> list[Exchange]:
    """Draw pairs of views of two things from two directions, whose truth is there.

    Args:
        views: Of any things; each pair is as likely.
        count: How many pairs; they may repeat a view.
        seed: Of the draws.

    Raises:
        ValueError: No two views differ in both and have a truth and another view of its thing.
    """
    pictured = {(view.thing, *view.direction): view for view in views}
    by_thing: dict[str, list[View]] = {}
    for view in views:
        by_thing.setdefault(view.thing, []).append(view)

    def exchange(content: View, style: View) -> Exchange | None:
        truth = pictured.get((style.thing, *content.direction))
        if truth is None or content.thing == style.thing or truth == style:
            return None
        # of equally near ones the first in the table
        nearest = min(
            (view for view in by_thing[style.thing] if view != truth),
            key=lambda view: round(view.angle_to(content), 6),
        )
        return Exchange(content, style, truth, nearest)

    rng = np.random.default_rng(seed)
    drawn: list[Exchange] = []
    for _ in range(100 * count):
        i, j = rng.integers(0, max(1, len(views)), 2)
        found = exchange(views[i], views[j]) if views else None
        drawn += [found] if found else []
        if len(drawn) == count:
            return drawn
    raise ValueError(
        f"{len(drawn)} of {count} exchanges found among {len(views)} views: "
        "things must be pictured from the same directions, from two or more"
    )


def load_views(views: Sequence[View], config: DataConfig) -> UInt8:
    """Read views as a model takes them.

    Returns:
        (n, S, S, C).

    Raises:
        ValueError: For a picture that cannot be read.
    """
    pictures = []
    for view in views:
        try:
            pictures.append(load_square(view.path, config))
        except ImageError as error:
            raise ValueError(f"{view.path}: {error}; fix the file or remove its line") from None
    return np.stack(pictures)


@torch.inference_mode()
def exchange(model: Model, contents: UInt8, styles: UInt8) -> UInt8:
    """Draw the content of each picture in the style of another, by the posterior means.

    Args:
        model: Of one domain, on any device.
        contents: (n, S, S, C).
        styles: (n, S, S, C).

    Returns:
        (n, S, S, C).
    """
    device = next(model.parameters()).device
    made = []
    for first in range(0, len(contents), BATCH):
        part = slice(first, first + BATCH)
        z_c = model.encode_content(images_from_pixels(contents[part], device), 0).mu
        z_s = model.encode_style(images_from_pixels(styles[part], device), 0).mu
        made.append(pixels_from_images(model.decode(z_c, z_s, 0, 0)))
    return np.concatenate(made)


def measure_exchange(
    answers: Mapping[str, UInt8], truth: UInt8, perceptual: Perceptual
) -> dict[str, dict[str, MetricValue]]:
    """Measure how far answers are from the truth.

    The intervals are over exchanges, which share things: they say how far the mean could have moved
    with other pairs of these things, not with other things.

    Args:
        answers: By name, (n, S, S, C) each.
        truth: (n, S, S, C).
        perceptual: The network of LPIPS.

    Returns:
        For each answer LPIPS, L1 and, of pictures large enough, SSIM, by their names in the
        registry of metrics.
    """
    measures = {"lpips_paired": perceptual.distance, "l1": l1, "ssim": ssim}
    if min(truth.shape[1:3]) < SSIM_WINDOW:
        del measures["ssim"]
    target = torch.from_numpy(truth)
    found: dict[str, dict[str, MetricValue]] = {}
    for name, pictures in answers.items():
        found[name] = {}
        for metric, measure in measures.items():
            values = measure(torch.from_numpy(pictures), target)
            low, high = bootstrap_interval(values)
            better = METRICS[metric].better
            found[name][metric] = MetricValue(values.mean().item(), low, high, len(values), better)
    return found


def one_view_each(views: Sequence[View], count: int, seed: int = 0) -> list[View]:
    """Choose views of different things and, where there are enough, from different directions.

    Args:
        views: Of any things.
        count: How many at most; things evenly spaced by name.
        seed: Of the directions.
    """
    things = evenly_spaced(sorted({view.thing for view in views}), count)
    directions = sorted({view.direction for view in views})
    order = np.random.default_rng(seed).permutation(len(directions))
    chosen = []
    for i, thing in enumerate(things):
        own = [view for view in views if view.thing == thing]
        wanted = directions[order[i % len(order)]]
        chosen.append(next((view for view in own if view.direction == wanted), own[0]))
    return chosen
