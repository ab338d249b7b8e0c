"""Folder in, folder out: what each file becomes is planned before the work and told in OUT/manifest.jsonl.

Decoding, the model and encoding overlap, each with bounded look-ahead. The manifest has a line for every file below IN,
links and sockets (skipped) and folders that cannot be listed (failed) included; its paths are relative and POSIX.
Legend: K samples, C channels, H W pixels; pixels are uint8 (H, W, C); Ds style dimensions.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
import unicodedata
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from translate import images
from translate.images import PathLike, UInt8

MANIFEST = "manifest.jsonl"
SUFFIXES = {"keep": "", "png": ".png", "jpg": ".jpg", "webp": ".webp"}
ALPHA_FORMATS = ("PNG", "WEBP", "TIFF")
NOT_REACHED, STOPPED, UP_TO_DATE = "interrupted", "not reached: stopped at a failure", "up to date"

T = TypeVar("T")
R = TypeVar("R")
Floats: TypeAlias = NDArray[np.float32]


class Engine(Protocol):
    """What a folder needs of a Translator, whose module imports this one."""

    identity: str
    batch_size: int
    aspect_bound: int

    def domains(self, to: str, source: str | None) -> tuple[int, int]: ...
    def styles(self, style: PathLike, to: str, seed: int, samples: int) -> Callable[[str], Tensor]: ...
    def prepare(self, picture: images.Picture) -> UInt8: ...
    def stream(
        self, items: Iterable[tuple[T, UInt8]], domains: tuple[int, int], z_s: Callable[[T], Tensor], batch_size: int
    ) -> Generator[tuple[T, Floats | Exception]]: ...


@dataclass
class Entry:
    """A file below IN and what became of it. `size` is the source's and the outputs' (width, height); `key` stands for
    all that the outputs follow from; `alpha`, the one thing of full size that waits for the model, is compressed."""

    source: str
    status: str = "skipped"
    reason: str | None = NOT_REACHED
    outputs: tuple[str, ...] = ()
    key: str | None = None
    size: tuple[int, int] | None = None
    warnings: Sequence[str] = ()
    alpha: bytes | None = None

    def line(self) -> str:
        """The manifest's line: `output` is a list where samples were asked for; no outputs, no key."""
        done = self.status == "ok" or self.reason == UP_TO_DATE
        output = (self.outputs[0] if len(self.outputs) == 1 else self.outputs) if done else None
        width, height = self.size or (None, None)
        line = {"source": self.source, "output": output, "status": self.status, "reason": self.reason}
        sizes = {"width": width, "height": height}
        return json.dumps(line | sizes | {"warnings": self.warnings, "key": self.key if done else None})

    def fail(self, error: Exception, doing: str = "") -> Entry:
        text = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        self.status, self.reason = "failed", doing + (" ".join(text.split()) or type(error).__name__)
        self.alpha = None
        return self


@dataclass(frozen=True)
class Result:
    """What became of a folder; `failures` are (source, reason), sorted."""

    ok: int
    skipped: int
    failed: int
    failures: list[tuple[str, str]]
    seconds: float


