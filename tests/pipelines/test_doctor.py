"""`introshift doctor`: a line a check, exit code 1 with a problem, and its remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines import doctor
from pipelines.doctor import Finding
from tests._helpers.commands import call
from translate.metrics.lpips import ENVIRONMENT
from translate.zoo import SHIPPED

NAMES = {
    "introshift",
    "python",
    "torch",
    "device",
    "processor",
    "memory",
    "temporary files",
    "cache of weights",
    "extra onnx",
    "LPIPS weights",
    "model typefaces",
    "model emoji",
}


def checks(*options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    code, out, _ = call("doctor", "--json", "--device", "cpu", *options)
    return code, {check["name"]: check for check in json.loads(out)["checks"]}


def only(monkeypatch: pytest.MonkeyPatch, *chosen: doctor.Check) -> None:
    monkeypatch.setattr(doctor, "CHECKS", chosen)


def test_everything_is_looked_at_and_nothing_is_wrong_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr(doctor, "MEASURED", 0.01)
    code, found = checks()
    assert code == 0, found
    assert found.keys() >= NAMES
    for check in found.values():
        assert check["status"] in ("ok", "note")
        assert bool(check["remedy"]) == (check["status"] == "note")


def test_a_problem_is_shown_with_its_remedy_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "/nowhere/weights.safetensors")
    only(monkeypatch, doctor._perceptual_weights)
    code, out, _ = call("doctor")
    assert code == 1
    assert "PROBLEM" in out
    assert "/nowhere/weights.safetensors" in out
    assert f"-> let {ENVIRONMENT}" in out


def test_a_damaged_model_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, doctor._shipped_models)
    changed = replace(SHIPPED["emoji"], sha256="0" * 64)
    monkeypatch.setattr(doctor, "SHIPPED", {**SHIPPED, "emoji": changed})
    code, found = checks()
    assert code == 1
    assert found["model emoji"]["status"] == "problem"
    assert found["model typefaces"]["status"] == "ok"


def test_a_model_that_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, doctor._shipped_models)
    monkeypatch.setattr(doctor, "SLACK", -1)
    code, found = checks()
    assert code == 1
    assert found["model typefaces"]["status"] == "problem"


def test_a_check_that_fails_is_a_problem_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_part(device: str) -> Iterator[Finding]:
        yield Finding("first", "fine")
        raise ImportError("libfoo.so is missing")

    only(monkeypatch, broken_part, doctor._extras)
    code, found = checks()
    assert code == 1
    assert found["first"]["status"] == "ok"
    assert "libfoo.so" in found["broken part"]["found"]
    assert "extra onnx" in found


@pytest.mark.parametrize(("amount", "status"), [(8, "ok"), (2, "note"), (0.5, "problem")], ids=str)
def test_little_memory_is_said(amount: float, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, doctor._memory)
    sizes = (16 * doctor.GIB, int(amount * doctor.GIB))
    monkeypatch.setattr(doctor, "_memory_bytes", lambda: sizes)
    code, found = checks()
    assert found["memory"]["status"] == status
    assert code == (1 if status == "problem" else 0)
