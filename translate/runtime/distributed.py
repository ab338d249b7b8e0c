"""One process or several under `torchrun` or `accelerate launch`, by torch.distributed.

Each process has its share of every batch; gradients are averaged, so that all take the step that
one process would take on the whole batch. DistributedDataParallel does not fit: a step takes
gradients for the encoder and the decoder one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from translate.runtime.launch import rank_and_count

# What torchrun and `accelerate launch` set besides RANK and WORLD_SIZE.
ADDRESS = ("MASTER_ADDR", "MASTER_PORT")


class Processes:
    """This process among `count`; `rank` 0 writes the files.

    Args:
        device: where a process alone computes; of several, each takes a GPU of its own or all the
            CPU.
        alone: for work that is not shared, whatever has started this process.

    Raises:
        ValueError: the launcher's environment variables are incomplete.
    """

    def __init__(self, device: torch.device, alone: bool = False) -> None:
        remedy = "unset them to train in one process"
        self.rank, self.count = (0, 1) if alone else rank_and_count(remedy)
        self.device = device
        if self.count > 1:
            self._join()

    def _join(self) -> None:
        """Join the process group, as all processes of the launch do."""
        missing = [name for name in ADDRESS if name not in os.environ]
        if missing:
            raise ValueError(
                f"WORLD_SIZE is {self.count}, but {', '.join(missing)} is not set: start with "
                "torchrun, or unset WORLD_SIZE to train in one process"
            )

        if self.device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)
        dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

        # What the host decides is agreed on without waiting for a GPU.
        self._host = dist.new_group(backend="gloo")
        # All gradients in one piece, kept from step to step.
        self._flat = torch.empty(0, device=self.device)

    def close(self) -> None:
        """Leave the process group, without which some processes may abort at exit."""
        if self.count > 1:
            dist.destroy_process_group()

    def agree(self, *numbers: float) -> list[float]:
        """Return the largest of each number among all processes."""
        if self.count == 1:
            return list(numbers)

        largest = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=cast(dist.ProcessGroup, self._host))
        return cast(list[float], largest.tolist())

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor of any shape among all processes."""
        return value if self.count == 1 else self._averaged(value.detach().clone())

    def average_gradients(self, module: nn.Module) -> None:
        """Replace the gradients by their means among all processes, in one exchange."""
        if self.count == 1:
            return

        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        sizes = [gradient.numel() for gradient in gradients]
        self._flat = self._flat.resize_(sum(sizes))
        torch.cat([gradient.flatten() for gradient in gradients], out=self._flat)
        parts = torch.split(self._averaged(self._flat), sizes)

        shaped = [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
        torch._foreach_copy_(gradients, shaped)

    def _averaged(self, value: Tensor) -> Tensor:
        """Average over all processes, in place."""
        dist.all_reduce(value)
        return value.div_(self.count)

    def share(self, items: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
        """Return this process's part of a domain's images of a step."""
        return items[self.rank :: self.count]
