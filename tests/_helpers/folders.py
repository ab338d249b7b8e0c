"""Small models and files of noise for the tests, and what a folder holds afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests._helpers.small_model import save
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.io import images
from translate.io.images import UInt8


def noise(n: int, side: int = 32, channels: int = 3, seed: int = 0) -> Tensor:
    """Noise around a colour of its own for each image: uint8 (n, side, side, channels)."""
    rng = torch.Generator().manual_seed(seed)
    colour = torch.randint(40, 200, (n, 1, 1, channels), generator=rng)
    change = torch.randint(-40, 56, (n, side, side, channels), generator=rng)
    return (colour + change).to(torch.uint8)


def build(
    where: Path,
    channels: int = 3,
    seed: int = 3,
    background: tuple[int, ...] = (255, 255, 255),
    **options: Any,
) -> Translator:
    """A model of `save` on the CPU; its file is WHERE/model.safetensors, the options are load's."""
    path = save(where, channels, seed=seed, background=background)
    return Translator.load(path, "cpu", PredictorOptions(**options))


def draw(path: Path, width: int = 16, height: int = 16, mode: str = "RGB", seed: int = 0) -> Path:
    """A file of noise, the same for the same arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, width, height])
    pixels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    format = images.SUFFIXES.get(path.suffix.lower(), "PNG")
    Image.fromarray(pixels).convert(mode).save(path, format)
    return path


def manifest(out: Path) -> dict[str, dict[str, Any]]:
    """The lines of OUT/manifest.jsonl by their source, of which each has one, in order."""
    text = (out / "manifest.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
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
    """A picture's pixels (H, W, 4), with alpha."""
    return np.asarray(opened(path).convert("RGBA"))


def stack(folder: Path, size: int | None = None) -> Tensor:
    """The pictures below a folder in order of their paths, uint8 (N, H, W, 3)."""
    pictures = [opened(path).convert("RGB") for path in sorted(folder.rglob("*.*"))]
    if size is not None:
        square = (size, size)
        pictures = [picture.resize(square, Image.Resampling.LANCZOS) for picture in pictures]
    return torch.from_numpy(np.stack([np.array(picture) for picture in pictures]))


def shorten(path: Path) -> Path:
    """Cut a picture's file, so that it ends too early."""
    path.write_bytes(path.read_bytes()[:60])
    return path
