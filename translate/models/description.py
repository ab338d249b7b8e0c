"""What a model file says of itself, in words: what it translates, its size and its training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from translate.models.metadata import ModelInfo

# files beside a model that say more about it
BESIDE = {"card": "README.md", "licence": "LICENSE"}


def describe(path: Path, file: ModelInfo) -> Iterator[tuple[str, str]]:
    """Describe a model for people.

    Args:
        path: The model file.
        file: Its header.

    Yields:
        What a line is about, in a word, and the line.
    """
    data = file.config.data
    colours = "colour" if data.channels == 3 else "gray"
    megabytes = path.stat().st_size / 1e6
    yield "model", str(path)
    yield "translates", _directions(data.names)
    yield "pictures", f"trained at {data.size} x {data.size} pixels, {colours}"
    yield (
        "network",
        f"{file.config.model.preset}, {file.parameters:,} parameters, {megabytes:.1f} MB",
    )
    if file.config.model.detail:
        yield "detail", "translations recolour the picture and keep its detail (model.detail)"
    yield "trained", _training(file.summary)
    yield from _kept(file.summary)
    styles = file.summary.get("styles", {})
    varied = [name for name, style in styles.items() if style == "random"]
    if varied:
        yield "styles", f"many looks of {', '.join(varied)}: each picture gets one at random"
    kept = [name for name, style in styles.items() if style == "keep"]
    if kept:
        yield "styles", f"to {', '.join(kept)}: each picture keeps its own style"
    for name, beside in BESIDE.items():
        if (path.parent / beside).is_file():
            yield name, str(path.parent / beside)
    for warning in file.summary.get("warnings", ()):
        yield "advice", warning


def _directions(names: tuple[str, ...]) -> str:
    """Say which domains are translated into which."""
    if len(names) == 1:
        return f"nothing: it knows {names[0]} alone, for sample, score and reconstruct"
    each = "each other" if len(names) == 2 else "one another"
    return f"{', '.join(names[:-1])} and {names[-1]} into {each}"


def _training(summary: dict[str, Any]) -> str:
    """Say how long a model was trained, and on what."""
    parts = [f"{summary.get('step', '?')} steps"]
    if "seconds" in summary:
        minutes = summary["seconds"] / 60
        parts.append(f"in {minutes:.0f} min" if minutes >= 1 else f"in {summary['seconds']:.0f} s")
    counts = [f"{count} of {name}" for name, count in summary.get("images", {}).items()]
    if counts:
        parts.append(f"on pictures: {', '.join(counts)}")
    versions = summary.get("versions", {})
    if "introshift" in versions:
        parts.append(f"(introshift {versions['introshift']})")
    return " ".join(parts)


def _kept(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield which step the weights are of, where the model was selected on held-out pictures."""
    value = summary.get("best_value")
    if value is not None:
        criterion = f"criterion {value:.3f}, lower is better"
        yield (
            "kept",
            f"step {summary.get('best_step')}, the best on held-out pictures ({criterion})",
        )
