"""Diagonal Gaussians: the posteriors q(c | x, y) and q(s | x, y), their divergence from the prior.

Legend: B batch, D latent dimensions or channels, ... any latent shape.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# exp(+-LOGVAR_BOUND) keeps variances inside float32 and bf16 whatever the network puts out.
LOGVAR_BOUND = 10.0


class Gaussian(NamedTuple):
    """N(mu, diag(exp(logvar))), one distribution per image of a batch.

    Attributes:
        mu: Means (B, ...).
        logvar: Logarithms of the variances (B, ...).
    """

    mu: Tensor
    logvar: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> Gaussian:
        """Split a network's output into means and log variances.

        Args:
            parameters: (B, 2 D, ...), of any floating type.

        Returns:
            Distributions with parameters (B, D, ...) in float32; tanh bounds the log variances
            smoothly to +-LOGVAR_BOUND.
        """
        mu, raw = parameters.float().chunk(2, dim=1)
        return cls(mu, LOGVAR_BOUND * torch.tanh(raw / LOGVAR_BOUND))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw from each distribution, differentiably in its parameters.

        mu + exp(logvar / 2) * eps (Kingma & Welling 2014, section 2.4).

        Returns:
            Draws (B, ...).
        """
        eps = torch.randn(
            self.mu.shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype
        )
        return self.at(eps)

    def at(self, eps: Tensor) -> Tensor:
        """Return the draws (B, ...) that noise `eps` (B, ...) from N(0, I) becomes."""
        return self.mu + torch.exp(0.5 * self.logvar) * eps

    def kl(self) -> Tensor:
        """Compute KL(q || N(0, I)), summed over latent dimensions.

        Kingma & Welling 2014, appendix B.

        Returns:
            Divergences (B,) in nats.
        """
        return 0.5 * (self.mu.square() + self.logvar.exp() - 1.0 - self.logvar).flatten(1).sum(1)
