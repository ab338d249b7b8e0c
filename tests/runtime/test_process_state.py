"""Warning filters belong to the process: threads that change them take turns."""

from __future__ import annotations

import threading
import warnings

import pytest

from translate.runtime.process_state import warnings_ignored


def test_warnings_are_ignored_and_the_filters_restored() -> None:
    before = list(warnings.filters)
    with warnings_ignored():
        warnings.warn("not seen", UserWarning, stacklevel=1)
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="seen"):
        warnings.warn("seen", UserWarning, stacklevel=1)


def test_filters_are_restored_when_threads_overlap() -> None:
    before = list(warnings.filters)
    first_inside, second_inside, first_left = (threading.Event() for _ in range(3))

    def first() -> None:
        with warnings_ignored():
            first_inside.set()
            second_inside.wait(0.3)  # in vain: the second has to wait
        first_left.set()

    def second() -> None:
        first_inside.wait(10)
        with warnings_ignored():
            second_inside.set()
            first_left.wait(10)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert warnings.filters == before
