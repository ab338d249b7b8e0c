"""Reconstruction: an image's own content in its own style, in memory, from folders and at the
command line.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests._helpers.commands import call
from tests._helpers.folders import build, draw, files, manifest, opened
from tests._helpers.small_model import SIDE, save
from translate.inference.folder_options import FolderOptions
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.io.tensors import images_from_pixels, pixels_from_images


def test_own_style_is_a_reconstruction(translator: Translator) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))
    with torch.inference_mode():
        x = images_from_pixels(np.stack(images))
        expected = pixels_from_images(translator.predictor.model.reconstruct(x, 1))
    made = np.stack(translator.translate(images, to="B", style="own"))
    assert np.abs(made.astype(int) - expected).max() <= 1
    own = [translator.translate([image], to="B", source="A", style=image)[0] for image in images]
    assert not np.array_equal(made, own), "content is encoded as B's"
    twice = translator.translate(images, to="B", source="B", style="own", samples=2)
    assert np.array_equal(np.stack(twice[::2]), made)
    assert np.array_equal(np.stack(twice[1::2]), made)
    x = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    assert torch.allclose(
        translator.translate(x, "A", style="own"),
        translator.predictor.model.reconstruct(x, 0),
        atol=1e-5,
    )


def test_own_style_needs_the_source_to_be_the_target(translator: Translator) -> None:
    x = torch.zeros(1, 3, SIDE, SIDE)
    with pytest.raises(ValueError, match=r"own.*--from must be B"):
        translator.translate(x, to="B", source="A", style="own")
    with pytest.raises(ValueError, match=r"domain C: .*A and B"):
        translator.translate(x, to="C", style="own")


def test_a_large_image_in_strips_has_the_style_of_the_whole(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (173, 117, 3), dtype=np.uint8)
    image[:90] //= 4
    build(tmp_path)
    whole, strips = (
        Translator.load(
            tmp_path / "model.safetensors", "cpu", PredictorOptions(scale="native", tile=tile)
        )
        for tile in (4096, 24)
    )
    made, parts = (
        translator.translate([image], "B", style="own")[0].astype(int)
        for translator in (whole, strips)
    )
    assert np.abs(made - parts).max() <= 1
    assert np.abs(made - whole.translate([image], "B", "A")[0]).max() > 5


def test_skip_existing_compares_the_domain_that_is_reconstructed(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = translator.translate_folder(inputs, out, "A", FolderOptions(style="own"))
    assert (done.ok, done.failed) == (14, 2)
    before = files(out)

    own = FolderOptions(style="own", skip_existing=True)
    assert translator.translate_folder(inputs, out, "A", own).skipped == 15
    assert files(out) == before
    assert translator.translate_folder(inputs, out, "B", own).ok == 14
    translation = FolderOptions(source="B", skip_existing=True)
    assert translator.translate_folder(inputs, out, "A", translation).ok == 14


def test_the_reconstruct_command(tmp_path: Path) -> None:
    build(tmp_path)
    for i in range(5):
        draw(tmp_path / "in" / "deep" / f"{i}.png", 30, 20, seed=i)
    arguments = ["reconstruct", tmp_path / "model.safetensors", tmp_path / "in", tmp_path / "out"]
    grid = tmp_path / "grid.png"
    exit_code, stdout, stderr = call(*arguments, "--domain", "A", "--grid", grid, "--json")
    assert exit_code == 0, stderr
    summary = json.loads(stdout)
    assert (summary["ok"], summary["failed"], summary["grid"]) == (5, 0, str(grid))
    assert opened(grid).size == (5 * 66 + 2, 2 * 66 + 2)
    assert manifest(tmp_path / "out")["deep/3.png"]["width"] == 30

    (tmp_path / "in" / "cut.png").write_bytes(b"nothing")
    exit_code, stdout, stderr = call(*arguments, "--domain", "a", "--overwrite")
    assert exit_code == 1
    assert "cut.png" in stderr
    assert "5 reconstructed" in stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--domain", "A", "--grid", "g.txt"], ".txt"), (["--domain", "C"], "domain C:")],
)
def test_the_reconstruct_command_refuses_wrong_options(
    tmp_path: Path, options: list[str], named: str
) -> None:
    model = save(tmp_path)
    draw(tmp_path / "in" / "a.png")
    exit_code, _, stderr = call("reconstruct", model, tmp_path / "in", tmp_path / "out", *options)
    assert exit_code == 2
    assert named in stderr
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
