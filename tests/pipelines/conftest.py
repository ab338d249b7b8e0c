"""A trained model for the tests of the commands, made by the commands themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests._helpers.commands import call, fill, tiny


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, the config my.yaml and the run folder run/; tests only read it."""
    root = tmp_path_factory.mktemp("cli")
    for split in ("trainA", "trainB", "testA", "testB"):
        fill(root / "data" / split)
    folders = [root / "data" / name for name in ("trainA", "trainB")]
    code, _, err = call("init", *folders, "-o", root / "my.yaml")
    assert code == 0, err
    code, out, err = call("train", root / "my.yaml", "--out", root / "run", "--json", *tiny())
    assert code == 0, err
    assert json.loads(out)["step"] == 4
    assert "step 2" in err
    return root


@pytest.fixture
def model(trained: Path) -> Path:
    return trained / "run" / "model.safetensors"
