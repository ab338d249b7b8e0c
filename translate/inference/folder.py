"""Folder in, folder out: the work between the plan and the manifest (manifest.py).

Decoding, the model and encoding overlap, each with bounded look-ahead.
Legend: K samples, C channels, H W pixels; pixels are uint8 (H, W, C); Ds style dimensions.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from torch import Tensor

from translate.inference.manifest import (
    ALL,
    ELSEWHERE,
    NO_SPACE,
    NOT_REACHED,
    STOPPED,
    Entry,
    Inputs,
    Shard,
    belongs,
    check,
    check_out,
    mark_up_to_date,
    plan_outputs,
    remove_unfinished,
    scan,
    write_last_manifest,
    write_manifest,
)
from translate.io import images
from translate.io.files import DiskFullError, PathLike, is_full, make_folders
from translate.io.images import UInt8
from translate.losses.energy import RejectedImageError, RejectionThreshold
from translate.runtime.device import usable_cores
from translate.runtime.prefetch import ahead

SUFFIXES = {"keep": "", "png": ".png", "jpg": ".jpg", "webp": ".webp"}
# Raise it when the pixels written for the same model, picture and options change: --skip-existing
# then does everything again. It is not the package's version, which changes far more often than the
# pixels do: an upgrade would throw away good outputs, and a change during development would go
# unnoticed.
TRANSLATION_VERSION = 1
MOST_WORKERS = 8  # unless more are asked for: each holds an image of full size

T = TypeVar("T")
R = TypeVar("R")
# (K, H, W, C) or why not, and warnings
Translated: TypeAlias = tuple[T, UInt8 | Exception, tuple[str, ...]]


class Engine(Protocol):
    """What a folder needs of a Translator, whose module imports this one."""

    batch_size: int
    scale: str

    @property
    def identity(self) -> str: ...
    def domains(self, to: str, source: str | None, style: PathLike) -> tuple[int, int]: ...
    def styles(
        self, style: PathLike, to: str, seed: int, samples: int
    ) -> Callable[[str], Tensor]: ...
    def squeezes(self, size: tuple[int, int]) -> bool: ...
    def limit(self, domain: int, level: float, skip: bool) -> RejectionThreshold: ...
    def preprocess(self, picture: images.Picture) -> UInt8: ...
    def postprocess(self, pixels: UInt8, size: tuple[int, int]) -> UInt8: ...
    def predict_stream(
        self,
        items: Iterable[tuple[T, UInt8]],
        domains: tuple[int, int],
        z_s: Callable[[T], Tensor],
        batch_size: int,
        limit: RejectionThreshold | None = None,
    ) -> Generator[Translated[T]]: ...


@dataclass(frozen=True)
class Result:
    """What became of a folder, or of a shard's share; `failures` are (source, reason), sorted;
    `warned` inputs have warnings in the manifest.
    """

    ok: int
    skipped: int
    failed: int
    failures: list[tuple[str, str]]
    seconds: float
    warned: int = 0


def translate_folder(
    translator: Engine,
    inputs: Inputs,
    out: PathLike,
    to: str,
    source: str | None = None,
    style: PathLike = "auto",
    seed: int = 0,
    samples: int = 1,
    *,
    batch_size: int | None = None,
    format: str = "keep",
    suffix: str = "",
    on_error: str = "continue",
    skip_existing: bool = False,
    workers: int | None = None,
    max_pixels: int = 178_000_000,
    shard: Shard = ALL,
    reject: float | None = None,
    reject_skip: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Translates a file, all files below a folder, or a list of files, into the folder `out`, each
    in its own size.

    Args:
        inputs: of a list, files below the current folder keep their place, others are put below
            `out` by their absolute
            path.
        style: "mean", "random" (drawn from seed, relative path and sample), "auto" (of these two
            what training found
            better for `to`), "own" (a reconstruction: `source` is `to`), or a file or folder of
            exemplars of domain `to`: of a folder, an input takes one by seed and relative path,
            and its sample k the k-th after that.
        samples: outputs for each file; above 1 they are numbered: name_1, with `suffix`
            name<suffix>_1.
        on_error: "continue", or "stop": finish what comes before the first failure, and no more.
        skip_existing: leave out what the previous manifest says was made from the same file
            (size and time), model and
            options by the same TRANSLATION_VERSION of this code, if the outputs are still there.
        shard: (i, n), to do the i-th of n shares, 1-based; all may run at once into one `out`,
            each in its process.
        reject: warn of inputs whose energy (energy.py) lies beyond this quantile of the source
            domain's training
            images; with `reject_skip` they are not translated but skipped, and judged anew in a
            later run.
        workers: threads that read and write pictures, default one a core, at most 8.
        progress: told (done, total) from the calling thread.

    Raises:
        ValueError: before any work, in one line, when what was asked for cannot be done.
        DiskFullError: after the manifest is written.
        KeyboardInterrupt: after the manifest is written; what was not reached is in it as
            skipped, "interrupted".
    """
    start = time.perf_counter()
    size = translator.batch_size if batch_size is None else batch_size
    workers = min(usable_cores(), MOST_WORKERS) if workers is None else workers
    check(format in SUFFIXES, f"format {format}: use {', '.join(SUFFIXES)}")
    check(on_error in ("continue", "stop"), f"on_error {on_error}: use continue or stop")
    check(
        not set(suffix) & set("/\\\0"),
        f"suffix {suffix!r}: is part of a name, a path separator cannot be in it",
    )
    check(1 <= shard[0] <= shard[1], f"shard {shard[0]}/{shard[1]}: use 1/N to N/N for N shards")
    for name, number in {"samples": samples, "batch_size": size, "workers": workers}.items():
        check(number > 0, f"{name} {number}: must be at least 1")
    domains = translator.domains(to, source, style)
    check(
        reject is not None or not reject_skip,
        "--reject-skip: needs --reject, the quantile beyond which to skip",
    )
    limit = None if reject is None else translator.limit(domains[0], reject, reject_skip)
    folder, entries = scan(inputs)
    target = check_out(inputs, Path(out))
    styles = translator.styles(style, to, seed, samples)
    plan = plan_outputs(
        [e.source for e in entries if e.reason == NOT_REACHED], SUFFIXES[format], suffix, samples
    )
    for entry in entries:
        if entry.source in plan and not belongs(entry.source, shard):
            entry.reason = ELSEWHERE
    own = [entry for entry in entries if belongs(entry.source, shard)]
    jobs = [entry for entry in own if entry.reason == NOT_REACHED]
    for job in jobs:
        job.outputs = plan[job.source]
        with suppress(OSError):  # it will fail
            file = (folder / job.source).stat()
            facts = [
                TRANSLATION_VERSION,
                translator.identity,
                domains,
                file.st_size,
                file.st_mtime_ns,
                job.outputs,
                *filter(None, [limit]),
            ]
            job.key = hashlib.sha256(
                json.dumps(facts).encode() + styles(job.source).numpy().tobytes()
            ).hexdigest()
    if skip_existing:
        mark_up_to_date(target, jobs)
    # At once: a run that gets killed must leave no word of outputs it has replaced.
    write_manifest(target, entries, shard)
    remove_unfinished(target, jobs, shard)
    jobs = [job for job in jobs if job.reason == NOT_REACHED]
    numbers = count(len(own) - len(jobs))
    progress(next(numbers), len(own))

    def ended(job: Entry) -> bool:  # whether to stop
        progress(next(numbers), len(own))
        return on_error == "stop" and job.status == "failed"

    try:
        _work(
            translator,
            folder,
            target,
            jobs,
            max_pixels,
            workers,
            size,
            domains,
            styles,
            limit,
            ended,
        )
    finally:
        write_last_manifest(target, entries, shard)
    counts = Counter(entry.status for entry in own)
    failures = [(entry.source, str(entry.reason)) for entry in own if entry.status == "failed"]
    seconds = time.perf_counter() - start
    warned = sum(bool(entry.warnings) for entry in own)
    return Result(counts["ok"], counts["skipped"], counts["failed"], failures, seconds, warned)


