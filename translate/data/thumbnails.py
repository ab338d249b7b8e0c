"""Many pictures looked at coarsely, in limited time.

Legend: n pictures, S side of thumbnails in pixels; pixels are uint8.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from translate.io.files import evenly_spaced
from translate.io.images import ImageError, UInt8, read_thumbnail
from translate.runtime.affinity import usable_cores


class Thumbnails(NamedTuple):
    """Pictures that were decoded.

    Attributes:
        chosen: places of their paths, ascending.
        pixels: (n, S, S, 3).
        tried: how many files were opened, those that cannot be decoded among them.
    """

    chosen: list[int]
    pixels: UInt8
    tried: int


def read_thumbnails(paths: Sequence[Path], side: int, most: int, seconds: float) -> Thumbnails:
    """Decode pictures, spread over all, for so long; see `read_thumbnail`.

    Args:
        paths: of the pictures.
        side: pixels of a thumbnail.
        most: pictures to open.
        seconds: after which no other one is opened.
    """
    end = time.perf_counter() + seconds
    tried: list[int] = []

    def read(i: int) -> UInt8 | None:
        if time.perf_counter() > end:
            return None
        tried.append(i)
        try:
            return read_thumbnail(paths[i], side)
        except ImageError:
            return None

    spread = evenly_spaced(range(len(paths)), most)
    # in an order that leaves them spread where time ends
    order = [i for start in range(7) for i in spread[start::7]]
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = {
            i: seen
            for i, seen in zip(order, pool.map(read, order), strict=True)
            if seen is not None
        }
    chosen = sorted(found)
    pixels = np.zeros((len(chosen), side, side, 3), np.uint8)
    for row, i in zip(pixels, chosen, strict=True):
        row[:] = found[i]
    return Thumbnails(chosen, pixels, len(tried))
