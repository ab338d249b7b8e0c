"""The job files of docs/examples under Slurm and Kubernetes as the tests play them.

Their commands are run, ended as these end them and begun again; no cluster is needed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests._helpers.commands import call, fill
from tests._helpers.folders import files
from tests._helpers.small_model import save
from translate.models.checkpoint import load_tensors

pytestmark = pytest.mark.skipif(os.name == "nt", reason="bash, and signals as Unix has them")

ROOT = Path(__file__).parents[1]
SLURM = ROOT / "docs" / "examples" / "slurm"
KUBERNETES = ROOT / "docs" / "examples" / "kubernetes"
REFERENCE = re.compile(r"\$\(([^)]*)\)")  # what Kubernetes replaces in commands

# `srun` runs a command once for each task, and writes down the numbers of the processes.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for ((i = 0; i < SLURM_NTASKS; i++)); do
    SLURM_PROCID=$i SLURM_LOCALID=$((i % (SLURM_NTASKS / SLURM_NNODES))) "$@" &
    echo $! >> tasks
done
code=0
for task in $(jobs -p); do wait "$task" || code=$?; done
exit "$code"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$*" >> requeued; fi
"""
REAL = f"""#!/bin/bash
export PYTHONPATH={ROOT}
exec {sys.executable} -m pipelines.cli "$@"
"""
# In place of introshift: notes what it is called with; with WAIT, works until SIGTERM.
RECORDER = f"""#!{sys.executable} -IS
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
with open("calls", "a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
time.sleep(60 if "WAIT" in os.environ else 0)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that jobs run in, with small domains and the commands of Slurm."""
    for name in ("trainA", "trainB", "photos"):
        fill(tmp_path / name, 6)
    (tmp_path / "bin").mkdir()
    install(tmp_path, srun=SRUN, scontrol=SCONTROL, introshift=RECORDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(work: Path, **commands: str) -> None:
    for name, text in commands.items():
        path = work / "bin" / name
        path.write_text(text)
        path.chmod(0o755)


def environment(work: Path, **more: object) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    path = f"{work / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**own, "PATH": path, **{name: str(value) for name, value in more.items()}}


def sbatch(
    work: Path, script: str, *words: object, tasks: int = 1, nodes: int = 1, **more: object
) -> subprocess.Popen[bytes]:
    """Start a job's script as slurmd does."""
    slurm = {
        "SLURM_JOB_ID": 4711,
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": nodes,
        "SLURM_NTASKS": tasks,
        "SLURM_CPUS_PER_TASK": 1,
    }
    command = ["bash", str(SLURM / script), *map(str, words)]
    return subprocess.Popen(command, cwd=work, env=environment(work, **slurm, **more))


def calls(work: Path) -> list[Any]:
    """What the recorder was called with: its words and its environment."""
    if not (work / "calls").exists():
        return []
    return [json.loads(line) for line in (work / "calls").read_text().splitlines()]


def wait_until(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def terminate_tasks(work: Path) -> None:
    """Send SIGTERM to the tasks, as Slurm does at --signal before the time limit."""
    for number in (work / "tasks").read_text().split():
        os.kill(int(number), signal.SIGTERM)


def weights(work: Path, run: str) -> dict[str, torch.Tensor]:
    found = {}
    for file in ("model.safetensors", "last.safetensors"):
        tensors = load_tensors(work / run / file)[0]
        found.update({f"{file} {name}": tensor for name, tensor in tensors.items()})
    return found


def test_a_training_that_slurm_requeues_ends_with_the_weights_of_an_undisturbed_one(
    work: Path,
) -> None:
    install(work, introshift=REAL)
    sections = {
        "data": {"root": str(work), "size": 16, "channels": 1},
        "model": {"width": 8, "style_dim": 4, "condition": 8},
        "train": {"steps": 60, "batch_size": 2, "log_every": 1, "checkpoint_every": 7},
    }
    (work / "my.yaml").write_text(yaml.safe_dump(sections))
    more = ("--device", "cpu", "--set", "train.precision=fp32")
    code, _, err = call("train", "my.yaml", "--out", "whole", *more)
    assert code == 0, err

    first = sbatch(work, "train.sbatch", "my.yaml", "parts", *more)
    log = work / "parts" / "stats.jsonl"
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= 10, first)
    terminate_tasks(work)
    terminate_tasks(work)  # torchrun, where it is a task, sends it once more
    assert first.wait() == 130
    assert (work / "requeued").read_text() == "requeue 4711\n"
    assert load_tensors(work / "parts" / "last.safetensors")
    assert log.read_text().count("\n") < 60

    assert sbatch(work, "train.sbatch", "my.yaml", "parts", *more).wait() == 0
    assert (work / "requeued").read_text() == "requeue 4711\n", "not once more"
    whole = weights(work, "whole")
    parts = weights(work, "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_tasks_of_slurm_on_two_nodes_are_the_processes_of_one_launch(work: Path) -> None:
    assert sbatch(work, "train.sbatch", "my.yaml", "run", tasks=4, nodes=2).wait() == 0
    found = {int(call_environment["RANK"]): call_environment for _, call_environment in calls(work)}
    assert sorted(found) == [0, 1, 2, 3]
    assert [found[rank]["LOCAL_RANK"] for rank in range(4)] == ["0", "1", "0", "1"]
    common = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    for one in found.values():
        assert {name: one[name] for name in common} == common
        assert one["MASTER_PORT"] == found[0]["MASTER_PORT"]
    assert [words for words, _ in calls(work)] == [["train", "my.yaml", "--out", "run"]] * 4


@pytest.mark.parametrize("script", ["train.sbatch", "translate.sbatch"])
@pytest.mark.parametrize("by_slurm", [False, True], ids=["time limit", "preempted or cancelled"])
def test_a_job_asks_for_another_turn_only_where_slurm_does_not_decide(
    work: Path, script: str, by_slurm: bool
) -> None:
    share = {"SLURM_ARRAY_TASK_ID": 1, "SLURM_ARRAY_TASK_COUNT": 2}
    process = sbatch(work, script, "one", "two", WAIT=1, **share)
    wait_until(lambda: calls(work), process)
    if by_slurm:
        process.send_signal(signal.SIGTERM)
    terminate_tasks(work)
    assert process.wait() == 130
    assert (work / "requeued").exists() is not by_slurm


def test_an_array_of_slurm_translates_what_one_machine_does(work: Path) -> None:
    model = save(work)
    assert call("translate", model, "photos", "whole", "--to", "B", "--device", "cpu")[0] == 0
    more = (model, "photos", "out", "--to", "B", "--device", "cpu")
    for i in (1, 2, 3):
        share = {"SLURM_ARRAY_TASK_ID": i, "SLURM_ARRAY_TASK_COUNT": 3}
        assert sbatch(work, "translate.sbatch", *more, **share).wait() == 0
    run_recorded(work)
    same_as_whole(work)


def run_recorded(work: Path) -> None:
    """Do, and once more, what the recorder was called with."""
    shares = [words for words, _ in calls(work)]
    assert len({tuple(words) for words in shares}) == len(shares) > 1
    for words in shares * 2:
        code, _, err = call(*words)
        assert code == 0, err


def same_as_whole(work: Path) -> None:
    assert files(work / "out") == files(work / "whole")
    assert len(files(work / "out")) == 6
    lines = [(work / name / "manifest.jsonl").read_text() for name in ("whole", "out")]
    outputs = [[json.loads(line)["output_sha256"] for line in text.splitlines()] for text in lines]
    assert outputs[0] == outputs[1]


def pod(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Job in a file, and the one container of its pods."""
    job = yaml.safe_load((KUBERNETES / name).read_text())
    [container] = job["spec"]["template"]["spec"]["containers"]
    return job, container


def start(container: Mapping[str, Any], work: Path, **more: object) -> subprocess.Popen[bytes]:
    """Start a container's command as Kubernetes does, which replaces $(NAME) of its own accord."""
    own = {entry["name"]: entry["value"] for entry in container.get("env", [])}
    assert all(isinstance(value, str) for value in own.values()), "as Kubernetes asks for"
    words = [
        REFERENCE.sub(lambda found: own.get(found[1], found[0]), word)
        for word in [*container["command"], *container["args"]]
    ]
    return subprocess.Popen(words, cwd=work, env=environment(work, **own, **more))


@pytest.mark.parametrize("state", [False, True])
def test_a_pod_goes_on_from_a_state_and_gets_sigterm_itself(work: Path, state: bool) -> None:
    if state:
        (work / "run" / "state").mkdir(parents=True)
        (work / "run" / "state" / "step_0000007.safetensors").write_bytes(b"")
    process = start(pod("train.yaml")[1], work, WAIT=1)
    wait_until(lambda: calls(work), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 130
    [(words, _)] = calls(work)
    assert words == ["train", "my.yaml", "--out", "run", *(["--resume"] if state else [])]


def test_the_pods_of_an_indexed_job_translate_what_one_machine_does(work: Path) -> None:
    save(work).rename(work / "run")
    job, container = pod("translate.yaml")
    shares = {entry["name"]: entry["value"] for entry in container["env"]}["SHARES"]
    count = job["spec"]["completions"]
    assert shares == str(count)
    for index in range(count):
        assert start(container, work, JOB_COMPLETION_INDEX=index).wait() == 0
    command = (work / "calls").read_text()
    (work / "calls").write_text(command.replace('"paintings"', '"B", "--device", "cpu"'))
    assert call("translate", "run", "photos", "whole", "--to", "B", "--device", "cpu")[0] == 0
    run_recorded(work)
    same_as_whole(work)


@pytest.mark.parametrize("name", ["train.yaml", "translate.yaml"])
def test_a_job_of_kubernetes_keeps_its_data_and_tries_again_only_what_may_succeed(
    name: str,
) -> None:
    claim = yaml.safe_load((KUBERNETES / "volume.yaml").read_text())
    job, container = pod(name)
    spec = job["spec"]["template"]["spec"]
    [volume] = spec["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    [mount] = container["volumeMounts"]
    assert mount == {"name": volume["name"], "mountPath": container["workingDir"]}
    assert spec["restartPolicy"] == "Never", "what podFailurePolicy asks for"
    assert spec["terminationGracePeriodSeconds"] >= 60
    ignored, final = job["spec"]["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert final["onExitCodes"]["containerName"] == container["name"]
    assert 130 not in final["onExitCodes"]["values"], "interrupted: may go on"
