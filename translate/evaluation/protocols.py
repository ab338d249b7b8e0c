"""How good a model, or a folder of results, is on test images: files in, plain data out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate.config import DataConfig
from translate.data.dataset import load_square
from translate.data.pairing import Groups, match_by_name, some
from translate.evaluation.evaluator import Evaluator, Extend, Pictures, Progress
from translate.evaluation.options import EvaluationOptions
from translate.evaluation.results import Evaluation
from translate.inference.swap import swap_figure
from translate.io import images
from translate.io.files import evenly_spaced
from translate.io.tensors import images_from_pixels, pixels_from_images, to_float, to_uint8
from translate.models.checkpoint import default_style, load_model
from translate.models.networks import Model

OTHER_STYLES = {"random": "a random style", "keep": "its picture's own style"}  # than the mean one
SWAPPED = 6  # contents, and styles, in the grid of swaps


def evaluate(
    model_path: Path,
    data: Path | Sequence[Path] | None = None,
    to: Collection[str] | None = None,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model on test pictures of its domains, at its own size.

    Images that cannot be read are left out and listed.

    Args:
        model_path: a model file.
        data: a folder for each domain, in the model's order, or one that holds them: as the
            config's data.tests says, or as test{NAME}, test/{NAME} or {NAME}; None takes those of
            the config.
        to: names of the domains to translate to; None takes all.
        options: network, weights, device, seed, styles, partners; None takes the defaults.
        progress: called after each batch with the images done and those of all directions.

    Returns:
        The metrics of each direction, from each domain to each other in `to`.

    Raises:
        ValueError: for a wrong argument, folder or file, a model of one domain, and files without
            a partner unless `options.allow_missing`.
    """
    options = options or EvaluationOptions()
    file = load_model(model_path)
    names = file.config.data.names
    if len(names) == 1:
        raise ValueError(
            f"{model_path}: knows one domain, {names[0]}; sample from it, then compare with its"
            " pictures"
        )
    unknown = sorted(set(to or ()) - set(names))
    if unknown:
        raise ValueError(f"--to {', '.join(unknown)}: the model's domains are {', '.join(names)}")

    config = file.config.data
    given = [data] if isinstance(data, Path) else list(data or ())
    folders = _test_folders(config, given)
    targets = to or names
    notes: list[str] = []
    groups = {
        (a, b): match_by_name(
            {"source": folders[a], "truth": folders[b]}, options.allow_missing, notes
        )
        for a, b in permutations(range(len(names)), 2)
        if names[b] in targets
    }
    styles = {name: default_style(file.summary, name) for name in sorted(targets)}
    notes += [
        f"{name}: each translation in {OTHER_STYLES[style]}, as `translate` makes them by default"
        for name, style in styles.items()
        if style in OTHER_STYLES
    ]

    def read(path: Path) -> images.UInt8:
        return load_square(path, config)

    evaluator = Evaluator(
        read,
        replace(options, net=options.net or file.config.evaluate.lpips_net),
        notes,
        progress,
        total=sum(map(len, groups.values())),
    )
    model = file.model.to(evaluator.device).to(memory_format=torch.channels_last)
    results = []
    for (a, b), pairs in groups.items():
        add_outputs = _add_outputs(model, evaluator, a, b, styles[names[b]])
        result = evaluator.measure(names[a], names[b], pairs, add_outputs)
        result.swap = _swapped(evaluator, model, pairs, a, b)
        results.append(result)
    shorter_side = config.load_size or config.size
    resize = f"lanczos, shorter side {shorter_side}, then the central square of {config.size}"
    return evaluator.summarize(results, file.sha256, config.size, resize)


def _test_folders(config: DataConfig, given: Sequence[Path]) -> list[Path]:
    """Return the folder of test pictures of each domain.

    What is given decides alone, wherever the tests were when the model was trained: of the folders
    that the config names, only relative ones that exist below a given folder still count.
    """
    names = config.names
    if not given:
        return [config.folder(name, "test") for name in names]
    if len(given) == len(names):
        return list(given)
    if len(given) > 1:
        raise ValueError(
            f"{len(given)} folders: the model has the domains {', '.join(names)}; give a folder for"
            " each, in this order, or one that holds them all"
        )
    return [_test_folder(config, given[0], name) for name in names]


def _test_folder(config: DataConfig, data: Path, name: str) -> Path:
    """Return where a folder holds the test pictures of a domain."""
    if not data.is_dir():
        raise ValueError(f"{data}: no such folder; check the path")
    named = (config.tests or {}).get(name)
    places = [named] if named and not Path(named).is_absolute() else []
    places += [f"test{name}", f"test/{name}", name]
    found = next((data / place for place in places if (data / place).is_dir()), None)
    if found is None:
        looked_for = ", ".join(dict.fromkeys(places))
        raise ValueError(
            f"{data}: has no test pictures of {name} (no {looked_for}); name a folder for each of"
            f" {', '.join(config.names)}, in this order"
        )
    return found


