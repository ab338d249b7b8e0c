"""Diagonal Gaussians: the posteriors q(c | x, y) and q(s | x, y) and their divergence from the
prior.

Legend: B batch, ... any latent shape; `mu`, `logvar` (B, ...) mean and log variance.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# exp(+-LOGVAR_BOUND) keeps variances inside float32 and bf16 whatever the network says.
LOGVAR_BOUND = 10.0


class Gaussian(NamedTuple):
    """N(mu, diag(exp(logvar))), one distribution per sample; both tensors (B, ...)."""

    mu: Tensor
    logvar: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> Gaussian:
        """Splits (B, 2 D, ...) into mean and log variance (B, D, ...), in float32, the latter
        bounded smoothly.
        """
        mu, raw = parameters.float().chunk(2, dim=1)
        return cls(mu, LOGVAR_BOUND * torch.tanh(raw / LOGVAR_BOUND))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Reparametrised sample mu + exp(logvar / 2) * eps (Kingma & Welling 2014, section 2.4)."""
        eps = torch.randn(
            self.mu.shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype
        )
        return self.at(eps)

    def at(self, eps: Tensor) -> Tensor:
        """The sample that noise eps (B, ...) from N(0, I) becomes."""
        return self.mu + torch.exp(0.5 * self.logvar) * eps

    def kl(self) -> Tensor:
        """KL(q || N(0, I)) in nats, summed over latent dimensions (Kingma & Welling 2014, appendix
        B). Shape: (B,).
        """
        return 0.5 * (self.mu.square() + self.logvar.exp() - 1.0 - self.logvar).flatten(1).sum(1)
