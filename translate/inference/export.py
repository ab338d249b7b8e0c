"""Write a model's translation as one graph that other programs run without introshift.

Legend: B batch, C channels, S the training size, Ds style dimensions.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from translate import __version__
from translate.inference.predictor import Predictor
from translate.inference.styles import resolve_direction
from translate.io.files import atomic
from translate.models.checkpoint import default_style
from translate.models.layers import PLAIN, with_layers
from translate.models.networks import Model
from translate.runtime.process_state import warnings_ignored

Format = Literal["onnx", "pt2"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "pt2": ".pt2"}
FACTS = "introshift.json"  # the extra file of a .pt2 archive that describes the graph

# Any batch of one or more images; "batch" is also the name of the axis in ONNX.
BATCH_AXIS = {0: torch.export.Dim("batch", min=1)}


class Translation(nn.Module):
    """The translation from one domain to another, at the training size."""

    def __init__(self, model: Model, source: int, target: int) -> None:
        super().__init__()
        self.model = model
        self.source = source
        self.target = target

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        """Translate images by the mean of their content's posterior.

        Args:
            image: Images of the source domain (B, C, S, S) in [-1, 1].
            style: Styles (B, Ds), drawn from N(0, I), or zeros for the mean of the prior; nan
                stands for the images' own, of models that keep detail.

        Returns:
            The translations, like `image`.
        """
        if self.model.detail:  # its reconstructions need their styles anyway
            own = self.model.encode_style(image, self.source).mu
            style = torch.where(style.isnan(), own, style)
        return self.model.translate(image, self.source, self.target, style)


def parse_format(name: str) -> Format:
    """Return the export format of a name; raise ValueError in one line for any other name."""
    for known in get_args(Format):
        if name == known:
            return known  # type: ignore[no-any-return]  # mypy: get_args returns Any

    if name == "torchscript":
        raise ValueError("--format torchscript: deprecated in PyTorch; use --format pt2")
    raise ValueError(f"--format {name}: unknown; use one of {', '.join(get_args(Format))}")


def export(
    predictor: Predictor, to: str, source: str | None, path: Path, format: str
) -> dict[str, object]:
    """Write the translation between two domains as a graph for batches of any size.

    Args:
        predictor: The model to export; it is left as it is.
        to: The domain to translate to.
        source: The domain of the images; None where the model leaves no choice.
        path: The file to write, whole or not at all.
        format: "onnx", or "pt2" for an archive of `torch.export`.

    Returns:
        The facts that the file holds about the graph: domains, sizes and the model's SHA-256.

    Raises:
        ValueError: If the format is unknown, the domains do not fit the model, or packages that
            ONNX needs are missing.
    """
    chosen = parse_format(format)
    source_index, target_index = resolve_direction(predictor.config.data.names, to, source)
    if chosen == "onnx":
        _check_onnx_packages()

    config = predictor.config
    # Plain linear layers are one Gemm in a graph; batch-invariant ones would be many products and
    # sums.
    model = with_layers(predictor.model, PLAIN)
    side = config.data.size
    facts: dict[str, object] = {
        "introshift": __version__,
        "sha256": predictor.sha256,
        "from": config.data.names[source_index],
        "to": to,
        "size": side,
        "channels": config.data.channels,
        "style_dim": model.style_dim,
        "style": default_style(predictor.summary, config.data.names[target_index]),
        "range": [-1, 1],
    }
    # Two images: an axis of one would be taken for a constant.
    example = (
        torch.zeros(2, config.data.channels, side, side, device=predictor.device),
        torch.zeros(2, model.style_dim, device=predictor.device),
    )

    # The exporters warn of their own versions and parts, which no user can change.
    with torch.no_grad(), warnings_ignored():
        program = _program(Translation(model, source_index, target_index).eval(), example)
        data = _onnx(program, facts) if chosen == "onnx" else _pt2(program, facts)

    with atomic(path, durable=True) as temporary:
        temporary.write_bytes(data)
    return facts


def _program(translation: Translation, example: tuple[Tensor, Tensor]) -> ExportedProgram:
    """Capture the graph, without the paths of this machine's source files."""
    program = torch.export.export(
        translation, example, dynamic_shapes=(BATCH_AXIS, BATCH_AXIS), strict=False
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _pt2(program: ExportedProgram, facts: dict[str, object]) -> bytes:
    """Return the bytes of a .pt2 archive, with the facts as an extra file."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={FACTS: json.dumps(facts)})
    return buffer.getvalue()


def _check_onnx_packages() -> None:
    """Raise ValueError unless the packages are installed that torch needs to write ONNX."""
    try:
        import onnx  # noqa: F401 (is it there?)
        import onnxscript  # noqa: F401 (is it there?)
    except ImportError as error:
        raise ValueError(
            f"--format onnx needs {error.name}: pip install 'introshift[onnx]', or use --format pt2"
        ) from None


def _onnx(program: ExportedProgram, facts: dict[str, object]) -> bytes:
    """Return the bytes of an ONNX file, with the facts as its metadata."""
    exported = torch.onnx.export(
        program,
        (),
        input_names=["image", "style"],
        output_names=["translation"],
        dynamic_shapes=(BATCH_AXIS, BATCH_AXIS),
        dynamo=True,
        verbose=False,
    )
    assert exported is not None

    exported.model.metadata_props.update({name: json.dumps(fact) for name, fact in facts.items()})
    return bytes(exported.model_proto.SerializeToString())
