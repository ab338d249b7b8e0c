"""One domain is a plain image Soft-IntroVAE, three are translated in all six directions."""

from __future__ import annotations

import json
import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers import trainings
from translate.config import ConfigError, from_dict, load_config
from translate.data.augmentation import augmentations
from translate.inference.predictor import Predictor
from translate.inference.predictor_options import PredictorOptions
from translate.inference.sampling import sample
from translate.inference.translator import Translator
from translate.io.images import UInt8
from translate.io.tensors import images_from_pixels
from translate.losses.soft_introvae import (
    equilibrium_kl,
    one_latent_decoder_loss,
    one_latent_encoder_loss,
)
from translate.losses.translation import Objective
from translate.metrics.distribution import kernel_distance
from translate.metrics.random_features import RandomFeatures
from translate.models.checkpoint import load_model
from translate.models.networks import Model
from translate.training.trainer import Trainer

SIZE = 16
runner = CliRunner()


def bars(thickness: int, upright: bool = False) -> UInt8:
    """Gray bars of some thickness at every place. Shape: (n, S, S, 1)."""
    images = np.full((SIZE - thickness, SIZE, SIZE, 1), 255, np.uint8)
    for i, image in enumerate(images):
        image[i : i + thickness] = 0
    return images.transpose(0, 2, 1, 3) if upright else images


def write(folder: Path, images: UInt8) -> Path:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image[:, :, 0]).save(folder / f"{i:02}.png")
    return folder


def train(
    root: Path, domains: dict[str, UInt8], steps: int, batch_size: int = 8, **sections: object
) -> Path:
    """Run `introshift train` on the images; return the run folder."""
    data = {"domains": {name: str(write(root / name, images)) for name, images in domains.items()}}
    config = {
        "data": {**data, "size": SIZE, "channels": 1},
        "train": {
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": 2e-3,
            "ema_decay": 0.98,
            "precision": "32",
        },
        **sections,
    }
    (root / "config.yaml").write_text(json.dumps(config))
    ran = runner.invoke(
        app, ["train", str(root / "config.yaml"), "--out", str(root / "run"), "--device", "cpu"]
    )
    assert ran.exit_code == 0, ran.output
    return root / "run"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("alone")
    sizes = {"width": 16, "style_dim": 8, "condition": 16}
    return train(root, {"bars": np.concatenate([bars(3), bars(3, upright=True)])}, 250, model=sizes)


def test_one_domain_is_reconstructed_and_sampled(alone: Path) -> None:
    file = load_model(alone / "model.safetensors")
    images = np.concatenate([bars(3), bars(3, upright=True)])
    x = images_from_pixels(images)
    with torch.inference_mode():
        error = (file.model.reconstruct(x, 0) - x).abs().mean()
        assert error < 0.6 * (x.mean(0) - x).abs().mean(), "far nearer than the best single picture"
    predictor = Predictor.load(alone / "model.safetensors", "cpu")
    drawn = np.stack(list(sample(predictor, "bars", 64)))
    assert drawn.shape == (64, SIZE, SIZE, 1)
    assert drawn.astype(float).std(0).mean() > 30, "samples differ"

    noise = np.random.default_rng(0).integers(0, 256, drawn.shape, np.uint8)
    with torch.inference_mode():
        features = RandomFeatures(1)
        real, made, random = (features(images_from_pixels(y)) for y in (images, drawn, noise))
        scale = real.std()
        distances = [kernel_distance(f / scale, real / scale) for f in (made, random)]
    assert distances[0] < 0.1 * distances[1]


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_one_domain_has_the_objective_of_the_paper(shift: float) -> None:
    """Equations 3 to 6, from the terms of a step; no KL of real images trains the decoder.

    Where images are changed before the energy, the changed real ones have a KL of their own.
    """
    config = from_dict(
        {
            "data": {"domains": {"A": "a"}, "size": SIZE, "channels": 1},
            "model": {"width": 8},
            "augment": {"energy_shift": shift, "energy_cutout": 0.0},
        }
    )
    torch.manual_seed(0)
    model = Model(config)
    x = torch.rand(4, 1, SIZE, SIZE) * 2 - 1
    y = torch.zeros(4, dtype=torch.int64)
    w = config.objective
    n = x[0].numel()
    losses = Objective(w, augmentations(config.augment)).introspective(
        model, x, y, y, beta_neg=32.0
    )
    terms = losses.terms
    fake_rec, fake_kl = (
        torch.stack([terms[f"{k}_reconstruction"], terms[f"{k}_prior"]]) for k in ("rec", "kl_s")
    )
    encoder = one_latent_encoder_loss(
        terms["rec"],
        terms["kl_s"],
        fake_rec,
        fake_kl,
        beta_rec=1.0,
        beta_kl=1.0,
        beta_neg=32.0,
        scale=1 / n,
    )
    decoder = one_latent_decoder_loss(
        terms["rec"], fake_rec, fake_kl, beta_rec=1.0, beta_kl=1.0, gamma_r=0.0, scale=1 / n
    )
    assert losses.encoder is not None
    assert losses.decoder is not None
    torch.testing.assert_close(terms["kl_s"], model.encoder.style(x, y).kl())
    assert ("kl_s_changed" in terms) is (shift > 0)
    # The mean of both counts.
    kl_s = (terms["kl_s"] + terms.get("kl_s_changed", terms["kl_s"])).mean() / 2 / n
    more = kl_s - terms["kl_s"].mean() / n
    more = more + w.gamma_r1 / 2 * terms["r1"].mean()  # ours: a game that converges
    torch.testing.assert_close(losses.shared + losses.encoder, encoder.mean() + more)
    torch.testing.assert_close(losses.shared + losses.decoder, decoder.mean() + kl_s)


