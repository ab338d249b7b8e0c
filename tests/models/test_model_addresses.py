"""Models at addresses: fetched once, again when they change, and found offline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._helpers.s3 import upload
from tests._helpers.small_model import save
from tests._helpers.website import website
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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A website of the folder `site`, and the requests that it gets."""
    (tmp_path / "site").mkdir()
    with website(tmp_path / "site") as served:
        yield served


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


def test_a_model_on_the_web_is_fetched_once(
    model: Path, site: tuple[str, list[str]], tmp_path: Path
) -> None:
    there, requests = site
    pytest.importorskip("aiohttp")
    os.replace(model, tmp_path / "site" / "fonts.safetensors")
    bytes = (tmp_path / "site" / "fonts.safetensors").read_bytes()
    address = f"{there}/fonts.safetensors?token=secret"
    for _ in range(2):
        assert model_file(address).read_bytes() == bytes
    assert [line.split()[0] for line in requests].count("GET") == 1
    with pytest.raises(StorageError, match=f"{there}/none: no such file") as caught:
        model_file(f"{there}/none?token=secret")
    assert "secret" not in str(caught.value)


def test_a_model_in_a_bucket(model: Path, bucket: str) -> None:
    address = upload(model.parent, f"{bucket}/models/fonts")
    assert model_file(address).read_bytes() == model.read_bytes()
    assert read_info(Path(f"{address}/model.safetensors")).parameters > 0
    with pytest.raises(StorageError, match=f"{bucket}/none/model.safetensors: no such file"):
        model_file(f"{bucket}/none")
