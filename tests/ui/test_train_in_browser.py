"""The tab Train in Chromium: a training from the page, stopped, found again and resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from pipelines.ui.runs import find_runs
from tests._helpers.browser import fits, screen
from tests._helpers.commands import fill
from tests._helpers.served import PATIENCE, Served, opened_page, served
from translate.models.metadata import LAST_MODEL, read_info
from translate.training.running import find_training

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TINY = (
    "train.batch_size=2",
    "train.log_every=2",
    "train.sample_every=10",
    "train.score_every=20",
    "train.checkpoint_every=10",
    "train.precision=fp32",
    "model.width=8",
)


def with_folders(folder: Path) -> Path:
    for name in ("first", "second"):
        fill(folder / name, count=24, size=32)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = with_folders(tmp_path / "served")
    yield folder
    for run in find_runs(folder):  # of a test that failed
        found = find_training(run)
        if found is not None:
            os.kill(found.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for tests that train nothing."""
    folder = with_folders(tmp_path_factory.mktemp("training") / "served")
    (folder / "link").symlink_to(tmp_path_factory.mktemp("outside"))
    with served(folder) as started:
        yield started


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.time() + PATIENCE
    while not condition():
        assert time.time() < end, "it did not come"
        time.sleep(0.1)


def choose(page: Page, label: str, value: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.click()
    box.fill(value)
    box.press("Enter")


def begin(page: Page, name: str, steps: int) -> None:
    """Start a training of the two folders from the page."""
    page.get_by_role("tab", name="Train").click()
    choose(page, "First folder", "first")
    choose(page, "Second folder", "second")
    expect(page.get_by_text("24 pictures, 32 px, gray")).to_have_count(2)
    expect(page.locator(".strip img").first).to_be_visible()
    expect(page.get_by_label("Name of the run")).to_have_value("first-to-second")
    page.get_by_label("Name of the run").fill(name)
    page.get_by_role("button", name="More settings").click()
    settings = "\n".join([*TINY, f"train.steps={steps}"])
    page.get_by_label("Settings, one a line").fill(settings)
    page.get_by_role("button", name="Start the training").click()


def state(page: Page) -> str:
    return page.locator("#run-state").inner_text()


def step(page: Page) -> int:
    found = re.search(r"step (\d+)", state(page))
    return int(found[1]) if found else 0


def test_sixty_steps_change_grid_and_curve(page: Page, folder: Path) -> None:
    with served(folder) as server, opened_page(page, server):
        begin(page, "sixty", 60)
        expect(page.locator("#plan")).to_contain_text("60 steps")
        expect(page.locator("#plan")).to_contain_text("introshift train")
        expect(page.locator("#run-state")).to_contain_text("Finished")
        assert step(page) == 60
        grids = page.get_by_role("slider")
        expect(grids).to_have_value("6")
        newest = page.locator("#grid img").get_attribute("src")
        expect(page.get_by_text("Grid 6 of 6: step 60, the newest")).to_be_visible()
        figures = page.locator("#curves figure")
        expect(figures).to_have_count(2)
        spoken = figures.first.get_attribute("aria-label") or ""
        assert spoken.count("at step") == 3
        expect(figures.first).to_contain_text("pictures as they were given")
        expect(figures.first).to_contain_text("model that is kept")

        grids.press("Home")
        expect(page.get_by_text("Grid 1 of 6: step 10")).to_be_visible()
        expect(page.locator("#grid img")).not_to_have_attribute("src", newest or "")

        page.get_by_role("button", name="Try the present model").click()
        page.locator("#attempt input[type=file]").set_input_files(folder / "first" / "0.png")
        expect(page.locator("#attempt img")).to_be_visible()
        page.get_by_role("button", name="Translate it").click()
        expect(page.locator("#attempt-translation img")).to_be_visible()
        run = folder / "runs" / "sixty"
        assert read_info(run).summary["step"] == 60
        assert find_training(run) is None


def test_a_stopped_training_keeps_a_model_and_goes_on_at_its_step(page: Page, folder: Path) -> None:
    run = folder / "runs" / "long"
    with served(folder) as server, opened_page(page, server):
        begin(page, "long", 100_000)
        expect(page.locator("#grid img")).to_be_visible()
        page.reload()
        page.get_by_role("tab", name="Train").click()
        expect(page.get_by_label("Training", exact=True)).to_have_value("runs/long")
        before = step(page)
        wait_for(lambda: step(page) > before)

        page.get_by_role("button", name="Stop and keep the model").click()
        expect(page.locator("#run-state")).to_contain_text("Interrupted")
        assert find_training(run) is None
        assert read_info(run).config.train.steps == 100_000
        stopped = read_info(run / LAST_MODEL).summary["step"]
        assert stopped == step(page)

        page.get_by_role("button", name="Resume").click()
        wait_for(lambda: step(page) > stopped)
        page.get_by_role("button", name="Stop and keep the model").click()
        expect(page.locator("#run-state")).to_contain_text("Interrupted")
        assert f"resumed at step {stopped}" in (run / "terminal.log").read_text()
        lines = (run / "stats.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps)), "no step is logged twice"
        assert steps[-1] > stopped


def test_the_end_of_the_server_is_none_of_the_training(page: Page, folder: Path) -> None:
    run = folder / "runs" / "long"
    with served(folder) as server, opened_page(page, server):
        begin(page, "long", 100_000)
        expect(page.locator("#grid img")).to_be_visible()
        page.goto("about:blank")
        found = find_training(run)
        assert found is not None
    states = sorted((run / "state").iterdir())
    wait_for(lambda: sorted((run / "state").iterdir()) != states)  # it goes on, and is saved
    assert find_training(run) == found

    with served(folder) as server, opened_page(page, server):
        page.get_by_role("tab", name="Train").click()
        before = step(page)
        wait_for(lambda: step(page) > before)
        # who stops a service sends SIGTERM to all of its processes
        os.kill(found.pid, signal.SIGTERM)
        page.goto("about:blank")
    wait_for(lambda: find_training(run) is None)
    assert read_info(run / LAST_MODEL).summary["step"] > before
    assert "interrupted at step" in (run / "terminal.log").read_text()


def test_mistakes_are_told_in_the_words_of_the_command_line(page: Page, server: Served) -> None:
    with opened_page(page, server):
        page.get_by_role("tab", name="Train").click()
        refused = {"../..": "without ..", "/etc": "leads out", "link": "leads out"}
        for name, words in refused.items():
            choose(page, "First folder", name)
            expect(page.get_by_text(words).last).to_be_visible()
        choose(page, "First folder", "first")
        choose(page, "Second folder", "second")
        page.get_by_role("button", name="More settings").click()
        page.get_by_label("Settings, one a line").fill("train.setps=5")
        page.get_by_role("button", name="Look and plan").click()
        expect(page.get_by_text("train.setps").last).to_be_visible()
        expect(page.get_by_text("train.steps").last).to_be_visible()


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widths_and_schemes(browser: Browser, server: Served, width: int, scheme: str) -> None:
    with screen(browser, width, scheme) as context, opened_page(context.new_page(), server) as page:
        page.get_by_role("tab", name="Train").click()
        choose(page, "First folder", "first")
        expect(page.locator(".strip img").first).to_be_visible()
        assert fits(page)
        page.get_by_role("tab", name="Models").click()
        expect(page.locator("#about-model table")).to_be_visible()
        assert fits(page)
