"""Ctrl-C, SIGTERM and SIGHUP: work that ends between two steps, and handlers that are restored."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def interruption(
    tell: Callable[[], None] = lambda: None, abort: Callable[[], None] = lambda: None
) -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C, SIGTERM and SIGHUP set, so that a step is never left half done.

    SIGHUP, which the end of a terminal sends, is left alone where it is ignored, as under nohup.

    Ctrl-C after the first of them raises KeyboardInterrupt at once. SIGTERM and SIGHUP do not, as
    who manages jobs may send them twice: Slurm to all processes of a job, and torchrun, one of
    these, to those that it has started. Outside the main thread, which alone may handle signals,
    nothing sets the event.

    Args:
        tell: Called at the first, from the signal handler: says that the work is ending.
        abort: Called at Ctrl-C after that: has other threads end what they do.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(kind: int, _: object) -> None:
        if event.is_set():
            if kind == signal.SIGINT:
                abort()
                raise KeyboardInterrupt
            return
        event.set()
        with suppress(RuntimeError):  # the signal came while the same stream was written to
            tell()

    kinds = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        kinds.append(hangup)
    before = [signal.signal(kind, handle) for kind in kinds]
    try:
        yield event
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
