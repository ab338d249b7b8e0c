"""The objective against plain transcriptions of its equations, values and gradients."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests._helpers.transcription import Plain, decoder_loss, draw, encoder_loss, error, kl
from translate.config import ObjectiveConfig, from_dict
from translate.data.augmentation import Augmentations
from translate.losses.soft_introvae import (
    auto_beta_neg,
    equilibrium_kl,
    gradient_penalty,
    one_latent_decoder_loss,
    one_latent_encoder_loss,
    reconstruction_error,
    soft_energy,
)
from translate.losses.translation import Objective, backward, exchanged
from translate.metrics.lpips import Perceptual
from translate.models.networks import Model

BETA_NEG = 20.0
N = 16 * 16  # C H W
S = 1 / N
EVERYTHING = {
    "beta_rec": 0.7,
    "beta_kl_c": 0.3,
    "beta_kl_s": 0.9,
    "beta_neg_c": 0.02,
    "beta_fake": 1.3,
    "beta_fake_c": 0.1,
    "beta_rec_neg": 0.4,
    "gamma_r": 0.2,
    "gamma_r1": 0.5,
    "lambda_c": 0.6,
    "lambda_cyc": 0.8,
    "translation": True,
    "wrong_domain": True,
    "reconstruction": True,
    "prior": True,
}
RECIPES = {
    "defaults": {},
    "everything": EVERYTHING,
    "everything, cycle gradient": {**EVERYTHING, "cycle_grad": True},
    "mse": {"rec": "mse", "lambda_c": 0.5},
    "styles exchanged": {**EVERYTHING, "exchange": True, "lambda_s": 0.7, "cycle_grad": True},
    "styles of the prior held": {"lambda_s": 0.7, "translation": False, "lambda_cyc": 0.0},
    "translations alone": {"wrong_domain": False, "lambda_cyc": 0.0},
    "wrong domain alone": {"translation": False, "lambda_cyc": 0.0},
}


def noise(shape: torch.Size | tuple[int, ...]) -> Tensor:
    """The same for every four images, so that neither order nor batch of the draws matters."""
    phases = torch.arange(4 * math.prod(shape[1:])) * 1.7 + 0.3
    four = torch.sin(phases).reshape(4, *shape[1:]) * 1.2
    copies = -(-shape[0] // 4)
    return four.repeat(copies, *[1] * (len(shape) - 1))[: shape[0]]


@pytest.fixture(autouse=True)
def fixed_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn", lambda shape, **_: noise(shape))
    monkeypatch.setattr(torch, "randn_like", lambda like: noise(like.shape))


@pytest.fixture
def setting() -> tuple[Model, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    # no draws of its own
    sizes = {"width": 8, "style_dim": 4, "condition": 8, "style_dropout": 0.0}
    model = Model(from_dict({"data": {"size": 16, "channels": 1}, "model": sizes}))
    model.decoder.domain_affine[1] *= 1.2  # so that it matters where content comes from
    x = torch.rand(4, 1, 16, 16) * 2 - 1
    y = torch.tensor([0, 0, 1, 1])
    return model, x, y, 1 - y


def flip(x: Tensor) -> Tensor:
    """A stand-in for the energy's augmentation that is easy to transcribe."""
    return x.flip(3)


def turn(x: Tensor) -> Tensor:
    """A stand-in for the change of content in the introspective phase."""
    return x.flip(2)


def swap(x: Tensor) -> Tensor:
    """A stand-in for the change of translations before the way back."""
    return x.transpose(2, 3)


def untouched(x: Tensor) -> Tensor:
    return x


AUGMENT = Augmentations(warmup=untouched, introspective=turn, cycle=swap, energy=flip)


