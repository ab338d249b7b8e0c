"""The training state: everything that resuming needs, as safetensors.

No pickle is read or written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from translate.models.checkpoint import (
    check_hash,
    content_hash,
    load_tensors,
    on_cpu,
    rename_old_tensors,
    save_tensors,
)
from translate.models.metadata import HASH

NAME = re.compile(r"step_(\d+)\.safetensors")
KEPT = 2  # states of a run: the newest, and one to go back to should it be damaged
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # Adam's values for each parameter

# Fields of TrainState that earlier versions wrote under other names.
OLD_FIELDS = {"game_step": "introspective_start", "recoveries": "rollbacks"}
# Is given a state's path, its TrainState's values and its fingerprint; returns messages to log.
StateCheck: TypeAlias = Callable[[Path, dict[str, Any], dict[str, Any] | None], list[str]]


class NoStateError(ValueError):
    """There is no training state that can be read."""


def list_states(folder: Path) -> list[Path]:
    """List the training states in a folder, the oldest first.

    Args:
        folder: The `state` folder of a run, which need not exist.

    Returns:
        Paths sorted by the number of the step: as text, 10000000 comes before 9999999.
    """
    steps: dict[Path, int] = {}
    for path in folder.glob("*"):
        match = NAME.fullmatch(path.name)
        if match is not None:
            steps[path] = int(match[1])
    return sorted(steps, key=lambda path: (steps[path], path))


def save_state(
    folder: Path,
    model: nn.Module,
    ema: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    state: dict[str, Any],
    fingerprint: Mapping[str, Any] | None = None,
) -> None:
    """Write everything that resuming needs to `folder/step_N.safetensors`; the last two are kept.

    Args:
        folder: The `state` folder of a run; it is made if it does not exist.
        model: The weights that are trained.
        ema: Their running average.
        optimizers: Adam, one for the encoder and one for the decoder.
        state: `TrainState.values()`.
        fingerprint: The config and data of the run, see fingerprint.py.
    """
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in ema.state_dict().items()}
    for i, optimizer in enumerate(optimizers):
        for number, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{number}.{k}": v for k, v in moments.items()}

    metadata = {"clock": json.dumps(state), "tensors": str(len(tensors))}
    if fingerprint is not None:
        metadata["fingerprint"] = json.dumps(fingerprint)

    tensors = on_cpu(tensors)
    metadata[HASH] = content_hash(tensors, _ordered(metadata))

    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / f"step_{state['step']:07d}.safetensors", tensors, metadata)
    for old in list_states(folder)[:-KEPT]:
        old.unlink()


def load_state(
    folder: Path,
    model: nn.Module,
    ema: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    check: StateCheck | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Restore the newest whole state in place.

    Nothing is changed before the whole state has been read and checked.

    Args:
        folder: The `state` folder of a run.
        model: Takes the weights.
        ema: Takes their running average.
        optimizers: Take their moments.
        check: Called with a state's path, its `TrainState.values()` and its fingerprint (None in
            older states). It returns messages to log, and raises ValueError where training must
            not go on from that state.

    Returns:
        `TrainState.values()`, and messages to log: one for each damaged state that was passed
        over, and those of `check`.

    Raises:
        NoStateError: When there is no state, or none that is whole.
        ValueError: When it was made with other sizes, or by `check`.
    """
    messages: list[str] = []
    for path in reversed(list_states(folder)):
        try:
            tensors, state, fingerprint = _read(path, optimizers)
        except ValueError as error:
            messages.append(f"damaged training state passed over: {error}")
            continue
        if check is not None:
            messages += check(path, state, fingerprint)
        _check_sizes(path, tensors, model, ema, optimizers)
        _restore(tensors, model, ema, optimizers)
        return state, messages

    damaged = "".join(f"{message}\n" for message in messages)
    raise NoStateError(
        f"{damaged}{folder}: no training state to resume from; leave out --resume to start anew"
    )