def translate_folder(
    translator: Engine, inputs: PathLike, out: PathLike, to: str, source: str | None = None, style: PathLike = "mean",
    seed: int = 0, samples: int = 1, *, batch_size: int | None = None, format: str = "keep", suffix: str = "",
    on_error: str = "continue", skip_existing: bool = False, workers: int = 4, max_pixels: int = 178_000_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:  # fmt: skip
    """Translates a file, or all files below a folder, into the folder `out`, each in its own size.

    Args:
        style: "mean", "random" (drawn from seed, relative path and sample), or a file or folder of exemplars of domain
            `to`: of a folder, an input takes one by seed and relative path, and its sample k the k-th after that.
        samples: outputs for each file; above 1 they are numbered: name_1, with `suffix` name<suffix>_1.
        on_error: "continue", or "stop": finish what comes before the first failure, and no more.
        skip_existing: leave out what the previous manifest says was made from the same file (size and time), model and
            options, if the outputs are still there.
        progress: told (done, total) from the calling thread.

    Raises:
        ValueError: before any work, in one line, when what was asked for cannot be done.
        KeyboardInterrupt: after the manifest is written; what was not reached is in it as skipped, "interrupted".
    """
    start, size = time.perf_counter(), translator.batch_size if batch_size is None else batch_size
    _check(format in SUFFIXES, f"format {format}: use {', '.join(SUFFIXES)}")
    _check(on_error in ("continue", "stop"), f"on_error {on_error}: use continue or stop")
    _check(not set(suffix) & set("/\\\0"), f"suffix {suffix!r}: is part of a name, a path separator cannot be in it")
    for name, number in {"samples": samples, "batch_size": size, "workers": workers}.items():
        _check(number > 0, f"{name} {number}: must be at least 1")
    domains = translator.domains(to, source)
    folder, entries = scan(Path(inputs))
    target = check_out(Path(inputs), Path(out))
    styles = translator.styles(style, to, seed, samples)
    jobs = [entry for entry in entries if entry.reason == NOT_REACHED]
    plan = plan_outputs([job.source for job in jobs], SUFFIXES[format], suffix, samples)
    for job in jobs:
        job.outputs = plan[job.source]
        with suppress(OSError):  # it will fail
            file = (folder / job.source).stat()
            facts = json.dumps([translator.identity, domains, file.st_size, file.st_mtime_ns, job.outputs])
            job.key = hashlib.sha256(facts.encode() + styles(job.source).numpy().tobytes()).hexdigest()
    if skip_existing:
        mark_up_to_date(target, jobs)
    write_manifest(target, entries)  # at once: a run that gets killed must leave no word of outputs it has replaced
    for unfinished in target.rglob(f"{images.PART}*.part"):  # left by a run that was killed
        with suppress(OSError):
            unfinished.unlink()
    jobs = [job for job in jobs if job.reason == NOT_REACHED]
    numbers = count(len(entries) - len(jobs))
    progress(next(numbers), len(entries))

    def ended(job: Entry) -> bool:  # whether to stop
        progress(next(numbers), len(entries))
        return on_error == "stop" and job.status == "failed"

    try:
        _work(translator, folder, target, jobs, max_pixels, workers, size, domains, styles, ended)
    finally:
        write_manifest(target, entries)
    counts = Counter(entry.status for entry in entries)
    failures = [(entry.source, str(entry.reason)) for entry in entries if entry.status == "failed"]
    return Result(counts["ok"], counts["skipped"], counts["failed"], failures, time.perf_counter() - start)


def _check(valid: object, message: str) -> None:
    if not valid:
        raise ValueError(message)


def scan(inputs: Path) -> tuple[Path, list[Entry]]:
    """The folder that sources are relative to, and an entry for each of them, sorted. Raises ValueError for none."""
    if inputs.is_file():
        return inputs.parent, [Entry(inputs.name)]
    found = "neither a file nor a folder" if inputs.exists() else "no such file or folder"
    _check(inputs.is_dir(), f"{inputs}: {found}")
    entries: list[Entry] = []

    def unlisted(error: OSError) -> None:
        entries.append(Entry(Path(error.filename).relative_to(inputs).as_posix()).fail(error, "cannot be listed: "))

    for root, folders, names in os.walk(inputs, onerror=unlisted):
        for path in (Path(root, name) for name in chain(folders, names)):
            mode = stat.S_IFREG
            with suppress(OSError):  # it will fail
                mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode):
                other = "symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
                reason = NOT_REACHED if stat.S_ISREG(mode) else other
                entries.append(Entry(path.relative_to(inputs).as_posix(), reason=reason))
    _check(entries, f"{inputs}: no files in it")
    _check(entries[0].source != ".", f"{inputs}: {entries[0].reason}")
    return inputs, sorted(entries, key=lambda entry: entry.source)


def check_out(inputs: Path, out: Path) -> Path:
    """`out` without links. Raises ValueError when it is, holds or lies in the input, under whatever name."""

    def holds(folder: Path, path: Path) -> bool:
        return any(os.path.exists(p) and os.path.samefile(p, folder) for p in (path, *path.parents))

    target, places = Path(os.path.realpath(out)), [Path(os.path.realpath(inputs)), Path(os.path.abspath(inputs))]
    apart = not any(holds(place, target) or (target.exists() and holds(target, place)) for place in places)
    _check(apart, f"{out}: outputs must lie neither in nor around the inputs {inputs}; choose another folder")
    return target


def plan_outputs(sources: Iterable[str], extension: str, suffix: str, samples: int) -> dict[str, tuple[str, ...]]:
    """The outputs of each source, by the names alone, different even where case and Unicode forms are not told apart.

    Of two that would share one, that keeps it which has the output's suffix, else the first in order; the other's whole
    name goes before the suffix: a.jpg and a.png become a.jpg.png and a.png.
    """

    def fold(name: object) -> str:
        return unicodedata.normalize("NFC", str(name)).casefold()

    def ending(path: PurePosixPath) -> str:
        return extension or (path.suffix if path.suffix.lower() in images.SUFFIXES else ".png")

    paths = [PurePosixPath(source) for source in sources]
    taken = {fold(folder) for path in paths for folder in path.parents}
    numbers = [""] if samples == 1 else [f"_{k + 1}" for k in range(samples)]
    plan: dict[str, tuple[str, ...]] = {}
    for path in sorted(paths, key=lambda path: (path.suffix.lower() != ending(path).lower(), str(path))):
        for stem in chain((path.stem, path.name), (f"{path.name}-{n}" for n in count(2))):
            outputs = tuple(str(path.with_name(f"{stem}{suffix}{number}{ending(path)}")) for number in numbers)
            if taken.isdisjoint(map(fold, outputs)):
                break
        taken.update(map(fold, outputs))
        plan[str(path)] = outputs
    return plan


