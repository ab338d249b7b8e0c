"""How much a computation is, and how much this machine can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.bench._timer import benchmark_timer

if TYPE_CHECKING:
    import torch

MATRIX = 2048  # side of the matrices that measure a CPU
MATRIX_ON_CARD = 8192  # of those that measure a card: smaller ones do not fill it
MATRIX_ROUNDS = 10


def gflop(work: Callable[[], object]) -> float:
    """Count the GFLOP of what `work` computes, gradients included."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9


def matrix_gflops(device: torch.device, dtype: torch.dtype) -> float:
    """Measure GFLOP/s of the best of several products of square matrices."""
    import torch

    side = MATRIX_ON_CARD if device.type == "cuda" else MATRIX
    a = torch.rand(side, side, device=device, dtype=dtype)
    b = torch.rand(side, side, device=device, dtype=dtype)
    timer = benchmark_timer("a @ b", a=a, b=b)
    seconds = min(timer.timeit(1).mean for _ in range(MATRIX_ROUNDS))
    return 2e-9 * side**3 / seconds
