"""The training state: everything that resuming needs, as safetensors. No pickle is read or written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from translate.models.checkpoint import load_tensors, save_tensors


def save_state(
    folder: Path,
    model: nn.Module,
    average: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    clock: dict[str, Any],
) -> None:
    """Writes everything that resuming needs to `folder/step_N.safetensors`; the last two are kept."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for i, optimizer in enumerate(optimizers):
        for number, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{number}.{k}": v for k, v in values.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / f"step_{clock['step']:07d}.safetensors", tensors, {"clock": json.dumps(clock)})
    for old in sorted(folder.glob("step_*.safetensors"))[:-2]:
        old.unlink()


def load_state(
    folder: Path, model: nn.Module, average: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[dict[str, Any], list[str]]:
    """Restores the newest readable state in place; returns its clock and a line for each damaged one passed over.

    Raises ValueError when there is none, or when it was made with other sizes.
    """
    complaints: list[str] = []
    for path in sorted(folder.glob("step_*.safetensors"), reverse=True):
        try:
            tensors, metadata = load_tensors(path)
            clock: dict[str, Any] = json.loads(metadata["clock"])
        except (ValueError, KeyError) as error:
            complaints.append(f"damaged training state passed over: {error}")
            continue
        try:
            for name, module in (("model.", model), ("average.", average)):
                module.load_state_dict({k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)})
            for i, optimizer in enumerate(optimizers):
                state: dict[int, dict[str, Tensor]] = {}
                for key, value in tensors.items():
                    if key.startswith(f"optimizer.{i}."):
                        _, _, number, part = key.split(".")
                        state.setdefault(int(number), {})[part] = value
                optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
                _match_layout(optimizer)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{path}: made with another model config ({str(error).splitlines()[0]}); use a new --out"
            ) from None
        return clock, complaints
    raise ValueError(f"{folder}: no training state to resume from; leave out --resume to start anew")


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lays the moments out in memory as their parameters are: fused optimizers walk both in memory order."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
