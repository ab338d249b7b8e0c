"""Batches of images, without a model: none is lost, each has one shape, few images wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from translate.inference.batching import WAITING, Batching
from translate.io.images import UInt8

SIDE = 4
SIDES = st.integers(1, 3 * SIDE)
BATCHINGS = st.builds(Batching, size=st.integers(1, 9), area=st.just(SIDE**2))


def blank(height: int, width: int) -> UInt8:
    """An image of a size, which takes no memory."""
    return np.broadcast_to(np.uint8(0), (height, width, 3))


def numbered(shapes: Iterable[tuple[int, int]]) -> list[tuple[int, UInt8]]:
    return [(i, blank(*shape)) for i, shape in enumerate(shapes)]


@given(BATCHINGS, SIDES, SIDES)
def test_a_batch_has_as_many_pixels_as_fit_and_at_least_one_image(
    batching: Batching, height: int, width: int
) -> None:
    rows = batching.rows((height, width, 3))
    budget = batching.size * batching.area
    assert rows == 1 or rows * height * width <= budget
    assert (rows + 1) * height * width > budget


@given(BATCHINGS, st.lists(st.tuples(SIDES, SIDES), max_size=60))
def test_every_image_is_in_one_batch_of_its_shape(
    batching: Batching, shapes: list[tuple[int, int]]
) -> None:
    items = numbered(shapes)
    batches = list(batching.group(iter(items)))
    assert sorted(i for batch in batches for i, _ in batch) == list(range(len(items)))
    for batch in batches:
        (shape,) = {pixels.shape for _, pixels in batch}
        assert 1 <= len(batch) <= batching.rows(shape)
        numbers = [i for i, _ in batch]
        assert numbers == sorted(numbers)
        assert all(pixels is items[i][1] for i, pixels in batch)


@given(BATCHINGS, st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=60))
def test_a_batch_is_filled_up_with_its_last_image_and_the_rest_is_dropped(
    batching: Batching, shapes: list[tuple[int, int]]
) -> None:
    received: list[tuple[int, UInt8]] = []

    def work(items: Sequence[int], pixels: Sequence[UInt8]) -> Iterator[int]:
        received[:] = zip(items, pixels, strict=True)
        return (-i for i in items)

    for batch in batching.group(numbered(shapes)):
        last = batch[-1]
        missing = batching.rows(last[1].shape) - len(batch)
        assert batching.run(batch, work) == [-i for i, _ in batch]
        filled_up = [*batch, *[last] * missing]
        for (i, pixels), (j, expected) in zip(received, filled_up, strict=True):
            assert i == j
            assert pixels is expected


def test_few_images_wait_however_many_shapes_there_are() -> None:
    batching = Batching(16, SIDE**2)
    sides = range(SIDE, 16 * SIDE + 1)
    shapes = [shape for side in sides for shape in ((SIDE, side), (side, SIDE))] * 12
    taken = 0

    def items() -> Iterator[tuple[int, UInt8]]:
        nonlocal taken
        for item in numbered(shapes):
            taken += 1
            yield item

    given_out = 0
    for batch in batching.group(items()):
        given_out += len(batch)
        assert taken - given_out <= WAITING * batching.size
    assert given_out == len(shapes)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_stream_yields_every_item_with_its_result_or_the_error_of_its_batch(threads: int) -> None:
    """Batches of one shape fail; the others do not notice."""

    def work(items: Sequence[int], pixels: Sequence[UInt8]) -> list[int]:
        if pixels[0].shape[1] > SIDE:
            raise RuntimeError("too wide")
        return [-i for i in items]

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        items = numbered((SIDE, SIDE + i % 2) for i in range(20))
        results = dict(Batching(3, SIDE**2).stream(items, work, torch.device("cpu")))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert results.keys() == set(range(20))
    for i, result in results.items():
        assert isinstance(result, RuntimeError) if i % 2 else result == -i
