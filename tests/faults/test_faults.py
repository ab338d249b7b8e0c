"""A few disturbances of each kind; `make faults TIMES=100` is for many."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOUNTS = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
@pytest.mark.parametrize("work", ["translate", "shards", "train"])
@pytest.mark.parametrize("fault", ["kill", "full", "power"])
def test_what_is_disturbed_ends_with_the_same_bytes(fault: str, work: str) -> None:
    if fault != "kill" and not MOUNTS:
        pytest.skip("mounts file systems, for which it needs to be root on Linux")
    command = [sys.executable, "-m", "tests.faults.run", fault, work, "--times", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 lost, 0 ended with other bytes" in done.stdout
