"""Domains as folders, decoded once into uint8 memory, and unpaired batches of them.

A batch depends on nothing but (seed, step).

Legend: B images per domain and step, C channels, S = data.size, domains stacked in order:
(domains * B, C, S, S) uint8.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch
from torch import Tensor

from translate.config import Config, DataConfig
from translate.data.sharing import once_per_node, shares_node
from translate.io.depth import CLIPPED, NEARLY_BLACK, READ_AS
from translate.io.files import evenly_spaced
from translate.io.images import (
    ImageError,
    Picture,
    UInt8,
    composite,
    count_pixels,
    list_images,
    read_image,
    resize,
    to_channels,
)
from translate.io.tensors import to_float
from translate.runtime.affinity import usable_cores
from translate.runtime.budget import Budget
from translate.runtime.device import free_memory

# its import would ask the network for a newer version
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

Share: TypeAlias = Callable[[Sequence[tuple[int, int]]], Sequence[tuple[int, int]]]

logger = logging.getLogger(__name__)

MIN_IMAGES = 2
MIN_HELD_OUT = 8
MAX_HELD_OUT = 128
DECODED_PIXELS = 178_000_000  # of all pictures that are decoded at once, as one may have
BATCH = 32  # of images that are measured, not trained on


@dataclass(frozen=True)
class Domain:
    """The images of one domain.

    Attributes:
        name: As in the config.
        images: Those that are trained on, each (h, w, C) uint8 with the shorter side at load size.
        failed: What could not be read, and why.
        held_out: Those that are not trained on: the trainer selects the model by them.
    """

    name: str
    images: list[np.ndarray]
    failed: dict[Path, str]
    held_out: list[np.ndarray] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many images there are, those that are held out included."""
        return len(self.images) + len(self.held_out)


def load_image(path: Path, config: DataConfig) -> np.ndarray:
    """Decode a file to (h, w, C) uint8, shorter side `load_size` (default `size`).

    Raises:
        ImageError: Where the file cannot be read.
    """
    return _prepared(read_image(path, value_range=config.range), config)


def _prepared(picture: Picture, config: DataConfig) -> np.ndarray:
    """Return a picture as `load_image` does."""
    red, green, blue = config.background
    pixels = to_channels(composite(picture, (red, green, blue)), config.channels)
    height, width = pixels.shape[:2]
    return resize(pixels, shorter_side(width, height, config.load_size or config.size))


def load_square(path: Path, config: DataConfig) -> np.ndarray:
    """Decode the middle of a file's image, as models take it, to (S, S, C) uint8.

    Raises:
        ImageError: Where the file cannot be read.
    """
    return center_crop(load_image(path, config), config.size)


def shorter_side(width: int, height: int, side: int) -> tuple[int, int]:
    """Return (width, height) scaled so that the shorter one is `side`, in pixels."""
    factor = side / min(width, height)
    return max(side, round(width * factor)), max(side, round(height * factor))


def load_domain(name: str, folder: Path, config: DataConfig) -> Domain:
    """Read all images below a folder, with threads.

    Args:
        name: The domain's name, for messages.
        folder: Searched with its sub-folders.
        config: Sizes, channels, the share that is held out and the memory that may be used.

    Raises:
        ValueError: Where the folder is missing or has fewer than two usable images.
    """
    failed: dict[Path, str] = {}
    budget = int(config.memory_gb * 2**30 / len(config.names))
    images = spill_to_memmap(_decode(name, folder, config, failed), budget)
    return make_domain(name, images, failed, config)


def load_domains(config: DataConfig) -> list[Domain]:
    """Read all training domains, in the order of their index y.

    Of several processes of one launch on a node the first decodes, and all map the same memory.

    Raises:
        ValueError: As `load_domain` does, in all processes; as `once_per_node` does.
    """
    if not shares_node():
        return [load_domain(name, config.folder(name), config) for name in config.names]

    pixels, index = once_per_node(lambda file: _write_domains(config, file))
    domains = []
    start = 0
    for name, (shapes, failed) in zip(config.names, index, strict=True):
        end = start + sum(map(math.prod, shapes))
        images = _views(pixels[start:end], shapes)
        reasons = {Path(path): reason for path, reason in failed}
        domains.append(make_domain(name, images, reasons, config))
        start = end
    return domains


