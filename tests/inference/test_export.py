"""Exported graphs are the model's translation, for any batch, and say what they are."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.small_model import SIDE, save
from translate.inference.export import export
from translate.inference.translator import Translator


def call(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["export", *map(str, words), "--json"])
    assert done.exit_code == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(batch)
    return torch.rand(batch, 3, SIDE, SIDE, generator=draw) * 2 - 1, torch.randn(
        batch, 4, generator=draw
    )


def test_torchscript_translates_as_the_model(tmp_path: Path) -> None:
    model = save(tmp_path, domains=("A", "B", "C"))
    told = call(model, "--format", "torchscript", "--from", "C", "--to", "A")
    assert told["out"] == str(tmp_path / "model_C_to_A.pt")
    extra = {"introshift.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is on its way out
        graph = torch.jit.load(told["out"], _extra_files=extra)
    facts = json.loads(extra["introshift.json"])
    assert facts.items() <= told.items()
    assert (facts["from"], facts["to"], facts["size"]) == (
        "C",
        "A",
        SIDE,
    )
    plain = Translator.load(model, "cpu").model
    with torch.no_grad():
        for batch in (1, 2, 5):
            image, style = inputs(batch)
            expected = plain.translate(image, 2, 0, style)
            torch.testing.assert_close(graph(image, style), expected, rtol=0, atol=1e-5)


def test_onnx_translates_as_the_model(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    model = save(tmp_path)
    out = tmp_path / "graphs" / "b.onnx"
    told = call(model, "--format", "onnx", "-o", out)
    assert [path.name for path in out.parent.iterdir()] == ["b.onnx"]
    assert told["to"] == "B"
    graph = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert json.loads(graph.get_modelmeta().custom_metadata_map["size"]) == SIDE
    plain = Translator.load(model, "cpu").model
    for batch in (1, 3):
        image, style = inputs(batch)
        (made,) = graph.run(None, {"image": image.numpy(), "style": style.numpy()})
        with torch.no_grad():
            assert np.abs(made - plain.translate(image, 0, 1, style).numpy()).max() < 1e-4


def test_an_onnx_graph_holds_linear_layers_as_gemm(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    told = call(save(tmp_path), "--format", "onnx")
    graph = onnx.load(told["out"]).graph
    model = Translator.load(tmp_path / "model.safetensors", "cpu").model
    # The style encoder is no part of a translation.
    parts = (model.encoder.content_trunk, model.encoder.content_norm, model.decoder)
    modules = [module for part in parts for module in part.modules()]
    linear = [module for module in modules if isinstance(module, torch.nn.Linear)]
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Gemm") == len(linear) > 0


def test_exporting_leaves_the_translator_batch_invariant(tmp_path: Path) -> None:
    translator = Translator.load(save(tmp_path), "cpu")
    export(translator, "B", None, tmp_path / "b.pt", "torchscript")
    assert not any(type(module) is torch.nn.Linear for module in translator.model.modules())


def test_what_cannot_be_exported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = tmp_path / "one"
    one.mkdir()
    pair = save(tmp_path)
    alone = save(one, domains=("A",), content_channels=0)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    for words, message in (
        ([pair, "--format", "onnx"], "pip install 'introshift[onnx]'"),
        ([pair, "--format", "torchscript", "--to", "C"], "C: no domain"),
        ([alone, "--format", "torchscript"], "there is nothing to translate"),
        ([pair], "--format"),
    ):
        done = CliRunner().invoke(app, ["export", *map(str, words)])
        assert done.exit_code == 2 and message in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "one"]
