"""Models at addresses: fetched once, again when they change, and found offline."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests._helpers.s3 import upload
from tests._helpers.small_model import save
from translate.io import cached as module
from translate.io.address import StorageError
from translate.io.hub import OFFLINE
from translate.models.metadata import model_file, read_info


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv(OFFLINE, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The only file of a folder."""
    return save(tmp_path)


class QuietAnswers(SimpleHTTPRequestHandler):
    requests: list[str] = []

    def log_message(self, *_: object) -> None:
        self.requests.append(f"{self.command} {self.path}")


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    QuietAnswers.requests.clear()
    (tmp_path / "site").mkdir()
    handler: Any = partial(QuietAnswers, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_run_in_a_store_stands_for_its_model(
    model: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(model.parent, f"{memory}runs/fonts")
    file = model_file(f"{memory}runs/fonts")
    assert file.read_bytes() == model.read_bytes()
    assert file.is_relative_to(cache)
    assert read_info(file).summary == read_info(model).summary
    assert model_file(Path(f"{memory}runs/fonts/model.safetensors")) == file

    def refuse(*_: object) -> None:
        raise AssertionError("fetched again")

    monkeypatch.setattr(module.ListedFiles, "fetch", refuse)
    assert model_file(f"{memory}runs/fonts") == file


def test_a_model_that_has_changed_is_fetched_again(
    model: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = upload(model.parent, f"{memory}run")
    before = model_file(address)
    changed = model.read_bytes()[:-1] + b"\1"
    model.write_bytes(changed)
    upload(model.parent, address)
    after = model_file(address)
    assert after != before
    assert after.read_bytes() == changed
    assert not before.exists()

    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.setattr(module, "ListedFiles", None)
    assert model_file(address) == after
    with pytest.raises(ValueError, match="memory://other/model.safetensors: not fetched before"):
        model_file(f"{memory}other")


def test_a_model_that_is_not_there_is_named(memory: str) -> None:
    with pytest.raises(StorageError, match="memory://none/model.safetensors: no such file"):
        model_file(f"{memory}none")


def test_a_model_on_the_web_is_fetched_once(model: Path, website: str, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    os.replace(model, tmp_path / "site" / "fonts.safetensors")
    bytes = (tmp_path / "site" / "fonts.safetensors").read_bytes()
    address = f"{website}/fonts.safetensors?token=secret"
    for _ in range(2):
        assert model_file(address).read_bytes() == bytes
    assert [line.split()[0] for line in QuietAnswers.requests].count("GET") == 1
    with pytest.raises(StorageError, match=f"{website}/none: no such file") as caught:
        model_file(f"{website}/none?token=secret")
    assert "secret" not in str(caught.value)


def test_a_model_in_a_bucket(model: Path, bucket: str) -> None:
    address = upload(model.parent, f"{bucket}/models/fonts")
    assert model_file(address).read_bytes() == model.read_bytes()
    assert read_info(Path(f"{address}/model.safetensors")).parameters > 0
    with pytest.raises(StorageError, match=f"{bucket}/none/model.safetensors: no such file"):
        model_file(f"{bucket}/none")
