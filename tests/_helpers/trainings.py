"""Small trainings for the tests: settings, images, runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from translate.config import Config, from_dict
from translate.data.dataset import Domain
from translate.models.checkpoint import load_tensors
from translate.training.trainer import Trainer


def settings(**sections: dict[str, object]) -> Config:
    base: dict[str, dict[str, object]] = {
        "data": {"size": 16, "channels": 1},
        "model": {"width": 8, "style_dim": 4, "condition": 8},
        "train": {
            "steps": 8,
            "batch_size": 2,
            "log_every": 2,
            "checkpoint_every": 2,
            "sample_every": 100,
            "precision": "32",
        },
    }
    return from_dict(
        {name: {**base.get(name, {}), **sections.get(name, {})} for name in {*base, *sections}}
    )


def bars(config: Config, domains: int = 2) -> list[Domain]:
    """Domain d: bars whose direction is content and whose thickness, d + 1, is the domain's."""
    size = config.data.size
    channels = config.data.channels
    made = []
    for d in range(domains):
        images = []
        for i in range(6):
            image = np.full((size, size, channels), 255, np.uint8)
            image[2 + i : 2 + i + d + 1] = 0
            images += [image, image.transpose(1, 0, 2).copy()]
        made.append(Domain("ABC"[d], images, {}))
    return made


def run(config: Config, out: Path, resume: bool = False, domains: int = 2) -> Trainer:
    trainer = Trainer(config, bars(config, domains), out, "cpu")
    trainer.run(resume)
    return trainer


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_tensors(out / "last.safetensors")[0]


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def logged() -> Iterator[list[str]]:
    """Messages that the library logs meanwhile."""
    logger = logging.getLogger("translate")
    recorder = _Recorder()
    level = logger.level
    logger.addHandler(recorder)
    logger.setLevel(logging.INFO)
    try:
        yield recorder.messages
    finally:
        logger.removeHandler(recorder)
        logger.setLevel(level)
