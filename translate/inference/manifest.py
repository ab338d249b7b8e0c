"""What became of the inputs of a folder translation: OUT/manifest.jsonl.

It has a line for every input, links and sockets (skipped) and folders that cannot be listed
(failed) included; its paths are POSIX, relative to IN, or for a list of files to the current
folder. While a run goes on, lines of what is done are appended: of several lines of one input,
which a killed run leaves, the last counts. Legend: a shard is (i, n): the i-th of n runs into one
OUT, 1-based; an input belongs to one by its name alone, so shards need not see the same folder.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from translate.io import files
from translate.io.address import StorageError
from translate.io.files import DiskFullError, Stamp, is_full
from translate.io.folders import Target
from translate.io.frames import FrameSequence
from translate.io.metadata.record import NONE, Metadata

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
# A killed run loses at most so much: what was done since the last lines were written.
BATCH = 64  # inputs
SECONDS = 10.0
# where each time makes an object
STORE_BATCH = 1000
STORE_SECONDS = 30.0
NOT_REACHED = "interrupted"
STOPPED = "not reached: stopped at a failure"
UP_TO_DATE = "up to date"
HIDDEN = "hidden"
NO_PICTURE = "no picture"
LINK = "symbolic link"
NO_FILE = "not a regular file"
OUT_OF_MEMORY = "out of memory; use fewer --workers or a smaller --batch-size or --max-pixels"
ELSEWHERE = "left to another shard"
NO_SPACE = "not reached: no space left on device"
TO_DO = (NOT_REACHED, STOPPED, NO_SPACE, ELSEWHERE)  # reasons of what another run would do


Shard: TypeAlias = tuple[int, int]
ALL: Shard = (1, 1)


def belongs(path: str, shard: Shard) -> bool:
    """Tell whether an input is a shard's own."""
    return zlib.crc32(path.encode("utf-8", "surrogateescape")) % shard[1] == shard[0] - 1


@dataclass(slots=True)  # of a job of millions there are as many
class Entry:
    """An input and what became of it.

    Args:
        path: of the input, as the manifest's `source` has it.
        status: ok, skipped or failed.
        reason: why it is not ok.
        outputs: their paths, one for each variant.
        key: hash of all that the outputs depend on.
        size: the input's and the outputs' (width, height) in pixels.
        warnings: what was tolerated.
        stamps: what the outputs' content is known by; empty where an older version wrote them.
        alpha: (H, W), the one thing of full size that waits for the model, compressed.
        bits: a channel, of the input.
        frames: of a file of several that is to be translated frame by frame.
        metadata: of the input, to be written with the outputs.
    """

    path: str
    status: str = "skipped"
    reason: str | None = NOT_REACHED
    outputs: tuple[str, ...] = ()
    key: str | None = None
    size: tuple[int, int] | None = None
    warnings: Sequence[str] = ()
    stamps: tuple[Stamp, ...] = ()
    alpha: bytes | None = None
    bits: int = 8
    frames: FrameSequence | None = None
    metadata: Metadata = NONE

    def line(self) -> str:
        """Return the manifest's line.

        What is said of outputs is a list where several variants were asked for; where there are
        no outputs, it and the key are null.
        """
        done = self.status == "ok" or self.reason == UP_TO_DATE
        width, height = self.size or (None, None)
        line = {
            "source": self.path,
            "output": _one_or_list(self.outputs) if done else None,
            "status": self.status,
            "reason": self.reason,
            "width": width,
            "height": height,
            "warnings": self.warnings,
            "key": self.key if done else None,
            "output_bytes": _one_or_list([s.size for s in self.stamps]) if done else None,
            "output_sha256": _one_or_list([s.sha256 for s in self.stamps]) if done else None,
        }
        return files.readable_json(line)

    def fail(self, error: Exception, doing: str = "") -> Entry:
        """Note that it failed, and why: `doing` what, and the error in one line."""
        text = str(error)
        if isinstance(error, OSError) and error.strerror:
            text = error.strerror.lower()
        self.reason = doing + (" ".join(text.split()) or type(error).__name__)
        if isinstance(error, MemoryError):  # nothing is wrong with the picture
            self.reason = OUT_OF_MEMORY
        self.status = "failed"
        self.release()
        return self

    def release(self) -> None:
        """Let go of what was to be written."""
        self.alpha = None
        self.metadata = NONE


def _one_or_list(values: Sequence[Any]) -> Any:
    """Return the one value, or a list of several; None for none."""
    return values[0] if len(values) == 1 else list(values) or None


def owner_of(shard: Shard) -> str:
    """Return what a shard's locks and lines are known by: I-of-N."""
    return "{}-of-{}".format(*shard)


