"""The two-latent objective, and whose gradients go where (docs/mathematics.md).

All terms are per sample, shape (B,). Legend: B batch, x (B, C, H, W) image in [-1, 1], y (B,)
domain, c content (B, Cc, h, w) or (B, Cc), s style (B, Ds), t translation, f fake, `rec` L_r,
`kl_c`, `kl_s` divergences in nats, `scale` s = 1 / (C H W).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from translate.config import ObjectiveConfig
from translate.data.augmentation import Augmentations
from translate.losses.soft_introvae import gradient_penalty, reconstruction_error, soft_energy
from translate.metrics.lpips import Perceptual
from translate.models.distributions import Gaussian
from translate.models.networks import Model

Terms = dict[str, Tensor]


class Losses(NamedTuple):
    """The losses of a step: L_E = shared + encoder and L_D = shared + decoder.

    Attributes:
        shared: What both minimise, a scalar.
        encoder: The encoder's own part, a scalar; None without negatives, as in warm-up.
        decoder: The decoder's own part, a scalar; None without fakes, as in warm-up.
        terms: The named parts, detached, (B,) each.
    """

    shared: Tensor
    encoder: Tensor | None
    decoder: Tensor | None
    terms: Terms


class Objective:
    """The two-latent objective (docs/mathematics.md). It owns no parameters and no optimizer."""

    def __init__(
        self,
        config: ObjectiveConfig,
        augment: Augmentations,
        perceptual: Perceptual | None = None,
    ) -> None:
        """Take the weights, the augmentations, and the network of LPIPS where it has a weight."""
        assert perceptual is not None or config.lambda_lpips == 0
        self.config = config
        self.augment = augment
        self.perceptual = perceptual

    def vae(self, model: Model, x: Tensor, y: Tensor) -> Losses:
        """Compute the loss of a warm-up step, that of a plain VAE with two latents.

        It is s (beta_rec L_r(x) + beta_kl_c KL_c(x) + beta_kl_s KL_s(x)) + lambda_lpips LPIPS(x).

        Content is taken from an augmented image and the image itself is asked for: the decoder
        learns to supply what the domain alone determines (size, weight, slant), which is what
        translation needs.

        Args:
            model: Encoder and decoder.
            x: (B, C, H, W) in [-1, 1].
            y: (B,) domain indices.
        """
        loss, terms, *_ = self._autoencode(model, self.augment.warmup(x), x, y)
        return Losses(loss.mean(), None, None, _detached(terms))

    def _autoencode(
        self, model: Model, x_c: Tensor, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Terms, Gaussian, Gaussian, Tensor]:
        """Return the VAE's loss (B,), its terms, q(c | x_c, y) and a style drawn from q(s | x, y).

        `x_c` is the image that content is taken from.
        """
        w = self.config
        scale = 1 / x[0].numel()
        q_c = model.encoder.content(x_c, y)
        q_s = model.encoder.style(x if model.encoder.one_latent else self.augment.energy(x), y)
        s = q_s.sample()
        r = model.decoder(q_c.sample(), s, y, y)
        terms = {
            "rec": reconstruction_error(x, r, w.rec),
            "kl_c": q_c.kl(),
            "kl_s": q_s.kl(),
        }
        loss = scale * (
            w.beta_rec * terms["rec"] + w.beta_kl_c * terms["kl_c"] + w.beta_kl_s * terms["kl_s"]
        )
        if self.perceptual is not None:
            terms["lpips"] = self.perceptual.differentiable(x, r)
            loss = loss + w.lambda_lpips * terms["lpips"]
        return loss, terms, q_c, q_s, s

    def introspective(
        self, model: Model, x: Tensor, y: Tensor, other: Tensor, beta_neg: float
    ) -> Losses:
        """Compute the losses of a step of the introspective phase.

        L_E = VAE + lambda_c |mu_c(t) - mu_c| + s lambda_cyc L_r(x, D(c(T(t)), s, y))
              + lambda_s |mu_s(t) - s'| + 1/2 mean_f exp(-2 s (...)) + gamma_r1 / 2 R1(x)
        L_D = VAE + the same three + s mean_f(beta_fake KL_s(f) + ...)

        Args:
            model: Encoder and decoder.
            x: (B, C, H, W) in [-1, 1].
            y: (B,) domain indices.
            other: (B,) the domain that each image is translated to, never its own.
            beta_neg: Weight of KL_s of fakes in L_E.
        """
        w = self.config
        scale = 1 / x[0].numel()
        loss, terms, q_c, q_s, s = self._autoencode(model, self.augment.introspective(x), x, y)
        if model.encoder.one_latent and self.augment.energy.changes:
            # The one latent has to give x itself back, so x as the energy sees it is encoded apart;
            # the mean of both divergences counts.
            terms["kl_s_changed"] = model.encoder.style(self.augment.energy(x), y).kl()
            more = (terms["kl_s_changed"] - terms["kl_s"]) / 2
            loss = loss + scale * w.beta_kl_s * more

        needs_translation = w.translation or w.lambda_c > 0 or w.lambda_s > 0 or w.lambda_cyc > 0
        t = x
        if needs_translation:
            style = self._style_of_translations(q_s, s, y, other)
            t = self._translate(model, x, (y, other), (q_c, q_s), style)
            held, held_terms = self._hold(model, x, (y, other), (q_c, s), (t, style))
            loss = loss + held
            terms |= held_terms

        fakes = self._fakes(model, (y, other), (q_c, s), t)
        negatives = dict(fakes)  # the decoder's own come first
        # A real image presented as another domain: a negative that costs no decoding.
        if w.wrong_domain:
            negatives["wrong"] = x, other
        if not negatives:
            return Losses(loss.mean(), None, None, _detached(terms))

        # Gradients are taken for encoder and decoder in turn (`backward`), so that no graph needs
        # to be cut or run twice here.
        images, domains = zip(*negatives.values(), strict=True)
        encoded = self._encode_fakes(model, torch.cat(images), torch.cat(domains))
        encoder = 0.5 * self._energy(encoded, beta_neg, scale).mean()
        if w.gamma_r1 > 0:
            terms["r1"] = self._gradient_penalty(model, x, y, beta_neg * scale)
            encoder = encoder + 0.5 * w.gamma_r1 * terms["r1"].mean()
        decoder = None
        if fakes:
            decoder = self._decoder_term(encoded, scale)[: len(fakes) * len(x)].mean()
        for name, stacked in encoded.items():
            for kind, part in zip(negatives, stacked.split(len(x)), strict=True):
                terms[f"{name}_{kind}"] = part
        return Losses(loss.mean(), encoder, decoder, _detached(terms))

    def _fakes(
        self,
        model: Model,
        domains: tuple[Tensor, Tensor],
        latents: tuple[Gaussian, Tensor],
        t: Tensor,
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return each kind of fake: images (B, C, H, W) and the domains they are presented as (B,).

        `domains` are y and y', `latents` the posterior of the content and the style drawn for x, t
        its translation.
        """
        w = self.config
        y, other = domains
        q_c, s = latents
        fakes = {"translation": (t, other)} if w.translation else {}
        if w.reconstruction:
            fakes["reconstruction"] = model.decoder(q_c.mu.detach(), s.detach(), y, y), y
        if w.prior:
            fakes["prior"] = model.decoder(torch.randn_like(q_c.mu), torch.randn_like(s), y, y), y
        return fakes

    def _style_of_translations(self, q_s: Gaussian, s: Tensor, y: Tensor, other: Tensor) -> Tensor:
        """Draw s' (B, Ds): of the prior or, where styles are exchanged, of an image of `other`.

        That image is of the same batch, and not the translated one itself.
        """
        if not self.config.exchange:
            return torch.randn_like(q_s.mu)
        return s.detach()[exchanged(y, other)]

    def _translate(
        self,
        model: Model,
        x: Tensor,
        domains: tuple[Tensor, Tensor],
        q: tuple[Gaussian, Gaussian],
        style: Tensor,
    ) -> Tensor:
        """Draw translations t = D(c, s', y') of x, with detail where the model keeps it.

        `domains` are y and y', q the posteriors of content and style, `style` is s'. c is
        detached: t is the decoder's alone. Of the detail x - r, with r = D(c, mu_s, y), r is a
        constant: it is not to become worse for the difference's sake.
        """
        y, other = domains
        q_c, q_s = q
        t: Tensor = model.decoder(q_c.mu.detach(), style, other, y)
        if not model.detail:
            return t
        with torch.no_grad():
            r = model.decoder(q_c.mu, q_s.mu, y, y)
        return model.keep_detail(x, r, t)

    def _hold(
        self,
        model: Model,
        x: Tensor,
        domains: tuple[Tensor, Tensor],
        latents: tuple[Gaussian, Tensor],
        translation: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Terms]:
        """Return what holds content and style of translations: the loss (B,) and its terms.

        `domains` are y and y', `latents` the posterior of the content and the style drawn for x,
        `translation` is t with its style s'.
        """
        w = self.config
        scale = 1 / x[0].numel()
        y, other = domains
        q_c, s = latents
        t, style = translation
        t_in = t if w.cycle_grad else t.detach()
        loss = x.new_zeros(len(x))
        terms: Terms = {}
        if w.lambda_c > 0:
            terms["consistency"] = (
                (model.encoder.content(t_in, other).mu - q_c.mu.detach()).abs().flatten(1).mean(1)
            )
            loss = loss + w.lambda_c * terms["consistency"]
        if w.lambda_s > 0:
            q_s = model.encoder.style(self.augment.energy(t_in), other)
            terms["style_consistency"] = (q_s.mu - style).abs().mean(1)
            loss = loss + w.lambda_s * terms["style_consistency"]
        # T changes t as the content's augmentation changes x: the decoder has to restore x from it.
        if w.lambda_cyc > 0:
            z_ct = model.encoder.content(self.augment.cycle(t_in), other).sample()
            terms["cyc"] = reconstruction_error(x, model.decoder(z_ct, s, y, other), w.rec)
            loss = loss + scale * w.lambda_cyc * terms["cyc"]
        return loss, terms

    def _encode_fakes(self, model: Model, f: Tensor, y: Tensor) -> Terms:
        """Compute KL_s of negatives f, and KL_c and L_r where they have a weight."""
        w = self.config
        q_s = model.encoder.style(self.augment.energy(f), y)
        fake = {"kl_s": q_s.kl()}
        if w.beta_neg_c > 0 or w.beta_fake_c > 0 or w.beta_rec_neg > 0 or w.gamma_r > 0:
            q_c = model.encoder.content(f, y)
            fake["kl_c"] = q_c.kl()
            if w.beta_rec_neg > 0 or w.gamma_r > 0:
                fake["rec"] = reconstruction_error(
                    f, model.decoder(q_c.sample(), q_s.sample(), y, y), w.rec
                )
        return fake

    def _energy(self, f: Terms, beta_neg: float, scale: float) -> Tensor:
        """Compute exp(-2 s (beta_rec_neg L_r(f) + beta_neg KL_s(f) + beta_neg_c KL_c(f)))."""
        w = self.config
        none = torch.zeros_like(f["kl_s"])
        kl = beta_neg * f["kl_s"] + w.beta_neg_c * f.get("kl_c", none)
        return soft_energy(f.get("rec", none), kl, w.beta_rec_neg, 1.0, scale)

    def _gradient_penalty(self, model: Model, x: Tensor, y: Tensor, weight: float) -> Tensor:
        """Compute R1, the squared gradient of s beta_neg KL_s at T(x), with `weight` s beta_neg.

        T is the augmentation before the energy, so that this is the slope, at real images as the
        encoder sees them, of what the energy of fakes is made of.
        """
        seen = self.augment.energy(x).detach().requires_grad_()
        # Not the compiled pass, whose gradient cannot be differentiated again.
        style = type(model.encoder).style
        return gradient_penalty(weight * style(model.encoder, seen, y).kl(), seen)

    def _decoder_term(self, f: Terms, scale: float) -> Tensor:
        """Compute s (beta_fake KL_s(f) + beta_fake_c KL_c(f) + gamma_r beta_rec L_r(f))."""
        w = self.config
        none = torch.zeros_like(f["kl_s"])
        decoder_term = w.beta_fake * f["kl_s"] + w.beta_fake_c * f.get("kl_c", none)
        return scale * (decoder_term + w.gamma_r * w.beta_rec * f.get("rec", none))


def exchanged(y: Tensor, other: Tensor) -> Tensor:
    """Choose for each image one of the same batch and of the domain that it is translated to.

    Args:
        y: (B,) domains, domain after domain, of each as many; two or more where there is one.
        other: (B,) the domain that each image is translated to.

    Returns:
        (B,) places in the batch, never an image's own.
    """
    count = int((y == y[0]).sum())
    place = torch.arange(len(y), device=y.device) % count
    shift = torch.randint(1, max(2, count), y.shape, device=y.device)
    return other * count + (place + shift) % count


def _detached(terms: Terms) -> Terms:
    return {name: value.detach() for name, value in terms.items()}


def backward(losses: Losses, model: Model) -> None:
    """Accumulate dL_E/dphi in the encoder and dL_D/dtheta in the decoder.

    The shared part's gradients go to both, those of the other parts to encoder or decoder alone.
    """
    parts = [(losses.encoder, model.encoder), (losses.decoder, model.decoder)]
    own = [(loss, list(network.parameters())) for loss, network in parts if loss is not None]
    losses.shared.backward(retain_graph=bool(own))
    for i, (loss, parameters) in enumerate(own):
        loss.backward(inputs=parameters, retain_graph=i + 1 < len(own))
