"""What several test files share: LPIPS weights, a tiny model file, pictures, the browser."""

from __future__ import annotations

import os
import shutil

# Before torch comes in, and for programs that tests start: with tensors so small, threads only wait
# for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from tests._helpers import s3
from tests._helpers.folders import build, draw
from translate.config import from_dict
from translate.inference.translator import Translator
from translate.metrics import inception
from translate.metrics.lpips import ENVIRONMENT
from translate.models.checkpoint import save_model
from translate.models.networks import Model
from translate.training import timing

# A busy machine is no failure; the same examples each time, so that a failure is the change's.
settings.register_profile(
    "any machine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def lpips_weights() -> Path:
    """AlexNet's weights: the environment's, else the shared ones, else the test is skipped."""
    path = Path(os.environ.get(ENVIRONMENT) or SHARED / "weights" / "alexnet_features.safetensors")
    if not path.exists():
        pytest.skip(
            f"no LPIPS weights: set {ENVIRONMENT} to a safetensors file with the features.* "
            "of torchvision's AlexNet"
        )
    return path


@pytest.fixture
def no_lpips_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without LPIPS weights and without a network."""

    def refuse(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)


@pytest.fixture(autouse=True)
def no_inception_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's cache holds must not change what is measured."""
    monkeypatch.delenv(inception.ENVIRONMENT, raising=False)
    monkeypatch.setattr(inception, "URL_INCEPTION_V3", "https://example.org/none.pth")


@pytest.fixture(autouse=True)
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests train for a moment, and timing a few steps before would take longer than that."""
    monkeypatch.setattr(timing, "BUDGET", 0.1)


@pytest.fixture
def model_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny random model; keyword arguments are the config's `data` section."""

    def write(**data: Any) -> Path:
        config = from_dict({"data": {"size": 16, **data}, "model": {"preset": "tiny", "width": 8}})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Model(config)
        save_model(tmp_path / "model.safetensors", model, config, {})
        return tmp_path / "model.safetensors"

    return write


@pytest.fixture
def pictures() -> Callable[..., Path]:
    """Fills a folder with random pictures of the given names (with suffix); returns the folder."""

    def write(
        folder: Path, names: Iterable[str], size: tuple[int, int] = (16, 16), seed: int = 0
    ) -> Path:
        rng = np.random.default_rng(seed)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
            Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / name)
        return folder

    return write


@pytest.fixture
def data(tmp_path: Path, pictures: Callable[..., Path]) -> Path:
    """A data folder with six pairs of test pictures, 000.png to 005.png."""
    for seed, name in enumerate("AB"):
        pictures(tmp_path / "data" / f"test{name}", [f"{i:03}.png" for i in range(6)], seed=seed)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return build(tmp_path_factory.mktemp("model"))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Good and bad files of many kinds, 14 good."""
    root = tmp_path / "in"
    for i, size in enumerate(
        [(1, 1), (200, 50), (50, 200), (16, 16), (17, 16), (16, 16), (33, 20)]
    ):
        draw(root / f"{i}.png", *size, seed=i)
    draw(root / "sub" / "deep er" / "ünï 図.png", 20, 20)
    draw(root / "sub" / "photo.JPG", 30, 20)
    draw(root / "sub" / "web.webp", 20, 31, "RGBA")
    draw(root / "gray.tif", 16, 16, "L")
    draw(root / "cmyk.jpeg", 16, 16, "CMYK")
    draw(root / "no suffix", 16, 16)
    draw(root / "page.gif", 16, 16, "P")
    (root / "empty.png").touch()
    (root / "notes.txt").write_text("hello")
    (root / "cut.png").write_bytes(draw(tmp_path / "whole.png", 40, 40).read_bytes()[:900])
    return root


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server, for all tests of a process."""
    for package in ("moto", "s3fs"):
        pytest.importorskip(package)
    with s3.serving() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket of that server, as s3://NAME; this process and those it starts find it."""
    import s3fs

    for name, value in {**s3.ENVIRONMENT, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"test-{os.urandom(6).hex()}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket_tried_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """That bucket, where what fails is not tried again."""
    import s3fs

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    return bucket


@pytest.fixture
def memory() -> Iterator[str]:
    """A store in the memory of this process, empty, as memory://."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield "memory://"
    MemoryFileSystem.store.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property: hypothesis wants no fixture made for each test."""
    return tmp_path_factory.mktemp("images")


PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The browser is the machine's own: nothing is downloaded."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium: install it (apt-get install chromium) to test pages in a browser")
    return {**browser_type_launch_args, "executable_path": program}


@pytest.fixture(scope="session")
def base_url() -> None:
    """Stand in for pytest-playwright's own, at whose definition pytest 9 warns."""
