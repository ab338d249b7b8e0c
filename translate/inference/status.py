"""How far the translation of a folder is, whoever does it: by its manifest and its runs' notes.

A run keeps a note in OUT while it goes on, of its pace; a killed run leaves it. Legend: a shard is
(i, n), as in `translate.inference.manifest`. Where the inputs are WebDataset shards, these are
counted in place of their pictures. Imports no torch.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath, PurePosixPath

from translate.inference.manifest import (
    MANIFEST,
    TO_DO,
    UP_TO_DATE,
    Shard,
    belongs,
    manifest_lines,
)
from translate.io import files
from translate.io.files import PathLike
from translate.io.folders import LOCK, RUN_LOCK, LocalFolder, Target
from translate.io.named import folder_at
from translate.io.shards import shard_of
from translate.io.storage import StoredFolder

SECONDS = 5.0  # between two notes of a run


@dataclass
class Note:
    """What a run says of itself.

    Args:
        started: when it began with the pictures, in seconds since 1970, by its own clock.
        told: when it said this.
        done: inputs that it was over with.
    """

    started: float
    told: float
    done: float = 0

    @property
    def rate(self) -> float | None:
        """Pictures a second, where something can be said of it."""
        seconds = self.told - self.started
        return self.done / seconds if seconds > 0 and self.done else None


class RunNote:
    """Writes a run's note, from time to time; one that cannot be written is left out.

    None is kept at an address, where each would be a request.

    Args:
        out: where the outputs go.
        shard: the run's.
    """

    def __init__(self, out: Target, shard: Shard) -> None:
        self.path = _note_path(out.folder, shard) if isinstance(out, LocalFolder) else None
        self.note = Note(0, 0)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep a note for a block; a run that is killed in it leaves the note.

        What killed runs of other numbers of shards have left is removed: none is at work now.
        """
        if self.path is None:
            yield
            return
        n = self.path.stem.rpartition("-")[2]
        for path in self.path.parent.glob(f"{RUN_LOCK}*.json"):
            if not path.stem.endswith(f"-of-{n}"):
                with suppress(OSError):
                    path.unlink()
        now = time.time()
        self.note = Note(now, now)
        self._write()
        try:
            yield
        finally:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def add(self) -> None:
        """Count an input that is over; from time to time, say how many there are."""
        self.note.done += 1
        if abs(time.time() - self.note.told) >= SECONDS:
            self.note.told = time.time()
            self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        with suppress(OSError), files.atomic(self.path) as temporary:
            temporary.write_text(json.dumps(asdict(self.note)), encoding="utf-8")


def _note_path(out: Path, shard: Shard) -> Path:
    return out / f"{RUN_LOCK}{shard[0]}-of-{shard[1]}.json"


@dataclass(frozen=True)
class Share:
    """A shard of which something is known.

    Attributes:
        shard: which.
        running: whether a run holds its lock; False after it has ended or was killed.
        done: its inputs that are translated.
        skipped: those left out.
        failed: those that failed.
        left: those that are still to be done.
        rate: pictures a second of its run, where one goes on.
        seconds_left: of its run.
    """

    shard: Shard
    running: bool
    done: int
    skipped: int
    failed: int
    left: int
    rate: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class Status:
    """How far the translation of a folder is.

    Attributes:
        total: inputs, those included that are no pictures.
        done: translated.
        skipped: left out.
        failed: failed.
        left: still to be done, by a run that goes on or by another.
        running: how many runs go on.
        rate: pictures a second of these together.
        seconds_left: at this rate, and until the slowest of these has ended.
        shards: those of which a run or what it left tells, in order.
    """

    total: int
    done: int
    skipped: int
    failed: int
    left: int
    running: int
    rate: float | None
    seconds_left: float | None
    shards: tuple[Share, ...]


def read_status(folder: PathLike) -> Status:
    """Read how far a translation is; runs that go on are not disturbed.

    At an address nothing is known of rates, and a run that was killed counts as one that goes on,
    until the next one begins.

    Raises:
        ValueError: for a folder that no translation was written into.
        StorageError: for an address that cannot be read.
    """
    out = folder_at(folder)
    if not out.holds_file(MANIFEST):
        raise ValueError(f"{out}: no {MANIFEST} in it; give the output folder of a translation")
    if isinstance(out, StoredFolder):
        found = (_shard(PurePosixPath(name)) for name in out.state())
        held = {shard for shard in found if shard is not None}
        notes: dict[Shard, Note] = {}
    else:
        held = _held_locks(out.folder)
        notes = _notes(out.folder)
    kinds = {line["source"]: _kind(line) for _, line in manifest_lines(out)}
    tars = sorted(path for path in kinds if shard_of(path) == path)
    if tars:  # a run does whole ones
        kinds = {path: kinds[path] for path in tars}

    shares = []
    for shard in sorted({*held, *notes}, key=lambda shard: (shard[1], shard[0])):
        i, n = shard
        paths = tars[i - 1 :: n] if tars else (path for path in kinds if belongs(path, shard))
        own = [kinds[path] for path in paths]
        running = shard in held
        note = notes.get(shard)
        rate = note.rate if running and note is not None else None
        left = own.count("left")
        shares.append(
            Share(
                shard,
                running,
                own.count("done"),
                own.count("skipped"),
                own.count("failed"),
                left,
                rate,
                left / rate if rate else None,
            )
        )

    every = list(kinds.values())
    left = every.count("left")
    rate = sum(share.rate for share in shares if share.rate) or None
    seconds = [share.seconds_left for share in shares if share.seconds_left is not None]
    return Status(
        total=len(every),
        done=every.count("done"),
        skipped=every.count("skipped"),
        failed=every.count("failed"),
        left=left,
        running=len(held),
        rate=rate,
        seconds_left=max(*seconds, left / rate) if rate and seconds else None,
        shards=tuple(shares),
    )


def _kind(line: dict[str, object]) -> str:
    """Return what a manifest's line says of its input in one word."""
    status, reason = line.get("status"), line.get("reason")
    if status == "ok" or reason == UP_TO_DATE:
        return "done"
    if status == "failed":
        return "failed"
    return "left" if reason in TO_DO else "skipped"


def _shard(path: PurePath) -> Shard | None:
    """Return the shard that a lock or a note is of, by its name."""
    found = re.fullmatch(r"(\d+)-of-(\d+)", path.stem.removeprefix(RUN_LOCK))
    return None if found is None else (int(found[1]), int(found[2]))


def _held_locks(out: Path) -> set[Shard]:
    """Return the shards whose runs go on.

    Where no lock can be tried, such as by another user, a lock that is there counts as held.
    """
    held = set()
    with ExitStack() as stack:
        may_try = os.access(out, os.W_OK)
        if may_try and any(out.glob(f"{RUN_LOCK}*.lock")):
            # runs that begin wait for it, and so never meet a lock that is only tried
            stack.enter_context(files.held(out / LOCK, wait=True))
        for path in out.glob(f"{RUN_LOCK}*.lock"):
            shard = _shard(path)
            if shard is None:
                continue
            try:
                if may_try:
                    with files.held(path):  # of a killed run: it goes
                        continue
            except OSError:
                pass
            held.add(shard)
    return held


def _notes(out: Path) -> dict[Shard, Note]:
    """Return what runs say of themselves, those that were killed included."""
    notes = {}
    for path in out.glob(f"{RUN_LOCK}*.json"):
        shard = _shard(path)
        if shard is not None:
            with suppress(OSError, ValueError, TypeError, AttributeError):
                found = json.loads(path.read_text(encoding="utf-8"))
                notes[shard] = Note(**{name: float(value) for name, value in found.items()})
    return notes
