"""Diagonal Gaussians: closed forms."""

from __future__ import annotations

import math

import torch
from torch.distributions import Normal, kl_divergence

from translate.models.distributions import LOGVAR_BOUND, Gaussian


def test_kl_is_zero_for_the_prior_and_known_for_a_shift() -> None:
    zero = torch.zeros(3, 4, 2, 2)
    assert torch.equal(Gaussian(zero, zero).kl(), torch.zeros(3))
    # N(m, 1) against N(0, 1) costs m^2 / 2 nats a dimension; N(0, e) costs (e - 2) / 2.
    torch.testing.assert_close(
        Gaussian(torch.full((1, 5), 2.0), torch.zeros(1, 5)).kl(), torch.tensor([10.0])
    )
    torch.testing.assert_close(
        Gaussian(torch.zeros(1, 4), torch.ones(1, 4)).kl(), torch.tensor([2 * (math.e - 2)])
    )


def test_kl_agrees_with_torch_distributions() -> None:
    torch.manual_seed(0)
    mu = torch.randn(6, 3, 2, 2)
    logvar = torch.randn(6, 3, 2, 2)
    reference = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).flatten(1).sum(1)
    torch.testing.assert_close(Gaussian(mu, logvar).kl(), reference)


def test_samples_have_the_stated_moments() -> None:
    torch.manual_seed(0)
    mu = torch.tensor([1.5, -0.5])
    logvar = torch.tensor([0.0, 2 * math.log(3.0)])
    samples = Gaussian(mu.expand(200_000, 2), logvar.expand(200_000, 2)).sample()
    # standard errors are sigma / sqrt(n) <= 0.0067 for means, about sigma / sqrt(2 n) <= 0.0047 for
    # deviations
    torch.testing.assert_close(samples.mean(0), mu, atol=0.03, rtol=0)
    torch.testing.assert_close(samples.std(0), torch.tensor([1.0, 3.0]), atol=0.03, rtol=0)


def test_a_generator_makes_samples_repeatable() -> None:
    q = Gaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    first, second = (q.sample(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


def test_log_variance_is_bounded_and_near_zero_unchanged() -> None:
    q = Gaussian.from_parameters(
        torch.cat([torch.zeros(1, 3), torch.tensor([[-1e6, 1e-3, 1e6]])], dim=1)
    )
    torch.testing.assert_close(q.logvar, torch.tensor([[-LOGVAR_BOUND, 1e-3, LOGVAR_BOUND]]))
    assert q.kl().isfinite().all()
