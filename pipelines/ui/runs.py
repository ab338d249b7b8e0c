"""Trainings for the page: planned, started, found again, stopped and resumed.

Each is a process of its own that runs the command of the command line, in a session of its own: it
goes on when the page is closed and when the server ends. What it does is read from its run folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pipelines
from translate.io.files import walk
from translate.training.live import DATA, ENDS, read_live
from translate.training.running import RECORD, find_training
from translate.viz.history import STATS

ROOT = Path(pipelines.__file__).parents[1]  # where Python finds this very program
PROGRAM = (sys.executable, "-m", "pipelines.cli")
LOG = "terminal.log"  # in a run folder: what a training of the page has printed
STATES = "state/step_*.safetensors"
SIGNS = {DATA, LOG, RECORD, STATS}  # files that a run folder has
SECONDS_TO_BEGIN = 60.0  # until a training says that it is there, on a busy machine
SECONDS_BETWEEN_LOOKS = 0.2
LAST_LINES = 40
PROMPT = "$ introshift "  # before what was asked for in a log
NAME = re.compile(r"\w[\w .+-]{0,59}")
SECTIONS = ("model", "objective", "train")  # of settings that name no file

# States of a run besides those of its page: a name, and what that means.
PREPARING = ("Preparing", "Pictures are read, and the network is timed.")
STOPPING = ("Stopping", "After this step the model and the state are saved.")
ENDED = ("Ended", "The process is gone and says no more; resuming goes on from the last state.")
NOT_BEGUN = ("Not begun", "It ended before its first step.")


def check_name(name: str) -> str:
    """Return the name of a new run; raise ValueError for what no folder should be called."""
    name = name.strip()
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r}: name the run with letters, digits, spaces, . + - and _")
    return name


def check_settings(text: str) -> list[str]:
    """Return settings, KEY.PATH=VALUE one a line.

    Raises:
        ValueError: For a line without `=`, and for settings that name files: those are chosen
            above.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        key, equals, _ = line.partition("=")
        if not equals or key.partition(".")[0].strip() not in SECTIONS:
            raise ValueError(
                f"{line}: give settings of {', '.join(SECTIONS)}, one a line, such as "
                "train.steps=5000"
            )
    return lines


@dataclass(frozen=True)
class TrainingOptions:
    """What a new training is given besides its config.

    Args:
        max_minutes: It ends after so many; None for no limit.
        settings: KEY.PATH=VALUE.
    """

    max_minutes: float | None = None
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ValueError("minutes: give a number above 0, or none for no limit")


def training_options(minutes: str, settings: str) -> TrainingOptions:
    """Return what the page's fields say.

    Raises:
        ValueError: For minutes that are no number above 0, and as `check_settings` does.
    """
    try:
        limit = float(minutes.replace(",", ".")) if minutes.strip() else None
    except ValueError:
        raise ValueError(
            f"minutes: {minutes!r} is no number; leave it empty for no limit"
        ) from None
    return TrainingOptions(limit, tuple(check_settings(settings)))


def init_words(folders: Sequence[Path], config: Path, size: int | None) -> list[str]:
    """Return the words of the command that plans a training and writes its config."""
    words = ["init", *map(str, folders), "-o", str(config)]
    return words if size is None else [*words, "--size", str(size)]


def train_words(config: Path, run: Path, options: TrainingOptions) -> list[str]:
    """Return the words of the command that trains."""
    words = ["train", str(config), "--out", str(run)]
    if options.max_minutes is not None:
        words += ["--max-minutes", f"{options.max_minutes:g}"]
    return words + [word for setting in options.settings for word in ("--set", setting)]


def resume_words(run: Path) -> list[str]:
    """Return the words of the command that goes on with a run."""
    return ["train", str(run / "config.yaml"), "--out", str(run), "--resume"]


def shown(words: Sequence[str]) -> str:
    """Return a command as a shell takes it."""
    return shlex.join(["introshift", *words])


def plan(words: Sequence[str]) -> dict[str, Any]:
    """Run the command that plans, in a process of its own: it times the network alone.

    Args:
        words: As of `init_words`; a config that is there already is replaced.

    Returns:
        What the command returns to programs.

    Raises:
        ValueError: With the command's own words.
    """
    return _result([*words, "--force"])


def dry_run(words: Sequence[str]) -> dict[str, Any]:
    """Run the command that trains as far as its plan, with all of its settings.

    Args:
        words: As of `train_words`.

    Returns:
        What the command returns to programs.

    Raises:
        ValueError: With the command's own words.
    """
    return _result([*words, "--dry-run"])


