"""Exported graphs are the model's translation, for any batch, and hold facts about themselves."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.small_model import SIDE, save
from translate.inference.export import export
from translate.inference.predictor import Predictor
from translate.models.checkpoint import load_model

# What another program does: plain torch, and introshift's packages cannot be imported.
PLAIN_TORCH = """
import sys
sys.modules.update(translate=None, pipelines=None)
import torch
from safetensors.torch import load_file, save_file

graph, inputs, outputs, facts = sys.argv[1:]
extra = {"introshift.json": ""}
program = torch.export.load(graph, extra_files=extra).module()
tensors = load_file(inputs)
made = {}
for batch in ("1", "5"):
    translation = program(tensors["image" + batch], tensors["style" + batch])
    made[batch] = translation.contiguous()
save_file(made, outputs)
open(facts, "w").write(extra["introshift.json"])
"""


def call(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["export", *map(str, words), "--json"])
    assert done.exit_code == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(batch)
    image = torch.rand(batch, 3, SIDE, SIDE, generator=draw) * 2 - 1
    return image, torch.randn(batch, 4, generator=draw)


def test_pt2_translates_as_the_model_where_introshift_is_not_installed(tmp_path: Path) -> None:
    path = save(tmp_path, domains=("A", "B", "C"))
    printed = call(path, "--format", "pt2", "--from", "C", "--to", "A")
    assert printed["out"] == str(tmp_path / "model_C_to_A.pt2")

    tensors: dict[str, Tensor] = {}
    for batch in (1, 5):
        tensors[f"image{batch}"], tensors[f"style{batch}"] = inputs(batch)
    save_file(tensors, tmp_path / "inputs")
    files = [printed["out"], *(tmp_path / name for name in ("inputs", "outputs", "facts"))]
    command = [sys.executable, "-I", "-W", "error", "-c", PLAIN_TORCH, *map(str, files)]
    subprocess.run(command, check=True, cwd=tmp_path)

    facts = json.loads((tmp_path / "facts").read_text())
    assert facts.items() <= printed.items()
    assert (facts["from"], facts["to"], facts["size"]) == ("C", "A", SIDE)
    model = load_model(path).model
    made = load_file(tmp_path / "outputs")
    for batch in (1, 5):
        image, style = inputs(batch)
        with torch.no_grad():
            expected = model.translate(image, 2, 0, style)
        torch.testing.assert_close(made[str(batch)], expected, rtol=0, atol=1e-5)


def test_onnx_translates_as_the_model(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    path = save(tmp_path)
    out = tmp_path / "graphs" / "b.onnx"
    printed = call(path, "--format", "onnx", "-o", out)
    assert [path.name for path in out.parent.iterdir()] == ["b.onnx"]
    assert printed["to"] == "B"
    assert b"networks.py" not in out.read_bytes()

    graph = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert json.loads(graph.get_modelmeta().custom_metadata_map["size"]) == SIDE
    assert {put.shape[0] for put in (*graph.get_inputs(), *graph.get_outputs())} == {"batch"}
    model = load_model(path).model
    for batch in (1, 3):
        image, style = inputs(batch)
        (made,) = graph.run(None, {"image": image.numpy(), "style": style.numpy()})
        with torch.no_grad():
            expected = model.translate(image, 0, 1, style).numpy()
        assert np.abs(made - expected).max() < 1e-4


def test_an_onnx_graph_holds_linear_layers_as_gemm(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    path = save(tmp_path)
    printed = call(path, "--format", "onnx")
    graph = onnx.load(printed["out"]).graph
    model = load_model(path).model
    # The style encoder is no part of a translation.
    parts = (model.encoder.content_trunk, model.encoder.content_norm, model.decoder)
    modules = [module for part in parts for module in part.modules()]
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    operators = [node.op_type for node in graph.node]
    assert operators.count("Gemm") == len(linear) > 0


def test_pt2_holds_no_paths_of_the_machine_that_wrote_it(tmp_path: Path) -> None:
    printed = call(save(tmp_path), "--format", "pt2")
    with zipfile.ZipFile(printed["out"]) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert not any(b"networks.py" in content for content in contents)


def test_exporting_leaves_the_predictor_batch_invariant(tmp_path: Path) -> None:
    predictor = Predictor.load(save(tmp_path), "cpu")
    export(predictor, "B", None, tmp_path / "b.pt2", "pt2")
    assert not any(type(module) is nn.Linear for module in predictor.model.modules())


def test_what_cannot_be_exported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tmp_path / "one"
    one.mkdir()
    pair = save(tmp_path)
    alone = save(one, domains=("A",), content_channels=0)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    for words, name in (
        ([pair, "--format", "onnx"], "pip install 'introshift[onnx]'"),
        ([pair, "--format", "torchscript"], "--format pt2"),
        ([pair, "--format", "tflite"], "onnx, pt2"),
        ([pair, "--format", "pt2", "--to", "C"], "C: no domain"),
        ([alone, "--format", "pt2"], "nothing to translate"),
        ([pair], "--format"),
    ):
        done = CliRunner().invoke(app, ["export", *map(str, words)])
        assert done.exit_code == 2
        assert name in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "one"]


def test_torchscript_is_refused_in_one_line(tmp_path: Path) -> None:
    predictor = Predictor.load(save(tmp_path), "cpu")
    with pytest.raises(ValueError, match=r"\A[^\n]*pt2[^\n]*\Z"):
        export(predictor, "B", None, tmp_path / "b.pt", "torchscript")
    assert not (tmp_path / "b.pt").exists()
