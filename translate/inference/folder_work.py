"""Pictures of a folder on their way: decoded, through the model, encoded and written.

The three overlap, each with bounded look-ahead. Legend: K variants of an input, C channels, H W
pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from translate.inference.animation import frames_kept
from translate.inference.manifest import NO_PICTURE, NO_SPACE, NOT_REACHED, STOPPED, Entry
from translate.inference.planning import check
from translate.inference.predictor import Prediction
from translate.inference.styles import default_workers
from translate.inference.task import Task
from translate.io import images
from translate.io.depth import fitting
from translate.io.files import DiskFullError, Stamp, atomic, is_full
from translate.io.folders import Source, Target
from translate.io.images import UInt8
from translate.losses.energy import RejectedImageError
from translate.runtime.budget import Budget
from translate.runtime.prefetch import ahead


@dataclass(frozen=True)
class Places:
    """Where pictures are.

    Attributes:
        inputs: what paths of inputs are relative to.
        outputs: what paths of outputs are relative to.
    """

    inputs: Source
    outputs: Target

    def absolute(self) -> Places:
        """Return the same, for processes that work in another folder."""
        return replace(self, inputs=self.inputs.absolute(), outputs=self.outputs.absolute())


class FolderWork:
    """The work on planned inputs, wherever it is done.

    Args:
        task: how each is translated.
        places: where they are.
        on_end: called with each that is over, in the thread that runs; an OSError of a full disk
            ends the run as one of an output does.
        on_share: called with an input that is large or has several frames and the share of it that
            is done, in the thread that works on it.
        aborted: when set, such inputs are given up.
    """

    def __init__(
        self,
        task: Task,
        places: Places,
        on_end: Callable[[Entry], None],
        on_share: Callable[[Entry, float], None],
        aborted: threading.Event,
    ) -> None:
        self.task = task
        self.places = places
        self.on_end = on_end
        self.on_share = on_share
        self.aborted = aborted
        self.options = task.options
        self.predictor = task.predictor
        self.batch_size = self.options.batch_size or self.predictor.batch_size
        self.workers = self.options.workers or default_workers()
        # of all pictures that are decoded or encoded at once
        self.pixels = Budget(self.options.max_pixels)
        self.stopped = False  # at a failure, with on_error "stop"
        self.full = ""  # the folder whose disk is full, if one is
        self.of_frames: list[Entry] = []  # entries that wait for the others

    def run(self, entries: Sequence[Entry], interrupted: threading.Event) -> None:
        """Take inputs through all stages, until one of the reasons to end.

        An exception leaves in the entries what was done.

        Args:
            entries: the inputs, with their outputs, not reached yet.
            interrupted: when set, what is in work is finished, and no more.

        Raises:
            DiskFullError: where no space is left.
        """
        pool = ThreadPoolExecutor(self.workers)
        # native: images of full size wait
        scaled = self.predictor.scale == "model"
        look = self.batch_size + 2 * self.workers if scaled else self.workers
        with self.ending(entries, interrupted), ExitStack() as stack:
            stack.callback(pool.shutdown, cancel_futures=True)
            stream = self.predictor.predict_stream(
                self._decoded(pool, look, entries, interrupted),
                self.task.direction,
                lambda entry: self.task.style_of(entry.path),
                self.batch_size,
                self.task.threshold,
                lambda entry: self.predictor.carries(entry.size or (0, 0)),
                self._count_share,
            )
            with closing(stream):
                for (entry, _), writing in ahead(pool, self._write_in_turn, stream, look):
                    writing.result()
                    self.end(entry)
            for entry in self._reached(entries, interrupted):
                self._translate_frames(entry)
                self.end(entry)

    @contextmanager
    def ending(self, entries: Sequence[Entry], interrupted: threading.Event) -> Iterator[None]:
        """Say why inputs were not reached, however a block that takes them ends.

        Raises:
            DiskFullError: where no space is left.
        """
        try:
            yield
        finally:
            _name_unreached(entries, NO_SPACE if self.full else NOT_REACHED)
        if self.full:
            raise DiskFullError(
                f"{self.full}: no space left on device; make room, then run again with "
                "--skip-existing"
            )
        _name_unreached(entries, NOT_REACHED if interrupted.is_set() else STOPPED)

    def end(self, entry: Entry) -> None:
        """Tell of an input that is over; with on_error "stop" a failed one ends the run."""
        self.places.inputs.release(entry.path)
        try:
            self.on_end(entry)
        except OSError as error:
            if not is_full(error):
                raise
            self._note_full(error, self.places.outputs.disk)
        self.stopped |= self.options.on_error == "stop" and entry.status == "failed"

    def _decoded(
        self,
        pool: ThreadPoolExecutor,
        look: int,
        entries: Sequence[Entry],
        interrupted: threading.Event,
    ) -> Iterator[tuple[Entry, UInt8]]:
        """Yield inputs with their preprocessed pixels, decoded ahead by threads."""
        for entry, future in ahead(pool, self._read_in_turn, entries, look):
            if interrupted.is_set():
                return
            pixels = future.result()
            if entry.frames is not None:
                self.places.inputs.release(entry.path)
                self.of_frames.append(entry)
            elif pixels is None:
                self.end(entry)
            else:
                yield entry, pixels
            if self.stopped or self.full:
                return

    def _read_in_turn(self, entry: Entry) -> UInt8 | None:
        """Decode an input when there is room for its pixels; see `_read`."""
        path = self._fetch(entry)
        if path is None:
            return None
        with self.pixels.share(images.count_pixels(path)):
            return self._read(entry, path)

    def _write_in_turn(self, predicted: tuple[Entry, Prediction]) -> None:
        """Encode an input's outputs when there is room for their pixels; see `_write`."""
        width, height = predicted[0].size or (0, 0)
        with self.pixels.share(width * height):
            self._write(predicted)

    def _fetch(self, entry: Entry) -> Path | None:
        """Return the file to decode; None if there is none, or it turns out to be no picture."""
        try:
            self.places.outputs.check(entry.outputs[0])
            if not self.options.strict and not self.places.inputs.is_picture(entry.path):
                entry.reason = NO_PICTURE
                return None
            return self.places.inputs.fetch(entry.path)
        except Exception as error:  # no file may end the others
            self._note_full(error, tempfile.gettempdir())
            entry.fail(error)
            return None

    def _read(self, entry: Entry, path: Path) -> UInt8 | None:
        """Decode an input, in a thread; None if that fails."""
        try:
            kind = images.format_from_suffix(entry.outputs[0])
            picture = self.task.read(path, kind)
            entry.size = picture.size
            entry.bits = picture.bits
            if picture.several and self.options.frames == "all":
                kept = frames_kept(path, kind, self.options.max_pixels)
                if not isinstance(kept, str):
                    entry.frames = kept
                    return None
                entry.warnings = (*entry.warnings, kept)
            entry.metadata = self.task.metadata(picture)
            entry.warnings = (*entry.warnings, *self.task.warnings(picture, kind))
            if picture.alpha is not None and kind in images.ALPHA_FORMATS:
                entry.alpha = zlib.compress(picture.alpha.tobytes(), 1)
            return self.predictor.preprocess(picture)
        except Exception as error:  # no file may end the others
            entry.fail(error)
            return None

    def _write(self, predicted: tuple[Entry, Prediction]) -> None:
        """Encode an input's outputs, in a thread."""
        entry, prediction = predicted
        if self.full:
            return
        try:
            self._write_outputs(entry, prediction)
            entry.status = "ok"
            entry.reason = None
            entry.release()
            assert entry.size is not None
            said = self.predictor.warnings(prediction, entry.size)
            entry.warnings = (*entry.warnings, *said)
        except RejectedImageError as error:
            entry.reason = str(error)
            entry.release()
        except Exception as error:  # encoders raise many things
            if error is not prediction.pixels:
                self._note_full(error, self.places.outputs.disk)
            entry.fail(error, "cannot be written: " if isinstance(error, OSError) else "")

    def _write_outputs(self, entry: Entry, prediction: Prediction) -> None:
        """Write what the model made of an input, in the picture's size."""
        assert entry.size is not None
        width, height = entry.size
        alpha = None
        if entry.alpha is not None:
            alpha = np.frombuffer(zlib.decompress(entry.alpha), np.uint8).reshape(height, width)
        outputs = [self.places.outputs.place(output) for output in entry.outputs]
        kind = images.format_from_suffix(entry.outputs[0])
        variants, metadata, lost = self.task.fit(
            prediction,
            kind,
            entry.size,
            entry.bits,
            entry.metadata,
            lambda: self._read_again(entry, kind),
        )
        entry.warnings = (*entry.warnings, *lost)
        for path, pixels in zip(outputs, variants, strict=True):
            images.write_image(path, pixels, alpha, self.options.quality, metadata)
        entry.stamps = tuple(map(Stamp.of, outputs))
        self.places.outputs.commit(entry.outputs)

    def _read_again(self, entry: Entry, kind: str) -> images.Picture:
        """Decode an input once more, at the depth that a format holds.

        None of full size waits for the model.
        """
        picture = self.task.read(self.places.inputs.fetch(entry.path), kind)
        check(picture.size == entry.size, "the file has changed while it was translated")
        return replace(picture, levels=fitting(picture.levels, kind))

    def _reached(self, entries: Sequence[Entry], interrupted: threading.Event) -> Iterator[Entry]:
        """Yield inputs of several frames, which wait for the others, until a reason to end."""
        for entry in self.of_frames:
            before = entries[: entries.index(entry)] if self.stopped else []
            failed = any(other.status == "failed" for other in before)
            if self.full or interrupted.is_set() or failed:
                return
            yield entry

    def _translate_frames(self, entry: Entry) -> None:
        """Translate an input of several frames into files that are whole or not there."""
        sequence = entry.frames
        assert sequence is not None
        entry.frames = None
        kind = images.format_from_suffix(entry.outputs[0])
        try:
            path = self.places.inputs.fetch(entry.path)
            outputs = [self.places.outputs.place(output) for output in entry.outputs]
            with ExitStack() as stack:
                parts = [stack.enter_context(atomic(output)) for output in outputs]
                files = [stack.enter_context(open(part, "w+b")) for part in parts]
                warnings = self.task.translate_frames(
                    path,
                    entry.path,
                    sequence,
                    (files, kind),
                    lambda share: self._count_share(entry, share),
                )
            entry.stamps = tuple(map(Stamp.of, outputs))
            self.places.outputs.commit(entry.outputs)
            entry.status = "ok"
            entry.reason = None
            entry.warnings = (*entry.warnings, *warnings)
        except RejectedImageError as error:
            entry.reason = str(error)
        except Exception as error:  # as in _write
            self._note_full(error, self.places.outputs.disk)
            entry.fail(error, "cannot be written: " if isinstance(error, OSError) else "")

    def _note_full(self, error: Exception, disk: str) -> None:
        """Let a full disk end the run."""
        if is_full(error):
            self.full = disk

    def _count_share(self, entry: Entry, share: float) -> None:
        """Tell of a share of a large input, in the thread that works on it."""
        if self.aborted.is_set():
            raise InterruptedError(NOT_REACHED)
        self.on_share(entry, share)


def _name_unreached(entries: Sequence[Entry], reason: str) -> None:
    """Say why inputs were not reached, where nothing else is known."""
    for entry in entries:
        if entry.reason == NOT_REACHED:
            entry.reason = reason