def _add_outputs(model: Model, evaluator: Evaluator, a: int, b: int, style: str) -> Extend:
    """Return a function that adds what the model makes of a batch's sources, a to b.

    The styles are drawn anew from the seed for each direction. Translations are in the default
    style of b, a random one in the first of these.
    """
    options = evaluator.options
    generator = torch.Generator().manual_seed(options.seed)

    def extend(_: list[str], pictures: Pictures) -> Pictures:
        if "source" not in pictures:
            return pictures
        n = len(pictures["source"])
        draws = torch.randn(n, options.styles, model.style_dim, generator=generator)
        z_s = draws.to(evaluator.device)
        first = z_s[:, 0]
        z_t = {"random": first, "mean": torch.zeros_like(first), "keep": None}[style]
        return pictures | _translate(model, pictures["source"], a, b, z_t, z_s)

    return extend


def _swapped(
    evaluator: Evaluator, model: Model, groups: Groups, a: int, b: int
) -> images.UInt8 | None:
    """Return every content of a in every style of b as a picture; None where either lacks images.

    Both are evenly spaced among the images that can be read.
    """
    contents = _pictures_of(evaluator, groups, "source")
    styles = _pictures_of(evaluator, groups, "truth")
    if not contents or not styles:
        return None
    return swap_figure(model, np.stack(contents), np.stack(styles), a, b)


def _pictures_of(evaluator: Evaluator, groups: Groups, kind: str) -> list[images.UInt8]:
    """Read up to SWAPPED pictures (H, W, C) of one kind, evenly spaced among its files."""
    files = [group[kind] for group in groups.values() if kind in group]
    chosen = {str(i): {kind: path} for i, path in enumerate(evenly_spaced(files, SWAPPED))}
    return [
        picture.numpy()
        for _, stacks in evaluator.batches(chosen)
        for picture in stacks.get(kind, ())
    ]