def _write_domains(config: DataConfig, file: BinaryIO) -> list[Any]:
    """Write the pixels of all domains; return for each the images' shapes and what failed."""
    index: list[Any] = []
    for name in config.names:
        folder = config.folder(name)
        failed: dict[Path, str] = {}
        shapes = []
        for image in _decode(name, folder, config, failed):
            file.write(image.tobytes())
            shapes.append(image.shape)
        index.append((shapes, [(str(path), reason) for path, reason in failed.items()]))
    return index


def _decode(
    name: str, folder: Path, config: DataConfig, failed: dict[Path, str]
) -> Iterator[np.ndarray]:
    """Yield a folder's images in order, and enter into `failed` what cannot be read and why."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder.resolve()}: no such folder for domain {name}; "
            f"set data.root (--data) or data.domains.{name}"
        )
    paths = list_images(folder)
    told: list[str] = []

    room = Budget(DECODED_PIXELS)

    def attempt(path: Path) -> np.ndarray | str:
        try:
            with room.share(count_pixels(folder / path)):
                picture = read_image(folder / path, value_range=config.range)
                told.extend(picture.warnings)
                return _prepared(picture, config)
        except ImageError as error:
            return str(error)

    usable = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        for path, decoded in zip(paths, pool.map(attempt, paths), strict=True):
            if isinstance(decoded, str):
                failed[folder / path] = decoded
            else:
                usable += 1
                yield decoded
    _log_ranges(name, told)
    if usable < MIN_IMAGES:
        unreadable = f" ({len(failed)} more cannot be read)" if failed else ""
        raise ValueError(
            f"{folder}: domain {name} has {usable} usable image{'s' * (usable != 1)}{unreadable}; "
            f"training needs at least {MIN_IMAGES} a domain"
        )


def _log_ranges(name: str, told: Sequence[str]) -> None:
    """Say how many pictures of a domain were read as fewer bits, clipped or are nearly black."""
    for beginning in (READ_AS, CLIPPED, NEARLY_BLACK):
        found = [warning for warning in told if warning.startswith(beginning)]
        if found:
            logger.warning("%d pictures of %s: %s", len(found), name, found[0])


def make_domain(
    name: str, images: list[np.ndarray], failed: dict[Path, str], config: DataConfig
) -> Domain:
    """Make a domain of images, of which a share is held out to select the model.

    Args:
        name: The domain's name.
        images: (h, w, C) uint8 each, the shorter side at load size.
        failed: What could not be read, and why.
        config: The share that is held out.
    """
    trained, held_out = _split(images, config.held_out)
    return Domain(name, trained, failed, held_out)


def spill_to_memmap(images: Iterable[np.ndarray], budget: int) -> list[np.ndarray]:
    """Keep images in memory up to a budget, and the others in a file mapped into memory.

    Args:
        images: uint8, of any shapes.
        budget: The bytes that may be kept; the others lie in an unlinked temporary file.

    Returns:
        The images in order.
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
            kept += _views(np.memmap(file, np.uint8, "r"), spilled)
    return kept


