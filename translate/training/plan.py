"""The size whose training ends within hours on this machine, by timing the very network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from translate.config import from_dict
from translate.data.inspection import Surveys, suggest_settings
from translate.runtime.device import choose_device
from translate.training.timing import TrainingTime, time_training

T = TypeVar("T")

HOURS = 3.0  # of training that are proposed at most
BUDGET = 5.0  # seconds that timing a network may take, where nothing else computes
LONGEST = 20.0  # seconds that it may take on a busy machine
BUSY = 0.7  # share of the time that this process computes, below which the machine is busy


@dataclass(frozen=True)
class Plan:
    """A network and what its training takes.

    Attributes:
        settings: Section -> setting -> entry, as of `suggest_settings`.
        size: The training size in pixels.
        on_cpu: Whether the CPU computes.
        time: What the training takes here, measured.
        share: How much of the machine was free for it meanwhile, in (0, 1]; 1 for GPUs.
        too_long: Larger sizes that were tried -> hours of their training.
        fitting: Sizes that the pictures have the pixels for, the largest first.
    """

    settings: dict[str, dict[str, Any]]
    size: int
    on_cpu: bool
    time: TrainingTime
    share: float
    too_long: dict[int, float]
    fitting: list[int]

    @property
    def minutes(self) -> float:
        """Minutes that the training takes where nothing else computes."""
        return self.time.total * self.share / 60


def plan_training(surveys: Surveys, size: int | None = None, device: str = "auto") -> Plan:
    """Choose the largest size that the pictures fill and whose training ends within `HOURS`.

    Args:
        surveys: What was seen of the pictures.
        size: The size to be taken, whatever it costs; None for a fitting one.
        device: auto, cpu, cuda or mps.

    Raises:
        ValueError: For a device that is not available, and a size that no network has.
    """
    on_cpu = choose_device(device).type == "cpu"
    fitting = surveys.sizes
    too_long: dict[int, float] = {}
    for tried in [size] if size else fitting:
        settings = suggest_settings(surveys, tried, on_cpu)
        took, share = _timed(settings, surveys, device)
        plan = Plan(settings, tried, on_cpu, took, share if on_cpu else 1.0, too_long, fitting)
        if plan.minutes <= 60 * HOURS:
            break
        too_long[tried] = plan.minutes / 60
    too_long.pop(plan.size, None)
    return plan


def _timed(
    settings: dict[str, dict[str, Any]], surveys: Surveys, device: str
) -> tuple[TrainingTime, float]:
    """Time a network; also return the share of the time in which it computed."""
    data = {**settings["data"], "domains": {name: name for name in surveys.domains}}
    config = from_dict({**settings, "data": data})
    most = max(seen.count for seen in surveys.domains.values())
    free = _share_of_time(_compute)[1]
    return _share_of_time(lambda: time_training(config, device, most, min(LONGEST, BUDGET / free)))


def _share_of_time(run: Callable[[], T]) -> tuple[T, float]:
    """Call a function; also return the share of its time in which this thread ran, in (0, 1].

    Where other programs keep the cores busy, it waits for the rest. (PyTorch's threads wait for
    each other by computing.)
    """
    wall = time.perf_counter()
    ran = time.thread_time()
    made = run()
    share = (time.thread_time() - ran) / max(1e-9, time.perf_counter() - wall)
    return made, min(1.0, max(share, 0.01))


def _compute(seconds: float = 0.2) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
