"""The wheel holds every module and data file, and works where there is no checkout."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from tests._helpers.wheel import PACKAGES, ROOT, Installed, build_wheel, install
from translate.io.images import read_image

GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(wheel, tmp_path_factory.mktemp("venv"), tmp_path_factory.mktemp("elsewhere"))


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {
        "translate/py.typed",
        "translate/evaluation/templates/report.html",
        "translate/zoo/typefaces/model.safetensors",
    } <= expected
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert expected - found == set(), "not in the wheel"
    assert found - expected == set(), "in the wheel, but not in the packages"


def test_both_packages_come_from_the_wheel(installed: Installed) -> None:
    code = "import translate, pipelines; print(translate.__file__, pipelines.__file__, sep='\\n')"
    for line in installed.run(installed.python, "-c", code).splitlines():
        assert Path(line).is_relative_to(installed.packages), line


def test_the_command_answers_without_the_checkout(installed: Installed) -> None:
    assert "translate" in installed.introshift("--help")


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
    installed.introshift(*arguments)
    made = read_image(out / "0.png").pixels
    golden = read_image(GOLDEN / "two_domains" / "mean" / "0.png").pixels
    assert made.shape == golden.shape
    assert abs(made.astype(int) - golden.astype(int)).max() <= 1
