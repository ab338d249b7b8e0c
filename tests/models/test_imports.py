"""What a command imports: seconds of every call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests._helpers.folders import draw
from tests._helpers.small_model import save

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch._dynamo", "sympy", "kornia", "albumentations")

# Runs a command and prints which of the modules named first it has imported.
PROGRAM = """
import sys
from pipelines.cli import app
watched = sys.argv[1].split(",")
try:
    app(sys.argv[2:])
finally:
    print("imported:", *(name for name in watched if name in sys.modules), file=sys.stderr)
"""


def imported(watched: tuple[str, ...], *words: object) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, ",".join(watched), *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("domains", [("A", "B"), ("A",)])
def test_a_translation_imports_no_compiler_and_no_augmentation(
    tmp_path: Path, domains: tuple[str, ...]
) -> None:
    options = {} if len(domains) == 2 else {"content_channels": 0}
    model = save(tmp_path, domains=domains, **options)
    draw(tmp_path / "in" / "a.png")
    choice = ["--to", "B"] if len(domains) == 2 else ["--from", "A", "--to", "A", "--style", "own"]
    words = ["translate", model, tmp_path / "in", tmp_path / "out", *choice]
    assert imported(("torch", *HEAVY), *words) == ["torch"]


def test_info_needs_no_torch(tmp_path: Path) -> None:
    assert imported(("torch", "numpy", *HEAVY), "info", save(tmp_path)) == []
