"""How good a model, or a folder of results, is on test images: files in, plain data out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate.data.dataset import load_square, to_batch
from translate.data.pairing import Groups, match_by_name, some
from translate.evaluation.evaluator import Evaluation, Evaluator, Pictures, Progress
from translate.inference.swap import swap_figure
from translate.io import images
from translate.io.files import evenly_spaced
from translate.metrics.lpips import Net
from translate.models.checkpoint import default_style, load_model
from translate.models.networks import Model

SWAPPED = 6  # contents, and styles, in the figure of swaps


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
    progress: Progress | None = None,
) -> Evaluation:
    """Measures a model on DATA/test{NAME}, or where its config's data.tests says, at its own size.

    directions: the domains to translate to, default all. net: default the config's. styles: as
    many are drawn at random for each image; one alone shows no diversity. Broken images are left
    out and listed. Raises ValueError for a wrong argument, folder or file, and for files without
    a partner unless `allow_missing`.
    """
    file = load_model(model_path)
    notes = list[str]()
    config = file.config.data
    names = file.config.data.names
    if len(names) == 1:
        raise ValueError(
            f"{model_path}: knows one domain, {names[0]}; sample from it, then compare with its pictures"
        )
    if data:  # decides alone, wherever the tests were when the model was trained
        given = (config.tests or {}).items()
        tests = {
            name: path
            for name, path in given
            if not Path(path).is_absolute() and (data / path).is_dir()
        }
        config = config.model_copy(update={"root": str(data), "tests": tests})
    if unknown := sorted(set(directions or ()) - set(names)):
        raise ValueError(f"--to {', '.join(unknown)}: the model's domains are {', '.join(names)}")
    ways = [
        (a, b) for a, b in permutations(range(len(names)), 2) if names[b] in (directions or names)
    ]
    folders = [config.folder(name, "test") for name in names]
    plans = {
        (a, b): match_by_name({"source": folders[a], "truth": folders[b]}, allow_missing, notes)
        for a, b in ways
    }

    varied = {names[b] for _, b in ways if default_style(file.summary, names[b]) == "random"}
    notes += [
        f"{to}: each translation in a random style, as `translate` makes them by default"
        for to in sorted(varied)
    ]

    def read(path: Path) -> images.UInt8:
        return load_square(path, config)

    total = sum(map(len, plans.values()))
    net = net or file.config.evaluate.lpips_net
    evaluator = Evaluator(read, net, weights, device, seed, notes, progress, total)
    # type: ignore[call-overload]
    model = file.model.to(evaluator.device, memory_format=torch.channels_last)
    results = []

    def extend(a: int, b: int, draw: torch.Generator, _: list[str], pictures: Pictures) -> Pictures:
        if "source" not in pictures:
            return pictures
        z_s = torch.randn(len(pictures["source"]), styles, model.style_dim, generator=draw).to(
            evaluator.device
        )
        z_t = z_s[:, 0] if names[b] in varied else torch.zeros_like(z_s[:, 0])
        return pictures | _translate(model, pictures["source"], a, b, z_t, z_s)

    for (a, b), plan in plans.items():
        draw = torch.Generator().manual_seed(seed)
        results.append(evaluator.measure(names[a], names[b], plan, partial(extend, a, b, draw)))
        results[-1].swap = _swapped(evaluator, model, plan, a, b)
    resize = f"lanczos, shorter side {config.load_size or config.size}, then the central square of {config.size}"
    return evaluator.evaluation(results, file.sha256, config.size, resize)


def _swapped(
    evaluator: Evaluator, model: Model, plan: Groups, a: int, b: int
) -> images.UInt8 | None:
    """Contents from a, styles from b, each evenly spaced among the images that can be read."""
    stacks = []
    for what in ("source", "truth"):
        files = [group for group in plan.values() if what in group]
        few = {str(i): {what: group[what]} for i, group in enumerate(evenly_spaced(files, SWAPPED))}
        stacks.append([x for _, found in evaluator.batches(few) for x in found.get(what, ())])
    if not all(stacks):
        return None
    contents, styles = (np.stack([x.numpy() for x in stack]) for stack in stacks)
    return swap_figure(model, contents, styles, a, b)


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
    progress: Progress | None = None,
) -> Evaluation:
    """Measures a folder of results, whoever made them, against the truth; all in colour,
    transparency over white.

    Where they share no names at all, as samples and training images do, they are compared as
    sets, by KID and FID.

    source_dir: what the results were made from, for the identity. size: everything becomes size
    x size. resize: where sizes differ, they become the truth's. allow_missing: files that are
    broken or lack a partner are left out, noted. Raises ValueError for these without it, for
    sizes that differ, for a wrong argument, folder or weights file, and where sets cannot be
    compared.
    """
    notes = list[str]()
    seen = set[tuple[int, int]]()
    folders = {"translation": out_dir, "truth": truth_dir} | (
        {"source": source_dir} if source_dir else {}
    )
    found = match_by_name(folders, allow_missing, notes)
    most = max(map(len, found.values()))
    nothing = f"no file name is in all of {', '.join(map(str, folders.values()))}"
    if 1 < most < len(folders):
        raise ValueError(nothing)
    groups = {name: group for name, group in found.items() if len(group) == most}
    sets = most == 1

    def read(path: Path) -> images.UInt8:
        return images.composite(images.read_image(path))

    def extend(names: list[str], pictures: Pictures) -> Pictures:
        if len(pictures) < most:  # some of it is broken
            return {}
        height, width = (
            (size, size)
            if size
            else pictures.get("truth", next(iter(pictures.values()))).shape[1:3]
        )
        seen.add((height, width))
        if sets and len(seen) > 1:
            raise ValueError(
                f"{names[0]}: is {width} x {height}, others are not; bring all to one size with --size N"
            )
        for what, x in pictures.items():
            if x.shape[1:3] != (height, width) and not (size or resize):
                sizes = f"{x.shape[2]} x {x.shape[1]}, the truth {width} x {height}"
                raise ValueError(
                    f"{names[0]}: the {what} is {sizes}; give --resize (to the truth's) or --size N"
                )
            pictures[what] = torch.stack(
                [torch.from_numpy(images.resize(y, (width, height))) for y in x.numpy()]
            )
        return pictures

    evaluator = Evaluator(read, net, weights, device, seed, notes, progress, len(groups))
    result = evaluator.measure(out_dir.resolve().name, truth_dir.resolve().name, groups, extend)
    if evaluator.broken and not allow_missing:
        raise ValueError(
            f"cannot be read: {some(evaluator.broken)}; mend them, or leave them out with --allow-missing"
        )
    if sets and not result.metrics:
        raise ValueError("; ".join([nothing, *evaluator.notes]))
    filters = (
        f"lanczos to {size} x {size}"
        if size
        else "lanczos to the truth's size"
        if resize
        else "none"
    )
    return evaluator.evaluation([result], None, size, filters)


@torch.inference_mode()
def _translate(model: Model, source: Tensor, a: int, b: int, z_t: Tensor, z_s: Tensor) -> Pictures:
    """What a model makes of images (n, H, W, C) in styles z_t (n, Ds), and in each of z_s (n, K,
    Ds) too; content is encoded once.
    """
    x = to_batch(source.numpy(), z_s.device)
    y_a, y_b = (torch.full((len(x),), y, device=x.device) for y in (a, b))
    content = model.encoder.content(x, y_a).mu
    own = model.encoder.style(x, y_a).mu
    made = {"translation": model.decoder(content, z_t, y_b, y_a)}
    made["reconstruction"] = model.decoder(content, own, y_a, y_a)
    # as in a file: less can be hidden in it
    rounded = (made["translation"] * 127.5 + 127.5).round() / 127.5 - 1
    made["cycle"] = model.translate(rounded, b, a, own)
    if z_s.shape[1] > 1:
        made["styles"] = torch.stack(
            [model.decoder(content, z, y_b, y_a) for z in z_s.unbind(1)], 1
        )
    return {what: torch.from_numpy(images.to_uint8(y.cpu().numpy())) for what, y in made.items()}
