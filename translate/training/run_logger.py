"""What a training run writes besides weights.

config.yaml, stats.jsonl, scores.jsonl, samples/ and what train.trackers asks for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from translate.config import Config
from translate.io.files import readable_json, unfinished, write_lines, write_text
from translate.io.images import UInt8, write_image
from translate.training.trackers import Trackers
from translate.viz.grids import grid
from translate.viz.history import GRIDS

GRID_PIXELS = 96  # a grid's cells are at least about so large
LOGS = ("stats", "scores")


class RunLogger:
    """The files of a run in the folder `path`, and its trackers."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.trackers = Trackers(self.path)
        self._config = Config()
        # log -> the step of its last line; GRIDS -> that of the last preview
        self._last_steps: dict[str, float] = {}

    def clear(self) -> None:
        """Remove logs, previews and training states of an earlier run.

        A new run's would be mixed with them.

        Raises:
            ValueError: Where they cannot be removed.
        """
        if not self.path.is_dir():
            return
        stale = [self._log_path(name) for name in LOGS]
        stale += (self.path / GRIDS).glob("step_*.png")
        # The newest state by number is the one to go back to, which must not be another run's.
        stale += (self.path / "state").glob("step_*.safetensors")
        try:
            for path in stale:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"{error.filename}: cannot be removed ({error.strerror}); choose another --out"
            ) from None
        self._last_steps.clear()

    def open(self, config: Config, step: int = 0) -> None:
        """Make the folder, and remove files that a killed run left half written.

        Args:
            config: Written to config.yaml.
            step: The number of steps that are done.

        Raises:
            ValueError: Where the folder cannot be written, and where a tracker is not installed or
                cannot be started.
        """
        try:
            for path in unfinished(self.path):
                path.unlink()
            (self.path / GRIDS).mkdir(parents=True, exist_ok=True)
            write_text(self.path / "config.yaml", config.written_to(self.path).to_yaml())
        except OSError as error:
            raise ValueError(
                f"{self.path}: cannot be written ({error.strerror}); choose another --out"
            ) from None
        self._config = config
        self.trackers.open(config, step)

    def close(self) -> None:
        """Finish what trackers have under way; every line of the logs is on the disk already."""
        self.trackers.close()

    def log(self, name: str, line: dict[str, Any]) -> None:
        """Append a line to NAME.jsonl, unless the last one there is of the same step.

        Args:
            name: One of `LOGS`.
            line: JSON values by name, among them `step`.
        """
        step = line["step"]
        if self._last_steps.get(name) == step:
            return  # a finished run that is resumed scores its last step again
        with open(self._log_path(name), "a", encoding="utf-8") as file:
            file.write(readable_json(line) + "\n")
        self._last_steps[name] = step
        numbers = {
            f"{name}/{key}": value
            for key, value in line.items()
            if key != "step" and isinstance(value, int | float)
        }
        self.trackers.scalars(numbers, step)

    def truncate_after(self, step: int) -> None:
        """Remove the lines of steps after `step`, which a resumed run writes again, as previews.

        Lines that were cut off are removed as well. Bytes that are no text are replaced: a log is
        no reason to refuse to go on.
        """
        for name in LOGS:
            self._last_steps.pop(name, None)
            path = self._log_path(name)
            if not path.exists():
                continue
            lines = path.read_bytes().decode(errors="replace").splitlines()
            kept = [line for line in lines if _step(line) <= step]
            write_lines(path, kept)
            if kept:
                self._last_steps[name] = _step(kept[-1])
        self._last_steps.pop(GRIDS, None)
        if self._grid_path(step).exists():
            self._last_steps[GRIDS] = step
        self.trackers.go_back(self._config, step)

    def log_grid(
        self, step: int, columns: Sequence[Sequence[UInt8]], labels: Sequence[str]
    ) -> None:
        """Write samples/step_N.png, a labelled grid, unless the last one is of the same step.

        Args:
            step: N.
            columns: Images (H, W, C) of one size, as many in each column.
            labels: One for each column.
        """
        if self._last_steps.get(GRIDS) == step:
            return  # as with the logs
        scale = max(1, GRID_PIXELS // columns[0][0].shape[0])
        rows = [list(row) for row in zip(*columns, strict=True)]
        drawn = grid(rows, labels, scale=scale)
        write_image(self._grid_path(step), drawn)
        self._last_steps[GRIDS] = step
        self.trackers.image(GRIDS, drawn, step)

    def _log_path(self, name: str) -> Path:
        return self.path / f"{name}.jsonl"

    def _grid_path(self, step: int) -> Path:
        return self.path / GRIDS / f"step_{step:07d}.png"


def _step(line: str) -> float:
    """Return the step of a log's line, infinity where it cannot be read."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
