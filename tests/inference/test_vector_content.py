"""A model whose content is a vector, at work: it has one size, and all else is as with a map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests._helpers.commands import call
from tests._helpers.folders import draw, opened
from tests._helpers.small_model import SIDE, noise, save
from translate.inference.predictor import Predictor
from translate.inference.predictor_options import PredictorOptions
from translate.inference.sampling import interpolate, sample
from translate.inference.translator import Translator
from translate.io.tensors import images_from_pixels

VECTOR = {"content": "vector", "content_channels": 5}


@pytest.mark.parametrize("scale", ["native", "detail"])
def test_other_sizes_are_refused_with_the_remedy(tmp_path: Path, scale: str) -> None:
    model = save(tmp_path, **VECTOR)
    with pytest.raises(ValueError, match=rf"--scale {scale}: .* vector .*; use --scale model"):
        Translator.load(model, "cpu", PredictorOptions(scale=scale))


def test_pictures_of_any_shape_are_translated_at_the_training_size(tmp_path: Path) -> None:
    translator = Translator.load(save(tmp_path, **VECTOR), "cpu")
    pictures = [noise(SIDE, SIDE, 3), noise(40, 17, 3), noise(9, 50, 3)]
    made = translator.translate(pictures, to="B", source="A")
    assert [picture.shape for picture in made] == [picture.shape for picture in pictures]


@pytest.mark.parametrize("patch", [0, 8])
def test_a_translation_does_not_depend_on_its_place_in_the_batch(
    tmp_path: Path, patch: int
) -> None:
    predictor = Predictor.load(save(tmp_path, **VECTOR, style_patch=patch), "cpu")
    rows = predictor.batching().rows((SIDE, SIDE))
    images = images_from_pixels(np.stack([noise(SIDE, SIDE, 3, seed=i) for i in range(rows)]))
    z_s = predictor.model.encode_style(images, 1).mu[None]
    together = predictor.forward(images, (0, 1), z_s).images
    order = torch.arange(rows).roll(rows // 2)
    moved = predictor.forward(images[order], (0, 1), z_s[:, order]).images
    assert torch.equal(moved, together[:, order])


def test_an_exported_graph_translates_as_the_model(tmp_path: Path) -> None:
    path = save(tmp_path, **VECTOR, style_patch=8)
    graph = tmp_path / "graph.pt2"
    code, _, err = call("export", path, "--format", "pt2", "--out", graph, "--to", "B")
    assert code == 0, err
    x = torch.rand(3, 3, SIDE, SIDE) * 2 - 1
    style = torch.randn(3, 4)
    made = torch.export.load(graph).module()(x, style)
    with torch.no_grad():
        expected = Predictor.load(path, "cpu").model.translate(x, 0, 1, style)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)


def test_samples_and_what_lies_between_two_pictures(tmp_path: Path) -> None:
    predictor = Predictor.load(save(tmp_path, **VECTOR), "cpu")
    drawn = list(sample(predictor, "A", 3, 0, "prior"))
    assert len({picture.tobytes() for picture in drawn}) == 3
    first, second = noise(SIDE, SIDE, 3, seed=1), noise(SIDE, SIDE, 3, seed=2)
    rows = interpolate(predictor, first, second, "A", steps=3)
    assert rows.shape == (3, 3, SIDE, SIDE, 3)
    with torch.no_grad():
        ends = predictor.model.reconstruct(images_from_pixels(np.stack([first, second])), 0)
    for i, end in ((0, ends[0]), (2, ends[1])):
        assert (images_from_pixels(rows[2, i]) - end).abs().max() < 1.1 / 127.5


def test_one_domain_swaps_contents_and_styles(tmp_path: Path) -> None:
    model = save(tmp_path, domains=("things",), **VECTOR)
    for i in range(2):
        draw(tmp_path / "views" / f"{i}.png", seed=i)
    out = tmp_path / "out.png"
    code, printed, err = call("swap", model, tmp_path / "views", tmp_path / "views", out, "--json")
    assert code == 0, err
    assert json.loads(printed)["contents"] == 2
    assert opened(out).width > 64
    (tmp_path / "one").mkdir()
    plain = save(tmp_path / "one", domains=("A",), content_channels=0)
    code, _, err = call("swap", plain, tmp_path / "views", tmp_path / "views", out)
    assert code == 2
    assert "A alone" in err
