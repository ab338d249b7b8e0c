"""What the command line does before any command: help, version, names, completion, typos."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from pipelines.cli import app
from tests._helpers.commands import call
from translate import __version__

ROOT = Path(__file__).parents[2]
NEWCOMERS = ["try", "demo", "init", "train", "translate", "evaluate"]  # in the order of need


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it, groups included."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


ALL = list(commands(get_command(app)))


@pytest.mark.parametrize("words", [(), ("data",), ("bench",)], ids=" ".join)
def test_a_group_alone_prints_its_help(words: tuple[str, ...]) -> None:
    code, out, err = call(*words)
    assert code == 0, err
    assert "Usage: introshift" in out or "--help" in out
    assert not err
    assert out == call(*words, "-h")[1] == call(*words, "--help")[1]


def test_the_version_has_a_short_option() -> None:
    assert call("-V") == call("--version") == (0, f"{__version__}\n", "")


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_a_help_says_all_of_its_texts(
    words: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rich takes [onnx] for a tag, and leaves it out, where it is not escaped."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 1000)  # nothing is wrapped
    code, out, _ = call(*words, "--help")
    assert code == 0
    for holder in (command, *command.params):
        assert one_line(getattr(holder, "help", None) or "") in one_line(out)
    assert "\\[" not in out


def test_commands_come_in_the_order_of_need() -> None:
    _, out, _ = call("--help")
    places = [out.index(f"│ {name} ") for name in NEWCOMERS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["translat"], "'translate'"),
        (["bench", "trian"], "'train'"),
        (["train", "--resum"], "--resume"),
        (["train"], "introshift train --help"),
    ],
)
def test_a_typo_is_told_the_nearest(words: list[str], named: str) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert named in err
    assert len(err.splitlines()) == 1


def run(*words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_module_run_by_python_shows_the_command_s_name() -> None:
    assert "introshift init" in run("init", "--help")


def test_a_shell_is_told_how_to_complete() -> None:
    asked = {"COMP_WORDS": "introshift tra", "COMP_CWORD": "1"}
    names = run(_INTROSHIFT_COMPLETE="complete_bash", **asked).split()
    assert names == ["train", "translate"]
