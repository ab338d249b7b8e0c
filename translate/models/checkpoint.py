"""The model file: safetensors with the averaged weights, the whole config and a training summary.

No pickle is read or written: a model is rebuilt from its one file, which may come from a stranger.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from translate.config import Config
from translate.io.files import PathLike, atomic, sha256
from translate.models.metadata import (
    FORMAT,
    HASH,
    KEY,
    describe_config,
    model_file,
    parse_metadata,
)
from translate.models.networks import Model

# Tensors that earlier versions wrote under other names.
OLD_TENSOR_NAMES = (
    (re.compile(r"\bbeside\b"), "encoder_blocks"),
    (re.compile(r"\bbottom\b"), "middle"),
    (re.compile(r"\bdecoder\.frames\b"), "decoder.domain_affine"),
)


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    Attributes:
        model: On the CPU, in evaluation mode, without gradients.
        config: All settings that it was trained with.
        summary: Facts about its training, as `training` writes them.
        sha256: Of the file's bytes, in hexadecimal.
    """

    model: Model
    config: Config
    summary: dict[str, Any]
    sha256: str


class SkipInitialization(TorchFunctionMode):
    """A mode in which modules leave their tensors as they are instead of initializing them.

    On the meta device there is nothing to initialize, but torch would import its compiler for it,
    which takes a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Return the tensor unchanged for an initializer; call any other function."""
        kwargs = kwargs or {}
        draws = func in (Tensor.normal_, Tensor.uniform_)
        if draws or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def default_style(summary: dict[str, Any], domain: str) -> str:
    """Return the style that validation recommended for translations to a domain.

    Args:
        summary: The training summary of a model file.
        domain: Name of the target domain.

    Returns:
        "mean", "random" or "keep"; "mean" where the summary has no recommendation.
    """
    styles = summary.get("styles")
    style = styles.get(domain) if isinstance(styles, dict) else None
    return style if style in ("random", "keep") else "mean"


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU, contiguous, without gradients."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    data = save(on_cpu(tensors), metadata)
    with atomic(path, durable=True) as partial:
        partial.write_bytes(data)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file.

    Returns:
        Its tensors by name, and its metadata.

    Raises:
        ValueError: If there is no such file or it is no safetensors file, in one line.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a readable safetensors file ({reason})") from None


def content_hash(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of tensors and of what is said of them, in hexadecimal.

    Args:
        tensors: By name, on the CPU; names, types, shapes and values count.
        facts: What JSON can hold; HASH among them does not count.
    """
    counted = {name: fact for name, fact in facts.items() if name != HASH}
    digest = hashlib.sha256(json.dumps(counted).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_hash(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Compare what was read with the hash among the facts; older files have none.

    Raises:
        ValueError: Where it is not what was written.
    """
    if HASH in facts and facts[HASH] != content_hash(tensors, facts):
        raise ValueError(
            f"{path}: damaged: its content is not what was written (SHA-256); copy it again"
        )


def rename_old_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under today's names.

    Args:
        tensors: Weights by name, as a model file or a training state of any version has them.

    Returns:
        The same tensors, in the same order.
    """
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in OLD_TENSOR_NAMES:
            name = old.sub(new, name)
        renamed[name] = tensor
    return renamed


def save_model(path: Path, model: nn.Module, config: Config, summary: dict[str, Any]) -> None:
    """Write the model file, whole or not at all.

    Config and summary are JSON under one key of the metadata: safetensors keeps several keys in
    random order, and equal models should be equal files.

    Args:
        path: The file to write.
        model: The model with the averaged weights.
        config: All its settings.
        summary: Facts about its training that JSON can hold.
    """
    about = {"format": FORMAT, **describe_config(path, config), "summary": summary}
    tensors = on_cpu(model.state_dict())
    # as they will be read: JSON makes lists of tuples
    about[HASH] = content_hash(tensors, json.loads(json.dumps(about)))
    save_tensors(path, tensors, {KEY: json.dumps(about)})


def load_model(path: PathLike) -> ModelFile:
    """Rebuild a model from its file alone.

    Args:
        path: A model file, or the run folder that holds one.

    Raises:
        ValueError: If the file is missing, damaged or no model file, in one line.
    """
    path = model_file(path)
    tensors, metadata = load_tensors(path)
    config, summary, about = parse_metadata(path, metadata)
    check_hash(path, tensors, about)
    tensors = rename_old_tensors(tensors)

    # Until the tensors are known to fit the sizes in the file, which may come from a stranger, no
    # memory is allocated for these. And no random numbers are drawn.
    with torch.device("meta"), SkipInitialization():
        model = Model(config)
    expected = {name: (value.shape, value.dtype) for name, value in model.state_dict().items()}
    found = {name: (value.shape, value.dtype) for name, value in tensors.items()}
    if found != expected:
        raise ValueError(
            f"{path}: the weights do not fit the config inside the file; "
            "it is damaged or from another version"
        )
    if not all(math.isfinite(tensor.float().abs().sum().item()) for tensor in tensors.values()):
        raise ValueError(
            f"{path}: the weights are not finite; the file is damaged or its training diverged"
        )

    model.load_state_dict(tensors, assign=True)
    return ModelFile(model.eval().requires_grad_(False), config, summary, sha256(path))
