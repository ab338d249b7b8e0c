"""The pair between pixels in bytes and images in floats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from translate.io.tensors import images_from_pixels, pixels_from_images, to_float, to_uint8


def test_all_256_values_survive() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1).repeat(3, 3)
    x = images_from_pixels(pixels)
    assert x.dtype == torch.float32
    assert x.shape == (2, 3, 8, 16)
    assert x.min() == -1
    assert x.max() == 1
    assert np.array_equal(pixels_from_images(x), pixels)
    assert np.array_equal(pixels_from_images(x.double()), pixels)
    rounded = pixels_from_images(x.half()).astype(int)
    assert np.abs(rounded - pixels).max() <= 1


def test_the_pair_keeps_any_layout() -> None:
    pixels = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    assert torch.equal(to_float(pixels), pixels / 127.5 - 1)
    assert torch.equal(to_uint8(to_float(pixels)), pixels)


def test_floats_are_clipped_and_half_is_rounded_up() -> None:
    x = torch.tensor([-9.0, 9.0, 0.0, -1 + 1.01 / 255, -1 + 0.99 / 255])
    assert to_uint8(x).tolist() == [0, 255, 128, 1, 0]
    assert to_uint8(torch.tensor([torch.nan, torch.inf, -torch.inf])).tolist() == [128, 255, 0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_images_that_are_not_finite_are_no_pixels(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        pixels_from_images(torch.full((1, 2, 2), value))
