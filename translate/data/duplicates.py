"""Pictures that are there twice: files of equal bytes, and pictures that look alike.

Pictures look alike where thumbnails differ by little of their own contrast: the same picture saved
anew, in another size or format, or the next frame of a film. Legend: n pictures, k values of a
thumbnail.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from translate.data.thumbnails import read_thumbnails
from translate.io.files import sha256
from translate.io.images import list_images

SIDE = 16  # pixels of a thumbnail
MOST = 4000  # pictures that are compared by their looks
SECONDS = 5.0  # that decoding them may take
# Root mean square of the difference over the standard deviation of the picture. Saved anew as JPEG
# or at half the size: below 0.04. The nearest pair of 800 photographs 0.3, of 3000 characters 0.24,
# of 650 emoji 0.07.
ALIKE = 0.05
CONTRAST = 8.0  # of 255; flatter pictures count as if they had so much
BLOCK = 500  # pictures that are compared with all at once


@dataclass(frozen=True)
class Copies:
    """Pictures of one folder that another folder has, or the same folder once more.

    Attributes:
        count: How many of the second folder's, or surplus ones of the same.
        example: A file of the first and of the second folder.
    """

    count: int
    example: tuple[Path, Path]


@dataclass(frozen=True)
class Duplicates:
    """What was found; keys are the folders' names, in the order in which they were given.

    Attributes:
        exact: (first, second) -> files of equal bytes.
        alike: The same for pictures that look alike and are no such files.
        compared: Pictures that were compared by their looks, or could not be decoded for it.
        total: All pictures.
    """

    exact: dict[tuple[str, str], Copies]
    alike: dict[tuple[str, str], Copies]
    compared: int
    total: int


def find_duplicates(folders: Mapping[str, Path], seconds: float = SECONDS) -> Duplicates:
    """Find pictures that several folders have, or one has twice.

    Args:
        folders: Name -> folder.
        seconds: How long to read files that have one size, and then to decode pictures.
    """
    names = list(folders)
    files = [
        (place, folder / path)
        for place, folder in enumerate(folders.values())
        for path in list_images(folder)
    ]
    equal = list(_equal_files([path for _, path in files], seconds))
    exact = _count(equal, files, names)

    some = read_thumbnails([path for _, path in files], SIDE, MOST, seconds)
    chosen = some.chosen
    thumbnails = some.pixels.reshape(len(chosen), 3 * SIDE**2).astype(np.float32)
    surplus = {second for _, second in equal}
    pairs = ((chosen[i], chosen[j]) for i, j in _alike(thumbnails))
    alike = [pair for pair in pairs if not surplus & set(pair)]
    return Duplicates(exact, _count(alike, files, names), some.tried, len(files))


def _equal_files(paths: Sequence[Path], seconds: float) -> Iterator[tuple[int, int]]:
    """Yield (i, j), i < j: the first file with the same bytes as the j-th, as far as time allows.

    What cannot be read is passed over: it is named where pictures are decoded.
    """
    by_size = defaultdict(list)
    for i, path in enumerate(paths):
        with suppress(OSError):
            by_size[path.stat().st_size].append(i)

    end = time.perf_counter() + seconds
    for group in by_size.values():
        first: dict[str, int] = {}
        for j in group if len(group) > 1 else ():
            if time.perf_counter() > end:
                return
            with suppress(OSError):
                i = first.setdefault(sha256(paths[j]), j)
                if i != j:
                    yield i, j


def _alike(thumbnails: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Yield (i, j), i < j: the first picture that looks like the j-th; thumbnails (n, k)."""
    if not len(thumbnails):
        return
    contrast = np.maximum(thumbnails.std(1), CONTRAST)
    centred = thumbnails - thumbnails.mean()  # smaller numbers, of which more digits are kept
    squares = np.square(centred).mean(1)
    for start in range(0, len(thumbnails), BLOCK):
        block = slice(start, start + BLOCK)
        products = centred[block] @ centred.T / centred.shape[1]
        distance = squares[block, None] + squares - 2 * products
        limit = np.square(ALIKE * np.minimum(contrast[block, None], contrast))
        rows, others = np.nonzero(distance <= limit)
        before = others < rows + start
        seen: set[int] = set()
        for j, i in zip(rows[before] + start, others[before], strict=True):
            if j not in seen:
                seen.add(int(j))
                yield int(i), int(j)


def _count(
    pairs: Iterable[tuple[int, int]], files: Sequence[tuple[int, Path]], names: Sequence[str]
) -> dict[tuple[str, str], Copies]:
    """Count pairs of files by the names of their folders; one example each."""
    found = defaultdict(list)
    for i, j in pairs:
        found[names[files[i][0]], names[files[j][0]]].append((files[i][1], files[j][1]))
    return {key: Copies(len(examples), examples[0]) for key, examples in found.items()}
