"""An independent transcription of docs/mathematics.md, equation by equation: nothing is shared,
nothing saved.

The reference of values and gradients (test_objective.py) and of the cost of a step (test_speed.py).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from translate.config import ObjectiveConfig
from translate.data.augmentation import Augmentations
from translate.models.distributions import Gaussian
from translate.models.networks import Model


class Plain(NamedTuple):
    """What the two losses need: weights, changes of images, networks, beta_neg."""

    w: ObjectiveConfig
    T: Augmentations
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


def shared(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """The terms that both players minimise."""
    w = p.w
    T = p.T
    (E, D) = (p.model.encoder, p.model.decoder)
    S = 1 / x[0].numel()
    q_c = E.content(T.game(x), y)
    q_s = E.style(T.energy(x), y)
    loss = S * (
        w.beta_rec * error(w, x, D(draw(q_c), draw(q_s), y, y))
        + w.beta_kl_c * kl(q_c)
        + w.beta_kl_s * kl(q_s)
    )
    t = D(q_c.mu.detach(), prior(p, x), other, y)
    t = t if w.cycle_grad else t.detach()
    loss = loss + w.lambda_c * (E.content(t, other).mu - q_c.mu.detach()).abs().mean((1, 2, 3))
    loss = loss + S * w.lambda_cyc * error(
        w, x, D(draw(E.content(T.cycle(t), other)), draw(q_s), y, other)
    )
    return loss.mean()


def fakes(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> list[tuple[Tensor, Tensor]]:
    w = p.w
    T = p.T
    (E, D) = (p.model.encoder, p.model.decoder)
    c = E.content(T.game(x), y).mu.detach()
    s = draw(E.style(T.energy(x), y)).detach()
    made = []
    if w.translation:
        made.append((D(c, prior(p, x), other, y), other))
    if w.reconstruction:
        made.append((D(c, s, y, y), y))
    if w.prior:
        made.append((D(torch.randn(tuple(c.shape)), prior(p, x), y, y), y))
    return made


def encoder_loss(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    w = p.w
    T = p.T
    (E, D) = (p.model.encoder, p.model.decoder)
    S = 1 / x[0].numel()
    negatives = [(f.detach(), to) for f, to in fakes(p, x, y, other)]
    if w.wrong_domain:
        negatives.append((x, other))
    energies = []
    for f, to in negatives:
        q_c = E.content(f, to)
        q_s = E.style(T.energy(f), to)
        rec = error(w, f, D(draw(q_c), draw(q_s), to, to))
        energies.append(
            torch.exp(
                -2 * S * (w.beta_rec_neg * rec + p.beta_neg * kl(q_s) + w.beta_neg_c * kl(q_c))
            )
        )
    return shared(p, x, y, other) + 0.5 * torch.stack(energies).mean()


def decoder_loss(p: Plain, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    w = p.w
    T = p.T
    (E, D) = (p.model.encoder, p.model.decoder)
    S = 1 / x[0].numel()
    pulls = [torch.zeros(len(x))]
    for f, to in (made := fakes(p, x, y, other)):
        q_c = E.content(f, to)
        q_s = E.style(T.energy(f), to)
        rec = error(w, f, D(draw(q_c), draw(q_s), to, to))
        pulls.append(
            S * (w.beta_fake * kl(q_s) + w.beta_fake_c * kl(q_c) + w.gamma_r * w.beta_rec * rec)
        )
    return shared(p, x, y, other) + torch.stack(pulls).sum(0).mean() / max(1, len(made))
