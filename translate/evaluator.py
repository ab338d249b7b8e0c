"""How good a model, or a folder of results, is on test images: files in, plain data out.

Files of one name are pairs: of one stem or, where two files of a folder share a stem, one path without the suffix.
Legend: n images; H, W, C height, width, channels; K styles; a, b domains. Pictures, by what they show, are uint8
(n, H, W, C): source (input), translation, truth (its pair, or any of b), reconstruction, cycle (to b and back to a).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from itertools import chain, combinations, groupby, islice, permutations
from pathlib import Path

import torch
from torch import Tensor

from translate import __version__, images
from translate.checkpoint import load_model
from translate.data import center_crop, load_image
from translate.device import choose_device
from translate.metrics import METRICS, SSIM_WINDOW, Direction, bootstrap_interval, kernel_distance, l1, ssim
from translate.networks import Model
from translate.perceptual import Net, Perceptual, WeightsUnavailable

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

Read = Callable[[Path], images.UInt8]
Pictures = dict[str, Tensor]
Groups = dict[str, dict[str, Path]]  # name: what a file shows: the file
Extend = Callable[[list[str], Pictures, int], Pictures]  # names, pictures and start of a batch -> all to be measured


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % bootstrap interval over n images; `identity` is that of the input as the answer."""

    value: float
    low: float
    high: float
    n: int
    better: Direction
    identity: Figure | None = None


@dataclass
class Result:
    """One direction; what could not be measured is not in `metrics`."""

    name: str  # source-to
    source: str
    to: str
    metrics: dict[str, Figure]
    per_image: list[dict[str, str | float]]  # name, and what was measured on this image

    def __post_init__(self) -> None:  # some images' pictures by name, each (H, W, C); no field, so not in `asdict`
        self.shown: dict[str, dict[str, images.UInt8]] = {}


@dataclass(frozen=True)
class Evaluation:
    """All that was found, what it depends on, and notes on what was left out; `asdict` gives plain data."""

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
    model_path: Path, data: Path | None = None, directions: Sequence[str] | None = None, net: Net | None = None,
    weights: Path | None = None, device: str = "auto", seed: int = 0, styles: int = 4, allow_missing: bool = False,
) -> Evaluation:  # fmt: skip
    """Measures a model on DATA/test{NAME}, or where its config's data.tests says, at its own size.

    directions: the domains to translate to, default all. net: default the config's. Broken images are left out, noted.
    Raises ValueError for a wrong argument, folder or file, and for files without a partner unless `allow_missing`.
    """
    file, notes = load_model(model_path), list[str]()
    config, names = file.config.data, file.config.data.names
    if data:  # decides alone, wherever the tests were when the model was trained
        given = (config.tests or {}).items()
        tests = {name: path for name, path in given if not Path(path).is_absolute() and (data / path).is_dir()}
        config = config.model_copy(update={"root": str(data), "tests": tests})
    if unknown := sorted(set(directions or ()) - set(names)):
        raise ValueError(f"--to {', '.join(unknown)}: the model's domains are {', '.join(names)}")
    read = cache(lambda path: center_crop(load_image(path, config), config.size))  # the way back reads the same files
    ways = [(a, b) for a, b in permutations(range(len(names)), 2) if names[b] in (directions or names)]
    folders = [config.folder(name, "test") for name in names]
    plans = {(a, b): pair({"source": folders[a], "truth": folders[b]}, allow_missing, notes) for a, b in ways}
    bench = _Bench(read, net or file.config.evaluate.lpips_net, weights, device, seed, notes)
    model, generator = file.model.to(bench.device), torch.Generator().manual_seed(seed)
    z_s = torch.randn(DIVERSE, styles, model.style_dim, generator=generator).to(bench.device)

    def extend(a: int, b: int, _: list[str], pictures: Pictures, start: int) -> Pictures:
        x = pictures.get("source")
        return pictures if x is None else pictures | _translate(model, x, a, b, z_s[start : start + len(x)])

    results = [bench.measure(names[a], names[b], plan, partial(extend, a, b)) for (a, b), plan in plans.items()]
    resize = f"lanczos, shorter side {config.load_size or config.size}, then the central square of {config.size}"
    return bench.evaluation(results, file.sha256, config.size, resize)


