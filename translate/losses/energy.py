"""Does an image belong to a domain? The energy that the encoder gives to real images, and what is
usual there.

    E(x) = s (beta_rec L_r(x, D(mu_c, mu_s, y)) + beta_kl_c KL_c(x) + beta_kl_s KL_s(x)),  s = 1
    / (C H W)

is the first term of L_E (Daniel & Tamar 2021, equation 5) at the posterior means and without
augmentation: what training makes small for images of y, and the encoder large for what is none.
Legend: B batch, n images, x (B, C, H, W) image in [-1, 1], y (B,) domain.
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
from translate.models.networks import Model

# The tails matter most: what is told apart lies there.
LEVELS = (0.0, 0.001, 0.01, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.99, 0.999, 1.0)
KEY = "energy"  # of the summary in a model file


class Energies(NamedTuple):
    """The energy and its parts before they are weighted, each (B,): L_r is summed over pixels, KL
    is in nats.
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
    """An image is not worked on, as its energy lies beyond the limit."""


class RejectionThreshold(NamedTuple):
    """The energy at a quantile (`level`) of a domain's training images; with `skip`, what lies
    beyond is left out.
    """

    energy: float
    level: float
    domain: str
    skip: bool

    def complaint(self, energy: float) -> str:
        """What is to be said of an image with this energy, empty if nothing is; one that is not
        finite lies beyond.
        """
        if energy <= self.energy:
            return ""
        return f"energy {energy:.4g} beyond the {self.level:g} quantile of {self.domain}, {self.energy:.4g}"


def energies(
    model: Model, x: Tensor, y: Tensor, w: ObjectiveConfig, q_c: Gaussian | None = None
) -> Energies:
    """What x costs as images of y, in float32 and with the weights of training; q_c = q(c | x, y)
    where it is known.
    """
    q_c = q_c or model.encoder.content(x, y)
    q_s = model.encoder.style(x, y)
    rec = reconstruction_error(x, model.decoder(q_c.mu, q_s.mu, y, y), w.rec)
    kl_c = q_c.kl()
    kl_s = q_s.kl()
    return Energies(
        (w.beta_rec * rec + w.beta_kl_c * kl_c + w.beta_kl_s * kl_s) / x[0].numel(), rec, kl_c, kl_s
    )


@dataclass(frozen=True)
class EnergyQuantiles:
    """What is usual: `quantiles` of the energies of a domain's images at `levels`, which rise from
    0 to 1.
    """

    quantiles: Sequence[float]
    levels: Sequence[float] = LEVELS

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.floating[Any]]) -> EnergyQuantiles:
        """The reference that energies (n,) make. Raises ValueError for none, and for some that are
        not finite.
        """
        if not len(values) or not np.isfinite(values).all():
            raise ValueError("a reference takes at least one energy, all of them finite")
        return cls([float(f"{value:.6g}") for value in np.quantile(values, LEVELS)])

    @classmethod
    def of_training(cls, summary: Mapping[str, Any], domain: str) -> EnergyQuantiles:
        """A model file's own, from its training images. Raises ValueError with the remedy where it
        has none.
        """
        try:
            found = summary[KEY]
            levels, quantiles = (
                np.array(values, float) for values in (found["levels"], found["quantiles"][domain])
            )
            sound = (
                len(levels) > 0
                and levels[0] == 0
                and levels[-1] == 1
                and np.isfinite(quantiles).all()
            )
            if (
                not sound
                or levels.shape != quantiles.shape
                or (np.diff([levels, quantiles]) < 0).any()
            ):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"the model file says nothing of the usual energy of {domain}: it comes from an unfinished or an older "
                "training; end that with train --resume, or see score --reference"
            ) from None
        return cls(quantiles.tolist(), levels.tolist())

    def percentile(self, energy: float) -> float:
        """The percentage of the images whose energy is lower, 0 to 100, linear between the levels;
        100 for NaN.
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
        """The quantile at a level in (0, 1]. Raises ValueError for others."""
        if not 0 < level <= 1:
            raise ValueError(
                f"--reject {level}: use a quantile above 0 and at most 1, such as 0.999"
            )
        return float(np.interp(level, self.levels, self.quantiles))


def training_quantiles(
    model: Model, names: Sequence[str], images: Sequence[Tensor], w: ObjectiveConfig
) -> dict[str, Any]:
    """The summary's entry KEY: quantiles of the energies of each domain's images, uint8 (n, C, S,
    S).

    A domain with energies that are not finite has none: a training does not fail at its end for
    that.
    """
    found = {
        name: _over(model, x, d, w) for d, (name, x) in enumerate(zip(names, images, strict=True))
    }
    usual = {
        name: EnergyQuantiles.of(values).quantiles
        for name, values in found.items()
        if np.isfinite(values).all()
    }
    return {"levels": LEVELS, "quantiles": usual}


@torch.no_grad()
def _over(model: Model, images: Tensor, domain: int, w: ObjectiveConfig) -> NDArray[np.float32]:
    def energy(x: Tensor) -> Tensor:
        return energies(model, x, torch.full((len(x),), domain, device=x.device), w).energy

    values: NDArray[np.float32] = (
        over_batches(energy, images, next(model.parameters()).device).cpu().numpy()
    )
    return values
