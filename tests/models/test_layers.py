"""The batch-invariant layers: the same bits in any batch, and memory that is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from translate.models.layers import (
    MAX_PRODUCTS,
    MIN_CHUNK,
    BatchInvariantLinear,
    BatchInvariantSiLU,
)

# Inputs and outputs of a linear layer: conditions, and the style head of one domain of `small`,
# `base` and `large` at 64 or 128 pixels.
SHAPES = [(1, 2), (64, 192), (49_152, 256), (98_304, 65), (786_432, 9)]


class LargestOutput(TorchDispatchMode):
    """Notes the numbers in the largest tensor that an operation makes anew."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not func.is_view:
            self.numbers = max(self.numbers, made.numel())
        return made


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def layer(inputs: int, outputs: int) -> BatchInvariantLinear:
    torch.manual_seed(0)
    return BatchInvariantLinear(inputs, outputs).requires_grad_(False)


@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
@pytest.mark.usefixtures("threads")
def test_chunks_change_no_bit(inputs: int, outputs: int) -> None:
    linear = layer(inputs, outputs)
    x = torch.randn(3, inputs)
    whole = torch.cat([(row[None, None] * linear.weight).sum(-1) for row in x]) + linear.bias
    assert torch.equal(linear(x), whole)
    assert torch.equal(linear(x[1:2]), whole[1:2])
    assert torch.equal(linear(x.flip(0)), whole.flip(0))
    assert torch.equal(linear(x.repeat(8, 1)), whole.repeat(8, 1))


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_no_temporary_grows_with_batch_and_outputs(inputs: int, outputs: int, batch: int) -> None:
    linear = layer(inputs, outputs)
    x = torch.randn(1, inputs).expand(batch, -1)
    with LargestOutput() as largest:
        y = linear(x)
    assert y.shape == (batch, outputs)
    assert largest.numbers <= max(MAX_PRODUCTS, MIN_CHUNK * inputs)
    assert largest.numbers * 4 <= 12 * 2**20


def test_no_rows() -> None:
    assert layer(64, 8)(torch.empty(0, 64)).shape == (0, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8,), (37,), (64,), (16, 5, 3), (24, 1, 1)])
@pytest.mark.usefixtures("threads")
def test_silu_gives_a_row_the_same_bits_in_any_batch(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Torch computes the numbers that fill no vector by another formula."""
    silu = BatchInvariantSiLU()
    generator = torch.Generator().manual_seed(0)
    x = (2 * torch.randn((200, *shape), generator=generator)).to(dtype)
    whole = silu(x)
    torch.testing.assert_close(whole, torch.nn.functional.silu(x))
    assert silu(x[:0]).shape == (0, *shape)
    for count in (1, 2, 3, 5, 10):
        parts = [silu(rows) for rows in x.split(count)]
        assert torch.equal(torch.cat(parts), whole)


def test_silu_keeps_the_memory_format() -> None:
    x = torch.randn(3, 24, 1, 5).to(memory_format=torch.channels_last)
    assert BatchInvariantSiLU()(x).is_contiguous(memory_format=torch.channels_last)
