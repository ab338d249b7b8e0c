"""Small image files of every kind, written byte by byte where Pillow cannot."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from translate.io.images import ImageError, read_image

UInt8 = NDArray[np.uint8]
RNG = np.random.default_rng(0)
PHOTO: UInt8 = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def reason(path: Path, **options: Any) -> str:
    """Why a file cannot be read: one line, without the file's name."""
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert "\n" not in str(caught.value)
    assert path.name not in str(caught.value)
    return str(caught.value)


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, transparent: bytes = b""
) -> bytes:
    """A PNG byte by byte, for what Pillow cannot write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        length = struct.pack(">I", len(body))
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return length + name + body + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    key = chunk(b"tRNS", transparent) if transparent else b""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + key
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(
    order: str, width: int, bits: int, photometric: int, sample_format: int, data: bytes
) -> bytes:
    """A TIFF of one gray row, in the byte order "<" or ">"."""
    tags = {
        256: width,
        257: 1,
        258: bits,
        259: 1,
        262: photometric,
        273: 0,
        277: 1,
        278: 1,
        279: len(data),
        339: sample_format,
    }
    tags[273] = 8 + 2 + 12 * len(tags) + 4  # where the data begins
    entries = b"".join(
        struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items()
    )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return start + struct.pack(order + "H", len(tags)) + entries + bytes(4) + data


def profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC profile, version 2.4 (ICC.1:2001-04, section 6)."""
    white = struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white, b"desc": b"desc" + bytes(8) + bytes(79), **tags}
    offset = 128 + 4 + 12 * len(tags)
    table = struct.pack(">I", len(tags))
    body = b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4xI", offset + len(body), 0x02400000) + kind
    head += space + pcs + bytes(12) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + table + body


def matrix_profile(gamma: float, order: str = "rgb") -> bytes:
    """sRGB's primaries in the order given, with a pure power for a curve."""
    primaries = {
        "r": (0.43607, 0.22249, 0.01392),
        "g": (0.38515, 0.71687, 0.09708),
        "b": (0.14307, 0.06061, 0.7141),
    }
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {f"{channel}TRC".encode(): curve for channel in "rgb"}
    for channel, primary in zip("rgb", order, strict=True):
        xyz = struct.pack(">3i", *(round(value * 65536) for value in primaries[primary]))
        tags[f"{channel}XYZ".encode()] = b"XYZ " + bytes(4) + xyz
    return profile(b"RGB ", b"XYZ ", tags)


def cmyk_profile() -> bytes:
    """A table of 2**4 colours: white without ink, black with K, gray (L* = 50) with other ink."""
    lightness = [255, *[0, 128] * 7, 0]  # K is the lowest bit
    nodes = [(value, 128, 128) for value in lightness]
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = (
        b"mft1"
        + bytes(4)
        + bytes([4, 3, 2, 0])
        + matrix
        + identity * 4
        + bytes(sum(nodes, ()))
        + identity * 3
    )
    return profile(b"CMYK", b"Lab ", {b"A2B0": table})


def srgb_curve(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1, from [0, 1] to [0, 255]."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
