"""Images of many sizes in batches in which no image depends on the others.

Batches of a size have one shape, filled up with their last image. On a CPU each keeps to one
core, and several run at once: kernels that split a batch among cores round differently where
they cut. Legend: C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch

from translate.io.images import UInt8
from translate.runtime.prefetch import ahead

T = TypeVar("T")
R = TypeVar("R")
# items, and their pixels, of one size -> what is made of each
Work: TypeAlias = Callable[[Sequence[T], Sequence[UInt8]], Iterable[R]]

MODEL_THREADS = 16  # at most so many batches at once on a CPU
WAITING = 8  # batches' worth of images that may wait for others of their size


@dataclass(frozen=True)
class Batching:
    """How many images go through the model at once.

    Args:
        size: images of `area` pixels in a batch.
        area: pixels of an image of the training size.
    """

    size: int
    area: int

    def rows(self, shape: Sequence[int]) -> int:
        """Return how many images (H, W, ...) make a batch: as many pixels, one image at least."""
        return max(1, self.size * self.area // (shape[0] * shape[1]))

    def group(self, items: Iterable[tuple[T, UInt8]]) -> Iterator[list[tuple[T, UInt8]]]:
        """Yield items with pixels of one shape together.

        A batch comes when it is full; the longest one when too many images wait; all in the end.
        """
        waiting: dict[tuple[int, ...], list[tuple[T, UInt8]]] = {}
        for item in items:
            shape = item[1].shape
            waiting.setdefault(shape, []).append(item)
            if len(waiting[shape]) == self.rows(shape):
                yield waiting.pop(shape)
            elif sum(map(len, waiting.values())) >= WAITING * self.size:
                longest = max(waiting, key=lambda shape: len(waiting[shape]))
                yield waiting.pop(longest)
        yield from waiting.values()

    def run(self, batch: Sequence[tuple[T, UInt8]], work: Work[T, R]) -> list[R]:
        """Do the work on one batch of `group`, filled up with its last image."""
        missing = self.rows(batch[0][1].shape) - len(batch)
        full = [*batch, *[batch[-1]] * missing]
        results = work([item for item, _ in full], [pixels for _, pixels in full])
        return [result for _, result in zip(batch, results, strict=False)]

    def stream(
        self, items: Iterable[tuple[T, UInt8]], work: Work[T, R], device: torch.device
    ) -> Generator[tuple[T, R | Exception]]:
        """Yield items with what the work makes of them, in no particular order.

        While it is read, torch's number of threads is 1 for the process, as batches run side by
        side.

        Args:
            items: anything, each with its pixels as the model takes them.
            work: what is done to a batch; an exception is what its items are given.
            device: where the work is done.
        """
        threads = torch.get_num_threads()
        parallel = min(threads, MODEL_THREADS) if device.type == "cpu" else 1
        pool = ThreadPoolExecutor(parallel, initializer=torch.set_num_threads, initargs=(1,))
        try:
            batches = self.group(items)
            for batch, future in ahead(pool, lambda b: self.run(b, work), batches, parallel):
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                results: Sequence[R | Exception]
                results = future.result() if error is None else [error] * len(batch)
                for (item, _), result in zip(batch, results, strict=True):
                    yield item, result
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
