"""Fingerprint of a run's config and data: whether a resumed run is the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from translate.config import Config
from translate.data.dataset import Domain
from translate.io.files import evenly_spaced

# Settings that change no weight: where things are, what is written and how often. The same pictures
# in another folder are the same data, which has its own entries.
FREE = {
    "data.root",
    "data.domains",
    "data.tests",
    "data.memory_gb",
    "evaluate",
    "train.compile",
    "train.trackers",
    "train.log_every",
    "train.score_every",
    "train.sample_every",
    "train.checkpoint_every",
}
# The length of a run may change as well: to train on for longer is what many resume for. It is
# reported, as all schedules follow it.
LENGTH = ("train.steps", "train.max_minutes")
HASHED = 256  # images of a domain that are hashed, spread over it: a tenth of a second at 256 px


def fingerprint(config: Config, domains: Sequence[Domain]) -> dict[str, Any]:
    """Describe the config and data that a run's weights follow from.

    Args:
        config: The whole config.
        domains: The images, of which some are hashed.

    Returns:
        JSON values by name: `train.seed`, `data of A` and so on.
    """
    found: dict[str, Any] = {"data.names": list(config.data.names)}
    for section, values in config.model_dump(mode="json").items():
        if section in FREE:
            continue
        named = {f"{section}.{key}": value for key, value in values.items()}
        found |= {name: value for name, value in named.items() if name not in FREE}

    for domain in domains:
        held_out = f", {len(domain.held_out)} held out" if domain.held_out else ""
        pixels = _hash([*domain.images, *domain.held_out])
        found[f"data of {domain.name}"] = f"{len(domain.images)} images{held_out}, pixels {pixels}"

    as_read: dict[str, Any] = json.loads(json.dumps(found))
    return as_read


def differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Name what differs between two fingerprints.

    What only one of them has is passed over: it is a setting that one of two versions lacks.

    Args:
        stored: That of the training state.
        now: That of the config and data which training would go on with.

    Returns:
        Lines `train.seed: 0 in the state, 1 in the config`: those that make another run of it, and
        those that change its length.
    """
    other: list[str] = []
    length: list[str] = []
    for name in now:
        if name not in stored or stored[name] == now[name]:
            continue
        where = "now" if name.startswith("data of ") else "in the config"
        lines = length if name in LENGTH else other
        lines.append(f"{name}: {stored[name]} in the state, {now[name]} {where}")
    return other, length


def _hash(images: Sequence[np.ndarray]) -> str:
    """Return some hexadecimal digits that follow from the images' sizes and pixels."""
    digest = hashlib.sha256()
    for image in evenly_spaced(images, HASHED):
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()[:12]
