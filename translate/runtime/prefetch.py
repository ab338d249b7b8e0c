"""Work begun ahead of its turn, in order and with bounded look-ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], limit: int
) -> Iterator[tuple[T, Future[R]]]:
    """Yield the items in order, each with its work, which is begun `limit` items ahead."""
    queue: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        queue.append((item, pool.submit(work, item)))
        if len(queue) > limit:
            yield queue.popleft()
    yield from queue
