"""The Soft-IntroVAE objective of one latent and its equilibrium.

Equations 3 to 6 of Daniel & Tamar, CVPR 2021.

All terms are per sample, shape (B,). Legend: B batch, K kinds of fakes, `rec` L_r, `kl` a
divergence in nats, `scale` s = 1 / (C H W), n = C H W.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Nats a style dimension, the least equilibrium KL of a style beside a content: where a domain has
# one style only, KL_s collapses in warm-up and gives no scale.
KL_FLOOR = 2.0
# Equilibrium KL of one latent as a multiple of the plain VAE's: with 1 the encoder's push on fakes
# is too weak, with 3 it memorizes (docs/experiments.md).
ONE_LATENT_KL = 1.6


def reconstruction_error(x: Tensor, x_rec: Tensor, kind: str = "mse") -> Tensor:
    """Compute L_r, the error summed over pixels and channels.

    Args:
        x: (B, ...) images.
        x_rec: (B, ...) their reconstructions.
        kind: "mse" for the squared error, "l1" for the absolute one.

    Returns:
        (B,).
    """
    error = (x - x_rec).square() if kind == "mse" else (x - x_rec).abs()
    return error.flatten(1).sum(1)


def soft_energy(rec: Tensor, kl: Tensor, beta_rec: float, beta_neg: float, scale: float) -> Tensor:
    """Compute the encoder's reward for fakes, exp(-2 s (beta_rec L_r(f) + beta_neg KL(f))).

    Args:
        rec: (B,) L_r of the fakes.
        kl: (B,) their divergences, in nats.
        beta_rec: Weight of L_r.
        beta_neg: Weight of the divergence.
        scale: s.

    Returns:
        (B,), in (0, 1].
    """
    return torch.exp(-2 * scale * (beta_rec * rec + beta_neg * kl))


def gradient_penalty(value: Tensor, x: Tensor) -> Tensor:
    """Compute R1, the squared norm of a value's gradient in the image.

    Mescheder, Geiger & Nowozin, "Which Training Methods for GANs do actually Converge?", ICML
    2018: with this at real images, the game converges where it would circle without.

    Args:
        value: (B,) a function of each image alone.
        x: (B, ...) images that it was computed from, requiring gradients.

    Returns:
        (B,), differentiable in what the value was computed with.
    """
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return slope.float().square().flatten(1).sum(1)


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
    """Compute L_E of one latent; the soft energy is averaged over the kinds of fakes.

    Args:
        rec: (B,) L_r of real images.
        kl: (B,) their divergences, in nats.
        fake_rec: (K, B) L_r of fakes.
        fake_kl: (K, B) their divergences, in nats.
        beta_rec: Weight of L_r.
        beta_kl: Weight of the divergence of real images.
        beta_neg: Weight of the divergence of fakes.
        scale: s.

    Returns:
        (B,).
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
    """Compute L_D of one latent, averaged over the kinds of fakes.

    Args:
        rec: (B,) L_r of real images.
        fake_rec: (K, B) L_r of fakes.
        fake_kl: (K, B) their divergences, in nats.
        beta_rec: Weight of L_r.
        beta_kl: Weight of the divergence of fakes.
        gamma_r: Weight of L_r of fakes, relative to beta_rec.
        scale: s.

    Returns:
        (B,).
    """
    return scale * (beta_rec * rec + (beta_kl * fake_kl + gamma_r * beta_rec * fake_rec).mean(0))


def equilibrium_kl(beta_neg: float, beta_kl: float, n: int) -> float:
    """Compute the KL at which the gradients of fakes and of real images cancel, in nats.

    It is n / (2 beta_neg) ln(beta_neg / beta_kl), where
    d/dKL [s beta_kl KL + 1/2 exp(-2 s beta_neg KL)] = 0, with s = 1 / n.
    """
    return n / (2 * beta_neg) * math.log(beta_neg / beta_kl)


def auto_beta_neg(kl: float, beta_kl: float, n: int) -> float:
    """Find the beta_neg whose equilibrium KL is a given one, as that of real images after warm-up.

    Args:
        kl: The equilibrium KL, in nats.
        beta_kl: Weight of the divergence of real images.
        n: C H W.

    Returns:
        The largest solution, at least e * beta_kl: above that the equilibrium KL falls with
        beta_neg.
    """
    low = math.log(math.e * beta_kl)
    high = math.log(math.e * beta_kl) + 40.0
    for _ in range(100):
        middle = (low + high) / 2
        if equilibrium_kl(math.exp(middle), beta_kl, n) > kl:
            low = middle
        else:
            high = middle
    return math.exp(low)
