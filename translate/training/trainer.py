"""The order of steps: warm-up as a plain VAE, then the introspective phase.

Also when to log, score and save, and how to resume and to go back after divergence. Every random
number of a step follows from (seed, step), so a resumed run continues as if nothing had happened.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate import __version__
from translate.config import Config
from translate.data.dataset import Domain, UnpairedBatches
from translate.io.files import DiskFullError, is_full
from translate.losses.energy import KEY, training_quantiles
from translate.losses.soft_introvae import KL_FLOOR, ONE_LATENT_KL, auto_beta_neg
from translate.models.alignment import domain_affine
from translate.models.checkpoint import load_model, save_model
from translate.models.metadata import LAST_MODEL, RUN_MODEL
from translate.runtime.affinity import UNBOUND, ThreadBinding
from translate.runtime.device import choose_device
from translate.runtime.distributed import Processes
from translate.runtime.signals import interruption
from translate.training import live
from translate.training.checkpoint import NoStateError, StateCheck, load_state, save_state
from translate.training.fingerprint import differences, fingerprint
from translate.training.preview import GRID_IMAGES, PreviewGrid
from translate.training.run_logger import RunLogger
from translate.training.state import TrainState
from translate.training.step import TrainStep
from translate.training.timing import TrainingTime, time_training, timing_budget
from translate.training.validation import (
    REFERENCE_IMAGES,
    SCORED_IMAGES,
    DirectionScore,
    ModelSelector,
    SelectionCriterion,
    default_styles,
    quality_sentence,
)

WARN_FROM = 0.75  # share of the run: what is still missing then is worth a warning
TREND_FROM = 0.6  # share of the run: does the model still get better after it?
ALIGNMENT_IMAGES = 1024  # of a domain, whose mean place, size and slant are measured
KL_EVERY = 20  # steps between readings of KL_s
# names of terms; real images presented as another domain are no fakes of the decoder's
KL_OF_FAKES = ("kl_s_translation", "kl_s_reconstruction", "kl_s_prior")
INTERVALS = ("log_every", "sample_every", "score_every", "checkpoint_every")
MAX_ROLLBACKS = 3  # times a diverged run goes back with half the learning rate

logger = logging.getLogger(__name__)


class TrainingInterruptedError(Exception):
    """Ctrl-C or SIGTERM arrived; the state is saved."""


class TrainingDivergedError(RuntimeError):
    """A loss or gradient is not finite, however small the learning rate."""


@dataclass(frozen=True)
class TrainProgress:
    """What a progress bar shows."""

    step: int
    progress: float  # share of the whole run, in [0, 1]
    images_per_second: float
    seconds_left: float
    terms: dict[str, float]  # of the objective, means since the last report


@dataclass(frozen=True)
class _Pace:
    """Since when steps have cost the same: since a phase began, or this process began within it."""

    step: int = 0
    seconds: float = 0.0

    def per_step(self, state: TrainState) -> float | None:
        """Return the seconds of a step, None where there was none since."""
        steps = state.step - self.step
        return (state.seconds - self.seconds) / steps if steps > 0 else None


@dataclass
class _Interval:
    """Terms of the objective, summed since the last line of the log at `step`."""

    step: int
    seconds: float
    sums: dict[str, Tensor] = field(default_factory=dict)
    # a term that begins within the interval has fewer steps than it
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add the terms of a step, a value for each image."""
        for name, values in terms.items():
            mean = values.mean()
            self.sums[name] = self.sums[name] + mean if name in self.sums else mean
            self.counts[name] = self.counts.get(name, 0) + 1


