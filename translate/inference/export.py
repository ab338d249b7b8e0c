"""A model's translation as one graph that other programs run, without introshift: TorchScript or
ONNX.

Legend: B batch, C channels, S the training size, Ds style dimensions.
"""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from translate import __version__
from translate.inference.translator import Translator
from translate.io.files import atomic
from translate.models.layers import with_linear_layers
from translate.models.networks import Model

Kind = Literal["onnx", "torchscript"]
SUFFIXES: dict[Kind, str] = {"onnx": ".onnx", "torchscript": ".pt"}
FACTS = "introshift.json"  # the extra file of a TorchScript archive that says what the graph is


class Translation(nn.Module):
    """From one domain to another, at the training size."""

    def __init__(self, model: Model, source: int, to: int) -> None:
        super().__init__()
        self.model = model
        self.source = source
        self.target = to

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        """image (B, C, S, S) in [-1, 1], style (B, Ds), zeros for the prior's mean -> translation,
        like image.
        """
        # as long as the batch, in a graph too
        y = torch.full_like(image[:, 0, 0, 0], self.source, dtype=torch.int64)
        q_c = self.model.encoder.content(image, y)
        translation: Tensor = self.model.decoder(q_c.mu, style, torch.full_like(y, self.target), y)
        return translation


def export(
    translator: Translator, to: str, source: str | None, path: Path, kind: Kind
) -> dict[str, object]:
    """Writes the graph, for batches of any size; returns what is written into it of what it is.

    Raises ValueError for domains that cannot be meant, and where packages for ONNX are missing.
    """
    a, b = translator.domains(to, source)
    config = translator.config
    # Plain linear layers are one Gemm in a graph; batch-invariant ones would be many products and
    # sums.
    model = with_linear_layers(translator.model, nn.Linear)
    facts: dict[str, object] = {
        "introshift": __version__,
        "sha256": translator.sha256,
        "from": config.data.names[a],
        "to": to,
        "size": config.data.size,
        "channels": config.data.channels,
        "style_dim": model.style_dim,
        "range": [-1, 1],
    }
    side = config.data.size
    example = (
        torch.zeros(2, config.data.channels, side, side, device=translator.device),
        torch.zeros(2, model.style_dim, device=translator.device),
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own, of their versions
        graph = (_onnx if kind == "onnx" else _torchscript)(
            Translation(model, a, b).eval(), example, facts
        )
    with atomic(path, durable=True) as temporary:
        temporary.write_bytes(graph)
    return facts


def _torchscript(
    translation: nn.Module, example: tuple[Tensor, Tensor], facts: dict[str, object]
) -> bytes:
    buffer = io.BytesIO()
    traced = torch.jit.trace(translation, example)  # type: ignore[no-untyped-call]
    torch.jit.save(traced, buffer, _extra_files={FACTS: json.dumps(facts)})
    return buffer.getvalue()


def _onnx(
    translation: nn.Module, example: tuple[Tensor, Tensor], facts: dict[str, object]
) -> bytes:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--format onnx needs {error.name}: pip install 'introshift[onnx]', or take --format torchscript"
        ) from None
    batch = {0: torch.export.Dim("batch")}
    program = torch.onnx.export(
        translation,
        example,
        input_names=["image", "style"],
        output_names=["translation"],
        dynamic_shapes=(batch, batch),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update({name: json.dumps(value) for name, value in facts.items()})
    return bytes(program.model_proto.SerializeToString())
