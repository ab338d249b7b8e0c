"""How long a training will take on this machine: a few real steps of the very network, on noise.

Legend: n domains, B images of a domain and step, S size, C channels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from translate.config import Config, TrainConfig
from translate.data.dataset import MAX_HELD_OUT, MIN_HELD_OUT
from translate.runtime.device import choose_device
from translate.runtime.distributed import Processes
from translate.training.step import TrainStep
from translate.training.validation import REFERENCE_IMAGES, ModelSelector

BUDGET = 10.0  # seconds that the timing itself may take, whatever the network
BUDGET_SHARE = 0.05  # of a limit of minutes, that the timing may take
ROUNDS = 5  # calls of one kind that are timed at most
ENOUGH = 0.5  # seconds of one kind after which no more calls are timed
CALLS = 3  # those that have to fit into the budget, one of which is not counted
BETA_NEG = 1.0  # any value: a step costs the same
# Where a step of warm-up takes long, the others are not measured but worked out: an introspective
# step in steps of warm-up, and scoring an image in one direction in a step's share of an image.
INTROSPECTIVE_COST = 2.2
SCORE_COST = 1.4
# Measuring an image's energy, as a share of scoring its translation in one direction: one pass
# through the networks instead of four.
REFERENCE_COST = 0.25
# Of a limit of minutes, for the energies of training images, however few these are then.
REFERENCE_SHARE = 0.05
MIN_REFERENCE_IMAGES = 64


@dataclass(frozen=True)
class TrainingTime:
    """What a training costs on a machine, in seconds.

    Attributes:
        device: That computes, in words.
        precision: bf16 or fp32.
        parameters: Of the networks.
        warmup_step: A step of warm-up.
        introspective_step: A step of the introspective phase.
        score: Scoring the model on held-out images once.
        reference_images: Images of a domain whose energies are measured at the end; a limit of
            minutes may leave no time for REFERENCE_IMAGES.
        closing: What follows the last step: a score, and those energies.
        total: The steps that are left and the closing; at most `train.max_minutes`.
    """

    device: str
    precision: str
    parameters: int
    warmup_step: float
    introspective_step: float
    score: float
    reference_images: int
    closing: float
    total: float

    def least_minutes(self, before: float) -> float:
        """Return the `train.max_minutes` that leave time for one step.

        Args:
            before: Seconds that have passed when the first step begins.
        """
        return (before + self.introspective_step + self.closing) / 60


def time_training(
    config: Config,
    device: str = "auto",
    images: int | None = None,
    budget: float = BUDGET,
    done: int = 0,
    processes: int = 1,
) -> TrainingTime:
    """Time a few steps of a config's network, and work out what the whole training takes.

    Steps that are slow are timed on fewer images than a batch has, and scaled up. The process's
    random numbers stay as they are.

    Args:
        config: The whole config.
        device: auto, cpu, cuda or mps.
        images: Training images of the largest domain; None for as many as are ever measured.
        budget: Seconds that this may take. A network that needs longer for a single image of each
            domain exceeds it.
        done: Steps that need not be taken any more.
        processes: That share a batch; the time is of one with its share.

    Raises:
        ValueError: For a device that is not available.
    """
    share = max(1, config.train.batch_size // processes)
    train = config.train.model_copy(update={"batch_size": share})
    config = config.model_copy(update={"train": train})
    chosen = choose_device(device)
    gpus = [chosen] if chosen.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        trial = _Trial(config, chosen)
        return _measure(trial, config, images, budget, done)


def _measure(
    trial: _Trial, config: Config, images: int | None, budget: float, done: int
) -> TrainingTime:
    train = config.train
    held_out, trained = _measured_images(config, images)
    domains = len(config.data.names)
    directions = max(1, domains * (domains - 1))

    warmup_step = trial.seconds(trial.step(None), train.batch_size, budget / 5)
    if trial.spent < budget / 5:
        introspective_step = trial.seconds(trial.step(BETA_NEG), train.batch_size, budget / 2)
        score = trial.seconds(trial.score, held_out, budget - trial.spent, least=2)
    else:
        introspective_step = INTROSPECTIVE_COST * warmup_step
        an_image = warmup_step / train.batch_size / domains
        score = SCORE_COST * an_image * held_out * directions

    energy = REFERENCE_COST * score / held_out / directions
    # of the last model and of the best, which may be another one where there are several scores
    energies = (1 + _scores_often(train, warmup_step)) * domains * energy
    reference_images = min(trained, _affordable(train, energies))
    closing = score + reference_images * energies
    steps = _seconds_of_steps(train, done, warmup_step, introspective_step)
    scores = max(0, (train.steps - 1) // train.score_every - done // train.score_every)
    total = steps + scores * score + closing
    return TrainingTime(
        device=_in_words(trial.device),
        precision="bf16" if trial.train_step.dtype == torch.bfloat16 else "fp32",
        parameters=sum(p.numel() for p in trial.train_step.model.parameters()),
        warmup_step=warmup_step,
        introspective_step=introspective_step,
        score=score,
        reference_images=reference_images,
        closing=closing,
        total=min(total, 60 * train.max_minutes) if train.max_minutes else total,
    )


def _scores_often(train: TrainConfig, warmup_step: float) -> bool:
    """Return whether the model is scored before the end, too."""
    steps = float(train.steps)
    if train.max_minutes:
        steps = min(steps, 60 * train.max_minutes / warmup_step)
    return steps > train.score_every


def timing_budget(max_minutes: float | None) -> float:
    """Return the seconds that timing may take before a training with this limit."""
    return min(BUDGET, BUDGET_SHARE * 60 * max_minutes) if max_minutes else BUDGET


def _affordable(train: TrainConfig, energies: float) -> int:
    """Return for how many images a limit of minutes leaves time, at `energies` seconds each."""
    if not train.max_minutes:
        return REFERENCE_IMAGES
    affordable = int(REFERENCE_SHARE * 60 * train.max_minutes / energies)
    return min(REFERENCE_IMAGES, max(MIN_REFERENCE_IMAGES, affordable))


def _measured_images(config: Config, images: int | None) -> tuple[int, int]:
    """Return how many images of a domain a score translates, and how many are trained on."""
    if images is None:
        return MAX_HELD_OUT, REFERENCE_IMAGES
    held_out = min(MAX_HELD_OUT, int(config.data.held_out * images))
    if held_out < MIN_HELD_OUT:
        return min(MAX_HELD_OUT, images), images
    return held_out, images - held_out


def _seconds_of_steps(
    train: TrainConfig, done: int, warmup_step: float, introspective_step: float
) -> float:
    """Compute what the steps after `done` ones take."""
    warmup = round(train.warmup * train.steps)
    in_warmup = max(0, warmup - done)
    later = max(0, train.steps - max(warmup, done))
    return in_warmup * warmup_step + later * introspective_step


def _in_words(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device.type}, {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu, {threads} thread{'s' * (threads != 1)}"
    return device.type


class _Trial:
    """A network that is timed on noise, and thrown away.

    Attributes:
        spent: Seconds of all that was timed so far.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.device = device
        self.train_step = TrainStep(config, Processes(device, alone=True))
        data = config.data
        self.names = data.names
        self.shape = (data.channels, data.size, data.size)
        self.spent = 0.0

    def step(self, beta_neg: float | None) -> Callable[[int], Callable[[], object]]:
        """Return what makes a step on B images of each domain; without `beta_neg` of warm-up."""

        def of(count: int) -> Callable[[], object]:
            domains = len(self.names)
            self.train_step.y = torch.arange(domains, device=self.device).repeat_interleave(count)
            x = self._noise(domains * count)

            def run() -> None:
                self.train_step.gradients(x, 0, beta_neg)
                self.train_step.update(0, 0.0)

            return run

        return of

    def score(self, count: int) -> Callable[[], object]:
        """Return what scores the model on so many images of each domain."""
        images = [self._noise(count) for _ in self.names]
        selector = ModelSelector(self.names, images, images)
        return lambda: selector.score(self.train_step.ema)

    def seconds(
        self,
        work: Callable[[int], Callable[[], object]],
        count: int,
        budget: float,
        least: int = 1,
    ) -> float:
        """Time work on `count` images, or on fewer and scaled up where the budget is too small.

        Args:
            work: Takes a number of images, and returns what is to be timed.
            count: The number of images that are asked for.
            budget: Seconds that this may take.
            least: Images that the work takes at least.
        """
        start = self.spent
        seconds = self._median(work(least), budget / 4) * count / least

        left = budget - (self.spent - start)
        fitting = min(count, int(left / CALLS / seconds * count))
        if fitting <= least:
            return seconds
        return self._median(work(fitting), left) * count / fitting

    def _median(self, run: Callable[[], object], limit: float) -> float:
        """Time calls until `limit` seconds are used up; the first, a slower one, only if alone."""
        taken = [self._timed(run)]
        while len(taken) < ROUNDS and sum(taken) < limit:
            taken.append(self._timed(run))
            if sum(taken) > ENOUGH:
                break
        self.spent += sum(taken)
        return statistics.median(taken[1:] or taken)

    def _timed(self, run: Callable[[], object]) -> float:
        start = time.perf_counter()
        run()
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return max(time.perf_counter() - start, 1e-9)  # of a coarse clock

    def _noise(self, count: int) -> Tensor:
        return torch.randint(0, 256, (count, *self.shape), dtype=torch.uint8)
