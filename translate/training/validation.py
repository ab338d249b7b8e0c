"""Model selection: which model of a run is the best, and did the run go well?

Measured without pairs, on images held out from training.

Legend: n held-out images of the source, m training images of the target, D features, C channels,
S size. Images are float in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, permutations
from typing import NamedTuple

import torch
from torch import Tensor

from translate.data.dataset import over_batches
from translate.metrics.distribution import (
    KernelDistance,
    jackknife_error,
)
from translate.metrics.random_features import (
    RandomFeatures,
    center_and_std,
    standardized_distance,
)
from translate.models.networks import Model

SCORED_IMAGES = 256  # trained images of a domain that translations are compared with
REFERENCE_IMAGES = 1024  # of a domain, whose energies are the reference distribution

MAX_NAMED = 2  # directions of translation that a sentence on quality names

# Small: where the layout changes, the cycle's error grows although the translation gets better.
CYCLE_WEIGHT = 0.1
# The criterion itself does not rank models within this share of the lowest one.
AS_GOOD = 0.3
# Standard errors of the difference of two models that chance does not exceed: in 95 % of cases.
CHANCE = 2.0
# Standard errors by which the distance of two domains must exceed 0. Parts of one domain do so in
# at most 1 % of draws (docs/mathematics.md).
DISTINCT = 2.0

ALIKE = 1e-3  # least denominator of ratios, for images that are all alike

# The prior's mean is no style of a domain where it costs so many times the energy of random styles.
MAX_MEAN_STYLE_RATIO = 1.1

# Warned of: translations that vary less than this share of what images of the target do.
COLLAPSED = 0.3
# Warned of: random styles that change a pixel by less than half a gray level, range [0, 1].
UNSEEN = 0.5 / 255
# Warned of: held-out images that cost the encoder so much more KL_s than trained ones, in nats.
MEMORIZED = 8.0


@dataclass(frozen=True)
class SelectionCriterion:
    """The number that selects a model, lower is better, with what it takes to compare two models.

    Attributes:
        value: The number.
        influence: What each image contributes to it, for each set of images, see `KernelDistance`;
            None in training states of earlier versions, which did not have it.
    """

    value: float
    influence: list[list[float]] | None

    @property
    def error(self) -> float:
        """Standard error of `value`; nan where it is not known."""
        return math.nan if self.influence is None else _error(self.influence)

    def error_of_difference(self, best: SelectionCriterion) -> float:
        """Return the standard error of the difference to a model of the same run.

        Both are scored on the same images, so that what is easy or hard about these cancels out.
        Where that of `best` is not known, or was of other images, the errors are taken as
        independent and equal.
        """
        assert self.influence is not None
        if best.influence is None or _sizes(best.influence) != _sizes(self.influence):
            return math.sqrt(2) * self.error
        pairs = zip(self.influence, best.influence, strict=True)
        return _error([[x - y for x, y in zip(*pair, strict=True)] for pair in pairs])

    def is_as_good_as(self, best: SelectionCriterion) -> bool:
        """Return whether this model is not clearly worse than the run's best one.

        Clearly worse: by more than chance and than the criterion's own resolution.
        """
        allowed = max(AS_GOOD * best.value, CHANCE * self.error_of_difference(best))
        return self.value - best.value <= allowed

    def is_clearly_better_than(self, other: SelectionCriterion) -> bool:
        """Return whether this model of the same run is better by more than chance."""
        return other.value - self.value > CHANCE * self.error_of_difference(other)

    def better_of(
        self, best_value: float | None, best_influence: list[list[float]] | None
    ) -> SelectionCriterion:
        """Return the better one of this model and of the run's best so far.

        Args:
            best_value: The run's lowest value; None before the first score.
            best_influence: Its influence, see above.
        """
        if best_value is None or self.value < best_value:
            return self
        return SelectionCriterion(best_value, best_influence)


@dataclass(frozen=True)
class DirectionScore:
    """Translation from `source` to `to` in random styles, measured on held-out images of `source`.

    With one domain alone both are that domain: samples of the prior stand for translations, and a
    reconstruction for the cycle.
    """

    source: str
    to: str

    distance: float
    """Kernel distance of the translations to training images of `to`, on `RandomFeatures`."""

    identity: float
    """The same for the untranslated images: what doing nothing costs."""

    cycle: float
    """Mean absolute error of a pixel after the cycle, range [0, 1]: content that was lost."""

    feature_std_ratio: float
    """How much translations in the prior's mean style vary, as a share of how much images of `to`
    do."""

    diversity: float
    """Mean absolute change of a pixel between two random styles, range [0, 1]."""

    energy_gap: float
    """KL_s of translations less that of held-out images of `to`, nats; below 0 the decoder wins."""

    kl_generalization_gap: float
    """KL_s of held-out images of `to` less that of trained ones, nats."""

    mean_style_energy_ratio: float
    """KL_s of translations in the style of the prior's mean, times that in random styles."""

    distance_error: float
    """Standard error of `distance`."""

    domain_distance: float
    """Kernel distance of training images of `source` to those of `to`; 0 with one domain alone.

    As `identity`, but of more images: the same for all models of a run."""

    domain_distance_error: float
    """Standard error of `domain_distance`."""

    gain_error: float = math.nan
    """Standard error of `identity - distance`, which are of the same images; nan in the logs of
    earlier versions."""

    @property
    def single_domain(self) -> bool:
        """Whether there is one domain alone."""
        return self.source == self.to

    @property
    def domains_differ(self) -> bool:
        """Whether there are two domains, at a distance above 0 by more than chance."""
        return self.domain_distance > DISTINCT * self.domain_distance_error

    @property
    def unit(self) -> float:
        """What the criterion measures `distance` in: that of the domains, where there is one."""
        return self.domain_distance if self.domains_differ else 1.0

    @property
    def value(self) -> float:
        """The selection criterion of this direction: distance, and what was lost of the content."""
        return self.distance / self.unit + CYCLE_WEIGHT * self.cycle

    @property
    def quality(self) -> str:
        """How much nearer translations are to the target than the images they were made of."""
        direction = self._direction
        if self.single_domain:
            return f"{direction}: drawn pictures are at a kernel distance of {self.distance:.2g}"
        if not self.domains_differ:
            return f"{direction}: pictures of both cannot be told apart"
        gain = self.identity - self.distance
        if not abs(gain) > CHANCE * self.gain_error:
            return f"{direction}: no clear difference to the untranslated pictures"
        if gain < 0:
            return f"{direction}: farther from {self.to} than the untranslated pictures"
        share = min(100, round(100 * gain / max(self.identity, ALIKE)))
        return f"{direction}: {share} % nearer to {self.to} than the untranslated pictures"

    def notes(self, settled: bool) -> dict[str, str]:
        """Return what may well be as it should, by kind, each with its number and a remedy.

        Args:
            settled: Whether the introspective phase has run for a while.
        """
        direction = self._direction
        found: dict[str, str] = {}
        if settled and self.diversity < UNSEEN:
            found[f"{direction}, style"] = (
                f"{direction}: another random style changes nothing that can be seen "
                f"({255 * self.diversity:.2f} of 255 levels a pixel), as it should where {self.to} "
                "has one look; where it has many, lower objective.beta_kl_s"
            )
        return found

    def warnings(self, settled: bool) -> dict[str, str]:
        """Return what went wrong, by kind, each with its number and a remedy.

        Args:
            settled: Whether the introspective phase has run for a while. Little can be said
                before.
        """
        found = self._early_warnings()
        if settled:
            found |= self._late_warnings()
        return found

    @property
    def _direction(self) -> str:
        return self.to if self.single_domain else f"{self.source} to {self.to}"

    @property
    def _outputs(self) -> str:
        return "samples" if self.single_domain else "translations"

    def _early_warnings(self) -> dict[str, str]:
        """Warn of what does not change, and of collapsed content."""
        direction = self._direction
        found: dict[str, str] = {}
        if not (self.single_domain or self.domains_differ):
            found[f"{direction}, alike"] = (
                f"{direction}: the pictures of {self.source} and {self.to} cannot be told apart "
                f"(kernel distance {self.domain_distance:.3f}, standard error "
                f"{self.domain_distance_error:.3f}), so that the last model that is not clearly "
                "worse is kept; check that data.domains names two kinds of pictures, or give more "
                "of them"
            )
        if self.feature_std_ratio < COLLAPSED:
            cycle = "" if self.single_domain else "raise objective.lambda_cyc or "
            found[f"{direction}, content"] = (
                f"{direction}: {self._outputs} look too much like one another (they vary "
                f"{self.feature_std_ratio:.2f} times as much as pictures of {self.to}); "
                f"{cycle}lower objective.beta_fake"
            )
        return found

    def _late_warnings(self) -> dict[str, str]:
        """Warn of what a run of some length should have learned."""
        direction = self._direction
        found: dict[str, str] = {}
        if self.domains_differ and self.distance >= self.identity:
            found[f"{direction}, identity"] = (
                f"{direction}: translations are no nearer to {self.to} (kernel distance "
                f"{self.distance:.3f}) than the untranslated pictures ({self.identity:.3f}); look "
                "at the grids in samples/, and train longer"
            )
        if self.energy_gap < 0:
            found[f"{direction}, energy gap"] = (
                f"{direction}: the encoder finds {self._outputs} more typical of {self.to} than "
                f"real pictures of it (energy gap {self.energy_gap:.1f} nats, should be above 0), "
                "and no longer tells the decoder what is missing; lower objective.beta_fake"
            )
        if self.kl_generalization_gap > MEMORIZED:
            found[f"{self.to}, memorized"] = (
                f"{self.to}: the encoder has begun to memorize the training pictures (KL_s of "
                f"others is {self.kl_generalization_gap:.1f} nats higher); model.safetensors is "
                "the best model so far; more pictures would help, longer training would not"
            )
        return found


