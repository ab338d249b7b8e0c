"""A Translator goes to other processes by its path and options; the weights are read there."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests._helpers.folders import build, noise
from tests._helpers.small_model import save
from translate.inference import predictor as predictors
from translate.inference.predictor import Predictor
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.io.images import UInt8
from translate.models.checkpoint import load_model


def pictures() -> list[UInt8]:
    return list(noise(2, 20).numpy())


def translated(translator: Translator) -> tuple[list[UInt8], int]:
    """What a worker makes of the pictures, and which object its predictor is."""
    return translator.translate(pictures(), "B", style="random"), id(translator.predictor)


def test_a_translator_works_in_a_process_that_was_started_afresh(translator: Translator) -> None:
    expected, _ = translated(translator)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(translated, [translator, translator]))
    for images, _ in results:
        for image, other in zip(images, expected, strict=True):
            np.testing.assert_array_equal(image, other)
    assert results[0][1] == results[1][1], "the weights are loaded once"


def test_path_and_options_are_pickled_and_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    translator = build(tmp_path, scale="native", tile=64, background=(1, 2, 3))
    relative = save(tmp_path / "other", seed=4)
    monkeypatch.chdir(tmp_path)
    in_this_folder = Translator.load(relative.relative_to(tmp_path), "cpu")
    data = pickle.dumps([translator, in_this_folder])
    assert len(data) < 2000
    assert (tmp_path / "model.safetensors").stat().st_size > 10 * len(data)

    monkeypatch.chdir("/")
    again, other = pickle.loads(data)
    assert again.predictor is not translator.predictor
    assert again.predictor.cache_key == translator.predictor.cache_key
    assert (again.predictor.scale, again.predictor.tile) == ("native", 64)
    assert again.predictor.device.type == "cpu"
    assert other.predictor.sha256 == in_this_folder.predictor.sha256


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    translator = build(tmp_path)
    data = pickle.dumps(translator)
    save(tmp_path, seed=8)
    with pytest.raises(ValueError, match="model.safetensors: has changed since") as refused:
        pickle.loads(data)
    assert "\n" not in str(refused.value)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="model.safetensors: no such file"):
        pickle.loads(data)


def test_a_model_in_memory_alone_is_refused(tmp_path: Path) -> None:
    predictor = Predictor(load_model(save(tmp_path)), "cpu", PredictorOptions())
    with pytest.raises(ValueError, match="in memory alone cannot be pickled"):
        pickle.dumps(Translator(predictor))


def test_few_models_are_remembered(tmp_path: Path) -> None:
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        pickle.loads(pickle.dumps(build(tmp_path / str(seed), seed=seed)))
    assert predictors.load_again.cache_info().currsize == 2
