"""Locks in stores: an object that whoever holds it writes again all the time.

Stores have no locks that end with their process. So a lease that nobody has renewed for PATIENCE
is of a killed run, and is taken over; no clocks are compared. Stores that create an object where
there is none, and only there, let one of two take it; with others, two that come at the same
moment are not told apart.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from translate.io.address import StorageError

logger = logging.getLogger(__name__)

BEAT = 8.0  # s between two renewals
PATIENCE = 30.0  # s without one, after which a lease is free
LOOK = 1.0  # s between two looks at a lease


class Objects(Protocol):
    """A folder in a store."""

    def read(self, name: str) -> bytes:
        """Read an object; empty where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write an object."""

    def create(self, name: str, data: bytes) -> bool:
        """Write an object where there is none; tell whether that was so."""

    def remove(self, path: str) -> None:
        """Remove an object."""


@contextmanager
def leased(
    store: Objects,
    name: str,
    wait: bool = False,
    others: Callable[[], Sequence[str]] = tuple,
) -> Iterator[None]:
    """Hold a lease for a block.

    Args:
        store: where it is.
        name: of the object.
        wait: until whoever holds it lets go.
        others: gives the names of leases that nobody may hold, either.

    Raises:
        BlockingIOError: it, or one of the others, is held.
        StorageError: the store cannot be reached; or, at the end, another has taken it over, as
            this process could not renew it.
    """
    owner = os.urandom(8).hex()
    while True:
        taken = [each for each in {name, *others()} if store.read(each)]
        if taken:
            _free(store, taken, wait)
        if store.create(name, f"{owner} 0".encode()):
            break
        if not wait:
            raise _held(name)
    over = threading.Event()
    lost = threading.Event()
    beating = threading.Thread(target=_renew, args=(store, name, owner, over, lost), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        if not lost.is_set():
            store.remove(name)
    if lost.is_set():
        raise StorageError(
            f"{store}: another run has taken it over, as this one did not reach it for "
            f"{PATIENCE:.0f} s; run again with --skip-existing"
        )


def _free(store: Objects, names: Sequence[str], wait: bool) -> None:
    """Watch leases until each is given back, or is free as nobody renews it, and then goes."""
    seen = {name: store.read(name) for name in names}
    since = time.monotonic()
    logger.info("%s: looking whether another run is at work there", store)
    while any(seen.values()):
        if time.monotonic() - since > PATIENCE:
            for name in seen:
                store.remove(name)
            return
        time.sleep(LOOK)
        for name, before in seen.items():
            now = store.read(name)
            if now and now != before:
                if not wait:
                    raise _held(name)
                since = time.monotonic()
            seen[name] = now


def _held(name: str) -> BlockingIOError:
    return BlockingIOError(errno.EWOULDBLOCK, "in use by another run", name)


def _renew(
    store: Objects, name: str, owner: str, over: threading.Event, lost: threading.Event
) -> None:
    """Renew a lease until it is over, or another has it."""
    beat = 0
    while not over.wait(BEAT):
        beat += 1
        try:
            if not store.read(name).startswith(owner.encode()):
                lost.set()
                logger.warning("warning: %s: another run has taken it over", store)
                return
            store.write(name, f"{owner} {beat}".encode())
        except StorageError as error:
            logger.debug("not renewed: %s", error)