def _restore(
    tensors: dict[str, Tensor],
    model: nn.Module,
    ema: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Load a state's tensors, which are known to fit."""
    model.load_state_dict(_below("model.", tensors))
    ema.load_state_dict(_below("average.", tensors))
    for i, optimizer in enumerate(optimizers):
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": _moments(i, tensors), "param_groups": groups})
        _match_layout(optimizer)


def _read(
    path: Path, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any] | None]:
    """Read a state's tensors, values and fingerprint. Raises ValueError where it is damaged."""
    tensors, metadata = load_tensors(path)
    check_hash(path, tensors, _ordered(metadata))
    tensors = rename_old_tensors(tensors)
    state, fingerprint, count = _read_metadata(path, metadata)

    # older states do not say how many tensors they hold
    if count is not None and count != len(tensors):
        raise ValueError(f"{path}: holds {len(tensors)} of {count} tensors")
    for i, optimizer in enumerate(optimizers):
        _check_moments(path, tensors, i, optimizer, trained=state["step"] > 0)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {name} is not finite")
    return tensors, state, fingerprint


def _ordered(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata in the order of their names: safetensors keeps none."""
    return dict(sorted(metadata.items()))


def _read_metadata(
    path: Path, metadata: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any] | None, int | None]:
    """Read a state's values, fingerprint and number of tensors. Raises ValueError if damaged."""
    try:
        stored = json.loads(metadata["clock"])
        state = {OLD_FIELDS.get(name, name): value for name, value in stored.items()}
        fingerprint = json.loads(metadata.get("fingerprint", "null"))
        count = int(metadata["tensors"]) if "tensors" in metadata else None
        step = state["step"]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{path}: its metadata cannot be read") from None
    if type(step) is not int or step < 0 or not isinstance(fingerprint, dict | None):
        raise ValueError(f"{path}: its metadata cannot be read")
    return state, fingerprint, count


def _check_moments(
    path: Path,
    tensors: dict[str, Tensor],
    index: int,
    optimizer: torch.optim.Optimizer,
    trained: bool,
) -> None:
    """Raise ValueError where moments of an optimizer are missing, as all may be before a step."""
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    try:
        moments = _moments(index, tensors)
    except ValueError:
        raise ValueError(f"{path}: an optimizer's moments have unknown names") from None
    whole = all(values.keys() >= MOMENTS for values in moments.values())
    if not whole or (trained and count > 0 and not moments):
        raise ValueError(f"{path}: moments of an optimizer are missing")


def _check_sizes(
    path: Path,
    tensors: dict[str, Tensor],
    model: nn.Module,
    ema: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Raise ValueError where a state's tensors are not those of the model, by name and shape."""
    required = {f"model.{name}": value.shape for name, value in model.state_dict().items()}
    required |= {f"average.{name}": value.shape for name, value in ema.state_dict().items()}
    optional: dict[str, torch.Size] = {}
    for i, optimizer in enumerate(optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for number, parameter in enumerate(parameters):
            for part in ("exp_avg", "exp_avg_sq"):
                optional[f"optimizer.{i}.{number}.{part}"] = parameter.shape
            optional[f"optimizer.{i}.{number}.step"] = torch.Size()

    reason = _misfit(tensors, required, optional)
    if reason:
        raise ValueError(f"{path}: made with another model config ({reason}); use a new --out")


def _misfit(
    tensors: dict[str, Tensor], required: dict[str, torch.Size], optional: dict[str, torch.Size]
) -> str:
    """Name the first tensor that is missing, unknown or of another shape; empty if all fit."""
    expected = required | optional
    for name, tensor in tensors.items():
        shape = expected.get(name)
        if shape != tensor.shape:
            found = "is not in the model" if shape is None else f"is {tuple(shape)} in the model"
            return f"{name}, {tuple(tensor.shape)} in the state, {found}"
    missing = required.keys() - tensors.keys()
    return f"{min(missing)} is not in the state" if missing else ""


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _moments(optimizer: int, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return an optimizer's state by a parameter's number. Raises ValueError for other names."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(f"optimizer.{optimizer}.", tensors).items():
        number, part = key.split(".")
        moments.setdefault(int(number), {})[part] = value
    return moments


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lay the moments out in memory as their parameters are.

    Fused optimizers walk both in memory order.
    """
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
