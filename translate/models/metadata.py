"""What a model file says of itself, read from its header alone: no torch, and no weights in
memory.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.config import Config, ConfigError, from_dict

KEY = "introshift"
FORMAT = "introshift-1"

MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors library


@dataclass(frozen=True)
class ModelInfo:
    """The header of a model file: its config, training summary and the shapes of its tensors."""

    config: Config
    summary: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """The learned numbers; the domains' frames, set from the data, are none of them."""
        return sum(
            math.prod(shape)
            for name, shape in self.shapes.items()
            if name != "decoder.domain_affine"
        )


def parse_metadata(path: Path, metadata: dict[str, str]) -> tuple[Config, dict[str, Any]]:
    """Check the metadata of a model file.

    Args:
        path: the file, for messages.
        metadata: the safetensors metadata, in which KEY holds JSON.

    Returns:
        The config and the training summary.

    Raises:
        ValueError: if the file is no introshift model or its metadata is damaged, in one line.
    """
    try:
        about = json.loads(metadata.get(KEY, "{}"))
        found = about.get("format")
        if found != FORMAT:
            raise ValueError(
                f"{path}: not an introshift model (format {found!r}, expected {FORMAT!r}); give a model.safetensors"
            )
        return from_dict(about["config"]), dict(about["summary"])
    except (
        KeyError,
        TypeError,
        AttributeError,
        json.JSONDecodeError,
        ConfigError,
        RecursionError,
    ) as error:
        raise ValueError(f"{path}: damaged model metadata ({str(error).splitlines()[0]})") from None


def read_info(path: Path) -> ModelInfo:
    """Read the header of a model file; the weights are neither read nor checked.

    Raises:
        ValueError: if the file is missing, cut short, no safetensors file or no introshift
            model, in one line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    header = _read_header(path)
    config, summary = parse_metadata(path, header.pop("__metadata__", {}))
    return ModelInfo(
        config, summary, {name: tuple(entry["shape"]) for name, entry in header.items()}
    )


def _read_header(path: Path) -> dict[str, Any]:
    """The JSON object at the start of a safetensors file, after its length as 8 bytes,
    little-endian.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(MAX_HEADER, size - 8):
                raise ValueError("the length of its header is wrong")
            header = json.loads(file.read(length))
        _check_header(header, size - 8 - length)
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a readable safetensors file ({reason})") from None
    found: dict[str, Any] = header
    return found


def _check_header(header: object, data_size: int) -> None:
    """Raise ValueError unless all entries have their types and the tensors fill the bytes after
    the header.
    """
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    metadata = header.get("__metadata__", {})
    if not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise ValueError("its metadata are not strings")
    end = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        entry = entry if isinstance(entry, dict) else {}
        offsets = entry.get("data_offsets", [])
        if not (_are_sizes(entry.get("shape")) and _are_sizes(offsets) and len(offsets) == 2):
            raise ValueError(f"tensor {name!r} has no valid shape or place")
        end = max(end, offsets[1])
    if end != data_size:
        raise ValueError("it is cut short or has bytes that belong to no tensor")


def _are_sizes(found: Any) -> bool:
    return isinstance(found, list) and all(type(number) is int and number >= 0 for number in found)
