"""A tensor's values: refused where not finite, and never moved to the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests._helpers.small_model import SIDE, save
from translate.inference.translator import Translator


@pytest.fixture
def translator(tmp_path: Path) -> Translator:
    return Translator.load(save(tmp_path), "cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_input_values_are_checked_before_output_values(
    translator: Translator, value: float
) -> None:
    """Where no output is finite, the image that was given with such a value is named."""
    x = torch.full((3, 3, SIDE, SIDE), 1e38)  # finite, but what comes out is not
    with pytest.raises(ValueError, match="image 0 of the tensor: .*output"):
        translator.translate(x, "B")
    x[2, 1, 3, 4] = value
    with pytest.raises(ValueError, match="image 2 of the tensor") as refused:
        translator.translate(x, "B")
    assert "output" not in str(refused.value)


def test_no_image_of_a_tensor_is_moved_to_the_cpu(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_cpu = torch.Tensor.cpu

    def watched(tensor: torch.Tensor) -> torch.Tensor:
        assert tensor.ndim < 4, "a batch of images is moved to the CPU"
        return to_cpu(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", watched)
    x = torch.zeros(2, 3, SIDE, SIDE)
    assert translator.translate(x, "B").shape == x.shape
