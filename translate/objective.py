"""The Soft-IntroVAE objective (Daniel & Tamar, CVPR 2021, equations 3 to 6), with one latent and with two.

All terms are per sample, shape (B,). Legend: B batch, x (B, C, H, W) image in [-1, 1], y (B,) domain, c content (B, Cc, h, w),
s style (B, Ds), t translation, f fake, `rec` L_r, `kl_c`, `kl_s` divergences in nats, `scale` 1 / (C H W).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from translate.config import ObjectiveConfig
from translate.gaussian import Gaussian
from translate.networks import Model

Augmentation = Callable[[Tensor], Tensor]


def reconstruction_error(x: Tensor, x_rec: Tensor, kind: str = "mse") -> Tensor:
    """L_r: sum over pixels and channels of the squared ("mse") or absolute ("l1") error. Shape: (B,)."""
    error = (x - x_rec).square() if kind == "mse" else (x - x_rec).abs()
    return error.flatten(1).sum(1)


def soft_energy(rec: Tensor, kl: Tensor, beta_rec: float, beta_neg: float, scale: float) -> Tensor:
    """The encoder's reward for a fake, exp(-2 s (beta_rec L_r(f) + beta_neg KL(f))), in (0, 1]. Shape: (B,)."""
    return torch.exp(-2 * scale * (beta_rec * rec + beta_neg * kl))


def one_latent_encoder_loss(
    rec: Tensor, kl: Tensor, fake_rec: Tensor, fake_kl: Tensor, *, beta_rec: float, beta_kl: float, beta_neg: float, scale: float
) -> Tensor:
    """L_E of one latent; the energy is averaged over the kinds of fakes. Shapes: (B,), fakes (K, B) -> (B,)."""
    energy = soft_energy(fake_rec, fake_kl, beta_rec, beta_neg, scale).mean(0)
    return scale * (beta_rec * rec + beta_kl * kl) + 0.5 * energy


def one_latent_decoder_loss(
    rec: Tensor, fake_rec: Tensor, fake_kl: Tensor, *, beta_rec: float, beta_kl: float, gamma_r: float, scale: float
) -> Tensor:
    """L_D of one latent, averaged over the kinds of fakes. Shapes: (B,), fakes (K, B) -> (B,)."""
    return scale * (beta_rec * rec + (beta_kl * fake_kl + gamma_r * beta_rec * fake_rec).mean(0))


def equilibrium_kl(beta_neg: float, beta_kl: float, n: int) -> float:
    """KL at which the push on fakes balances the pull on reals, n / (2 beta_neg) ln(beta_neg / beta_kl), in nats.

    It is where d/dKL [s beta_kl KL + 1/2 exp(-2 s beta_neg KL)] = 0, with s = 1 / n.
    """
    return n / (2 * beta_neg) * math.log(beta_neg / beta_kl)


def auto_beta_neg(kl: float, beta_kl: float, n: int) -> float:
    """The beta_neg whose equilibrium KL is `kl` (nats): the largest root of equilibrium_kl(beta_neg) = kl.

    The equilibrium KL falls with beta_neg above e * beta_kl; a KL beyond what that reaches gets e * beta_kl.
    """
    low, high = math.log(math.e * beta_kl), math.log(math.e * beta_kl) + 40.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if equilibrium_kl(math.exp(middle), beta_kl, n) > kl else (low, middle)
    return math.exp(low)


class Losses(NamedTuple):
    """L_E = both + encoder and L_D = both + decoder, each a scalar; `terms` are the named parts, detached, (B',) each."""

    both: Tensor
    encoder: Tensor | None
    decoder: Tensor | None
    terms: dict[str, Tensor]


class Objective:
    """The two-latent objective (DESIGN: section 2). It owns no parameters and no optimizer."""

    def __init__(self, config: ObjectiveConfig, content_augment: Augmentation, energy_augment: Augmentation) -> None:
        self.config = config
        self.content_augment, self.energy_augment = content_augment, energy_augment

    def vae(self, model: Model, x: Tensor, y: Tensor) -> Losses:
        """The warm-up step: a plain VAE with two latents (no fakes)."""
        loss, terms, *_ = self._autoencode(model, x, y)
        return Losses(loss.mean(), None, None, {k: v.detach() for k, v in terms.items()})

    def _autoencode(
        self, model: Model, x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor, Tensor]:
        w, scale = self.config, 1 / x[0].numel()
        q_c = model.encoder.content(self.content_augment(x), y)
        q_s = model.encoder.style(self.energy_augment(x), y)
        c, s = q_c.sample(), q_s.sample()
        x_rec = model.decoder(c, s, y)
        terms = {"rec": reconstruction_error(x, x_rec, w.rec), "kl_c": q_c.kl(), "kl_s": q_s.kl()}
        loss = scale * (w.beta_rec * terms["rec"] + w.beta_kl_c * terms["kl_c"] + w.beta_kl_s * terms["kl_s"])
        return loss, terms, q_c.mu, s, x_rec

    def introspective(self, model: Model, x: Tensor, y: Tensor, other: Tensor, beta_neg: float) -> Losses:
        """The two-player step. `other` (B,): the domain that each sample is translated to, never its own."""
        w, scale = self.config, 1 / x[0].numel()
        loss, terms, mu_c, s, x_rec = self._autoencode(model, x, y)

        # t = D(c(x), s ~ N(0, I), y'): what is wanted in the end. The decoder learns from it, the encoder judges it.
        t = model.decoder(mu_c.detach(), torch.randn_like(s), other)
        if w.lambda_c > 0 or w.lambda_cyc > 0:
            q_ct = model.encoder.content(t if w.cycle_grad else t.detach(), other)
            if w.lambda_c > 0:
                terms["consistency"] = (q_ct.mu - mu_c.detach()).abs().flatten(1).mean(1)
                loss = loss + w.lambda_c * terms["consistency"]
            if w.lambda_cyc > 0:
                terms["cyc"] = reconstruction_error(x, model.decoder(q_ct.sample(), s, y), w.rec)
                loss = loss + scale * w.lambda_cyc * terms["cyc"]

        kl_t = model.encoder.style(self.energy_augment(t), other).kl()
        energies = [soft_energy(torch.zeros_like(kl_t), kl_t, 0.0, beta_neg, scale)]
        terms |= {"kl_s_fake": kl_t, "energy_fake": energies[0]}
        if w.wrong_domain:
            kl_w = model.encoder.style(self.energy_augment(x), other).kl()
            energies.append(soft_energy(torch.zeros_like(kl_w), kl_w, 0.0, beta_neg, scale))
            terms |= {"kl_s_wrong": kl_w, "energy_wrong": energies[-1]}
        pulls = [kl_t]
        if w.reconstruction:
            kl_r = model.encoder.style(self.energy_augment(x_rec), y).kl()
            energies.append(soft_energy(torch.zeros_like(kl_r), kl_r, 0.0, beta_neg, scale))
            terms |= {"kl_s_rec": kl_r}
            pulls.append(kl_r)
        encoder = 0.5 * torch.stack(energies).mean()
        decoder = scale * w.beta_fake * torch.stack(pulls).mean()
        return Losses(loss.mean(), encoder, decoder, {k: v.detach() for k, v in terms.items()})
