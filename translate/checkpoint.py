"""The model file (safetensors: averaged weights, the whole config and a summary) and the training state.

No pickle is read or written: a model is rebuilt from its one file, which may come from a stranger.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from translate.config import Config, ConfigError, from_dict
from translate.files import atomic
from translate.networks import Model

KEY, FORMAT = "introshift", "introshift-1"


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds: the model on the CPU in evaluation mode, its config, training summary and SHA-256."""

    model: Model
    config: Config
    summary: dict[str, Any]
    sha256: str


def usual_style(summary: dict[str, Any], domain: str) -> str:
    """What a model's training (selection.py) says for translations to a domain, "mean" or "random"; else "mean"."""
    styles = summary.get("styles")
    return "random" if isinstance(styles, dict) and styles.get(domain) == "random" else "mean"


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file, whole or not at all."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    with atomic(path) as partial:
        partial.write_bytes(data)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises ValueError in one line for any other file."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({str(error).splitlines()[0]})") from None


def save_model(path: Path, model: nn.Module, config: Config, summary: dict[str, Any]) -> None:
    """Writes the model file: weights of `model` (the average), config and summary as JSON metadata.

    All under one key: safetensors keeps several in random order, and equal models should be equal files.
    """
    about = {"format": FORMAT, "config": config.model_dump(mode="json"), "summary": summary}
    save_tensors(path, model.state_dict(), {KEY: json.dumps(about)})


def load_model(path: Path) -> ModelFile:
    """Rebuilds a model from its file alone. Raises ValueError in one line for a corrupted or foreign file."""
    tensors, metadata = load_tensors(path)
    try:
        about = json.loads(metadata.get(KEY, "{}"))
        found = about.get("format")
        if found != FORMAT:
            raise ValueError(
                f"{path}: not an introshift model (format {found!r}, expected {FORMAT!r}); give a model.safetensors"
            )
        config, summary = from_dict(about["config"]), dict(about["summary"])
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, ConfigError) as error:
        raise ValueError(f"{path}: damaged model metadata ({str(error).splitlines()[0]})") from None
    with torch.device("meta"):  # no memory for a stranger's sizes before the tensors have been seen to fit them
        model = Model(config)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if expected != {name: tensor.shape for name, tensor in tensors.items()}:
        raise ValueError(
            f"{path}: the weights do not fit the config inside the file; it is damaged or from another version"
        )
    if not all(math.isfinite(tensor.float().abs().sum().item()) for tensor in tensors.values()):
        raise ValueError(f"{path}: the weights are not finite; the file is damaged or its training diverged")
    model.load_state_dict(tensors, assign=True)
    return ModelFile(model.eval().requires_grad_(False), config, summary, sha256(path))


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


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
