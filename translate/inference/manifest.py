"""What a folder translation is asked to do and what it did: inputs found, outputs planned,
OUT/manifest.jsonl.

The manifest has a line for every input, links and sockets (skipped) and folders that cannot be
listed (failed) included; its paths are POSIX, relative to IN, or for a list of files to the
current folder. A shard is (i, n): the i-th of n runs into one OUT, 1-based; an input belongs to
one by its name alone, so shards need not see the same folder.
"""

from __future__ import annotations

import json
import os
import stat
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from filelock import FileLock

from translate.io import files
from translate.io.files import DiskFullError, PathLike, is_full
from translate.io.images import SUFFIXES

MANIFEST = "manifest.jsonl"
LOCK = f"{files.PART}lock.part"
NOT_REACHED = "interrupted"
STOPPED = "not reached: stopped at a failure"
UP_TO_DATE = "up to date"
OUT_OF_MEMORY = "out of memory; use fewer --workers or a smaller --batch-size or --max-pixels"
ELSEWHERE = "left to another shard"
NO_SPACE = "not reached: no space left on device"
Inputs: TypeAlias = PathLike | Sequence[PathLike]  # a folder, a file or a list of files
Shard: TypeAlias = tuple[int, int]
ALL: Shard = (1, 1)


@dataclass
class Entry:
    """An input and what became of it. `size` is the source's and the outputs' (width, height);
    `key` stands for all that the outputs follow from; `alpha`, the one thing of full size that
    waits for the model, is compressed.
    """

    source: str
    status: str = "skipped"
    reason: str | None = NOT_REACHED
    outputs: tuple[str, ...] = ()
    key: str | None = None
    size: tuple[int, int] | None = None
    warnings: Sequence[str] = ()
    alpha: bytes | None = None

    def line(self) -> str:
        """The manifest's line: `output` is a list where samples were asked for; no outputs, no
        key.
        """
        done = self.status == "ok" or self.reason == UP_TO_DATE
        output = (self.outputs[0] if len(self.outputs) == 1 else self.outputs) if done else None
        width, height = self.size or (None, None)
        line = {
            "source": self.source,
            "output": output,
            "status": self.status,
            "reason": self.reason,
        }
        sizes = {"width": width, "height": height}
        return json.dumps(
            line | sizes | {"warnings": self.warnings, "key": self.key if done else None}
        )

    def fail(self, error: Exception, doing: str = "") -> Entry:
        text = (
            error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        )
        reason = doing + (" ".join(text.split()) or type(error).__name__)
        if isinstance(error, MemoryError):  # nothing is wrong with the picture
            reason = OUT_OF_MEMORY
        self.status = "failed"
        self.reason = reason
        self.alpha = None
        return self


def check(valid: object, message: str) -> None:
    """Raises ValueError with the message for what is not valid."""
    if not valid:
        raise ValueError(message)


def belongs(source: str, shard: Shard) -> bool:
    """Whether an input is a shard's own."""
    return zlib.crc32(source.encode("utf-8", "surrogateescape")) % shard[1] == shard[0] - 1


def scan(inputs: Inputs) -> tuple[Path, list[Entry]]:
    """The folder that sources are relative to, and an entry for each input, sorted. Raises
    ValueError for none.

    Links below a folder are not followed, those that are named are. Of a list, a file keeps its
    place where that is below the current folder; of any other the source is the absolute path.
    """
    if not isinstance(inputs, str | os.PathLike):
        return Path(), _listed(inputs)
    folder = Path(inputs)
    if folder.is_file():
        return folder.parent, [Entry(folder.name)]
    found = "neither a file nor a folder" if folder.exists() else "no such file or folder"
    check(folder.is_dir(), f"{folder}: {found}")
    entries: list[Entry] = []

    def unlisted(error: OSError) -> None:
        entries.append(
            Entry(Path(error.filename).relative_to(folder).as_posix()).fail(
                error, "cannot be listed: "
            )
        )

    for root, folders, names in files.walk(folder, unlisted):
        kinds = [
            *((name, stat.S_IFDIR) for name in folders),
            *((name, stat.S_IFREG) for name in names),
        ]
        for name, mode in kinds:
            path = Path(root, name)
            with suppress(OSError):  # it will fail, a folder when it is listed
                mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode):
                other = "symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
                reason = NOT_REACHED if stat.S_ISREG(mode) else other
                entries.append(Entry(path.relative_to(folder).as_posix(), reason=reason))
    check(entries, f"{folder}: no files in it")
    check(entries[0].source != ".", f"{folder}: {entries[0].reason}")
    return folder, sorted(entries, key=lambda entry: entry.source)


def _listed(paths: Iterable[PathLike]) -> list[Entry]:
    here = Path.cwd()
    times = Counter[str]()
    for path in map(Path, paths):
        if ".." in path.parts:  # what it leads out of may be a link
            path = Path(os.path.realpath(path.parent), path.name)
        full = Path(os.path.abspath(path))
        times[(full.relative_to(here) if full.is_relative_to(here) else full).as_posix()] += 1
    check(times, "the list of inputs is empty; give a path a line")
    entries = []
    for source, n in sorted(times.items()):
        entry = Entry(source, warnings=(f"listed {n} times",) if n > 1 else ())
        try:
            mode = os.stat(source).st_mode
            if stat.S_ISDIR(mode):
                entry.fail(ValueError("a folder; list the files in it"))
            elif not stat.S_ISREG(mode):
                entry.reason = "not a regular file"
        except (OSError, ValueError) as error:
            entry.fail(error)
        entries.append(entry)
    return entries


