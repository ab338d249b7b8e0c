"""The architecture: imports only go down, and what must start fast imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "__init__": 0, "config": 0, "presets": 0, "device": 0, "gaussian": 0, "files": 0, "images": 0, "sheet": 1,
    "data": 1, "augment": 1, "networks": 1, "glyphs": 1, "survey": 1, "metrics": 1, "frames": 0,
    "gallery": 2, "schedule": 1, "processes": 1, "run_folder": 1,
    "pairs": 1, "curves": 1, "swap": 2,
    "objective": 2, "checkpoint": 2, "selection": 2, "manifest": 2, "tiles": 2,
    "compiling": 2, "learner": 3,
    "energy": 2, "scoring": 3, "sampling": 3, "export": 4,
    "trainer": 3, "folder": 3, "painter": 3, "translator": 3,
    "perceptual": 4, "evaluator": 4,
    "inception": 4, "measuring": 4, "page": 5,
    "toys": 0, "toy_vae": 3, "toy_report": 4,
    "report": 5,
}  # fmt: skip
MODULES = sorted((ROOT / "translate").glob("*.py"))


def imported(path: Path) -> set[str]:
    """Names of the modules of the library that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith(("translate.", "pipelines."))}
        found |= {"pipelines" for name in names if name.split(".")[0] == "pipelines"}
    return found & ({*FLOORS, "pipelines"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_only_go_down(path: Path) -> None:
    own = FLOORS[path.stem]
    upwards = {name for name in imported(path) if FLOORS.get(name, 99) > own}
    assert not upwards, f"{path.name} (floor {own}) imports {upwards} from above"


def test_modules_of_one_floor_form_no_cycle() -> None:
    edges = {path.stem: imported(path) for path in MODULES}

    def reach(name: str, seen: frozenset[str] = frozenset()) -> None:
        assert name not in seen, f"import cycle through {name}"
        for child in edges.get(name, set()) - {"__init__"}:
            reach(child, seen | {name})

    for name in edges:
        reach(name)


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "pipelines").glob("*.py"))], ids=lambda path: path.name)
def test_files_hold_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["translate", "--help"],
        ["train", "--help"],
        ["swap", "--help"],
        ["plot", "--help"],
        ["toy2d", "--help"],
        ["reconstruct", "--help"],
        ["--version"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom pipelines.cli import app\n"
        f"try: app({arguments!r})\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'torchvision', 'kornia', 'albumentations', 'lpips', 'numpy', 'PIL', 'matplotlib'}\n"
        "heavy |= {'jinja2', 'torch_fidelity'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_the_config_floor_imports_no_torch() -> None:
    code = "import sys, translate.config, translate.images, translate.survey; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
