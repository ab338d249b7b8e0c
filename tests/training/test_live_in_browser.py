"""The page of a run in Chromium: it follows the run, keeps its place, and needs nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests._helpers.browser import fits, opened, screen
from tests._helpers.evaluations import EVIL
from translate.config import Config
from translate.io.images import write_image
from translate.training import live
from translate.training.live import DATA, LivePage, LiveState

pytestmark = pytest.mark.browser
expect.set_options(timeout=60_000)  # ms, for a busy machine

STATE = LiveState(
    live.INTROSPECTIVE,
    step=20,
    progress=0.2,
    seconds=60.0,
    seconds_left=240.0,
    speed=80.0,
    introspective=10,
    rollbacks=1,
    quality="A to B: 31 % nearer to B than the untranslated pictures",
    advice=(EVIL, "train longer " * 20),
    remarks=("a note",),
)


class Run:
    """A run that writes its page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "samples").mkdir()
        self.page = LivePage(folder)
        self.page.open(Config())
        self.state = STATE

    def tell(self, step: int, distance: float, **changes: object) -> None:
        name = self.folder / "samples" / f"step_{step:07d}.png"
        write_image(name, np.full((300, 900, 3), step, np.uint8))
        score = {"source": "A", "to": "B", "distance": distance, "identity": 2.0}
        line = {"step": step, "best_step": step, "direction_scores": [score]}
        with open(self.folder / "scores.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.state = dataclasses.replace(self.state, step=step, **changes)
        self.page.update(self.state)

    @property
    def files(self) -> list[Path]:
        return [self.folder / DATA, *(self.folder / "samples").iterdir()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "a run & 永")
    made.tell(10, 3.0)
    made.tell(20, 1.0)
    return made


def look(page: Page) -> None:
    """Look for news at once instead of in some seconds."""
    page.evaluate("(clearTimeout(timer), look())")


def test_it_follows_a_run_and_keeps_its_place(page: Page, run: Run) -> None:
    (run.folder / "samples" / "step_0000030.png").touch()  # its name is known to `files`
    with opened(page, run.folder / "live.html", *run.files):
        expect(page.get_by_role("status")).to_contain_text("Introspective phase")
        expect(page.locator("#numbers")).to_contain_text("about 4 min left")
        expect(page.locator("#shown")).to_have_text("step 20, newest")
        expect(page.locator(".advice li").first).to_have_text(EVIL)
        expect(page.locator("circle")).to_have_count(2)
        expect(page.locator("circle.kept")).to_have_count(1)
        expect(page.locator("svg .nothing")).to_have_count(1)
        expect(page.locator("svg .back")).to_have_count(1)

        run.tell(30, 0.5)
        look(page)
        expect(page.locator("#shown")).to_have_text("step 30, newest")
        expect(page.locator("circle")).to_have_count(3)

        page.get_by_role("slider").press("Home")
        expect(page.locator("#shown")).to_have_text("step 10")
        run.tell(30, 0.5, phase=live.FINISHED)
        look(page)
        expect(page.get_by_role("status")).to_contain_text("Finished")
        expect(page.locator("#shown")).to_have_text("step 10")
        page.reload()
        expect(page.locator("#shown")).to_have_text("step 10")
        page.get_by_role("button", name="Later").click()
        page.get_by_role("button", name="Later").click()
        expect(page.locator("#shown")).to_have_text("step 30, newest")


def test_a_run_that_was_killed_is_not_shown_as_running(
    page: Page, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LEAST_PATIENCE", -1.0)
    monkeypatch.setattr(live, "PATIENCE", 0.0)
    run.tell(20, 1.0)
    with opened(page, run.folder / "live.html", *run.files):
        expect(page.get_by_role("status")).to_contain_text("No news")


def test_before_the_first_grid_and_score(page: Page, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.page.update(LiveState(live.WARMING_UP, 0, 0.0, 0.0))
    with opened(page, run.folder / "live.html", run.folder / DATA):
        expect(page.get_by_role("status")).to_contain_text("Warming up")
        expect(page.locator("#no-grid")).to_be_visible()
        expect(page.locator("#no-score")).to_contain_text("1000 steps")


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widths_and_schemes(browser: Browser, run: Run, width: int, scheme: str) -> None:
    with (
        screen(browser, width, scheme) as context,
        opened(context.new_page(), run.folder / "live.html", *run.files) as page,
    ):
        expect(page.locator("circle")).to_have_count(2)
        assert fits(page)
        size = "text => text.getBoundingClientRect().height"
        assert page.locator("svg text").first.evaluate(size) >= 11, "readable"
