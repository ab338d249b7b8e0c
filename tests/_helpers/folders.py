"""What tests share: noise, a small model, files of noise, and what lies in a folder afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests._helpers.small_model import save
from translate.inference.translator import Translator
from translate.io import images
from translate.io.images import UInt8


def noise(n: int, side: int = 32, channels: int = 3, seed: int = 0) -> Tensor:
    """Noise around a colour of its own for each image: uint8 (n, side, side, channels)."""
    rng = torch.Generator().manual_seed(seed)
    base = torch.randint(40, 200, (n, 1, 1, channels), generator=rng)
    noise = torch.randint(-40, 56, (n, side, side, channels), generator=rng)
    return (base + noise).to(torch.uint8)


def build(
    where: Path,
    channels: int = 3,
    seed: int = 3,
    background: tuple[int, ...] = (255, 255, 255),
    **options: Any,
) -> Translator:
    """A small model with random weights, its output depends on image, domain and style; options
    are load's.
    """
    return Translator.load(
        save(where, channels, seed=seed, background=background), "cpu", **options
    )


def draw(path: Path, width: int = 16, height: int = 16, mode: str = "RGB", seed: int = 0) -> Path:
    """A file of noise, the same for the same arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, width, height]).integers(
        0, 256, (height, width, 4), dtype=np.uint8
    )
    Image.fromarray(pixels).convert(mode).save(
        path, images.SUFFIXES.get(path.suffix.lower(), "PNG")
    )
    return path


def manifest(out: Path) -> dict[str, dict[str, Any]]:
    lines = [
        json.loads(line)
        for line in (out / "manifest.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    ]
    sources = [line["source"] for line in lines]
    assert sources == sorted(set(sources))
    return dict(zip(sources, lines, strict=True))


def files(root: Path) -> dict[str, bytes]:
    """Bytes of all files below a folder but the manifest."""
    found = [path for path in root.rglob("*") if path.is_file() and path.name != "manifest.jsonl"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


def pixels(path: Path) -> UInt8:
    return np.asarray(opened(path).convert("RGBA"))


def stack(folder: Path, size: int | None = None) -> torch.Tensor:
    files = [Image.open(path).convert("RGB") for path in sorted(folder.rglob("*.*"))]
    files = [
        file.resize((size, size), Image.Resampling.LANCZOS) if size else file for file in files
    ]
    return torch.from_numpy(np.stack([np.array(file) for file in files]))


def shorten(path: Path) -> Path:
    """A picture whose file ends too early."""
    path.write_bytes(path.read_bytes()[:60])
    return path
