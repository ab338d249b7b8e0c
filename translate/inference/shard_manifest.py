"""OUT/manifest.jsonl of a translation of WebDataset shards.

Of each shard it has a line for every picture, in the shard's order, then one for the shard itself,
whose key and stamp vouch for all of them. They are appended together, when the shard is on the
disk. A manifest may be larger than memory: its lines pass through, one shard after the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from translate.inference.folder_options import REJECTED, SKIPPED, FolderSummary
from translate.inference.manifest import (
    ALL,
    LOCK,
    MANIFEST,
    UP_TO_DATE,
    Entry,
    Shard,
    in_words,
    manifest_lines,
)
from translate.inference.shard_plan import WITH_SAMPLE, WITH_SHARD
from translate.io import files

OF_SHARD = re.compile(r"(.*?\.(?:tar|tar\.gz|tgz))(?:/.*)?", re.IGNORECASE | re.DOTALL)


def shard_of(source: str) -> str | None:
    """Return the path of the shard that a line is about, None where it is about none."""
    found = OF_SHARD.fullmatch(source)
    return found[1] if found else None


def keep_lines(
    out: Path, own: Collection[str], is_done: Callable[[str, Sequence[dict[str, Any]]], bool]
) -> Iterator[tuple[str, list[Entry]]]:
    """Write the manifest anew, without the lines of the shards that are to be done.

    Args:
        out: the folder.
        own: paths of the run's shards; lines about anything else stay.
        is_done: tells by its path and lines whether a shard stays as it is.

    Yields:
        Each own shard that stays, with the entries of its pictures.

    Raises:
        DiskFullError: where there is no room.
        ValueError: for a folder that cannot be written into.
    """
    kept: set[str] = set()
    with (
        in_words(out),
        files.held(out / LOCK, wait=True),
        files.atomic(out / MANIFEST, durable=True) as part,
        open(part, "wb") as file,
    ):
        for shard, found in groupby(manifest_lines(out), _shard_of_line):
            texts, lines = zip(*found, strict=True)
            is_own = shard is not None and shard in own
            if is_own and (shard in kept or not is_done(str(shard), lines)):
                continue
            file.write("".join(f"{text}\n" for text in texts).encode())
            if is_own:
                kept.add(str(shard))
                yield str(shard), [_kept(line) for line in lines[:-1]]


def _shard_of_line(line: tuple[str, dict[str, Any]]) -> str | None:
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
