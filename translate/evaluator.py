"""How good a model, or a folder of results, is on test images: files in, plain data out.

Files of one name are pairs. The name is the stem or, where two files of a folder share one, the path below the folder
without the suffix. Legend: n images; H, W, C height, width, channels; K styles; a, b domains. Pictures, by what they
show, are uint8 (n, H, W, C): source (input), translation, truth (what it should be), reconstruction, cycle (a to b to a).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from itertools import combinations, groupby, islice, permutations
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
HALVES = 200  # resamples for the interval of the kernel distance

Group = dict[str, Path]  # the files of one name, by what they show
Pictures = dict[str, Tensor]
Extend = Callable[[list[Group], Pictures, int], Pictures]  # files, what is in them, images before -> all to measure


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % bootstrap interval over n images; `identity` is that of the input as the answer."""

    value: float
    low: float
    high: float
    n: int
    better: Direction
    identity: Figure | None


@dataclass(frozen=True)
class Result:
    """One direction; what could not be measured is not in `metrics`."""

    name: str  # source-to
    source: str
    to: str
    metrics: dict[str, Figure]
    per_image: list[dict[str, str | float]]  # name, and what was measured on this image
    shown: list[tuple[str, dict[str, images.UInt8]]] = field(repr=False)  # name, and pictures (H, W, C)


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

    def measure(a: str, b: str) -> Result:
        def extend(_: list[Group], pictures: Pictures, start: int) -> Pictures:
            source = pictures.get("source")
            if source is None:
                return pictures
            return pictures | _translate(
                model, source, names.index(a), names.index(b), z_s[start : start + len(source)]
            )

        return bench.measure(a, b, plans[a, b], extend)

    results = [measure(*way) for way in plans]
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
    formats: dict[Path, str] = {}

    def read(path: Path) -> images.UInt8:
        picture = images.read_image(path)
        formats[path] = picture.format
        return images.flatten(picture)

    def extend(batch: list[Group], pictures: Pictures, _: int) -> Pictures:
        if len(pictures) < len(folders):  # some of it is broken
            return {}
        height, width = (size, size) if size else pictures["truth"].shape[1:3]
        for what, stack in pictures.items():
            if stack.shape[1:3] != (height, width) and not (size or resize):
                sizes = f"{stack.shape[2]} x {stack.shape[1]}, {batch[0]['truth']} is {width} x {height}"
                raise ValueError(f"{batch[0][what]} is {sizes}; give --resize (to the truth's size) or --size N")
        return {
            what: _stack([images.resize(pixels, (width, height)) for pixels in stack.numpy()])
            for what, stack in pictures.items()
        }

    bench = _Bench(read, net, weights, choose_device(device), seed)
    groups = [group for group in bench.pair(folders, allow_missing) if len(group) == len(folders)]
    if not groups:
        raise ValueError(f"no file name is in all of {', '.join(map(str, folders.values()))}")
    result = bench.measure(out_dir.resolve().name, truth_dir.resolve().name, groups, extend)
    if bench.broken:
        bench.notes.append(f"cannot be read: {_some(bench.broken)}")
        if not allow_missing:
            raise ValueError(f"{bench.notes[-1]}; mend them, or leave them out with --allow-missing")
    if len({"JPEG" in {formats.get(group[what]) for group in groups} for what in ("translation", "truth")}) > 1:
        bench.notes.append("JPEG is compared with another format: its artefacts count as differences")
    filters = f"lanczos to {size} x {size}" if size else "lanczos to the truth's size" if resize else "none"
    return bench.evaluation([result], None, size, filters)


