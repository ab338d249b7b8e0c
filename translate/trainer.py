"""The order of steps: warm-up as a plain VAE, then the introspective game; averaging, logging, resuming.

Every random number of a step follows from (seed, step), so a resumed run continues as if nothing had happened.
"""

from __future__ import annotations

import copy
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from translate import __version__
from translate.augment import content_augmentation, energy_augmentation
from translate.checkpoint import load_state, save_model, save_state
from translate.config import Config
from translate.data import Domain, UnpairedBatches
from translate.device import choose_device, choose_precision
from translate.images import grid, to_uint8, write_image, write_text
from translate.networks import Model
from translate.objective import Losses, Objective, auto_beta_neg, backward
from translate.selection import Judge, value

GRID_IMAGES = 8
WARN_FROM = 0.75  # share of the run: what is still missing then is worth a word
JUDGED = 256  # trained images of a domain that translations are compared with
KL_EVERY = 20  # steps between readings of KL_s during warm-up
LEARNING_RATE_RAMP = 100  # steps over which the learning rate rises from 0


class Interrupted(Exception):
    """Ctrl-C or SIGTERM arrived; the state is saved."""


class Diverged(RuntimeError):
    """A loss is no longer finite."""


@dataclass
class Clock:
    """What a run knows besides its tensors; all of it is in the training state."""

    step: int = 0
    seconds: float = 0.0
    kl_s: float = 0.0  # running mean of KL_s(x), nats: what beta_neg "auto" is made from
    beta_neg: float | None = None  # set once, when warm-up ends
    best_value: float | None = None  # the best score so far, lower is better (selection.py), and its step
    best_step: int = 0


