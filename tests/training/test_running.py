"""One training a run folder at a time, and which process it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests._helpers.commands import call, fill, tiny
from translate.training.running import LOCK, RECORD, find_training, training_in

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys, pathlib\n"
    "from translate.training.running import training_in\n"
    "with training_in(pathlib.Path(sys.argv[1])):\n"
    "    print('there', flush=True)\n"
    "    sys.stdin.read()\n"
)


def hold(run: Path) -> subprocess.Popen[bytes]:
    """Start a process that holds a run folder until its input ends."""
    command = [sys.executable, "-c", HOLD, str(run)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    return process


def test_the_process_is_found_while_it_trains(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    assert find_training(run) is None
    with training_in(run):
        found = find_training(run)
        assert found is not None
        assert found.pid == os.getpid()
        assert found.is_here
        assert found.started <= time.time()
    assert find_training(run) is None
    assert not run.exists(), "it was empty"


def test_a_second_training_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    with hold(tmp_path / "run") as first:
        with (
            pytest.raises(ValueError, match="another training is at work"),
            training_in(tmp_path / "run"),
        ):
            pytest.fail("it was let in")
        found = find_training(tmp_path / "run")
        assert found is not None
        assert found.pid == first.pid


def test_what_a_killed_training_leaves_is_no_training(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with hold(run) as process:
        process.kill()
    assert (run / RECORD).exists()
    # a number that another process has got since, such as this one
    about = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({**about, "pid": os.getpid()}))
    assert find_training(run) is None
    assert list(run.iterdir()) == []
    with training_in(run):
        assert find_training(run) is not None


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"pid": "x", "host": "", "started": 0}'])
def test_a_damaged_record_is_no_training(record: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(record)
    assert find_training(tmp_path) is None


def test_files_of_the_run_stay(tmp_path: Path) -> None:
    with training_in(tmp_path / "run"):
        (tmp_path / "run" / "model").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model"]


def test_the_command_trains_alone(tmp_path: Path) -> None:
    for name in ("trainA", "trainB"):
        fill(tmp_path / "data" / name)
    (tmp_path / "c.yaml").write_text("data: {root: data, size: 16, channels: 1}\n")
    run = tmp_path / "run"
    arguments = ("train", tmp_path / "c.yaml", "--out", run, *tiny(2))
    with hold(run):
        code, _, err = call(*arguments)
        assert code == 2
        assert "another training" in err
        assert {path.name for path in run.iterdir()} == {LOCK, RECORD}
    code, _, err = call(*arguments)
    assert code == 0, err
    assert not {LOCK, RECORD} & {path.name for path in run.iterdir()}
