"""Which process trains into a run folder: one at a time, and other programs can tell which.

A lock in the folder is held for as long as the process lives, however it ends; a record beside it
says which process that is. So a number that another program has got since is never taken for it.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from translate.io.files import PART, held, write_text

LOCK = f"{PART}training.lock"
RECORD = f"{PART}training.json"


@dataclass(frozen=True)
class TrainingProcess:
    """The process of a training.

    Attributes:
        pid: Its number.
        host: The machine that it runs on.
        started: When, in seconds since 1970.
    """

    pid: int
    host: str
    started: float

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, where its number means it."""
        return self.host == socket.gethostname()


@contextmanager
def training_in(run: Path) -> Iterator[None]:
    """Be the one training of a run folder, which is made, and which others find meanwhile.

    A folder that is still empty at the end is removed.

    Raises:
        ValueError: Another training is at work there, or the folder cannot be written.
    """
    run.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ends:
        ends.callback(_remove_empty, run)
        try:
            ends.enter_context(held(run / LOCK))
        except BlockingIOError:
            raise ValueError(
                f"{run}: another training is at work there; wait for its end, or give another --out"
            ) from None
        process = TrainingProcess(os.getpid(), socket.gethostname(), time.time())
        ends.callback((run / RECORD).unlink, missing_ok=True)
        write_text(run / RECORD, json.dumps(asdict(process)))
        yield


def _remove_empty(run: Path) -> None:
    with suppress(OSError):  # it holds something, as it should
        run.rmdir()


def find_training(run: Path) -> TrainingProcess | None:
    """Find the training that is at work in a run folder; None where there is none.

    What a killed one has left of itself there is removed.
    """
    process = _read(run)
    if process is None:
        return None
    try:
        with held(run / LOCK):
            (run / RECORD).unlink(missing_ok=True)
    except BlockingIOError:
        return process
    except OSError:  # a folder that cannot be written: no training of this user's is there
        return None
    return None


def _read(run: Path) -> TrainingProcess | None:
    try:
        about = json.loads((run / RECORD).read_text(encoding="utf-8"))
        return TrainingProcess(int(about["pid"]), str(about["host"]), float(about["started"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
