"""The page of a run: what it is told, when, and that it never disturbs the training."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests._helpers.trainings import bars, logged, run, settings
from translate.training import live
from translate.training.live import DATA, PAGE, LivePage, LiveState, read_live
from translate.training.timing import TrainingTime
from translate.training.trainer import Trainer, TrainingDivergedError

STATE = LiveState(live.INTROSPECTIVE, step=40, progress=0.4, seconds=10.0)
TRAIN = {"steps": 8, "log_every": 2, "sample_every": 2, "score_every": 4, "checkpoint_every": 4}


def told(folder: Path) -> dict[str, Any]:
    """What live.js gives to the page."""
    text = (folder / DATA).read_text(encoding="ascii")
    assert text.startswith("live(")
    assert text.endswith(");\n")
    data: dict[str, Any] = json.loads(text[5:-3])
    return data


@pytest.fixture
def opened(tmp_path: Path) -> LivePage:
    page = LivePage(tmp_path)
    page.open(settings())
    return page


def test_a_run_tells_its_page_what_it_did(tmp_path: Path) -> None:
    run(settings(train=TRAIN), tmp_path)
    data = told(tmp_path)
    assert (data["phase"], data["running"]) == (live.FINISHED[0], False)
    assert (data["step"], data["progress"]) == (8, 1)
    assert data["quality"]
    assert [step for step, _ in data["grids"]] == [2, 4, 6, 8]
    assert all((tmp_path / path).is_file() for _, path in data["grids"])
    assert [curve["title"] for curve in data["distances"]] == [
        "distance to B, translated from A",
        "distance to A, translated from B",
    ]
    for curve in data["distances"]:
        assert [step for step, _ in curve["points"]] == [4, 8]
        assert curve["baseline"] is not None
    scores = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert data["kept"] == json.loads(scores[-1])["best_step"]
    assert (tmp_path / PAGE).is_file()


def test_what_the_page_is_told_is_read_back(opened: LivePage) -> None:
    assert read_live(opened.run) is None
    opened.update(STATE)
    assert read_live(opened.run) == told(opened.run)
    for text in ("", "live(1);", "live({);", "alert(1)"):
        (opened.run / DATA).write_text(text)
        assert read_live(opened.run) is None


def test_a_run_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(train=TRAIN)
    trainer = Trainer(config, bars(config), tmp_path, "cpu")

    def fail(*_: object) -> None:
        raise TrainingDivergedError("not finite")

    monkeypatch.setattr(trainer, "step", fail)
    with pytest.raises(TrainingDivergedError):
        trainer.run()
    assert (told(tmp_path)["phase"], told(tmp_path)["running"]) == (live.FAILED[0], False)


def test_a_refused_run_leaves_no_page(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="resume"):
        run(settings(train=TRAIN), tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({"step": 0}, live.WARMING_UP),
        ({"step": 50, "beta_neg": 8.0}, live.INTROSPECTIVE),
        ({"step": 99, "beta_neg": 8.0}, live.COOLING_DOWN),
        ({"step": 100, "beta_neg": 8.0}, live.CLOSING),
    ],
)
def test_phases(tmp_path: Path, change: dict[str, Any], phase: tuple[str, str]) -> None:
    config = settings(train={"steps": 100, "cooldown": 0.1})
    trainer = Trainer(config, bars(config), tmp_path, "cpu")
    for name, value in change.items():
        setattr(trainer.state, name, value)
    assert trainer._phase == phase


@pytest.mark.parametrize(("max_minutes", "left"), [(None, 10 + 70 * 4), (1.0, 15)])
def test_the_time_left_knows_that_later_steps_take_longer(
    tmp_path: Path, max_minutes: float | None, left: float
) -> None:
    train = {"steps": 100, "warmup": 0.3, "max_minutes": max_minutes}
    config = settings(train=train)
    timing = TrainingTime("cpu", "fp32", 1, 1.0, 4.0, 0.0, 1, 0.0, 0.0)
    trainer = Trainer(config, bars(config), tmp_path, "cpu", timing=timing)
    trainer.state.step = 20
    trainer.state.seconds = 20.0
    trainer.state.reserved = 25.0
    assert trainer._seconds_left == pytest.approx(left)


def test_the_time_left_follows_the_steps_of_the_phase_once_there_are_any(tmp_path: Path) -> None:
    config = settings(train={"steps": 100, "warmup": 0.3})
    timing = TrainingTime("cpu", "fp32", 1, 1.0, 4.0, 0.0, 1, 0.0, 0.0)
    trainer = Trainer(config, bars(config), tmp_path, "cpu", timing=timing)
    assert trainer._seconds_left is None
    trainer.state.step = 30
    trainer.state.seconds = 30.0
    trainer._begin_introspective_phase(n=3)
    assert trainer._seconds_left is None
    trainer.state.step = 40
    trainer.state.seconds = 30.0 + 10 * 6  # not four times a step of warm-up, but six
    assert trainer._seconds_left == pytest.approx(60 * 6)


def test_rollbacks_are_marked_where_they_led_to(opened: LivePage, tmp_path: Path) -> None:
    for step, count in ((40, 0), (30, 1), (60, 1), (60, 2)):
        opened.update(LiveState(live.INTROSPECTIVE, step, 0.4, 10.0, rollbacks=count))
    assert told(tmp_path)["rollbacks"] == [30, 60]


def test_between_grids_it_is_written_only_now_and_then(opened: LivePage, tmp_path: Path) -> None:
    opened.update(STATE)
    first = told(tmp_path)["written"]
    opened.update(STATE, due=False)
    assert told(tmp_path)["written"] == first
    opened.update(STATE)
    assert told(tmp_path)["written"] > first


def test_a_full_disk_is_said_once(
    opened: LivePage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)
    with logged() as messages:
        opened.update(STATE)
        opened.update(STATE)
    assert len(messages) == 1
    assert DATA in messages[0]
    assert [path.name for path in tmp_path.iterdir()] == [PAGE], "nothing half-written"


def test_logs_that_someone_has_edited_are_no_reason_to_stop(
    opened: LivePage, tmp_path: Path
) -> None:
    (tmp_path / "scores.jsonl").write_text('[]\n{"step": 1}\n')
    with logged() as messages:
        opened.update(STATE)
    assert "scores.jsonl" in messages[0]


def test_it_is_cheap_also_after_hundreds_of_scores(
    opened: LivePage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "samples").mkdir()
    with open(tmp_path / "scores.jsonl", "w", encoding="utf-8") as file:
        for step in range(300):
            (tmp_path / "samples" / f"step_{step:07d}.png").touch()
            score = {f"number {i}": 0.123456789 for i in range(10)} | {"distance": 1, "identity": 2}
            both = [{"source": "A", "to": "B", **score}, {"source": "B", "to": "A", **score}]
            file.write(json.dumps({"step": step, "best_step": step, "direction_scores": both}))
            file.write("\n")
    opened.update(STATE)
    monkeypatch.setattr(live, "PAUSE", 0)
    for due in (True, False):
        seconds = []
        for _ in range(5):
            start = time.process_time()  # other programs' time does not count
            opened.update(STATE, due)
            seconds.append(time.process_time() - start)
        assert min(seconds) < 0.1
    assert len(told(tmp_path)["distances"][0]["points"]) == 300