def _result(words: Sequence[str]) -> dict[str, Any]:
    """Run a command to its end, and read what it returns to programs."""
    done = subprocess.run(
        [*PROGRAM, *words, "--json"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise ValueError(_complaint(done.stderr))
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _complaint(text: str) -> str:
    """Return why a command ended, from what it printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.removeprefix("introshift: ") for line in lines if line.startswith("introshift: ")]
    return "\n".join(own or lines[-1:]) or "ended without a word"


@dataclass(frozen=True)
class RunStatus:
    """What a run does.

    Attributes:
        running: Whether its process is there.
        phase: In a word or two.
        sentence: What that means.
        has_state: Whether it can be resumed.
        live: What its page shows, see `read_live`; empty before there is anything.
    """

    running: bool
    phase: str
    sentence: str
    has_state: bool
    live: dict[str, Any]


class Trainings:
    """The trainings in run folders: those that this server has started, and any others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: dict[Path, subprocess.Popen[bytes]] = {}
        self._stopping: dict[Path, int] = {}  # run -> number of the process that was asked to end

    def start(self, run: Path, words: Sequence[str]) -> None:
        """Start a training and wait until it is there.

        Args:
            run: Its run folder.
            words: As of `train_words` or `resume_words`.

        Raises:
            ValueError: One is at work there already, or it ended at once: with its own words.
        """
        with self._lock:
            if self.is_running(run):
                raise ValueError(f"{run.name}: is being trained already")
            is_new = not run.exists()
            run.mkdir(parents=True, exist_ok=True)
            begin = time.time()
            with open(run / LOG, "ab") as log:
                log.write(f"$ {shown(words)}\n".encode())  # begins with PROMPT
                log.flush()
                self._started[run] = subprocess.Popen(
                    [*PROGRAM, *words],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            process = self._started[run]
            while find_training(run) is None and process.poll() is None:
                if time.time() > begin + SECONDS_TO_BEGIN:
                    return
                time.sleep(SECONDS_BETWEEN_LOOKS)
        if process.poll():
            reason = _complaint(_last_command(run))
            if is_new:
                with suppress(OSError):
                    (run / LOG).unlink()
                    run.rmdir()
            raise ValueError(reason)

    def is_running(self, run: Path) -> bool:
        """Tell whether a training is at work in a run folder, whoever has started it."""
        return self._is_starting(run) or find_training(run) is not None

    def _is_starting(self, run: Path) -> bool:
        process = self._started.get(run)
        return process is not None and process.poll() is None

    def stop(self, run: Path) -> None:
        """Ask a training to save its model and its state after this step, as Ctrl-C does.

        Asking again changes nothing: the second Ctrl-C would end it at once. Where Windows runs
        it, it ends at once with the first; its last state is there.

        Raises:
            ValueError: Another machine trains there.
        """
        found = find_training(run)
        if found is not None and not found.is_here:
            raise ValueError(f"{run.name}: {found.host} trains it; stop it there")
        if found is not None:
            pid = found.pid
        elif self._is_starting(run):
            pid = self._started[run].pid
        else:
            return
        if self._stopping.get(run) != pid:
            self._stopping[run] = pid
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def status(self, run: Path) -> RunStatus:
        """Tell what a run does."""
        found = find_training(run)
        running = found is not None or self._is_starting(run)
        live = read_live(run) or {}
        phase = str(live.get("phase", "")), str(live.get("sentence", ""))
        has_state = any(run.glob(STATES))
        # of the process that is at work, or of an earlier one?
        written = live.get("written")
        is_news = found is not None and isinstance(written, float) and written >= found.started
        if found is not None and self._stopping.get(run) == found.pid:
            phase = STOPPING
        elif running and not is_news:
            phase = PREPARING
        elif not running and phase[0] not in (name for name, _ in ENDS):
            phase = ENDED if has_state else _why_not_begun(run)
        name, sentence = phase
        return RunStatus(running, name, sentence.replace("--resume", "Resume"), has_state, live)


def _why_not_begun(run: Path) -> tuple[str, str]:
    """Say why a run has no state, in the words of its training where there are any."""
    own = [line for line in _last_command(run).splitlines() if line.startswith("introshift: ")]
    name, sentence = NOT_BEGUN
    return name, own[-1].removeprefix("introshift: ") if own else sentence


def last_command(run: Path) -> str:
    """Return the command that trained a run last, as a shell takes it; or the one to resume it."""
    commands = [line for line in _printed(run).splitlines() if line.startswith(PROMPT)]
    return commands[-1].removeprefix("$ ") if commands else shown(resume_words(run))


def last_lines(run: Path) -> str:
    """Return the last lines that the trainings of a run printed, where the page started them."""
    return "\n".join(_printed(run).splitlines()[-LAST_LINES:])


def _printed(run: Path) -> str:
    with suppress(OSError):
        return (run / LOG).read_text(encoding="utf-8", errors="replace")
    return ""


def _last_command(run: Path) -> str:
    """Return what the last command printed."""
    return _printed(run).rpartition(f"\n{PROMPT}")[2]


def find_runs(folder: Path) -> list[Path]:
    """Find the run folders below a folder, the one that changed last first; no hidden ones."""
    found: dict[Path, float] = {}
    for root, folders, names in walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        signs = SIGNS.intersection(names)
        if signs:
            folders.clear()
            with suppress(OSError):
                found[Path(root)] = max(os.stat(Path(root, name)).st_mtime for name in signs)
    return sorted(found, key=lambda run: -found[run])
