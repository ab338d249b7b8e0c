"""A VAE and a Soft-IntroVAE with one latent on points in the plane.

Batch, rate and order of steps are those of the paper's published 2D code (the first 2000 of
30 000 steps are a plain VAE). This code differs in four things. For speed: two hidden layers of
256 units instead of four, one forward pass for encoder and decoder instead of one each in turn,
and products with the hidden layers in bfloat16. For quality: the learning rate falls tenfold
after five sixths of the steps, and not after a third and again after half, when so small a
network has not yet found the outer rings (docs/mathematics.md).

Legend: B points of a batch, Z = 2 latent dimensions, x (B, 2) points, z (B, Z) latents, f (2 B,
2) fakes: reconstructions, then points decoded from the prior.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from translate.losses.soft_introvae import (
    one_latent_decoder_loss,
    one_latent_encoder_loss,
    reconstruction_error,
)
from translate.models.distributions import Gaussian
from translate.toy2d.datasets import Toy

Z = 2
WIDTH = 256
BATCH = 512
LEARNING_RATE = 2e-4
WARMUP = 1 / 15  # share of the steps that are those of a plain VAE
SCALE = 1 / 2  # s of the paper: one over the dimensions of x
GAMMA_R = 1e-8
DRAWN = 100  # batches drawn at a time, since many small draws cost more than a large one

Progress = Callable[[int, int], None]


class _ToFloats(torch.autograd.Function):
    """A thin linear layer in float32 of features of a lower precision.

    The features get gradients of their own precision. PyTorch would multiply thin float32 matrices
    for these, several times slower on CPUs, and round the product.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return (B, m) of h (B, n), weight (m, n) and bias (m,)."""
        ctx.save_for_backward(h, weight)
        return nn.functional.linear(h.float(), weight, bias)

    @staticmethod
    def backward(
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of h, weight and bias, where they are needed."""
        (gradient,) = gradients
        (h, weight) = ctx.saved_tensors
        low = gradient.to(h.dtype)
        (of_h, of_weight, of_bias) = ctx.needs_input_grad
        return (
            low @ weight.to(h.dtype) if of_h else None,
            (low.t() @ h).float() if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )


class Mlp(nn.Module):
    """Two hidden layers of rectified units. Shape: (B, inputs) -> (B, outputs), float32."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        first = nn.Linear(inputs, WIDTH)
        # Kept as (inputs, WIDTH): gradients of so thin a matrix are several times faster that way
        # round on CPUs.
        self.weight = nn.Parameter(first.weight.detach().t().contiguous())
        self.bias = first.bias
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs) of x (B, inputs)."""
        # The first and last layers, where the points' coordinates are, need float32; the hidden
        # one, which takes nearly all the time, does not as long as it learns.
        dtype = torch.bfloat16 if self.training else torch.float32
        weight = self.hidden.weight.to(dtype)
        bias = self.hidden.bias.to(dtype)
        h = torch.addmm(self.bias, x, self.weight).to(dtype).relu_()
        h = nn.functional.linear(h, weight, bias).relu_()
        return cast(Tensor, _ToFloats.apply(h, self.last.weight, self.last.bias))


class ToyVae(nn.Module):
    """q(z | x) and the decoder, both small networks."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Mlp(2, 2 * Z)
        self.decoder = Mlp(Z, 2)

    def encode(self, x: Tensor) -> Gaussian:
        """Return q(z | x), mean and log variance (B, Z), of points (B, 2)."""
        return Gaussian.from_parameters(self.encoder(x))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Decode n points from the prior: (n, 2), on the CPU."""
        z = torch.randn(n, Z, generator=generator).to(self.decoder.weight.device)
        return torch.cat([self.decoder(part) for part in torch.split(z, 4096)]).cpu()

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """Compute KL(x) + L_r(x) at the posterior's mean, the negative ELBO with unit weights.

        Args:
            x: (n, 2).

        Returns:
            (n,), on the CPU.
        """
        energies = []
        for part in torch.split(x.to(self.decoder.weight.device), 4096):
            q = self.encode(part)
            energies.append(q.kl() + reconstruction_error(part, self.decoder(q.mu)))
        return torch.cat(energies).cpu()


