"""The Soft-IntroVAE objective of one latent (Daniel & Tamar, CVPR 2021, equations 3 to 6) and its
equilibrium.

All terms are per sample, shape (B,). Legend: B batch, K kinds of fakes, `rec` L_r, `kl` a
divergence in nats, `scale` s = 1 / (C H W), n = C H W.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

KL_FLOOR = 2.0  # nats a style dimension, see auto_beta_neg


def reconstruction_error(x: Tensor, x_rec: Tensor, kind: str = "mse") -> Tensor:
    """L_r: sum over pixels and channels of the squared ("mse") or absolute ("l1") error. Shape:
    (B,).
    """
    error = (x - x_rec).square() if kind == "mse" else (x - x_rec).abs()
    return error.flatten(1).sum(1)


def soft_energy(rec: Tensor, kl: Tensor, beta_rec: float, beta_neg: float, scale: float) -> Tensor:
    """The encoder's reward for a fake, exp(-2 s (beta_rec L_r(f) + beta_neg KL(f))), in (0, 1].
    Shape: (B,).
    """
    return torch.exp(-2 * scale * (beta_rec * rec + beta_neg * kl))


def one_latent_encoder_loss(
    rec: Tensor,
    kl: Tensor,
    fake_rec: Tensor,
    fake_kl: Tensor,
    *,
    beta_rec: float,
    beta_kl: float,
    beta_neg: float,
    scale: float,
) -> Tensor:
    """L_E of one latent; the energy is averaged over the kinds of fakes. Shapes: (B,), fakes (K,
    B) -> (B,).
    """
    energy = soft_energy(fake_rec, fake_kl, beta_rec, beta_neg, scale).mean(0)
    return scale * (beta_rec * rec + beta_kl * kl) + 0.5 * energy


def one_latent_decoder_loss(
    rec: Tensor,
    fake_rec: Tensor,
    fake_kl: Tensor,
    *,
    beta_rec: float,
    beta_kl: float,
    gamma_r: float,
    scale: float,
) -> Tensor:
    """L_D of one latent, averaged over the kinds of fakes. Shapes: (B,), fakes (K, B) -> (B,)."""
    return scale * (beta_rec * rec + (beta_kl * fake_kl + gamma_r * beta_rec * fake_rec).mean(0))


def equilibrium_kl(beta_neg: float, beta_kl: float, n: int) -> float:
    """KL at which the push on fakes balances the pull on reals, n / (2 beta_neg) ln(beta_neg /
    beta_kl), in nats.

    It is where d/dKL [s beta_kl KL + 1/2 exp(-2 s beta_neg KL)] = 0, with s = 1 / n.
    """
    return n / (2 * beta_neg) * math.log(beta_neg / beta_kl)


def auto_beta_neg(kl: float, style_dim: int, beta_kl: float, n: int) -> float:
    """The beta_neg whose equilibrium KL is the larger of `kl` (nats, KL_s of real images) and 2
    nats a style dimension.

    Where a domain has one style only, KL_s collapses in warm-up and gives no scale: the floor
    does. The root taken is the largest; the equilibrium KL falls with beta_neg above e *
    beta_kl, which is the least returned.
    """
    target = max(kl, KL_FLOOR * style_dim)
    low = math.log(math.e * beta_kl)
    high = math.log(math.e * beta_kl) + 40.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if equilibrium_kl(math.exp(middle), beta_kl, n) > target
            else (low, middle)
        )
    return math.exp(low)