def compare(
    out_dir: Path, truth_dir: Path, source_dir: Path | None = None, size: int | None = None, resize: bool = False,
    net: Net = "alex", weights: Path | None = None, device: str = "auto", seed: int = 0, allow_missing: bool = False,
) -> Evaluation:  # fmt: skip
    """Measures a folder of results, whoever made them, against the truth; all in colour, transparency over white.

    source_dir: what the results were made from, for the identity. size: everything becomes size x size. resize: where
    sizes differ, they become the truth's. allow_missing: files that are broken or lack a partner are left out, noted.
    Raises ValueError for these without it, for sizes that differ, and for a wrong argument, folder or weights file.
    """
    notes: list[str] = []
    folders = {"translation": out_dir, "truth": truth_dir} | ({"source": source_dir} if source_dir else {})
    groups = {name: group for name, group in pair(folders, allow_missing, notes).items() if len(group) == len(folders)}
    if not groups:
        raise ValueError(f"no file name is in all of {', '.join(map(str, folders.values()))}")
    bench = _Bench(lambda path: images.flatten(images.read_image(path)), net, weights, device, seed, notes)

    def extend(names: list[str], pictures: Pictures, _: int) -> Pictures:
        if len(pictures) < len(folders):  # some of it is broken
            return {}
        height, width = (size, size) if size else pictures["truth"].shape[1:3]
        for what, x in pictures.items():
            if x.shape[1:3] != (height, width) and not (size or resize):
                sizes = f"{x.shape[2]} x {x.shape[1]}, the truth {width} x {height}"
                raise ValueError(f"{names[0]}: the {what} is {sizes}; give --resize (to the truth's) or --size N")
            pictures[what] = torch.stack([torch.from_numpy(images.resize(y, (width, height))) for y in x.numpy()])
        return pictures

    result = bench.measure(out_dir.resolve().name, truth_dir.resolve().name, groups, extend)
    if bench.broken and not allow_missing:
        raise ValueError(f"cannot be read: {_some(bench.broken)}; mend them, or leave them out with --allow-missing")
    if len({any(images.SUFFIXES[g[what].suffix.lower()] == "JPEG" for g in groups.values()) for what in folders}) > 1:
        notes.append("JPEG is compared with another format: its artefacts count as differences")
    filters = f"lanczos to {size} x {size}" if size else "lanczos to the truth's size" if resize else "none"
    return bench.evaluation([result], None, size, filters)


def pair(folders: dict[str, Path], allow_missing: bool, notes: list[str]) -> Groups:
    """The images of folders by name, the whole groups first.

    Raises ValueError for a folder without images, two files of one name in a folder, and files without a partner.
    """
    files = {what: images.list_images(folder) for what, folder in folders.items()}
    if empty := [str(folders[what]) for what, paths in files.items() if not paths]:
        raise ValueError(f"no images in {' and '.join(empty)}; name another folder")
    unique = all(len({path.stem for path in paths}) == len(paths) for paths in files.values())
    groups: Groups = defaultdict(dict)
    for what, path in ((what, path) for what, paths in files.items() for path in paths):
        group = groups[path.stem if unique else path.with_suffix("").as_posix()]
        if what in group:
            raise ValueError(f"{group[what]} and {path.name} have one name: which is the pair? rename the other")
        group[what] = folders[what] / path
    alone = [str(path) for group in groups.values() if len(group) < len(folders) for path in group.values()]
    if len(alone) == sum(map(len, files.values())):
        notes.append("the folders share no file names: metrics of pairs are left out")
    elif alone:
        notes.append(f"without a partner of the same name: {_some(alone)}")
        if not allow_missing:
            raise ValueError(f"{notes[-1]}; leave them out with --allow-missing")
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), *item[1], item[0])))


