"""Pictures of each domain, a few of them looked at, and the config that suits them.

Legend: n pictures that were looked at, S side of their thumbnails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from translate.data.layout import Layout
from translate.data.thumbnails import read_thumbnails
from translate.io.depth import NEARLY_BLACK
from translate.io.files import evenly_spaced
from translate.io.images import ImageError, UInt8, list_images, read_image, resize
from translate.presets import ONE_DOMAIN, affordable, in_place, one_domain_weights

if TYPE_CHECKING:
    from translate.metrics.lpips import Perceptual

SAMPLE = 24  # images a folder that are decoded
LOOKS = 128  # images a folder that are decoded coarsely, where it is asked what they show
LEAST_LOOKS = 50  # with fewer it cannot be told
SECONDS = 5.0  # that decoding them may take, a folder
FEW = 100  # pictures of a domain below which more of them are the first thing to try
TOO_FEW = 20
SIZES = {32: "tiny", 64: "small", 128: "base", 256: "large"}
FLAT = 1 / 3  # photographs have less, everything else that was measured has more
# largest difference between channels, of 255, that still counts as gray (JPEG leaves a few)
_GRAY = 8
_ALIKE = 2  # of 255
THUMBNAIL = 64  # px a side
# px from which coloured pictures of any kind get the settings of `in_place`; below, photographs do:
# emoji of two artists at 32 px were better with those of drawings
STILL = 64
_SQUARE = 1.05  # longest side over shortest up to which a centre crop loses nothing worth keeping


@dataclass(frozen=True)
class Survey:
    """What was seen in one folder.

    Attributes:
        folder: Where they are.
        count: Files that may be pictures.
        sides: Shorter sides of those that were decoded, in pixels.
        aspects: Their longer sides over their shorter ones.
        gray: Whether all of them are gray.
        flat: Mean share of neighbouring pixels that are alike, see `flat_share`.
        thumbnails: Those that were decoded, (n, S, S, 3).
        broken: Those that could not be decoded, and why.
        dark: How many have more than 8 bits a channel and use next to nothing of their range.
    """

    folder: Path
    count: int
    sides: list[int]
    aspects: list[float]
    gray: bool
    flat: float
    thumbnails: UInt8
    broken: dict[Path, str]
    dark: int = 0

    def coarse_looks(self) -> UInt8:
        """Decode some more pictures, spread over the folder, coarsely and quickly; (n, S, S, 3)."""
        paths = [self.folder / path for path in list_images(self.folder)]
        return read_thumbnails(paths, THUMBNAIL, LOOKS, SECONDS).pixels

    @property
    def is_photographic(self) -> bool:
        """Whether they look like photographs rather than drawings, renderings or scans."""
        return self.flat < FLAT


@dataclass(frozen=True)
class Surveys:
    """What was seen in the folders of all domains, and what follows from it at any size.

    Args:
        domains: Domain -> what was seen.
        detail: Whether translations shall keep the detail of their input; None as it suits them.
    """

    domains: Mapping[str, Survey]
    detail: bool | None = None

    @property
    def are_photographs(self) -> bool:
        """Whether all domains, of several, look like photographs."""
        return len(self.domains) > 1 and all(seen.is_photographic for seen in self.domains.values())

    @property
    def are_gray(self) -> bool:
        """Whether no picture of any domain has colours."""
        return all(seen.gray for seen in self.domains.values())

    @property
    def are_drawings(self) -> bool:
        """Whether they look like gray drawings, whose strokes move: characters, sketches, plans."""
        return self.are_gray and not self.are_photographs

    @property
    def sizes(self) -> list[int]:
        """The training sizes that the pictures have the pixels for, the largest first."""
        typical = median(side for seen in self.domains.values() for side in seen.sides)
        return sorted((size for size in SIZES if size <= typical), reverse=True) or [min(SIZES)]

    @cached_property
    def lie_apart(self) -> bool:
        """Whether domains are so far apart that no picture can stay as it is; takes a second."""
        from translate.data.overlap import lie_apart  # torch, which takes a second to import

        return lie_apart([seen.thumbnails for seen in self.domains.values()])

    @property
    def keep_detail(self) -> bool:
        """Whether translations of pictures that stay in their place keep the detail of these."""
        if self.detail is not None:
            return self.detail
        return not (self.lie_apart or self.differ_in_kind)

    @cached_property
    def perceptual(self) -> Perceptual | None:
        """AlexNet, where its weights are at hand without a download, and are what they should."""
        from translate.metrics.lpips import Perceptual, weights_at_hand

        with suppress(ValueError):  # damaged, or of another network: doctor and evaluate say so
            return Perceptual.load("alex") if weights_at_hand("alex") else None
        return None

    @cached_property
    def differ_in_kind(self) -> bool | None:
        """Whether domains show things of another kind, as cats and dogs; takes some seconds.

        None where it cannot be told, for want of pictures that are decoded in time, or of AlexNet's
        weights.
        """
        from translate.data.overlap import differ_in_kind

        few = min(seen.count for seen in self.domains.values()) < LEAST_LOOKS
        if few or self.perceptual is None:
            return None
        looks = [seen.coarse_looks() for seen in self.domains.values()]
        if min(map(len, looks)) < LEAST_LOOKS:
            return None
        return differ_in_kind(looks, self.perceptual)


def inspect_folders(folders: Mapping[str, Path]) -> Surveys:
    """Decode a few pictures of each domain, as `inspect_folder` does.

    Args:
        folders: Domain -> its folder.
    """
    return Surveys({name: inspect_folder(folder) for name, folder in folders.items()})


def inspect_folder(folder: Path) -> Survey:
    """Decode a few pictures, spread over a folder.

    Raises:
        ValueError: Where the folder is missing, or nothing in it can be read.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder.resolve()}: no such folder; give folders of pictures")
    paths = list_images(folder)
    sides = []
    aspects = []
    gray = True
    thumbnails = []
    broken = {}
    dark = 0
    for path in evenly_spaced(paths, SAMPLE):
        try:
            picture = read_image(folder / path)
        except ImageError as error:
            broken[path] = str(error)
            continue
        dark += any(warning.startswith(NEARLY_BLACK) for warning in picture.warnings)
        height, width = picture.pixels.shape[:2]
        sides.append(min(width, height))
        aspects.append(max(width, height) / min(width, height))
        thumbnails.append(resize(picture.pixels, (THUMBNAIL, THUMBNAIL)))
        gray &= int(np.ptp(picture.pixels, axis=2).max()) <= _GRAY
    if not sides:
        reason = "".join(f" ({path}: {why})" for path, why in list(broken.items())[:1])
        raise ValueError(f"{folder.resolve()}: no readable picture{reason}; name another folder")
    flat = mean(flat_share(thumbnail) for thumbnail in thumbnails)
    return Survey(
        folder, len(paths), sides, aspects, gray, flat, np.stack(thumbnails), broken, dark
    )