class Trainer:
    """Trains one model into a run folder.

    Messages are logged to `translate.training.trainer`.

    Args:
        config: The whole config.
        domains: The images, in the order of `config.data.names`.
        out: The run folder.
        device: auto, cpu, cuda or mps.
        progress: Called at each line of the log.
        binding: Where the threads run that compute the steps.
        timing: What the training takes on this device, where it is known; with `train.max_minutes`
            it is measured otherwise.
        started: When `train.max_minutes` begin, as of `time.perf_counter()`; None for now.
    """

    def __init__(
        self,
        config: Config,
        domains: list[Domain],
        out: Path,
        device: str = "auto",
        progress: Callable[[TrainProgress], None] = lambda progress: None,
        binding: ThreadBinding = UNBOUND,
        timing: TrainingTime | None = None,
        started: float | None = None,
    ) -> None:
        self.started = time.perf_counter() if started is None else started
        self.config = config
        self.domains = domains
        self.report_progress = progress
        self.binding = binding
        self.out = Path(out)
        self.files = RunLogger(out)
        self.processes = Processes(choose_device(device))
        self.device = self.processes.device
        self.writes = self.processes.rank == 0
        self.timing = timing
        if timing is None and config.train.max_minutes and self.writes:
            self.timing = self._time_training(config.train.max_minutes)
        self.batches = UnpairedBatches(domains, config, self.device, self.processes.share)

        self.train_step = TrainStep(config, self.processes, self._domain_affines())
        names = config.data.names
        held_out = [self.batches.held_out(d) for d in range(len(domains))]
        self.held_out = held_out
        self.selector = ModelSelector(names, held_out, self._fixed_images(SCORED_IMAGES))
        shown = min(GRID_IMAGES, *(len(domain.images) for domain in domains))
        self.previews = PreviewGrid(names, self._fixed_images(shown))

        self.warned: dict[str, str] = {}  # kind -> warning of the last score
        self.remarks: dict[str, str] = {}  # kind -> note of the last score
        self.noted: set[str] = set()  # kinds of notes that were logged
        self.kept: list[DirectionScore] = []  # scores of the model that is kept
        self.late: list[SelectionCriterion] = []  # criteria of models after TREND_FROM
        self.styles: dict[str, str] = {}  # default_styles of the last score
        self.reference: dict[str, Any] = {}  # energies under the averaged weights, once trained
        self.state = TrainState(config.train)
        self.pace = _Pace()
        self.page = live.LivePage(self.out)
        self.speed: float | None = None  # pictures a second, of the last line of the log

    def _time_training(self, max_minutes: float) -> TrainingTime:
        images = max(domain.count for domain in self.domains)
        budget = timing_budget(max_minutes)
        count = self.processes.count
        with self.binding.hold():
            return time_training(self.config, str(self.device), images, budget, processes=count)

    def _fixed_images(self, count: int) -> list[Tensor]:
        """Return up to `count` training images of each domain, always the same."""
        return [self.batches.fixed(d, count) for d in range(len(self.domains))]

    def _domain_affines(self) -> Tensor | None:
        if not self.config.model.align:
            return None
        affines = [domain_affine(images) for images in self._fixed_images(ALIGNMENT_IMAGES)]
        return torch.stack(affines) if affines else None

    # -- the run

    def run(self, resume: bool = False, force: bool = False) -> dict[str, Any]:
        """Train to the end of `train.steps` or `train.max_minutes`.

        Args:
            resume: Go on from the last training state in the run folder. Otherwise training begins
                anew, and logs, previews and states of an earlier run are removed.
            force: Go on with this config and data also where the state was made with others.

        Returns:
            The training summary, and how good the model is in words (quality).

        Raises:
            TrainingInterruptedError: Ctrl-C or SIGTERM came; the state is saved.
            TrainingDivergedError: A loss or gradient is not finite.
            KeyboardInterrupt: Ctrl-C came after one of these; the last states are there.
            DiskFullError: No space is left; the last states are there.
            ValueError: There is no state to resume, or it is of another config, data or version.
        """
        try:
            return self._run(resume, force)
        except (TrainingInterruptedError, KeyboardInterrupt):
            self._show(live.INTERRUPTED)
            raise
        except OSError as error:
            self._show(live.FAILED)
            if is_full(error):
                raise DiskFullError(
                    f"{self.out}: no space left on device; make room, then --resume"
                ) from None
            raise
        except Exception:
            self._show(live.FAILED)
            raise
        finally:
            self.files.close()
            self.processes.close()

    def _run(self, resume: bool, force: bool) -> dict[str, Any]:
        if resume:
            self._resume(force)
        else:
            self._begin()

        with interruption(self._tell_of_interruption) as interrupted:
            while not self._run_until(interrupted):
                self._roll_back()
            if self.writes:
                self._finish(interrupted)
        if interrupted.is_set():
            raise TrainingInterruptedError(
                f"interrupted at step {self.state.step}; --resume continues from {self.out}"
            )
        self._show(live.FINISHED)
        return {**self.summary(), "quality": self.quality()}

    def _tell_of_interruption(self) -> None:
        logger.info(
            "interrupted: saving after this step, --resume then continues; Ctrl-C stops at once"
        )

    def _resume(self, force: bool) -> None:
        """Go on from the last training state, if it is of this config and data or by `force`."""
        self._restore(partial(self._check, force=force))
        logger.info("resumed at step %d", self.state.step)
        if self.writes:
            self.files.open(self.config, self.state.step)
            self.page.open(self.config)
        self._show()
        self._compile()

    def _compile(self) -> None:
        if self.config.train.compile:
            self.train_step.compile(self.batches.batch(self.state.step))

    def _begin(self) -> None:
        """Start anew in a run folder that has no other run's files."""
        if self.writes:
            self.files.clear()
            self.files.open(self.config, self.state.step)
            self.page.open(self.config)
        self._show()
        self._compile()
        if self.config.train.max_minutes:
            self.state.reserved = self._reserve()
        if self.writes:
            self._save_state()  # where a run that diverges at once goes back to

    def _reserve(self) -> float:
        """Return the seconds of `train.max_minutes` that go to other things than steps.

        To what came before the first step, to the closing, and to a step, so that the last one
        does not end too late.
        """
        reserved = time.perf_counter() - self.started
        if self.timing is not None:
            steps = (self.timing.warmup_step, self.timing.introspective_step)
            reserved += self.timing.closing + max(steps)
        return self.processes.agree(reserved)[0]

    def _run_until(self, interrupted: threading.Event) -> bool:
        """Train to the end or an interruption; return False after a step that is not finite."""
        state = self.state
        interval = _Interval(state.step, state.seconds)
        stop = 0.0
        loader_pool = ThreadPoolExecutor(1, initializer=self.binding.release)
        with loader_pool as loader, self.binding.hold():
            batch = loader.submit(self.batches.batch, state.step)
            start = time.perf_counter()
            while state.progress < 1 and not stop:  # what all processes agree on
                x = batch.result()
                batch = loader.submit(self.batches.batch, state.step + 1)
                interval.add(self.step(x))
                state.step += 1

                now = time.perf_counter()
                seconds = state.seconds + now - start
                start = now
                state.seconds, stop = self.processes.agree(seconds, interrupted.is_set())
                if stop:
                    interrupted.set()

                due = self._due()
                looked_at = due or self.device.type == "cpu"  # a GPU is not waited for at each step
                if looked_at and self.train_step.found_nonfinite.item():
                    return False
                if "log_every" in due:
                    self._log(interval)
                    interval = _Interval(state.step, state.seconds)
                if self.writes:
                    self._write(due)
        return not self.train_step.found_nonfinite.item()

    def _due(self) -> set[str]:
        """Return the settings among INTERVALS whose interval ends at this step."""
        train = self.config.train
        return {every for every in INTERVALS if self.state.step % getattr(train, every) == 0}

    def _write(self, due: set[str]) -> None:
        """Write what is due after a step; at the end of the run `_finish` does."""
        ended = self.state.progress >= 1
        if "sample_every" in due and not ended:
            self.sample()
        if "score_every" in due and not ended:
            self.score()
        if "checkpoint_every" in due:
            self.save()

    def _finish(self, interrupted: threading.Event) -> None:
        """Score, measure and save; an interruption ends this early, with the state saved."""
        state = self.state
        self._show()
        if not interrupted.is_set():
            # before the score, which takes long: an interruption may be followed by a kill
            self._save_state()
            logger.info("%d steps are done; scoring the model on held-out pictures", state.step)
            self.score()
        if not interrupted.is_set():
            logger.info("measuring what is usual in training pictures, for introshift score")
            self._measure_reference()
        logger.info("writing %s and %s", RUN_MODEL, LAST_MODEL)
        self.sample()
        self.save()

    def _roll_back(self) -> None:
        """Go back to the last good state with half the learning rate.

        Raises:
            TrainingDivergedError: The run has done so MAX_ROLLBACKS times, or there is no state.
        """
        step = self.state.step
        rollbacks = self.state.rollbacks + 1
        problem = f"step {step}: loss or gradient not finite"
        remedy = "lower train.learning_rate or set train.clip=1 and train anew"
        if rollbacks > MAX_ROLLBACKS:
            raise TrainingDivergedError(
                f"{problem}, also after {MAX_ROLLBACKS} times half the learning rate; {remedy}"
            )
        try:
            self._restore()
        except NoStateError:
            raise TrainingDivergedError(
                f"{problem}, and no whole training state to go back to; {remedy}"
            ) from None

        self.state.rollbacks = rollbacks
        self.train_step.found_nonfinite.zero_()
        logger.warning(
            "%s; back to step %d with half the learning rate (%d of %d times)",
            problem,
            self.state.step,
            rollbacks,
            MAX_ROLLBACKS,
        )

    # -- a step

    def step(self, x: Tensor) -> dict[str, Tensor]:
        """Update encoder and decoder once.

        Args:
            x: A batch, see `TrainStep.gradients`.

        Returns:
            The terms of the objective, on the device.
        """
        state = self.state
        if state.beta_neg is None and not state.warming_up:
            self._begin_introspective_phase(n=x[0].numel())
        self.train_step.energy_augmentation.share = state.energy_share
        terms = self.train_step.gradients(x, state.step, state.beta_neg)
        # the one read from the device outside logging, rare
        if state.step % KL_EVERY == 0:
            self._read_kl(terms)
        self.train_step.update(state.step, state.learning_rate)
        return terms

    def _read_kl(self, terms: dict[str, Tensor]) -> None:
        """Follow KL_s: in warm-up for beta_neg, then for how much is memorized."""
        state = self.state
        if state.beta_neg is None:
            kl = self.processes.mean(terms["kl_s"].mean()).item()
            state.kl_s = kl if state.kl_s == 0 else 0.9 * state.kl_s + 0.1 * kl
            return
        target = self.config.augment.memorized
        fakes = [terms[name] for name in KL_OF_FAKES if name in terms]
        if target is None or not fakes:
            return
        # as the energy sees them, like those held out
        trained = terms.get("kl_s_changed", terms["kl_s"]).mean()
        held_out = self.train_step.energy_kl(self.held_out, state.step)
        values = torch.stack([trained, held_out, torch.stack(fakes).mean()])
        kl_trained, kl_held_out, kl_fake = self.processes.mean(values).tolist()
        state.steer(kl_trained, kl_held_out, kl_fake, target)

    def _begin_introspective_phase(self, n: int) -> None:
        """Set beta_neg; n: pixels times channels of an image."""
        state = self.state
        weights = self.config.objective
        model = self.config.model
        beta_neg = weights.beta_neg
        if beta_neg == "auto":
            if model.one_latent:  # holds all of an image and never collapses
                kl = ONE_LATENT_KL * state.kl_s
            else:
                kl = max(state.kl_s, KL_FLOOR * model.style_dim)
            beta_neg = auto_beta_neg(kl, weights.beta_kl_s, n)
        state.introspective_start = state.step
        state.beta_neg = beta_neg
        self.pace = _Pace(state.step, state.seconds)
        logger.info(
            "step %d: warm-up ends, beta_neg %.4g (KL_s %.2f nats)",
            state.step,
            state.beta_neg,
            state.kl_s,
        )

    # -- what a run leaves behind

    def _log(self, interval: _Interval) -> None:
        """Write a line of the interval's mean terms, and report progress."""
        state = self.state
        counts = [interval.counts[name] for name in interval.sums]
        sums = torch.stack(list(interval.sums.values()))
        means = self.processes.mean(sums) / torch.tensor(counts, device=self.device)
        if not self.writes:
            return

        values = means.tolist()  # the log interval's one read from the device
        terms = dict(zip(interval.sums, values, strict=True))
        steps = state.step - interval.step
        seconds = max(state.seconds - interval.seconds, 1e-9)
        rate = steps * len(self.train_step.y) * self.processes.count / seconds
        line = {
            "step": state.step,
            "seconds": round(state.seconds, 2),
            "images_per_second": round(rate, 2),
            "learning_rate": state.learning_rate,
            "beta_neg": state.beta_neg,
            "rollbacks": state.rollbacks,
            **terms,
        }
        if self.config.augment.memorized is not None:
            line |= {"memorized": state.memorized, "energy_share": state.energy_share}
        self.files.log("stats", line)
        self.speed = rate
        left = self._seconds_left
        assert left is not None  # a step was made
        self.report_progress(TrainProgress(state.step, state.progress, rate, left, terms))
        self._show(due=False)

    def sample(self) -> None:
        """Write previews as a labelled grid."""
        columns, labels = self.previews.columns(self.train_step.ema)
        self.files.log_grid(self.state.step, columns, labels)
        self._show()

    def score(self) -> None:
        """Score the averaged model on held-out images; keep it if none was clearly better.

        What goes wrong is logged once.
        """
        state = self.state
        scores, criterion = self.selector.score(self.train_step.ema)
        best = criterion.better_of(state.best_value, state.best_influence)
        kept = criterion.is_as_good_as(best)
        state.best_value = best.value
        state.best_influence = best.influence
        if kept:
            state.best_step = state.step
            self.kept = scores
        if state.beta_neg is not None and state.progress >= TREND_FROM:
            self.late.append(criterion)
        self.files.log(
            "scores",
            {
                "step": state.step,
                "value": criterion.value,
                "error": criterion.error,
                "difference_error": criterion.error_of_difference(best),
                "best_step": state.best_step,
                "direction_scores": [asdict(score) for score in scores],
            },
        )
        settled = state.beta_neg is not None and state.progress >= WARN_FROM
        warnings = {
            kind: text for score in scores for kind, text in score.warnings(settled).items()
        }
        for kind in warnings.keys() - self.warned.keys():
            logger.warning("step %d: warning: %s", state.step, warnings[kind])
        self.warned = warnings
        notes = {kind: text for score in scores for kind, text in score.notes(settled).items()}
        for kind in notes.keys() - self.noted:
            logger.info("step %d: note: %s", state.step, notes[kind])
        self.noted |= notes.keys()
        self.remarks = notes
        self.styles = default_styles(scores, self.config.model.detail)
        if kept:
            self._save_average(RUN_MODEL)
        self._show()

    def _show(self, phase: tuple[str, str] | None = None, due: bool = True) -> None:
        """Bring the run's page up to date, see `LivePage.update`."""
        if not self.writes:
            return
        state = self.state
        begun = state.beta_neg is not None
        now = live.LiveState(
            phase=phase or self._phase,
            step=state.step,
            progress=state.progress,
            seconds=state.seconds,
            seconds_left=self._seconds_left,
            speed=self.speed,
            introspective=state.introspective_start if begun else None,
            rollbacks=state.rollbacks,
            quality=self.quality(),
            advice=tuple(self.warned.values()),
            remarks=tuple(self.remarks.values()),
        )
        self.page.update(now, due)

    @property
    def _phase(self) -> tuple[str, str]:
        """What the run is doing, in plain words."""
        state = self.state
        if state.progress >= 1:
            return live.CLOSING
        if state.progress > 1 - self.config.train.cooldown:
            return live.COOLING_DOWN
        return live.WARMING_UP if state.beta_neg is None else live.INTROSPECTIVE

    @property
    def _seconds_left(self) -> float | None:
        """How long the steps to come will take, at the pace of this phase; None before the first.

        A step of the introspective phase takes several times one of warm-up. Until there are any,
        the timing says how many times.
        """
        state = self.state
        train = self.config.train
        pace = self.pace.per_step(state)
        if pace is None:
            return None
        left = max(0, train.steps - state.step)
        warmup = 0.0
        later = 1.0
        if state.beta_neg is None:
            warmup = max(0.0, train.warmup * train.steps - state.step)
            if self.timing is not None:
                later = self.timing.introspective_step / self.timing.warmup_step
        seconds = pace * (warmup + (left - warmup) * later)
        if train.max_minutes:
            seconds = min(seconds, 60 * train.max_minutes - state.reserved - state.seconds)
        return max(seconds, 0.0)

    def summary(self) -> dict[str, Any]:
        """Return what the model file says of its training."""
        state = self.state.values()
        for name in ("best_influence", "reserved"):  # of no use once training is done
            del state[name]
        return {
            **state,
            "warnings": list(self.warned.values()),
            "styles": self.styles,
            "images": {domain.name: len(domain.images) for domain in self.domains},
            "seed": self.config.train.seed,
            **({KEY: self.reference} if self.reference else {}),
            "versions": {"introshift": __version__, "torch": torch.__version__},
        }

    def quality(self) -> str:
        """Say in one sentence how good the model is that is kept; "" where that is not known."""
        if not self.kept:
            return ""
        sentence = quality_sentence(self.kept)
        if len(self.late) < 2:
            return sentence
        improving = self.late[-1].is_clearly_better_than(self.late[0])
        return f"{sentence}; {'still' if improving else 'no longer'} improving"

    def save(self) -> None:
        """Write the last model and the training state, of which the last two are kept."""
        self._save_average(LAST_MODEL)
        if self.state.best_value is None:
            self._save_average(RUN_MODEL)
        self._save_state()

    def _save_average(self, name: str) -> None:
        save_model(self.out / name, self.train_step.ema, self.config, self.summary())

    def _measure_reference(self) -> None:
        """Measure the reference distributions of energies (energy.py) for the model files.

        Each file's takes as long as some twenty steps.
        """
        count = self.timing.reference_images if self.timing else REFERENCE_IMAGES
        images = self._fixed_images(count)
        names = self.config.data.names
        weights = self.config.objective
        self.reference = training_quantiles(self.train_step.ema, names, images, weights)
        if self.state.best_step == self.state.step:
            self._save_average(RUN_MODEL)
            return

        path = self.out / RUN_MODEL
        best = load_model(path)
        reference = training_quantiles(best.model.to(self.device), names, images, weights)
        save_model(path, best.model, self.config, {**best.summary, KEY: reference})

    # -- the training state

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
        state: dict[str, Any],
        stored: dict[str, Any] | None,
        force: bool,
    ) -> list[str]:
        """Check that a state is of this version, config and data; return messages to log."""
        TrainState.check(state, path)
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
        """Load the newest whole state, and remove later lines of the logs."""
        train_step = self.train_step
        values, messages = load_state(
            self.out / "state", train_step.model, train_step.ema, train_step.optimizers, check
        )
        for message in messages:
            logger.warning("%s", message)
        self.state = TrainState(self.config.train, **values)
        self.pace = _Pace(self.state.step, self.state.seconds)
        if self.writes:
            self.files.truncate_after(self.state.step)
