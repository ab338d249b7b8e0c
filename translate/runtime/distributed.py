"""One process or several under `torchrun` or `accelerate launch`, by torch.distributed.

Each process has its share of every batch; gradients are averaged, so that all take the step that
one process would take on the whole batch. DistributedDataParallel does not fit: a step takes
gradients for one player at a time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

# What torchrun and `accelerate launch` set besides WORLD_SIZE.
LAUNCHER = ("RANK", "MASTER_ADDR", "MASTER_PORT")


class Processes:
    """This process among `count`; `rank` 0 writes the files."""

    def __init__(self, device: torch.device) -> None:
        """Join the other processes, where the launcher's environment variables say that there are
        any.

        Args:
            device: Where a process alone computes; of several, each takes a GPU of its own or
                all the CPU.

        Raises:
            ValueError: Where the launcher's environment variables are incomplete.
        """
        self.rank = 0
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.device = device
        if self.count > 1:
            self._join()

    def _join(self) -> None:
        if missing := [name for name in LAUNCHER if name not in os.environ]:
            raise ValueError(
                f"WORLD_SIZE is {self.count}, but {', '.join(missing)} is not set: start with torchrun, "
                "or unset WORLD_SIZE to train in one process"
            )
        if self.device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)
        dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        self.rank = dist.get_rank()
        # What the host decides is agreed on without waiting for a GPU.
        self._host = dist.new_group(backend="gloo")
        # All gradients in one piece, kept from step to step.
        self._flat = torch.empty(0, device=self.device)

    def close(self) -> None:
        """Ends the talk between the processes, without which some of them may abort at exit."""
        if self.count > 1:
            dist.destroy_process_group()

    def agree(self, *numbers: float) -> list[float]:
        """The largest of each number among all processes."""
        if self.count == 1:
            return list(numbers)
        largest = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=cast(dist.ProcessGroup, self._host))
        return cast(list[float], largest.tolist())

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor among all processes."""
        return value if self.count == 1 else self._averaged(value.detach().clone())

    def average_gradients(self, module: nn.Module) -> None:
        """Replaces the gradients by their means among all processes, in one exchange."""
        if self.count == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        self._flat = self._flat.resize_(sum(gradient.numel() for gradient in gradients))
        flat = self._averaged(
            torch.cat([gradient.flatten() for gradient in gradients], out=self._flat)
        )
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        shaped = [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
        torch._foreach_copy_(gradients, shaped)

    def _averaged(self, value: Tensor) -> Tensor:
        """Average over all processes, in place."""
        dist.all_reduce(value)
        return value.div_(self.count)

    def share(self, items: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
        """This process's part of a domain's images of a step."""
        return items[self.rank :: self.count]
