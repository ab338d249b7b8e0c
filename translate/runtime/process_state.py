"""State that belongs to the process rather than to one thread."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Held by whoever changes warning filters, stdout, Pillow's limits or the socket timeout and
# restores them. Of two threads that do so at once, the last to leave would restore what the first
# had set. A plain lock: threads that read pictures share it, so that one may release what another
# acquired.
PROCESS_STATE = threading.Lock()


@contextmanager
def warnings_ignored() -> Iterator[None]:
    """Ignore all warnings of the process; one thread at a time, others wait."""
    with PROCESS_STATE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