def is_over(owner: str, shard: Shard) -> bool:
    """Tell whether an owner has ended while a shard is at work: only others of its number go on."""
    return owner == owner_of(shard) or not owner.endswith(f"-of-{shard[1]}")


def manifest_lines(out: Target) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the manifest's lines and what they say, but for those that are cut or not ours."""
    for raw in out.read_log(MANIFEST):
        # RecursionError: of brackets nested thousands deep
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            text = raw.decode().rstrip("\r\n")
            line = json.loads(text)
            if not _is_ours(line):
                continue
            line["source"].encode("utf-8", "surrogateescape")  # as `belongs` does
            yield text, line


def _is_ours(line: dict[str, Any]) -> bool:
    """Tell whether the values of a line have the types that Entry.line gives them."""
    warnings = line["warnings"]
    return (
        isinstance(line["source"], str)
        and isinstance(line["key"], (str, type(None)))
        and all(isinstance(line[side], (int, type(None))) for side in ("width", "height"))
        and isinstance(warnings, list)
        and all(isinstance(warning, str) for warning in warnings)
        and len(_listed(line, "output_bytes", int)) == len(_listed(line, "output_sha256", str))
    )


def _listed(line: dict[str, Any], name: str, kind: type) -> list[Any]:
    """Return what a line says of its outputs as a list, which is empty in those of old versions.

    Raises:
        TypeError: for values of another type.
    """
    found = line.get(name)
    values = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(value, kind) for value in values):
        raise TypeError(name)
    return values


def stamps_of(line: dict[str, Any]) -> tuple[Stamp, ...]:
    """Return what the outputs' content is known by, as a line has it."""
    sizes = _listed(line, "output_bytes", int)
    return tuple(map(Stamp, sizes, _listed(line, "output_sha256", str)))


def refuse_used(out: Target, jobs: Sequence[Entry], skip_existing: bool, shard: Shard) -> None:
    """Refuse a folder whose files a run would replace without having been told to.

    Shards fill one folder: what others have done there does not count.

    Args:
        out: the folder.
        jobs: the inputs, with their outputs.
        skip_existing: whether what an earlier run has done is left out, by its manifest.
        shard: the run's.

    Raises:
        ValueError: for one with an earlier run of the same shard, unless `skip_existing`, and for
            one with outputs that no manifest tells of.
    """
    used = out.holds_file(MANIFEST)
    if used and shard != ALL:
        own = {job.path for job in jobs}
        lines = (line for _, line in manifest_lines(out))
        used = any(line["source"] in own and line.get("reason") != ELSEWHERE for line in lines)
    if used:
        if skip_existing:
            return
        raise ValueError(
            f"{out}: holds what an earlier run has written; --skip-existing does what is missing, "
            "--overwrite does all of it again"
        )
    for job in jobs:
        for output in job.outputs:
            if out.holds(output):
                raise ValueError(
                    f"{out}: holds {output}, which no manifest tells of; choose another folder, "
                    "or replace such files with --overwrite"
                )


def mark_up_to_date(out: Target, jobs: Sequence[Entry], verify: bool = False) -> None:
    """Mark inputs whose key is in the previous manifest and whose outputs are as it says.

    Args:
        out: the folder.
        jobs: the inputs, with their outputs.
        verify: read the outputs and compare their content, too, not their number of bytes alone.
    """
    keys = {job.key for job in jobs if job.key}
    known = {
        line["key"]: ((line["width"], line["height"]), line["warnings"] or (), stamps_of(line))
        for _, line in manifest_lines(out)
        if line["key"] in keys
    }
    changed = []
    for job in jobs:
        found = known.get(job.key)
        if found is None or not all(map(out.holds_file, job.outputs)):
            continue
        size, warnings, stamps = found
        differ = [
            path
            for path, stamp in zip(job.outputs, stamps, strict=False)
            if not out.is_as_written(path, stamp, verify)
        ]
        if differ:
            changed += differ
            continue
        job.reason = UP_TO_DATE
        job.size = size
        job.warnings = warnings
        job.stamps = stamps
    if changed:
        logger.warning(
            "not as they were written, and made again: %d outputs, such as %s",
            len(changed),
            files.readable_json(changed[0]),
        )


@contextmanager
def only_run(out: Target, shard: Shard) -> Iterator[None]:
    """Keep other runs from the folder for a block, but for shards of the same number.

    Raises:
        DiskFullError: where there is no room.
        ValueError: where another run is at work, and for a folder that cannot be written into.
    """
    with ExitStack() as stack:
        with in_words(out):
            out.prepare()
            stack.enter_context(out.sole(owner_of(shard), lambda owner: is_over(owner, shard)))
        yield


