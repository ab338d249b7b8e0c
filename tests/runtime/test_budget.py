"""Threads that share an amount never hold more than it, and all get their turn."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from translate.runtime.budget import Budget


def test_no_more_than_the_total_is_held_at_once() -> None:
    budget = Budget(100)
    counting = threading.Lock()
    held = 0
    most = 0
    rng = random.Random(0)

    def work(amount: int) -> None:
        nonlocal held, most
        with budget.share(amount):
            with counting:
                held += min(amount, 100)
                most = max(most, held)
            time.sleep(0.001)
            with counting:
                held -= min(amount, 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [rng.choice([1, 40, 99, 100, 5000]) for _ in range(200)]))
    assert 99 < most <= 100
    assert budget.left == 100


def test_what_fails_gives_its_share_back() -> None:
    budget = Budget(10)
    with pytest.raises(ZeroDivisionError), budget.share(7):
        raise ZeroDivisionError
    assert budget.left == 10
