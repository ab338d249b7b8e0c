"""Two processes of one node: the first decodes, the second maps what it wrote; and its failures."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch._C._distributed_c10d import HashStore

from translate.config import from_dict
from translate.data import sharing
from translate.data.dataset import load_domains

ROOT = Path(__file__).parents[2]

# Loads the domains of some folders, one after the other. Counts what this process decodes, and may
# end or fail at the fifth picture.
PROGRAM = """
import hashlib, itertools, json, os, sys
from translate.config import from_dict
from translate.data import dataset

read_image = dataset.read_image

def load(root, fault):
    calls, decoded = itertools.count(1), []

    def counting(path, **options):
        decoded.append(path.name)
        if next(calls) == 5 and fault == "killed":
            os.kill(os.getpid(), 9)
        if next(calls) >= 5 and fault == "full":
            raise OSError(28, "No space left on device")
        return read_image(path, **options)

    dataset.read_image = counting
    config = from_dict({"data": {"root": root, "size": 16, "channels": 3, "held_out": 0.25}})
    try:
        domains = dataset.load_domains(config.data)
    except ValueError as error:
        return {"error": str(error)}
    hashes = [
        [hashlib.sha256(repr(x.shape).encode() + x.tobytes()).hexdigest() for x in images]
        for domain in domains for images in (domain.images, domain.held_out)
    ]
    failed = [{str(path): reason for path, reason in domain.failed.items()} for domain in domains]
    return {"decoded": len(decoded), "hashes": hashes, "failed": failed}

for root, fault in json.loads(sys.argv[1]):
    print(json.dumps(load(root, fault)))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains of 40 pictures of three sizes, with one file that cannot be read."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in ("trainA", "trainB"):
        folder = root / name
        folder.mkdir()
        for i in range(40):
            pixels = rng.integers(0, 256, (16 + i % 3, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:02}.png")
    (root / "trainA" / "broken \udcff.png").write_bytes(b"nothing")
    return root


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def run_two(temporary: Path, *loads: tuple[Path, str]) -> list[tuple[int, str, str]]:
    """Run the program in two processes of one launch; return exit code, stdout and stderr of each.

    `loads` are folders, and the fault of the first process. Fails where one of them hangs.
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
    loads_of_rank = [
        [(str(root), fault if rank == 0 else "") for root, fault in loads] for rank in range(2)
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(loads_of_rank[rank])],
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


@pytest.fixture(scope="module")
def loaded(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What both processes of a launch tell of three loads: a good one, and two that fail."""
    root = tmp_path_factory.mktemp("loads")
    temporary = root / "temporary"
    ends = run_two(temporary, (pictures, ""), (root / "nowhere", ""), (pictures, "full"))
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert not list(temporary.iterdir())
    told = [[json.loads(line) for line in out.splitlines()] for _, out, _ in ends]
    return [list(pair) for pair in zip(*told, strict=True)]


def test_the_second_decodes_nothing_and_has_equal_images(
    pictures: Path, loaded: list[list[dict[str, Any]]]
) -> None:
    first, second = (dict(told) for told in loaded[0])
    assert first.pop("decoded") == 81
    assert second.pop("decoded") == 0
    assert first == second

    config = from_dict({"data": {"root": str(pictures), "size": 16, "held_out": 0.25}})
    alone = load_domains(config.data)
    counts = [len(images) for domain in alone for images in (domain.images, domain.held_out)]
    assert [len(hashes) for hashes in first["hashes"]] == counts
    names: list[Any] = [{str(path): why for path, why in d.failed.items()} for d in alone]
    assert first["failed"] == names


def test_one_message_for_both_where_the_data_are_unusable(
    loaded: list[list[dict[str, Any]]],
) -> None:
    for told in loaded[1]:
        assert "trainA: no such folder for domain A" in told["error"]


class SlowStore:
    """A client whose `set` returns before the store has the value, as TCPStore's does."""

    def __init__(self, store: HashStore) -> None:
        self.wait = store.wait
        self._store = store
        self._sending = ThreadPoolExecutor(1)

    def set(self, key: str, value: str) -> None:
        self._sending.submit(self._deliver, key, value)

    def get(self, key: str) -> bytes:
        value: bytes = self._sending.submit(self._store.get, key).result()
        return value

    def _deliver(self, key: str, value: str) -> None:
        time.sleep(0.2)
        self._store.set(key, value)


def test_the_others_learn_the_reason_from_a_slow_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store: Any = HashStore()
    slow: Any = SlowStore(store)

    def fail(file: Any) -> None:
        raise ValueError("no such folder")

    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(sharing._follow, store, "key")
        with pytest.raises(ValueError, match="^no such folder$"):
            sharing._lead(slow, "key", fail)
        with pytest.raises(ValueError, match="LOCAL_RANK 0 of this node: no such folder$"):
            other.result(timeout=60)


def test_both_name_the_remedy_where_the_disk_is_full(loaded: list[list[dict[str, Any]]]) -> None:
    for told in loaded[2]:
        assert "TMPDIR" in told["error"]


def test_nobody_waits_for_a_process_that_was_killed(pictures: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    first, second = run_two(temporary, (pictures, "killed"))
    assert first[0] == -signal.SIGKILL
    assert second[0] == 0, second
    assert "LOCAL_RANK 0" in json.loads(second[1])["error"]
    assert not list(temporary.iterdir())
