"""The architecture: imports only go down, and what must start fast imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["translate", "--help"],
        ["train", "--help"],
        ["swap", "--help"],
        ["plot", "--help"],
        ["toy2d", "--help"],
        ["init", "--help"],
        ["settings", "--help"],
        ["reconstruct", "--help"],
        ["status", "--help"],
        ["bench", "translate", "--help"],
        ["--version"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom pipelines.cli import app\n"
        f"try: app({arguments!r})\nexcept SystemExit as end: assert not end.code\n"
        f"found = {HEAVY} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_the_config_floor_imports_no_torch() -> None:
    code = "import sys, translate.config, translate.io.images, translate.data.inspection\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
