"""OpenMP threads bound to a core each, so that a busy machine slows training down by its share.

Between two operations OpenMP's threads wait for one another by spinning. Where another process
keeps a core busy, Linux moves two of them onto one core: one spins in the time that the other
needs, and training on two cores became 8 to 18 times slower. Bound to a core each, it takes twice
as long (docs/benchmarks.md). Imports no torch: binding is decided when OpenMP is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

PLACES = {"OMP_PROC_BIND": "spread", "OMP_PLACES": "cores"}
# Settings of the user's own, which stand.
DECIDED = (*PLACES, "GOMP_CPU_AFFINITY", "KMP_AFFINITY")


def usable_cores() -> int:
    """Return the number of CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class ThreadBinding:
    """Where threads may run.

    Args:
        allowed: cores of the process.
        first: those of OpenMP's first place, the main thread's.
    """

    allowed: frozenset[int]
    first: frozenset[int]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the calling thread, which leads OpenMP's, at its place."""
        _run_on(self.first)
        try:
            yield
        finally:
            _run_on(self.allowed)

    def release(self) -> None:
        """Let the calling thread run on all cores: it was started by one that is held."""
        _run_on(self.allowed)


# where threads are not bound
UNBOUND = ThreadBinding(frozenset(), frozenset())


def bind_openmp_threads() -> ThreadBinding:
    """Import torch so that its OpenMP threads are bound to a core each.

    The calling thread is left free until it is held. Nothing is bound where torch is there
    already, where the user has set affinities, where OpenMP has fewer threads than there are
    cores (which another process may then use), and elsewhere than on Linux.
    """
    if not hasattr(os, "sched_getaffinity") or "torch" in sys.modules:
        return UNBOUND
    allowed = frozenset(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS", str(len(allowed)))
    fewer = not threads.isdecimal() or int(threads) < len(allowed)
    if len(allowed) < 2 or fewer or any(name in os.environ for name in DECIDED):
        return UNBOUND

    os.environ.update(PLACES)
    try:
        import torch  # noqa: F401
    finally:
        for name in PLACES:  # programs that are started from here decide for themselves
            del os.environ[name]
    first = frozenset(os.sched_getaffinity(0))
    _run_on(allowed)
    return ThreadBinding(allowed, first)


def _run_on(cores: frozenset[int]) -> None:
    if cores:
        with suppress(OSError):  # a container may forbid it: threads then run where they may
            os.sched_setaffinity(0, cores)