class ModelScore(NamedTuple):
    """How good a model is: in each direction, and in one number."""

    directions: list[DirectionScore]
    criterion: SelectionCriterion


class _Translations(NamedTuple):
    """What the held-out images of one domain become in another."""

    features: Tensor  # (n, D), in random styles
    mean_style_features: Tensor  # (n, D), in the style of the prior's mean
    numbers: Tensor  # (n, 4): cycle, diversity, KL_s in random styles and in the prior's mean


class ModelSelector:
    """Scores the models of one run, always on the same images and random styles."""

    def __init__(
        self, names: Sequence[str], held_out: Sequence[Tensor], trained: Sequence[Tensor]
    ) -> None:
        """Take the images that all models of the run are scored on.

        Args:
            names: The domains.
            held_out: For each domain uint8 (n, C, S, S), n at least 2.
            trained: For each domain uint8 (m, C, S, S), m at least 2.
        """
        self.names = names
        self.held_out = held_out
        self.trained = trained
        self.features = RandomFeatures(trained[0].shape[1])

    @property
    def directions(self) -> list[tuple[int, int]]:
        """Every ordered pair of domain indices; of one domain alone, that with itself."""
        return list(permutations(range(len(self.names)), 2)) or [(0, 0)]

    @cached_property
    def _held_out_features(self) -> list[Tensor]:
        return [self._over(self.features, images) for images in self.held_out]

    @cached_property
    def _trained_features(self) -> list[Tensor]:
        return [self._over(self.features, images) for images in self.trained]

    @cached_property
    def _domain_distances(self) -> dict[tuple[int, int], KernelDistance]:
        """Distances of the training images, of each direction with two domains."""
        return {
            (a, b): self._distance(self._trained_features[a], b)
            for a, b in self.directions
            if a != b
        }

    @torch.no_grad()
    def score(self, model: Model) -> ModelScore:
        """Score every ordered pair of domains, and the model by the mean over them.

        Args:
            model: Computes in float32, on its own device.
        """
        self.features.to(next(model.parameters()).device)
        trained_kl = [self._kl(model, x, d) for d, x in enumerate(self.trained)]
        held_out_kl = [self._kl(model, x, d) for d, x in enumerate(self.held_out)]
        count = len(self.directions)
        on_held_out = [torch.zeros(len(images), dtype=torch.float64) for images in self.held_out]
        on_trained = [torch.zeros(len(images), dtype=torch.float64) for images in self.trained]
        scores = []
        for a, b in self.directions:
            made = self._translations(model, a, b)
            distance = self._distance(made.features, b)
            score = self._direction_score((a, b), made, distance, held_out_kl[b], trained_kl[b])
            scores.append(score)

            content_lost = CYCLE_WEIGHT * made.numbers[:, 0].double()
            on_held_out[a] += (distance.influence_x / score.unit + content_lost).cpu() / count
            on_trained[b] += (distance.influence_y / score.unit).cpu() / count
        value = sum(score.value for score in scores) / count
        influence = [x.tolist() for x in (*on_held_out, *on_trained)]
        return ModelScore(scores, SelectionCriterion(value, influence))

    def _direction_score(
        self,
        direction: tuple[int, int],
        made: _Translations,
        distance: KernelDistance,
        held_out_kl: float,
        trained_kl: float,
    ) -> DirectionScore:
        """Compute the numbers of a direction, given the mean KL_s of images of the target."""
        a, b = direction
        cycle, diversity, energy, mean_style_energy = made.numbers.mean(0).tolist()
        # Samples of one domain alone would be all alike in the mean style.
        varied = made.features if a == b else made.mean_style_features
        domains = self._domain_distances.get(direction)
        identity = self._distance(self._held_out_features[a], b)
        std = center_and_std(self._trained_features[b])[1]
        return DirectionScore(
            source=self.names[a],
            to=self.names[b],
            distance=distance.value,
            identity=identity.value,
            cycle=cycle,
            feature_std_ratio=(varied.std(0) / std).mean().item(),
            diversity=diversity,
            energy_gap=energy - held_out_kl,
            kl_generalization_gap=held_out_kl - trained_kl,
            mean_style_energy_ratio=(mean_style_energy + ALIKE) / (energy + ALIKE),
            distance_error=distance.error,
            domain_distance=domains.value if domains else 0.0,
            domain_distance_error=domains.error if domains else 0.0,
            gain_error=_paired_error(distance, identity),
        )

    def _distance(self, features: Tensor, domain: int) -> KernelDistance:
        """Kernel distance of features (n, D) to the training images of a domain, in its units."""
        return standardized_distance(features, self._trained_features[domain])

    def _translations(self, model: Model, a: int, b: int) -> _Translations:
        """Translate the held-out images of domain `a` to `b`."""
        images = self.held_out[a]
        generator = torch.Generator().manual_seed(0)
        styles = iter(torch.randn(len(images), 2, model.style_dim, generator=generator))

        def measure(x: Tensor) -> Tensor:
            first, second = torch.stack(list(islice(styles, len(x)))).to(x).unbind(1)
            in_mean_style = model.translate(x, a, b, None)
            t = model.translate(x, a, b, first)
            other = model.translate(x, a, b, second)
            back = model.reconstruct(x, a) if a == b else model.translate(t, b, a)
            numbers = [
                _pixel_error(back, x),
                _pixel_error(t, other),
                model.encode_style(t, b).kl(),
                model.encode_style(in_mean_style, b).kl(),
            ]
            features = [self.features(t), self.features(in_mean_style)]
            return torch.cat([*features, torch.stack(numbers, dim=1)], dim=1)

        found = self._over(measure, images)
        features, mean_style_features = found[:, :-4].chunk(2, dim=1)
        return _Translations(features, mean_style_features, found[:, -4:])

    def _kl(self, model: Model, images: Tensor, domain: int) -> float:
        """Mean KL_s of images (n, C, S, S) uint8 of a domain, nats."""
        return self._over(lambda x: model.encode_style(x, domain).kl(), images).mean().item()

    def _over(self, measure: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        device = next(self.features.buffers()).device
        return over_batches(measure, images, device)


def quality_sentence(scores: Sequence[DirectionScore]) -> str:
    """Say in one sentence how good a model is, by its scores in all directions.

    Of many directions the best and the worst are named.
    """
    if len(scores) <= MAX_NAMED:
        return "; ".join(score.quality for score in scores)
    ranked = sorted(scores, key=lambda score: score.distance / max(score.identity, ALIKE))
    return f"best {ranked[0].quality}; worst {ranked[-1].quality}"


def default_styles(
    direction_scores: Sequence[DirectionScore], keeps_detail: bool
) -> dict[str, str]:
    """Return the style of translations to each domain where none is asked for.

    It is "keep" for models that keep detail: what is mapped to another domain is then the change
    of domain alone, and not that of style beside it. Otherwise it is "mean", or "random" where the
    domain has many looks and the prior's mean, in the middle of them, is none.
    """
    if keeps_detail:
        return {score.to: "keep" for score in direction_scores}
    varied = {
        score.to
        for score in direction_scores
        if score.mean_style_energy_ratio > MAX_MEAN_STYLE_RATIO
    }
    return {score.to: "random" if score.to in varied else "mean" for score in direction_scores}


def _pixel_error(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference (n,) of images (n, C, S, S) in [-1, 1], range [0, 1]."""
    return (x - y).abs().flatten(1).mean(1) / 2


def _paired_error(x: KernelDistance, y: KernelDistance) -> float:
    """Compute the standard error of the difference of two distances of the same images."""
    return jackknife_error([x.influence_x - y.influence_x, x.influence_y - y.influence_y])


def _error(influence: list[list[float]]) -> float:
    """Compute the standard error of a criterion from its influence."""
    return jackknife_error([torch.tensor(x, dtype=torch.float64) for x in influence])


def _sizes(influence: list[list[float]]) -> list[int]:
    return [len(x) for x in influence]
