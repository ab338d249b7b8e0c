"""A training as a page that is open while it runs: RUN/live.html and what is new, RUN/live.js.

The page is written once and loads live.js every few seconds: so it keeps its place, and works
from a folder, where a browser lets a page load scripts but not fetch data.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from translate.config import Config
from translate.io.files import atomic
from translate.viz.history import read_grids, read_history, read_scores
from translate.viz.pages import render_page

PAGE = "live.html"
DATA = "live.js"
CALL = "live"  # the page's function that DATA calls
PAUSE = 2.0  # seconds between two writings that nothing but time asks for
PATIENCE = 10.0  # times the longest pause so far, after which the page says that it has no news
LEAST_PATIENCE = 120.0  # seconds

# The state of a run in plain words: its name, and what that means.
WARMING_UP = ("Warming up", "The networks learn to redraw the pictures that they are given.")
INTROSPECTIVE = (
    "Introspective phase",
    "The encoder learns to tell made pictures from real ones, the decoder to make better ones.",
)
COOLING_DOWN = ("Cooling down", "The learning rate falls to 0; pictures change less and less.")
CLOSING = ("Closing", "The steps are done; the model is scored and written.")
FINISHED = ("Finished", "model.safetensors is the model that is kept.")
INTERRUPTED = ("Interrupted", "The state is saved; --resume continues.")
FAILED = ("Stopped by an error", "The terminal says which; --resume continues from the last state.")
ENDS = (FINISHED, INTERRUPTED, FAILED)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveState:
    """What the page says of a run besides what its logs hold.

    Args:
        phase: One of the states above.
        step: Steps done.
        progress: Share of the run that is done, in [0, 1].
        seconds: Of training so far.
        seconds_left: None where nothing is known yet.
        speed: Pictures a second; None where nothing is known yet.
        introspective: The step at which the introspective phase began.
        rollbacks: Times that the run went back.
        quality: How good the kept model is, in a sentence; "" before the first score.
        advice: What goes wrong, each with a remedy.
        remarks: What may well be as it should.
    """

    phase: tuple[str, str]
    step: int
    progress: float
    seconds: float
    seconds_left: float | None = None
    speed: float | None = None
    introspective: int | None = None
    rollbacks: int = 0
    quality: str = ""
    advice: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def as_script(data: dict[str, Any]) -> str:
    """Return what is new as the page loads it."""
    return f"{CALL}({json.dumps(data)});\n"  # JSON escapes all but ASCII


def read_live(run: Path) -> dict[str, Any] | None:
    """Read what was new last in a run's folder, by name as the page has it.

    Returns:
        None where there is nothing, or what nobody but another program can have written.
    """
    try:
        text = (run / DATA).read_text(encoding="utf-8").strip()
        data = json.loads(text.removeprefix(f"{CALL}(").removesuffix(");"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def live_page(title: str, score_every: int, sample_every: int) -> str:
    """Return the page, which is the same for the whole run.

    Args:
        title: The run's name.
        score_every: As of `train`, for what is said before the first score.
        sample_every: The same for the first grid.
    """
    return render_page(
        "translate.viz",
        "live.html",
        title=title,
        score_every=score_every,
        sample_every=sample_every,
    )


class LivePage:
    """The page of the run in a folder; that it cannot be written is said once, and no error."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._opened = False
        self._failed = False
        self._written = 0.0  # seconds, of the clock on the wall; 0 before
        self._longest = 0.0  # seconds between two writings
        self._rollbacks: list[int] = []  # at which steps the page marks one
        self._read: dict[str, Any] = {}  # what was read from the run's folder

    def open(self, config: Config) -> None:
        """Write the page, which is the same for the whole run; before it nothing is written."""
        train = config.train
        page = live_page(self.run.resolve().name, train.score_every, train.sample_every)
        self._opened = True
        with suppress(ValueError):
            self._rollbacks = read_history(self.run).rollbacks
        self._write(PAGE, page)

    def update(self, state: LiveState, due: bool = True) -> None:
        """Write what is new.

        Args:
            state: Where the run stands.
            due: Whether there is a grid, a score or another phase. Otherwise it is written at most
                every PAUSE seconds, and the run's folder is not read again.
        """
        now = time.time()
        if not self._opened or (not due and now - self._written < PAUSE):
            return
        if self._written:
            self._longest = max(self._longest, now - self._written)
        self._written = now
        if due:
            try:
                self._read = self._read_folder(state.step)
            except (ValueError, TypeError, AttributeError) as error:  # someone has edited the logs
                self._complain(str(error))
        phase, sentence = state.phase
        self._rollbacks += [state.step] * (state.rollbacks - len(self._rollbacks))
        data = {
            "distances": [],
            "grids": [],
            "kept": None,
            **self._read,
            **asdict(state),
            "phase": phase,
            "sentence": sentence,
            "running": state.phase not in ENDS,
            "rollbacks": self._rollbacks,
            "written": now,
            "patience": max(LEAST_PATIENCE, PATIENCE * self._longest),
        }
        self._write(DATA, as_script(data))

    def _read_folder(self, step: int) -> dict[str, Any]:
        """Read grids and scores up to a step."""
        distances, kept = read_scores(self.run)
        drawn = [
            {
                "title": curve.title,
                "unit": curve.unit,
                "points": curve.values,
                "baseline": curve.baseline,
                "baseline_label": curve.baseline_label,
            }
            for curve in distances
        ]
        return {"grids": read_grids(self.run, step), "kept": kept, "distances": drawn}

    def _write(self, name: str, text: str) -> None:
        try:
            with atomic(self.run / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            self._complain(f"{self.run / name}: cannot be written ({error.strerror})")

    def _complain(self, problem: str) -> None:
        if not self._failed:
            logger.warning("%s; training goes on without its page", problem)
        self._failed = True
