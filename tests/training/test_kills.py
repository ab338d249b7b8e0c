"""Training that is killed and resumed ends with the weights of an undisturbed run (minutes)."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from translate.models.checkpoint import load_tensors

ROOT = Path(__file__).parents[2]


def start(config: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "train",
        str(config),
        "--out",
        str(out),
        "--device",
        "cpu",
        *more,
    ]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    waits = random.Random()
    for name in ("trainA", "trainB"):
        (tmp_path / name).mkdir()
        for i in range(20):
            noise = random.Random(name + str(i)).randbytes(256)
            Image.frombytes("L", (16, 16), noise).save(tmp_path / name / f"{i}.png")
    sections = {
        "data": {"root": str(tmp_path), "size": 16, "channels": 1, "flip": 0.5, "held_out": 0.4},
        "model": {"width": 8, "style_dim": 4, "condition": 8},
        "train": {
            "steps": 900,
            "batch_size": 2,
            "log_every": 7,
            "checkpoint_every": 10,
            "score_every": 30,
        },
    }
    config = tmp_path / "c.yaml"
    whole = tmp_path / "whole"
    parts = tmp_path / "parts"
    config.write_text(yaml.safe_dump(sections))
    assert start(config, whole).wait() == 0
    kills = 0
    while kills < 20:
        states = sorted((parts / "state").glob("step_*"))
        process = start(config, parts, *(["--resume"] if states else []))
        while process.poll() is None and sorted((parts / "state").glob("step_*")) == states:
            time.sleep(0.01)
        time.sleep(waits.random() * 0.5)
        assert process.poll() is None, "it has ended before it could be killed often enough"
        process.kill()
        process.wait()
        kills += 1
    assert start(config, parts, "--resume").wait() == 0
    for file in ("model.safetensors", "last.safetensors"):
        one = load_tensors(whole / file)[0]
        other = load_tensors(parts / file)[0]
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list(parts.rglob("*.part"))
