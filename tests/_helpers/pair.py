"""What a pair of processes does for tests: `python -m tests._helpers.pair FOLDER CONFIG PORT...`.

Processes start slowly, so that one pair does all of it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tests._helpers.commands import call
from tests._helpers.trainings import bars, settings
from translate.models.distributions import Gaussian
from translate.runtime.distributed import Processes
from translate.training import timing
from translate.training.trainer import Trainer


@contextmanager
def without_noise() -> Iterator[None]:
    """Take means for samples, and zeros for noise, which each process draws by itself."""
    sample = Gaussian.sample
    randn_like = torch.randn_like
    Gaussian.sample = lambda q: q.mu  # type: ignore[method-assign]
    torch.randn_like = torch.zeros_like
    yield
    Gaussian.sample = sample  # type: ignore[method-assign]
    torch.randn_like = randn_like


@without_noise()
def save_gradients(folder: Path) -> Processes:
    """Save the gradients of a step as FOLDER/COUNT_RANK.pt, of this process among its launch's."""
    changes = ("content_affine", "content_warp", "energy_shift", "energy_cutout")
    config = settings(
        augment=dict.fromkeys(changes, 0.0),
        model={"style_dropout": 0.0},
        train={"batch_size": 4, "warmup": 0.0},
    )
    trainer = Trainer(config, bars(config), folder / "run", "cpu")
    trainer.train_step.optimizers = []
    trainer.train_step.networks = ()
    trainer.step(trainer.batches.batch(0))
    gradients = {name: p.grad for name, p in trainer.train_step.model.named_parameters()}
    processes = trainer.processes
    torch.save(gradients, folder / f"{processes.count}_{processes.rank}.pt")
    processes.close()
    return processes


def train(config: Path, run: Path, port: str, *more: str) -> None:
    """Train; the second process waits at the port for the first."""
    os.environ["MASTER_PORT"] = port
    code, _, err = call("train", config, "--out", run, "--device", "cpu", *more)
    assert code == 0, err


def main(folder: Path, config: Path, whole_port: str, resumed_port: str) -> None:
    """Save gradients, train FOLDER/trained, and train its second half once more.

    The model of the first training is kept as FOLDER/whole.safetensors.
    """
    timing.BUDGET = 0.1  # as in conftest.py
    rank = save_gradients(folder).rank
    run = folder / "trained"
    train(config, run, whole_port)
    if rank == 0:
        shutil.copy(run / "model.safetensors", folder / "whole.safetensors")
        for path in (run / "state").glob("step_0000008*"):
            path.unlink()  # as if it had been killed after step 4
    train(config, run, resumed_port, "--resume")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
