"""WebDataset shards for the tests, and what webdataset itself reads in them."""

from __future__ import annotations

import gc
import io
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import webdataset

from tests._helpers.folders import draw

PLACE = ("__url__", "__local_path__")


def pack(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """A tar of these members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
    return path


def picture(folder: Path, seed: int = 0, suffix: str = ".png") -> bytes:
    """The bytes of a small picture of noise, 12 to 20 pixels a side."""
    return draw(folder / f"drawn{suffix}", 12 + seed % 5, 20 - seed % 7, seed=seed).read_bytes()


def samples(folder: Path, count: int, start: int = 0) -> dict[str, bytes]:
    """Members of samples KEY.png, KEY.json and KEY.cls."""
    members = {}
    for i in range(start, start + count):
        members[f"{i:04}.png"] = picture(folder, i)
        members[f"{i:04}.json"] = f'{{"number": {i}}}'.encode()
        members[f"{i:04}.cls"] = str(i % 3).encode()
    return members


def contents(path: Path) -> dict[str, bytes]:
    """The members of a tar, in order."""
    with tarfile.open(path) as tar:
        found = [(info.name, tar.extractfile(info)) for info in tar]
        return {name: file.read() for name, file in found if file is not None}


def read(path: Path, *decoders: str) -> list[dict[str, Any]]:
    """The samples of a shard, as webdataset reads them."""
    data = webdataset.WebDataset(str(path), shardshuffle=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it closes no files
        found = list(data.decode(*decoders) if decoders else data)
        gc.collect()
    return [{k: v for k, v in sample.items() if k not in PLACE} for sample in found]
