"""The header of a model file, read alone: without torch, and without weights in memory."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.config import Config, ConfigError, from_dict
from translate.io.address import WEB, address_of, join, scheme_of
from translate.io.hub import HubAddress, download, is_on_hub
from translate.zoo import SHIPPED

KEY = "introshift"
FORMAT = "introshift-1"
HASH = "sha256"  # of the content, among the metadata of model files and training states
# what the config's folders are relative to; in files of earlier versions: to the current folder
FOLDERS = "folders"
FROM_FILE = "from this file"

# in a run folder: the step that validation kept, and the last one
RUN_MODEL = "model.safetensors"
LAST_MODEL = "last.safetensors"

MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors library


@dataclass(frozen=True)
class ModelInfo:
    """The header of a model file: its config, training summary and the shapes of its tensors."""

    config: Config
    summary: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """Number of learned parameters; the domains' affines, set from the data, do not count."""
        learned = [shape for name, shape in self.shapes.items() if name != "decoder.domain_affine"]
        return sum(math.prod(shape) for shape in learned)


def model_file(path: str | os.PathLike[str]) -> Path:
    """Return the model file that a path means: a run folder stands for its model.

    The name of a model that comes with the package stands for that, unless it means one here.
    hf://USER/NAME stands for the model of that repository on a hub, which is fetched, as is one at
    any other address: a file that ends with .safetensors, or lies on the web, else a run folder.

    Raises:
        ValueError: If there is none.
        StorageError: If it cannot be fetched.
    """
    if is_on_hub(path):
        return download(HubAddress.parse(str(path)), RUN_MODEL)
    address = address_of(path)
    if address is not None:
        from translate.io.cached import cached  # brings numpy

        is_file = address.endswith(Path(RUN_MODEL).suffix) or scheme_of(address) in WEB
        return cached(address if is_file else join(address, RUN_MODEL))
    path = Path(path)
    is_model = path.is_file() or (path / RUN_MODEL).is_file()
    if not is_model and str(path) in SHIPPED:
        return SHIPPED[str(path)].file
    if path.is_dir():
        if not (path / RUN_MODEL).is_file():
            raise ValueError(f"{path}: no {RUN_MODEL} in it; give a run folder or a model file")
        return path / RUN_MODEL
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; give a model file, a run folder or one of the models that come "
            f"with introshift, {', '.join(SHIPPED)}"
        )
    return path


def describe_config(path: Path, config: Config) -> dict[str, Any]:
    """Return what the metadata of a model file at `path` say about its config.

    Folders are named relative to the file, so that they are found from any current folder, and
    the names of the folders above both stay private. Where there is no such way, they are named as
    the config does.
    """
    stored = config.written_to(path.parent)
    if Path(stored.data.root or "").is_absolute():
        return {"config": config.model_dump(mode="json")}
    return {"config": stored.model_dump(mode="json"), FOLDERS: FROM_FILE}


def parse_metadata(
    path: Path, metadata: dict[str, str]
) -> tuple[Config, dict[str, Any], dict[str, Any]]:
    """Check the metadata of a model file.

    Args:
        path: The file, for messages.
        metadata: The safetensors metadata, in which KEY holds JSON.

    Returns:
        The config, the training summary, and all that KEY holds.

    Raises:
        ValueError: If the file is no introshift model or its metadata is damaged, in one line.
    """
    try:
        about = json.loads(metadata.get(KEY, "{}"))
        found = about.get("format")
        if found != FORMAT:
            raise ValueError(
                f"{path}: not an introshift model (format {found!r}, expected {FORMAT!r}); "
                "give a model.safetensors"
            )
        config = from_dict(about["config"])
        if about.get(FOLDERS) == FROM_FILE:
            config = config.read_from(path.parent)
        return config, dict(about["summary"]), about
    except (
        KeyError,
        TypeError,
        AttributeError,
        json.JSONDecodeError,
        ConfigError,
        RecursionError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: damaged model metadata ({reason})") from None


def read_info(path: Path) -> ModelInfo:
    """Read the header of a model file or of a run's; the weights are neither read nor checked.

    Raises:
        ValueError: If the file is missing, cut short, no safetensors file or no introshift
            model, in one line.
    """
    path = model_file(path)
    header = _read_header(path)
    config, summary, _ = parse_metadata(path, header.pop("__metadata__", {}))
    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    return ModelInfo(config, summary, shapes)


def _read_header(path: Path) -> dict[str, Any]:
    """Return the JSON object at the start of a safetensors file.

    Its length precedes it, in 8 bytes, little-endian.
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
    """Raise ValueError unless entries have their types and tensors fill the rest of the file."""
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")

    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) for text in metadata.values()
    ):
        raise ValueError("its metadata are not strings")

    end = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        entry = entry if isinstance(entry, dict) else {}
        offsets = entry.get("data_offsets", [])
        if not (_are_sizes(entry.get("shape")) and _are_sizes(offsets) and len(offsets) == 2):
            raise ValueError(f"tensor {name!r} has no valid shape or offsets")
        end = max(end, offsets[1])
    if end != data_size:
        raise ValueError("it is cut short or has bytes that belong to no tensor")


def _are_sizes(found: Any) -> bool:
    """Tell whether this is a list of whole numbers that are not negative; no booleans."""
    return isinstance(found, list) and all(type(number) is int and number >= 0 for number in found)