def write_manifest(out: Target, entries: Iterable[Entry], shard: Shard = ALL) -> None:
    """Write the lines of a shard's own inputs; those of the others stay as they are.

    Raises:
        DiskFullError: where there is no room.
        ValueError: for a folder that cannot be written into.
    """
    lines: dict[str, str | Entry] = {entry.path: entry for entry in entries}
    with in_words(out):
        out.prepare()
        if shard == ALL:
            _write(out, lines, shard)
            return
        with out.turn():
            for text, line in manifest_lines(out):
                if not belongs(line["source"], shard):
                    lines[line["source"]] = text
            _write(out, lines, shard)


@contextmanager
def in_words(out: Target) -> Iterator[None]:
    """Raise ValueError or DiskFullError with the remedy in place of an OSError."""
    try:
        yield
    except BlockingIOError:
        raise ValueError(
            f"{out}: another run is writing into it; wait until it has ended, or choose another "
            "output folder"
        ) from None
    except StorageError:
        raise
    except OSError as error:
        if is_full(error):
            raise DiskFullError(
                f"{out.disk}: no space left on device; make room or choose another output folder"
            ) from None
        remedy = "choose another output folder"
        if isinstance(error, PermissionError):
            remedy = f"check its permissions or {remedy}"
        raise ValueError(f"{out}: cannot be written ({error.strerror}); {remedy}") from None


def _write(out: Target, lines: dict[str, str | Entry], shard: Shard) -> None:
    """Write lines, or those of entries."""
    ordered = (lines[path] for path in sorted(lines))
    texts = (line.line() if isinstance(line, Entry) else line for line in ordered)
    out.write_log(MANIFEST, texts, lambda owner: is_over(owner, shard))


class Journal:
    """Puts what is done on the disk while a run goes on: the outputs, then their lines.

    So a killed run, or a power cut, loses what was done since the last BATCH or SECONDS alone, and
    no line vouches for an output that is not on the disk.

    Args:
        out: the folder.
        shard: the run's.
    """

    def __init__(self, out: Target, shard: Shard) -> None:
        self.out = out
        self.shard = shard
        self.batch = BATCH if out.appends else STORE_BATCH
        self.seconds = SECONDS if out.appends else STORE_SECONDS
        self.waiting: list[Entry] = []
        self.synced: set[str] = set()  # paths of inputs
        self.last = time.monotonic()

    def add(self, entry: Entry) -> None:
        """Take an input that is over; from time to time, write the lines of these.

        Raises:
            OSError: the lines cannot be written.
        """
        self.waiting.append(entry)
        if len(self.waiting) < self.batch and time.monotonic() - self.last < self.seconds:
            return
        entries = self.waiting
        self.waiting = []
        self.sync(entries)
        lines = [entry.line() for entry in entries]
        self.out.append_log(MANIFEST, lines, owner_of(self.shard), shared=self.shard != ALL)
        self.last = time.monotonic()

    def sync(self, entries: Iterable[Entry]) -> None:
        """Wait until the outputs of those that are done are on the disk; which cannot be, fail."""
        new = [e for e in entries if e.status == "ok" and e.path not in self.synced]
        owners = [entry for entry in new for _ in entry.outputs]
        paths = [output for entry in new for output in entry.outputs]
        for entry, error in zip(owners, self.out.sync(paths), strict=True):
            if error is not None:
                entry.fail(error, "cannot be written: ")
        self.synced.update(entry.path for entry in new)


def write_last_manifest(out: Target, entries: Sequence[Entry], shard: Shard) -> None:
    """Write what became of the inputs at the end.

    On a full disk the last outputs are removed to make room, and have failed.
    """
    done = [entry for entry in entries if entry.status == "ok"]
    while True:
        try:
            return write_manifest(out, entries, shard)
        except DiskFullError:
            if not done:
                raise
            last = done.pop().fail(
                ValueError("given up to make room for the manifest: no space left on device")
            )
            for output in last.outputs:
                out.remove(output)


def remove_unfinished(out: Target, entries: Iterable[Entry], shard: Shard) -> None:
    """Remove temporary files that a killed run has left.

    Of several shards, each removes those of its own outputs: others may be at work on theirs.
    """
    outputs = (PurePosixPath(output) for entry in entries for output in entry.outputs)
    own = None if shard == ALL else {(path.parent, files.part_tag(path)) for path in outputs}
    for path in map(PurePosixPath, out.unfinished()):
        tag = path.name.removeprefix(files.PART).partition("-")[0]
        if own is None or (path.parent, tag) in own:
            with suppress(OSError):
                out.remove(str(path))
