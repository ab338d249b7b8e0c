"""Locks in stores: one run at a time, and a killed one keeps nobody out for long."""

from __future__ import annotations

import threading
import time

import pytest

from translate.io import lease as module
from translate.io.address import StorageError
from translate.io.folders import run_lock
from translate.io.lease import leased
from translate.io.storage import STATE, StoredFolder


@pytest.fixture
def store(memory: str, monkeypatch: pytest.MonkeyPatch) -> StoredFolder:
    monkeypatch.setattr(module, "BEAT", 0.05)
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    monkeypatch.setattr(module, "LOOK", 0.02)
    return StoredFolder(f"{memory}out")


def test_who_comes_second_is_refused_and_the_lease_is_given_back(store: StoredFolder) -> None:
    with leased(store, "lock"):
        assert store.read("lock")
        with pytest.raises(BlockingIOError, match="in use by another run"), leased(store, "lock"):
            pass
        assert store.read("lock")
    assert not store.read("lock")
    with leased(store, "lock"):
        pass


def test_a_lease_that_nobody_renews_is_taken_over(store: StoredFolder) -> None:
    store.create("lock", b"killed 3")
    with leased(store, "lock"):
        assert not store.read("lock").startswith(b"killed")


def test_who_waits_takes_turns(store: StoredFolder) -> None:
    inside: list[int] = []
    most: list[int] = []

    def take(number: int) -> None:
        with leased(store, "lock", wait=True):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)

    threads = [threading.Thread(target=take, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_who_has_lost_a_lease_is_told(store: StoredFolder) -> None:
    def lose() -> None:
        with leased(store, "lock"):
            store.write("lock", b"another 0")
            time.sleep(0.5)

    with pytest.raises(StorageError, match="another run has taken it over"):
        lose()
    assert store.read("lock") == b"another 0"


def test_runs_that_are_excluded_keep_out(store: StoredFolder) -> None:
    with store.sole("1-of-2", lambda owner: not owner.endswith("-of-2")):
        with pytest.raises(BlockingIOError), store.sole("1-of-1", lambda owner: True):
            pass
        with store.sole("2-of-2", lambda owner: not owner.endswith("-of-2")):
            pass
    store.create(f"{STATE}/{run_lock('2-of-2')}", b"killed 1")
    with store.sole("1-of-1", lambda owner: True):
        assert store.state() == [f"{STATE}/{run_lock('1-of-1')}"]
    assert store.state() == []