def _work(
    translator: Engine,
    folder: Path,
    out: Path,
    jobs: list[Entry],
    max_pixels: int,
    workers: int,
    batch_size: int,
    domains: tuple[int, int],
    styles: Callable[[str], Tensor],
    limit: RejectionThreshold | None,
    ended: Callable[[Entry], bool],
) -> None:
    """Takes the jobs through all stages until `ended` says to stop; an exception leaves in them
    what was done.
    """
    stop = False
    full = False
    pool = ThreadPoolExecutor(workers)
    # native: images of full size wait
    look = batch_size + 2 * workers if translator.scale == "model" else workers

    def decode(job: Entry) -> UInt8 | None:
        try:
            parent = (out / job.outputs[0]).parent
            check(parent.resolve() == parent, f"not written through a symbolic link: {parent}")
            picture = images.read_image(folder / job.source, max_pixels)
            job.size = picture.size
            job.warnings = (*job.warnings, *picture.warnings)
            if translator.squeezes(picture.size):
                job.warnings = (
                    *job.warnings,
                    "too long for the model: squeezed on its way through",
                )
            if (
                picture.alpha is not None
                and images.format_from_suffix(job.outputs[0]) in images.ALPHA_FORMATS
            ):
                job.alpha = zlib.compress(picture.alpha.tobytes(), 1)
            return translator.preprocess(picture)
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

    def encode(translated: Translated[Entry]) -> None:
        nonlocal full
        job, pixels, warnings = translated
        if full:
            return
        try:
            if isinstance(pixels, Exception):
                raise pixels
            size = job.size or (0, 0)
            alpha = (
                None if job.alpha is None else np.frombuffer(zlib.decompress(job.alpha), np.uint8)
            )
            make_folders((out / job.outputs[0]).parent)
            for output, sample in zip(job.outputs, pixels, strict=True):
                alphas = None if alpha is None else alpha.reshape(size[::-1])
                images.write_image(out / output, translator.postprocess(sample, size), alphas)
            job.status = "ok"
            job.reason = None
            job.alpha = None
            job.warnings = (*job.warnings, *warnings)
        except RejectedImageError as error:
            job.reason = str(error)
            job.alpha = None
        except Exception as error:  # encoders raise many things
            full |= is_full(error) and error is not pixels
            job.fail(error, "cannot be written: " if isinstance(error, OSError) else "")

    try:
        stream = translator.predict_stream(
            decoded(), domains, lambda job: styles(job.source), batch_size, limit
        )
        with closing(stream) as translated:
            for (job, *_), encoding in ahead(pool, encode, translated, look):
                encoding.result()
                stop |= ended(job) or full
    finally:
        pool.shutdown(cancel_futures=True)
        for job in jobs if full else []:
            job.reason = NO_SPACE if job.reason == NOT_REACHED else job.reason
    if full:
        raise DiskFullError(
            f"{out}: no space left on device; make room, then run again with --skip-existing"
        )
    for job in jobs:
        job.reason = STOPPED if job.reason == NOT_REACHED else job.reason