class _Bench:
    """What the two share: how files are read, what is measured on their pictures, and what there is to note."""

    def __init__(self, read: Read, net: Net, weights: Path | None, device: str, seed: int, notes: list[str]) -> None:
        self.read, self.net, self.device, self.seed, self.notes = read, net, choose_device(device), seed, notes
        self.broken: dict[str, None] = {}  # a set that keeps its order
        self.measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "ssim": ssim}
        self.perceptual: Perceptual | None = None
        try:
            self.perceptual = Perceptual.load(net, weights, self.device)
            self.measures["lpips"] = self.perceptual.distance
        except WeightsUnavailable as error:
            self.notes.append(f"LPIPS and the kernel distance are left out: {error}")

    def batches(self, groups: Groups) -> Iterator[tuple[list[str], Pictures]]:
        """Decodes files, but for those that are broken, and stacks them while what they show and its shape stay."""

        def decode(name: str) -> tuple[str, Pictures]:
            pictures = {}
            for what, path in groups[name].items():
                try:
                    pictures[what] = torch.from_numpy(self.read(path))
                except images.ImageError as error:
                    self.broken[f"{path} ({error})"] = None
            return name, pictures

        for shapes, alike in groupby(map(decode, groups), lambda item: {k: v.shape for k, v in item[1].items()}):
            size = BATCH_PIXELS // max((shape[0] * shape[1] for shape in shapes.values()), default=1)
            while part := list(islice(alike, max(1, min(BATCH, size)))):
                yield [name for name, _ in part], {what: torch.stack([x[what] for _, x in part]) for what in shapes}

    def measure(self, a: str, b: str, groups: Groups, extend: Extend) -> Result:
        """Measures what `extend` makes of the pictures in files."""
        columns: dict[str, dict[str, float]] = defaultdict(dict)  # metric: name: value
        features: dict[str, list[Tensor]] = defaultdict(list)
        names, result = list[str](), Result(f"{a}-{b}", a, b, {}, [])
        total = sum(group.keys() != {"truth"} for group in groups.values())
        show = torch.linspace(0, total - 1, SHOWN).round().tolist()
        for batch, found in self.batches(groups):
            pictures = extend(batch, found, len(names))
            styles = pictures.pop("styles", None)
            if self.perceptual:
                for what in pictures.keys() & {"source", "translation", "truth"}:
                    features[what].append(self.perceptual.features(pictures[what]))
                if styles is not None:
                    between = [self.perceptual.distance(*two) for two in combinations(styles.unbind(1), 2)]
                    columns["lpips_diversity"].update(zip(batch, torch.stack(between).mean(0).tolist(), strict=False))
            if "translation" not in pictures:
                continue
            for i in [i for i in range(len(batch)) if len(names) + i in show]:
                result.shown[batch[i]] = {what: x[i].numpy() for what, x in pictures.items()}
            names += batch
            usable = set(self.measures)
            if min(pictures["translation"].shape[1:3]) < SSIM_WINDOW:
                usable.remove("ssim")
                self.notes.append(f"SSIM is left out where images are under {SSIM_WINDOW} px")
            for metric, (measure, what, other) in COMPARED.items():
                for column, one in (metric, what), (IDENTITY + metric, "source" if other == "truth" else ""):
                    if measure in usable and {one, other} <= pictures.keys():
                        values = self.measures[measure](pictures[one], pictures[other])
                        columns[column].update(zip(batch, values.tolist(), strict=True))
        for metric, better in ((metric, METRICS[metric].better) for metric in METRICS):
            value, identity = self.mean(columns[metric]), self.mean(columns[IDENTITY + metric])
            if metric == "kernel_distance":
                value, identity = (self.kernel(features[what], features["truth"]) for what in ("translation", "source"))
            if value:
                result.metrics[metric] = Figure(*value, better, Figure(*identity, better) if identity else None)
        result.per_image = [{"name": name} | {c: x[name] for c, x in columns.items() if name in x} for name in names]
        return result

    def mean(self, column: dict[str, float]) -> tuple[float, float, float, int] | None:  # value, low, high, n
        values = torch.tensor(list(column.values()), dtype=torch.float64)
        return (values.mean().item(), *bootstrap_interval(values, seed=self.seed), len(column)) if column else None

    def kernel(self, measured: list[Tensor], target: list[Tensor]) -> tuple[float, float, float, int] | None:
        """Its interval is over 200 halves of both sets, which vary as bootstrap samples do but hold no image twice."""
        if not measured or not target:
            return None
        sets, generator = [torch.cat(measured), torch.cat(target)], torch.Generator().manual_seed(self.seed)
        draws = ([f[torch.randperm(len(f), generator=generator)[: len(f) // 2]] for f in sets] for _ in range(200))
        try:
            values = torch.tensor([kernel_distance(*two) for two in chain([sets], draws)], dtype=torch.float64)
        except ValueError as error:  # too few images, or no spread among the target's
            self.notes.append(f"the kernel distance or its interval cannot be had: {error}")
            return None
        return values[0].item(), *values[1:].quantile(values.new_tensor([0.025, 0.975])).tolist(), len(sets[0])

    def evaluation(self, results: list[Result], model: str | None, size: int | None, resize: str) -> Evaluation:
        if self.broken:
            self.notes.append(f"left out because they cannot be read: {_some(self.broken)}")
        versions = {"introshift": __version__, "torch": version("torch"), "lpips": version("lpips")}
        weights, notes = self.perceptual.weights_sha256 if self.perceptual else None, list(dict.fromkeys(self.notes))
        return Evaluation(versions, model, weights, self.net, self.seed, size, resize, notes, results)


@torch.no_grad()
def _translate(model: Model, source: Tensor, a: int, b: int, z_s: Tensor) -> Pictures:
    """What a model makes of images; `styles` (n, K, H, W, C) of as many as there are z_s (n, K, Ds)."""
    x = torch.from_numpy(images.to_float(source.numpy())).to(z_s.device)
    made = {"translation": model.translate(x, a, b), "reconstruction": model.reconstruct(x, a)}
    own = model.encoder.style(x, torch.full((len(x),), a, device=x.device)).mu
    rounded = (made["translation"] * 127.5 + 127.5).round() / 127.5 - 1  # as in a file: less can be hidden in it
    made["cycle"] = model.translate(rounded, b, a, own)
    if len(z_s) and z_s.shape[1] > 1:
        made["styles"] = torch.stack([model.translate(x[: len(z_s)], a, b, z) for z in z_s.unbind(1)], 1)
    return {what: torch.from_numpy(images.to_uint8(y.cpu().numpy())) for what, y in made.items()}


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
