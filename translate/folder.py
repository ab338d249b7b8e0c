"""Folder in, folder out: every file's output is planned before the work and its fate told in OUT/manifest.jsonl.

Four stages run at once, each with bounded look-ahead: decoding in threads, batches of one size, the model, encoding in
threads. Paths in plans and in the manifest are relative and POSIX; the manifest holds a line for each file below IN, also
for symbolic links (skipped, as are sockets and the like) and for folders that cannot be listed (failed).
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
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from translate.checkpoint import sha256
from translate.images import (
    PART,
    SUFFIXES,
    ImageError,
    PathLike,
    Picture,
    UInt8,
    flatten,
    list_images,
    read_image,
    resize,
    to_channels,
    to_float,
    to_uint8,
    write_image,
    write_text,
)

if TYPE_CHECKING:  # Translator.translate_folder is this module's function
    from translate.translator import Styles, Translator

MANIFEST = "manifest.jsonl"
FORMATS = {"keep": None, "png": ".png", "jpg": ".jpg", "webp": ".webp"}
ALPHA_FORMATS = ("PNG", "WEBP", "TIFF")
WAITING = 8  # batches' worth of small images that may wait for company of their size
NOT_REACHED = "interrupted"

T, R = TypeVar("T"), TypeVar("R")
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Line:
    """A line of the manifest. `output` is a list where several samples are asked for; sizes are the source's own;
    `key` stands for all that the output was made from, where there is one to be trusted."""

    source: str
    output: str | list[str] | None = None
    status: Literal["ok", "skipped", "failed"] = "skipped"
    reason: str | None = NOT_REACHED
    width: int | None = None
    height: int | None = None
    warnings: Sequence[str] = ()
    key: str | None = None


@dataclass(frozen=True)
class Result:
    """What became of a folder; `failures` are (source, reason), sorted."""

    ok: int
    skipped: int
    failed: int
    failures: list[tuple[str, str]]
    seconds: float


@dataclass(frozen=True)
class Job:
    """One file to translate; `key` as in Line."""

    source: str
    outputs: tuple[str, ...]
    key: str | None

    @property
    def output(self) -> str | list[str]:
        return self.outputs[0] if len(self.outputs) == 1 else list(self.outputs)


@dataclass(frozen=True)
class Loaded:
    """A decoded file: what the model needs (H, W, C), and of the full size only the alpha channel, compressed."""

    job: Job
    pixels: UInt8
    size: tuple[int, int]
    alpha: bytes | None
    warnings: tuple[str, ...]


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
    progress: Progress = lambda done, total: None,
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
            options, if the output is still there.
        progress: told (done, total) from the calling thread.

    Raises:
        ValueError: before any work, in one line, when what was asked for cannot be done.
        KeyboardInterrupt: after the manifest is written; what was not reached is in it as skipped, "interrupted".
    """
    start = time.perf_counter()
    _check_options(format, suffix, on_error, {"samples": samples, "batch_size": batch_size or 1, "workers": workers})
    domains = translator.domains(to, source)
    folder, lines = scan(Path(inputs))
    target = check_out(Path(inputs), Path(out))
    with ThreadPoolExecutor(workers) as pool, translator.threads() as models:
        styles, of_style = models.submit(read_styles, translator, style, to, seed, max_pixels).result()
        made_from = [translator.sha256, str(translator.dtype), *domains, of_style, seed]
        plan = plan_outputs([s for s, line in lines.items() if line.reason == NOT_REACHED], format, suffix, samples)
        jobs = [Job(s, plan[s], make_key(folder / s, [*made_from, *plan[s]])) for s in sorted(plan)]
        if skip_existing:
            lines |= up_to_date(target, jobs)
        run = _Run(translator, folder, target, lines, domains, styles, on_error == "stop", max_pixels, progress)
        run.prepare_out()
        try:
            run.work(jobs, batch_size or translator.batch_size, workers, pool, models)
        except BaseException:
            for threads in (pool, models):
                threads.shutdown(cancel_futures=True)
            raise
        finally:
            run.write_manifest()
    statuses = Counter(line.status for line in lines.values())
    failures = [(s, str(line.reason)) for s, line in lines.items() if line.status == "failed"]
    return Result(statuses["ok"], statuses["skipped"], statuses["failed"], failures, time.perf_counter() - start)


