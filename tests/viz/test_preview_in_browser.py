"""The page before and after in Chromium: its slider, keys and mouse; narrow, wide, light, dark."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests._helpers.browser import fits, opened, screen
from translate.io.images import UInt8
from translate.viz.preview import PreviewRow, write_preview

pytestmark = pytest.mark.browser
expect.set_options(timeout=60_000)  # ms, for a busy machine


def flat(gray: int, height: int = 16, width: int = 16) -> UInt8:
    return np.full((height, width, 3), gray, np.uint8)


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        PreviewRow("first.png", flat(20), [flat(100), flat(200)], "A", "B"),
        PreviewRow("second " + 60 * "long", flat(30, 90, 600), [flat(110, 90, 600)], "A", "B"),
        PreviewRow("third.png", flat(40, 600, 90), [flat(120, 600, 90)], "A", "B"),
    ]
    return write_preview(tmp_path_factory.mktemp("preview").joinpath, rows, "A to B")[0]


def shades(page: Page) -> list[int]:
    """Gray of the stage a quarter and three quarters of the way across."""
    stage = page.locator(".compare")
    stage.locator("img").evaluate_all("images => Promise.all(images.map(x => x.decode()))")
    with Image.open(io.BytesIO(stage.screenshot())) as shot:
        gray = np.asarray(shot.convert("L"))
    return [int(gray[gray.shape[0] // 2, gray.shape[1] * i // 4]) for i in (1, 3)]


def test_the_slider_by_keys_and_mouse(page: Page, preview: Path) -> None:
    with opened(page, preview):
        page.get_by_role("button", name="Compare first.png").click()
        slider = page.get_by_role("slider")
        expect(slider).to_be_focused()
        assert shades(page) == [20, 100]
        for _ in range(30):
            page.keyboard.press("ArrowRight")
        assert shades(page) == [20, 20]
        page.get_by_label("Translation").select_option("B 2")
        box = page.locator(".compare").bounding_box()
        assert box
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * 0.6, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + 1, middle)
        page.mouse.up()
        assert shades(page) == [200, 200]


def test_up_and_down_go_through_the_pictures(page: Page, preview: Path) -> None:
    with opened(page, preview):
        page.get_by_role("button", name="Compare first.png").click()
        for name in ("second", "third", "third"):
            page.keyboard.press("ArrowDown")
            expect(page.get_by_role("dialog").get_by_role("heading")).to_contain_text(name)
        expect(page.get_by_role("button", name="Next")).to_be_disabled()
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Compare third.png")).to_be_focused()


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widths_and_schemes(browser: Browser, preview: Path, width: int, scheme: str) -> None:
    with screen(browser, width, scheme) as context, opened(context.new_page(), preview) as page:
        assert fits(page)
        with Image.open(io.BytesIO(page.screenshot())) as shot:
            background = shot.convert("L").getpixel((0, 0))
        assert (background < 60) == (scheme == "dark")
        for name in ("first", "second", "third"):
            page.get_by_role("button", name=f"Compare {name}").click()
            assert fits(page)
            stage = page.locator(".stage").bounding_box()
            assert stage
            assert stage["y"] + stage["height"] <= 844, "all of it is in the window"
            page.keyboard.press("Escape")