def check_out(inputs: Inputs, out: Path) -> Path:
    """`out` without links. Raises ValueError when it is, holds or lies in the input, under
    whatever name.
    """

    def holds(folder: Path, path: Path) -> bool:
        return any(os.path.exists(p) and os.path.samefile(p, folder) for p in (path, *path.parents))

    target = Path(os.path.realpath(out))
    listed = not isinstance(inputs, str | os.PathLike)
    named = (
        [Path(inputs)]
        if isinstance(inputs, str | os.PathLike)
        else {Path(path).parent for path in inputs}
    )
    for name in named:
        for place in {Path(os.path.realpath(name)), Path(os.path.abspath(name))}:
            apart = (listed or not holds(place, target)) and not (
                target.exists() and holds(target, place)
            )
            check(
                apart,
                f"{out}: outputs must lie neither in nor around the inputs {name}; choose another folder",
            )
    return target


def plan_outputs(
    sources: Iterable[str], extension: str, suffix: str, samples: int
) -> dict[str, tuple[str, ...]]:
    """The outputs of each source, by the names alone, different even where case and Unicode forms
    are not told apart.

    Of two that would share one, that keeps it which has the output's suffix, else the first in
    order; the other's whole name goes before the suffix: a.jpg and a.png become a.jpg.png and
    a.png. Absolute sources lose their root.
    """

    def fold(name: object) -> str:
        return unicodedata.normalize("NFC", str(name)).casefold()

    def ending(path: PurePosixPath) -> str:
        return extension or (path.suffix if path.suffix.lower() in SUFFIXES else ".png")

    places = {source: PurePosixPath(source[len(Path(source).anchor) :]) for source in sources}
    taken = {fold(folder) for place in places.values() for folder in place.parents}
    numbers = [""] if samples == 1 else [f"_{k + 1}" for k in range(samples)]
    plan: dict[str, tuple[str, ...]] = {}
    order = sorted(
        places,
        key=lambda source: (
            places[source].suffix.lower() != ending(places[source]).lower(),
            source,
        ),
    )
    for source, place in ((source, places[source]) for source in order):
        for stem in chain((place.stem, place.name), (f"{place.name}-{n}" for n in count(2))):
            outputs = tuple(
                str(place.with_name(f"{stem}{suffix}{number}{ending(place)}")) for number in numbers
            )
            if taken.isdisjoint(map(fold, outputs)):
                break
        taken.update(map(fold, outputs))
        plan[source] = outputs
    return plan


def _previous(out: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of the manifest and what they say; a line that is cut or not ours is left out."""
    data = b""
    with suppress(OSError):
        data = (out / MANIFEST).read_bytes()
    for raw in data.splitlines():
        # RecursionError: of brackets nested thousands deep
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            text = raw.decode()
            line = json.loads(text)
            if not _is_ours(line):
                continue
            line["source"].encode("utf-8", "surrogateescape")  # as `belongs` does
            yield text, line


def _is_ours(line: dict[str, Any]) -> bool:
    """Whether the values of a manifest's line have the types that Entry.line gives them."""
    warnings = line["warnings"]
    return (
        isinstance(line["source"], str)
        and isinstance(line["key"], (str, type(None)))
        and all(isinstance(line[side], (int, type(None))) for side in ("width", "height"))
        and isinstance(warnings, list)
        and all(isinstance(warning, str) for warning in warnings)
    )


def mark_up_to_date(out: Path, jobs: Iterable[Entry]) -> None:
    """Takes for done what has its key in the previous manifest and its outputs in their place."""
    known = {line["key"]: line for _, line in _previous(out) if line["key"]}
    for job in jobs:
        line = known.get(job.key)
        if job.key and line and all(os.path.isfile(out / output) for output in job.outputs):
            job.reason = UP_TO_DATE
            job.size = (line["width"], line["height"])
            job.warnings = line["warnings"]


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """No other shard changes the manifest meanwhile; the lock of a killed one is free."""
    with FileLock(out / LOCK):
        yield
        # while it is held, so that no one can wait for a file that is gone
        (out / LOCK).unlink(missing_ok=True)


def write_manifest(out: Path, entries: Iterable[Entry], shard: Shard = ALL) -> None:
    """Writes the lines of a shard's own inputs; those of the others stay as they are.

    Raises DiskFullError, or ValueError for a folder that cannot be written into.
    """
    mine = {entry.source: entry.line() for entry in entries}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if shard == ALL:
            _write(out, mine)
            return
        with _alone(out):
            others = {
                line["source"]: text
                for text, line in _previous(out)
                if not belongs(line["source"], shard)
            }
            _write(out, mine | others)
    except OSError as error:
        if is_full(error):
            raise DiskFullError(
                f"{out}: no space left on device; make room or choose another output folder"
            ) from None
        raise ValueError(
            f"{out}: cannot be written ({error.strerror}); choose another output folder"
        ) from None


def _write(out: Path, lines: dict[str, str]) -> None:
    files.write_text(out / MANIFEST, "".join(lines[source] + "\n" for source in sorted(lines)))


def write_last_manifest(out: Path, entries: Sequence[Entry], shard: Shard) -> None:
    """Writes what became of the inputs; on a full disk at the price of the last outputs, which
    then have failed.
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
                (out / output).unlink(missing_ok=True)


def remove_unfinished(out: Path, entries: Iterable[Entry], shard: Shard) -> None:
    """Removes temporary files that a killed run has left: all, or those of a shard's own outputs,
    as others may be at work on theirs.
    """
    outputs = (out / output for entry in entries for output in entry.outputs)
    own = None if shard == ALL else {(path.parent, files.part_tag(path)) for path in outputs}
    for path in files.unfinished(out):
        if (
            own is None
            or (path.parent, path.name.removeprefix(files.PART).partition("-")[0]) in own
        ):
            with suppress(OSError):
                path.unlink()