# -- before the work -------------------------------------------------------------------------------------------------------


def _check_options(format: str, suffix: str, on_error: str, numbers: dict[str, int]) -> None:
    for name, value, valid in (("format", format, FORMATS), ("on_error", on_error, ("continue", "stop"))):
        if value not in valid:
            raise ValueError(f"{name} {value}: unknown; use {', '.join(valid)}")
    if any(letter in suffix for letter in "/\\\0"):
        raise ValueError(f"suffix {suffix!r}: it is part of a file's name and cannot hold a path separator")
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} {number}: must be at least 1")


def scan(inputs: Path) -> tuple[Path, dict[str, Line]]:
    """The folder that sources are relative to, and a line for each of them, sorted. Raises ValueError for none."""
    if inputs.is_file():
        return inputs.parent, {inputs.name: Line(inputs.name)}
    if not inputs.is_dir():
        raise ValueError(f"{inputs}: {'neither a file nor a folder' if inputs.exists() else 'no such file or folder'}")
    lines: dict[str, Line] = {}

    def add(path: PathLike, **values: Any) -> None:
        source = Path(path).relative_to(inputs).as_posix()
        lines[source] = Line(source, **values)

    def unlisted(error: OSError) -> None:
        add(error.filename, status="failed", reason=f"cannot be listed: {str(error.strerror).lower()}")

    for root, folders, names in os.walk(inputs, onerror=unlisted):
        for path in (os.path.join(root, name) for name in chain(folders, names)):
            with suppress(FileNotFoundError):  # removed since
                mode = os.lstat(path).st_mode
                if stat.S_ISREG(mode):
                    add(path)
                elif not stat.S_ISDIR(mode):
                    add(path, reason="symbolic link" if stat.S_ISLNK(mode) else "not a regular file")
    if not lines.keys() - {"."}:
        raise ValueError(f"{inputs}: {lines['.'].reason if lines else 'no files in it'}")
    return inputs, dict(sorted(lines.items()))


def check_out(inputs: Path, out: Path) -> Path:
    """`out` without links. Raises ValueError when it cannot be a folder, or is, holds or lies in the input."""

    def holds(folder: Path, path: Path) -> bool:
        return folder.exists() and any(p.exists() and p.samefile(folder) for p in (path, *path.parents))

    try:
        source, target = inputs.resolve(), out.resolve()
        if target.exists() and not target.is_dir():
            raise ValueError(f"{out}: is a file; choose a folder for the outputs")
        if holds(source, target) or holds(target, source):
            raise ValueError(
                f"{out}: the output folder must lie outside {inputs}, and not around it; choose another one"
            )
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise ValueError(f"{out}: cannot be used as an output folder ({error})") from None
    return target


def read_styles(
    translator: Translator, style: PathLike, to: str, seed: int, max_pixels: int
) -> tuple[Styles, list[str]]:
    """The styles that an option names, and what stands for them in keys. Raises ValueError for an unusable exemplar."""
    if style == "mean" or style == "random":
        return translator.styles(style, to, seed), [style]
    path = Path(style)
    if not path.exists():
        raise ValueError(f"style {path}: no such file or folder; use mean, random, or images of domain {to}")
    paths = [path / name for name in list_images(path)] if path.is_dir() else [path]
    if not paths:
        raise ValueError(f"style {path}: no images in this folder")

    def exemplars() -> Iterator[UInt8]:
        for one in paths:
            try:
                yield flatten(read_image(one, max_pixels), translator.background)
            except ImageError as error:
                raise ValueError(f"style {one}: {error}") from None

    return translator.styles(exemplars(), to, seed), [sha256(one) for one in paths]