class _Bench:
    """What the two share: how files are paired and read, what is measured on pictures, and what there is to note."""

    def __init__(
        self, read: Callable[[Path], images.UInt8], net: Net, weights: Path | None, device: torch.device, seed: int
    ) -> None:
        self.read, self.net, self.seed = read, net, seed
        self.notes: list[str] = []
        self.broken: dict[str, None] = {}  # a set that keeps its order
        self.perceptual: Perceptual | None = None
        try:
            self.perceptual = Perceptual.load(net, weights, device)
        except WeightsUnavailable as error:
            self.notes.append(f"LPIPS and the kernel distance are left out: {error}")

    def pair(self, folders: dict[str, Path], allow_missing: bool) -> list[Group]:
        """The images of folders, grouped by name, whole groups first. Raises ValueError as `evaluate` says."""
        files = {what: [folder / path for path in images.list_images(folder)] for what, folder in folders.items()}
        if empty := [str(folders[what]) for what, paths in files.items() if not paths]:
            raise ValueError(f"no images in {' and '.join(empty)}: name another folder")
        unique = all(len({path.stem for path in paths}) == len(paths) for paths in files.values())
        groups: dict[str, Group] = defaultdict(dict)
        for what, path in ((what, path) for what, paths in files.items() for path in paths):
            name = path.stem if unique else path.relative_to(folders[what]).with_suffix("").as_posix()
            if other := groups[name].get(what):
                raise ValueError(f"{other} and {path} have one name, so pairs are unclear: rename one of them")
            groups[name][what] = path
        ordered = sorted(groups.values(), key=len, reverse=True)
        alone = [str(path) for group in ordered if len(group) < len(folders) for path in group.values()]
        if len(ordered[0]) < len(folders):
            self.notes.append("the folders share no file names: metrics that need pairs are left out")
        elif alone:
            self.notes.append(f"without a partner of the same name: {_some(alone)}")
            if not allow_missing:
                raise ValueError(f"{self.notes[-1]}; leave them out with --allow-missing")
        return ordered

    def batches(self, groups: list[Group]) -> Iterator[tuple[list[Group], Pictures]]:
        """Decodes files, but for those that are broken, and stacks them while what they show and its shape stay."""
        for shapes, alike in groupby(map(self.decode, groups), lambda item: {k: v.shape for k, v in item[1].items()}):
            size = BATCH_PIXELS // max((height * width for height, width, _ in shapes.values()), default=1)
            while part := list(islice(alike, max(1, min(BATCH, size)))):
                yield (
                    [group for group, _ in part],
                    {what: _stack([found[what] for _, found in part]) for what in shapes},
                )

    def decode(self, group: Group) -> tuple[Group, dict[str, images.UInt8]]:
        pictures = {}
        for what, path in group.items():
            try:
                pictures[what] = self.read(path)
            except images.ImageError as error:
                self.broken[f"{path} ({error})"] = None
        return group, pictures

    def measure(self, a: str, b: str, groups: list[Group], extend: Extend) -> Result:
        """Measures what `extend` makes of the pictures in files."""
        rows: list[dict[str, str | float]] = []
        shown: list[tuple[str, dict[str, images.UInt8]]] = []
        features: dict[str, list[Tensor]] = defaultdict(list)
        main = next(iter(groups[0]))  # each row is for one of these
        total = sum(main in group for group in groups)
        for batch, found in self.batches(groups):
            pictures = extend(batch, found, len(rows))
            columns = self.columns(pictures)
            if self.perceptual:
                for what in {"source", "translation", "truth"} & pictures.keys():
                    features[what].append(self.perceptual.features(pictures[what]))
            for i, group in enumerate(batch if "translation" in pictures else ()):
                if len(rows) in np.linspace(0, total - 1, min(SHOWN, total)).round():
                    shown.append((group[main].name, {what: stack[i].numpy() for what, stack in pictures.items()}))
                rows.append({"name": group[main].name} | {k: v[i] for k, v in columns.items() if i < len(v)})
        results = {}
        for name, metric in REPORTED.items():
            if name == "kernel_distance":
                value, identity = (self.kernel(features[what], features["truth"]) for what in ("translation", "source"))
            else:
                value, identity = (self.mean(rows, prefix + name) for prefix in ("", IDENTITY))
            if value:
                results[name] = Figure(*value, metric.better, Figure(*identity, metric.better) if identity else None)
        return Result(f"{a}-{b}", a, b, results, rows, shown)

    def columns(self, pictures: Pictures) -> dict[str, list[float]]:
        """What is measured on each image."""
        styles, columns = pictures.pop("styles", None), {}
        measures = {"l1": l1} | ({"lpips": self.perceptual.distance} if self.perceptual else {})
        if all(min(stack.shape[1:3]) >= SSIM_WINDOW for stack in pictures.values()):
            measures["ssim"] = ssim
        for metric, (measure, what, other) in COMPARED.items():
            for column, one in (metric, what), (IDENTITY + metric, "source" if other == "truth" else ""):
                if measure in measures and {one, other} <= pictures.keys():
                    columns[column] = measures[measure](pictures[one], pictures[other]).tolist()
        if self.perceptual and styles is not None and styles.numel():
            pairs = combinations(styles.unbind(1), 2)
            columns["lpips_diversity"] = (
                torch.stack([self.perceptual.distance(*pair) for pair in pairs]).mean(0).tolist()
            )
        return columns

    def mean(self, rows: list[dict[str, str | float]], column: str) -> tuple[float, float, float, int] | None:
        values = torch.tensor([row[column] for row in rows if column in row], dtype=torch.float64)
        if not len(values):
            return None
        return values.mean().item(), *bootstrap_interval(values, seed=self.seed), len(values)

    def kernel(self, measured: list[Tensor], target: list[Tensor]) -> tuple[float, float, float, int] | None:
        """The kernel distance; its interval is from halves of both sets, whose spread is that of a bootstrap without its
        repeated images, which would look alike."""
        if min(sum(map(len, measured)), sum(map(len, target))) < 4:
            return None
        fx, fy, generator = torch.cat(measured), torch.cat(target), torch.Generator().manual_seed(self.seed)

        def half(f: Tensor) -> Tensor:
            return f[torch.randperm(len(f), generator=generator)[: len(f) // 2]]

        values = torch.tensor([kernel_distance(half(fx), half(fy)) for _ in range(HALVES)], dtype=torch.float64)
        low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return kernel_distance(fx, fy), low, high, len(fx)

    def evaluation(self, results: list[Result], model: str | None, size: int | None, resize: str) -> Evaluation:
        versions = {"introshift": __version__} | {name: version(name) for name in ("torch", "lpips", "pillow")}
        weights, notes = self.perceptual.weights_sha256 if self.perceptual else None, list(dict.fromkeys(self.notes))
        return Evaluation(versions, model, weights, self.net, self.seed, size, resize, notes, results)


@torch.no_grad()
def _translate(model: Model, source: Tensor, a: int, b: int, z_s: Tensor) -> Pictures:
    """What a model makes of images; styles (n, K, H, W, C) of the first of them, as many as there are z_s (n, K, Ds)."""

    def floats(pixels: Tensor) -> Tensor:
        return torch.from_numpy(images.to_float(pixels.numpy())).to(z_s.device)

    def pixels(x: Tensor) -> Tensor:
        return torch.from_numpy(images.to_uint8(x.cpu().numpy()))

    x = floats(source)
    translation = pixels(model.translate(x, a, b))  # rounded, so that nothing is hidden in it for the way back
    back = model.translate(
        floats(translation), b, a, model.encoder.style(x, torch.full((len(x),), a, device=x.device)).mu
    )
    made = {"translation": translation, "cycle": pixels(back), "reconstruction": pixels(model.reconstruct(x, a))}
    if z_s.numel():
        many = x[: len(z_s)].repeat_interleave(z_s.shape[1], 0)
        made["styles"] = pixels(model.translate(many, a, b, z_s.flatten(0, 1))).unflatten(0, z_s.shape[:2])
    return made


def _stack(pixels: Sequence[images.UInt8]) -> Tensor:
    return torch.from_numpy(np.stack(pixels))


def _some(names: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    names = list(names)
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
