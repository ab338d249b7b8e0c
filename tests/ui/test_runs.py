"""Trainings as processes of their own: started, found again, stopped, stale."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.ui import runs
from pipelines.ui.runs import TrainingOptions, Trainings, find_runs
from tests._helpers.commands import fill
from translate.training import live
from translate.training.live import LivePage, LiveState
from translate.training.running import RECORD, find_training

# A stand-in for `introshift train CONFIG --out RUN`: it is there, and ends as a training does.
TRAINING = """
import signal, sys, time
from pathlib import Path
from translate.training.running import training_in
run = Path(sys.argv[4])
if sys.argv[2] == "refused":
    sys.exit("introshift: refused: has no pictures")
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
with training_in(run):
    print("training", flush=True)
    while not ended:
        time.sleep(0.05)
    (run / "state").mkdir()
    (run / "state" / "step_0000007.safetensors").touch()
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PROGRAM", (sys.executable, "-c", TRAINING))


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "it did not come"
        time.sleep(0.05)


def words(run: Path, config: str = "config.yaml") -> list[str]:
    return runs.train_words(Path(config), run, TrainingOptions())


def test_a_training_is_started_found_by_another_server_and_stopped(
    tmp_path: Path, stand_in: None
) -> None:
    run = tmp_path / "my runs" / "one"
    first = Trainings()
    first.start(run, words(run))
    assert first.status(run).phase == "Preparing"
    with pytest.raises(ValueError, match="already"):
        first.start(run, words(run))

    second = Trainings()  # of a server that has started since
    assert second.is_running(run)
    assert find_runs(tmp_path) == [run]
    found = find_training(run)
    assert found is not None
    assert os.getsid(found.pid) == found.pid, "a session of its own: no signal for ours reaches it"
    with pytest.raises(ValueError, match="already"):
        second.start(run, words(run))

    second.stop(run)
    second.stop(run)  # once more changes nothing
    assert second.status(run).phase in ("Stopping", "Ended")
    wait_for(lambda: not first.is_running(run))
    ended = second.status(run)
    assert (ended.running, ended.phase, ended.has_state) == (False, "Ended", True)
    assert runs.last_command(run) == runs.shown(words(run))
    assert runs.last_lines(run).splitlines()[-1] == "training"
    second.stop(run)  # there is none any more: nothing happens


def test_a_killed_training_is_said_to_be_gone(tmp_path: Path, stand_in: None) -> None:
    run = tmp_path / "run"
    trainings = Trainings()
    trainings.start(run, words(run))
    found = find_training(run)
    assert found is not None
    page = LivePage(run)
    page._opened = True
    page.update(LiveState(live.INTROSPECTIVE, step=7, progress=0.1, seconds=1.0))
    assert trainings.status(run).phase == "Introspective phase"

    os.kill(found.pid, signal.SIGKILL)
    wait_for(lambda: not trainings.is_running(run))
    status = trainings.status(run)
    assert (status.running, status.phase) == (False, "Not begun")  # it has no state
    (run / "state").mkdir()
    (run / "state" / "step_0000007.safetensors").touch()
    assert trainings.status(run).phase == "Ended"


def test_the_number_of_another_process_is_never_signalled(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    about = {"pid": os.getpid(), "host": "elsewhere", "started": time.time()}
    (run / RECORD).write_text(json.dumps(about))
    Trainings().stop(run)  # SIGTERM would end the tests
    assert not (run / RECORD).exists()


def test_a_training_on_another_machine_is_left_alone(
    tmp_path: Path, stand_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    trainings = Trainings()
    trainings.start(run, words(run))
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    with pytest.raises(ValueError, match="stop it there"):
        trainings.stop(run)
    monkeypatch.undo()
    trainings.stop(run)
    wait_for(lambda: not trainings.is_running(run))


def test_a_training_that_ends_at_once_says_why_and_leaves_nothing(
    tmp_path: Path, stand_in: None
) -> None:
    run = tmp_path / "run"
    with pytest.raises(ValueError, match=r"^refused: has no pictures$"):
        Trainings().start(run, words(run, "refused"))
    assert not run.exists()


def test_a_plan_is_what_init_says(tmp_path: Path) -> None:
    for name in ("sans", "serif"):
        fill(tmp_path / name, size=32)
    config = tmp_path / "my.yaml"
    asked = runs.init_words([tmp_path / "sans", tmp_path / "serif"], config, None)
    plan = runs.plan(asked)["plan"]
    assert plan["pictures"] == {"sans": 4, "serif": 4}
    assert plan["minutes"] > 0
    assert set(plan["in_words"]) == {"pictures", "size", "kind", "network", "training"}
    assert "steps" in plan["in_words"]["training"][0]
    assert config.exists()
    with pytest.raises(ValueError, match="no such folder"):
        runs.plan(runs.init_words([tmp_path / "gone"], config, None))


def test_commands_are_those_of_the_command_line() -> None:
    options = TrainingOptions(1.5, ("train.steps=9",))
    made = runs.shown(runs.train_words(Path("a b.yaml"), Path("run"), options))
    assert made == ("introshift train 'a b.yaml' --out run --max-minutes 1.5 --set train.steps=9")
    assert runs.shown(runs.resume_words(Path("run"))) == (
        f"introshift train {Path('run', 'config.yaml')} --out run --resume"
    )


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", "x" * 61, "a\nb", ".hidden"])
def test_names_that_are_no_folder_of_ones_own_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name the run"):
        runs.check_name(name)


@pytest.mark.parametrize("text", ["data.root=/etc", "data.domains.A=/etc", "train.steps", "x=1"])
def test_settings_that_name_files_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one a line"):
        runs.check_settings(text)
    assert runs.check_settings(" train.steps = 5 \n\nmodel.width=8") == [
        "train.steps = 5",
        "model.width=8",
    ]


def test_minutes_must_be_above_0() -> None:
    with pytest.raises(ValueError, match="minutes"):
        TrainingOptions(-1.0)