def _views(pixels: UInt8, shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Split bytes that lie one image after the other into images of these shapes."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = np.split(pixels, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _split(images: list[np.ndarray], share: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return (trained, held out), the latter spread evenly over the files' order.

    Where too few would be held out to tell anything, all stay in training.
    """
    count = min(MAX_HELD_OUT, int(share * len(images)))
    if count < MIN_HELD_OUT:
        return images, []
    held = {(2 * i + 1) * len(images) // (2 * count) for i in range(count)}
    trained = [image for i, image in enumerate(images) if i not in held]
    return trained, [images[i] for i in sorted(held)]


def host_augmentation(config: DataConfig) -> Callable[[np.ndarray, int], np.ndarray]:
    """Resize, crop and flip with albumentations: (h, w, C) uint8 and a seed -> (S, S, C) uint8."""
    import albumentations

    size = (config.size, config.size)
    crops = {
        "center": albumentations.CenterCrop(*size),
        "random": albumentations.RandomCrop(*size),
        "resized": albumentations.RandomResizedCrop(size, scale=(0.6, 1.0), ratio=(0.9, 1.1)),
    }
    flip = albumentations.HorizontalFlip(p=config.flip)
    compose = albumentations.Compose([crops[config.crop], flip])

    def apply(image: np.ndarray, seed: int) -> np.ndarray:
        compose.set_random_seed(seed)
        changed = compose(image=image)["image"]
        return np.asarray(changed).reshape(*size, config.channels)

    return apply


class UnpairedBatches:
    """Batches of all domains.

    `batch(step)` is a pure function of (seed, step), so a resumed run sees the same data. Images
    that need no change on the host wait on the device, where they fit into half of its free memory.

    Attributes:
        domains: In the order of their index y.
        resident: Each domain's images on the device, (n, C, S, S) uint8; empty where none are.
    """

    def __init__(
        self,
        domains: list[Domain],
        config: Config,
        device: torch.device | None = None,
        share: Share = lambda all: all,
    ) -> None:
        """Look whether the images can wait on the device.

        Args:
            domains: In the order of their index y.
            config: Sizes, augmentation on the host, batch size and seed.
            device: Where images may wait; None for nowhere.
            share: Chooses this process's part of a domain's images of a step.
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
        """Return this process's (image, draw number) for a domain and step.

        Every image comes once an epoch, in a new order each.
        """
        count = len(self.domains[domain].images)
        batch = self.config.train.batch_size
        seed = self.config.train.seed
        drawn = []
        for draw in range(step * batch, (step + 1) * batch):
            order = _order(seed, domain, draw // count, count)
            drawn.append((int(order[draw % count]), draw))
        return self.share(drawn)

    def batch(self, step: int) -> Tensor:
        """Return the images (domains * B, C, S, S) uint8 for a step."""
        if self.resident:
            return torch.cat([self._resident(d, step) for d in range(len(self.domains))])
        images = []
        for d, domain in enumerate(self.domains):
            for index, draw in self.indices(d, step):
                image = domain.images[index]
                if self.augment is not None:
                    entropy = np.random.SeedSequence([self.config.train.seed, d, draw])
                    image = self.augment(image, int(entropy.generate_state(1)[0]))
                images.append(image)
        return _stack(images)

    def _resident(self, domain: int, step: int) -> Tensor:
        images = self.resident[domain]
        chosen = [index for index, _ in self.indices(domain, step)]
        return images[torch.tensor(chosen, device=images.device)]

    def fixed(self, domain: int, count: int) -> Tensor:
        """Return at most `count` trained images spread over a domain, unaugmented.

        Returns:
            (n, C, S, S) uint8.
        """
        return self._squares(evenly_spaced(self.domains[domain].images, count))

    def held_out(self, domain: int) -> Tensor:
        """Return the images that are not trained on, as `fixed` does.

        Where too few were there to spare any, these are trained ones.
        """
        images = self.domains[domain].held_out
        return self._squares(images) if images else self.fixed(domain, MAX_HELD_OUT)

    def _squares(self, images: list[np.ndarray]) -> Tensor:
        size = self.config.data.size
        return _stack([center_crop(image, size) for image in images])


def over_batches(
    measure: Callable[[Tensor], Tensor], images: Tensor, device: torch.device
) -> Tensor:
    """Measure many images, a few at a time.

    Args:
        measure: (b, C, S, S) float32 in [-1, 1] -> (b, ...).
        images: (n, C, S, S) uint8.
        device: Where they are measured.

    Returns:
        (n, ...).
    """
    return torch.cat([measure(to_float(x, device)) for x in torch.split(images, BATCH)])


def _stack(images: list[np.ndarray]) -> Tensor:
    """(h, w, C) each -> (n, C, h, w)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Cut the middle (size, size) out of an (h, w, C) array at least as large."""
    top = (image.shape[0] - size) // 2
    left = (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


@lru_cache(maxsize=8)
def _order(seed: int, domain: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, domain, epoch]).permutation(count)
