"""The model on its device: values that are not finite, backgrounds, options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests._helpers.folders import build, draw, files, manifest
from tests._helpers.small_model import save
from translate.inference import predictor as predicting
from translate.inference.domains import Direction
from translate.inference.folder_options import FolderOptions
from translate.inference.predictor import Predictor, Translations
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.models.checkpoint import load_model, save_model


def overflowing(where: Path) -> Path:
    """A model whose content lies between the largest numbers of bf16 and of float32."""
    build(where)
    file = load_model(where / "model.safetensors")
    with torch.no_grad():
        file.model.encoder.content_head.bias[0] = 3.4e38
        file.model.decoder.trunk.first.weight *= 1e-37
    save_model(where / "model.safetensors", file.model, file.config, {})
    return where / "model.safetensors"


@pytest.mark.parametrize("scale", ["model", "native"])
def test_outputs_that_overflow_in_bf16_are_made_in_float32_with_a_warning(
    tmp_path: Path, scale: str
) -> None:
    path = overflowing(tmp_path)
    draw(tmp_path / "in" / "a.png", 20, 20)
    warnings = {}
    for precision in ("fp32", "bf16"):
        translator = Translator.load(path, "cpu", PredictorOptions(precision, scale=scale, tile=16))
        out = tmp_path / precision
        done = translator.translate_folder(tmp_path / "in", out, "B", FolderOptions(samples=2))
        assert done.ok == 1
        warnings[precision] = manifest(out)["a.png"]["warnings"]
    assert warnings["fp32"] == []
    (warning,) = warnings["bf16"]
    assert "bf16" in warning
    assert files(tmp_path / "fp32") == files(tmp_path / "bf16")


def test_only_the_image_that_overflows_is_translated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    translator = Translator.load(tmp_path / "model.safetensors", "cpu", PredictorOptions("bf16"))
    forward = Predictor.forward
    dtypes = []

    def burst(
        self: Predictor,
        x: torch.Tensor,
        direction: Direction,
        z_s: torch.Tensor,
        dtype: Any,
        *more: Any,
    ) -> Translations:
        dtypes.append((dtype, len(x)))
        y = forward(self, x, direction, z_s, dtype, *more)
        black = (x.mean((1, 2, 3)) == -1) & (dtype == torch.bfloat16)
        images = y.images.masked_fill(black[None, :, None, None, None], float("inf"))
        return y._replace(images=images)

    for i in range(3):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    Image.new("RGB", (16, 16)).save(tmp_path / "in" / "black.png")
    options = FolderOptions(batch_size=8)
    translator.translate_folder(tmp_path / "in", tmp_path / "before", "B", options)
    monkeypatch.setattr(Predictor, "forward", burst)
    assert translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options).ok == 4
    assert dtypes == [(torch.bfloat16, 8), (torch.float32, 1)]
    warned = {name for name, line in manifest(tmp_path / "out").items() if line["warnings"]}
    assert warned == {"black.png"}
    before = files(tmp_path / "before")
    after = files(tmp_path / "out")
    assert {name for name in after if after[name] == before[name]} >= {"0.png", "1.png", "2.png"}


def test_outputs_that_are_never_finite_fail_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    translator = Translator.load(tmp_path / "model.safetensors", "cpu", PredictorOptions("bf16"))
    forward = Predictor.forward

    def never_finite(*arguments: Any) -> Translations:
        y = forward(*arguments)
        return y._replace(images=y.images * float("nan"))

    monkeypatch.setattr(Predictor, "forward", never_finite)
    draw(tmp_path / "in" / "a.png")
    done = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    ((name, reason),) = done.failures
    assert name == "a.png"
    assert "not finite" in reason
    assert not files(tmp_path / "out")
    with pytest.raises(ValueError, match="not finite"):
        translator.translate([np.zeros((16, 16, 3), np.uint8)], "B")


def test_the_callers_model_is_not_changed(tmp_path: Path) -> None:
    file = load_model(save(tmp_path))
    before = {
        name: (tensor.clone(), tensor.stride()) for name, tensor in file.model.state_dict().items()
    }
    translator = Translator(Predictor(file, "cpu"))
    assert not any(type(module) is nn.Linear for module in translator.predictor.model.modules())
    linear = [module for module in file.model.modules() if isinstance(module, nn.Linear)]
    assert linear
    assert all(type(module) is nn.Linear for module in linear)
    for name, tensor in file.model.state_dict().items():
        assert torch.equal(tensor, before[name][0])
        assert tensor.stride() == before[name][1]
    of_file, of_copy = (
        {tensor.data_ptr() for tensor in model.state_dict().values() if tensor.ndim < 4}
        for model in (file.model, translator.predictor.model)
    )
    assert of_file == of_copy, "the weights of linear layers are shared"


def test_the_background_lies_behind_transparency(tmp_path: Path) -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    red = np.full((16, 16, 3), (200, 30, 30), np.uint8)
    plain = build(tmp_path)
    translator = build(tmp_path, background=(1, 2, 3))
    chosen = Translator.load(
        tmp_path / "model.safetensors", "cpu", PredictorOptions(background=(200, 30, 30))
    )
    (expected,) = plain.translate([red], "B")
    assert (chosen.translate([clear], "B")[0][..., :3] == expected).all()
    assert (translator.translate([clear], "B")[0][..., :3] != expected).any()
    assert chosen.predictor.cache_key != translator.predictor.cache_key


@pytest.mark.parametrize(("option", "value"), [("scale", "big"), ("tile", 0)])
def test_wrong_options_are_refused(tmp_path: Path, option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"--{option} {value}"):
        build(tmp_path, **{option: value})


def test_a_model_of_large_images_takes_fewer_at_once(tmp_path: Path) -> None:
    assert Predictor.load(save(tmp_path)).batch_size == 16
    assert Predictor.load(save(tmp_path, size=1024)).batch_size == 6
    assert Predictor.load(save(tmp_path, size=2048)).batch_size == 1


def test_an_image_that_takes_more_memory_than_there_is_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "total_memory", lambda device: 400_000)
    draw(tmp_path / "in" / "square.png", 20, 20)
    draw(tmp_path / "in" / "long.png", 200, 20)
    translator = Translator.load(save(tmp_path), "cpu")
    done = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert done.ok == 1
    ((name, reason),) = done.failures
    assert name == "long.png"
    assert "data.size 16" in reason
