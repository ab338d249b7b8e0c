"""Two processes on a CPU against one: same gradients, one writer, resuming, stopping together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from PIL import Image

from tests._helpers.pair import save_gradients
from tests._helpers.trainings import settings
from translate.models.checkpoint import load_tensors
from translate.runtime.distributed import ADDRESS, Processes
from translate.training.step import TrainStep

ROOT = Path(__file__).parents[2]


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start Python with these arguments."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}", **environment},
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def launch(*arguments: object) -> subprocess.Popen[str]:
    """Start Python with these arguments in two processes, by torchrun."""
    return start("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *arguments)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def join(*arguments: object) -> list[subprocess.Popen[str]]:
    """Start two processes that find each other as under torchrun, which itself takes a third."""
    both = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": f"{free_port()}",
    }
    return [start(*arguments, RANK=rank, LOCAL_RANK=rank, **both) for rank in "01"]


def finished(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err


def write_config(folder: Path) -> Path:
    """Write two folders of pictures and a config to train on them; return its path."""
    for name in ("trainA", "trainB"):
        (folder / name).mkdir()
        for i in range(6):
            Image.new("L", (16, 16), 40 * i).save(folder / name / f"{i}.png")
    sections = {
        "data": {"root": str(folder), "size": 16, "channels": 1},
        "model": {"width": 8, "style_dim": 4, "condition": 8},
        "train": {"steps": 8, "batch_size": 2, "log_every": 2, "checkpoint_every": 4},
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(sections))
    return folder / "c.yaml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes have made: gradients, and a run that one of them wrote."""
    folder = tmp_path_factory.mktemp("pair")
    ports = (free_port(), free_port())
    finished(*join("-m", "tests._helpers.pair", folder, write_config(folder), *ports))
    return folder


def test_gradients_of_two_equal_those_of_one_on_the_joined_batch(pair: Path) -> None:
    save_gradients(pair)
    one, first, second = (torch.load(pair / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    assert sum(gradient.abs().sum() > 0 for gradient in one.values()) > 50
    for name, gradient in one.items():
        assert torch.equal(first[name], second[name])
        # Of a tensor, not of its elements: those near 0 are rounding errors of sums in another
        # order.
        assert (first[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def train(config: Path, out: Path, *more: object) -> list[object]:
    return ["-m", "pipelines.cli", "train", config, "--out", out, "--device", "cpu", *more]


def test_two_processes_write_one_run_and_resume_it(pair: Path) -> None:
    lines = (pair / "trained" / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6, 8], "one of the two writes"
    # The second half was trained twice.
    whole = load_tensors(pair / "whole.safetensors")[0]
    parts = load_tensors(pair / "trained" / "model.safetensors")[0]
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_two_machines_train_what_two_processes_of_one_do(config: Path, tmp_path: Path) -> None:
    finished(launch(*train(config, tmp_path / "one")))
    port = free_port()
    machines = [
        start(
            *("-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={rank}"),
            *("--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"),
            *train(config, tmp_path / "two"),
        )
        for rank in (0, 1)
    ]
    finished(*machines)
    one, two = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    pair = SimpleNamespace(count=2, rank=0, device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"train\.batch_size: 3 .* 2 processes"):
        TrainStep(settings(train={"batch_size": 3}), pair)  # type: ignore[arg-type]


def test_both_stop_when_one_is_told_to(config: Path, tmp_path: Path) -> None:
    process = launch(*train(config, tmp_path / "run", "--set", "train.steps=100000"))
    while process.poll() is None and not (tmp_path / "run" / "stats.jsonl").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=180)
    assert "--resume continues" in words
    assert len(list((tmp_path / "run" / "state").iterdir())) == 2


@pytest.mark.parametrize("missing", ["RANK", *ADDRESS])
def test_an_incomplete_launch_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "29500",
    }
    for name, value in complete.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(ValueError, match=f"{missing}.*torchrun"):
        Processes(torch.device("cpu"))
