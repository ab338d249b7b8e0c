"""Exported graphs translate as the model does, for any batch, and hold their metadata."""

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

from tests._helpers.commands import call
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


def export_command(*arguments: object) -> dict[str, Any]:
    """Run the command; return what it prints as JSON."""
    exit_code, stdout, stderr = call("export", *arguments, "--json")
    assert exit_code == 0, stderr
    metadata: dict[str, Any] = json.loads(stdout)
    return metadata


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(batch)
    image = torch.rand(batch, 3, SIDE, SIDE, generator=draw) * 2 - 1
    return image, torch.randn(batch, 4, generator=draw)


@pytest.fixture(scope="module")
def pt2(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A graph that translates from C to A: what the command prints of it."""
    model = save(tmp_path_factory.mktemp("pt2"), domains=("A", "B", "C"))
    return export_command(model, "--format", "pt2", "--from", "C", "--to", "A")


@pytest.fixture(scope="module")
def onnx_graph(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A graph that translates to B, in a folder of its own: what the command prints of it."""
    pytest.importorskip("onnxscript", reason="needs onnxscript")
    model = save(tmp_path_factory.mktemp("onnx"))
    return export_command(model, "--format", "onnx", "-o", model.parent / "graphs" / "b.onnx")


def test_pt2_translates_as_the_model_where_introshift_is_not_installed(
    pt2: dict[str, Any], tmp_path: Path
) -> None:
    graph = Path(pt2["out"])
    path = graph.parent / "model.safetensors"
    assert graph.name == "model_C_to_A.pt2"

    tensors: dict[str, Tensor] = {}
    for batch in (1, 5):
        tensors[f"image{batch}"], tensors[f"style{batch}"] = inputs(batch)
    save_file(tensors, tmp_path / "inputs")
    files = [graph, *(tmp_path / name for name in ("inputs", "outputs", "facts"))]
    command = [sys.executable, "-I", "-W", "error", "-c", PLAIN_TORCH, *map(str, files)]
    subprocess.run(command, check=True, cwd=tmp_path)

    facts = json.loads((tmp_path / "facts").read_text())
    assert facts.items() <= pt2.items()
    assert (facts["from"], facts["to"], facts["size"]) == ("C", "A", SIDE)
    model = load_model(path).model
    made = load_file(tmp_path / "outputs")
    for batch in (1, 5):
        image, style = inputs(batch)
        with torch.no_grad():
            expected = model.translate(image, 2, 0, style)
        torch.testing.assert_close(made[str(batch)], expected, rtol=0, atol=1e-5)


def test_onnx_translates_as_the_model(onnx_graph: dict[str, Any]) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    out = Path(onnx_graph["out"])
    assert [path.name for path in out.parent.iterdir()] == ["b.onnx"]
    assert onnx_graph["to"] == "B"
    assert b"networks.py" not in out.read_bytes()

    graph = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert json.loads(graph.get_modelmeta().custom_metadata_map["size"]) == SIDE
    assert {put.shape[0] for put in (*graph.get_inputs(), *graph.get_outputs())} == {"batch"}
    model = load_model(out.parents[1] / "model.safetensors").model
    for batch in (1, 3):
        image, style = inputs(batch)
        (made,) = graph.run(None, {"image": image.numpy(), "style": style.numpy()})
        with torch.no_grad():
            expected = model.translate(image, 0, 1, style).numpy()
        assert np.abs(made - expected).max() < 1e-4


def test_an_onnx_graph_holds_linear_layers_as_gemm(onnx_graph: dict[str, Any]) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    out = Path(onnx_graph["out"])
    graph = onnx.load(out).graph
    model = load_model(out.parents[1] / "model.safetensors").model
    # The style encoder is no part of a translation.
    parts = (model.encoder.content_trunk, model.encoder.content_norm, model.decoder)
    modules = [module for part in parts for module in part.modules()]
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    operators = [node.op_type for node in graph.node]
    assert operators.count("Gemm") == len(linear) > 0


def test_pt2_holds_no_paths_of_the_machine_that_wrote_it(pt2: dict[str, Any]) -> None:
    with zipfile.ZipFile(pt2["out"]) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert not any(b"networks.py" in content for content in contents)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--format", "onnx"], "introshift[onnx]"),
        (["--format", "torchscript"], "--format pt2"),
        (["--format", "tflite"], "onnx, pt2"),
        (["--format", "pt2", "--to", "C"], "C: "),
        ([], "--format"),
    ],
)
def test_wrong_options_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], named: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    exit_code, _, stderr = call("export", save(tmp_path), *options)
    assert exit_code == 2
    assert named in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_model_of_one_domain_is_refused(tmp_path: Path) -> None:
    model = save(tmp_path, domains=("A",), content_channels=0)
    exit_code, _, stderr = call("export", model, "--format", "pt2")
    assert exit_code == 2
    assert "A alone" in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_torchscript_is_refused_in_one_line(tmp_path: Path) -> None:
    predictor = Predictor.load(save(tmp_path), "cpu")
    with pytest.raises(ValueError, match=r"\A[^\n]*pt2[^\n]*\Z"):
        export(predictor, "B", None, tmp_path / "b.pt", "torchscript")
    assert not (tmp_path / "b.pt").exists()


@pytest.mark.parametrize("kind", ["pt2", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_model_that_keeps_detail_is_exported_with_it(tmp_path: Path, kind: str) -> None:
    # Small, with what such models have: init gives them no warp. The other graphs have the rest.
    sizes = {"levels": 0, "bottleneck": 0, "warp": 0.0, "align": False}
    predictor = Predictor.load(save(tmp_path, detail=True, **sizes), "cpu")
    path = tmp_path / f"graph.{kind}"
    export(predictor, "B", None, path, kind)
    is_plain = [type(module) is nn.Linear for module in predictor.model.modules()]
    assert not any(is_plain), "it left the predictor batch-invariant"
    image = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    style = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    style[1] = torch.nan
    with torch.inference_mode():
        kept = predictor.model.encode_style(image, 0).mu
        expected = predictor.model.translate(image, 0, 1, style.where(~style.isnan(), kept))
    if kind == "pt2":
        found = torch.export.load(path).module()(image, style)
    else:
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(path)
        (array,) = session.run(None, {"image": image.numpy(), "style": style.numpy()})
        found = torch.from_numpy(array)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
