"""What a step costs beside the plain transcription of the objective: slow, for a quiet machine.

The figures: python -m pytest -m slow -s tests/training/test_speed.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch

from tests._helpers.transcription import Plain, decoder_loss, encoder_loss
from translate.config import from_dict
from translate.data.augmentation import augmentations
from translate.models.networks import Model
from translate.runtime.device import choose_precision
from translate.runtime.distributed import Processes
from translate.training.step import TrainStep

BATCH = 16
BETA_NEG = 64.0
ROUNDS = 9


@pytest.mark.slow
def test_a_step_costs_a_part_of_the_plain_transcription(capsys: pytest.CaptureFixture[str]) -> None:
    """Updates of encoder and decoder on one thread, rounds interleaved; medians."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = {"transcription": plain_step(), "float32": step("32"), "bf16": step("bf16")}
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(ROUNDS + 2):
            for name, run in steps.items():
                begun = time.perf_counter()
                run()
                if turn >= 2:
                    seconds[name].append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(threads)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    with capsys.disabled():
        print()
        for name, median in medians.items():
            print(f"{name:14} {1000 * median:6.0f} ms   {median / medians['transcription']:.2f}")
    assert medians["float32"] <= 0.6 * medians["transcription"]
    if choose_precision("auto", torch.device("cpu")) == torch.bfloat16:
        assert medians["bf16"] <= 0.35 * medians["transcription"]


def step(precision: str) -> Callable[[], None]:
    """Return a step as the trainer makes it."""
    train_step = TrainStep(
        from_dict({"train": {"precision": precision}}), Processes(torch.device("cpu"))
    )
    x = torch.randint(0, 256, (2 * BATCH, 3, 32, 32), dtype=torch.uint8)

    def run() -> None:
        train_step.gradients(x, 0, BETA_NEG)
        train_step.update(0, 1e-3)

    return run


def plain_step() -> Callable[[], None]:
    """Return a step that computes L_E and L_D each from the start, as the equations stand."""
    torch.manual_seed(0)
    config = from_dict({})
    model = Model(config)
    y = torch.arange(2).repeat_interleave(BATCH)
    x = torch.rand(2 * BATCH, 3, 32, 32) * 2 - 1
    plain = Plain(config.objective, augmentations(config.augment), model, BETA_NEG)
    optimizers = [torch.optim.Adam(p.parameters(), 1e-3, (0.5, 0.99)) for p in model.children()]

    def run() -> None:
        losses = encoder_loss(plain, x, y, 1 - y), decoder_loss(plain, x, y, 1 - y)
        for network, loss in zip(model.children(), losses, strict=True):
            parameters = list(network.parameters())
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        for optimizer in optimizers:
            optimizer.step()

    return run
