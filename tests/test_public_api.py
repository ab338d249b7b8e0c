"""The public names come when they are asked for, and `import translate` alone stays light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import translate

ROOT = Path(__file__).parents[1]
HOMES = {
    "Translator": "translate.inference.translator",
    "Trainer": "translate.training.trainer",
    "Config": "translate.config",
    "load_config": "translate.config",
    "load_model": "translate.models.checkpoint",
    "EvaluationOptions": "translate.evaluation.options",
    "FolderOptions": "translate.inference.folder_options",
    "PredictorOptions": "translate.inference.predictor_options",
    "evaluate": "translate.evaluation.protocols",
    "compare": "translate.evaluation.protocols",
}


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_import_translate_imports_nothing_heavy() -> None:
    run(
        "import sys, translate\n"
        "translate.__version__, dir(translate), translate.__all__\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'PIL', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )


def test_the_config_comes_without_torch() -> None:
    run(
        "import sys\nfrom translate import Config, load_config\n"
        "heavy = {'torch', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )


@pytest.mark.parametrize(("name", "home"), HOMES.items())
def test_a_public_name_is_the_object_in_its_module(name: str, home: str) -> None:
    assert getattr(translate, name) is getattr(importlib.import_module(home), name)


def test_all_and_dir_list_the_public_names() -> None:
    assert set(translate.__all__) == {*HOMES, "__version__"}
    assert set(translate.__all__) <= set(dir(translate))
    assert dir(translate) == sorted(set(dir(translate)))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Translater"):
        translate.Translater  # noqa: B018
    with pytest.raises(ImportError):
        exec("from translate import Translater")


def test_checkers_see_the_names_that_are_given_at_run_time() -> None:
    """The imports under TYPE_CHECKING name the same modules as the table that __getattr__ reads."""
    tree = ast.parse(Path(translate.__file__).read_text("utf-8"))
    seen = {
        alias.name: statement.module
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == HOMES


def test_the_version_is_a_literal() -> None:
    """The build reads `translate.__version__` from the source, without importing it."""
    tree = ast.parse(Path(translate.__file__).read_text("utf-8"))
    [value] = [
        statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id == "__version__"
    ]
    assert ast.literal_eval(value) == translate.__version__