def mark_up_to_date(out: Path, jobs: Iterable[Entry]) -> None:
    """Takes for done what has its key in the previous manifest and its outputs in their place."""
    known: dict[str | None, Any] = {}
    with suppress(OSError, ValueError, TypeError, KeyError):  # of a manifest that is not ours, what makes sense
        for text in (out / MANIFEST).read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            known[line["key"]] = UP_TO_DATE, (line["width"], line["height"]), line["warnings"]
    for job in jobs:
        if job.key and job.key in known and all((out / output).is_file() for output in job.outputs):
            job.reason, job.size, job.warnings = known[job.key]


def write_manifest(out: Path, entries: Iterable[Entry]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        images.write_text(out / MANIFEST, "".join(entry.line() + "\n" for entry in entries))
    except OSError as error:
        raise ValueError(f"{out}: cannot be written ({error.strerror}); choose another output folder") from None


def ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T], limit: int) -> Iterator[tuple[T, Future[R]]]:
    """Items in order, each with its work, which is begun `limit` items ahead."""
    queue: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        queue.append((item, pool.submit(work, item)))
        if len(queue) > limit:
            yield queue.popleft()
    yield from queue


def _work(
    translator: Engine, folder: Path, out: Path, jobs: list[Entry], max_pixels: int, workers: int, batch_size: int,
    domains: tuple[int, int], styles: Callable[[str], Tensor], ended: Callable[[Entry], bool],
) -> None:  # fmt: skip
    """Takes the jobs through all stages until `ended` says to stop; an exception leaves in them what was done."""
    stop, look, pool = False, batch_size + 2 * workers, ThreadPoolExecutor(workers)

    def decode(job: Entry) -> UInt8 | None:
        try:
            parent = (out / job.outputs[0]).parent
            _check(parent.resolve() == parent, f"not written through a symbolic link: {parent}")
            picture = images.read_image(folder / job.source, max_pixels)
            job.size, job.warnings = picture.size, picture.warnings
            if max(picture.size) > translator.aspect_bound * min(picture.size):
                job.warnings = (*job.warnings, "too long for the model: squeezed on its way through")
            if picture.alpha is not None and images.SUFFIXES[Path(job.outputs[0]).suffix.lower()] in ALPHA_FORMATS:
                job.alpha = zlib.compress(picture.alpha.tobytes(), 1)
            return translator.prepare(picture)
        except Exception as error:  # no file may end the others
            job.fail(error)
            return None

    def decoded() -> Iterator[tuple[Entry, UInt8]]:
        nonlocal stop
        for job, future in ahead(pool, decode, jobs, look):
            if (pixels := future.result()) is not None:
                yield job, pixels
            else:
                stop |= ended(job)
            if stop:
                return

    def encode(translated: tuple[Entry, Floats | Exception]) -> None:
        job, y = translated
        try:
            if isinstance(y, Exception):
                raise y
            size = job.size or (0, 0)
            alpha = None if job.alpha is None else np.frombuffer(zlib.decompress(job.alpha), np.uint8)
            samples = [images.resize(images.to_uint8(x), size) for x in y]
            (out / job.outputs[0]).parent.mkdir(parents=True, exist_ok=True)
            for output, pixels in zip(job.outputs, samples, strict=True):
                images.write_image(out / output, pixels, None if alpha is None else alpha.reshape(size[::-1]))
            job.status, job.reason, job.alpha = "ok", None, None
        except Exception as error:  # encoders raise many things
            job.fail(error, "cannot be written: " if isinstance(error, OSError) else "")

    try:
        with closing(translator.stream(decoded(), domains, lambda job: styles(job.source), batch_size)) as translated:
            for (job, _), encoding in ahead(pool, encode, translated, look):
                encoding.result()
                stop |= ended(job)
    finally:
        pool.shutdown(cancel_futures=True)
    for job in jobs:
        job.reason = STOPPED if job.reason == NOT_REACHED else job.reason
