"""What a training run writes besides weights: config.yaml, stats.jsonl, scores.jsonl and samples/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from translate.config import Config
from translate.images import PART, UInt8, grid, write_image, write_text

GRID_PIXELS = 96  # a grid's cells are at least about so large
LOGS = ("stats", "scores")


class RunFolder:
    """The files of a run in the folder `path`."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def open(self, config: Config) -> None:
        """Makes the folder and clears it of what a killed run was writing. Raises ValueError where it cannot."""
        try:
            for unfinished in self.path.rglob(f"{PART}*.part"):
                unfinished.unlink()
            (self.path / "samples").mkdir(parents=True, exist_ok=True)
            write_text(self.path / "config.yaml", config.to_yaml())
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from None

    def log(self, name: str, line: dict[str, Any]) -> None:
        """Appends a line, which has a `step`, to NAME.jsonl."""
        with open(self.path / f"{name}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def rewind(self, step: int) -> None:
        """Drops what was logged after `step`, and lines that were cut off: a resumed run writes them again."""
        for path in (self.path / f"{name}.jsonl" for name in LOGS):
            if path.exists():
                lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
                write_text(path, "".join(line for line in lines if _step(line) <= step))

    def sheet(self, step: int, columns: Sequence[Sequence[UInt8]], labels: Sequence[str]) -> None:
        """Writes samples/step_N.png, a labelled grid of images (H, W, C) of one size."""
        scale = max(1, GRID_PIXELS // columns[0][0].shape[0])
        rows = [list(row) for row in zip(*columns, strict=True)]
        write_image(self.path / "samples" / f"step_{step:07d}.png", grid(rows, labels, scale=scale))


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
