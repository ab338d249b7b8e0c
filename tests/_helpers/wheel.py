"""The package as users get it: its wheel, in a virtual environment without the checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("translate", "pipelines")
SHIPPED = (*PACKAGES, "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"


def build_wheel(folder: Path) -> Path:
    """Build it from a copy of the tree: no build folder comes into the checkout, and none counts.

    Args:
        folder: an empty one, to work in.
    """
    copy = folder / "tree"
    out = folder / "dist"
    for path in (copy, out):
        path.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
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
    script: Path
    packages: Path
    cwd: Path
    extra: Mapping[str, str] = field(default_factory=dict)  # variables of the environment

    def introshift(self, *words: str | Path, code: int = 0) -> str:
        """The standard output of `introshift`; fails with another exit code than `code`."""
        return self.run(self.python, self.script, *words, code=code)

    def run(self, *command: str | Path, code: int = 0) -> str:
        """The standard output of a command; fails with both of its outputs."""
        done = subprocess.run(
            list(command),
            cwd=self.cwd,
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def environment(self) -> Mapping[str, str]:
        """This process's environment, without what would let the checkout in."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**own, **self.extra}


def install(wheel: Path, home: Path, cwd: Path) -> Installed:
    """Put the wheel into a fresh virtual environment, with the dependencies of this interpreter.

    They come by a .pth file, which puts their folder behind the environment's own. The .pth files
    in that folder are not read, so an editable install of the checkout does not come along.

    Args:
        wheel: the file.
        home: folder of the environment.
        cwd: where its commands run.
    """
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
    return Installed(python, script, packages, cwd)