def plan_outputs(sources: Iterable[str], format: str, suffix: str, samples: int) -> dict[str, tuple[str, ...]]:
    """The outputs of each source, by the names alone, and different even where case and Unicode forms are not told apart.

    Of two that would share an output the one keeps it that has its suffix, then the first in order; the other's
    full name goes before the new suffix: a.jpg and a.png become a.jpg.png and a.png.
    """

    def extension(path: PurePosixPath) -> str:
        return FORMATS[format] or (path.suffix if path.suffix.lower() in SUFFIXES else ".png")

    def fold(name: PathLike) -> str:
        return unicodedata.normalize("NFC", str(name)).casefold()

    paths = sorted(
        map(PurePosixPath, sources), key=lambda path: (path.suffix.lower() != extension(path).lower(), str(path))
    )
    taken = {fold(folder) for path in paths for folder in path.parents}
    numbers = [""] if samples == 1 else [f"_{k}" for k in range(1, samples + 1)]
    plan = {}
    for path in paths:
        for stem in chain((path.stem, path.name), (f"{path.name}-{n}" for n in count(2))):
            outputs = tuple(str(path.with_name(f"{stem}{suffix}{number}{extension(path)}")) for number in numbers)
            if taken.isdisjoint(map(fold, outputs)):
                break
        taken.update(map(fold, outputs))
        plan[str(path)] = outputs
    return plan


def make_key(path: Path, made_from: Sequence[object]) -> str | None:
    """What stands for a file's contents and all that its outputs are made from; None for a file that is gone."""
    with suppress(OSError):
        status = path.stat()
        parts = json.dumps([status.st_size, status.st_mtime_ns, *made_from])
        return hashlib.sha256(parts.encode()).hexdigest()
    return None


def up_to_date(out: Path, jobs: Iterable[Job]) -> dict[str, Line]:
    """Lines of the jobs that the previous manifest shows to be done."""
    previous: dict[str, dict[str, Any]] = {}
    with suppress(
        OSError, ValueError, TypeError, KeyError
    ):  # a manifest that is not ours ends where it stops making sense
        for text in (out / MANIFEST).read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            previous[line["source"]] = {name: line[name] for name in ("key", "width", "height", "warnings")}
    done = {}
    for job in jobs:
        line = previous.get(job.source, {})
        if job.key and line.get("key") == job.key and all((out / output).is_file() for output in job.outputs):
            done[job.source] = Line(job.source, job.output, "skipped", "up to date", **line)
    return done