def vae_step(model: ToyVae, toy: Toy, x: Tensor, eps: Tensor) -> None:
    """Accumulate the gradient of s (beta_rec L_r(x) + beta_kl KL(x)).

    Args:
        model: Encoder and decoder.
        toy: The weights.
        x: (B, 2) points.
        eps: (B, Z) from N(0, I).
    """
    q = model.encode(x)
    rec = reconstruction_error(x, model.decoder(q.at(eps)))
    loss = SCALE * (toy.beta_rec * rec + toy.beta_kl * q.kl())
    loss.mean().backward()  # type: ignore[no-untyped-call]


def introspective_step(model: ToyVae, toy: Toy, x: Tensor, eps: Tensor) -> None:
    """Accumulate dL_E/dphi in the encoder and dL_D/dtheta in the decoder.

    The equations are those of docs/mathematics.md.

    Args:
        model: Encoder and decoder.
        toy: The weights.
        x: (B, 2) points.
        eps: (4 B, Z) from N(0, I): of the posterior of x, of the prior, of the posteriors of both
            fakes.
    """
    b = len(x)
    q = model.encode(x)
    f = model.decoder(torch.cat([q.at(eps[:b]), eps[b : 2 * b]]))
    rec = reconstruction_error(x, f[:b])

    # The encoder's part does not go through f; the decoder's gradient is passed on to it below.
    fake = f.detach().requires_grad_()
    q_fake = model.encode(fake)
    fake_again = model.decoder(q_fake.at(eps[2 * b :]))
    fake_rec = reconstruction_error(fake.detach(), fake_again).view(2, b)
    fake_kl = q_fake.kl().view(2, b)

    encoder = one_latent_encoder_loss(
        rec,
        q.kl(),
        fake_rec,
        fake_kl,
        beta_rec=toy.beta_rec,
        beta_kl=toy.beta_kl,
        beta_neg=toy.beta_neg,
        scale=SCALE,
    )
    encoder.mean().backward(inputs=list(model.encoder.parameters()), retain_graph=True)  # type: ignore[no-untyped-call]

    # No gradient through the decoder's L_r(f): with gamma_r = 1e-8 it is below the rounding of
    # float32.
    decoder = one_latent_decoder_loss(
        rec,
        fake_rec.detach(),
        fake_kl,
        beta_rec=toy.beta_rec,
        beta_kl=toy.beta_kl,
        gamma_r=GAMMA_R,
        scale=SCALE,
    )
    through_rec, through_kl = torch.autograd.grad(decoder.mean(), (f, fake), retain_graph=True)
    f.backward(through_rec + through_kl, inputs=list(model.decoder.parameters()))


def train_toy(
    toy: Toy,
    steps: int,
    seed: int,
    device: torch.device,
    introspective: bool = True,
    progress: Progress = lambda done, total: None,
) -> ToyVae:
    """Train a Soft-IntroVAE, or a plain VAE of as many steps.

    Same seed and type of device, same weights.

    Args:
        toy: Points and weights.
        steps: Of which the first fifteenth is a plain VAE's.
        seed: Of weights, points and noise.
        device: Where the model is trained.
        introspective: Whether a Soft-IntroVAE is trained.
        progress: Called with the steps done and their total.

    Raises:
        FloatingPointError: Where training diverged.
    """
    # On the CPU, so that the numbers are the same for all devices.
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed GPUs as well
        model = ToyVae().to(device)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5 * steps // 6], gamma=0.1)
    warmup = round(WARMUP * steps)
    for step in range(steps):
        if step % DRAWN == 0:
            count = min(DRAWN, steps - step) * BATCH
            points = toy.draw(count, draw).to(device)
            normal = torch.randn(4 * count, Z, generator=draw).to(device)
            batches = iter(torch.split(points, BATCH))
            noise = iter(torch.split(normal, 4 * BATCH))
            progress(step, steps)
        x = next(batches)
        eps = next(noise)
        optimizer.zero_grad()
        if introspective and step >= warmup:
            introspective_step(model, toy, x, eps)
        else:
            vae_step(model, toy, x, eps[:BATCH])
        optimizer.step()
        schedule.step()
    progress(steps, steps)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise FloatingPointError("training diverged; try another --seed")
    return model.eval()
