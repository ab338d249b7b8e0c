"""A newcomer's first hour, from the wheel to pages in the browser, and how long each step takes.

Run it with `python -m pytest -s tests/pipelines/test_first_hour.py` to see the seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from tests._helpers.browser import fits, opened
from tests._helpers.wheel import Installed, build_wheel, install
from translate.metrics.lpips import ENVIRONMENT

pytestmark = [pytest.mark.slow, pytest.mark.browser]

WIDTHS = (390, 768, 1280)
GOOD, BROKEN, OTHER = 18, 2, 5  # files of `mixed_folder`
QUICK = ("train.steps=60", "train.score_every=30", "train.sample_every=20", "train.log_every=10")


class Clock:
    """Seconds of each step, printed as they pass."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        print()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        print(f"{self.seconds[name]:7.1f} s  {name}", flush=True)


def mixed_folder(folder: Path) -> Path:
    """What a folder of pictures holds in practice: 25 files, of which 18 are whole pictures."""
    folder.mkdir()
    rng = np.random.default_rng(0)

    def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
        coarse = rng.integers(0, 256, (6, 6, 4), np.uint8)
        return Image.fromarray(coarse).resize((width, height)).convert(mode)

    for i in range(6):
        picture(40 + 20 * i, 60, "RGB").save(folder / f"plain {i}.png")
    picture(64, 64, "L").save(folder / "gray.png")
    picture(64, 64, "RGBA").save(folder / "see-through.png")
    picture(64, 64, "P").save(folder / "palette.gif")
    picture(64, 64, "CMYK").save(folder / "print.jpg")
    deep = rng.integers(0, 65536, (64, 64), np.uint16)
    Image.fromarray(deep).save(folder / "sixteen bits.png")
    picture(3000, 2000).save(folder / "large.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(80, 40).save(folder / "on its side.jpg", exif=turned)
    picture(1, 1).save(folder / "dot.png")
    picture(400, 20).save(folder / "wide.png")
    picture(50, 50).save(folder / "web.webp")
    picture(50, 50).save(folder / "scan.tiff")
    (folder / "sub").mkdir()
    picture(50, 50).save(folder / "sub" / "図 ünï.bmp")

    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes((folder / "plain 5.png").read_bytes()[:400])
    for name in (".DS_Store", "._plain 0.png", "Thumbs.db", "desktop.ini", "notes.txt"):
        (folder / name).write_bytes(b"\0\x05\x16\x07 no picture")
    return folder


def look_at(page: Page, path: Path, *files: Path) -> None:
    """Open a page at all widths: no sideways scrolling, no message, no request but for `files`."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        with opened(page, path, *files):
            assert fits(page), (path.name, width)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Installed:
    """The wheel, for a user without network, caches and settings."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing answers
    home = tmp_path / "home"
    with clock.step("build the wheel"):
        (tmp_path / "wheel").mkdir()
        wheel = build_wheel(tmp_path / "wheel")
    with clock.step("install it"):
        cwd = tmp_path / "desk"
        cwd.mkdir()
        environment = install(wheel, tmp_path / "venv", cwd)
    return replace(environment, extra={"HOME": str(home), "TORCH_HOME": str(home / "torch")})


def test_the_first_hour(installed: Installed, tmp_path: Path, page: Page, clock: Clock) -> None:
    user = installed.introshift
    desk = installed.cwd

    with clock.step("introshift try"):
        assert "introshift try" in user("try")
    with clock.step("look at its page"):
        look_at(page, desk / "introshift-try" / "preview.html")
    with clock.step("introshift doctor"):
        assert "model emoji" in user("doctor")

    # the pictures are in one folder, the config in a second, the run in a third
    data = tmp_path / "pictures"
    user("data", "glyphs", data)
    config = tmp_path / "project" / "letters.yaml"
    config.parent.mkdir()
    with clock.step("introshift init"):
        user("init", data, "-o", config)
    settings = [word for setting in QUICK for word in ("--set", setting)]
    run = desk / "run"
    with clock.step("introshift train, 60 steps"):
        done = json.loads(user("train", config, "--out", run, *settings, "--json"))
    assert done["step"] == 60

    folder = mixed_folder(tmp_path / "mixed")
    assert sum(path.is_file() for path in folder.rglob("*")) == GOOD + BROKEN + OTHER
    with clock.step("introshift translate, 25 files"):
        words = ["translate", run, folder, "translated", "--to", "b", "--preview", "--json"]
        done = json.loads(user(*words, code=1))  # two are broken
    assert (done["ok"], done["failed"]) == (GOOD, BROKEN)
    assert (desk / "translated" / "sub" / "図 ünï.bmp").exists()
    with clock.step("look at the translations"):
        look_at(page, desk / "translated" / "preview.html")

    with clock.step("introshift evaluate"):
        user("evaluate", run, data, "--out", "report")
    with clock.step("look at the report and the live page"):
        look_at(page, desk / "report" / "report.html")
        look_at(page, run / "live.html", *run.rglob("*"))

    print(f"{sum(clock.seconds.values()):7.1f} s  altogether")
    assert clock.seconds["introshift try"] < 60
