"""Folders of pictures, one a domain, and the config that suits them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np

from translate.io.images import ImageError, UInt8, list_images, read_image, resize
from translate.presets import photographs

SAMPLE = 24  # images a folder that are decoded
SIZES = {32: "tiny", 64: "small", 128: "base", 256: "large"}
# largest difference between channels, of 255, that still counts as gray (JPEG leaves a few)
_GRAY = 8
_ALIKE = 2  # of 255
FLAT = 1 / 3  # photographs have less, everything else that was measured has more
_SQUARE = 1.05  # longest side over shortest up to which a centre crop loses nothing worth keeping


@dataclass(frozen=True)
class Survey:
    """What was seen in one folder.

    Attributes:
        count: Files that may be pictures.
        sides: Shorter sides of those that were decoded, in pixels.
        aspects: Their longer sides over their shorter ones.
        gray: Whether all of them are gray.
        flat: Mean share of neighbouring pixels that are alike, see `flat_share`.
    """

    count: int
    sides: list[int]
    aspects: list[float]
    gray: bool
    flat: float

    @property
    def is_photographic(self) -> bool:
        """Whether they look like photographs rather than drawings, renderings or scans."""
        return self.flat < FLAT


def inspect_folder(folder: Path) -> Survey:
    """Decode a few pictures, spread over a folder.

    Raises:
        ValueError: Where the folder is missing, or nothing in it can be read.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give folders of pictures")
    paths = list_images(folder)
    sides = []
    aspects = []
    gray = True
    flat = []
    problems = []
    for path in paths[:: max(1, len(paths) // SAMPLE)]:
        try:
            picture = read_image(folder / path)
        except ImageError as error:
            problems.append(f"{path}: {error}")
            continue
        height, width = picture.pixels.shape[:2]
        sides.append(min(width, height))
        aspects.append(max(width, height) / min(width, height))
        flat.append(flat_share(picture.pixels))
        gray &= int(np.ptp(picture.pixels, axis=2).max()) <= _GRAY
    if not sides:
        reason = f" ({problems[0]})" if problems else ""
        raise ValueError(f"{folder}: no readable picture{reason}; name another folder")
    return Survey(len(paths), sides, aspects, gray, mean(flat))


def flat_share(pixels: UInt8) -> float:
    """Measure how much of a picture is flat, at 64 x 64 pixels.

    Photographs have 0.13 to 0.20 on average; icons, characters, renderings, scans before black
    and label maps have 0.5 to 0.85.

    Args:
        pixels: (H, W, 3).

    Returns:
        The share of horizontal neighbours that differ by at most 2 of 255 in every channel.
    """
    small = resize(pixels, (64, 64)).astype(int)
    steps = np.abs(np.diff(small, axis=1)).max(2)
    return float((steps <= _ALIKE).mean())


def suggest_config(
    folders: dict[str, Path], size: int | None = None
) -> dict[str, dict[str, object]]:
    """Choose size, channels, cropping and preset for these folders, or photographs' settings.

    Args:
        folders: Domain -> folder of training images.
        size: The size to be taken; None for one that suits the pictures.

    Returns:
        Section -> setting -> entry, those that differ from the defaults.

    Raises:
        ValueError: As `inspect_folder` does.
    """
    found = {name: inspect_folder(folder) for name, folder in folders.items()}
    typical = median(side for seen in found.values() for side in seen.sides)
    chosen = size or max((s for s in SIZES if s <= typical), default=min(SIZES))
    preset = SIZES[max((s for s in SIZES if s <= chosen * 1.34), default=min(SIZES))]
    data: dict[str, object] = {
        "domains": {name: str(folder) for name, folder in folders.items()},
        "size": chosen,
        "channels": 1 if all(seen.gray for seen in found.values()) else 3,
    }
    tests = {name: _test_folder(folder) for name, folder in folders.items()}
    if all(tests[name] != folder and tests[name].is_dir() for name, folder in folders.items()):
        data["tests"] = {name: str(folder) for name, folder in tests.items()}
    if any(aspect > _SQUARE for seen in found.values() for aspect in seen.aspects):
        data["crop"] = "random"
    if len(folders) > 1 and all(seen.is_photographic for seen in found.values()):
        settings = photographs(chosen, 1 if data["channels"] == 1 else 3)
        return {**settings, "data": {**data, **settings["data"]}}
    return {"data": data, "model": {"preset": preset}}


def _test_folder(folder: Path) -> Path:
    """Return the folder's name with a leading "train" replaced by "test".

    Other names, such as `constraints`, stay as they are.
    """
    if not folder.name.startswith("train"):
        return folder
    return folder.with_name("test" + folder.name.removeprefix("train"))
