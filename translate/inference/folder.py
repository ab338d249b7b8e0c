"""Folder in, folder out: scan, plan, skip, run, finish.

Decoding, the model and encoding overlap, each with bounded look-ahead. Legend: K variants of an
input, C channels, H W pixels; pixels are uint8 (H, W, C); Ds style dimensions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
from torch import Tensor

from translate.inference.animation import (
    FRAMES,
    FrameOptions,
    frames_kept,
    translate_frames,
)
from translate.inference.folder_preview import refuse_clash, write_folder_preview
from translate.inference.likeness import find_direction, is_open
from translate.inference.manifest import (
    ALL,
    ELSEWHERE,
    HIDDEN,
    LINK,
    NO_FILE,
    NO_PICTURE,
    NO_SPACE,
    NOT_REACHED,
    STOPPED,
    UP_TO_DATE,
    Entry,
    Journal,
    Shard,
    belongs,
    mark_up_to_date,
    only_run,
    refuse_used,
    remove_unfinished,
    write_last_manifest,
    write_manifest,
)
from translate.inference.planning import Inputs, check, check_out, plan_outputs, scan
from translate.inference.predictor import Direction, Prediction, Predictor, listed_domains
from translate.inference.styles import default_workers, resolve_direction, style_source
from translate.io import images
from translate.io.depth import fitting, lost_depth
from translate.io.files import DiskFullError, PathLike, Stamp, atomic, is_full, make_folders
from translate.io.images import DEFAULT_QUALITY, UInt8
from translate.io.lost import layout_of, lost_of_picture, profile_space
from translate.io.metadata.record import NONE
from translate.losses.energy import RejectedImageError, RejectionThreshold
from translate.runtime.budget import Budget
from translate.runtime.prefetch import ahead
from translate.runtime.signals import interruption

Progress: TypeAlias = Callable[[float, int], None]  # inputs done, of so many


logger = logging.getLogger(__name__)


def no_progress(done: float, total: int) -> None:
    """Ignore the progress."""


SUFFIXES = {
    "keep": "",
    "png": ".png",
    "jpg": ".jpg",
    "jpeg": ".jpg",
    "webp": ".webp",
    "avif": ".avif",
    "jp2": ".jp2",
    "gif": ".gif",
    "tiff": ".tif",
}
# Raise it when the pixels written for the same model, picture and options change: --skip-existing
# then does everything again. It is not the package's version, which changes far more often than the
# pixels do: an upgrade would throw away good outputs, and a change during development would go
# unnoticed.
TRANSLATION_VERSION = 2


@dataclass(frozen=True)
class FolderOptions:
    """What may be asked of the translation of a folder.

    Args:
        source: the domain translated from; may be left out where the model has two.
        style: "mean", "random" (drawn from seed, relative path and variant), "auto" (of these two
            what training found better for the target), "own" (a reconstruction: source and target
            are the same), or a file or folder of exemplars of the target domain: of a folder, an
            input takes one by seed and relative path, and its variant k the k-th after that.
        seed: of random and chosen styles.
        samples: variants of each input; above 1 they are numbered: name_1, with `suffix`
            name<suffix>_1.
        batch_size: images of the training size in a forward pass, default the device's.
        format: of the outputs: keep, or one of SUFFIXES.
        quality: of JPEG, WebP and AVIF, 1 to 100.
        suffix: text appended to the outputs' names.
        on_error: "continue", or "stop": finish what comes before the first failure, and no more.
        skip_existing: leave out what the previous manifest says was made from the same file (size
            and time), model and options by the same TRANSLATION_VERSION of this code, if the
            outputs are still there, with the number of bytes that they were written with.
        verify: with skip_existing, compare the content of the outputs, too, by its SHA-256.
        overwrite: do all again in a folder that an earlier run has written into.
        strict: let hidden files and those that are no pictures fail instead of skipping them.
        workers: threads that read and write pictures, default one a core, at most 8.
        max_pixels: of a picture; larger ones are refused. All that are decoded or encoded at once
            have together no more.
        shard: (i, n), to do the i-th of n shares, 1-based; all may run at once into one folder,
            each in its process.
        reject: warn of inputs whose energy lies above this quantile of the source domain's
            training images.
        reject_skip: skip these instead of translating them; a later run measures them again.
        preview: write preview.html and preview.png of the first pictures when all is done.
        frames: of animations and TIFFs of several pages "all", in one style, where the output's
            format holds several, or the "first".
        strip: write no metadata; otherwise EXIF, XMP and the like are kept as far as the format
            of the output holds them.
        keep_profile: translate pictures in their colour profile, and write it, instead of
            converting them to sRGB, where the model has as many channels and the format holds one.

    Raises:
        ValueError: for an option that cannot be, naming it and the remedy.
    """

    source: str | None = None
    style: PathLike = "auto"
    seed: int = 0
    samples: int = 1
    batch_size: int | None = None
    format: str = "keep"
    quality: int = DEFAULT_QUALITY
    suffix: str = ""
    on_error: str = "continue"
    skip_existing: bool = False
    verify: bool = False
    overwrite: bool = False
    strict: bool = False
    workers: int | None = None
    max_pixels: int = 178_000_000
    shard: Shard = ALL
    reject: float | None = None
    reject_skip: bool = False
    preview: bool = False
    frames: str = "all"
    strip: bool = False
    keep_profile: bool = False

    def __post_init__(self) -> None:
        check(self.format in SUFFIXES, f"format {self.format}: use {', '.join(SUFFIXES)}")
        suffix = SUFFIXES[self.format]
        check(
            not suffix or suffix in images.SUFFIXES,
            f"format {self.format}: this Pillow was built without it; use png",
        )
        check(1 <= self.quality <= 100, f"quality {self.quality}: must be 1 to 100")
        check(
            not (self.skip_existing and self.overwrite),
            "--skip-existing: does what is missing, --overwrite all of it; give one of them",
        )
        check(
            self.skip_existing or not self.verify,
            "--verify: goes with --skip-existing, which then reads the outputs that are there",
        )
        check(self.frames in FRAMES, f"frames {self.frames}: use {' or '.join(FRAMES)}")
        known = self.on_error in ("continue", "stop")
        check(known, f"on_error {self.on_error}: use continue or stop")
        check(
            not set(self.suffix) & set("/\\\0"),
            f"suffix {self.suffix!r}: is part of a name, a path separator cannot be in it",
        )
        i, n = self.shard
        check(1 <= i <= n, f"shard {i}/{n}: use 1/N to N/N for N shards")
        for name in ("samples", "batch_size", "workers", "max_pixels"):
            number = getattr(self, name)
            check(number is None or number > 0, f"{name} {number}: must be at least 1")
        check(
            self.reject is not None or not self.reject_skip,
            "--reject-skip: needs --reject, the quantile above which to skip",
        )
        check(
            not (self.strip and self.keep_profile),
            "--keep-profile: writes the profile, --strip nothing; give one of them",
        )


DEFAULTS = FolderOptions()
# why inputs are skipped; any other reason is the model's, and different for each
SKIPPED = (HIDDEN, NO_PICTURE, LINK, NO_FILE, UP_TO_DATE, NOT_REACHED, STOPPED, NO_SPACE)
REJECTED = "rejected"


@dataclass(frozen=True)
class FolderSummary:
    """What became of a folder, or of a shard's share.

    Args:
        ok: inputs translated.
        skipped: inputs left out.
        failed: inputs that failed.
        failures: (path, reason) of these, sorted.
        seconds: all of it took.
        warned: inputs that have warnings in the manifest.
        reasons: how many were left out why.
        source: name of the domain translated from.
        to: name of the domain translated to.
    """

    ok: int
    skipped: int
    failed: int
    failures: list[tuple[str, str]]
    seconds: float
    warned: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    source: str = ""
    to: str = ""


class FolderJob:
    """The translation of a file, all files below a folder, or a list of files, each in its size.

    Args:
        predictor: the model.
        inputs: a file, a folder, a pattern such as "photos/*.png", or a list of files, of which
            those below the current folder keep their place, and others are put below `out` by
            their absolute path.
        out: the folder to write into.
        to: the target domain; of two it may be left out, and is then the one that a few inputs do
            not look like, else the second.
        options: everything else.
        progress: called with (done, total) in the calling thread; of large pictures in work also
            with shares, in the thread that works on them.

    Raises:
        ValueError: for domains and a quantile that are not valid.
    """

    def __init__(
        self,
        predictor: Predictor,
        inputs: Inputs,
        out: PathLike,
        to: str | None = None,
        options: FolderOptions = DEFAULTS,
        progress: Progress = no_progress,
    ) -> None:
        self.predictor = predictor
        self.inputs = inputs
        self.out = Path(out)
        self.to = to
        self.options = options
        self.progress = progress
        self.batch_size = options.batch_size or predictor.batch_size
        self.workers = options.workers or default_workers()
        names = predictor.config.data.names
        undecided = is_open(names, to, options.source)
        check(
            not undecided or options.shard == ALL,
            f"--to: must be given where several shares are translated; this model has "
            f"{listed_domains(names)}",
        )
        self.direction = resolve_direction(
            names, names[-1] if undecided else to, options.source, options.style
        )
        if options.reject is not None:  # refused before any work
            predictor.rejection_threshold(self.direction[0], options.reject, options.reject_skip)
        # of all pictures that are decoded or encoded at once
        self.pixels = Budget(options.max_pixels)
        self.done = 0
        self.stopped = False  # at a failure, with on_error "stop"
        self.full = False  # the disk
        self.aborted = threading.Event()  # by a second Ctrl-C
        self.of_frames: list[Entry] = []  # jobs that wait for the others
        self.counting = threading.Lock()
        self.shares: dict[str, float] = {}  # done of large pictures in work

    def translate(self) -> FolderSummary:
        """Run all steps.

        Raises:
            ValueError: before any work, in one line, when the options do not fit the inputs or the
                model.
            DiskFullError: after the manifest is written.
            KeyboardInterrupt: after the manifest is written; what was not reached is in it as
                skipped, "interrupted".
        """
        start = time.perf_counter()
        self.scan()
        self.plan()
        self.look()
        with only_run(self.target, self.options.shard):
            self.skip()
            try:
                self.run()
            finally:
                self.finish()
        if self.options.preview and self.options.shard[0] == 1:
            self.write_preview()
        return self.summary(time.perf_counter() - start)

    def scan(self) -> None:
        """Find the inputs, and those that are this shard's own."""
        self.folder, self.entries = scan(self.inputs, self.options.strict)
        listed = not isinstance(self.inputs, str | os.PathLike)
        self.takes_links = (
            listed or Path(cast(PathLike, self.inputs)).is_file()
        )  # as they are named
        self.target = check_out(self.inputs, self.out)
        self.journal = Journal(self.target, self.options.shard)
        shard = self.options.shard
        self.own = [entry for entry in self.entries if belongs(entry.path, shard)]

    def plan(self) -> None:
        """Name the outputs; refuse a folder whose files they would replace unasked."""
        options = self.options
        # Names depend on all inputs, whoever translates them.
        found = [entry.path for entry in self.entries if entry.reason == NOT_REACHED]
        outputs = plan_outputs(found, SUFFIXES[options.format], options.suffix, options.samples)
        for entry in self.entries:
            if entry.path in outputs and not belongs(entry.path, options.shard):
                entry.reason = ELSEWHERE

        self.jobs = [entry for entry in self.own if entry.reason == NOT_REACHED]
        if options.preview:
            refuse_clash([output for made in outputs.values() for output in made])
        for job in self.jobs:
            job.outputs = outputs[job.path]
        if not options.overwrite:
            refuse_used(self.target, self.jobs, options.skip_existing, options.shard)

    def look(self) -> None:
        """Look at a few inputs, which may decide the direction; know what outputs depend on."""
        options = self.options
        found = [self.folder / entry.path for entry in self.own if entry.reason == NOT_REACHED]
        self.direction = find_direction(
            self.predictor, found, self.to, options.source, options.style, options.max_pixels
        )
        source, to = self.direction
        self.threshold = None
        if options.reject is not None:
            self.threshold = self.predictor.rejection_threshold(
                source, options.reject, options.reject_skip
            )
        name = self.predictor.config.data.names[to]
        self.style_of = style_source(
            self.predictor, options.style, name, options.seed, options.samples
        )
        for job in self.jobs:
            with suppress(OSError):  # it will fail
                job.key = self._key(job)

    def _key(self, job: Entry) -> str:
        """Return the hash of all that a job's outputs depend on."""
        file = (self.folder / job.path).stat()
        facts: list[object] = [
            TRANSLATION_VERSION,
            self.predictor.cache_key,
            self.direction,
            file.st_size,
            file.st_mtime_ns,
            job.outputs,
        ]
        if self.threshold is not None:
            facts.append(self.threshold)
        if self.options.quality != DEFAULT_QUALITY:
            facts.append({"quality": self.options.quality})
        if self.options.frames != DEFAULTS.frames:
            facts.append({"frames": self.options.frames})
        facts += [{name: True} for name in ("strip", "keep_profile") if getattr(self.options, name)]
        styles = self.style_of(job.path).numpy().tobytes()
        return hashlib.sha256(json.dumps(facts).encode() + styles).hexdigest()

    def skip(self) -> None:
        """Leave out what is up to date, and write the first manifest."""
        options = self.options
        if options.skip_existing:
            mark_up_to_date(self.target, self.jobs, options.verify)
        # At once: a run that gets killed must leave no line about outputs it has replaced.
        write_manifest(self.target, self.entries, options.shard)
        remove_unfinished(self.target, self.jobs, options.shard)
        self.jobs = [job for job in self.jobs if job.reason == NOT_REACHED]
        self.done = len(self.own) - len(self.jobs)
        self.progress(self.done, len(self.own))

    def run(self) -> None:
        """Take the jobs through all stages; an exception leaves in them what was done.

        At Ctrl-C or SIGTERM it finishes what is in work, and at a second one nothing.

        Raises:
            DiskFullError: where no space is left.
            KeyboardInterrupt: after Ctrl-C or SIGTERM.
        """
        with interruption(_say_that_it_ends, self.aborted.set) as self.interrupted:
            self._run()
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def _run(self) -> None:
        """Take the jobs through all stages, until one of the reasons to end."""
        pool = ThreadPoolExecutor(self.workers)
        # native: images of full size wait
        scaled = self.predictor.scale == "model"
        look = self.batch_size + 2 * self.workers if scaled else self.workers
        try:
            stream = self.predictor.predict_stream(
                self._decoded(pool, look),
                self.direction,
                lambda job: self.style_of(job.path),
                self.batch_size,
                self.threshold,
                lambda job: self.predictor.carries(job.size or (0, 0)),
                self._count_strip,
            )
            with closing(stream):
                for (job, _), writing in ahead(pool, self._write_in_turn, stream, look):
                    writing.result()
                    self._end(job)
            for job in self._reached():
                self._translate_frames(job)
                self._end(job)
        finally:
            pool.shutdown(cancel_futures=True)
            self._name_unreached(NO_SPACE if self.full else NOT_REACHED)
        if self.full:
            raise DiskFullError(
                f"{self.target}: no space left on device; make room, then run again with "
                "--skip-existing"
            )
        self._name_unreached(NOT_REACHED if self.interrupted.is_set() else STOPPED)

    def finish(self) -> None:
        """Write the last manifest, when the outputs that it tells of are on the disk."""
        self.journal.sync(self.own)
        write_last_manifest(self.target, self.entries, self.options.shard)

    def write_preview(self) -> None:
        """Write the page that shows inputs beside their outputs."""
        names = self.predictor.config.data.names
        source, to = (names[domain] for domain in self.direction)
        write_folder_preview(
            self.target,
            self.folder,
            self.own,
            (source, to),
            partial(self.predictor.read, max_pixels=self.options.max_pixels),
        )

    def summary(self, seconds: float) -> FolderSummary:
        """Count what became of the inputs."""
        counts = Counter(entry.status for entry in self.own)
        failed = [entry for entry in self.own if entry.status == "failed"]
        failures = [(entry.path, str(entry.reason)) for entry in failed]
        skipped = (str(entry.reason) for entry in self.own if entry.status == "skipped")
        names = self.predictor.config.data.names
        source, to = (names[domain] for domain in self.direction)
        return FolderSummary(
            ok=counts["ok"],
            skipped=counts["skipped"],
            failed=counts["failed"],
            failures=failures,
            seconds=seconds,
            warned=sum(bool(entry.warnings) for entry in self.own),
            reasons=dict(Counter(why if why in SKIPPED else REJECTED for why in skipped)),
            source=source,
            to=to,
        )

    def _decoded(self, pool: ThreadPoolExecutor, look: int) -> Iterator[tuple[Entry, UInt8]]:
        """Yield jobs with their preprocessed pixels, decoded ahead by threads."""
        for job, future in ahead(pool, self._read_in_turn, self.jobs, look):
            if self.interrupted.is_set():
                return
            pixels = future.result()
            if job.frames is not None:
                self.of_frames.append(job)
            elif pixels is None:
                self._end(job)
            else:
                yield job, pixels
            if self.stopped or self.full:
                return

    def _read_in_turn(self, job: Entry) -> UInt8 | None:
        """Decode a job's picture when there is room for its pixels; see `_read`."""
        with self.pixels.share(images.count_pixels(self.folder / job.path)):
            return self._read(job)

    def _write_in_turn(self, predicted: tuple[Entry, Prediction]) -> None:
        """Encode a job's outputs when there is room for their pixels; see `_write`."""
        width, height = predicted[0].size or (0, 0)
        with self.pixels.share(width * height):
            self._write(predicted)

    def _read(self, job: Entry) -> UInt8 | None:
        """Decode a job's picture, in a thread; None if that fails."""
        try:
            parent = (self.target / job.outputs[0]).parent
            check(parent.resolve() == parent, f"not written through a symbolic link: {parent}")
            is_link = (self.folder / job.path).is_symlink()
            check(self.takes_links or not is_link, "has become a symbolic link")
            picture = self._decode(job)
            job.size = picture.size
            job.bits = picture.bits
            format = images.format_from_suffix(job.outputs[0])
            if picture.several and self.options.frames == "all":
                kept = frames_kept(self.folder / job.path, format, self.options.max_pixels)
                if not isinstance(kept, str):
                    job.frames = kept
                    return None
                job.warnings = (*job.warnings, kept)
            channels = self.predictor.config.data.channels
            job.metadata = NONE if self.options.strip else picture.metadata
            lost = lost_of_picture(picture, format, channels)
            job.warnings = (*job.warnings, *picture.warnings, *lost)
            if picture.alpha is not None and format in images.ALPHA_FORMATS:
                job.alpha = zlib.compress(picture.alpha.tobytes(), 1)
            return self.predictor.preprocess(picture)
        except Exception as error:  # no file may end the others
            job.fail(error)
            return None

    def _decode(self, job: Entry) -> images.Picture:
        """Decode a job's picture."""
        format = images.format_from_suffix(job.outputs[0])
        space = None
        if self.options.keep_profile:
            space = profile_space(format, self.predictor.config.data.channels)
        return self.predictor.read(self.folder / job.path, self.options.max_pixels, space)

    def _write(self, predicted: tuple[Entry, Prediction]) -> None:
        """Encode a job's outputs, in a thread."""
        job, prediction = predicted
        if self.full:
            return
        try:
            self._write_outputs(job, prediction)
            job.status = "ok"
            job.reason = None
            job.release()
            assert job.size is not None
            job.warnings = (*job.warnings, *self.predictor.warnings(prediction, job.size))
        except RejectedImageError as error:
            job.reason = str(error)
            job.release()
        except Exception as error:  # encoders raise many things
            self.full |= is_full(error) and error is not prediction.pixels
            job.fail(error, "cannot be written: " if isinstance(error, OSError) else "")

    def _write_outputs(self, job: Entry, prediction: Prediction) -> None:
        """Write what the model made of a job's picture, in the picture's size."""
        assert job.size is not None
        width, height = job.size
        alpha = None
        if job.alpha is not None:
            alpha = np.frombuffer(zlib.decompress(job.alpha), np.uint8).reshape(height, width)
        make_folders((self.target / job.outputs[0]).parent)
        kind = images.format_from_suffix(job.outputs[0])
        outputs = self.predictor.outputs(prediction, job.size, lambda: self._read_again(job, kind))
        metadata = job.metadata.fitting(kind, layout_of(outputs[0]))
        lost = (*metadata.lost, *lost_depth(job.bits, outputs[0], kind))
        job.warnings = (*job.warnings, *lost)
        for path, pixels in zip(job.outputs, outputs, strict=True):
            images.write_image(self.target / path, pixels, alpha, self.options.quality, metadata)
        job.stamps = tuple(Stamp.of(self.target / path) for path in job.outputs)

    def _reached(self) -> Iterator[Entry]:
        """Yield the jobs of several frames, which wait for the others, until a reason to end."""
        for job in self.of_frames:
            before = self.jobs[: self.jobs.index(job)] if self.stopped else []
            failed = any(other.status == "failed" for other in before)
            if self.full or self.interrupted.is_set() or failed:
                return
            yield job

    def _translate_frames(self, job: Entry) -> None:
        """Translate a job of several frames into files that are whole or not there."""
        sequence = job.frames
        assert sequence is not None
        job.frames = None
        options = frame_options(
            self.options,
            self.direction,
            self.style_of(job.path),
            images.format_from_suffix(job.outputs[0]),
            self.threshold,
        )
        path = self.folder / job.path
        try:
            make_folders((self.target / job.outputs[0]).parent)
            with ExitStack() as stack:
                parts = [
                    stack.enter_context(atomic(self.target / output)) for output in job.outputs
                ]
                outputs = [stack.enter_context(open(part, "w+b")) for part in parts]
                warnings = translate_frames(
                    self.predictor,
                    path,
                    sequence,
                    outputs,
                    options,
                    lambda share: self._count_strip(job, share),
                )
            job.stamps = tuple(Stamp.of(self.target / output) for output in job.outputs)
            job.status = "ok"
            job.reason = None
            job.warnings = (*job.warnings, *warnings)
        except RejectedImageError as error:
            job.reason = str(error)
        except Exception as error:  # as in _write
            self.full |= is_full(error)
            job.fail(error, "cannot be written: " if isinstance(error, OSError) else "")

    def _read_again(self, job: Entry, kind: str) -> images.Picture:
        """Decode a job's picture once more, at the depth that a format holds.

        None of full size waits for the model.
        """
        picture = self._decode(job)
        check(picture.size == job.size, "the file has changed while it was translated")
        return replace(picture, levels=fitting(picture.levels, kind))

    def _end(self, job: Entry) -> None:
        """Count a job that is over; with on_error "stop" a failed one ends the run."""
        with self.counting:
            self.shares.pop(job.path, None)
            self.done += 1
        self.progress(self.done + sum(self.shares.values()), len(self.own))
        try:
            self.journal.add(job)
        except OSError as error:
            if not is_full(error):
                raise
            self.full = True
        self.stopped |= self.options.on_error == "stop" and job.status == "failed"

    def _count_strip(self, job: Entry, share: float) -> None:
        """Count a share of a large picture, in the thread that works on it."""
        if self.aborted.is_set():
            raise InterruptedError(NOT_REACHED)
        with self.counting:
            self.shares[job.path] = share
            done = self.done + sum(self.shares.values())
        self.progress(done, len(self.own))

    def _name_unreached(self, reason: str) -> None:
        """Say why jobs were not reached, where nothing else is known."""
        for job in self.jobs:
            if job.reason == NOT_REACHED:
                job.reason = reason


def frame_options(
    options: FolderOptions,
    direction: Direction,
    styles: Tensor,
    kind: str,
    threshold: RejectionThreshold | None,
) -> FrameOptions:
    """Return how the frames of one file are translated.

    Args:
        options: of the translation.
        direction: from which domain to which.
        styles: (K, Ds), of all frames.
        kind: format of the outputs.
        threshold: of energies of the source domain.
    """
    return FrameOptions(
        direction,
        styles,
        kind,
        options.batch_size,
        threshold,
        options.quality,
        options.workers,
        options.strip,
        options.keep_profile,
    )


def _say_that_it_ends() -> None:
    logger.warning("finishing the pictures in work; Ctrl-C again stops at once")
