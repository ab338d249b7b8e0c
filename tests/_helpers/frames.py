"""Animations of noise, and TIFFs of several pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from translate.io.images import FORMATS, UInt8

KINDS = tuple(kind for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF") if kind in FORMATS)
DURATIONS = [50, 100, 150, 200, 250]


def pictures(
    count: int = 5, has_alpha: bool = False, channels: int = 3
) -> list[tuple[UInt8, UInt8 | None]]:
    """Frames of noise, 30 x 20; with alpha they have holes, but for the third, which has none."""
    rng = np.random.default_rng(0)
    frames: list[tuple[UInt8, UInt8 | None]] = []
    for i in range(count):
        pixels = rng.integers(0, 256, (20, 30, channels), np.uint8)
        holes = rng.integers(0, 2, (20, 30), np.uint8) * np.uint8(255)
        frames.append((pixels, holes if has_alpha and i != 2 else None))
    return frames


def animation(path: Path, kind: str, has_alpha: bool = False, count: int = 5) -> Path:
    """A file of such frames, as Pillow writes it; animations are shown three times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = []
    for pixels, alpha in pictures(count, has_alpha):
        image = Image.fromarray(pixels)
        if has_alpha:
            full = np.full(pixels.shape[:2], 255, np.uint8)
            image.putalpha(Image.fromarray(full if alpha is None else alpha))
        images.append(image)
    durations = (DURATIONS * count)[:count]
    options = {
        "GIF": {"loop": 2, "duration": durations},
        "PNG": {"loop": 3, "duration": durations},
        "WEBP": {"loop": 3, "duration": durations, "lossless": True},
        "AVIF": {"duration": durations, "quality": 100, "subsampling": "4:4:4"},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }[kind]
    images[0].save(path, kind, save_all=True, append_images=images[1:], **options)
    return path


def damage(path: Path, place: int) -> None:
    """Damage the pixels of one frame of a GIF, an APNG or a TIFF."""
    with Image.open(path) as image:
        image.seek(place)
        kind = image.format
        offset = image.tag_v2[273][0] if isinstance(image, TiffImageFile) else image.tile[0][2]
    data = bytearray(path.read_bytes())
    at = offset + {"PNG": 4, "GIF": 1, "TIFF": 0}[str(kind)]
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
