"""What the page knows: its folder, the models below it, those that come along and the one given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.ui.workspace import Workspace
from tests._helpers.small_model import save
from translate.zoo import SHIPPED


@pytest.fixture
def served(tmp_path: Path) -> Path:
    for place in ("runs/one", "runs/.hidden"):
        (tmp_path / "served" / place).mkdir(parents=True)
        save(tmp_path / "served" / place)
    (tmp_path / "elsewhere").mkdir()
    save(tmp_path / "elsewhere")
    (tmp_path / "served" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    return tmp_path / "served"


@pytest.fixture
def workspace(served: Path) -> Iterator[Workspace]:
    found = Workspace(served)
    yield found
    found.close()


def test_the_models_that_come_along_and_those_below(workspace: Workspace) -> None:
    assert list(workspace.models()) == [*SHIPPED, "runs/one"]
    assert workspace.model("typefaces") == SHIPPED["typefaces"].file
    assert workspace.model("runs/one") == workspace.folder / "runs" / "one" / "model.safetensors"
    assert workspace.model("runs/one/model.safetensors") == workspace.model("runs/one")


def test_a_model_given_comes_first_wherever_it_lies(served: Path) -> None:
    given = served.parent / "elsewhere"
    workspace = Workspace(served, given)
    assert next(iter(workspace.models())) == str(given)
    assert workspace.model(str(given)) == given / "model.safetensors"
    workspace.close()


@pytest.mark.parametrize("name", ["../elsewhere", "link", "/etc/passwd"])
def test_models_elsewhere_are_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(ValueError, match="name a place below"):
        workspace.model(name)


def test_a_model_is_loaded_once_and_again_when_it_has_changed(workspace: Workspace) -> None:
    first = workspace.predictor("runs/one")
    assert workspace.predictor("runs/one") is first
    assert workspace.predictor("runs/one", "native") is not first
    file = save(workspace.folder / "runs" / "one", seed=4)
    os.utime(file, ns=(1, 1))
    assert workspace.predictor("runs/one").sha256 != first.sha256


def test_pictures_of_a_domain(workspace: Workspace) -> None:
    folder = workspace.domain_folder("typefaces", "sans")
    assert folder == SHIPPED["typefaces"].examples("sans")
    assert workspace.domain_folder("runs/one", "A") is None


def test_the_scratch_folder_goes_when_it_is_closed(served: Path) -> None:
    workspace = Workspace(served)
    scratch = workspace.scratch
    assert scratch.is_dir()
    workspace.close()
    assert not scratch.exists()


def test_a_folder_and_a_model_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        Workspace(tmp_path / "none")
    with pytest.raises(ValueError, match="give a model file"):
        Workspace(tmp_path, tmp_path / "none")
