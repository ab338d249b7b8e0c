"""Pictures of things from several directions, with labels: bars of a colour."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np

from translate.io.images import UInt8, write_image

COLOURS = {
    "red": (220, 30, 30),
    "blue": (30, 30, 220),
    "yellow": (220, 220, 30),
    "cyan": (30, 200, 200),
    "white": (240, 240, 240),
    "green": (30, 180, 30),
}
AZIMUTHS = (0, 90, 180, 270)


def picture(colour: tuple[int, int, int], azimuth: int, elevation: int, side: int) -> UInt8:
    """A bar of the colour on gray: azimuth says along which border, elevation how wide."""
    pixels = np.full((side, side, 3), 128, np.uint8)
    pixels[: side // 2 + elevation // 10] = colour
    return np.rot90(pixels, azimuth // 90).copy()


def write_things(
    folder: Path,
    side: int = 16,
    elevations: tuple[int, ...] = (0, 20),
    held_out: tuple[str, ...] = ("green",),
) -> Path:
    """Write FOLDER/labels.csv and the pictures that it names; return the folder."""
    rows = []
    for thing, azimuth, elevation in product(COLOURS, AZIMUTHS, elevations):
        name = f"{thing}_{azimuth}_{elevation}.png"
        write_image(folder / name, picture(COLOURS[thing], azimuth, elevation, side))
        split = "test" if thing in held_out else "train"
        rows.append([name, thing, azimuth, elevation, split])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "object", "azimuth", "elevation", "split"])
        writer.writerows(rows)
    return folder
