"""What a training run writes besides weights: config.yaml, stats.jsonl, scores.jsonl, samples/
and, when asked, tensorboard/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translate.config import Config
from translate.io.files import unfinished, write_text
from translate.io.images import UInt8, write_image
from translate.viz.grids import grid

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

GRID_PIXELS = 96  # a grid's cells are at least about so large
LOGS = ("stats", "scores")


class RunLogger:
    """The files of a run in the folder `path`; `board` writes what TensorBoard reads."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.board: SummaryWriter | None = None

    def clear(self) -> None:
        """Remove logs, samples and training states of an earlier run: a new one would be mixed
        with them.

        Raises:
            ValueError: Where they cannot be removed.
        """
        if not self.path.is_dir():
            return
        stale = [self.path / f"{name}.jsonl" for name in LOGS]
        stale += (self.path / "samples").glob("step_*.png")
        # The newest state by number is the one to go back to, which must not be another run's.
        stale += (self.path / "state").glob("step_*.safetensors")
        try:
            for path in stale:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"{error.filename}: cannot be removed ({error.strerror}); choose another --out"
            ) from None

    def open(self, config: Config, step: int = 0) -> None:
        """Makes the folder and clears it of what a killed run was writing; `step`: those that are
        done.

        Raises ValueError where the folder cannot be written and where TensorBoard is asked for
        and not there.
        """
        try:
            for path in unfinished(self.path):
                path.unlink()
            (self.path / "samples").mkdir(parents=True, exist_ok=True)
            write_text(self.path / "config.yaml", config.to_yaml())
        except OSError as error:
            raise ValueError(
                f"{self.path}: cannot be written ({error.strerror}); choose another --out"
            ) from None
        if config.train.tensorboard:
            self._open_board(step)

    def _open_board(self, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "train.tensorboard: TensorBoard is not installed; pip install 'introshift[tensorboard]'"
            ) from None
        self.close()
        # Of what a killed run logged after `step`, TensorBoard shows nothing then.
        self.board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)

    def close(self) -> None:
        """Nothing is lost without it: every line is on the disk at once."""
        if self.board is not None:
            self.board.close()
            self.board = None

    def log(self, name: str, line: dict[str, Any]) -> None:
        """Appends a line, which has a `step`, to NAME.jsonl."""
        with open(self.path / f"{name}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.board is not None:
            for key, value in line.items():
                if key != "step" and isinstance(value, int | float):
                    self.board.add_scalar(f"{name}/{key}", value, line["step"])
            self.board.flush()

    def truncate_after(self, step: int) -> None:
        """Drops what was logged after `step`, and lines that were cut off: a resumed run writes
        them again.

        Bytes that are no text are replaced: a log is no reason to refuse to go on.
        """
        for path in (self.path / f"{name}.jsonl" for name in LOGS):
            if path.exists():
                lines = path.read_bytes().decode(errors="replace").splitlines(keepends=True)
                write_text(path, "".join(line for line in lines if _step(line) <= step))
        if self.board is not None:
            self._open_board(step)

    def log_grid(
        self, step: int, columns: Sequence[Sequence[UInt8]], labels: Sequence[str]
    ) -> None:
        """Writes samples/step_N.png, a labelled grid of images (H, W, C) of one size."""
        scale = max(1, GRID_PIXELS // columns[0][0].shape[0])
        rows = [list(row) for row in zip(*columns, strict=True)]
        drawn = grid(rows, labels, scale=scale)
        write_image(self.path / "samples" / f"step_{step:07d}.png", drawn)
        if self.board is not None:
            self.board.add_image("samples", drawn, step, dataformats="HWC")
            self.board.flush()


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