def compare(
    out_dir: Path,
    truth_dir: Path,
    source_dir: Path | None = None,
    size: int | None = None,
    resize: bool = False,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a folder of results, whoever made them, against the truth.

    All pictures are in colour, transparency over white. Where the folders share no names at all,
    as samples and training images do, they are compared as sets, by KID and FID; pictures of
    several sizes then become the truth's most common one, which `Evaluation.resize` says.

    Args:
        out_dir: the results.
        truth_dir: what they should be, by name.
        source_dir: what the results were made from, for the identity baseline.
        size: pixels; everything becomes size x size.
        resize: whether results of another size than their pair become the truth's.
        options: network, weights, device, seed, partners; None takes the defaults.
        progress: called after each batch with the images done and all of them.

    Raises:
        ValueError: for a wrong argument, folder or weights file, sizes that differ, sets that
            cannot be compared, and, unless `options.allow_missing`, files that are broken or
            lack a partner.
    """
    options = options or EvaluationOptions()
    notes: list[str] = []
    folders = {"translation": out_dir, "truth": truth_dir}
    if source_dir:
        folders["source"] = source_dir
    found = match_by_name(folders, options.allow_missing, notes)
    kinds = max(len(group) for group in found.values())
    as_sets = kinds == 1
    nothing_shared = f"no file name is in all of {', '.join(map(str, folders.values()))}"
    if not as_sets and kinds < len(folders):
        raise ValueError(nothing_shared)
    groups = {name: group for name, group in found.items() if len(group) == kinds}

    read = partial(_read_in_colour, value_range=options.value_range)
    evaluator = Evaluator(read, options, notes, progress, len(groups))
    common = _common_size(groups.values()) if as_sets and not size else None
    if common:
        notes.append("the pictures have several sizes; all become {} x {}".format(*common))
    resizing = _Resizing(size, resize, kinds, common)
    names = (out_dir.resolve().name, truth_dir.resolve().name)
    result = evaluator.measure(*names, groups, resizing.extend)
    if evaluator.broken and not options.allow_missing:
        raise ValueError(
            f"cannot be read: {some(evaluator.broken)}; fix or remove them, or leave them out with"
            " --allow-missing"
        )
    if as_sets and not result.metrics:
        raise ValueError("; ".join([nothing_shared, *evaluator.notes]))
    return evaluator.summarize([result], None, size, resizing.in_words())


def _read_in_colour(path: Path, value_range: str) -> images.UInt8:
    """Read a picture as uint8 (H, W, 3), transparency over white."""
    return images.composite(images.read_image(path, value_range=value_range))


def _common_size(groups: Iterable[dict[str, Path]]) -> tuple[int, int] | None:
    """Return the truth's most common width and height; None where all pictures have one size.

    Files that cannot be read do not count: they are reported when they are measured.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    of_truth: Counter[tuple[int, int]] = Counter()
    for group in groups:
        for kind, path in group.items():
            try:
                size = images.read_size(path)
            except images.ImageError:
                continue
            sizes[size] += 1
            of_truth[size] += kind == "truth"
    return of_truth.most_common(1)[0][0] if len(sizes) > 1 else None


@dataclass
class _Resizing:
    """How `compare` brings the pictures of a batch to one size, or refuses to."""

    size: int | None  # pixels a side; None means the truth's size
    resize: bool  # whether pictures may be resized to the truth's
    kinds: int  # pictures of an image: 1 where sets are compared
    common: tuple[int, int] | None = None  # width and height for sets of several sizes

    def extend(self, names: list[str], pictures: Pictures) -> Pictures:
        """Return the pictures of a batch in one size; none where some of them are broken.

        Raises:
            ValueError: for the sizes of a pair that differ and are not to be changed.
        """
        if len(pictures) < self.kinds:
            return {}
        if self.common:
            return {kind: _covering(stack, *self.common) for kind, stack in pictures.items()}

        reference = pictures.get("truth", next(iter(pictures.values())))
        height, width = (self.size, self.size) if self.size else reference.shape[1:3]
        resized = {}
        for kind, stack in pictures.items():
            if stack.shape[1:3] != (height, width) and not (self.size or self.resize):
                sizes = f"{stack.shape[2]} x {stack.shape[1]}, the truth {width} x {height}"
                raise ValueError(
                    f"{names[0]}: the {kind} is {sizes}; give --resize (to the truth's) or --size N"
                )
            resized[kind] = _resized(stack, height, width)
        return resized

    def in_words(self) -> str:
        """Describe the resizing, for the report."""
        if self.size:
            return f"lanczos to {self.size} x {self.size}"
        if self.common:
            width, height = self.common
            return (
                f"several sizes: lanczos to cover {width} x {height}, the truth's most common size,"
                " and the middle of it (--size N takes another)"
            )
        return "lanczos to the truth's size" if self.resize else "none"


def _covering(stack: Tensor, width: int, height: int) -> Tensor:
    """Resize pictures uint8 (n, H, W, C) to cover width x height, and cut out the middle."""
    rows, columns = stack.shape[1:3]
    factor = max(height / rows, width / columns)
    high = max(height, round(rows * factor))
    wide = max(width, round(columns * factor))
    top = (high - height) // 2
    left = (wide - width) // 2
    return _resized(stack, high, wide)[:, top : top + height, left : left + width]


def _resized(stack: Tensor, height: int, width: int) -> Tensor:
    """Resize pictures uint8 (n, H, W, C) to (n, height, width, C)."""
    pictures = [images.resize(picture, (width, height)) for picture in stack.numpy()]
    return torch.stack([torch.from_numpy(picture) for picture in pictures])


@torch.inference_mode()
def _translate(
    model: Model, source: Tensor, a: int, b: int, style: Tensor | None, variants: Tensor
) -> Pictures:
    """Make all the pictures that are measured; content is encoded once.

    Args:
        model: on the device of the styles.
        source: pictures (n, H, W, C) of domain a.
        a: index of the source domain.
        b: index of the target domain.
        style: of the translations, (n, Ds); None for each picture's own.
        variants: styles (n, K, Ds) of further translations, made where K is above 1.
    """
    x = images_from_pixels(source.numpy(), variants.device)
    content = model.encode_content(x, a).mu
    own = model.encode_style(x, a).mu
    reconstruction = model.decode(content, own, a, a)
    t = model.decode(content, own if style is None else style, a, b)
    translation = model.keep_detail(x, reconstruction, t)
    # rounded as in a file, so that the cycle cannot use what rounding removes
    rounded = to_float(to_uint8(translation))
    made = {
        "translation": translation,
        "reconstruction": reconstruction,
        "cycle": model.translate(rounded, b, a, own),
    }
    if variants.shape[1] > 1:
        decoded = [model.decode(content, z_s, a, b) for z_s in variants.unbind(1)]
        kept = [model.keep_detail(x, reconstruction, t) for t in decoded]
        made["styles"] = torch.stack(kept, dim=1)
    return {what: torch.from_numpy(pixels_from_images(y)) for what, y in made.items()}