def advise(surveys: Surveys) -> Iterator[str]:
    """Say what to do about too few or broken pictures, a sentence each."""
    for name, seen in surveys.domains.items():
        if seen.count < TOO_FEW:
            yield (
                f"{name} has {seen.count} pictures, with which a model learns these by heart and "
                f"little else; add some, {FEW} or more"
            )
        elif seen.count < FEW:
            yield f"{name} has {seen.count} pictures; with {FEW} or more, results get better"
        if seen.dark:
            yield (
                f"{seen.dark} of {len(seen.sides)} pictures of {name} that were looked at have 16 "
                "bits and are nearly black, as data of 12 bits in 16 are; set data.range: auto, or "
                "LOW,HIGH such as 0,4095"
            )
        if seen.broken:
            path, why = next(iter(seen.broken.items()))
            looked_at = len(seen.sides) + len(seen.broken)
            yield (
                f"{len(seen.broken)} of {looked_at} pictures of {name} that were looked at cannot "
                f"be read, such as {path} ({why}); they are left out: fix or remove them"
            )


def flat_share(pixels: UInt8) -> float:
    """Measure how much of a picture is flat, at 64 x 64 pixels.

    Photographs have 0.13 to 0.20 on average; icons, characters, renderings, scans before black
    and label maps have 0.5 to 0.85.

    Args:
        pixels: (H, W, 3).

    Returns:
        The share of horizontal neighbours that differ by at most 2 of 255 in every channel.
    """
    small = resize(pixels, (THUMBNAIL, THUMBNAIL)).astype(int)
    steps = np.abs(np.diff(small, axis=1)).max(2)
    return float((steps <= _ALIKE).mean())


def suggest_settings(
    surveys: Surveys, size: int, for_cpu: bool = False
) -> dict[str, dict[str, Any]]:
    """Choose channels, cropping, network and objective for pictures.

    Args:
        surveys: What was seen of them.
        size: The training size in pixels.
        for_cpu: Whether the network is one that a CPU trains within hours.

    Returns:
        Section -> setting -> entry, those that differ from the defaults; no folders.
    """
    domains = surveys.domains.values()
    data: dict[str, Any] = {"size": size, "channels": 1 if surveys.are_gray else 3}
    if any(aspect > _SQUARE for seen in domains for aspect in seen.aspects):
        data["crop"] = "random"
    in_colour = len(domains) > 1 and not surveys.are_drawings
    if surveys.are_photographs or (in_colour and size >= STILL):
        detail = surveys.keep_detail
        perceptual = not detail and surveys.perceptual is not None
        settings = in_place(size, data["channels"], detail, perceptual)
        return {**settings, "data": {**data, **settings["data"]}}
    preset = SIZES[max((s for s in SIZES if s <= size * 1.34), default=min(SIZES))]
    model: dict[str, Any] = {"preset": preset}
    if for_cpu and preset != "tiny":
        model = affordable(size)
    if len(domains) > 1:
        return {"data": data, "model": model}
    own = ONE_DOMAIN["model"]  # its latents
    model = {key: value for key, value in model.items() if key not in own}
    return {"data": data, "model": model, **one_domain_weights(data["channels"])}


def suggest_config(
    folders: dict[str, Path], size: int | None = None, base: Path = Path()
) -> dict[str, dict[str, Any]]:
    """Choose a config for these folders, whatever computes.

    Args:
        folders: Domain -> folder of training images.
        size: The size to be taken; None for the largest that suits the pictures.
        base: The folder of the config's file, which its paths are relative to.

    Returns:
        Section -> setting -> entry, those that differ from the defaults.

    Raises:
        ValueError: As `inspect_folder` does.
    """
    surveys = inspect_folders(folders)
    settings = suggest_settings(surveys, size or surveys.sizes[0])
    return with_folders(settings, Layout(folders).with_tests(), base)


def with_folders(
    settings: dict[str, dict[str, Any]], layout: Layout, base: Path
) -> dict[str, dict[str, Any]]:
    """Return settings with the folders as a config in `base` names them, before all others."""
    return {**settings, "data": {**layout.settings(base), **settings["data"]}}
