"""One process of a node writes a file of pixels, and all processes of the node map it into memory.

The processes are those of one launch by `torchrun` or `accelerate launch`, known by its environment
variables. They find the file through the launch's key-value store. The first process (LOCAL_RANK 0)
holds a lock on the file until it is complete: the operating system releases the lock when that
process dies, however it dies, so no process waits for a file that will never come.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from translate.io.images import UInt8
from translate.runtime.signals import terminable

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

try:
    import fcntl
except ImportError:  # Windows, where each process makes what it needs
    fcntl = None  # type: ignore[assignment]

Index: TypeAlias = Any  # JSON values that say what the pixels are

# What torchrun and `accelerate launch` set, and sharing needs.
LAUNCHER = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
JOINING = timedelta(minutes=30)  # until all processes of a launch have started; as torch has it
OPENING = timedelta(minutes=1)  # until all have opened a file that is complete

_PIXELS = "pixels"
_INDEX = "index.json"
_calls = itertools.count()


def shares_node() -> bool:
    """Return whether other processes of the same launch run on this node."""
    launched = int(os.environ.get("WORLD_SIZE", 1)) > 1
    complete = all(name in os.environ for name in LAUNCHER)
    return launched and complete and fcntl is not None and _followers() > 0


def once_per_node(write: Callable[[BinaryIO], Index]) -> tuple[UInt8, Index]:
    """Let the first process of this node write pixels that all its processes map.

    All processes of a node have to call this, and equally often, in their main threads.

    Args:
        write: Writes at least one byte into the file given to it and returns what the pixels are,
            as JSON values. Only the process with LOCAL_RANK 0 calls it.

    Returns:
        All bytes, read-only and mapped into memory, and what `write` returned. The file has no name
        any more, and its space is free when all processes have ended.

    Raises:
        ValueError: What `write` raised, in all processes; where the first process ended without a
            message, or the file does not fit into its folder or cannot be opened.
    """
    leader = int(os.environ["RANK"]) - int(os.environ["LOCAL_RANK"])
    key = f"introshift/{next(_calls)}/{leader}"
    store = _store()
    if int(os.environ["LOCAL_RANK"]) == 0:
        return _lead(store, key, write)
    return _follow(store, key)


def _followers() -> int:
    """Return how many processes of this node wait for the first."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) - 1


@lru_cache(maxsize=1)
def _store() -> Store:
    """Return the launch's store; kept, as this process may serve it to the others."""
    from torch.distributed.rendezvous import rendezvous

    store: Store
    store, *_ = next(rendezvous("env://", timeout=JOINING))
    return store


def _lead(store: Store, key: str, write: Callable[[BinaryIO], Index]) -> tuple[UInt8, Index]:
    """Write the file; tell the other processes of the node where it is, or why there is none."""
    folder = ""
    failure: Exception | None = None
    try:
        with terminable(), ExitStack() as lock:
            try:
                folder = tempfile.mkdtemp(prefix="introshift-")
                file = lock.enter_context((Path(folder) / _PIXELS).open("wb"))
                fcntl.flock(file, fcntl.LOCK_EX)
                store.set(f"{key}/folder", folder)

                index = write(file)
                file.flush()
                # By its name: a mapping made of the open file would keep the lock.
                pixels = np.memmap(Path(folder) / _PIXELS, np.uint8, "r")
                (Path(folder) / _INDEX).write_text(json.dumps(index), encoding="utf-8")
            except Exception as error:
                failure = _with_remedy(error)
                with suppress(RuntimeError):
                    store.set(f"{key}/failure", str(failure))
                    store.set(f"{key}/folder", "")
                    # `set` does not wait; an answer says that the store has it. Only then may
                    # the lock go, or the others would look for the failure too early.
                    store.get(f"{key}/failure")

        # The others need the files, and the store that this process may serve, until they have
        # opened them. Where one of them has ended, the launch fails soon for that reason.
        with suppress(RuntimeError):
            store.wait([f"{key}/finished"], OPENING)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)

    if failure is not None:
        raise failure
    return pixels, index


def _with_remedy(error: Exception) -> Exception:
    """Return the error, or one that names the remedy where the disk is full."""
    if not isinstance(error, OSError) or error.errno != errno.ENOSPC:
        return error
    return ValueError(
        f"{tempfile.gettempdir()}: no space left for the decoded images; set TMPDIR to a folder "
        "on a larger disk"
    )


def _follow(store: Store, key: str) -> tuple[UInt8, Index]:
    """Map the file as soon as the first process has released it."""
    folder = ""
    try:
        folder = store.get(f"{key}/folder").decode()
        found = _open_complete(Path(folder)) if folder else None
        failed = found is None and store.check([f"{key}/failure"])
        reason = store.get(f"{key}/failure").decode() if failed else "it ended too early"
        if store.add(f"{key}/opened", 1) == _followers():
            store.set(f"{key}/finished", "yes")
    except (OSError, RuntimeError) as error:
        found = None
        failed = False
        reason = f"{error}; where TMPDIR is another folder for each process, set one for all"

    if found is not None:
        return found
    if folder and not failed:  # the first process was killed, and cannot remove it
        shutil.rmtree(folder, ignore_errors=True)
    raise ValueError(
        f"images were to be decoded by the process with LOCAL_RANK 0 of this node: {reason}"
    )


def _open_complete(folder: Path) -> tuple[UInt8, Index] | None:
    """Wait for the lock; return the pixels and what they are, or None where they are incomplete."""
    with (folder / _PIXELS).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        index = folder / _INDEX
        if not index.exists():
            return None
        return np.memmap(file, np.uint8, "r"), json.loads(index.read_text(encoding="utf-8"))
