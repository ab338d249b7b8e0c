"""Domains as folders, decoded once into uint8 memory, and unpaired batches that depend on nothing
but (seed, step).

Legend: B images per domain and step, C channels, S = data.size, domains stacked in order:
(domains * B, C, S, S) uint8.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from translate.config import Config, DataConfig
from translate.io.files import evenly_spaced
from translate.io.images import (
    ImageError,
    UInt8,
    composite,
    list_images,
    read_image,
    resize,
    to_channels,
)
from translate.runtime.device import free_memory, usable_cores

# its import would ask the network for a newer version
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

Share: TypeAlias = Callable[[Sequence[tuple[int, int]]], Sequence[tuple[int, int]]]

MIN_IMAGES = 2
MIN_HELD_OUT = 8
MAX_HELD_OUT = 128
BATCH = 32  # of images that are measured, not trained on


@dataclass(frozen=True)
class Domain:
    """A domain's images as (h, w, C) uint8 with the shorter side at load size, and what could not
    be read.

    `held_out` images are not trained on: the trainer scores the model with them.
    """

    name: str
    images: list[np.ndarray]
    failed: dict[Path, str]
    held_out: list[np.ndarray] = field(default_factory=list)


def load_image(path: Path, config: DataConfig) -> np.ndarray:
    """Decodes a file to (h, w, C) uint8, shorter side `load_size` (default `size`). Raises
    ImageError.
    """
    pixels = to_channels(
        composite(
            read_image(path), (config.background[0], config.background[1], config.background[2])
        ),
        config.channels,
    )
    return resize(
        pixels, shorter_side(pixels.shape[1], pixels.shape[0], config.load_size or config.size)
    )


def load_square(path: Path, config: DataConfig) -> np.ndarray:
    """The middle of a file's image, as models take it. Shape: (S, S, C) uint8. Raises ImageError."""
    return center_crop(load_image(path, config), config.size)


def shorter_side(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) scaled so that the shorter one is `side`, in pixels."""
    factor = side / min(width, height)
    return max(side, round(width * factor)), max(side, round(height * factor))


def load_domain(name: str, folder: Path, config: DataConfig) -> Domain:
    """Reads all images below `folder`, with threads. Raises ValueError when fewer than two can be
    used.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder for domain {name}; set data.root (--data) or data.domains.{name}"
        )
    paths = list_images(folder)

    def attempt(path: Path) -> np.ndarray | str:
        try:
            return load_image(folder / path, config)
        except ImageError as error:
            return str(error)

    failed: dict[Path, str] = {}

    def decoded() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(usable_cores()) as pool:
            for path, result in zip(paths, pool.map(attempt, paths), strict=True):
                if isinstance(result, str):
                    failed[folder / path] = result
                else:
                    yield result

    images = spill_to_memmap(decoded(), int(config.memory_gb * 2**30 / len(config.names)))
    if len(images) < MIN_IMAGES:
        unreadable = f" ({len(failed)} more cannot be read)" if failed else ""
        raise ValueError(
            f"{folder}: domain {name} has {len(images)} usable image{'s' * (len(images) != 1)}{unreadable}; "
            f"training needs at least {MIN_IMAGES} a domain"
        )
    trained, held_out = _split(images, config.held_out)
    return Domain(name, trained, failed, held_out)


def spill_to_memmap(images: Iterable[np.ndarray], budget: int) -> list[np.ndarray]:
    """The images in order; those beyond `budget` bytes lie in an unlinked temporary file, mapped
    into memory.
    """
    kept: list[np.ndarray] = []
    spilled: list[tuple[int, ...]] = []
    with tempfile.TemporaryFile() as file:
        for image in images:
            budget -= image.nbytes
            if budget >= 0:
                kept.append(image)
            else:
                spilled.append(image.shape)
                file.write(image.tobytes())
        if spilled:
            file.flush()
            ends = np.cumsum([math.prod(shape) for shape in spilled])
            mapped = np.memmap(file, np.uint8, "r")
            kept += [
                part.reshape(shape)
                for part, shape in zip(np.split(mapped, ends[:-1]), spilled, strict=True)
            ]
    return kept


