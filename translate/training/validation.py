"""Which model of a run is the best, and did the run go well? Measured without pairs, on images
held out from training.

Legend: n held-out images of the source, m training images of the target, D features, C channels,
S size. Images are float in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.data.dataset import over_batches
from translate.metrics.distribution import kernel_distance
from translate.models.networks import Model

CYCLE_WEIGHT = 0.1  # small: where layout moves, the way back is longer, and the result better
# least deviation of a feature, as a share of the mean one: what hardly varies must not decide alone
RARE = 0.1
ALIKE = 1e-3  # the same where the images of a domain are all alike
# warned of: translations that vary less than this share of what images of the target do
COLLAPSED = 0.3
# the prior's mean is no style of a domain where it costs so many times the energy of random styles
MUDDLED = 1.1
UNSEEN = 0.5 / 255  # warned of: random styles that change a pixel by less than half a gray level
# times a run's best score: the score does not tell such models apart, and a later one has learned
# more
AS_GOOD = 1.3
# nats; warned of: held-out images that the encoder finds so much stranger than trained ones
MEMORISED = 8.0


class RandomFeatures(nn.Module):
    """Means and deviations of three random convolution layers: features that need no training, are
    the same for every run and do not move with the model, so that the scores of one run can be
    compared (as in Saxe et al. 2011).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        for i, (inputs, outputs, size) in enumerate(
            ((channels, 64, 5), (64, 128, 3), (128, 128, 3))
        ):
            scale = (2 / (inputs * size**2)) ** 0.5
            self.register_buffer(
                f"w{i}", scale * torch.randn(outputs, inputs, size, size, generator=draw)
            )

    def forward(self, x: Tensor) -> Tensor:
        """x (n, C, S, S) -> (n, 640)."""
        found = []
        for weight in self.buffers():
            x = F.relu(F.conv2d(x, weight, stride=2, padding=weight.shape[-1] // 2))
            found += [x.mean((2, 3)), x.std((2, 3))]
        return torch.cat(found, dim=1)


@dataclass(frozen=True)
class DirectionScore:
    """Translation from `source` to `to` in random styles, measured on held-out images of `source`.

    Where there is one domain alone both are it, samples of the prior stand for translations and
    the way to a reconstruction for the way there and back.
    """

    source: str
    to: str
    # kernel distance of the translations to training images of `to`, on `RandomFeatures`
    distance: float
    identity: float  # the same for the images as they are: what doing nothing costs
    # mean absolute error of a pixel, range [0, 1], there and back: what was lost of the content
    cycle: float
    feature_std_ratio: (
        # how much translations in the prior's mean style vary, as a share of how much images of
        # `to` do
        float
    )
    diversity: float  # mean absolute change of a pixel, range [0, 1], between two random styles
    # KL_s of translations less that of held-out images of `to`, nats; below 0 the game is lost
    energy_gap: float
    kl_generalization_gap: float  # KL_s of held-out images of `to` less that of trained ones, nats
    # KL_s of translations in the style of the prior's mean, times that in random styles
    mean_style_energy_ratio: float

    @property
    def value(self) -> float:
        """Lower is better: the distance, as a share of the identity's if there is a way, and what
        was lost.
        """
        share = 1.0 if self.source == self.to else max(self.identity, 1e-6)
        return max(self.distance, 0.0) / share + CYCLE_WEIGHT * self.cycle

    def warnings(self, played: bool) -> dict[str, str]:
        """What went wrong, by kind, each with its number and a remedy. Little can be said before
        the game was `played` for a while.
        """
        alone = self.source == self.to
        found = dict[str, str]()
        way, made = (
            (self.to, "samples") if alone else (f"{self.source} to {self.to}", "translations")
        )
        if self.feature_std_ratio < COLLAPSED:
            found[f"{way}, content"] = (
                f"{way}: {made} vary only {self.feature_std_ratio:.2f} times as much as images of {self.to}: "
                + ("" if alone else "content is lost; raise objective.lambda_cyc or ")
                + "lower objective.beta_fake"
            )
        if not played:
            return found
        if not alone and self.distance >= self.identity:
            found[f"{way}, identity"] = (
                f"{way}: translations of held-out images are no nearer to {self.to} (kernel distance "
                f"{self.distance:.3f}) than the images themselves ({self.identity:.3f}); train longer, look at samples/"
            )
        if self.energy_gap < 0:
            found[f"{way}, gap"] = (
                f"{way}: the encoder takes {made} for {self.to} rather than images of {self.to} (energy gap "
                f"{self.energy_gap:.1f} nats, should be above 0); lower objective.beta_fake"
            )
        if self.diversity < UNSEEN:
            found[f"{way}, style"] = (
                f"{way}: another random style changes a pixel by {255 * self.diversity:.2f} of 255 levels: style "
                f"carries nothing, as it should where {self.to} has one look; else lower objective.beta_kl_s"
            )
        if self.kl_generalization_gap > MEMORISED:
            found[f"{self.to}, memorised"] = (
                f"{self.to}: the encoder memorizes the training images (KL_s of held-out ones is "
                f"{self.kl_generalization_gap:.1f} nats higher); model.safetensors keeps the best; "
                "take more images or less time"
            )
        return found


class ModelSelector:
    """Scores the models of one run, always on the same images and random styles."""

    def __init__(
        self, names: Sequence[str], held_out: Sequence[Tensor], trained: Sequence[Tensor]
    ) -> None:
        """held_out, trained: for each domain uint8 (n, C, S, S) and (m, C, S, S), n and m at least
        2.
        """
        self.names = names
        self.held_out = held_out
        self.trained = trained
        self.features = RandomFeatures(trained[0].shape[1])

    @cached_property
    def _fixed(self) -> tuple[list[Tensor], list[Tensor]]:
        """Features of the held-out and of the trained images: they stay as they are while the
        model changes.
        """
        held_out, trained = (
            [self._over(self.features, x) for x in images]
            for images in (self.held_out, self.trained)
        )
        return held_out, trained

    @torch.no_grad()
    def score(self, model: Model) -> list[DirectionScore]:
        """One `DirectionScore` for every ordered pair of domains. `model` computes in float32, on
        its own device.
        """
        self.features.to(next(model.parameters()).device)
        sources, real = self._fixed
        seen = [self._kl(model, x, d) for d, x in enumerate(self.trained)]
        unseen = [self._kl(model, x, d) for d, x in enumerate(self.held_out)]
        direction_scores = []
        for a, b in permutations(range(len(self.names)), 2) if len(self.names) > 1 else [(0, 0)]:
            features, one_style, (cycle, diversity, energy, at_mean) = self._translations(
                model, a, b
            )
            mean = real[b].mean(0)
            std = real[b].std(0)
            std = std.clamp_min(max(RARE * std.mean().item(), ALIKE))
            moved, target, source = ((f - mean) / std for f in (features, real[b], sources[a]))
            direction_scores.append(
                DirectionScore(
                    source=self.names[a],
                    to=self.names[b],
                    distance=kernel_distance(moved, target),
                    identity=kernel_distance(source, target),
                    cycle=cycle,
                    feature_std_ratio=((features if a == b else one_style).std(0) / std)
                    .mean()
                    .item(),
                    diversity=diversity,
                    energy_gap=energy - unseen[b],
                    kl_generalization_gap=unseen[b] - seen[b],
                    mean_style_energy_ratio=(at_mean + ALIKE) / (energy + ALIKE),
                )
            )
        return direction_scores

    def _translations(self, model: Model, a: int, b: int) -> tuple[Tensor, Tensor, list[float]]:
        """Features of the held-out images of `a` in `b`, in random styles and in the prior's mean
        (n, D); the means of cycle and diversity, and of KL_s in random styles and in the
        prior's mean.
        """
        images = self.held_out[a]
        draws = iter(
            torch.randn(len(images), 2, model.style_dim, generator=torch.Generator().manual_seed(0))
        )

        def measure(x: Tensor) -> Tensor:
            first, second = torch.stack(list(islice(draws, len(x)))).to(x).unbind(1)
            mean, t, other = (model.translate(x, a, b, z) for z in (None, first, second))
            pairs = (
                (model.reconstruct(x, a) if a == b else model.translate(t, b, a), x),
                (t, other),
            )
            cycle, diversity = ((u - v).abs().flatten(1).mean(1) / 2 for u, v in pairs)
            y = torch.full((len(x),), b, device=x.device)
            energy, at_mean = (model.encoder.style(made, y).kl() for made in (t, mean))
            numbers = torch.stack([cycle, diversity, energy, at_mean], dim=1)
            return torch.cat([self.features(t), self.features(mean), numbers], dim=1)

        found = self._over(measure, images)
        features, one_style = found[:, :-4].chunk(2, dim=1)
        return features, one_style, found[:, -4:].mean(0).tolist()

    def _kl(self, model: Model, images: Tensor, domain: int) -> float:
        def kl(x: Tensor) -> Tensor:
            return model.encoder.style(x, torch.full((len(x),), domain, device=x.device)).kl()

        return self._over(kl, images).mean().item()

    def _over(self, measure: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        device = next(self.features.buffers()).device
        return over_batches(measure, images, device)


def value(direction_scores: Sequence[DirectionScore]) -> float:
    """The score of a model: the mean over all directions, lower is better."""
    return sum(way.value for way in direction_scores) / len(direction_scores)


def default_styles(direction_scores: Sequence[DirectionScore]) -> dict[str, str]:
    """The style that translations to each domain take where none is asked for: "mean", or "random"
    where the domain has many looks and the prior's mean, in the middle of them, is none.
    """
    varied = {way.to for way in direction_scores if way.mean_style_energy_ratio > MUDDLED}
    return {way.to: "random" if way.to in varied else "mean" for way in direction_scores}
