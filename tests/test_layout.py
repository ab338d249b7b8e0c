"""The architecture: imports only go down, and what must start fast imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = {
    "PIL",
    "albumentations",
    "jinja2",
    "kornia",
    "lpips",
    "matplotlib",
    "numpy",
    "torch",
    "torch_fidelity",
    "torchvision",
}


def test_imports_only_go_down() -> None:
    """The contracts in pyproject.toml: none imports a room or a command beside or above it."""
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout


COMMANDS = (
    "--version",
    "--help",
    "translate --help",
    "train --help",
    "swap --help",
    "plot --help",
    "toy2d --help",
    "init --help",
    "settings --help",
    "reconstruct --help",
    "status --help",
    "bench translate --help",
    "bench cars3d --help",
)


def test_help_imports_nothing_heavy() -> None:
    """In one process, one after the other: whatever the first of them imports is noticed."""
    code = f"""
import sys
from pipelines.cli import app
for words in {COMMANDS}:
    try:
        app(words.split())
    except SystemExit as end:
        assert not end.code, words
    found = {HEAVY} & set(sys.modules)
    assert not found, (words, found)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_the_config_floor_imports_no_torch() -> None:
    code = "import sys, translate.config, translate.io.images, translate.data.inspection\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
