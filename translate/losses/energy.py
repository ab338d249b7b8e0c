"""The energy of an image as one of a domain, and its quantiles over a domain's training images.

    E(x) = s (beta_rec L_r(x, D(mu_c, mu_s, y)) + beta_kl_c KL_c(x) + beta_kl_s KL_s(x))

with s = 1 / (C H W) is the first term of L_E (Daniel & Tamar 2021, equation 5) at the posterior
means and without augmentation: training makes it small for images of y, and the encoder makes it
large for others. Legend: B batch, n images, x (B, C, H, W) image in [-1, 1], y (B,) domain index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from translate.config import ObjectiveConfig
from translate.data.dataset import over_batches
from translate.losses.soft_introvae import reconstruction_error
from translate.models.distributions import Gaussian
from translate.models.networks import Domain, Model

# Dense in the tails, where images that belong are separated from others.
LEVELS = (0.0, 0.001, 0.01, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.99, 0.999, 1.0)
KEY = "energy"  # of the summary in a model file


class Energies(NamedTuple):
    """Energies and their parts before they are weighted, each (B,).

    Attributes:
        energy: The weighted sum, divided by C H W.
        rec: L_r, summed over pixels and channels.
        kl_c: Divergence of the content's posterior, in nats.
        kl_s: Divergence of the style's posterior, in nats.
    """

    energy: Tensor
    rec: Tensor
    kl_c: Tensor
    kl_s: Tensor


class Measured(NamedTuple):
    """One image's row of Energies."""

    energy: float
    rec: float
    kl_c: float
    kl_s: float


class RejectedImageError(ValueError):
    """An image is left out, as its energy is above the threshold."""


class RejectionThreshold(NamedTuple):
    """The energy above which an image is reported or left out.

    Attributes:
        energy: The threshold.
        level: The quantile of the domain's training images that it is, in (0, 1].
        domain: The domain's name.
        skip: Whether images above it are left out, rather than reported only.
    """

    energy: float
    level: float
    domain: str
    skip: bool

    def complaint(self, energy: float) -> str:
        """Return a message for an energy above the threshold, or an empty one.

        Infinity and NaN count as above it.
        """
        if energy <= self.energy:
            return ""
        return (
            f"energy {energy:.4g} above the {self.level:g} quantile of {self.domain}, "
            f"{self.energy:.4g}"
        )


def energies(
    model: Model, x: Tensor, y: Domain, w: ObjectiveConfig, q_c: Gaussian | None = None
) -> Energies:
    """Compute the energies of images as images of given domains.

    Args:
        model: Encoder and decoder.
        x: (B, C, H, W) in [-1, 1], float32.
        y: Their domain, or one for each, (B,).
        w: The weights of training.
        q_c: q(c | x, y), where it is known already.

    Returns:
        The energies and their parts, (B,) each.
    """
    q_c = q_c or model.encode_content(x, y)
    q_s = model.encode_style(x, y)
    rec = reconstruction_error(x, model.decode(q_c.mu, q_s.mu, y, y), w.rec)
    kl_c = q_c.kl()
    kl_s = q_s.kl()
    energy = (w.beta_rec * rec + w.beta_kl_c * kl_c + w.beta_kl_s * kl_s) / x[0].numel()
    return Energies(energy, rec, kl_c, kl_s)


@dataclass(frozen=True)
class EnergyQuantiles:
    """Quantiles of the energies of a domain's images: the reference distribution.

    Attributes:
        quantiles: Energies, which do not fall.
        levels: The share of the images below each, rising from 0 to 1.
    """

    quantiles: Sequence[float]
    levels: Sequence[float] = LEVELS

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.floating[Any]]) -> EnergyQuantiles:
        """Compute the quantiles of energies (n,).

        Raises:
            ValueError: Where there are none, or some are not finite.
        """
        if not len(values) or not np.isfinite(values).all():
            raise ValueError("a reference takes at least one energy, all of them finite")
        return cls([float(f"{value:.6g}") for value in np.quantile(values, LEVELS)])

    @classmethod
    def of_training(cls, summary: Mapping[str, Any], domain: str) -> EnergyQuantiles:
        """Read the quantiles of a domain's training images out of a model file's summary.

        Args:
            summary: The model file's.
            domain: The domain's name.

        Raises:
            ValueError: Where the summary has no sound quantiles; the message names the remedy.
        """
        try:
            found = summary[KEY]
            levels = np.array(found["levels"], float)
            quantiles = np.array(found["quantiles"][domain], float)
            _require_rising(levels, quantiles)
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"the model file has no energy quantiles of {domain}: it comes from an unfinished "
                "or an older training; finish that with train --resume, or see score --reference"
            ) from None
        return cls(quantiles.tolist(), levels.tolist())

    def percentile(self, energy: float) -> float:
        """Return the percentage of the images whose energy is lower, 0 to 100.

        It is linear between the levels, and 100 for NaN.
        """
        share = np.interp(energy, self.quantiles, self.levels)
        # Between quantiles that differ by less than a normal number, the slope overflows.
        below = max(int(np.searchsorted(self.quantiles, energy, side="left")) - 1, 0)
        above = min(
            int(np.searchsorted(self.quantiles, energy, side="right")), len(self.levels) - 1
        )
        share = np.clip(np.nan_to_num(share, nan=1.0), self.levels[below], self.levels[above])
        return 100 * float(share)

    def limit(self, level: float) -> float:
        """Return the energy at a level in (0, 1].

        Raises:
            ValueError: For another level.
        """
        if not 0 < level <= 1:
            raise ValueError(
                f"--reject {level}: use a quantile above 0 and at most 1, such as 0.999"
            )
        return float(np.interp(level, self.levels, self.quantiles))


def _require_rising(
    levels: NDArray[np.floating[Any]], quantiles: NDArray[np.floating[Any]]
) -> None:
    """Raise ValueError where levels do not rise from 0 to 1, or quantiles do not rise with them."""
    if len(levels) == 0 or levels[0] != 0 or levels[-1] != 1:
        raise ValueError("levels have to go from 0 to 1")
    if levels.shape != quantiles.shape or not np.isfinite(quantiles).all():
        raise ValueError("each level needs a finite quantile")
    if (np.diff([levels, quantiles]) < 0).any():
        raise ValueError("levels and quantiles may not fall")


def training_quantiles(
    model: Model, names: Sequence[str], images: Sequence[Tensor], w: ObjectiveConfig
) -> dict[str, Any]:
    """Compute the quantiles of the energies of each domain's training images.

    Args:
        model: Encoder and decoder.
        names: The domains' names in the order of their index.
        images: Each domain's images, (n, C, S, S) uint8.
        w: The weights of training.

    Returns:
        The entry KEY of a model file's summary. A domain with energies that are not finite has no
        quantiles: a training does not fail at its end for that.
    """
    quantiles = {}
    for domain, (name, x) in enumerate(zip(names, images, strict=True)):
        found = _energies_of(model, x, domain, w)
        if np.isfinite(found).all():
            quantiles[name] = EnergyQuantiles.of(found).quantiles
    return {"levels": LEVELS, "quantiles": quantiles}


@torch.no_grad()
def _energies_of(
    model: Model, images: Tensor, domain: int, w: ObjectiveConfig
) -> NDArray[np.float32]:
    """Return the energies (n,) of images (n, C, S, S) uint8."""

    def energy(x: Tensor) -> Tensor:
        return energies(model, x, domain, w).energy

    device = next(model.parameters()).device
    found: NDArray[np.float32] = over_batches(energy, images, device).cpu().numpy()
    return found
