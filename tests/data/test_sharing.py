"""Two processes of one node: the first decodes, the second maps what it wrote; and its failures."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate.config import from_dict
from translate.data.dataset import load_domains

ROOT = Path(__file__).parents[2]

# Counts what this process decodes, and may end or fail at the fifth picture.
PROGRAM = """
import hashlib, itertools, json, os, sys
from pathlib import Path
from translate.config import from_dict
from translate.data import dataset

root, fault, calls = sys.argv[1], sys.argv[2], itertools.count(1)
read_image, decoded = dataset.read_image, []

def counting(path, **options):
    decoded.append(path.name)
    if next(calls) == 5 and fault == "killed":
        os.kill(os.getpid(), 9)
    if next(calls) >= 5 and fault == "full":
        raise OSError(28, "No space left on device")
    return read_image(path, **options)

dataset.read_image = counting
config = from_dict({"data": {"root": root, "size": 16, "channels": 3, "held_out": 0.25}})
domains = dataset.load_domains(config.data)
hashes = [
    [hashlib.sha256(repr(x.shape).encode() + x.tobytes()).hexdigest() for x in images]
    for domain in domains for images in (domain.images, domain.held_out)
]
failed = [{str(path): reason for path, reason in domain.failed.items()} for domain in domains]
print(json.dumps({"decoded": len(decoded), "hashes": hashes, "failed": failed}))
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two domains of 40 pictures of three sizes, with one file that cannot be read."""
    rng = np.random.default_rng(0)
    for name in ("trainA", "trainB"):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for i in range(40):
            pixels = rng.integers(0, 256, (16 + i % 3, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:02}.png")
    (tmp_path / "pictures" / "trainA" / "broken \udcff.png").write_bytes(b"nothing")
    return tmp_path / "pictures"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def run_two(root: Path, temporary: Path, fault: str = "") -> list[tuple[int, str, str]]:
    """Run the program in two processes of one launch; return exit code, stdout and stderr of each.

    `fault` is that of the first. Fails where one of them hangs.
    """
    temporary.mkdir()
    launch = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, root, fault if rank == 0 else ""],
            env={**os.environ, **launch, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        # The second first: nobody has taken notice of the first one's end until it is done.
        second = processes[1].communicate(timeout=120)
        first = processes[0].communicate(timeout=120)
    finally:
        for process in processes:
            process.kill()
    return [(processes[0].returncode, *first), (processes[1].returncode, *second)]


def test_the_second_decodes_nothing_and_has_equal_images(pictures: Path, tmp_path: Path) -> None:
    ends = run_two(pictures, tmp_path / "temporary")
    assert [code for code, _, _ in ends] == [0, 0], ends
    first, second = (json.loads(out) for _, out, _ in ends)
    assert first.pop("decoded") == 81
    assert second.pop("decoded") == 0
    assert first == second
    assert not list((tmp_path / "temporary").iterdir())

    config = from_dict({"data": {"root": str(pictures), "size": 16, "held_out": 0.25}})
    alone = load_domains(config.data)
    counts = [len(images) for domain in alone for images in (domain.images, domain.held_out)]
    assert [len(hashes) for hashes in first["hashes"]] == counts
    names: list[Any] = [{str(path): why for path, why in d.failed.items()} for d in alone]
    assert first["failed"] == names


def test_one_message_for_both_where_the_data_are_unusable(tmp_path: Path) -> None:
    for code, _, err in run_two(tmp_path / "nowhere", tmp_path / "temporary"):
        assert code == 1
        assert "trainA: no such folder for domain A" in err.splitlines()[-1]
    assert not list((tmp_path / "temporary").iterdir())


def test_both_name_the_remedy_where_the_disk_is_full(pictures: Path, tmp_path: Path) -> None:
    for code, _, err in run_two(pictures, tmp_path / "temporary", "full"):
        assert code == 1
        assert "TMPDIR" in err.splitlines()[-1]
    assert not list((tmp_path / "temporary").iterdir())


def test_nobody_waits_for_a_process_that_was_killed(pictures: Path, tmp_path: Path) -> None:
    first, second = run_two(pictures, tmp_path / "temporary", "killed")
    assert first[0] == -signal.SIGKILL
    assert second[0] == 1
    assert "LOCAL_RANK 0" in second[2].splitlines()[-1]
    assert not list((tmp_path / "temporary").iterdir())
