"""What RANK and WORLD_SIZE say of this process, and what they leave open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from translate.runtime.launch import rank_and_count


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1)),
        ({"WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "4"}, (3, 4)),
    ],
)
def test_the_process_is_named(
    variables: dict[str, str], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, variables)
    assert rank_and_count("") == expected


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0"},
        {"WORLD_SIZE": "4"},
        {"WORLD_SIZE": ""},
        {"RANK": "", "WORLD_SIZE": "4"},
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"RANK": "-1", "WORLD_SIZE": "4"},
        {"RANK": "0", "WORLD_SIZE": "0"},
        {"RANK": "0", "WORLD_SIZE": "four"},
    ],
)
def test_what_names_no_process_is_refused_with_the_variables_and_a_remedy(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, variables)
    with pytest.raises(ValueError, match="use --shard 1/1") as refused:
        rank_and_count("use --shard 1/1")
    for name in ("RANK", "WORLD_SIZE"):
        found = f"{name}={variables[name]}" if name in variables else f"no {name}"
        assert found in str(refused.value)


def test_launch_and_precision_import_no_torch() -> None:
    code = "import sys, translate.runtime.launch, translate.runtime.precision\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
