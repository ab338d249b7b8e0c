"""`introshift translate M - - --rgb24 WIDTHxHEIGHT`: raw video between two ends of a pipe."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import typer

from pipelines._console import EXIT_INTERRUPTED, library_messages, log

if TYPE_CHECKING:
    from translate.inference.folder_options import FolderOptions
    from translate.inference.translator import Translator

EXIT_PIPE = 141  # as of a program that ends by SIGPIPE
SECONDS = 10.0  # between two lines of progress
# what a stream of frames cannot have
NOT_OF_VIDEO = (
    "format",
    "frames",
    "reject",
    "on_error",
    "strict",
    "overwrite",
    "strip",
    "keep_profile",
)


def frame_size(text: str, inputs: list[str], out: str) -> tuple[int, int]:
    """Read the size that --rgb24 gives.

    Raises:
        ValueError: for what is no size, and where frames do not come and go by pipes.
    """
    if inputs != ["-"] or out != "-":
        raise ValueError(
            "--rgb24: raw video goes from standard input to standard output; give - - as IN and OUT"
        )
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"--rgb24 {text}: give WIDTHxHEIGHT in pixels, such as 1280x720")
    for stream, name in ((sys.stdin, "input"), (sys.stdout, "output")):
        if stream.isatty():
            raise ValueError(f"--rgb24: standard {name} is a terminal; put ffmpeg at both ends")
    return int(width), int(height)


def check_options(options: FolderOptions, as_json: bool) -> None:
    """Refuse options that are about files.

    Raises:
        ValueError: for one of them.
    """
    from translate.inference.folder_options import DEFAULTS
    from translate.inference.single import NOT_OF_ONE

    for name in (*NOT_OF_VIDEO, *NOT_OF_ONE):
        if getattr(options, name) != getattr(DEFAULTS, name):
            raise ValueError(f"--{name.replace('_', '-')}: is for files, not for --rgb24")
    if as_json:
        raise ValueError("--json: with --rgb24 the frames go to standard output; leave it out")


def translate_pipe(
    translator: Translator, size: tuple[int, int], to: str | None, options: FolderOptions
) -> None:
    """Translate frames from standard input to standard output.

    Raises:
        ValueError: for a stream that is not as it should be.
        typer.Exit: where the next program in the pipe has ended.
    """
    from translate.inference.styles import resolve_direction, style_source
    from translate.inference.video import VideoOptions, translate_video
    from translate.runtime.signals import terminable

    predictor = translator.predictor
    names = predictor.config.data.names
    direction = resolve_direction(names, to, options.source, options.style)
    source, target = (names[domain] for domain in direction)
    if size[0] * size[1] > options.max_pixels:
        raise ValueError(f"--rgb24: frames exceed --max-pixels {options.max_pixels}; raise it")

    with library_messages(), terminable():
        style_of = style_source(predictor, options.style, target, options.seed)
        video = VideoOptions(size, direction, style_of("-"), options.batch_size)
        progress = _Progress()
        try:
            translate_video(predictor, sys.stdin.buffer, sys.stdout.buffer, video, progress.tell)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            _drop_output()
            raise typer.Exit(EXIT_PIPE) from None
        except KeyboardInterrupt:
            _drop_output()
            log(f"introshift: interrupted after {progress.count} frames")
            raise typer.Exit(EXIT_INTERRUPTED) from None
    log(f"{progress.line()}, translated from {source} to {target}")


def _drop_output() -> None:
    """Send what is left of the output nowhere, so that Python's end does not fail on it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class _Progress:
    """Prints a line now and then: ffmpeg has the same terminal."""

    def __init__(self) -> None:
        self.count = 0
        self.start = self.last = time.perf_counter()

    def tell(self, count: int) -> None:
        """Count the frames that are written."""
        self.count = count
        now = time.perf_counter()
        if now - self.last >= SECONDS:
            self.last = now
            log(self.line())

    def line(self) -> str:
        """Return how many frames are done, and how fast."""
        seconds = time.perf_counter() - self.start
        return f"{self.count} frames, {self.count / max(seconds, 1e-9):.3g} a second"
