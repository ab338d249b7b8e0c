"""OUT/manifest.jsonl of a translation of WebDataset shards.

Of each shard it has a line for every picture, in the shard's order, then one for the shard itself,
whose key and stamp vouch for all of them. They are appended together, when the shard is sure to
stay. Until then a line says that the shard is to be done: the last of several counts, and at the
end of a run one is left. A manifest may be larger than memory: its lines pass through, one shard
after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from typing import Any, TypeAlias

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
    is_over,
    manifest_lines,
    owner_of,
)
from translate.inference.shard_plan import WITH_SAMPLE, WITH_SHARD
from translate.io.folders import Target
from translate.io.shards import shard_of

Line: TypeAlias = tuple[str, dict[str, Any]]  # its text, and what it says


class ShardManifest:
    """The manifest, as a run reads and writes it.

    Args:
        out: the folder.
        share: which of how many the run is.
    """

    def __init__(self, out: Target, share: Shard) -> None:
        self.out = out
        self.share = share

    def begin(
        self,
        shards: Sequence[Entry],
        own: Collection[str],
        is_done: Callable[[str, Sequence[dict[str, Any]]], bool],
        on_kept: Callable[[str, list[Entry]], None],
    ) -> None:
        """Write it anew, with one line for each shard that is to be done.

        Args:
            shards: all, whoever does them.
            own: paths of those that the run does; lines about others stay.
            is_done: tells by its path and lines whether a shard stays as it is.
            on_kept: called with each own shard that stays, and the entries of its pictures.

        Raises:
            DiskFullError: where there is no room.
            ValueError: for a folder that cannot be written into.
        """
        self._write(self._begun(shards, own, is_done, on_kept))

    def add(self, entries: Iterable[Entry]) -> None:
        """Append lines, which are sure to stay on return; other runs may do so, too.

        Raises:
            OSError: they cannot be written.
        """
        lines = [entry.line() for entry in entries]
        self.out.append_log(MANIFEST, lines, owner_of(self.share), shared=self.share != ALL)

    def end(self, own: Collection[str], left: Iterable[Entry]) -> None:
        """Write it anew at the end of a run, with one line for each shard.

        Args:
            own: paths of the run's shards.
            left: those that were not reached.

        Raises:
            DiskFullError: where there is no room.
            ValueError: for a folder that cannot be written into.
        """
        kept = (text for _, group in self._groups(own) for text, _ in group)
        self._write(chain(kept, (entry.line() for entry in left)))

    def _begun(
        self,
        shards: Sequence[Entry],
        own: Collection[str],
        is_done: Callable[[str, Sequence[dict[str, Any]]], bool],
        on_kept: Callable[[str, list[Entry]], None],
    ) -> Iterator[str]:
        """Yield the lines that a run begins with; see `begin`."""
        known: set[str] = set()
        for shard, group in self._groups(own):
            texts, lines = zip(*group, strict=True)
            if shard in own and (shard in known or not is_done(str(shard), lines)):
                continue
            yield from texts
            if shard is not None:
                known.add(shard)
            if shard in own:
                on_kept(str(shard), [_kept(line) for line in lines[:-1]])
        for entry in shards:
            if entry.path not in known:
                reason = NOT_REACHED if entry.path in own else ELSEWHERE
                yield replace(entry, reason=reason).line()

    def _write(self, lines: Iterable[str]) -> None:
        """Replace the manifest; other runs wait."""
        turn = nullcontext() if self.share == ALL else self.out.turn()
        with in_words(self.out), turn:
            self.out.write_log(MANIFEST, lines, lambda owner: is_over(owner, self.share))

    def _groups(self, own: Collection[str]) -> Iterator[tuple[str | None, list[Line]]]:
        """Yield the lines of each shard, but for those about own ones that were to be done.

        In a store, lines of a shard that is done may be there twice: joined into the manifest, and
        as they were appended.
        """
        lines = (
            (text, line)
            for text, line in manifest_lines(self.out)
            if not (line["source"] in own and line.get("reason") in TO_DO)
        )
        over: set[str | None] = set()
        for shard, group in _by_shard(lines):
            if shard in over:
                continue
            _, last = group[-1]
            if last["source"] == shard and last.get("reason") not in TO_DO:
                over.add(shard)
            yield shard, group


def _by_shard(lines: Iterable[Line]) -> Iterator[tuple[str | None, list[Line]]]:
    """Yield neighbours that are about one shard, of which its own line is the last."""
    group: list[Line] = []
    current: str | None = None
    for text, line in lines:
        shard = shard_of(line["source"])
        if group and shard != current:
            yield current, group
            group = []
        current = shard
        group.append((text, line))
        if line["source"] == shard:
            yield current, group
            group = []
    if group:
        yield current, group


def _kept(line: dict[str, Any]) -> Entry:
    """Return an earlier run's picture: what is done is up to date, what failed stays failed."""
    status, reason = line["status"], line["reason"]
    if status == "ok":
        status, reason = "skipped", UP_TO_DATE
    return Entry(line["source"], status, reason, warnings=line["warnings"])


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
