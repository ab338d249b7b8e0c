"""Folder translations in a queue: one at a time, each in the order in which it was asked for.

A job goes on when the page that began it is closed, and may be watched by several.
"""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from translate.inference.folder import FolderJob
    from translate.inference.folder_options import FolderSummary, Progress
    from translate.inference.manifest import Entry

    MakeJob: TypeAlias = Callable[[Progress], FolderJob]

State: TypeAlias = Literal["waiting", "running", "done", "cancelled", "failed"]

KEPT = 20  # finished jobs whose results can still be looked at
SECONDS_BETWEEN_LOOKS = 0.3

logger = logging.getLogger(__name__)


class CancelledJobError(Exception):
    """Ends a folder translation from within its report of progress."""


class _Messages(logging.Handler):
    """Collects what the library logs in one thread."""

    def __init__(self, thread: int) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []
        self.addFilter(lambda record: record.thread == thread)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class Job:
    """A folder translation and what became of it.

    Args:
        make: makes the translation, given where to report its progress to; called in the thread
            that runs it.
        out: the folder that it writes into.
        scratch: a folder for what the page needs; it is removed when the job is forgotten.

    Attributes:
        id: its name among the jobs.
        state: "failed" where it could not be begun or not ended; pictures that failed are in
            `entries`.
        done: inputs done.
        total: of so many.
        message: why it failed, or what is odd about the inputs.
        summary: when it is done.
    """

    def __init__(self, make: MakeJob, out: Path, scratch: Path) -> None:
        self.id = uuid.uuid4().hex
        self.out = out
        self.scratch = scratch
        self.state: State = "waiting"
        self.done = 0.0
        self.total = 0
        self.message = ""
        self.summary: FolderSummary | None = None
        self._make = make
        self._translation: FolderJob | None = None
        self._cancelled = threading.Event()
        self._thread = 0

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in ("waiting", "running")

    @property
    def entries(self) -> list[Entry]:
        """Inputs, in the order of their names, and what became of them up to now."""
        return list(getattr(self._translation, "entries", ()))

    @property
    def to(self) -> str:
        """The domain translated to, as far as it is known."""
        if self._translation is None:
            return ""
        names: tuple[str, ...] = self._translation.predictor.config.data.names
        return names[self._translation.direction[1]]

    @property
    def in_scratch(self) -> bool:
        """Whether the results lie in the scratch folder."""
        return self.out.is_relative_to(self.scratch)

    @property
    def folder(self) -> Path:
        """What the paths of inputs are relative to; known as soon as there are entries."""
        from translate.io.folders import LocalFolder

        assert self._translation is not None
        source = self._translation.source
        assert isinstance(source, LocalFolder)
        return source.folder

    def cancel(self) -> None:
        """End it after the pictures that are in work; large ones are given up at once."""
        self._cancelled.set()
        if self._translation is not None:
            self._translation.aborted.set()

    def run(self) -> None:
        """Translate, in this thread."""
        self._thread = threading.get_ident()
        messages = _Messages(self._thread)
        library = logging.getLogger("translate")
        library.addHandler(messages)
        try:
            self._report(0, 0)
            self.state = "running"
            self._translation = self._make(self._report)
            self.summary = self._translation.translate()
            self.state = "done"
        except CancelledJobError:
            self.state = "cancelled"
        except (ValueError, OSError) as error:
            messages.texts.append(str(error))
            self.state = "failed"
        except Exception as error:  # no job may end the others
            logger.exception("a translation ended unexpectedly")
            messages.texts.append(f"{type(error).__name__}: {error}")
            self.state = "failed"
        finally:
            library.removeHandler(messages)
            self.message = "\n".join(messages.texts)

    def _report(self, done: float, total: int) -> None:
        """Note the progress, or end the job where that was asked for."""
        self.done = done
        self.total = total
        # of a large picture, another thread reports: `aborted` ends that one
        if self._cancelled.is_set() and threading.get_ident() == self._thread:
            raise CancelledJobError

    def watch(self) -> Iterator[None]:
        """Return now, then whenever something has changed, until it is over."""
        seen: tuple[object, ...] | None = None
        while True:
            over = self.over
            now = (self.state, self.done, self.total)
            if now != seen:
                seen = now
                yield
            if over:
                return
            self._pause()

    def _pause(self) -> None:
        """Wait a little; a cancelled job that has not begun is over when its turn comes."""
        threading.Event().wait(SECONDS_BETWEEN_LOOKS)


class Jobs:
    """The jobs of a server, in one queue."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="introshift-job")
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, job: Job) -> Job:
        """Put a job at the end of the queue, and forget the oldest of those that are over."""
        with self._lock:
            self._jobs[job.id] = job
            over = [old for old in self._jobs.values() if old.over]
            for old in over[:-KEPT]:
                del self._jobs[old.id]
                shutil.rmtree(old.scratch, ignore_errors=True)
            self._worker.submit(job.run)
        return job

    def get(self, id: str) -> Job | None:
        """Return a job, None for one that is unknown or forgotten."""
        return self._jobs.get(id)

    def before(self, job: Job) -> int:
        """Count the jobs that must be over before this one begins."""
        with self._lock:
            jobs = list(self._jobs.values())
        return sum(not other.over for other in jobs[: jobs.index(job)])

    def close(self) -> None:
        """Cancel all jobs and wait for their end."""
        for job in list(self._jobs.values()):
            if not job.over:
                job.cancel()
        self._worker.shutdown(cancel_futures=True)
