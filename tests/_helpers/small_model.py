"""A small model with random weights, and images, for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from translate.config import from_dict
from translate.io.images import UInt8
from translate.models.checkpoint import save_model
from translate.models.networks import Model

SIDE = 16


def save(
    folder: Path,
    channels: int = 3,
    domains: tuple[str, ...] = ("A", "B"),
    size: int = SIDE,
    seed: int = 3,
    background: tuple[int, ...] = (255, 255, 255),
    **model_options: object,
) -> Path:
    """Save a model with random weights, whose output depends on image, domain and style."""
    data = {
        "size": size,
        "channels": channels,
        "domains": {name: name for name in domains},
        "background": list(background),
    }
    sizes = {"width": 8, "style_dim": 4, "condition": 8, **model_options}
    config = from_dict({"data": data, "model": sizes})
    torch.manual_seed(seed)
    model = Model(config)

    # zero or tiny at the start of training, which would hide domain and style
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.5)

    path = folder / "model.safetensors"
    save_model(path, model, config, {"step": 7})
    return path


def noise(height: int, width: int, *channels: int, seed: int = 0) -> UInt8:
    """Pixels (height, width, *channels), the same for the same arguments."""
    rng = np.random.default_rng([seed, height, width])
    return rng.integers(0, 256, (height, width, *channels), dtype=np.uint8)
