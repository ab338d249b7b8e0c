"""The choice of the device and of the precision."""

from __future__ import annotations

import pytest
import torch

from translate.runtime.device import choose_device, choose_precision
from translate.runtime.precision import PRECISIONS


def has_accelerator(monkeypatch: pytest.MonkeyPatch, kind: str | None) -> None:
    """Make torch find an accelerator of this kind, or none."""
    found = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: found)


@pytest.mark.parametrize(
    ("accelerator", "name", "expected"),
    [
        (None, "auto", "cpu"),
        (None, "cpu", "cpu"),
        ("cuda", "auto", "cuda"),
        ("cuda", "cuda:1", "cuda:1"),
        ("cuda", "cpu", "cpu"),
        ("mps", "auto", "mps"),
        ("xpu", "auto", "cpu"),
    ],
)
def test_the_device_by_name(
    accelerator: str | None, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_accelerator(monkeypatch, accelerator)
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("accelerator", "name", "offered"),
    [
        (None, "cuda", "auto, cpu"),
        (None, "abacus", "auto, cpu"),
        ("cuda", "mps", "auto, cuda, cpu"),
        ("mps", "cuda:0", "auto, mps, cpu"),
        ("xpu", "xpu", "auto, cpu"),
    ],
)
def test_a_device_that_is_not_here_is_refused_with_those_that_are(
    accelerator: str | None, name: str, offered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_accelerator(monkeypatch, accelerator)
    with pytest.raises(ValueError, match=f"--device {name}: .* {offered}$"):
        choose_device(name)


@pytest.mark.parametrize("name", ["fp32", "32"])
def test_fp32_has_an_older_name(name: str) -> None:
    assert choose_precision(name, torch.device("cpu")) is torch.float32


def test_bf16_is_used_on_any_device_that_is_asked_to() -> None:
    assert choose_precision("bf16", torch.device("cpu")) is torch.bfloat16


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_follows_the_instructions_of_the_cpu(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_precision("auto", torch.device("cpu")) is expected


def test_an_unknown_precision_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="--precision fp16: ") as refused:
        choose_precision("fp16", torch.device("cpu"))
    assert all(name in str(refused.value) for name in PRECISIONS)
