"""A tiny model of photographs really trains: colours change, detail stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests._helpers.trainings import settings
from translate.data.dataset import Domain
from translate.io.images import UInt8
from translate.io.tensors import images_from_pixels
from translate.models.checkpoint import load_model
from translate.presets import in_place
from translate.training.trainer import Trainer

SIDE = 16
WARM = np.array([1.0, 0.8, 0.6])
COLD = np.array([0.6, 0.8, 1.0])


def textures(n: int, colour: np.ndarray, seed: int) -> list[UInt8]:
    """Grain on smooth light, in one colour."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(80, 200, (n, 1, 1, 1))
    grain = rng.uniform(-50, 50, (n, SIDE, SIDE, 1))
    return list(((light + grain) * colour).clip(0, 255).astype(np.uint8))


def fine(x: Tensor) -> Tensor:
    """What differs from pixel to pixel, in gray."""
    gray = x.mean(1, keepdim=True)
    return (gray - F.avg_pool2d(gray, 3, 1, 1)).flatten()


def test_colours_change_and_detail_stays(tmp_path: Path) -> None:
    chosen = in_place(SIDE, 3, detail=True)
    model = {**chosen["model"], "width": 8, "style_dim": 4, "condition": 8}
    train = {"steps": 250, "batch_size": 8, "checkpoint_every": 250, "score_every": 250}
    config = settings(
        data={"size": SIDE, "channels": 3},
        model=model,
        objective=chosen["objective"],
        augment=chosen["augment"],
        train=train,
    )
    domains = [
        Domain("A", textures(48, WARM, seed=0), {}),
        Domain("B", textures(48, COLD, seed=1), {}),
    ]
    Trainer(config, domains, tmp_path, "cpu").run()

    trained = load_model(tmp_path / "last.safetensors").model
    x = images_from_pixels(np.stack(textures(16, WARM, seed=2)))
    with torch.inference_mode():
        y = trained.translate(x, 0, 1)

    def warmth(images: Tensor) -> float:
        red, _, blue = images.mean((0, 2, 3)).tolist()
        return red - blue

    assert warmth(x) > 0.3
    assert warmth(y) < 0.1, "as B, whose blue is above its red"
    likeness = torch.corrcoef(torch.stack([fine(x), fine(y)]))[0, 1].item()
    assert likeness > 0.9
