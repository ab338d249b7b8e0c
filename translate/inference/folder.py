"""Folder in, folder out: scan, plan, skip, run, finish."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

from translate.inference.folder_options import (
    DEFAULTS,
    REJECTED,
    SKIPPED,
    SUFFIXES,
    FolderOptions,
    FolderSummary,
    Progress,
    no_progress,
)
from translate.inference.folder_preview import refuse_clash, write_folder_preview
from translate.inference.folder_work import FolderWork, Places
from translate.inference.manifest import (
    ELSEWHERE,
    NOT_REACHED,
    Entry,
    Journal,
    belongs,
    mark_up_to_date,
    only_run,
    refuse_used,
    remove_unfinished,
    write_last_manifest,
    write_manifest,
)
from translate.inference.planning import Inputs, check_out, plan_outputs, scan
from translate.inference.predictor import Predictor
from translate.inference.status import RunNote
from translate.inference.task import Task, check_task
from translate.io.files import PathLike
from translate.runtime.signals import interruption

# does the work on inputs until they are over or the event is set, as FolderWork.run does
Engine: TypeAlias = Callable[[FolderWork, Sequence[Entry], threading.Event], None]

logger = logging.getLogger(__name__)


class FolderJob:
    """The translation of a file, all files below a folder, or a list of files, each in its size.

    Args:
        predictor: the model.
        inputs: a file, a folder, a pattern such as "photos/*.png", or a list of files, of which
            those below the current folder keep their place, and others are put below `out` by
            their absolute path.
        out: the folder to write into.
        to: the target domain; of two it may be left out, and is then the one that a few inputs do
            not look like, else the second.
        options: everything else.
        progress: called with (done, total) in the calling thread; of large pictures in work also
            with shares, in the thread that works on them.
        engine: does the work, by default in this process.

    Raises:
        ValueError: for domains and a quantile that are not valid.
    """

    def __init__(
        self,
        predictor: Predictor,
        inputs: Inputs,
        out: PathLike,
        to: str | None = None,
        options: FolderOptions = DEFAULTS,
        progress: Progress = no_progress,
        engine: Engine = FolderWork.run,
    ) -> None:
        self.predictor = predictor
        self.inputs = inputs
        self.out = out
        self.to = to
        self.options = options
        self.progress = progress
        self.engine = engine
        self.direction = check_task(predictor, to, options)
        self.done = 0
        self.aborted = threading.Event()  # by a second Ctrl-C
        self.counting = threading.Lock()
        self.shares: dict[str, float] = {}  # done of large pictures in work

    def translate(self) -> FolderSummary:
        """Run all steps.

        Raises:
            ValueError: before any work, in one line, when the options do not fit the inputs or the
                model.
            DiskFullError: after the manifest is written.
            KeyboardInterrupt: after the manifest is written; what was not reached is in it as
                skipped, "interrupted".
        """
        start = time.perf_counter()
        self.scan()
        try:
            self.plan()
            self.look()
            with only_run(self.target, self.options.shard):
                self.skip()
                try:
                    self.run()
                finally:
                    self.finish()
            if self.options.preview and self.options.shard[0] == 1:
                self.write_preview()
        finally:
            self.source.close()
            self.target.close()
        return self.summary(time.perf_counter() - start)

    def scan(self) -> None:
        """Find the inputs, and those that are this shard's own."""
        self.source, self.entries = scan(self.inputs, self.options.strict)
        self.target = check_out(self.inputs, self.out)
        self.journal = Journal(self.target, self.options.shard)
        self.note = RunNote(self.target, self.options.shard)
        shard = self.options.shard
        self.own = [entry for entry in self.entries if belongs(entry.path, shard)]

    def plan(self) -> None:
        """Name the outputs; refuse a folder whose files they would replace unasked."""
        options = self.options
        # Names depend on all inputs, whoever translates them.
        found = [entry.path for entry in self.entries if entry.reason == NOT_REACHED]
        outputs = plan_outputs(found, SUFFIXES[options.format], options.suffix, options.samples)
        for entry in self.entries:
            if entry.path in outputs and not belongs(entry.path, options.shard):
                entry.reason = ELSEWHERE

        self.jobs = [entry for entry in self.own if entry.reason == NOT_REACHED]
        if options.preview:
            refuse_clash([output for made in outputs.values() for output in made])
        for job in self.jobs:
            job.outputs = outputs[job.path]
        if not options.overwrite:
            refuse_used(self.target, self.jobs, options.skip_existing, options.shard)

    def look(self) -> None:
        """Look at a few inputs, which may decide the direction; know what outputs depend on."""
        found = [entry.path for entry in self.own if entry.reason == NOT_REACHED]
        self.task = Task.find(self.predictor, found, self.to, self.options, self._at_hand)
        self.direction = self.task.direction
        for job in self.jobs:
            with suppress(OSError):  # it will fail
                job.key = self.task.key(job.path, self.source.facts(job.path), job.outputs)

    @contextmanager
    def _at_hand(self, path: str) -> Iterator[Path]:
        """Yield the file of an input."""
        yield self.source.fetch(path)
        self.source.release(path)

    def skip(self) -> None:
        """Leave out what is up to date, and write the first manifest."""
        options = self.options
        if options.skip_existing:
            mark_up_to_date(self.target, self.jobs, options.verify)
        # At once: a run that gets killed must leave no line about outputs it has replaced.
        write_manifest(self.target, self.entries, options.shard)
        remove_unfinished(self.target, self.jobs, options.shard)
        self.jobs = [job for job in self.jobs if job.reason == NOT_REACHED]
        self.done = len(self.own) - len(self.jobs)
        self.progress(self.done, len(self.own))

    def run(self) -> None:
        """Do the jobs; an exception leaves in them what was done.

        At Ctrl-C or SIGTERM it finishes what is in work, and at Ctrl-C after that nothing.

        Raises:
            DiskFullError: where no space is left.
            KeyboardInterrupt: after Ctrl-C or SIGTERM.
        """
        places = Places(self.source, self.target)
        work = FolderWork(self.task, places, self._end, self._count_share, self.aborted)
        with self.note.kept(), interruption(_say_that_it_ends, self.aborted.set) as interrupted:
            self.engine(work, self.jobs, interrupted)
        if interrupted.is_set():
            raise KeyboardInterrupt

    def finish(self) -> None:
        """Write the last manifest, when the outputs that it tells of are on the disk."""
        self.journal.sync(self.own)
        write_last_manifest(self.target, self.entries, self.options.shard)

    def write_preview(self) -> None:
        """Write the page that shows inputs beside their outputs."""
        write_folder_preview(
            self.target,
            self.source,
            self.own,
            self.task.names,
            partial(self.predictor.read, max_pixels=self.options.max_pixels),
        )

    def summary(self, seconds: float) -> FolderSummary:
        """Count what became of the inputs."""
        counts = Counter(entry.status for entry in self.own)
        failed = [entry for entry in self.own if entry.status == "failed"]
        failures = [(entry.path, str(entry.reason)) for entry in failed]
        skipped = (str(entry.reason) for entry in self.own if entry.status == "skipped")
        source, to = self.task.names
        return FolderSummary(
            ok=counts["ok"],
            skipped=counts["skipped"],
            failed=counts["failed"],
            failures=failures,
            seconds=seconds,
            warned=sum(bool(entry.warnings) for entry in self.own),
            reasons=dict(Counter(why if why in SKIPPED else REJECTED for why in skipped)),
            source=source,
            to=to,
        )

    def _end(self, job: Entry) -> None:
        """Count a job that is over, and put it into journal and note."""
        with self.counting:
            self.shares.pop(job.path, None)
            self.done += 1
        self.progress(self.done + sum(self.shares.values()), len(self.own))
        self.journal.add(job)
        self.note.add()

    def _count_share(self, job: Entry, share: float) -> None:
        """Count a share of a large picture, in the thread that works on it."""
        with self.counting:
            self.shares[job.path] = share
            done = self.done + sum(self.shares.values())
        self.progress(done, len(self.own))


def _say_that_it_ends() -> None:
    logger.warning("finishing the pictures in work; Ctrl-C again stops at once")
