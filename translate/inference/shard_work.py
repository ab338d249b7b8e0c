"""One WebDataset shard: unpacked, translated as a folder is, and packed."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from translate.inference.folder_work import FolderWork, Places
from translate.inference.manifest import Entry
from translate.inference.planning import check
from translate.inference.shard_plan import WITH_SHARD, Naming, Sample, entries_of, plan_samples
from translate.inference.task import Task
from translate.io import shards
from translate.io.address import Facts
from translate.io.files import DiskFullError, Stamp, is_full
from translate.io.folders import LocalFolder
from translate.io.shards import Member


def style_name(shard: str, source: str) -> str:
    """Return the name by which a picture is given its style: the shard's own name and the member's.

    It is the same wherever the shard lies.

    Args:
        shard: path of the shard.
        source: path of the picture, which begins with it.
    """
    return source.removeprefix(shard.removesuffix(PurePosixPath(shard).name))


def shard_key(task: Task, naming: Naming, shard: str, sources: Iterable[str], facts: Facts) -> str:
    """Return the hash of all that a shard's output depends on.

    That is, for each picture, what a picture of a folder depends on, with size and time of the
    shard in place of its own.

    Args:
        task: how pictures are translated.
        naming: which are, and what they are called then.
        shard: its path.
        sources: paths of its pictures, in order.
        facts: size and time of the shard.
    """
    digest = hashlib.sha256()
    asked = (naming.suffix, str(naming.samples), *naming.members)
    for source in sources:
        digest.update(task.key(style_name(shard, source), facts, asked).encode())
    return digest.hexdigest()


class ShardWork:
    """The work on shards, one after the other; at no time is more than one unpacked.

    Args:
        task: how pictures are translated.
        naming: which are, and what they are called then.
        places: of the shards and of their outputs.
        workplace: the folder into which shards are unpacked; it is there as long as one is.
        on_share: called with the share of a shard's pictures that are over.
        aborted: when set, large pictures are given up.
    """

    def __init__(
        self,
        task: Task,
        naming: Naming,
        places: Places,
        workplace: Path,
        on_share: Callable[[float], None],
        aborted: threading.Event,
    ) -> None:
        self.task = task
        self.naming = naming
        self.places = places
        self.workplace = workplace
        self.on_share = on_share
        self.aborted = aborted

    def translate(self, shard: Entry, interrupted: threading.Event) -> list[Entry]:
        """Translate a shard, and note in its entry what became of it.

        Args:
            shard: its paths.
            interrupted: when set, the shard is not written.

        Returns:
            Entries of its pictures, in order.

        Raises:
            OSError: no space is left.
        """
        samples: list[Sample] = []
        try:
            with self._unpacked(shard.path) as file:
                self._translate(shard, file, samples, interrupted)
        except (ValueError, OSError, MemoryError) as error:
            if is_full(error) or isinstance(error, DiskFullError):
                raise
            shard.fail(error)
            for sample in samples:
                sample.leave_out(WITH_SHARD)
        return entries_of(samples)

    @contextmanager
    def _unpacked(self, path: str) -> Iterator[BinaryIO]:
        """Open a shard, with a workplace for a block; it is fetched before, and let go after."""
        shutil.rmtree(self.workplace, ignore_errors=True)  # of a killed run
        self.workplace.mkdir()
        try:
            with shards.opened(self.places.inputs.fetch(path), self.workplace) as file:
                yield file
        finally:
            shutil.rmtree(self.workplace, ignore_errors=True)
            self.places.inputs.release(path)

    def _translate(
        self, shard: Entry, file: BinaryIO, samples: list[Sample], interrupted: threading.Event
    ) -> None:
        """Take an open shard through all steps; `samples` becomes what is found in it."""
        facts = self.places.inputs.facts(shard.path)
        members = list(shards.read_members(file))
        samples += plan_samples(shard.path, members, self.naming)
        entries = entries_of(samples)
        check(entries, f"no pictures in it{_such_as(members)}")
        self._refuse_failures(entries)

        made = self._translate_pictures(shard.path, file, samples, interrupted)
        if interrupted.is_set():
            return
        self._refuse_failures(entries)
        for sample in samples:
            if not sample.is_whole:
                sample.leave_out()
        kept = [sample for sample in samples if sample.is_whole]
        check(any(sample.entries for sample in kept), "none of its pictures could be translated")

        shard.stamps = (self._pack(shard.path, kept, file, made, facts),)
        sources = [entry.path for entry in entries]
        for entry in entries:
            entry.key = self.task.key(style_name(shard.path, entry.path), facts, entry.outputs)
        shard.key = shard_key(self.task, self.naming, shard.path, sources, facts)
        left = [member.name for member in members if member.special]
        if left:
            shard.warnings = (f"{len(left)} links or devices left out, such as {left[0]}",)
        shard.status = "ok"
        shard.reason = None

    def _refuse_failures(self, entries: Sequence[Entry]) -> None:
        """Give a shard up at its first failure, with on_error "stop"."""
        if self.task.options.on_error == "stop":
            for entry in entries:
                check(entry.status != "failed", f"stopped at {entry.path}: {entry.reason}")

    def _translate_pictures(
        self, shard: str, file: BinaryIO, samples: Sequence[Sample], interrupted: threading.Event
    ) -> Mapping[str, Path]:
        """Unpack and translate pictures; return the file that each output is in.

        They are unpacked under plain numbers: no name in a shard ever becomes that of a file.
        """
        inputs = self.workplace / "in"
        outputs = self.workplace / "out"
        inputs.mkdir()
        found = [picture for sample in samples for picture in sample.pictures()]
        entries = [entry for _, entry in found]
        plain = [_plain(number, entry) for number, entry in enumerate(entries)]
        for (member, _), unpacked in zip(found, plain, strict=True):
            with open(inputs / unpacked.path, "wb") as picture:
                shards.copy_member(file, member, picture)

        names = {p.path: style_name(shard, e.path) for p, e in zip(plain, entries, strict=True)}
        task = replace(self.task, style_of=lambda path: self.task.style_of(names[str(path)]))
        over = count(1)
        work = FolderWork(
            task,
            Places(LocalFolder(inputs), LocalFolder(outputs)),
            lambda _: self.on_share(next(over) / len(plain)),
            lambda *_: None,
            self.aborted,
        )
        work.run(plain, interrupted)
        for entry, done in zip(entries, plain, strict=True):
            entry.status = done.status
            entry.reason = done.reason
            entry.size = done.size
            entry.warnings = done.warnings
            entry.stamps = done.stamps
        return {
            output: outputs / name
            for entry, done in zip(entries, plain, strict=True)
            for output, name in zip(entry.outputs, done.outputs, strict=True)
        }

    def _pack(
        self,
        shard: str,
        samples: Sequence[Sample],
        file: BinaryIO,
        made: Mapping[str, Path],
        facts: Facts,
    ) -> Stamp:
        """Write the new shard, whole or not at all; return what it is known by."""
        self.places.outputs.check(shard)
        with self.places.outputs.writing(shard) as unfinished:
            with shards.written(unfinished, shard) as writer:
                for part, name in (named for sample in samples for named in sample.outputs()):
                    if part.entry is None:
                        file.seek(part.member.offset)
                        writer.add(name, part.member.size, file)
                    else:
                        path = made[f"{shard}/{name}"]
                        with open(path, "rb") as picture:
                            writer.add(name, path.stat().st_size, picture)
            check(
                self.places.inputs.facts(shard) == facts,
                "has changed while it was translated; run again with --skip-existing",
            )
            return Stamp.of(unfinished)


def _plain(number: int, entry: Entry) -> Entry:
    """Return a picture's entry under the names that its files have in the workplace."""
    suffix = PurePosixPath(entry.path).suffix.lower()
    outputs = (PurePosixPath(output).suffix for output in entry.outputs)
    return replace(
        entry,
        path=f"{number:08}{suffix}",
        outputs=tuple(f"{number:08}_{k}{ending}" for k, ending in enumerate(outputs)),
    )


def _such_as(members: Sequence[Member]) -> str:
    """Say what a shard without pictures holds."""
    return f", but {len(members)} others, such as {members[0].name}" if members else ""