@dataclass(frozen=True)
class Tick:
    """What a progress bar shows. `fraction` of the whole run in [0, 1]; `terms` are means since the last line."""

    step: int
    fraction: float
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
        tick: Callable[[Tick], None] = lambda tick: None,
    ) -> None:
        self.config, self.domains, self.out, self.say, self.tick = config, domains, Path(out), say, tick
        self.device = choose_device(device)
        self.dtype = choose_precision(config.train.precision, self.device)
        self.batches = UnpairedBatches(domains, config)
        torch.manual_seed(config.train.seed)
        self.model = Model(config).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.players: tuple[nn.Module, nn.Module] = (self.model.encoder, self.model.decoder)
        train = config.train
        self.optimizers = [
            torch.optim.Adam(
                player.parameters(), train.learning_rate, (train.beta1, train.beta2), fused=self.device.type != "mps"
            )
            for player in self.players
        ]
        self.objective = Objective(
            config.objective,
            content_augmentation(config.augment, config.augment.content_share),
            content_augmentation(config.augment, config.augment.game_share),
            energy_augmentation(config.augment),
        )
        domain_indices = range(len(domains))
        self.judge = Judge(
            config.data.names,
            [self.batches.held_out(d) for d in domain_indices],
            [self.batches.fixed(d, JUDGED) for d in domain_indices],
        )
        self.warned: dict[str, str] = {}
        self.clock = Clock()
        self.y = torch.arange(len(domains), device=self.device).repeat_interleave(train.batch_size)

    # -- the run -------------------------------------------------------------------------------------------------------

    def run(self, resume: bool = False) -> dict[str, Any]:
        """Trains to the end of `train.steps` or `train.max_minutes`. Raises Interrupted (state saved) and Diverged."""
        try:
            (self.out / "samples").mkdir(parents=True, exist_ok=True)
            write_text(self.out / "config.yaml", self.config.to_yaml())
        except OSError as error:
            raise ValueError(f"{self.out}: cannot be written ({error.strerror}); choose another --out") from None
        if resume:
            self._resume()
        train, clock = self.config.train, self.clock
        sums: dict[str, Tensor] = {}
        since = (clock.step, clock.seconds)
        with interruption() as interrupted, ThreadPoolExecutor(1) as loader:
            batch, start = loader.submit(self.batches.batch, clock.step), time.perf_counter()
            while self.fraction < 1 and not interrupted.is_set():
                x, batch = batch.result(), loader.submit(self.batches.batch, clock.step + 1)
                for name, value in self.step(x).items():
                    sums[name] = sums[name] + value.mean() if name in sums else value.mean()
                clock.step += 1
                start, before = time.perf_counter(), start
                clock.seconds += start - before
                if clock.step % train.log_every == 0:
                    self._log(sums, since)
                    sums, since = {}, (clock.step, clock.seconds)
                if clock.step % train.sample_every == 0:
                    self.sample()
                if clock.step % train.score_every == 0 and self.fraction < 1:
                    self.score()
                if clock.step % train.checkpoint_every == 0:
                    self.save()
        if not interrupted.is_set():
            self.score()
        self.sample()
        self.save()
        if interrupted.is_set():
            raise Interrupted(f"interrupted at step {clock.step}; --resume continues from {self.out}")
        return self.summary()

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1]: by steps, or by minutes where those end first."""
        train = self.config.train
        minutes = self.clock.seconds / 60 / train.max_minutes if train.max_minutes else 0.0
        return min(1.0, max(self.clock.step / train.steps, minutes))

    @property
    def learning_rate(self) -> float:
        """Rises over the first steps, stays, and falls linearly to 0 over the last `cooldown` share of the run."""
        train = self.config.train
        ramp = min(1.0, (self.clock.step + 1) / LEARNING_RATE_RAMP)
        return train.learning_rate * ramp * min(1.0, (1 - self.fraction) / max(train.cooldown, 1e-9))

    def step(self, x: Tensor) -> dict[str, Tensor]:
        """One update of both players from a batch (domains * B, C, S, S) uint8; returns the terms, on the device."""
        seed = np.random.SeedSequence([self.config.train.seed, 1, self.clock.step])  # 1: not the data's stream
        torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
        x = (
            x.to(self.device, non_blocking=True)
            .float()
            .div_(127.5)
            .sub_(1)
            .contiguous(memory_format=torch.channels_last)
        )
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = self.learning_rate
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            losses = self._losses(x)
        backward(losses, self.model)
        for player, optimizer in zip(self.players, self.optimizers, strict=True):
            if self.config.train.clip > 0:
                nn.utils.clip_grad_norm_(player.parameters(), self.config.train.clip)
            optimizer.step()
        self._average()
        return losses.terms

    def _losses(self, x: Tensor) -> Losses:
        clock = self.clock
        if self.fraction < self.config.train.warmup:
            losses = self.objective.vae(self.model, x, self.y)
            if clock.step % KL_EVERY == 0:  # the one read from the device outside logging, rare and in warm-up only
                kl = losses.terms["kl_s"].mean().item()
                clock.kl_s = kl if clock.kl_s == 0 else 0.9 * clock.kl_s + 0.1 * kl
            return losses
        if clock.beta_neg is None:
            given, weights = self.config.objective.beta_neg, self.config.objective
            style_dim, n = self.config.model.style_dim, x[0].numel()
            clock.beta_neg = auto_beta_neg(clock.kl_s, style_dim, weights.beta_kl_s, n) if given == "auto" else given
            self.say(f"step {clock.step}: warm-up ends, beta_neg {clock.beta_neg:.4g} (KL_s {clock.kl_s:.2f} nats)")
        # Every sample goes to one of the other domains, each as likely.
        shift = torch.randint(1, len(self.domains), self.y.shape, device=self.device) if len(self.domains) > 2 else 1
        return self.objective.introspective(self.model, x, self.y, (self.y + shift) % len(self.domains), clock.beta_neg)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.train.ema_decay, (self.clock.step + 1) / (self.clock.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    # -- what a run leaves behind --------------------------------------------------------------------------------------

    def _log(self, sums: dict[str, Tensor], since: tuple[int, float]) -> None:
        clock, steps = self.clock, self.clock.step - since[0]
        values = (torch.stack(list(sums.values())) / steps).tolist()  # the log interval's one read from the device
        terms = dict(zip(sums, values, strict=True))
        if not all(math.isfinite(value) for value in values):
            bad = ", ".join(name for name, value in terms.items() if not math.isfinite(value))
            raise Diverged(
                f"step {clock.step}: {bad} not finite; lower train.learning_rate and --resume from {self.out}"
            )
        rate = steps * len(self.y) / max(clock.seconds - since[1], 1e-9)
        line = {
            "step": clock.step, "seconds": round(clock.seconds, 2), "images_per_second": round(rate, 2),
            "learning_rate": self.learning_rate, "beta_neg": clock.beta_neg, **terms,
        }  # fmt: skip
        with open(self.out / "stats.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        left = clock.seconds * (1 / max(self.fraction, 1e-9) - 1)
        self.tick(Tick(clock.step, self.fraction, rate, left, terms))

    def sample(self) -> None:
        """Writes a grid a person can read: for each domain source, reconstruction and translation to the next one."""
        names, columns, labels = self.config.data.names, [], []
        for d, name in enumerate(names):
            to = (d + 1) % len(names)
            x = self.batches.fixed(d, GRID_IMAGES)
            floats = x.to(self.device).float() / 127.5 - 1
            with torch.no_grad():
                rec = self.average.reconstruct(floats, d)
                moved = self.average.translate(floats, d, to)
            columns += [x.permute(0, 2, 3, 1).numpy(), to_uint8(rec.cpu().numpy()), to_uint8(moved.cpu().numpy())]
            labels += [name, f"{name} again", f"{name} to {names[to]}"]
        scale = max(1, 96 // self.config.data.size)
        sheet = grid([list(row) for row in zip(*columns, strict=True)], labels, scale=scale)
        write_image(self.out / "samples" / f"step_{self.clock.step:07d}.png", sheet)

    def score(self) -> None:
        """Judges the average on held-out images, keeps it as best.safetensors if it is that, and says what is wrong."""
        clock = self.clock
        ways = self.judge.score(self.average)
        score = value(ways)
        line = {"step": clock.step, "value": score, "ways": [asdict(way) for way in ways]}
        with open(self.out / "scores.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        played = clock.beta_neg is not None and self.fraction >= WARN_FROM
        warnings = {kind: text for way in ways for kind, text in way.warnings(played).items()}
        for kind in warnings.keys() - self.warned.keys():
            self.say(f"step {clock.step}: warning: {warnings[kind]}")
        self.warned = warnings
        if clock.best_value is None or score < clock.best_value:
            clock.best_value, clock.best_step = score, clock.step
            save_model(self.out / "best.safetensors", self.average, self.config, self.summary())

    def summary(self) -> dict[str, Any]:
        """What the model file says of its training."""
        return {
            **asdict(self.clock),
            "warnings": list(self.warned.values()),
            "images": {domain.name: len(domain.images) for domain in self.domains},
            "seed": self.config.train.seed,
            "versions": {"introshift": __version__, "torch": torch.__version__},
        }

    def save(self) -> None:
        """Writes the model file and the training state, of which the last two are kept."""
        save_model(self.out / "model.safetensors", self.average, self.config, self.summary())
        save_state(self.out / "state", self.model, self.average, self.optimizers, asdict(self.clock))

    def _resume(self) -> None:
        values, complaints = load_state(self.out / "state", self.model, self.average, self.optimizers)
        for complaint in complaints:
            self.say(complaint)
        self.clock = Clock(**values)
        for log in ("stats.jsonl", "scores.jsonl"):
            truncate_log(self.out / log, self.clock.step)
        self.say(f"resumed at step {self.clock.step}")


def truncate_log(path: Path, step: int) -> None:
    """Drops the lines after `step`: a resumed run writes them again."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(path, "".join(line for line in lines if json.loads(line)["step"] <= step))


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that a step is never left half done."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: event.set()) for kind in kinds]
    try:
        yield event
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
