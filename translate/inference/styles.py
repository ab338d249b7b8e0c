"""Where the styles of a translation come from: the prior, or exemplars.

Legend: K variants of each input, Ds style dimensions; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from translate.inference.domains import Direction, domain_index, listed_domains
from translate.inference.manifest import OUT_OF_MEMORY
from translate.inference.predictor import Predictor
from translate.io.files import PathLike
from translate.io.images import ImageError, UInt8, list_images
from translate.io.memory import InMemory, picture_from
from translate.models.checkpoint import default_style
from translate.runtime.affinity import usable_cores
from translate.runtime.prefetch import ahead

# auto, mean, random, keep, own, a file or folder, or in memory
Style: TypeAlias = PathLike | InMemory | Iterable[InMemory]
# an input's relative path, or its place in a list -> z_s (K, Ds)
StyleSource: TypeAlias = Callable[[str | int], Tensor]

OWN = "own"  # the style of which an image is itself the exemplar
KEEP = "keep"  # the same numbers, taken to another domain
MOST_WORKERS = 8  # unless more are asked for: each holds an image of full size


def default_workers() -> int:
    """Return how many threads read and write pictures where nothing else is asked for."""
    return min(usable_cores(), MOST_WORKERS)


def resolve_direction(
    names: Sequence[str], to: str | None, source: str | None = None, style: Style = "auto"
) -> Direction:
    """Find out from which domain to which a translation goes.

    Args:
        names: of the domains that the model knows.
        to: the target domain; may be left out where there are two domains and the source is given.
        source: may be left out where there are two domains.
        style: with "own", source and target are the same.

    Raises:
        ValueError: for names that do not fit; it lists those that do.
    """
    label = "domain" if _is(style, OWN) else "--to"
    target = None if to is None else domain_index(names, to, label)
    begin = None if source is None else domain_index(names, source, "--from")
    if _is(style, OWN):
        one = target if target is not None else begin
        if one is None:
            raise ValueError("--style own: give the domain of the pictures by --to")
        if begin not in (None, one):
            raise ValueError(
                f"--style own: is a picture's style in its own domain; --from must be {names[one]}"
            )
        return one, one

    if len(names) == 1:
        raise ValueError(
            f"the model knows {names[0]} alone: there is nothing to translate; "
            "reconstruct or sample with it"
        )
    if target is None:
        if begin is None or len(names) != 2:
            raise ValueError(f"--to: give one; this model has {listed_domains(names)}")
        return begin, 1 - begin
    others = [name for name in names if name != names[target]]
    if begin is None:
        if len(others) != 1:
            raise ValueError(f"--from: the source domain must be given: one of {', '.join(others)}")
        begin = 1 - target
    if begin == target:
        raise ValueError(
            f"--from: source and target domain are both {names[target]}; "
            f"the source may be {', '.join(others)}"
        )
    return begin, target


def style_source(
    predictor: Predictor, style: Style, to: str, seed: int = 0, variants: int = 1
) -> StyleSource:
    """Make the function that gives an input its styles.

    Args:
        predictor: encodes exemplars.
        style: "mean", the prior's; "random", a draw of its own for each (seed, input, variant);
            "keep", (K, 0), which stands for the input's own; "auto", what the training found
            best of these three; "own", as "keep", of a reconstruction; or exemplars of domain
            `to`: a file, a folder, images in memory.
            Variant k of the i-th input in a list takes the one at i + k, cyclically; of an
            input known by name, the first is chosen by seed and name.
        to: the target domain.
        seed: of what is drawn or chosen.
        variants: K.

    Raises:
        ValueError: for an exemplar that cannot be used, and for none.
    """
    size = predictor.config.model.style_dim
    if _is(style, "auto"):
        style = default_style(predictor.summary, predictor.config.data.names[predictor.domain(to)])
    if _is(style, OWN) or _is(style, KEEP):
        return lambda name: torch.zeros(variants, 0)
    if _is(style, "mean"):
        return lambda name: torch.zeros(variants, size)
    if _is(style, "random"):
        return lambda name: torch.stack(
            [torch.randn(size, generator=generator(seed, name, k)) for k in range(variants)]
        )

    means = _encode(predictor, _exemplars(predictor, style), predictor.domain(to))
    if not means:
        raise ValueError("style: no exemplars were given")

    def pick(name: str | int) -> Tensor:
        first = name if isinstance(name, int) else generator(seed, name).initial_seed()
        return torch.stack([means[(first + k) % len(means)] for k in range(variants)])

    return pick


def _is(style: Style, kind: str) -> bool:
    return isinstance(style, str) and style == kind


def _encode(predictor: Predictor, exemplars: Iterable[UInt8], domain: int) -> list[Tensor]:
    """Return mu_s (Ds,) of each preprocessed exemplar."""
    means: dict[int, Tensor] = {}
    for i, mean in predictor.encode_styles(enumerate(exemplars), domain):
        if isinstance(mean, Exception):
            raise mean
        means[i] = mean
    return [means[i] for i in range(len(means))]


def _exemplars(predictor: Predictor, style: Style) -> Iterator[UInt8]:
    """Yield exemplars as the model takes them."""
    if isinstance(style, str | os.PathLike):
        yield from _read(predictor, Path(style))
        return
    images = [style] if isinstance(style, Image.Image | np.ndarray) else style
    for image in images:
        yield predictor.preprocess(picture_from(image))


def _read(predictor: Predictor, path: Path) -> Iterator[UInt8]:
    """Yield exemplars from a file or a folder, decoded ahead by threads."""
    if not path.exists():
        raise ValueError(
            f"style {path}: no such file or folder; use auto, mean, random, keep, own or a picture "
            "in the wanted style"
        )
    paths = [path / name for name in list_images(path)] if path.is_dir() else [path]
    workers = default_workers()
    pool = ThreadPoolExecutor(workers)
    try:
        for file, future in ahead(
            pool, lambda file: predictor.preprocess(predictor.read(file)), paths, workers
        ):
            try:
                yield future.result()
            except ImageError as error:
                raise ValueError(f"style {file}: {error}") from None
            except MemoryError:
                raise ValueError(f"style {file}: {OUT_OF_MEMORY}") from None
    finally:
        pool.shutdown(cancel_futures=True)


def generator(*parts: str | int) -> torch.Generator:
    """Return random numbers that follow from the parts alone."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)
