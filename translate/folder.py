"""Folder in, folder out: what each file becomes is planned before the work and told in OUT/manifest.jsonl.

Four stages overlap, each with bounded look-ahead: decoding, batches of one size, the model, encoding. The manifest has a
line for every file below IN, links and sockets (skipped) and folders that cannot be listed (failed) included; its paths
are relative and POSIX. Legend: K samples, B rows of a batch; pixels are uint8 (H, W, C).
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from translate import images
from translate.checkpoint import sha256
from translate.images import ImageError, PathLike, UInt8

if TYPE_CHECKING:  # at run time it is the translator that imports this module
    from translate.translator import Styles, Translator

MANIFEST = "manifest.jsonl"
SUFFIXES = {"keep": "", "png": ".png", "jpg": ".jpg", "webp": ".webp"}
ALPHA_FORMATS = ("PNG", "WEBP", "TIFF")
WAITING = 8  # batches' worth of images, in the model's size, that may wait for others of their size
NOT_REACHED, STOPPED, UP_TO_DATE = "interrupted", "not reached: stopped at a failure", "up to date"

T = TypeVar("T")
R = TypeVar("R")
Batch: TypeAlias = "list[tuple[Entry, UInt8]]"
Floats: TypeAlias = NDArray[np.float32]


@dataclass
class Entry:
    """A file below IN and what became of it: width and height are those of source and outputs; `key` stands for all that
    the outputs follow from; `alpha` (H, W) is compressed, as all else that waits is small."""

    source: str
    status: str = "skipped"
    reason: str | None = NOT_REACHED
    outputs: tuple[str, ...] = ()
    key: str | None = None
    width: int | None = None
    height: int | None = None
    warnings: tuple[str, ...] = ()
    alpha: bytes | None = None

    def line(self) -> str:
        """The manifest's line: `output` is a list where samples were asked for; without outputs no key."""
        done = self.status == "ok" or self.reason == UP_TO_DATE
        output = (self.outputs[0] if len(self.outputs) == 1 else self.outputs) if done else None
        names = ("source", "status", "reason", "width", "height", "warnings")
        values = {name: getattr(self, name) for name in names}
        return json.dumps({"source": self.source, "output": output, **values, "key": self.key if done else None})

    def fail(self, error: Exception, doing: str = "") -> None:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        self.status, self.reason = "failed", doing + (" ".join(reason.split()) or type(error).__name__)


@dataclass(frozen=True)
class Result:
    """What became of a folder; `failures` are (source, reason), sorted."""

    ok: int
    skipped: int
    failed: int
    failures: list[tuple[str, str]]
    seconds: float


