"""What `train` and `demo` share: the plan of a training, the training, and what comes next."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pipelines._console import (
    EXIT_DIVERGED,
    EXIT_INTERRUPTED,
    duration,
    library_messages,
    log,
    short_duration,
    training_progress,
)
from translate.runtime.launch import rank_and_count

if TYPE_CHECKING:
    from translate.config import Config
    from translate.data.dataset import Domain
    from translate.runtime.affinity import ThreadBinding
    from translate.training.timing import TrainingTime

STATES = "step_*.safetensors"  # training states in RUN/state
LABEL = 10  # width of the plan's labels
ALONE = "unset them to train in one process"  # the remedy for variables of a broken launch
RESERVE_WORTH_ADVICE = 0.3  # share of --max-minutes that does not go to training


@dataclass(frozen=True)
class Preparation:
    """A training that could begin.

    Attributes:
        config: The settings.
        domains: The pictures.
        run: The run folder.
        device: As the user says it: auto, cpu, cuda or mps.
        done: Steps that the run folder's last training state has done; 0 for a new training.
        binding: Where the threads run that compute.
        timing: What the training takes; None in processes of a launch that write nothing.
        started: When the command began, as of `time.perf_counter()`.
    """

    config: Config
    domains: list[Domain]
    run: Path
    device: str
    done: int
    binding: ThreadBinding
    timing: TrainingTime | None
    started: float

    @property
    def steps(self) -> int:
        """How many steps are left."""
        return max(0, self.config.train.steps - self.done)

    def lines(self, now: datetime) -> list[str]:
        """Return the plan for people, an entry a line."""
        timing = self.timing
        if timing is None:
            return []
        train = self.config.train
        data = self.config.data
        colours = "gray" if data.channels == 1 else "colour"
        pictures = ", ".join(f"{domain.name} {len(domain.images)}" for domain in self.domains)
        held_out = ", ".join(str(len(domain.held_out)) for domain in self.domains)
        batch = " + ".join([str(train.batch_size)] * len(self.domains))
        after = f" after the {self.done} that are done" * bool(self.done)
        entries = {
            "device": f"{timing.device}, {timing.precision}",
            "network": f"{timing.parameters / 1e6:.2g} million parameters, "
            f"{data.size} x {data.size} pixels, {colours}",
            "pictures": f"{pictures}; held out for validation: {held_out}",
            "training": f"{self.steps} steps{after} of {batch} pictures, "
            f"{short_duration(timing.warmup_step)} each in warm-up, then "
            f"{short_duration(timing.introspective_step)}",
            "end": self._end(timing, now),
            "folder": str(self.run),
        }
        return [f"{label:<{LABEL}}{text}" for label, text in entries.items()]

    def _end(self, timing: TrainingTime, now: datetime) -> str:
        """Say when the training ends by steps, or by its limit of minutes if that comes first."""
        limit = self.config.train.max_minutes
        if limit is None or timing.total < 60 * limit:
            return f"about {_clock(now, timing.total)}, in {duration(timing.total)}"
        left = 60 * limit - (time.perf_counter() - self.started)
        return (
            f"by {_clock(now, left)} (--max-minutes {limit:g}), wherever the steps are then; the "
            f"last {short_duration(timing.closing)} go to choosing and writing the model"
        )

    def values(self) -> dict[str, Any]:
        """Return the plan for programs."""
        values: dict[str, Any] = {
            "run": str(self.run),
            "images": {domain.name: len(domain.images) for domain in self.domains},
            "size": self.config.data.size,
            "steps": self.steps,
        }
        if self.timing is not None:
            values["device"] = self.timing.device
            values["precision"] = self.timing.precision
            values["parameters"] = self.timing.parameters
            values["seconds"] = round(self.timing.total, 1)
        return values


def prepare(
    config: Config, run: Path, device: str, started: float, resume: bool = False
) -> Preparation:
    """Load the pictures of a config and time its network; nothing is written.

    Args:
        config: The settings.
        run: The run folder.
        device: auto, cpu, cuda or mps.
        started: When the command began, as of `time.perf_counter()`.
        resume: Whether the run in the run folder is continued.

    Raises:
        ValueError: Where pictures are missing, or `train.max_minutes` leaves no time for a step.
    """
    from translate.runtime.affinity import bind_openmp_threads

    binding = bind_openmp_threads()  # before torch is imported

    from translate.data.dataset import load_domains
    from translate.runtime.device import keep_freed_memory
    from translate.training.timing import time_training, timing_budget

    keep_freed_memory()
    rank, count = rank_and_count(ALONE)
    domains = load_domains(config.data)
    for domain in domains:
        for path, reason in domain.failed.items():
            log(f"left out {path}: {reason}")

    done = _last_step(run) if resume else 0
    timing = None
    if rank == 0:
        images = max(domain.count for domain in domains)
        budget = timing_budget(config.train.max_minutes)
        with binding.hold():
            timing = time_training(config, device, images, budget, done, count)
        if not resume:
            _check_limit(config, timing, time.perf_counter() - started)
    return Preparation(config, domains, run, device, done, binding, timing, started)


def only_training(run: Path) -> AbstractContextManager[None]:
    """Keep other trainings out of a run folder; of several processes the first one does.

    Raises:
        ValueError: Another training is at work there.
    """
    from translate.training.running import training_in

    rank, _ = rank_and_count(ALONE)
    return training_in(run) if rank == 0 else nullcontext()


def _last_step(run: Path) -> int:
    """Return the step of the newest training state in a run folder, by its name."""
    names = (path.stem.removeprefix("step_") for path in (run / "state").glob(STATES))
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _check_limit(config: Config, timing: TrainingTime, before: float) -> None:
    """Refuse a limit that is over before a step and the closing are, and warn of a tight one."""
    limit = config.train.max_minutes
    if limit is None:
        return
    least = timing.least_minutes(before)
    smaller = "a smaller network or size trains in less: introshift init FOLDERS --size 32"
    if least > limit:
        raise ValueError(
            f"--max-minutes {limit:g}: a step of this network takes "
            f"{short_duration(timing.introspective_step)} here, choosing and writing the model "
            f"{short_duration(timing.closing)}; give {_rounded_up(2 * least)} minutes or more; "
            f"{smaller}"
        )
    if 60 * limit - before - timing.closing < (1 - RESERVE_WORTH_ADVICE) * 60 * limit:
        log(
            f"advice: {short_duration(before + timing.closing)} of --max-minutes {limit:g} go to "
            f"loading and to choosing and writing the model; give more minutes, or {smaller}"
        )


def train_with_progress(
    prepared: Preparation, resume: bool = False, force: bool = False
) -> dict[str, Any]:
    """Train into the run folder, with a bar.

    Args:
        prepared: What is trained.
        resume: Whether to continue the run in the run folder.
        force: Whether to resume although settings or data differ from the run's.

    Returns:
        The training's summary, as of `Trainer.run`.

    Raises:
        typer.Exit: When the training is interrupted or diverges, each with its exit code.
    """
    from translate.training.trainer import (
        Trainer,
        TrainingDivergedError,
        TrainingInterruptedError,
    )

    try:
        with training_progress() as progress, library_messages():
            trainer = Trainer(
                prepared.config,
                prepared.domains,
                prepared.run,
                prepared.device,
                progress,
                prepared.binding,
                prepared.timing,
                prepared.started,
            )
            return trainer.run(resume, force)
    except KeyboardInterrupt:
        log("introshift: stopped at once; --resume continues from the last training state")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except TrainingInterruptedError as end:
        log(f"introshift: {end}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except TrainingDivergedError as end:
        log(f"introshift: {end}")
        raise typer.Exit(EXIT_DIVERGED) from None


def next_command(config: Config, run: Path) -> str:
    """Return the command that uses a trained model, as a shell takes it."""
    names = config.data.names
    if len(names) == 1:
        words = ["sample", str(run), str(run / "drawn"), "--domain", names[0]]
    else:
        pictures = config.data.folder(names[0], "test")
        if not pictures.is_dir():
            pictures = config.data.folder(names[0])
        out = run / f"{names[0]}_to_{names[1]}"
        words = ["translate", str(run), str(pictures), str(out), "--to", names[1]]
    return quoted(["introshift", *words])


def quoted(words: Sequence[str]) -> str:
    """Join the words of a command so that a shell takes them apart again."""
    return " ".join(shlex.quote(word) for word in words)


def _clock(now: datetime, seconds: float) -> str:
    """Return the time of the day in so many seconds, with the day where it is another one."""
    end = now + timedelta(seconds=seconds)
    return f"{end:%H:%M}" if end.date() == now.date() else f"{end:%H:%M on %A, %d %B}"


def _rounded_up(minutes: float) -> str:
    """Return a number of minutes to be given, not below the one that was worked out."""
    tenths = int(10 * minutes) + 1
    return str(tenths / 10) if tenths < 100 else str(tenths // 10 + 1)
