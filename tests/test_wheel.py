"""The wheel holds every module and data file, and works where there is no checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from translate.io.images import read_image

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
PACKAGES = ("translate", "pipelines")
SHIPPED = (*PACKAGES, "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree: no build folder comes into the checkout, and none counts."""
    copy = tmp_path_factory.mktemp("tree")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=copy,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    [built] = out.glob("*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """A virtual environment that holds the wheel, and a folder elsewhere to run commands from."""

    python: Path
    introshift: Path
    packages: Path
    cwd: Path

    def run(self, *command: str | Path) -> str:
        """The standard output of a command; fails with both of its outputs."""
        done = subprocess.run(
            list(command),
            cwd=self.cwd,
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def environment(self) -> Mapping[str, str]:
        """This process's environment, without what would let the checkout in."""
        return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in a fresh virtual environment, with the dependencies of this interpreter.

    They come by a .pth file, which puts their folder behind the environment's own. The .pth files
    in that folder are not read, so an editable install of the checkout does not come along.
    """
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([python, "-c", where], text=True).strip())
    assert packages.is_relative_to(home)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("\n".join(sorted(folders)) + "\n", "utf-8")

    # The console script, as an installer writes it, for the function that the wheel names.
    entry_points = configparser.ConfigParser()
    entry_points.read(next(packages.glob("introshift-*.dist-info")) / "entry_points.txt", "utf-8")
    module, function = entry_points["console_scripts"]["introshift"].split(":")
    script = scripts / "introshift"
    script.write_text(
        f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n",
        "utf-8",
    )
    return Installed(python, script, packages, tmp_path_factory.mktemp("elsewhere"))


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"translate/py.typed", "translate/evaluation/templates/report.html"} <= expected
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert expected - found == set(), "not in the wheel"
    assert found - expected == set(), "in the wheel, but not in the packages"


def test_both_packages_come_from_the_wheel(installed: Installed) -> None:
    code = "import translate, pipelines; print(translate.__file__, pipelines.__file__, sep='\\n')"
    for line in installed.run(installed.python, "-c", code).splitlines():
        assert Path(line).is_relative_to(installed.packages), line


def test_the_command_answers_without_the_checkout(installed: Installed) -> None:
    assert "translate" in installed.run(installed.python, installed.introshift, "--help")


def test_the_public_names_come_without_the_checkout(installed: Installed) -> None:
    code = "from translate import Translator; print(Translator.__module__)"
    assert installed.run(installed.python, "-c", code).strip() == "translate.inference.translator"


def test_a_picture_is_translated_without_the_checkout(installed: Installed) -> None:
    """The same picture as the golden one: nothing that the model needs was left behind."""
    inputs = installed.cwd / "inputs"
    inputs.mkdir()
    shutil.copy(GOLDEN / "inputs" / "0.png", inputs)
    model = shutil.copy(GOLDEN / "two_domains.safetensors", installed.cwd)
    out = installed.cwd / "out"
    arguments = ["translate", model, inputs, out, "--to", "B", "--style", "mean", "--device", "cpu"]
    installed.run(installed.python, installed.introshift, *arguments)
    made = read_image(out / "0.png").pixels
    golden = read_image(GOLDEN / "two_domains" / "mean" / "0.png").pixels
    assert made.shape == golden.shape
    assert abs(made.astype(int) - golden.astype(int)).max() <= 1
