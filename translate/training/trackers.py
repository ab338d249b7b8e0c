"""Where a run's numbers and grids go besides its folder: TensorBoard, Weights & Biases, MLflow.

Each is an adapter of a few lines with the methods of `Tracker`. They are imported when asked for.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from translate.config import Config
from translate.io.files import write_text
from translate.io.images import UInt8

PROJECT = "introshift"  # at Weights & Biases; the experiment at MLflow
IDS = "trackers.json"  # in the run's folder: the names that trackers have given to the run

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """What a tracker does; each may raise anything."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers by name."""

    def image(self, name: str, pixels: UInt8, step: int) -> None:
        """Record a picture, (H, W, 3)."""

    def close(self) -> None:
        """Finish what is under way."""


@dataclass(frozen=True)
class TrackedRun:
    """The run that is tracked.

    Args:
        folder: Its folder, which exists.
        config: Its settings.
        step: Steps that are done; what a killed run recorded after it is recorded again.
        ids: What trackers have called the run: kept from one session of it to the next.
    """

    folder: Path
    config: Config
    step: int
    ids: dict[str, str]


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Of what a killed run logged after `step`, TensorBoard shows nothing then.
        self.writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.step + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers; they are on the disk on return."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def image(self, name: str, pixels: UInt8, step: int) -> None:
        """Record a picture; it is on the disk on return."""
        self.writer.add_image(name, pixels, step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


class WeightsAndBiases:
    """A run at Weights & Biases; WANDB_MODE=offline keeps it in RUN/wandb."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        self.wandb: Any = wandb
        self.run: Any = wandb.init(
            project=PROJECT,
            name=run.folder.resolve().name,
            id=run.ids.get("wandb"),
            resume="allow",
            dir=str(run.folder),
            config=run.config.model_dump(mode="json"),
            settings=wandb.Settings(silent=True, x_disable_stats=True),
        )
        run.ids["wandb"] = str(self.run.id)
        # a run that goes back records a step again, which its own count of steps does not allow
        self.run.define_metric("*", step_metric="step")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers."""
        self.run.log({**values, "step": step})

    def image(self, name: str, pixels: UInt8, step: int) -> None:
        """Record a picture."""
        self.run.log({name: self.wandb.Image(pixels), "step": step})

    def close(self) -> None:
        """Wait until all is sent, or written."""
        self.run.finish()


class MLflow:
    """A run at MLFLOW_TRACKING_URI, by default in RUN/mlflow."""

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        self.metric: Any = Metric
        folder = run.folder.resolve() / "mlflow"
        server = os.environ.get("MLFLOW_TRACKING_URI")
        if not server:
            folder.mkdir(exist_ok=True)
        uri = server or f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
        self.client: Any = MlflowClient(tracking_uri=uri)

        if "mlflow" not in run.ids:
            experiment = self.client.get_experiment_by_name(PROJECT)
            place = None if server else (folder / "artifacts").as_uri()
            where = (
                experiment.experiment_id
                if experiment
                else self.client.create_experiment(PROJECT, artifact_location=place)
            )
            made = self.client.create_run(where, run_name=run.folder.resolve().name)
            run.ids["mlflow"] = made.info.run_id
        self.id = run.ids["mlflow"]
        self.client.log_text(self.id, run.config.to_yaml(), "config.yaml")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers."""
        now = int(time.time() * 1000)
        metrics = [self.metric(name, value, now, step) for name, value in values.items()]
        self.client.log_batch(self.id, metrics=metrics)

    def image(self, name: str, pixels: UInt8, step: int) -> None:
        """Record a picture."""
        self.client.log_image(self.id, pixels, f"{name}/step_{step:07d}.png")

    def close(self) -> None:
        """Mark the run as finished."""
        self.client.set_terminated(self.id)


# name in the config -> the adapter, and what pip installs
ADAPTERS: dict[str, tuple[Callable[[TrackedRun], Tracker], str]] = {
    "tensorboard": (TensorBoard, "introshift[tensorboard]"),
    "wandb": (WeightsAndBiases, "introshift[wandb]"),
    "mlflow": (MLflow, "introshift[mlflow]"),
}


class Trackers:
    """All trackers of a run: one that fails while it trains is left, with a warning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Tracker] = {}

    def open(self, config: Config, step: int) -> None:
        """Start those that the config names, or go on with the run that they know.

        Args:
            config: The whole config.
            step: Steps that are done; 0 begins a new run.

        Raises:
            ValueError: One is not installed or cannot be started.
        """
        self.close()
        run = TrackedRun(self.folder, config, step, self._known_ids() if step else {})
        for name in config.train.trackers:
            adapter, package = ADAPTERS[name]
            try:
                self._open[name] = adapter(run)
            except ImportError as error:
                raise ValueError(
                    f"train.trackers: {name} is not installed ({error}); pip install '{package}'"
                ) from None
            except Exception as error:  # of a library that speaks with a server
                reason = " ".join(str(error).split())
                raise ValueError(
                    f"train.trackers: {name} cannot be started ({reason}); correct that, or "
                    "leave it out"
                ) from None
        if run.ids:
            write_text(self.folder / IDS, json.dumps(run.ids))

    def go_back(self, config: Config, step: int) -> None:
        """Record what comes after `step` again."""
        if not self._open:
            return
        try:
            self.open(config, step)
        except ValueError as error:
            logger.warning("%s; training goes on without it", error)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers by name."""
        self._each(lambda tracker: tracker.scalars(values, step))

    def image(self, name: str, pixels: UInt8, step: int) -> None:
        """Record a picture, (H, W, 3)."""
        self._each(lambda tracker: tracker.image(name, pixels, step))

    def close(self) -> None:
        """Finish what is under way."""
        self._each(lambda tracker: tracker.close())
        self._open.clear()

    def _each(self, do: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                do(tracker)
            except Exception as error:  # whatever it is, the training is worth more
                del self._open[name]
                reason = " ".join(str(error).split()) or type(error).__name__
                logger.warning("%s failed (%s); training goes on without it", name, reason)

    def _known_ids(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            known = json.loads((self.folder / IDS).read_text(encoding="utf-8"))
            return {str(name): str(id) for name, id in known.items()}
        return {}
