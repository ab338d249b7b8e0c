"""OpenMP's threads are bound to a core each where they are as many as the cores, and only there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from translate.runtime.affinity import UNBOUND, bind_openmp_threads, usable_cores

PROGRAM = """
import json, os, threading
from translate.runtime.affinity import bind_openmp_threads
allowed = os.sched_getaffinity(0)
binding = bind_openmp_threads()
free = os.sched_getaffinity(0)
import torch
torch.ones(4096, 4096).sum()  # starts OpenMP's threads
found = {"bound": bool(binding.first), "free": free == allowed}
with binding.hold():
    found["held"] = sorted(os.sched_getaffinity(0))
    seen = []
    def work():
        binding.release()
        seen.append(os.sched_getaffinity(0) == allowed)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    found["released"] = seen[0]
found["after"] = os.sched_getaffinity(0) == allowed
found["left"] = [name for name in os.environ if name.startswith("OMP_P")]
threads = [os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task")]
found["apart"] = sum(len(cores) < len(allowed) for cores in threads)
print(json.dumps(found))
"""

LIMITS = ("OMP_", "MKL_")  # how variables begin that say how many threads there are

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or usable_cores() < 2,
    reason="one core, or a system without affinities",
)


def run() -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name[:4] not in LIMITS},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_threads_are_bound_and_the_main_thread_while_it_is_held() -> None:
    found = run()
    assert found["bound"]
    assert found["free"]
    assert len(found["held"]) < usable_cores()  # type: ignore[arg-type]
    assert found["released"]
    assert found["after"]
    assert found["left"] == []
    assert found["apart"], "OpenMP's other threads keep to their cores"


@pytest.mark.parametrize(
    "environment", [{"OMP_NUM_THREADS": "1"}, {"OMP_PROC_BIND": "false"}, {"OMP_PLACES": "cores"}]
)
def test_what_the_user_has_set_stands(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch, at whose import threads are bound, is then left to be imported by others."""
    for name in [name for name in os.environ if name.startswith("OMP_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert bind_openmp_threads() is UNBOUND
    assert "torch" not in sys.modules


def test_a_process_that_has_torch_already_is_left_alone() -> None:
    import torch  # noqa: F401

    assert bind_openmp_threads() is UNBOUND