def translate_folder(
    translator: Translator,
    inputs: PathLike,
    out: PathLike,
    to: str,
    source: str | None = None,
    style: PathLike = "mean",
    seed: int = 0,
    samples: int = 1,
    *,
    batch_size: int | None = None,
    format: str = "keep",
    suffix: str = "",
    on_error: str = "continue",
    skip_existing: bool = False,
    workers: int = 4,
    max_pixels: int = 178_000_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Translates a file, or all files below a folder, into the folder `out`, each in its own size.

    Args:
        style: "mean", "random" (drawn from seed, relative path and sample), or a file or folder of exemplars of domain
            `to`: of a folder, an input takes one by seed and relative path, and its sample k the k-th after that.
        samples: outputs for each file; above 1 they are numbered name_1, name_2 and so on.
        batch_size: images in a batch, default by device.
        suffix: text added to the names of outputs.
        on_error: "continue", or "stop": finish what comes before the first failure, and no more.
        skip_existing: leave out what the previous manifest says was made from the same file (size and time), model and
            options, if the outputs are still there.
        progress: told (done, total) from the calling thread.

    Raises:
        ValueError: before any work, in one line, when what was asked for cannot be done.
        KeyboardInterrupt: after the manifest is written; what was not reached is in it as skipped, "interrupted".
    """
    start, batch_size = time.perf_counter(), translator.batch_size if batch_size is None else batch_size
    _check(format in SUFFIXES, f"format {format}: use {', '.join(SUFFIXES)}")
    _check(on_error in ("continue", "stop"), f"on_error {on_error}: use continue or stop")
    _check(not set(suffix) & set("/\\\0"), f"suffix {suffix!r}: is part of a name, a path separator cannot be in it")
    for name, number in {"samples": samples, "batch_size": batch_size, "workers": workers}.items():
        _check(number > 0, f"{name} {number}: must be at least 1")
    domains = translator.domains(to, source)
    folder, entries = scan(Path(inputs))
    target = check_out(Path(inputs), Path(out))
    with ThreadPoolExecutor(workers) as pool, translator.threads() as models:
        styles, of_style = models.submit(read_styles, translator, style, to, seed, max_pixels).result()
        jobs = [entry for entry in entries if entry.reason == NOT_REACHED]
        plan = plan_outputs([job.source for job in jobs], SUFFIXES[format], suffix, samples)
        for job in jobs:
            job.outputs = plan[job.source]
            with suppress(OSError):  # gone: it will fail
                file = (folder / job.source).stat()
                parts = [
                    file.st_size,
                    file.st_mtime_ns,
                    translator.sha256,
                    str(translator.dtype),
                    domains,
                    of_style,
                    seed,
                ]
                job.key = hashlib.sha256(json.dumps([*parts, job.outputs]).encode()).hexdigest()
        if skip_existing:
            mark_up_to_date(target, jobs)
        run = _Run(
            translator, folder, target, entries, domains, styles, batch_size, max_pixels, on_error == "stop", progress
        )
        run.prepare_out()
        try:
            run.work([job for job in jobs if job.reason == NOT_REACHED], pool, models, batch_size + 2 * workers)
        except BaseException:
            for threads in (pool, models):
                threads.shutdown(cancel_futures=True)
            raise
        finally:
            run.write_manifest()
    counts = Counter(entry.status for entry in entries)
    failures = [(entry.source, str(entry.reason)) for entry in entries if entry.status == "failed"]
    return Result(counts["ok"], counts["skipped"], counts["failed"], failures, time.perf_counter() - start)


def _check(valid: bool, message: str) -> None:
    if not valid:
        raise ValueError(message)


def scan(inputs: Path) -> tuple[Path, list[Entry]]:
    """The folder that sources are relative to, and an entry for each of them, sorted. Raises ValueError for none."""
    if inputs.is_file():
        return inputs.parent, [Entry(inputs.name)]
    _check(inputs.exists(), f"{inputs}: no such file or folder")
    _check(inputs.is_dir(), f"{inputs}: neither a file nor a folder")
    entries: list[Entry] = []

    def unlisted(error: OSError) -> None:
        entries.append(Entry(Path(error.filename).relative_to(inputs).as_posix()))
        entries[-1].fail(error, "cannot be listed: ")

    for root, folders, names in os.walk(inputs, onerror=unlisted):
        for path in (Path(root, name) for name in chain(folders, names)):
            with suppress(FileNotFoundError):  # removed since
                mode = path.lstat().st_mode
                if not stat.S_ISDIR(mode):
                    link = "symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
                    reason = NOT_REACHED if stat.S_ISREG(mode) else link
                    entries.append(Entry(path.relative_to(inputs).as_posix(), reason=reason))
    _check(bool(entries), f"{inputs}: no files in it")
    _check(entries[0].source != ".", f"{inputs}: {entries[0].reason}")
    return inputs, sorted(entries, key=lambda entry: entry.source)


def check_out(inputs: Path, out: Path) -> Path:
    """`out` without links. Raises ValueError when it cannot be a folder, or is, holds or lies in the input."""

    def holds(folder: Path, path: Path) -> bool:
        return folder.exists() and any(p.exists() and p.samefile(folder) for p in (path, *path.parents))

    try:
        source, target = inputs.resolve(), out.resolve()
        _check(not target.exists() or target.is_dir(), f"{out}: is a file; choose a folder for the outputs")
        apart = not holds(source, target) and not holds(target, source)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise ValueError(f"{out}: cannot be used as an output folder ({error})") from None
    _check(apart, f"{out}: outputs must lie neither in nor around the inputs {inputs}; choose another output folder")
    return target


def read_styles(
    translator: Translator, style: PathLike, to: str, seed: int, max_pixels: int
) -> tuple[Styles, list[str]]:
    """The styles that an option names, and what stands for them in keys. Raises ValueError for an unusable exemplar."""
    if style == "mean" or style == "random":
        return translator.styles(style, to, seed), [style]
    path = Path(style)
    _check(path.exists(), f"style {path}: no such file or folder; use mean, random, or images of domain {to}")
    paths = [path / name for name in images.list_images(path)] if path.is_dir() else [path]
    _check(bool(paths), f"style {path}: no images in this folder")

    def exemplars() -> Iterator[UInt8]:
        for one in paths:
            try:
                yield images.flatten(images.read_image(one, max_pixels), translator.background)
            except ImageError as error:
                raise ValueError(f"style {one}: {error}") from None

    return translator.styles(exemplars(), to, seed), [sha256(one) for one in paths]


def plan_outputs(sources: Sequence[str], extension: str, suffix: str, samples: int) -> dict[str, tuple[str, ...]]:
    """The outputs of each source, by the names alone, different even where case and Unicode forms are not told apart.

    Of two that would share one, that keeps it which has the output's suffix, else the first in order; the other's whole
    name goes before the suffix: a.jpg and a.png become a.jpg.png and a.png.
    """

    def fold(name: object) -> str:
        return unicodedata.normalize("NFC", str(name)).casefold()

    plan: dict[str, tuple[str, ...]] = {}
    wanted = {
        path: extension or (path.suffix if path.suffix.lower() in images.SUFFIXES else ".png")
        for path in map(PurePosixPath, sources)
    }
    taken = {fold(folder) for path in wanted for folder in path.parents}
    numbers = [""] if samples == 1 else [f"_{k + 1}" for k in range(samples)]
    for path in sorted(wanted, key=lambda path: (path.suffix.lower() != wanted[path].lower(), str(path))):
        for stem in chain((path.stem, path.name), (f"{path.name}-{n}" for n in count(2))):
            outputs = tuple(str(path.with_name(f"{stem}{suffix}{number}{wanted[path]}")) for number in numbers)
            if taken.isdisjoint(map(fold, outputs)):
                break
        taken.update(map(fold, outputs))
        plan[str(path)] = outputs
    return plan


def mark_up_to_date(out: Path, jobs: Iterable[Entry]) -> None:
    """Takes those jobs for done whose key the previous manifest has and whose outputs are there."""
    known = {}
    with suppress(OSError, ValueError, TypeError, KeyError):  # of a manifest that is not ours, what makes sense
        for text in (out / MANIFEST).read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            known[line["key"]] = [line[name] for name in ("source", "width", "height", "warnings")]
    for job in jobs:
        source, width, height, warnings = known.get(job.key, [None] * 4)
        if source == job.source and all((out / output).is_file() for output in job.outputs):
            job.reason, job.width, job.height, job.warnings = UP_TO_DATE, width, height, tuple(warnings)


def _ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T], limit: int) -> Iterator[tuple[T, Future[R]]]:
    """Items in order, each with its work, which is begun `limit` items ahead."""
    queue: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        queue.append((item, pool.submit(work, item)))
        if len(queue) > limit:
            yield queue.popleft()
    yield from queue


@dataclass
class _Run:
    translator: Translator
    folder: Path
    out: Path
    entries: list[Entry]
    domains: tuple[int, int]
    styles: Styles
    batch_size: int
    max_pixels: int
    stop: bool
    progress: Callable[[int, int], None]
    stopped: bool = False

    def prepare_out(self) -> None:
        """Makes OUT, at once with a manifest, lest a run that gets killed leaves word of outputs it has replaced."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.write_manifest()
        except OSError as error:
            raise ValueError(f"{self.out}: cannot be written ({error.strerror}); choose another folder") from None
        for root, _, names in os.walk(self.out):
            for name in names:
                if name.startswith(images.PART) and name.endswith(".part"):  # left by a run that was killed
                    with suppress(OSError):
                        os.unlink(os.path.join(root, name))

    def write_manifest(self) -> None:
        images.write_text(self.out / MANIFEST, "".join(entry.line() + "\n" for entry in self.entries))

    def work(self, jobs: list[Entry], pool: Executor, models: Executor, look: int) -> None:
        self.left = len(jobs)
        self.progress(len(self.entries) - self.left, len(self.entries))
        decoded = self._decoded(_ahead(pool, self._decode, jobs, look))
        batches = _ahead(models, self._forward, self._batches(decoded), self.translator.parallel)
        for (job, _), encoding in _ahead(pool, self._encode, self._translated(batches), look):
            encoding.result()
            self._tick(job)
        for job in jobs if self.stopped else ():
            job.reason = STOPPED if job.reason == NOT_REACHED else job.reason

    def _tick(self, job: Entry) -> None:
        self.left -= 1
        self.stopped |= self.stop and job.status == "failed"
        self.progress(len(self.entries) - self.left, len(self.entries))

    def _rows(self, pixels: UInt8) -> int:
        return self.translator.rows((pixels.shape[1], pixels.shape[0]), self.batch_size)

    def _decode(self, job: Entry) -> UInt8 | None:
        """The file in the model's size; of its own size nothing is kept but the alpha channel."""
        parent = (self.out / job.outputs[0]).parent
        try:
            if parent.resolve() != parent:
                raise ImageError(f"not written through a symbolic link: {parent}")
            picture = images.read_image(self.folder / job.source, self.max_pixels)
        except (ImageError, OSError, RuntimeError) as error:
            return job.fail(error)
        (job.width, job.height), job.warnings = picture.size, picture.warnings
        job.alpha = None if picture.alpha is None else zlib.compress(picture.alpha.tobytes(), 1)
        return self.translator.prepare(images.flatten(picture, self.translator.background))

    def _decoded(self, decoding: Iterable[tuple[Entry, Future[UInt8 | None]]]) -> Iterator[tuple[Entry, UInt8]]:
        for job, future in decoding:
            if (pixels := future.result()) is not None:
                yield job, pixels
            else:
                self._tick(job)
            if self.stopped:
                return

    def _batches(self, decoded: Iterable[tuple[Entry, UInt8]]) -> Iterator[Batch]:
        """Images of one size: a batch when full, the longest one when too many images wait, all in the end."""
        waiting: dict[tuple[int, ...], Batch] = {}
        for job, pixels in decoded:
            batch = waiting.setdefault(pixels.shape, [])
            batch.append((job, pixels))
            if len(batch) == self._rows(pixels):
                yield waiting.pop(pixels.shape)
            elif sum(map(len, waiting.values())) >= WAITING * self.batch_size:
                yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
        yield from waiting.values()

    def _forward(self, batch: Batch) -> Floats:
        """(K, B, C, H, W); a batch is filled up to one shape, so that no image feels how many others came along."""
        batch = batch + batch[-1:] * (self._rows(batch[0][1]) - len(batch))
        x = torch.from_numpy(images.to_float(np.stack([pixels for _, pixels in batch])))
        samples = range(len(batch[0][0].outputs))
        z_s = torch.stack([torch.stack([self.styles(job.source, k) for job, _ in batch]) for k in samples])
        return self.translator.run(x, *self.domains, z_s).numpy()

    def _translated(self, batches: Iterable[tuple[Batch, Future[Floats]]]) -> Iterator[tuple[Entry, Floats]]:
        for batch, future in batches:
            error = future.exception()
            for i, (job, _) in enumerate(batch):
                if isinstance(error, RuntimeError | MemoryError):  # out of memory, above all: another size may fit
                    job.fail(error, "the model failed: ")
                    self._tick(job)
                else:
                    yield job, future.result()[:, i]

    def _encode(self, translated: tuple[Entry, Floats]) -> None:
        job, y = translated
        size = int(job.width or 0), int(job.height or 0)
        try:
            kinds = [images.resize(images.to_uint8(x), size) for x in y]
            alpha = (
                None if job.alpha is None else np.frombuffer(zlib.decompress(job.alpha), np.uint8).reshape(size[::-1])
            )
            (self.out / job.outputs[0]).parent.mkdir(parents=True, exist_ok=True)
            for output, pixels in zip(job.outputs, kinds, strict=True):
                if alpha is None or images.SUFFIXES[Path(output).suffix.lower()] in ALPHA_FORMATS:
                    images.write_image(self.out / output, pixels, alpha)
                else:
                    seen = images.Picture(images.to_channels(pixels, 3), alpha, "", "", ())
                    flat = images.flatten(seen, self.translator.background)
                    images.write_image(self.out / output, images.to_channels(flat, pixels.shape[2]))
            job.status, job.reason = "ok", None
        except Exception as error:  # encoders raise many things, and no file may end the others
            job.fail(error, "cannot be written: " if isinstance(error, OSError) else "")
