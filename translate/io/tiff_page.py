"""A page of a TIFF as a file of its own, for readers that would look through all of the file."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

import numpy as np
from PIL import TiffTags
from PIL.TiffImagePlugin import TiffImageFile

# tags
SEGMENTS = ((273, 279), (324, 325))  # offsets and lengths of strips, or of tiles
ORIENTATION = 274
POINTERS = (330, 34665, 34853, 40965)  # to other directories


def page_alone(image: TiffImageFile, file: BinaryIO) -> bytes | None:
    """Return the page that a TIFF is at as a file of its own, without its orientation.

    So that no more is read of the file than this page; None where its tags do not say where it is.
    """
    tags = image.tag_v2
    found = [pair for pair in SEGMENTS if all(tag in tags for tag in pair)]
    if not found:
        return None
    offsets, lengths = found[0]
    size = file.seek(0, os.SEEK_END)
    if len(tags[offsets]) != len(tags[lengths]) or sum(tags[lengths]) > size:
        return None
    pixels = []
    for offset, length in zip(tags[offsets], tags[lengths], strict=True):
        file.seek(offset)
        pixels.append(file.read(length))

    numbers = {tag: _whole_numbers(tags[tag]) for tag in sorted(tags)}
    numbers = {tag: known for tag, known in numbers.items() if known}
    for tag in (ORIENTATION, *POINTERS):
        numbers.pop(tag, None)
    # the header, the directory, the numbers of tags that have several, and the pixels
    behind = 8 + 2 + 12 * len(numbers) + 4
    first = behind + sum(4 * len(known) for known in numbers.values() if len(known) > 1)
    ends = np.cumsum([first, *(len(part) for part in pixels)])
    numbers[offsets] = tuple(map(int, ends[:-1]))

    order = "<" if tags.prefix == b"II" else ">"
    directory = [struct.pack(f"{order}2sHLH", tags.prefix, 42, 8, len(numbers))]
    several = []
    for tag, known in numbers.items():
        packed = struct.pack(f"{order}{len(known)}L", *known)
        if len(known) > 1:
            several.append(packed)
            packed = struct.pack(f"{order}L", behind)
            behind += 4 * len(known)
        directory.append(struct.pack(f"{order}HHL", tag, TiffTags.LONG, len(known)) + packed)
    return b"".join([*directory, bytes(4), *several, *pixels])


def _whole_numbers(value: Any) -> tuple[int, ...]:
    """Return the numbers of a tag; none where they are not such as a directory may hold."""
    numbers = value if isinstance(value, tuple) else (value,)
    fitting = all(isinstance(number, int) and 0 <= number < 1 << 32 for number in numbers)
    return numbers if fitting else ()
