"""Trackers: what they are told, each step once, and that none of them disturbs a training."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests._helpers.trainings import logged, run, settings, weights
from translate.config import ConfigError, from_dict
from translate.io.images import UInt8
from translate.training import trackers
from translate.training.trackers import TrackedRun

EVERY = {"sample_every": 4, "score_every": 4}


def stats(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def train_after_a_kill(folder: Path, tracker: str) -> None:
    """Train 8 steps, the last two of them twice."""
    config = settings(train={"trackers": [tracker], **EVERY})
    run(config, folder)
    (folder / "state" / "step_0000008.safetensors").unlink()
    run(config, folder, resume=True)


def test_tensorboard_sees_each_step_once_also_after_a_kill(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_after_a_kill(tmp_path, "tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("stats/kl_s")] == [2, 4, 6, 8]
    assert [event.value for event in events.Scalars("stats/kl_s")] == pytest.approx(
        [line["kl_s"] for line in stats(tmp_path)]
    )
    assert [event.step for event in events.Scalars("scores/value")] == [4, 8]
    assert [event.step for event in events.Images("samples")] == [4, 8]

    run(settings(train={"trackers": ["tensorboard"], **EVERY}), tmp_path, resume=True)
    again = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert again.Images("samples") == events.Images("samples")
    assert again.Scalars("scores/value") == events.Scalars("scores/value")


@pytest.mark.filterwarnings("ignore")  # of the library, about itself
def test_mlflow_goes_on_with_its_run_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("alembic")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train_after_a_kill(tmp_path, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{(tmp_path / 'mlflow' / 'mlflow.db').as_posix()}")
    experiment = client.get_experiment_by_name(trackers.PROJECT)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == tmp_path.name
    recorded = client.get_metric_history(found.info.run_id, "stats/kl_s")
    assert {metric.step for metric in recorded} == {2, 4, 6, 8}
    last = max(recorded, key=lambda metric: (metric.step, metric.timestamp))
    assert last.value == pytest.approx(stats(tmp_path)[-1]["kl_s"])
    grids = client.list_artifacts(found.info.run_id, "samples")
    assert [grid.path for grid in grids] == [
        "samples/step_0000004.png",
        "samples/step_0000008.png",
    ]


@pytest.mark.slow  # its service is another process, and takes its time
@pytest.mark.filterwarnings("ignore")  # of the library, about itself
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run(settings(train={"trackers": ["wandb"], **EVERY}), tmp_path)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    recorded = file.read_bytes()
    assert b"stats/kl_s" in recorded
    assert b"scores/value" in recorded
    assert len(list(folder.rglob("*.png"))) == 2
    assert folder.name.endswith(json.loads((tmp_path / "trackers.json").read_text())["wandb"])


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("tensorboard", "torch.utils.tensorboard"),
        ("wandb", "wandb"),
        ("mlflow", "mlflow"),
    ],
)
def test_one_that_is_not_installed_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ValueError, match=rf"train\.trackers: {name} .*pip install 'introshift\[{name}\]'"
    ):
        run(settings(train={"trackers": [name]}), tmp_path)
    assert not (tmp_path / "stats.jsonl").exists()


class Frail:
    """A tracker that fails from its second call on."""

    def __init__(self, tracked: TrackedRun) -> None:
        self.calls = 0

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.calls += 1
        if self.calls > 1:
            raise ConnectionError("the server is gone")

    def image(self, name: str, pixels: UInt8, step: int) -> None:
        raise AssertionError("not called after a failure")

    def close(self) -> None:
        raise AssertionError("not called after a failure")


def test_one_that_fails_is_left_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.ADAPTERS, "wandb", (Frail, ""))
    with logged() as messages:
        run(settings(train={"trackers": ["wandb"], "sample_every": 8}), tmp_path / "a")
    assert len([message for message in messages if "the server is gone" in message]) == 1
    run(settings(train={"sample_every": 8}), tmp_path / "b")
    assert len(stats(tmp_path / "a")) == 4
    other = weights(tmp_path / "b")
    assert all(tensor.equal(other[name]) for name, tensor in weights(tmp_path / "a").items())


def test_one_that_cannot_be_started_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(tracked: TrackedRun) -> Frail:
        raise ConnectionError("no\nserver")

    monkeypatch.setitem(trackers.ADAPTERS, "mlflow", (refuse, ""))
    with pytest.raises(
        ValueError, match=r"train\.trackers: mlflow cannot be started \(no server\)"
    ):
        run(settings(train={"trackers": ["mlflow"]}), tmp_path)


def test_the_key_of_version_0_1_is_read() -> None:
    read = from_dict({"train": {"tensorboard": True}}).train
    assert read.trackers == ["tensorboard"]
    assert from_dict({"train": {"tensorboard": False}}).train.trackers == []
    assert "tensorboard" not in read.model_dump()
    with pytest.raises(ConfigError, match=r"train\.tensorboard"):
        from_dict({"train": {"tensorboard": 3}})
    with pytest.raises(ConfigError, match=r"train\.trackers.*visdom"):
        from_dict({"train": {"trackers": ["visdom"]}})
