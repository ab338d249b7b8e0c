"""An amount that threads share, such as of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """An amount of which threads take shares: who needs more than is left waits for the others.

    Args:
        total: the amount, above 0.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.left = total
        self._changed = threading.Condition()

    @contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """Hold an amount for a block; one larger than the total is taken for all of it.

        A thread that holds a share may not ask for another, or all could wait for each other.
        """
        amount = min(amount, self.total)
        with self._changed:
            self._changed.wait_for(lambda: amount <= self.left)
            self.left -= amount
        try:
            yield
        finally:
            with self._changed:
                self.left += amount
                self._changed.notify_all()
