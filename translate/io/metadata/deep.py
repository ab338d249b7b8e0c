"""Metadata in files of more than 8 bits a channel, which Pillow does not write.

Pillow writes it still, into a file of one pixel, from which it is taken over.
"""

from __future__ import annotations

import struct

from PIL import Image
from PIL.PngImagePlugin import getchunks

from translate.io.metadata.record import Metadata

PNG_HEAD = 8 + 25  # signature and first chunk: others follow
OF_PIXELS = (b"IHDR", b"IDAT", b"IEND")  # chunks of the pixels
ENTRY = 12  # bytes of an entry of a TIFF's directory


def with_metadata(kind: str, data: bytes, metadata: Metadata) -> bytes:
    """Return a file with metadata.

    Args:
        kind: PNG or TIFF.
        data: the file without; a TIFF of less than 4 GB.
        metadata: that fits the format.
    """
    if not metadata.options(kind):
        return data
    return _png(data, metadata) if kind == "PNG" else _tiff(data, metadata)


def _png(data: bytes, metadata: Metadata) -> bytes:
    """Put Pillow's chunks behind the first one."""
    added = b"".join(
        struct.pack(">L", len(content)) + name + content + checksum
        for name, content, checksum in getchunks(Image.new("L", (1, 1)), **metadata.options("PNG"))
        if name not in OF_PIXELS
    )
    return data[:PNG_HEAD] + added + data[PNG_HEAD:]


def _tiff(data: bytes, metadata: Metadata) -> bytes:
    """Add Pillow's directory at the end, then one with the entries of both, which is the first."""
    assert data[:4] == b"II*\0"
    data += bytes(len(data) % 2)
    added = metadata.directory().tobytes(len(data))
    (place,) = struct.unpack_from("<L", data, 4)
    entries = _entries(data, place) | _entries(added, 0)
    body = b"".join(entries[tag] for tag in sorted(entries))
    directory = struct.pack("<H", len(entries)) + body + bytes(4)
    added += bytes(len(added) % 2)
    start = struct.pack("<L", len(data) + len(added))
    return data[:4] + start + data[8:] + added + directory


def _entries(data: bytes, place: int) -> dict[int, bytes]:
    """Return the entries of a directory by their tags."""
    (count,) = struct.unpack_from("<H", data, place)
    starts = range(place + 2, place + 2 + ENTRY * count, ENTRY)
    entries = (data[start : start + ENTRY] for start in starts)
    return {int.from_bytes(entry[:2], "little"): entry for entry in entries}