@pytest.mark.parametrize("detail", [False, True], ids=["", "detail"])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_both_losses_and_their_gradients_equal_the_transcription(
    recipe: dict[str, object], detail: bool, setting: tuple[Model, Tensor, Tensor, Tensor]
) -> None:
    model, x, y, other = setting
    model.detail = detail
    w = ObjectiveConfig.model_validate(recipe)
    losses = Objective(w, AUGMENT).introspective(model, x, y, other, BETA_NEG)
    backward(losses, model)
    reference = Plain(w, AUGMENT, model, BETA_NEG)
    compared = [
        (model.encoder, losses.encoder, encoder_loss(reference, x, y, other)),
        (model.decoder, losses.decoder, decoder_loss(reference, x, y, other)),
    ]
    for network, part, expected in compared:
        got = losses.shared if part is None else losses.shared + part
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(expected, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            plain = torch.zeros_like(parameter) if gradient is None else gradient
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            atol = 1e-5 * plain.abs().max().item() + 1e-7
            torch.testing.assert_close(own, plain, rtol=1e-3, atol=atol)


def test_the_warm_up_is_a_plain_vae_on_augmented_content(
    setting: tuple[Model, Tensor, Tensor, Tensor],
) -> None:
    model, x, y, _ = setting
    w = ObjectiveConfig.model_validate({"beta_rec": 0.7, "beta_kl_c": 0.3})
    losses = Objective(w, Augmentations(flip, turn, untouched, untouched)).vae(model, x, y)
    q_c = model.encoder.content(flip(x), y)
    q_s = model.encoder.style(x, y)
    rec = error(w, x, model.decoder(draw(q_c), draw(q_s), y, y))
    torch.testing.assert_close(
        losses.shared, (S * (0.7 * rec + 0.3 * kl(q_c) + w.beta_kl_s * kl(q_s))).mean()
    )
    assert losses.encoder is losses.decoder is None


@pytest.mark.parametrize("network", ["encoder", "decoder"])
def test_the_part_of_one_leaves_no_gradient_in_the_other(
    network: str, setting: tuple[Model, Tensor, Tensor, Tensor]
) -> None:
    """Without the shared terms, the encoder's part moves the encoder alone, and the reverse."""
    model, x, y, other = setting
    losses = Objective(ObjectiveConfig.model_validate(EVERYTHING), AUGMENT).introspective(
        model, x, y, other, BETA_NEG
    )
    other_part = {"decoder" if network == "encoder" else "encoder": None}
    alone = losses._replace(shared=0 * losses.shared, **other_part)
    backward(alone, model)
    moved = {
        name
        for name, p in model.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }
    assert moved
    assert all(name.startswith(network) for name in moved)


def test_terms_are_per_sample_named_and_independent_of_the_batch(
    setting: tuple[Model, Tensor, Tensor, Tensor],
) -> None:
    model, x, y, other = setting
    objective = Objective(ObjectiveConfig.model_validate({"lambda_c": 0.1}), AUGMENT)
    terms = objective.introspective(model, x, y, other, BETA_NEG).terms
    names = {"rec", "kl_c", "kl_s", "consistency", "cyc", "kl_s_translation", "kl_s_wrong"}
    assert set(terms) == names
    assert all(value.shape == (4,) and not value.requires_grad for value in terms.values())
    mean_only = Objective(ObjectiveConfig(), AUGMENT)
    first = mean_only.introspective(model, x[:1], y[:1], other[:1], BETA_NEG).terms["kl_s"]
    torch.testing.assert_close(first, terms["kl_s"][:1])


def test_one_latent_losses_equal_the_seed_s_equations() -> None:
    """Literal: L_E = s (b_r L + b_k KL) + 1/2 exp(-2 s (b_r L_f + b_n KL_f)), averaged over two
    kinds of fakes.
    """
    rec = torch.tensor([3.0, 5.0])
    kl_real = torch.tensor([1.0, 2.0])
    fake_rec = torch.tensor([[4.0, 6.0], [2.0, 1.0]])
    fake_kl = torch.tensor([[7.0, 3.0], [0.5, 9.0]])
    b_r = 0.2
    b_k = 0.3
    b_n = 0.9
    g = 1e-2
    s = 0.5
    for i in range(2):
        energies = [
            math.exp(-2 * s * (b_r * fake_rec[k, i] + b_n * fake_kl[k, i])) for k in range(2)
        ]
        l_e = s * (b_r * rec[i] + b_k * kl_real[i]) + 0.5 * sum(energies) / 2
        fake_terms = [s * (b_k * fake_kl[k, i] + g * b_r * fake_rec[k, i]) for k in range(2)]
        l_d = s * b_r * rec[i] + sum(fake_terms) / 2
        got_e = one_latent_encoder_loss(
            rec, kl_real, fake_rec, fake_kl, beta_rec=b_r, beta_kl=b_k, beta_neg=b_n, scale=s
        )
        got_d = one_latent_decoder_loss(
            rec, fake_rec, fake_kl, beta_rec=b_r, beta_kl=b_k, gamma_r=g, scale=s
        )
        torch.testing.assert_close(got_e[i], torch.as_tensor(l_e), rtol=1e-6, atol=0)
        torch.testing.assert_close(got_d[i], torch.as_tensor(l_d), rtol=1e-6, atol=0)


def test_the_gradient_penalty_of_a_quadratic_is_known() -> None:
    """|d/dx (a |x|^2)|^2 = 4 a^2 |x|^2, which a is then moved by."""
    x = torch.tensor([[1.0, 2.0], [0.0, -3.0]], requires_grad=True)
    a = torch.tensor(0.5, requires_grad=True)
    penalty = gradient_penalty(a * x.square().sum(1), x)
    assert penalty.tolist() == [5.0, 9.0]
    penalty.sum().backward()
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(8 * 0.5 * 14)


def test_reconstruction_errors_are_sums_per_sample() -> None:
    x = torch.ones(2, 3, 4, 4)
    z = torch.stack([torch.ones(3, 4, 4), -torch.ones(3, 4, 4)])
    assert reconstruction_error(x, z).tolist() == [0.0, 4.0 * 48]
    assert reconstruction_error(x, z, "l1").tolist() == [0.0, 2.0 * 48]


def test_the_energy_falls_with_divergence_and_stays_in_range() -> None:
    energy = soft_energy(torch.zeros(5), torch.tensor([0.0, 1, 10, 100, 1e9]), 1.0, 256.0, 1 / 1024)
    assert energy[0] == 1
    assert (energy.diff() <= 0).all()
    assert (energy >= 0).all()


@given(
    st.floats(0.1, 10),
    st.floats(0.01, 200),
    st.sampled_from([256, 1024, 3072, 49152]),
)
def test_auto_beta_neg_inverts_the_equilibrium(beta_kl: float, kl_real: float, n: int) -> None:
    beta_neg = auto_beta_neg(kl_real, beta_kl, n)
    highest = equilibrium_kl(math.e * beta_kl, beta_kl, n)
    expected = min(kl_real, highest)
    assert equilibrium_kl(beta_neg, beta_kl, n) == pytest.approx(expected, rel=1e-6)


def test_the_equilibrium_is_where_push_and_pull_balance() -> None:
    beta_neg = 64.0
    beta_kl = 1.0
    n = 1024
    level = torch.tensor(equilibrium_kl(beta_neg, beta_kl, n), requires_grad=True)
    (beta_kl * level / n + 0.5 * torch.exp(-2 / n * beta_neg * level)).backward()
    assert level.grad is not None
    assert abs(level.grad.item()) < 1e-9


@pytest.mark.parametrize("domains", [1, 2, 3])
def test_styles_are_those_of_other_images_of_the_target_domain(domains: int) -> None:
    y = torch.arange(domains).repeat_interleave(5)
    other = (y + 1) % domains
    seen = set()
    for _ in range(60):
        places = exchanged(y, other)
        assert torch.equal(y[places], other)
        assert (places != torch.arange(len(y))).all()
        seen |= set(zip(range(len(y)), places.tolist(), strict=True))
    assert len(seen) == 4 * len(y)  # every other place within the domain


def test_a_perceptual_error_is_added_where_it_has_a_weight(
    setting: tuple[Model, Tensor, Tensor, Tensor], lpips_weights: Path
) -> None:
    model, x, y, _ = setting
    perceptual = Perceptual.load("alex", lpips_weights)
    w = ObjectiveConfig.model_validate({"lambda_lpips": 0.4})
    torch.manual_seed(3)  # which the cut before LPIPS follows from
    losses = Objective(w, AUGMENT, perceptual).vae(model, x, y)
    plain = Objective(ObjectiveConfig(), AUGMENT).vae(model, x, y)
    with torch.no_grad():
        r = model.decoder(
            draw(model.encoder.content(x, y)), draw(model.encoder.style(flip(x), y)), y, y
        )
        torch.manual_seed(3)
        expected = perceptual.differentiable(x, r)
    torch.testing.assert_close(losses.terms["lpips"], expected)
    torch.testing.assert_close(losses.shared, plain.shared + 0.4 * expected.mean())

    model.zero_grad()
    Objective(w.model_copy(update={"beta_rec": 0.0}), AUGMENT, perceptual).vae(
        model, x, y
    ).shared.backward()  # type: ignore[no-untyped-call]
    gradient = model.decoder.last.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.any()