def _split(images: list[np.ndarray], share: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(trained, held out), the latter spread evenly over the files' order; too few to say anything
    stay in training.
    """
    count = min(MAX_HELD_OUT, int(share * len(images)))
    if count < MIN_HELD_OUT:
        return images, []
    held = {(2 * i + 1) * len(images) // (2 * count) for i in range(count)}
    return [x for i, x in enumerate(images) if i not in held], [images[i] for i in sorted(held)]


def load_domains(config: DataConfig) -> list[Domain]:
    """All training domains in the order of their index y. Raises ValueError as load_domain does."""
    return [load_domain(name, config.folder(name), config) for name in config.names]


def host_augmentation(config: DataConfig) -> Callable[[np.ndarray, int], np.ndarray]:
    """Resize, crop and flip with albumentations: (h, w, C) uint8 and a seed -> (S, S, C) uint8."""
    import albumentations as A

    size = (config.size, config.size)
    crops = {
        "center": A.CenterCrop(*size),
        "random": A.RandomCrop(*size),
        "resized": A.RandomResizedCrop(size, scale=(0.6, 1.0), ratio=(0.9, 1.1)),
    }
    compose = A.Compose([crops[config.crop], A.HorizontalFlip(p=config.flip)])

    def apply(image: np.ndarray, seed: int) -> np.ndarray:
        compose.set_random_seed(seed)
        return np.asarray(compose(image=image)["image"]).reshape(*size, config.channels)

    return apply


class UnpairedBatches:
    """Batches of all domains. `batch(step)` is a pure function of (seed, step), so a resumed run
    sees the same data.
    """

    def __init__(
        self,
        domains: list[Domain],
        config: Config,
        device: torch.device | None = None,
        share: Share = lambda all: all,
    ) -> None:
        """What needs no change on the host waits on the device, where it fits into half of the
        free memory.

        `share`: this process's part of a domain's images of a step.
        """
        self.domains = domains
        self.config = config
        self.share = share
        data = config.data
        fixed = (data.size, data.size, data.channels)
        plain = data.flip == 0 and data.crop != "resized"
        plain &= all(image.shape == fixed for domain in domains for image in domain.images)
        self.augment = None if plain else host_augmentation(data)
        self.resident: list[Tensor] = []
        needed = math.prod(fixed) * sum(len(domain.images) for domain in domains)
        if plain and device is not None and needed < free_memory(device) / 2:
            self.resident = [_stack(domain.images).to(device) for domain in domains]

    def indices(self, domain: int, step: int) -> Sequence[tuple[int, int]]:
        """This process's (image, draw number) for a domain and step: every image once an epoch, in
        a new order each.
        """
        count = len(self.domains[domain].images)
        batch = self.config.train.batch_size
        draws = range(step * batch, (step + 1) * batch)
        seed = self.config.train.seed
        return self.share(
            [(int(_order(seed, domain, n // count, count)[n % count]), n) for n in draws]
        )

    def batch(self, step: int) -> Tensor:
        """(domains * B, C, S, S) uint8 for a step."""
        if self.resident:
            chosen = [
                [index for index, _ in self.indices(d, step)] for d in range(len(self.domains))
            ]
            return torch.cat(
                [
                    x[torch.tensor(i, device=x.device)]
                    for x, i in zip(self.resident, chosen, strict=True)
                ]
            )
        images = []
        for d, domain in enumerate(self.domains):
            for index, draw in self.indices(d, step):
                image = domain.images[index]
                if self.augment is not None:
                    seed = np.random.SeedSequence([self.config.train.seed, d, draw]).generate_state(
                        1
                    )[0]
                    image = self.augment(image, int(seed))
                images.append(image)
        return _stack(images)

    def fixed(self, domain: int, count: int) -> Tensor:
        """At most `count` trained images spread over a domain, unaugmented. (n, C, S, S) uint8."""
        return self._squares(evenly_spaced(self.domains[domain].images, count))

    def held_out(self, domain: int) -> Tensor:
        """The images that are not trained on or, where too few were there to spare any, trained
        ones. As `fixed`.
        """
        images = self.domains[domain].held_out
        return self._squares(images) if images else self.fixed(domain, MAX_HELD_OUT)

    def _squares(self, images: list[np.ndarray]) -> Tensor:
        size = self.config.data.size
        return _stack([center_crop(image, size) for image in images])


def to_floats(x: Tensor, device: torch.device) -> Tensor:
    """uint8 -> float32 in [-1, 1] on the device, of any shape."""
    return x.to(device, non_blocking=True).float().div_(127.5).sub_(1)


def to_batch(pixels: UInt8, device: torch.device) -> Tensor:
    """uint8 (n, H, W, C) -> float32 (n, C, H, W) in [-1, 1] on the device."""
    return to_floats(torch.from_numpy(pixels), device).permute(0, 3, 1, 2)


def over_batches(
    measure: Callable[[Tensor], Tensor], images: Tensor, device: torch.device
) -> Tensor:
    """What `measure` makes of images (n, C, S, S) uint8, given to it as floats and a few at a
    time. Shape: (n, ...).
    """
    return torch.cat([measure(to_floats(x, device)) for x in torch.split(images, BATCH)])


def _stack(images: list[np.ndarray]) -> Tensor:
    """(h, w, C) each -> (n, C, h, w)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The middle (size, size) of an (h, w, C) array at least as large."""
    top = (image.shape[0] - size) // 2
    left = (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


@lru_cache(maxsize=8)
def _order(seed: int, domain: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, domain, epoch]).permutation(count)
