"""Work begun ahead of its turn: order, and how far ahead."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from translate.runtime.prefetch import ahead


def test_items_keep_their_order_and_few_are_begun_ahead() -> None:
    begun = []

    def work(i: int) -> int:
        begun.append(i)
        time.sleep(0.001 * (i % 3))
        return -i

    with ThreadPoolExecutor(4) as pool:
        for n, (i, future) in enumerate(ahead(pool, work, range(20), 5)):
            assert (i, future.result()) == (n, -n)
            assert len(begun) <= n + 6
    assert len(begun) == 20
