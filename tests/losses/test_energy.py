"""The energy against a plain transcription, its quantiles, and the scores of folders."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.folders import build, draw
from tests._helpers.small_model import SIDE
from tests._helpers.trainings import bars, settings
from translate.config import from_dict
from translate.inference.anomaly import measure_folder, scores, to_csv
from translate.inference.predictor import Predictor
from translate.inference.predictor_options import PredictorOptions
from translate.io.tensors import images_from_pixels
from translate.losses.energy import KEY, LEVELS, EnergyQuantiles, energies, training_quantiles
from translate.metrics.statistics import auroc
from translate.models.checkpoint import load_model, save_model
from translate.models.networks import Model
from translate.training.trainer import Trainer


def kl(mu: Tensor, logvar: Tensor) -> float:
    """Sum over latents of 1/2 (sigma^2 + mu^2 - 1 - ln sigma^2), number by number."""
    pairs = zip(mu.flatten().tolist(), logvar.flatten().tolist(), strict=True)
    return sum(0.5 * (math.exp(v) + m * m - 1 - v) for m, v in pairs)


@pytest.mark.parametrize("rec", ["l1", "mse"])
def test_the_energy_is_what_the_page_says(rec: str) -> None:
    weights = {"rec": rec, "beta_rec": 0.7, "beta_kl_c": 0.3, "beta_kl_s": 1.9}
    sizes = {"width": 8, "style_dim": 4, "condition": 8}
    config = from_dict(
        {"data": {"size": SIDE, "channels": 3}, "model": sizes, "objective": weights}
    )
    torch.manual_seed(0)
    model = Model(config).eval()
    x = torch.rand(3, 3, SIDE, SIDE) * 2 - 1
    y = torch.tensor([0, 1, 1])
    with torch.inference_mode():
        found = energies(model, x, y, config.objective)
        for i in range(3):
            one = x[i : i + 1]
            domain = y[i : i + 1]
            q_c = model.encoder.content(one, domain)
            q_s = model.encoder.style(one, domain)
            error = (one - model.reconstruct(one, int(domain))).flatten()
            l_r = float((error.abs() if rec == "l1" else error**2).sum())
            parts = [l_r, kl(*q_c), kl(*q_s)]
            expected = (0.7 * parts[0] + 0.3 * parts[1] + 1.9 * parts[2]) / (3 * SIDE * SIDE)
            assert [float(part[i]) for part in found] == pytest.approx([expected, *parts], rel=1e-4)
        known = energies(model, x, y, config.objective, model.encoder.content(x, y))
    assert all(torch.equal(a, b) for a, b in zip(known, found, strict=True))


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=50),
    st.lists(st.floats(-1, 11), min_size=2, max_size=20),
)
def test_percentiles_rise_from_0_to_100(known: list[float], asked: list[float]) -> None:
    reference = EnergyQuantiles.of(known)
    found = [reference.percentile(value) for value in sorted(asked)]
    assert found == sorted(found)
    assert found[0] >= 0
    assert found[-1] <= 100
    assert reference.percentile(min(known) - 1) == 0
    assert reference.percentile(max(known) + 1) == 100
    limits = [reference.limit(level) for level in LEVELS[1:]]
    assert limits == sorted(limits)
    assert limits[-1] == pytest.approx(max(known), rel=1e-5)


def test_percentiles_of_many_are_their_ranks() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    reference = EnergyQuantiles.of(values)
    for level in (0.001, 0.1, 0.5, 0.85, 0.999):
        value = float(np.quantile(values, level))
        assert reference.percentile(value) == pytest.approx(100 * level, abs=1)
        assert (values > reference.limit(level)).mean() == pytest.approx(1 - level, abs=0.01)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {KEY: 3},
        {KEY: {"levels": [0, 1], "quantiles": {"B": [0, 1]}}},
        {KEY: {"levels": [0, 1], "quantiles": {"A": [0]}}},
        {KEY: {"levels": [0, 1], "quantiles": {"A": [1, 0]}}},
        {KEY: {"levels": [0, 0.5], "quantiles": {"A": [0, 1]}}},
        {KEY: {"levels": [], "quantiles": {"A": []}}},
        {KEY: {"levels": [0, 1], "quantiles": {"A": [0, float("nan")]}}},
        {KEY: {"levels": [0, 1], "quantiles": {"A": [0, "much"]}}},
    ],
)
def test_a_model_file_without_sound_quantiles_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"quantiles of A.*train --resume") as caught:
        EnergyQuantiles.of_training(broken, "A")
    assert len(str(caught.value).splitlines()) == 1


def test_unusable_levels_and_energies() -> None:
    for level in (0.0, -1.0, 1.001, math.nan):
        with pytest.raises(ValueError, match="--reject"):
            EnergyQuantiles.of([1, 2]).limit(level)
    for values in ([], [1, math.inf], [math.nan]):
        with pytest.raises(ValueError, match="at least one energy"):
            EnergyQuantiles.of(values)


def test_training_ends_with_the_quantiles_of_its_images(tmp_path: Path) -> None:
    config = settings(train={"score_every": 4})
    trainer = Trainer(config, bars(config), tmp_path, "cpu")
    trainer.save()
    assert KEY not in load_model(tmp_path / "model.safetensors").summary, "checkpoints do without"
    trainer.run()
    whole = load_model(tmp_path / "model.safetensors")
    for name, d in (("A", 0), ("B", 1)):
        x = images_from_pixels(np.stack(trainer.domains[d].images))
        with torch.no_grad():
            found = energies(
                whole.model, x, torch.full((len(x),), d), config.objective
            ).energy.numpy()
        reference = EnergyQuantiles.of_training(whole.summary, name)
        assert reference.quantiles == pytest.approx(np.quantile(found, LEVELS).tolist(), rel=1e-4)
        assert (
            EnergyQuantiles.of_training(
                load_model(tmp_path / "last.safetensors").summary, name
            ).limit(1)
            > 0
        )
    before = (tmp_path / "model.safetensors").read_bytes()
    trainer.save()
    Trainer(config, bars(config), tmp_path, "cpu").run(resume=True)
    assert (tmp_path / "model.safetensors").read_bytes() == before, (
        "the remedy that the error names"
    )


def test_energies_that_are_not_finite_end_no_training() -> None:
    model = Model(config := from_dict({"data": {"size": SIDE}, "model": {"width": 8}}))
    with torch.no_grad():
        model.encoder.domain.weight[1] = math.nan
    images = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    found = training_quantiles(model, ["A", "B"], [images, images], config.objective)
    assert found["quantiles"].keys() == {"A"}


def test_auroc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    inside = rng.integers(0, 6, 30).tolist()
    foreign = rng.integers(2, 9, 20).tolist()
    wins = [(b > a) + (a == b) / 2 for a, b in itertools.product(inside, foreign)]
    assert auroc(inside, foreign) == pytest.approx(sum(wins) / len(wins))
    assert auroc([1, 2], [3]) == 1
    assert auroc([3], [1, 2]) == 0
    assert auroc([1, 1], [1]) == 0.5
    with pytest.raises(ValueError, match="got 0 and 1"):
        auroc([], [1])


def with_quantiles(where: Path) -> Path:
    """Write a model file with quantiles of A, but not of B, and pictures of noise in `in`.

    One of the pictures is broken.
    """
    predictor = build(where).predictor
    for i in range(5):
        draw(where / "in" / "deep" / f"{i}.png", 16 + 5 * (i % 2), 16, seed=i)
    (where / "in" / "cut.png").write_bytes(b"nothing")
    found, _ = measure_folder(predictor, where / "in", "A")
    levels = sorted(value.energy for value in found.values())
    file = load_model(where / "model.safetensors")
    about = {KEY: {"levels": [0, 0.5, 1], "quantiles": {"A": [levels[0], levels[2], levels[3]]}}}
    save_model(where / "model.safetensors", file.model, file.config, about)
    return where / "model.safetensors"


def test_a_score_does_not_depend_on_other_images(tmp_path: Path) -> None:
    predictor = Predictor.load(with_quantiles(tmp_path), "cpu")
    found, failures = measure_folder(predictor, tmp_path / "in", "A")
    assert [name for name, _ in failures] == ["cut.png"]
    assert list(found) == [f"deep/{i}.png" for i in range(5)]
    for i in range(5):
        alone, _ = measure_folder(predictor, tmp_path / "in" / "deep" / f"{i}.png", "A")
        assert alone == {f"{i}.png": found[f"deep/{i}.png"]}
    assert found != measure_folder(predictor, tmp_path / "in", "B")[0]
    native = Predictor.load(tmp_path / "model.safetensors", "cpu", PredictorOptions(scale="native"))
    assert measure_folder(native, tmp_path / "in" / "deep" / "0.png", "A")[0] == {
        "0.png": found["deep/0.png"]
    }
    with pytest.raises(ValueError, match="domain C: this model has"):
        measure_folder(predictor, tmp_path / "in", "C")


def test_an_energy_that_is_not_finite_is_a_failure(tmp_path: Path) -> None:
    predictor = Predictor.load(with_quantiles(tmp_path), "cpu")
    with torch.no_grad():
        predictor.model.encoder.domain.weight.fill_(math.nan)
    found, failures = measure_folder(predictor, tmp_path / "in", "A")
    assert not found
    assert ("deep/0.png", "its energy is not finite") in failures


def test_csv_takes_any_name(tmp_path: Path) -> None:
    predictor = Predictor.load(with_quantiles(tmp_path), "cpu")
    odd = "a,\"b'\n\udcff 図.png"
    draw(tmp_path / "one.png")
    ((_, value),) = measure_folder(predictor, tmp_path / "one.png", "A")[0].items()
    text = to_csv(scores({odd: value}, EnergyQuantiles([0.0, value.energy], [0, 1]), 0.5))
    (row,) = csv.DictReader(text.encode().decode().splitlines(keepends=True))
    assert row["source"] == odd.replace("\udcff", "\\udcff")
    assert row["rejected"] == "1"
    assert float(row["energy"]) == pytest.approx(value.energy, rel=1e-5)
    assert row["percentile"] == "100"


def test_the_command(tmp_path: Path) -> None:
    words = ["score", str(with_quantiles(tmp_path)), str(tmp_path / "in")]

    def call(*more: object) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, [*words, *map(str, more)])
        return done.exit_code, done.stdout, done.stderr

    code, out, err = call("--domain", "A", "--reject", 1, "--json")
    said = json.loads(out)
    assert code == 1
    assert "failed cut.png" in err
    assert (said["measured"], said["rejected"], len(said["failures"])) == (5, 1, 1)
    highest = max(said["scores"], key=lambda row: row["energy"])
    assert highest["rejected"]
    assert highest["percentile"] == 100
    assert highest["energy"] > said["limit"]
    code, out, _ = call("--domain", "A", "--reject", 0.5)
    worst_first = [line.split() for line in out.splitlines()[1:6]]
    assert ["!" in line for line in worst_first] == [True, True, False, False, False]
    assert [line[0] for line in worst_first] == sorted(line[0] for line in worst_first)[::-1]
    assert out.splitlines()[-1].startswith("5 measured, 2 of them")
    (tmp_path / "in" / "cut.png").unlink()
    code, out, _ = call(
        "--domain", "A", "--out", tmp_path / "new" / "s.csv", "--against", tmp_path / "in"
    )
    assert code == 0
    assert "energy 0.500" in out
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "in" / "deep" / "0.png")
    code, out, _ = call("--domain", "A", "--json")
    first, *_, link = sorted(json.loads(out)["scores"], key=lambda row: row["source"])
    assert code == 0
    assert link.pop("source") == "link.png"
    assert link.items() <= first.items()
    (tmp_path / "in" / "link.png").unlink()
    with open(tmp_path / "new" / "s.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [f"deep/{i}.png" for i in range(5)]
    assert [row["rejected"] for row in rows].count("1") == 2
    code, out, err = call("--domain", "B")
    assert code == 2
    assert len([line for line in err.splitlines() if line.startswith("introshift: ")]) == 1
    assert "train --resume" in err
    code, out, _ = call("--domain", "B", "--reference", tmp_path / "in", "--json")
    assert code == 0
    assert json.loads(out)["rejected"] <= 1
    folder = (["A", "--out", tmp_path / "in"], "in: is a folder; name a file")
    for wrong, message in (
        folder,
        (["A", "--reject", 2], "--reject 2"),
        (["C"], "domain C: this model"),
        ([], "--domain"),
    ):
        code, _, err = call("--domain", *wrong) if wrong else call()
        assert code == 2
        assert message in err
