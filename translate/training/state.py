"""Where a run stands, and what follows from it: its phase, learning rate and augmentation."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from translate.config import TrainConfig

# Steps over which the learning rate rises from 0, at the start and when the introspective phase
# begins, as Adam's second moments are still those of the warm-up's small gradients then.
LEARNING_RATE_RAMP = 100

SMOOTHING = 0.9  # of the running means of KL_s
SHARE_STEP = 0.01  # by which `energy_share` moves each time
MAX_SHARE = 0.8  # above it, changes of colour are drawn into fakes (Karras et al. 2020)

STRICT = ConfigDict(strict=True)
LARGEST = 2**53  # up to which floats count

# Fields that states of earlier versions do not have; they take their default then.
ADDED_FIELDS = {
    "best_influence",
    "reserved",
    "kl_trained",
    "kl_held_out",
    "kl_fake",
    "energy_share",
}


@dataclass
class TrainState:
    """What a run knows besides its tensors; all but the config is in the training state."""

    train: TrainConfig
    step: int = 0
    seconds: float = 0.0  # spent on steps, and on what is written between them
    reserved: float = 0.0  # seconds of train.max_minutes that are kept for all else
    kl_s: float = 0.0  # running mean of KL_s(x), nats: what beta_neg "auto" is made from
    beta_neg: float | None = None  # set once, when warm-up ends
    introspective_start: int = 0  # the step at which that was
    rollbacks: int = 0  # times the run has diverged; each halves the learning rate
    # the best selection criterion so far, lower is better (validation.py)
    best_value: float | None = None
    # what images contribute to it, see validation.SelectionCriterion
    best_influence: list[list[float]] | None = None
    best_step: int = 0  # when the last model was scored that was as good
    # where augment.memorized is set, running means of KL_s before the energy, nats
    kl_trained: float = 0.0  # of trained images
    kl_held_out: float = 0.0  # of images that are not trained on
    kl_fake: float = 0.0  # of fakes
    energy_share: float = 0.0  # of the images, those that are changed more before the energy

    def values(self) -> dict[str, Any]:
        """Return all fields but the config."""
        names = [field.name for field in fields(self) if field.name != "train"]
        return {name: getattr(self, name) for name in names}

    @classmethod
    def check(cls, values: dict[str, Any], path: Path) -> None:
        """Check that the values in a training state are those of this version.

        Args:
            values: As of `values()`, read from the file `path`.
            path: Named in the error.

        Raises:
            ValueError: Where fields are missing, unknown or of another type.
        """
        known = {field.name for field in fields(cls)} - {"train"}
        required = known - ADDED_FIELDS
        found = [f"{name} is missing" for name in sorted(required - values.keys())]
        found += [f"{name} is unknown" for name in sorted(values.keys() - known)]
        if found:
            raise ValueError(
                f"{path}: a training state of another version of introshift ({', '.join(found)}); "
                "resume it with that version, or train anew with another --out"
            )
        types = get_type_hints(cls)
        for name, value in values.items():
            try:
                TypeAdapter(types[name], config=STRICT).validate_python(value)
            except ValidationError:
                raise ValueError(f"{path}: damaged: {name} is no {types[name]}") from None
            counts = isinstance(value, int | float) and name != "best_value"
            if counts and not 0 <= value < LARGEST:
                raise ValueError(f"{path}: damaged: {name} is out of range")

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]: by steps, or by minutes if they end first."""
        by_time = 0.0
        if self.train.max_minutes:
            by_time = self.seconds / max(60 * self.train.max_minutes - self.reserved, 1e-9)
        return min(1.0, max(self.step / self.train.steps, by_time))

    @property
    def warming_up(self) -> bool:
        """Whether the model still trains as a plain VAE."""
        return self.progress < self.train.warmup

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step.

        It rises over the first steps of warm-up and of the introspective phase, and falls linearly
        to 0 over the last `cooldown` share of the run.
        """
        since = self.step if self.beta_neg is None else self.step - self.introspective_start
        ramp = min(1.0, (since + 1) / LEARNING_RATE_RAMP) * 0.5**self.rollbacks
        rate = self.train.learning_rate * ramp
        if self.train.cooldown > 0:
            rate *= min(1.0, (1 - self.progress) / self.train.cooldown)
        return rate

    @property
    def memorized(self) -> float:
        """How the encoder judges held-out images: 0 as trained ones, 1 as fakes.

        It is r_v of ADA (Karras et al., NeurIPS 2020), with KL_s for the discriminator's output.
        """
        gap = self.kl_fake - self.kl_trained
        return (self.kl_held_out - self.kl_trained) / gap if gap > 0 else 0.0

    def steer(self, kl_trained: float, kl_held_out: float, kl_fake: float, target: float) -> None:
        """Change more images before the energy where too much is memorized, fewer otherwise.

        Args:
            kl_trained: Mean KL_s of trained images of this step, nats.
            kl_held_out: The same of images that are not trained on.
            kl_fake: The same of fakes.
            target: The value of `memorized` to keep to.
        """
        kept = SMOOTHING if self.kl_fake > 0 else 0.0  # the first values are the means
        self.kl_trained = kept * self.kl_trained + (1 - kept) * kl_trained
        self.kl_held_out = kept * self.kl_held_out + (1 - kept) * kl_held_out
        self.kl_fake = kept * self.kl_fake + (1 - kept) * kl_fake
        change = SHARE_STEP if self.memorized > target else -SHARE_STEP
        self.energy_share = min(max(self.energy_share + change, 0.0), MAX_SHARE)
