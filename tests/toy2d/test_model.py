"""The one-latent objective on points: gradients against the published order of passes, seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from pipelines.cli import app
from translate.toy2d import report as toy_report
from translate.toy2d.datasets import TOYS
from translate.toy2d.model import SCALE, ToyVae, introspective_step, train_toy, vae_step
from translate.toy2d.report import GRID, Match, data_match, match, square, write_toy

CPU = torch.device("cpu")
RINGS = TOYS["rings"]
B = 64


@pytest.fixture
def model() -> ToyVae:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ToyVae().eval()  # in float32 throughout


def kl(mu: Tensor, logvar: Tensor) -> Tensor:
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)


def encode(model: ToyVae, x: Tensor) -> tuple[Tensor, Tensor]:
    mu, raw = model.encoder(x).chunk(2, 1)
    return mu, 10 * torch.tanh(raw / 10)


def plain_losses(model: ToyVae, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """The equations of encoder and decoder, each with passes of its own and the other detached."""
    b_rec = RINGS.beta_rec
    b_kl = RINGS.beta_kl
    b_neg = RINGS.beta_neg
    posterior, prior, *again = eps.split(B)
    mu, logvar = encode(model, x)
    z = mu + torch.exp(logvar / 2) * posterior
    rec = ((x - model.decoder(z)) ** 2).sum(1)
    fakes = (model.decoder(z).detach(), model.decoder(prior).detach())
    energies = []
    for fake, noise in zip(fakes, again, strict=True):
        mu_f, logvar_f = encode(model, fake)
        rec_f = ((fake - model.decoder(mu_f + torch.exp(logvar_f / 2) * noise)) ** 2).sum(1)
        energies.append(torch.exp(-2 * SCALE * (b_rec * rec_f + b_neg * kl(mu_f, logvar_f))).mean())
    real = SCALE * (b_rec * rec.mean() + b_kl * kl(mu, logvar).mean())
    l_e = real + 0.25 * (energies[0] + energies[1])

    rec_d = ((x - model.decoder(z.detach())) ** 2).sum(1).mean()
    fake_kl = [kl(*encode(model, model.decoder(code))).mean() for code in (z.detach(), prior)]
    l_d = SCALE * (b_rec * rec_d + 0.5 * b_kl * (fake_kl[0] + fake_kl[1]))
    return l_e, l_d


def test_gradients_are_those_of_the_equations(model: ToyVae) -> None:
    draw = torch.Generator().manual_seed(1)
    x = RINGS.draw(B, draw)
    eps = torch.randn(4 * B, 2, generator=draw)
    introspective_step(model, RINGS, x, eps)
    got = {name: parameter.grad for name, parameter in model.named_parameters()}
    networks = {"encoder": model.encoder, "decoder": model.decoder}
    for loss, (prefix, network) in zip(plain_losses(model, x, eps), networks.items(), strict=True):
        names, parameters = zip(*network.named_parameters(prefix), strict=True)
        for name, expected in zip(names, torch.autograd.grad(loss, parameters), strict=True):
            torch.testing.assert_close(got[name], expected, rtol=1e-4, atol=1e-6)


def test_the_warm_up_is_the_plain_vae(model: ToyVae) -> None:
    draw = torch.Generator().manual_seed(1)
    x = RINGS.draw(B, draw)
    eps = torch.randn(B, 2, generator=draw)
    vae_step(model, RINGS, x, eps)
    mu, logvar = encode(model, x)
    rec = ((x - model.decoder(mu + torch.exp(logvar / 2) * eps)) ** 2).sum(1)
    loss = 0.5 * (0.2 * rec + 0.2 * kl(mu, logvar)).mean()
    parameters = list(model.parameters())
    for parameter, expected in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-6)


def test_learning_in_bfloat16_is_near_float32(model: ToyVae) -> None:
    x = RINGS.draw(1000, torch.Generator().manual_seed(1))
    exact = model.encoder(x)
    torch.testing.assert_close(model.train().encoder(x), exact, rtol=0, atol=0.01)


def test_seeds_repeat_a_run() -> None:
    first, again, other = (
        torch.nn.utils.parameters_to_vector(train_toy(RINGS, 20, seed, CPU).parameters())
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    train_toy(RINGS, 2, 0, CPU)
    assert torch.equal(before, torch.get_rng_state())


def test_a_short_run_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_report, "SAMPLES", 20_000)
    toy = TOYS["8gaussians"]
    seen = list[tuple[int, int]]()
    untrained = match(train_toy(toy, 0, 0, CPU), toy, 5)
    trained = match(train_toy(toy, 150, 0, CPU, progress=lambda *at: seen.append(at)), toy, 5)
    assert seen == [(0, 150), (100, 150), (150, 150)]
    assert trained.jsd < untrained.jsd
    assert trained.kl < untrained.kl - 1
    assert trained.elbo is not None
    assert untrained.elbo is not None
    assert trained.elbo < untrained.elbo
    floor = data_match(toy, 5)
    assert floor.jsd < 0.01 < trained.jsd
    assert floor.elbo is None


def test_a_run_that_diverges_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translate.toy2d.model.LEARNING_RATE", math.inf)
    with pytest.raises(FloatingPointError, match="--seed"):
        train_toy(RINGS, 20, 0, CPU)


def test_energy_and_samples_are_closed_forms(model: ToyVae) -> None:
    x = RINGS.draw(5000, torch.Generator().manual_seed(1))
    mu, logvar = encode(model, x)
    expected = kl(mu, logvar) + ((x - model.decoder(mu)) ** 2).sum(1)
    torch.testing.assert_close(model.energy(x), expected.detach(), rtol=1e-4, atol=1e-5)
    z = torch.randn(10, 2, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        model.sample(10, torch.Generator().manual_seed(3)), model.decoder(z).detach()
    )


def test_the_square_goes_row_by_row_from_below() -> None:
    points = square(4.0)
    assert points.shape == (GRID * GRID, 2)
    step = 8 / GRID
    assert points[0].tolist() == [-4 + step / 2, -4 + step / 2]
    assert points[1].tolist() == [-4 + 1.5 * step, -4 + step / 2]
    assert points[-1].tolist() == [4 - step / 2, 4 - step / 2]


def test_files_are_whole_or_refused(
    model: ToyVae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_report, "SAMPLES", 5000)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: cannot be written"):
        write_toy(tmp_path / "file", {"VAE": model}, RINGS, {"seed": 0})


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_report, "SAMPLES", 5000)
    words = [
        "toy2d",
        "rings",
        str(tmp_path / "out"),
        "--steps",
        "20",
        "--device",
        "cpu",
        "--seed",
        "3",
        "--json",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {**kept, "out": str(tmp_path / "out")} == {**printed, "samples": 5000}
    assert (kept["toy"], kept["seed"], kept["steps"]) == ("rings", 3, 20)
    assert list(kept["matches"]) == ["Soft-IntroVAE", "VAE", "data"]
    assert all(
        set(values) == set(Match.__dataclass_fields__) for values in kept["matches"].values()
    )
    with Image.open(tmp_path / "out" / "toy2d.png") as image:
        assert image.format == "PNG"
        assert image.width == 720
    assert "training the VAE: 20 of 20" in done.stderr


def test_wrong_use_ends_with_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = [
        (["moons", str(tmp_path)], "rings"),
        (["rings", str(tmp_path / "file")], "is a file"),
    ]
    for words, message in [
        *wrong,
        (["rings", str(tmp_path), "--device", "abacus"], "--device abacus"),
    ]:
        done = CliRunner().invoke(app, ["toy2d", *words])
        assert done.exit_code == 2, done.stderr
        assert message in done.stderr
        assert len(done.stderr.splitlines()) <= 2


def test_training_leaves_the_random_state_of_all_devices_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.get_rng_state()
    train_toy(RINGS, 1, 3, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert seeded == [], "the model is made on the CPU, whose state alone is restored"
