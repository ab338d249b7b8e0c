"""OUT/manifest.jsonl of a translation of WebDataset shards.

Of each shard it has a line for every picture, in the shard's order, then one for the shard itself,
whose key and stamp vouch for all of them. They are appended together, when the shard is on the
disk. Until then a line says that the shard is to be done: the last of several counts, and at the
end of a run one is left. A manifest may be larger than memory: its lines pass through, one shard
after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from translate.inference.folder_options import REJECTED, SKIPPED, FolderSummary
from translate.inference.manifest import (
    ALL,
    ELSEWHERE,
    MANIFEST,
    NOT_REACHED,
    TO_DO,
    UP_TO_DATE,
    Entry,
    Shard,
    in_words,
    manifest_lines,
)
from translate.inference.shard_plan import WITH_SAMPLE, WITH_SHARD
from translate.io import files
from translate.io.shards import shard_of
from translate.io.storage import LOCK, LocalFolder

Line: TypeAlias = tuple[str, dict[str, Any]]  # its text, and what it says


def keep_lines(
    out: Path,
    shards: Sequence[Entry],
    own: Collection[str],
    is_done: Callable[[str, Sequence[dict[str, Any]]], bool],
) -> Iterator[tuple[str, list[Entry]]]:
    """Write the manifest anew, with one line for each shard that is to be done.

    Args:
        out: the folder.
        shards: all, whoever does them.
        own: paths of those that the run does; lines about others stay.
        is_done: tells by its path and lines whether a shard stays as it is.

    Yields:
        Each own shard that stays, with the entries of its pictures.

    Raises:
        DiskFullError: where there is no room.
        ValueError: for a folder that cannot be written into.
    """
    known: set[str] = set()
    with _written_anew(out) as file:
        for shard, found in groupby(_lines(out, own), _shard_of_line):
            texts, lines = zip(*found, strict=True)
            if shard in own and (shard in known or not is_done(str(shard), lines)):
                continue
            file.write("".join(f"{text}\n" for text in texts).encode())
            if shard is not None:
                known.add(shard)
            if shard in own:
                yield str(shard), [_kept(line) for line in lines[:-1]]
        for entry in shards:
            if entry.path not in known:
                reason = NOT_REACHED if entry.path in own else ELSEWHERE
                file.write(f"{replace(entry, reason=reason).line()}\n".encode())


def settle(out: Path, own: Collection[str], left: Iterable[Entry]) -> None:
    """Write the manifest anew at the end of a run, with one line for each shard.

    Args:
        out: the folder.
        own: paths of the run's shards.
        left: those that were not reached.

    Raises:
        DiskFullError: where there is no room.
        ValueError: for a folder that cannot be written into.
    """
    with _written_anew(out) as file:
        for text, _ in _lines(out, own):
            file.write(f"{text}\n".encode())
        for entry in left:
            file.write(f"{entry.line()}\n".encode())


@contextmanager
def _written_anew(out: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes the manifest when the block succeeds; other runs wait for it."""
    with (
        in_words(LocalFolder(out)),
        files.held(out / LOCK, wait=True),
        files.atomic(out / MANIFEST, durable=True) as part,
        open(part, "wb") as file,
    ):
        yield file


def _lines(out: Path, own: Collection[str]) -> Iterator[Line]:
    """Yield the manifest's lines, but for those about own shards that were to be done."""
    for text, line in manifest_lines(LocalFolder(out)):
        if not (line["source"] in own and line.get("reason") in TO_DO):
            yield text, line


def _shard_of_line(line: Line) -> str | None:
    return shard_of(line[1]["source"])


def _kept(line: dict[str, Any]) -> Entry:
    """Return an earlier run's picture: what is done is up to date, what failed stays failed."""
    status, reason = line["status"], line["reason"]
    if status == "ok":
        status, reason = "skipped", UP_TO_DATE
    return Entry(line["source"], status, reason, warnings=line["warnings"])


def append_entries(out: Path, entries: Iterable[Entry], shard: Shard) -> None:
    """Append lines, which are on the disk on return; other runs may do so, too.

    Raises:
        OSError: they cannot be written.
    """
    lines = [entry.line() for entry in entries]
    if shard == ALL:
        files.append_lines(out / MANIFEST, lines)
        return
    with files.held(out / LOCK, wait=True):
        files.append_lines(out / MANIFEST, lines)


class Tally:
    """Counts what became of pictures, without keeping them."""

    def __init__(self) -> None:
        self.statuses = Counter[str]()
        self.reasons = Counter[str]()
        self.failures: list[tuple[str, str]] = []
        self.warned = 0

    def add(self, entries: Iterable[Entry]) -> None:
        """Count entries."""
        for entry in entries:
            self.statuses[entry.status] += 1
            self.warned += bool(entry.warnings)
            reason = str(entry.reason)
            if entry.status == "failed":
                self.failures.append((entry.path, reason))
            elif entry.status == "skipped":
                known = reason in (*SKIPPED, WITH_SAMPLE, WITH_SHARD)
                self.reasons[reason if known else REJECTED] += 1

    def summary(self, seconds: float, names: tuple[str, str]) -> FolderSummary:
        """Return the counts.

        Args:
            seconds: all of it took.
            names: of the domains translated from and to.
        """
        source, to = names
        return FolderSummary(
            ok=self.statuses["ok"],
            skipped=self.statuses["skipped"],
            failed=self.statuses["failed"],
            failures=sorted(self.failures),
            seconds=seconds,
            warned=self.warned,
            reasons=dict(self.reasons),
            source=source,
            to=to,
        )
