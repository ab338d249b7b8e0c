"""What version 0.1.0 wrote, before its code was moved into rooms, is still read and still gives
the same pictures.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests._helpers.trainings import bars
from translate.config import load_config
from translate.inference.folder_options import FolderOptions
from translate.inference.sampling import sample
from translate.inference.translator import Translator
from translate.io.images import read_image
from translate.models.checkpoint import load_tensors, rename_old_tensors
from translate.training.trainer import Trainer

GOLDEN = Path(__file__).parent / "golden"
# share of values that may be off by one level of 255: sums are rounded in another order there
OTHER_PROCESSOR = 1e-3


def assert_same(found: np.ndarray, golden: Path) -> None:
    expected = read_image(golden).pixels
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1, golden
    assert (difference > 0).mean() <= OTHER_PROCESSOR, golden


@pytest.mark.parametrize("style", ["mean", "random"])
def test_two_domains_translate_as_before(style: str, tmp_path: Path) -> None:
    translator = Translator.load(GOLDEN / "two_domains.safetensors", "cpu")
    translator.translate_folder(
        GOLDEN / "inputs", tmp_path, "B", FolderOptions(style=style, seed=5)
    )
    for i in range(3):
        assert_same(
            read_image(tmp_path / f"{i}.png").pixels, GOLDEN / "two_domains" / style / f"{i}.png"
        )


def test_one_domain_samples_and_reconstructs_as_before(tmp_path: Path) -> None:
    translator = Translator.load(GOLDEN / "one_domain.safetensors", "cpu")
    translator.translate_folder(GOLDEN / "inputs", tmp_path, "A", FolderOptions(style="own"))
    for i, pixels in enumerate(sample(translator.predictor, "A", 3, seed=5)):
        assert_same(pixels, GOLDEN / "one_domain" / "samples" / f"{i}.png")
        assert_same(
            read_image(tmp_path / f"{i}.png").pixels,
            GOLDEN / "one_domain" / "reconstructions" / f"{i}.png",
        )


def test_a_training_state_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "run", tmp_path / "run")
    config = load_config(tmp_path / "run" / "config.yaml")
    Trainer(config, bars(config), tmp_path / "run", "cpu").run(resume=True)
    found = load_tensors(tmp_path / "run" / "last.safetensors")[0]
    expected = rename_old_tensors(load_tensors(GOLDEN / "last.safetensors")[0])
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
