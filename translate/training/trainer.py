"""The order of steps: warm-up as a plain VAE, then the introspective game; logging, resuming,
recovering.

Every random number of a step follows from (seed, step), so a resumed run continues as if nothing
had happened.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate import __version__
from translate.config import Config
from translate.data.dataset import Domain, UnpairedBatches
from translate.io.files import DiskFullError, is_full
from translate.losses.energy import KEY, training_quantiles
from translate.losses.soft_introvae import auto_beta_neg
from translate.models.alignment import domain_affine
from translate.models.checkpoint import load_model, save_model
from translate.runtime.device import choose_device
from translate.runtime.distributed import Processes
from translate.runtime.signals import interruption
from translate.training.checkpoint import NoStateError, StateCheck, load_state, save_state
from translate.training.fingerprint import differences, fingerprint
from translate.training.preview import GRID_IMAGES, PreviewGrid
from translate.training.run_logger import RunLogger
from translate.training.state import TrainState
from translate.training.step import TrainStep
from translate.training.validation import ModelSelector, default_styles, selection_criterion

# model files of a run: by its score, and as it stands
BEST = "model.safetensors"
LAST = "last.safetensors"
WARN_FROM = 0.75  # share of the run: what is still missing then is worth a word
FRAMED = 1024  # images of a domain that its frame is taken from
USUAL = 1024  # images of a domain whose energies say what is usual
JUDGED = 256  # trained images of a domain that translations are compared with
KL_EVERY = 20  # steps between readings of KL_s during warm-up
INTERVALS = ("log_every", "sample_every", "score_every", "checkpoint_every")
MOST_RECOVERIES = 3  # times a diverged run goes back with half the learning rate


class TrainingInterruptedError(Exception):
    """Ctrl-C or SIGTERM arrived; the state is saved."""


class TrainingDivergedError(RuntimeError):
    """A loss or gradient is not finite, however small the learning rate."""


@dataclass(frozen=True)
class TrainProgress:
    """What a progress bar shows. `fraction` of the whole run in [0, 1]; `terms` are means since
    the last line.
    """

    step: int
    progress: float
    images_per_second: float
    seconds_left: float
    terms: dict[str, float]


class Trainer:
    """Trains one model into the run folder `out`; `run()` returns the training summary."""

    def __init__(
        self,
        config: Config,
        domains: list[Domain],
        out: Path,
        device: str = "auto",
        say: Callable[[str], None] = print,
        tick: Callable[[TrainProgress], None] = lambda tick: None,
    ) -> None:
        self.config = config
        self.domains = domains
        self.say = say
        self.tick = tick
        self.out = Path(out)
        self.files = RunLogger(out)
        self.processes = Processes(choose_device(device))
        self.device = self.processes.device
        self.batches = UnpairedBatches(domains, config, self.device, self.processes.share)
        domain_indices = range(len(domains))
        frames = (
            [domain_affine(self.batches.fixed(d, FRAMED)) for d in domain_indices]
            if config.model.align
            else None
        )
        self.train_step = TrainStep(config, self.processes, torch.stack(frames) if frames else None)
        self.selector = ModelSelector(
            config.data.names,
            [self.batches.held_out(d) for d in domain_indices],
            [self.batches.fixed(d, JUDGED) for d in domain_indices],
        )
        shown = min(GRID_IMAGES, *(len(domain.images) for domain in domains))
        self.gallery = PreviewGrid(
            config.data.names, [self.batches.fixed(d, shown) for d in domain_indices]
        )
        self.writes = self.processes.rank == 0
        self.warned: dict[str, str] = {}
        self.styles: dict[str, str] = {}  # default_styles of the last score
        self.reference: dict[str, Any] = {}  # energies of the average, once trained
        self.state = TrainState(config.train)

    # -- the run
    # -------------------------------------------------------------------------------------------------------

    def run(self, resume: bool = False, force: bool = False) -> dict[str, Any]:
        """Train to the end of `train.steps` or `train.max_minutes`.

        Args:
            resume: Go on from the last training state in the run folder. Otherwise training begins
                anew, and logs, samples and states of an earlier run are removed.
            force: Go on with this config and data also where the state was made with others.

        Returns:
            The training summary.

        Raises:
            TrainingInterruptedError: Ctrl-C or SIGTERM came; the state is saved.
            TrainingDivergedError: A loss or gradient is not finite.
            DiskFullError: No space is left; the last states are there.
            ValueError: There is no state to resume, or it is of another config, data or version.
        """
        try:
            return self._run(resume, force)
        except OSError as error:
            if is_full(error):
                raise DiskFullError(
                    f"{self.out}: no space left on device; make room, then --resume"
                ) from None
            raise
        finally:
            self.files.close()
            self.processes.close()

    def _run(self, resume: bool, force: bool) -> dict[str, Any]:
        if resume:
            self._restore(lambda path, clock, stored: self._check(path, clock, stored, force))
            self.say(f"resumed at step {self.state.step}")
        if self.writes:
            if not resume:
                self.files.clear()
            self.files.open(self.config, self.state.step)
            if not resume:
                self._save_state()  # where a run that diverges at once goes back to
        if self.config.train.compile:
            self.train_step.compile(self.batches.batch(self.state.step), self.say)
        with interruption() as interrupted:
            while not self._run_until(interrupted):
                self._recover()
            if self.writes:
                self._finish(interrupted)
        if interrupted.is_set():
            raise TrainingInterruptedError(
                f"interrupted at step {self.state.step}; --resume continues from {self.out}"
            )
        return self.summary()

    def _finish(self, interrupted: threading.Event) -> None:
        """Score, measure and save; an interruption ends this early, with the state saved."""
        if not interrupted.is_set():
            self._save_state()  # before the score, which takes long: who interrupts may soon kill
            self.score()
        if not interrupted.is_set():
            self._measure_reference()
        self.sample()
        self.save()

    def _run_until(self, interrupted: threading.Event) -> bool:
        """Steps to the end or an interruption, or, returning False, to a step that is not finite."""
        train = self.config.train
        clock = self.state
        sums: dict[str, Tensor] = {}
        # a term that begins within the interval has fewer steps than it
        counts: dict[str, int] = {}
        since = (clock.step, clock.seconds)
        stop = 0.0
        with ThreadPoolExecutor(1) as loader:
            batch = loader.submit(self.batches.batch, clock.step)
            start = time.perf_counter()
            while clock.progress < 1 and not stop:  # what all processes agree on
                x = batch.result()
                batch = loader.submit(self.batches.batch, clock.step + 1)
                for name, value in self.step(x).items():
                    sums[name] = sums[name] + value.mean() if name in sums else value.mean()
                    counts[name] = counts.get(name, 0) + 1
                clock.step += 1
                start, before = time.perf_counter(), start
                clock.seconds, stop = self.processes.agree(
                    clock.seconds + start - before, interrupted.is_set()
                )
                if stop:
                    interrupted.set()
                due = {every for every in INTERVALS if clock.step % getattr(train, every) == 0}
                looked_at = due or self.device.type == "cpu"  # a GPU is not waited for at each step
                if looked_at and self.train_step.found_nonfinite.item():
                    return False
                if "log_every" in due:
                    self._log(sums, counts, since)
                    sums = {}
                    counts = {}
                    since = (clock.step, clock.seconds)
                if not self.writes:
                    continue
                if "sample_every" in due and clock.progress < 1:
                    self.sample()
                if "score_every" in due and clock.progress < 1:
                    self.score()
                if "checkpoint_every" in due:
                    self.save()
        return not self.train_step.found_nonfinite.item()

    def _recover(self) -> None:
        """Goes back to the last good state with half the learning rate. Raises TrainingDivergedError after the
        third time.
        """
        step = self.state.step
        rollbacks = self.state.rollbacks + 1
        if rollbacks > MOST_RECOVERIES:
            raise TrainingDivergedError(
                f"step {step}: loss or gradient not finite, also after {MOST_RECOVERIES} times half the learning rate; "
                f"lower train.learning_rate or set train.clip=1 and train anew"
            )
        try:
            self._restore()
        except NoStateError:
            raise TrainingDivergedError(
                f"step {step}: loss or gradient not finite, and no whole training state to go back "
                "to; lower train.learning_rate or set train.clip=1 and train anew"
            ) from None
        self.state.rollbacks = rollbacks
        self.train_step.found_nonfinite.zero_()
        self.say(
            f"step {step}: loss or gradient not finite; back to step {self.state.step} with half the learning rate "
            f"({rollbacks} of {MOST_RECOVERIES} times)"
        )

    def step(self, x: Tensor) -> dict[str, Tensor]:
        """One update of both players from a batch, see `TrainStep.gradients`; returns the terms,
        on the device.
        """
        clock = self.state
        if clock.beta_neg is None and not clock.warming_up:
            self._begin_game(n=x[0].numel())
        terms = self.train_step.gradients(x, clock.step, clock.beta_neg)
        # the one read from the device outside logging, rare
        if clock.beta_neg is None and clock.step % KL_EVERY == 0:
            kl = self.processes.mean(terms["kl_s"].mean()).item()
            clock.kl_s = kl if clock.kl_s == 0 else 0.9 * clock.kl_s + 0.1 * kl
        self.train_step.update(clock.step, clock.learning_rate)
        return terms

    def _begin_game(self, n: int) -> None:
        clock = self.state
        given = self.config.objective.beta_neg
        weights = self.config.objective
        style_dim = self.config.model.style_dim
        clock.introspective_start = clock.step
        clock.beta_neg = (
            auto_beta_neg(clock.kl_s, style_dim, weights.beta_kl_s, n) if given == "auto" else given
        )
        self.say(
            f"step {clock.step}: warm-up ends, beta_neg {clock.beta_neg:.4g} (KL_s {clock.kl_s:.2f} nats)"
        )

    # -- what a run leaves behind
    # --------------------------------------------------------------------------------------

    def _log(
        self,
        sums: dict[str, Tensor],
        counts: dict[str, int],
        since: tuple[int, float],
    ) -> None:
        clock = self.state
        steps = self.state.step - since[0]
        divisors = torch.tensor([counts[name] for name in sums], device=self.device)
        means = self.processes.mean(torch.stack(list(sums.values()))) / divisors
        if not self.writes:
            return
        values = means.tolist()  # the log interval's one read from the device
        terms = dict(zip(sums, values, strict=True))
        rate = (
            steps
            * len(self.train_step.y)
            * self.processes.count
            / max(clock.seconds - since[1], 1e-9)
        )
        line = {
            "step": clock.step,
            "seconds": round(clock.seconds, 2),
            "images_per_second": round(rate, 2),
            "learning_rate": self.state.learning_rate,
            "beta_neg": clock.beta_neg,
            **terms,
        }
        self.files.log("stats", line)
        left = clock.seconds * (1 / max(self.state.progress, 1e-9) - 1)
        self.tick(TrainProgress(clock.step, self.state.progress, rate, left, terms))

    def sample(self) -> None:
        """Draws a grid a person can read."""
        self.files.log_grid(self.state.step, *self.gallery.columns(self.train_step.ema))

    def score(self) -> None:
        """Score the averaged model on held-out images; keep it if none was clearly better.

        What goes wrong is logged once.
        """
        state = self.state
        scores = self.selector.score(self.train_step.ema)
        criterion = selection_criterion(scores)
        best = criterion.better_of(state.best_value, state.best_error)
        kept = criterion.is_as_good_as(best)
        state.best_value = best.value
        state.best_error = best.error
        if kept:
            state.best_step = state.step
        self.files.log(
            "scores",
            {
                "step": state.step,
                "value": criterion.value,
                "error": criterion.error,
                "best_step": state.best_step,
                "direction_scores": [asdict(score) for score in scores],
            },
        )
        settled = state.beta_neg is not None and state.progress >= WARN_FROM
        warnings = {
            kind: text for score in scores for kind, text in score.warnings(settled).items()
        }
        for kind in warnings.keys() - self.warned.keys():
            self.say(f"step {state.step}: warning: {warnings[kind]}")
        self.warned = warnings
        self.styles = default_styles(scores)
        if kept:
            self._save_average(BEST)

    def summary(self) -> dict[str, Any]:
        """What the model file says of its training."""
        return {
            **self.state.values(),
            "warnings": list(self.warned.values()),
            "styles": self.styles,
            "images": {domain.name: len(domain.images) for domain in self.domains},
            "seed": self.config.train.seed,
            **({KEY: self.reference} if self.reference else {}),
            "versions": {"introshift": __version__, "torch": torch.__version__},
        }

    def save(self) -> None:
        """Writes the last model and the training state, of which the last two are kept."""
        self._save_average(LAST)
        if self.state.best_value is None:
            self._save_average(BEST)
        self._save_state()

    def _save_average(self, name: str) -> None:
        save_model(self.out / name, self.train_step.ema, self.config, self.summary())

    def _measure_reference(self) -> None:
        """Takes the usual energies (energy.py) for the model files; each takes as long as some
        twenty steps.
        """
        images = [self.batches.fixed(d, USUAL) for d in range(len(self.domains))]
        names = self.config.data.names
        weights = self.config.objective
        path = self.out / BEST
        self.reference = training_quantiles(self.train_step.ema, names, images, weights)
        if self.state.best_step == self.state.step:
            self._save_average(BEST)
        else:
            best = load_model(path)
            usual = training_quantiles(best.model.to(self.device), names, images, weights)
            save_model(path, best.model, self.config, {**best.summary, KEY: usual})

    def _save_state(self) -> None:
        train_step = self.train_step
        save_state(
            self.out / "state",
            train_step.model,
            train_step.ema,
            train_step.optimizers,
            self.state.values(),
            self._fingerprint,
        )

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return fingerprint(self.config, self.domains)

    def _check(
        self,
        path: Path,
        clock: dict[str, Any],
        stored: dict[str, Any] | None,
        force: bool,
    ) -> list[str]:
        """Check that a state is of this version, config and data; returns lines to say."""
        TrainState.check(clock, path)
        if stored is None:
            return [
                f"{path}: does not say its config and data (older version); they are not checked"
            ]
        other, length = differences(stored, self._fingerprint)
        if other and not force:
            raise ValueError(
                f"{path}: was made with other settings or data:\n  "
                + "\n  ".join(other)
                + "\nundo that, train anew with another --out, or go on with what is new (--force)"
            )
        return [f"resumed with a change: {line}" for line in other + length]

    def _restore(self, check: StateCheck | None = None) -> None:
        train_step = self.train_step
        values, lines = load_state(
            self.out / "state", train_step.model, train_step.ema, train_step.optimizers, check
        )
        for line in lines:
            self.say(line)
        self.state = TrainState(self.config.train, **values)
        if self.writes:
            self.files.truncate_after(self.state.step)
