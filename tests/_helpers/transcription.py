"""An independent transcription of docs/mathematics.md, equation by equation.

It shares no forward pass between the losses. It is the reference of values and gradients
(tests/losses/test_translation.py) and of the cost of a step (tests/training/test_speed.py).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from translate.config import ObjectiveConfig
from translate.data.augmentation import Augmentations
from translate.models.detail import fit_colour_maps
from translate.models.distributions import Gaussian
from translate.models.networks import Model


class Plain(NamedTuple):
    """What the two losses need: weights, changes of images, networks, beta_neg."""

    w: ObjectiveConfig
    augment: Augmentations
    model: Model
    beta_neg: float


def kl(q: Gaussian) -> Tensor:
    mu, logvar = q
    return (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).flatten(1).sum(1)


def draw(q: Gaussian) -> Tensor:
    mu, logvar = q
    return mu + (logvar / 2).exp() * torch.randn_like(mu)


def error(w: ObjectiveConfig, a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2 if w.rec == "mse" else (a - b).abs()).sum((1, 2, 3))


def prior(p: Plain, x: Tensor) -> Tensor:
    return torch.randn((len(x), p.model.style_dim))


def new_style(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """s', of the prior or, exchanged, that of the next image of the other domain.

    The batches of the tests hold two images a domain.
    """
    if not p.w.exchange:
        return prior(p, x)
    s = draw(p.model.encoder.style(p.augment.energy(x), y)).detach()
    places = [int(other[i]) * 2 + (i + 1) % 2 for i in range(len(x))]
    return s[places]


def translated(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """t, or with detail f = M x + b, where M and b take r to t."""
    q_c = p.model.encoder.content(p.augment.introspective(x), y)
    t: Tensor = p.model.decoder(q_c.mu.detach(), new_style(p, x, y, other), other, y)
    if not p.model.detail:
        return t
    q_s = p.model.encoder.style(p.augment.energy(x), y)
    r = p.model.decoder(q_c.mu, q_s.mu, y, y).detach()
    f = fit_colour_maps(r, t, p.model.detail_ridge).apply(x)
    return f + (f.clamp(-1, 1) - f).detach()


def shared(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """The terms that encoder and decoder both minimise."""
    w = p.w
    augment = p.augment
    encoder = p.model.encoder
    decoder = p.model.decoder
    scale = 1 / x[0].numel()
    q_c = encoder.content(augment.introspective(x), y)
    q_s = encoder.style(augment.energy(x), y)
    loss = scale * (
        w.beta_rec * error(w, x, decoder(draw(q_c), draw(q_s), y, y))
        + w.beta_kl_c * kl(q_c)
        + w.beta_kl_s * kl(q_s)
    )
    t = translated(p, x, y, other)
    t = t if w.cycle_grad else t.detach()
    loss = loss + w.lambda_c * (encoder.content(t, other).mu - q_c.mu.detach()).abs().mean(
        (1, 2, 3)
    )
    s_t = encoder.style(augment.energy(t), other).mu
    loss = loss + w.lambda_s * (s_t - new_style(p, x, y, other)).abs().mean(1)
    loss = loss + scale * w.lambda_cyc * error(
        w, x, decoder(draw(encoder.content(augment.cycle(t), other)), draw(q_s), y, other)
    )
    return loss.mean()


def fakes(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> list[tuple[Tensor, Tensor]]:
    w = p.w
    augment = p.augment
    encoder = p.model.encoder
    decoder = p.model.decoder
    c = encoder.content(augment.introspective(x), y).mu.detach()
    s = draw(encoder.style(augment.energy(x), y)).detach()
    made = []
    if w.translation:
        made.append((translated(p, x, y, other), other))
    if w.reconstruction:
        made.append((decoder(c, s, y, y), y))
    if w.prior:
        made.append((decoder(torch.randn(tuple(c.shape)), prior(p, x), y, y), y))
    return made


def slope(p: Plain, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of s beta_neg KL_s of each augmented image in itself, (B, C, H, W)."""
    slopes = []
    for i in range(len(x)):
        image = p.augment.energy(x[i : i + 1]).requires_grad_()
        q_s = p.model.encoder.style(image, y[i : i + 1])
        height = p.beta_neg / image.numel() * kl(q_s).sum()
        slopes += torch.autograd.grad(height, image, create_graph=True)
    return torch.cat(slopes)


def encoder_loss(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    w = p.w
    augment = p.augment
    encoder = p.model.encoder
    decoder = p.model.decoder
    scale = 1 / x[0].numel()
    negatives = [(f.detach(), to) for f, to in fakes(p, x, y, other)]
    if w.wrong_domain:
        negatives.append((x, other))
    energies = []
    for f, to in negatives:
        q_c = encoder.content(f, to)
        q_s = encoder.style(augment.energy(f), to)
        rec = error(w, f, decoder(draw(q_c), draw(q_s), to, to))
        energies.append(
            torch.exp(
                -2 * scale * (w.beta_rec_neg * rec + p.beta_neg * kl(q_s) + w.beta_neg_c * kl(q_c))
            )
        )
    slopes = slope(p, x, y).square().sum((1, 2, 3))
    energy = 0.5 * torch.stack(energies).mean()
    return shared(p, x, y, other) + energy + w.gamma_r1 / 2 * slopes.mean()


def decoder_loss(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    w = p.w
    augment = p.augment
    encoder = p.model.encoder
    decoder = p.model.decoder
    scale = 1 / x[0].numel()
    made = fakes(p, x, y, other)
    terms = [torch.zeros(len(x))]
    for f, to in made:
        q_c = encoder.content(f, to)
        q_s = encoder.style(augment.energy(f), to)
        rec = error(w, f, decoder(draw(q_c), draw(q_s), to, to))
        terms.append(
            scale * (w.beta_fake * kl(q_s) + w.beta_fake_c * kl(q_c) + w.gamma_r * w.beta_rec * rec)
        )
    return shared(p, x, y, other) + torch.stack(terms).sum(0).mean() / max(1, len(made))
