"""How good a model, or a folder of results, is on test images: files in, plain data out.

Files of one name are pairs. The name is the stem or, where two files of a folder share one, the path below the folder
without the suffix. Legend: n images; H, W, C height, width, channels; K styles; a, b domains. Pictures, by what they
show, are uint8 (n, H, W, C): source (input), translation, truth (what it should be), reconstruction, cycle (a to b to a).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.metadata import version
from itertools import combinations, groupby, islice, permutations
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
HALVES = 200  # resamples for the interval of the kernel distance

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
    read = cache(lambda path: center_crop(load_image(path, config), config.size))  # the way back reads the same files
    bench = _Bench(read, net or file.config.evaluate.lpips_net, weights, place, seed)
    plans = {}
    for a, b in permutations(names, 2):
        if b in (directions or names):
            folders = {"source": config.folder(a, "test"), "truth": config.folder(b, "test")}
            plans[a, b] = bench.pair(folders, allow_missing)
    z_s = torch.randn(DIVERSE, styles, model.style_dim, generator=torch.Generator().manual_seed(seed)).to(place)

    def extend(way: tuple[str, str], _: list[Group], pictures: Pictures, start: int) -> Pictures:
        if "source" not in pictures:
            return pictures
        made = _translate(model, pictures["source"], *map(names.index, way), z_s[start : start + len(pictures["source"])])
        return pictures | made

    results = [bench.measure(*way, groups, partial(extend, way)) for way, groups in plans.items()]
    if bench.broken:
        bench.notes.append(f"left out, since they cannot be read: {_some(bench.broken)}")
    resize = f"lanczos, shorter side {config.load_size or config.size}, then the central square of {config.size}"
    return bench.evaluation(results, file.sha256, config.size, resize)


def compare(
    out_dir: Path,
    truth_dir: Path,
    source_dir: Path | None = None,
    size: int | None = None,
    resize: bool = False,
    net: Net = "alex",
    weights: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    allow_missing: bool = False,
) -> Evaluation:
    """Measures a folder of results, whoever made them, against the truth; all in colour, transparency over white.

    source_dir: what the results were made from, for the identity. size: everything becomes size x size. resize: where
    sizes differ, they become the truth's. allow_missing: files that are broken or lack a partner are left out, noted.
    Raises ValueError for these without it, for sizes that differ, and for a wrong argument, folder or weights file.
    """
    folders = {"translation": out_dir, "truth": truth_dir} | ({"source": source_dir} if source_dir else {})
    jpeg: dict[Path, bool] = {}

    def read(path: Path) -> images.UInt8:
        picture = images.read_image(path)
        jpeg[path] = picture.format == "JPEG"
        return images.flatten(picture)

    def extend(batch: list[Group], pictures: Pictures, _: int) -> Pictures:
        if len(pictures) < len(folders):  # some of it is broken
            return {}
        height, width = (size, size) if size else pictures["truth"].shape[1:3]
        for what, stack in pictures.items():
            if stack.shape[1:3] != (height, width) and not (size or resize):
                sizes = f"{stack.shape[2]} x {stack.shape[1]}, {batch[0]['truth']} is {width} x {height}"
                raise ValueError(f"{batch[0][what]} is {sizes}; give --resize (to the truth's size) or --size N")
            pictures[what] = _stack([images.resize(pixels, (width, height)) for pixels in stack.numpy()])
        return pictures

    if size is not None and size < 1:
        raise ValueError(f"--size {size}: at least 1 pixel is needed")
    bench = _Bench(read, net, weights, choose_device(device), seed)
    groups = [group for group in bench.pair(folders, allow_missing) if len(group) == len(folders)]
    if not groups:
        raise ValueError(f"no file name is in all of {', '.join(map(str, folders.values()))}")
    result = bench.measure(out_dir.resolve().name, truth_dir.resolve().name, groups, extend)
    if bench.broken:
        bench.notes.append(f"cannot be read: {_some(bench.broken)}")
        if not allow_missing:
            raise ValueError(f"{bench.notes[-1]}; mend them, or leave them out with --allow-missing")
    if any(jpeg.get(group["translation"]) != jpeg.get(group["truth"]) for group in groups):
        bench.notes.append("JPEG is compared with another format: its artefacts count as differences")
    filters = f"lanczos to {size} x {size}" if size else "lanczos to the truth's size" if resize else "none"
    return bench.evaluation([result], None, size, filters)


class _Bench:
    """What the two share: how files are paired and read, what is measured on pictures, and what there is to note."""

    def __init__(
        self, read: Callable[[Path], images.UInt8], net: Net, weights: Path | None, device: torch.device, seed: int
    ) -> None:
        self.read, self.net, self.seed, self.notes = read, net, seed, list[str]()
        self.broken: dict[str, None] = {}  # a set that keeps its order
        self.perceptual: Perceptual | None = None
        self.measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "ssim": ssim}
        try:
            self.perceptual = Perceptual.load(net, weights, device)
            self.measures["lpips"] = self.perceptual.distance
        except WeightsUnavailable as error:
            self.notes.append(f"LPIPS and the kernel distance are left out: {error}")

    def pair(self, folders: dict[str, Path], allow_missing: bool) -> list[Group]:
        """The images of folders, grouped by name, whole groups first. Raises ValueError as `evaluate` says."""
        files = {what: [folder / path for path in images.list_images(folder)] for what, folder in folders.items()}
        for what, folder in folders.items():
            if not files[what]:
                raise ValueError(f"{folder}: {'no images in it' if folder.is_dir() else 'no such folder'}; ...")
        unique = all(len({path.stem for path in paths}) == len(paths) for paths in files.values())
        groups: dict[str, Group] = defaultdict(dict)
        for what, path in ((what, path) for what, paths in files.items() for path in paths):
            name = path.stem if unique else path.relative_to(folders[what]).with_suffix("").as_posix()
            if other := groups[name].get(what):
                raise ValueError(f"{other} and {path} have one name, so that pairs are unclear; rename one of them")
            groups[name][what] = path
        ordered = sorted(groups.values(), key=len, reverse=True)
        alone = [str(path) for group in ordered if len(group) < len(folders) for path in group.values()]
        if len(ordered[0]) < len(folders):
            self.notes.append("the folders have no file names in common: metrics of pairs are left out")
        elif alone and not allow_missing:
            raise ValueError(f"without a partner of the same name: {_some(alone)}; --allow-missing goes on without them")
        elif alone:
            self.notes.append(f"without a partner of the same name: {_some(alone)}")
        return ordered

    def batches(self, groups: Iterable[Group]) -> Iterator[tuple[list[Group], Pictures]]:
        """Decodes files, but for those that are broken, and stacks them while what they show and its shape stay."""

        def decode(group: Group) -> dict[str, images.UInt8]:
            pictures = {}
            for what, path in group.items():
                try:
                    pictures[what] = self.read(path)
                except images.ImageError as error:
                    self.broken[f"{path} ({error})"] = None
            return pictures

        decoded = ((group, decode(group)) for group in groups)
        for shapes, alike in groupby(decoded, lambda item: {what: pixels.shape for what, pixels in item[1].items()}):
            size = BATCH_PIXELS // max((height * width for height, width, _ in shapes.values()), default=1)
            while part := list(islice(alike, max(1, min(BATCH, size)))):
                yield [group for group, _ in part], {what: _stack([found[what] for _, found in part]) for what in shapes}

    def measure(self, a: str, b: str, groups: list[Group], extend: Extend) -> Result:
        """Measures the translations among the pictures that `extend` makes of groups of files."""
        rows: list[dict[str, Any]] = []
        shown: list[tuple[str, dict[str, images.UInt8]]] = []
        features: dict[str, list[Tensor]] = defaultdict(list)
        first = next(iter(groups[0]))
        total = sum(first in group for group in groups)
        for batch, found in self.batches(groups):
            pictures = extend(batch, found, len(rows))
            for what in {"source", "translation", "truth"} & pictures.keys() if self.perceptual else ():
                features[what].append(self.perceptual.features(pictures[what]))
            if "translation" not in pictures:
                continue
            columns = self.columns(pictures)
            for i, group in enumerate(batch):
                if len(rows) in np.linspace(0, total - 1, min(SHOWN, total)).round():
                    shown.append((group[first].name, {what: stack[i].numpy() for what, stack in pictures.items()}))
                rows.append({"name": group[first].name} | {name: values[i] for name, values in columns.items() if i < len(values)})
        metrics = {}
        for name, metric in REPORTED.items():
            ...
        return Result(a, b, metrics, rows, shown)