# -- the work --------------------------------------------------------------------------------------------------------------


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
    lines: dict[str, Line]
    domains: tuple[int, int]
    styles: Styles
    stop: bool
    max_pixels: int
    progress: Progress
    stopping: bool = False

    def prepare_out(self) -> None:
        """Makes OUT, with a manifest at once: a run that gets killed must not leave word of outputs it has replaced."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.write_manifest()
        except OSError as error:
            raise ValueError(
                f"{self.out}: cannot be written ({error.strerror}); choose another output folder"
            ) from None
        for root, _, names in os.walk(self.out):
            for name in names:
                if name.startswith(PART) and name.endswith(".part"):  # left by a run that was killed
                    with suppress(OSError):
                        os.unlink(os.path.join(root, name))

    def write_manifest(self) -> None:
        write_text(self.out / MANIFEST, "".join(json.dumps(vars(line)) + "\n" for line in self.lines.values()))

    def work(self, jobs: list[Job], batch_size: int, workers: int, pool: Executor, models: Executor) -> None:
        """Takes the jobs that nothing is known of through all stages."""
        jobs = [job for job in jobs if self.lines[job.source].reason == NOT_REACHED]
        self.done = len(self.lines) - len(jobs)
        self.progress(self.done, len(self.lines))
        look = batch_size + 2 * workers
        loaded = self._loaded(_ahead(pool, self._load, jobs, look))
        batches = _ahead(models, self._forward, self._batches(loaded, batch_size), self.translator.parallel)
        for (item, _), saved in _ahead(pool, self._save, self._translated(batches), look):
            saved.result()
            self._tick(item.job)
        if self.stopping:
            for source, line in self.lines.items():
                if line.reason == NOT_REACHED:
                    self.lines[source] = replace(line, reason="not reached: stopped at a failure")

    def _tick(self, job: Job) -> None:
        self.done += 1
        self.stopping |= self.stop and self.lines[job.source].status == "failed"
        self.progress(self.done, len(self.lines))

    def _fail(self, job: Job, error: BaseException, size: tuple[int, int] | None = None) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            reason = f"cannot be written: {error.strerror.lower()}"
        width, height = size or (None, None)
        self.lines[job.source] = Line(job.source, None, "failed", reason, width, height)

    def _load(self, job: Job) -> Loaded | None:
        try:
            parent = (self.out / job.outputs[0]).parent
            if parent.resolve() != parent:
                raise ImageError(
                    f"its output folder {parent} is or lies behind a symbolic link; nothing is written there"
                )
            picture = read_image(self.folder / job.source, self.max_pixels)
        except (ImageError, OSError) as error:
            return self._fail(job, error)
        pixels = self.translator.prepare(flatten(picture, self.translator.background))
        alpha = None if picture.alpha is None else zlib.compress(picture.alpha, 1)
        return Loaded(job, pixels, picture.size, alpha, picture.warnings)

    def _loaded(self, loading: Iterable[tuple[Job, Future[Loaded | None]]]) -> Iterator[Loaded]:
        for job, future in loading:
            if (loaded := future.result()) is not None:
                yield loaded
            else:
                self._tick(job)
            if self.stopping:
                return

    def _batches(self, loaded: Iterable[Loaded], batch_size: int) -> Iterator[list[Loaded]]:
        """Images of one size on the model's side: a batch when full, the largest when too many wait, all in the end."""
        waiting: dict[tuple[int, ...], list[Loaded]] = {}
        for item in loaded:
            group = waiting.setdefault(item.pixels.shape, [])
            group.append(item)
            if len(group) == self._rows(item):
                yield waiting.pop(item.pixels.shape)
            elif sum(map(len, waiting.values())) >= WAITING * batch_size:
                yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
        yield from waiting.values()

    def _forward(self, batch: list[Loaded]) -> NDArray[np.float32]:
        """A batch, filled up to one shape so that no image sees how many came with it. -> (K, B, C, H, W)."""
        batch = batch + batch[-1:] * (self._rows(batch[0]) - len(batch))
        x = torch.from_numpy(to_float(np.stack([item.pixels for item in batch])))
        samples = range(len(batch[0].job.outputs))
        z_s = torch.stack([torch.stack([self.styles(item.job.source, k) for item in batch]) for k in samples])
        return self.translator.run(x, *self.domains, z_s).numpy()

    def _translated(
        self, batches: Iterable[tuple[list[Loaded], Future[NDArray[np.float32]]]]
    ) -> Iterator[tuple[Loaded, NDArray[np.float32]]]:
        for batch, future in batches:
            try:
                y = future.result()
            except (RuntimeError, MemoryError) as error:  # out of memory, above all: another size may fit
                for item in batch:
                    self._fail(item.job, error, item.size)
                    self._tick(item.job)
                continue
            yield from ((item, y[:, i]) for i, item in enumerate(batch))

    def _save(self, translated: tuple[Loaded, NDArray[np.float32]]) -> None:
        item, y = translated
        job, (width, height), background = item.job, item.size, self.translator.background
        try:
            (self.out / job.outputs[0]).parent.mkdir(parents=True, exist_ok=True)
            alpha = (
                None
                if item.alpha is None
                else np.frombuffer(zlib.decompress(item.alpha), np.uint8).reshape(height, width)
            )
            for output, pixels in zip(job.outputs, [resize(to_uint8(x), item.size) for x in y], strict=True):
                if alpha is not None and SUFFIXES[Path(output).suffix.lower()] not in ALPHA_FORMATS:
                    seen = flatten(Picture(to_channels(pixels, 3), alpha, "", "", ()), background)
                    write_image(self.out / output, to_channels(seen, pixels.shape[2]))
                else:
                    write_image(self.out / output, pixels, alpha)
            self.lines[job.source] = Line(job.source, job.output, "ok", None, width, height, item.warnings, job.key)
        except Exception as error:  # encoders raise many things, and one file must not end the others
            self._fail(job, error, item.size)
