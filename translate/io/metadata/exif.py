"""An EXIF block, changed in its place, so that all else in it stays as the camera wrote it.

Maker notes refer to bytes by their place in the block: written anew they could not be read. A block
is a small TIFF file: a head, then directories of entries of 12 bytes, each with a tag, a type, a
count and a value, or its place where it is longer than 4 bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags

PREFIX = b"Exif\0\0"  # before the block, where Pillow takes or gives one
# Bytes of a value, by its type in TIFF 6.0 and, 13, a directory's place.
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SHORT = 3
LONG = 4
ENTRY = 12
WIDTH_TAGS = (ExifTags.Base.ImageWidth, ExifTags.Base.ExifImageWidth)
HEIGHT_TAGS = (ExifTags.Base.ImageLength, ExifTags.Base.ExifImageHeight)


@dataclass
class _Entry:
    """A value of a directory.

    Attributes:
        tag: its number.
        raw: its 12 bytes.
        place: where the value lies in the block.
        size: its bytes.
    """

    tag: int
    raw: bytes
    place: int
    size: int


def corrected(block: bytes, size: tuple[int, int], turned: bool) -> tuple[bytes, int]:
    """Return an EXIF block as of a picture that is upright, of another size and no thumbnail.

    What lies behind the last value that is referred to is cut off.

    Args:
        block: EXIF, with or without its prefix.
        size: (width, height) of the upright picture.
        turned: whether its sides were exchanged on the way.

    Returns:
        The block with its prefix, and how many entries were left out as damaged.

    Raises:
        ValueError: for one that cannot be read at all.
    """
    while block.startswith(PREFIX):
        block = block[len(PREFIX) :]
    made, damaged = _edited(block, size, turned)
    # directories that overlap have overwritten each other
    if _edited(made, size, turned=False) != (made, 0):
        raise ValueError("its directories overlap")
    return PREFIX + made, damaged


def _edited(block: bytes, size: tuple[int, int], turned: bool) -> tuple[bytes, int]:
    """Return a block without its prefix corrected, and the number of damaged entries."""
    editor = _Editor(block, size, turned)
    try:
        editor.edit()
    except struct.error:
        raise ValueError("a directory lies outside of it") from None
    return bytes(editor.data[: editor.end]), editor.damaged


def without_orientation(block: bytes) -> bytes:
    """Return a corrected block without the orientation, which is then upright."""
    editor = _Editor(block[len(PREFIX) :], (0, 0), False)
    (first,) = editor.unpack("L", 4)
    entries, _ = editor.directory(first)
    kept = [entry for entry in entries if entry.tag != ExifTags.Base.Orientation]
    editor.values = {}
    editor.write(first, len(entries), kept)
    return PREFIX + bytes(editor.data)


class _Editor:
    """Walks through the directories of a block and corrects them."""

    def __init__(self, block: bytes, size: tuple[int, int], turned: bool) -> None:
        self.data = bytearray(block)
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
        if order is None:
            raise ValueError("it does not begin like EXIF")
        self.order = order
        width, height = size
        self.values = {int(ExifTags.Base.Orientation): (SHORT, 1)}
        self.values |= {int(tag): (LONG, width) for tag in WIDTH_TAGS}
        self.values |= {int(tag): (LONG, height) for tag in HEIGHT_TAGS}
        self.turned = turned
        self.end = 8
        self.damaged = 0
        self.total = 0  # bytes of all values
        self.seen: set[int] = set()

    def edit(self) -> None:
        """Correct the whole block."""
        (first,) = self.unpack("L", 4)
        entries, following = self.directory(first)
        kept = self._with_parts(entries, (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
        self._blank_thumbnail(following)
        if self.turned:
            self._exchange(kept, ExifTags.Base.XResolution, ExifTags.Base.YResolution)
        self.write(first, len(entries), kept)

    def _with_parts(self, entries: list[_Entry], parts: tuple[int, ...]) -> list[_Entry]:
        """Correct the directories that entries refer to; without those that are damaged."""
        kept = []
        for entry in entries:
            if entry.tag in parts:
                try:
                    self._part(entry)
                except (struct.error, ValueError):
                    self.damaged += 1
                    continue
            kept.append(entry)
        return kept

    def _part(self, entry: _Entry) -> None:
        (place,) = self.unpack("L", entry.place)
        entries, _ = self.directory(place)
        inner = (ExifTags.IFD.Interop,) if entry.tag == ExifTags.IFD.Exif else ()
        self.write(place, len(entries), self._with_parts(entries, inner))

    def directory(self, place: int) -> tuple[list[_Entry], int]:
        """Read a directory's entries, damaged ones too, and where the next directory lies."""
        if place in self.seen or place < 8:
            raise ValueError("its directories refer to each other")
        self.seen.add(place)
        (count,) = self.unpack("H", place)
        entries = []
        for start in range(place + 2, place + 2 + ENTRY * count, ENTRY):
            tag, kind, number = self.unpack("HHL", start)
            size = WIDTHS.get(kind, len(self.data)) * number
            where = start + 8 if size <= 4 else self.unpack("L", start + 8)[0]
            raw = bytes(self.data[start : start + ENTRY])
            if len(raw) < ENTRY:
                raise ValueError("it is cut off")
            entries.append(_Entry(tag, raw, where, size))
        stop = place + 2 + ENTRY * count
        # some writers leave out the place of the next directory at the very end
        following = self.unpack("L", stop)[0] if stop + 4 <= len(self.data) else 0
        return entries, following

    def write(self, place: int, count: int, entries: list[_Entry]) -> None:
        """Write a directory over its old one of `count` entries, without the damaged ones."""
        whole = []
        for entry in entries:
            # values that share their bytes with others are no camera's
            self.total += entry.size
            if entry.place + entry.size > len(self.data) or self.total > len(self.data):
                self.damaged += 1
                continue
            if entry.tag in self.values:
                kind, value = self.values[entry.tag]
                form = "HHLHxx" if kind == SHORT else "HHLL"
                entry.raw = struct.pack(self.order + form, entry.tag, kind, 1, value)
                entry.size = 0
            whole.append(entry)
            self.end = max(self.end, entry.place + entry.size)

        body = struct.pack(self.order + "H", len(whole)) + b"".join(entry.raw for entry in whole)
        room = 2 + ENTRY * count + 4  # the last 4: no directory follows
        self.data[place : place + room] = body.ljust(room, b"\0")
        self.end = max(self.end, place + len(body) + 4)

    def _blank_thumbnail(self, place: int) -> None:
        """Overwrite the second directory, which is a thumbnail's, and all that it refers to."""
        try:
            entries, _ = self.directory(place)
        except (struct.error, ValueError):
            return
        numbers = {}
        for entry in entries:
            if entry.size == 4:
                numbers[entry.tag] = self.unpack("L", entry.place)[0]
            self._blank(entry.place, entry.size)
        start = numbers.get(ExifTags.Base.JpegIFOffset, 0)
        # a stale place would lead to what is to be kept
        if self.data[start : start + 2] == b"\xff\xd8":
            self._blank(start, numbers.get(ExifTags.Base.JpegIFByteCount, 0))
        start = numbers.get(ExifTags.Base.StripOffsets, 0)
        self._blank(start, numbers.get(ExifTags.Base.StripByteCounts, 0))
        self._blank(place, 2 + ENTRY * len(entries) + 4)

    def _blank(self, place: int, size: int) -> None:
        if 8 <= place <= len(self.data):
            stop = min(place + size, len(self.data))
            self.data[place:stop] = bytes(stop - place)

    def _exchange(self, entries: list[_Entry], one: int, other: int) -> None:
        """Exchange the values of two entries of one type and count."""
        found = {entry.tag: entry for entry in entries if entry.tag in (one, other)}
        if len(found) == 2 and found[one].raw[2:8] == found[other].raw[2:8]:
            first, second = (entry.raw[8:] for entry in (found[one], found[other]))
            found[one].raw = found[one].raw[:8] + second
            found[other].raw = found[other].raw[:8] + first

    def unpack(self, form: str, place: int) -> tuple[Any, ...]:
        """Read numbers, as `struct` names them, in the block's byte order."""
        return struct.unpack_from(self.order + form, self.data, place)
