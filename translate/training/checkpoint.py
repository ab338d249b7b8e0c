"""The training state: everything that resuming needs, as safetensors. No pickle is read or
written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from translate.models.checkpoint import load_tensors, rename_old_tensors, save_tensors

NAME = re.compile(r"step_(\d+)\.safetensors")
KEPT = 2  # states of a run: the newest, and one to go back to should it be damaged
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # Adam's values for each parameter


# Fields of TrainState that earlier versions wrote under other names.
OLD_FIELDS = {"game_step": "introspective_start", "recoveries": "rollbacks"}
# Is given a state's path, clock and fingerprint, and returns lines for the user.
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
    found = [(match, path) for path in folder.glob("*") if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted((int(match[1]), path) for match, path in found)]


def save_state(
    folder: Path,
    model: nn.Module,
    ema: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    clock: dict[str, Any],
    fingerprint: Mapping[str, Any] | None = None,
) -> None:
    """Write everything that resuming needs to `folder/step_N.safetensors`; the last two are kept.

    Args:
        folder: The `state` folder of a run; it is made if it does not exist.
        model: The weights that are trained.
        average: Their running ema.
        optimizers: Adam, one for each player.
        clock: `TrainState.values()`.
        fingerprint: The config and data of the run, see fingerprint.py.
    """
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in ema.state_dict().items()}
    for i, optimizer in enumerate(optimizers):
        for number, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{number}.{k}": v for k, v in values.items()}
    metadata = {"clock": json.dumps(clock), "tensors": str(len(tensors))}
    if fingerprint is not None:
        metadata["fingerprint"] = json.dumps(fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / f"step_{clock['step']:07d}.safetensors", tensors, metadata)
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

    Nothing is changed before all of a state has been seen to be there and to fit.

    Args:
        folder: The `state` folder of a run.
        model: Takes the weights.
        average: Takes their running ema.
        optimizers: Take their moments.
        check: Called with a state's path, clock and fingerprint (None in older states); returns
            lines for the user, and raises ValueError where training must not go on from it.

    Returns:
        The clock, and lines for the user: one for each damaged state passed over, and `check`'s.

    Raises:
        NoStateError: When there is no state, or none that is whole.
        ValueError: When it was made with other sizes, or by `check`.
    """
    lines: list[str] = []
    for path in reversed(list_states(folder)):
        try:
            tensors, clock, fingerprint = _read(path, optimizers)
        except ValueError as error:
            lines.append(f"damaged training state passed over: {error}")
            continue
        if check is not None:
            lines += check(path, clock, fingerprint)
        _check_sizes(path, tensors, model, ema, optimizers)
        for name, module in (("model.", model), ("average.", ema)):
            module.load_state_dict(_below(name, tensors))
        for i, optimizer in enumerate(optimizers):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": _moments(i, tensors), "param_groups": groups})
            _match_layout(optimizer)
        return clock, lines
    damaged = "".join(f"{line}\n" for line in lines)
    raise NoStateError(
        f"{damaged}{folder}: no training state to resume from; leave out --resume to start anew"
    )


def _read(
    path: Path, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any] | None]:
    """Read a state's tensors, clock and fingerprint. Raises ValueError where it is damaged."""
    tensors, metadata = load_tensors(path)
    tensors = rename_old_tensors(tensors)
    try:
        clock = {
            OLD_FIELDS.get(key, key): value for key, value in json.loads(metadata["clock"]).items()
        }
        fingerprint = json.loads(metadata.get("fingerprint", "null"))
        count = int(metadata.get("tensors", len(tensors)))  # older states do not say
        steps = clock["step"]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{path}: its metadata cannot be read") from None
    if type(steps) is not int or steps < 0 or not isinstance(fingerprint, dict | None):
        raise ValueError(f"{path}: its metadata cannot be read")
    if count != len(tensors):
        raise ValueError(f"{path}: holds {len(tensors)} of {count} tensors")
    for i, optimizer in enumerate(optimizers):
        count = sum(len(group["params"]) for group in optimizer.param_groups)
        try:
            moments = _moments(i, tensors)
        except ValueError:
            raise ValueError(f"{path}: an optimizer's moments have unknown names") from None
        whole = all(values.keys() >= MOMENTS for values in moments.values())
        if not whole or (steps > 0 and count > 0 and not moments):
            raise ValueError(f"{path}: moments of an optimizer are missing")
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {name} is not finite")
    return tensors, clock, fingerprint


def _check_sizes(
    path: Path,
    tensors: dict[str, Tensor],
    model: nn.Module,
    ema: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Raise ValueError where a state's tensors are not those of the model, by name and shape."""
    wanted = {f"model.{name}": value.shape for name, value in model.state_dict().items()}
    wanted |= {f"average.{name}": value.shape for name, value in ema.state_dict().items()}
    optional: dict[str, torch.Size] = {}
    for i, optimizer in enumerate(optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for number, parameter in enumerate(parameters):
            for part in ("exp_avg", "exp_avg_sq"):
                optional[f"optimizer.{i}.{number}.{part}"] = parameter.shape
            optional[f"optimizer.{i}.{number}.step"] = torch.Size()
    expected = wanted | optional
    for name, tensor in tensors.items():
        shape = expected.get(name)
        if shape != tensor.shape:
            found = "is not in the model" if shape is None else f"is {tuple(shape)} in the model"
            reason = f"{name}, {tuple(tensor.shape)} in the state, {found}"
            break
    else:
        missing = wanted.keys() - tensors.keys()
        if not missing:
            return
        reason = f"{min(missing)} is not in the state"
    raise ValueError(f"{path}: made with another model config ({reason}); use a new --out")


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _moments(optimizer: int, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The state of an optimizer, by a parameter's number. Raises ValueError for other names."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(f"optimizer.{optimizer}.", tensors).items():
        number, part = key.split(".")
        state.setdefault(int(number), {})[part] = value
    return state


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lays the moments out in memory as their parameters are: fused optimizers walk both in memory
    order.
    """
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