def test_the_equilibrium_of_one_latent_follows_the_vae(tmp_path: Path) -> None:
    config = trainings.settings(
        data={"domains": {"A": "a"}}, train={"steps": 40, "warmup": 0.5, "learning_rate": 2e-3}
    )
    images = trainings.bars(config, domains=1)
    with trainings.logged() as messages:
        Trainer(config, images, tmp_path / "run", "cpu").run()
    (found,) = re.findall(r"beta_neg (\S+) \(KL_s (\S+) nats\)", "\n".join(messages))
    beta_neg, kl = map(float, found)
    rounding = 0.01
    found_kl = equilibrium_kl(beta_neg, 1.0, SIZE**2)
    assert found_kl == pytest.approx(1.6 * kl, rel=rounding, abs=rounding)


def test_what_one_domain_leaves_behind(alone: Path) -> None:
    scores = [json.loads(line) for line in (alone / "scores.jsonl").read_text().splitlines()]
    (direction,) = scores[-1]["direction_scores"]
    assert direction["source"] == direction["to"] == "bars"
    assert scores[-1]["value"] == pytest.approx(direction["distance"] + 0.1 * direction["cycle"])
    lines = [json.loads(line) for line in (alone / "stats.jsonl").read_text().splitlines()]
    assert {"rec", "kl_s", "kl_s_prior", "kl_s_reconstruction", "rec_prior"} <= lines[-1].keys()
    assert not {"cyc", "kl_s_translation", "kl_s_wrong"} & lines[-1].keys()
    assert all(line["kl_c"] == 0 for line in lines), "there is no content"
    scored = runner.invoke(
        app, ["score", str(alone / "model.safetensors"), str(alone.parent / "bars"), "--json"]
    )
    assert scored.exit_code in (0, 2), scored.output


def test_what_one_domain_cannot_do(alone: Path, tmp_path: Path) -> None:
    model = alone / "model.safetensors"
    with pytest.raises(ValueError, match="bars alone"):
        Translator.load(model, "cpu").translate(torch.zeros(1, 1, SIZE, SIZE), to="bars")
    with pytest.raises(ValueError, match="--scale native: "):
        Predictor.load(model, "cpu", PredictorOptions(scale="native"))
    with pytest.raises(ValueError, match="--content: "):
        sample(Predictor.load(model, "cpu"), "bars", 1, content=alone.parent / "bars")
    refused = runner.invoke(app, ["evaluate", str(model), str(tmp_path)])
    assert refused.exit_code == 2
    assert "one domain, bars" in refused.output
    with pytest.raises(ConfigError, match="content_channels"):
        from_dict({"model": {"content_channels": 0}})


def test_what_lies_between_two_images_of_one_domain(alone: Path, tmp_path: Path) -> None:
    pictures = [str(alone.parent / "bars" / name) for name in ("00.png", "20.png")]
    ends = [
        str(alone / "model.safetensors"),
        *pictures,
        str(tmp_path / "between.png"),
        "--domain",
        "bars",
    ]
    ran = runner.invoke(app, ["interpolate", *ends, "--steps", "5", "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["rows"] == ["latent"]


def test_init_writes_a_config_for_one_folder_and_for_three(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, bars(3)) for name in "xyz"]
    for count in (1, 3):
        out = tmp_path / f"{count}.yaml"
        ran = runner.invoke(app, ["init", *map(str, folders[:count]), "-o", str(out)])
        assert ran.exit_code == 0, ran.output
        config = load_config(out)
        assert config.data.names == tuple("xyz"[:count])
        assert config.data.folder("x") == folders[0]
        assert config.model.one_latent == (count == 1)


def test_an_image_of_any_shape_passes_through_one_latent(alone: Path) -> None:
    image = np.tile(bars(3)[5], (1, 4, 1))
    (again,) = Translator.load(alone / "model.safetensors", "cpu").translate(
        [image], to="bars", style="own"
    )
    assert again.shape == image.shape


def test_three_domains_are_translated_in_six_directions(tmp_path: Path) -> None:
    domains = {"thin": bars(2), "thick": bars(5), "gray": 128 + bars(2) // 2}
    sizes = {"width": 16, "style_dim": 4, "condition": 16}
    run = train(tmp_path, domains, 220, batch_size=4, model=sizes)
    translator = Translator.load(run / "model.safetensors", "cpu")
    features = RandomFeatures(1)

    def far(a: UInt8, b: UInt8) -> float:
        x, y = (features(images_from_pixels(images)) for images in (a, b))
        return kernel_distance(x / y.std(), y / y.std())

    for a, b in permutations(domains, 2):
        made = np.stack(translator.translate(list(domains[a]), to=b, source=a))
        assert far(made, domains[b]) < 0.5 * far(domains[a], domains[b]), (a, b)
    last_line = (run / "scores.jsonl").read_text().splitlines()[-1]
    directions = json.loads(last_line)["direction_scores"]
    assert {(d["source"], d["to"]) for d in directions} == set(permutations(domains, 2))
