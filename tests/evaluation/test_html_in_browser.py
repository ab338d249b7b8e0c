"""The report in Chromium: sorting, the large view and its slider, narrow and dark, many images."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests._helpers.browser import fits, opened, screen
from tests._helpers.evaluations import drawn_direction, evaluation, write_log
from translate.evaluation.html import html_page

pytestmark = pytest.mark.browser
expect.set_options(timeout=60_000)  # ms, for a busy machine

NAMES = ["b", "a10", "a9", "c", "d"]  # lpips_paired 0, .2, .4, .1, .3


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two directions, with the curves of a training."""
    folder = tmp_path_factory.mktemp("report")
    write_log(folder)
    directions = (drawn_direction(NAMES), drawn_direction(NAMES, source="B", to="A"))
    page = html_page(evaluation(*directions), run=folder)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


def cards(page: Page) -> Locator:
    return page.locator("#cards1 > .card")


def order(page: Page) -> list[str]:
    names: list[str] = cards(page).evaluate_all("cards => cards.map(card => card.dataset.name)")
    return names


def sort_by(page: Page, column: str) -> list[str]:
    page.locator(".sort").first.select_option(column)
    return order(page)


def turn(page: Page, choice: str) -> list[str]:
    page.locator(".turn").first.select_option(choice)
    return order(page)


def shades(locator: Locator) -> tuple[int, ...]:
    """Red of an element's pixels a quarter and three quarters of the way across."""
    locator.locator("img").evaluate_all("images => Promise.all(images.map(x => x.decode()))")
    with Image.open(io.BytesIO(locator.screenshot())) as shot:
        middle = shot.height // 2
        pixels = [shot.convert("RGB").getpixel((shot.width * i // 4, middle)) for i in (1, 3)]
    return tuple(pixel[0] for pixel in pixels)  # type: ignore[index]


def test_sorting(page: Page, report: Path) -> None:
    with opened(page, report):
        assert order(page) == ["a9", "d", "a10", "c", "b"], "worst first"
        assert turn(page, "best first") == ["b", "c", "a10", "d", "a9"]
        assert sort_by(page, "ssim") == ["d", "c", "a9", "a10", "b"], "the lowest is the worst"
        label = cards(page).first.get_by_role("button")
        expect(label).to_have_accessible_name(re.compile("structural likeness 0.5"))
        assert sort_by(page, "") == ["a9", "a10", "b", "c", "d"], "as people count"
        assert turn(page, "Z to A") == ["d", "c", "b", "a10", "a9"]


def test_searching_by_name(page: Page, report: Path) -> None:
    with opened(page, report):
        search = page.get_by_role("searchbox").first
        search.fill("A1")
        expect(cards(page).filter(visible=True)).to_have_count(1)
        cards(page).filter(visible=True).get_by_role("button").click()
        expect(page.get_by_role("button", name="Next")).to_be_disabled()
        page.keyboard.press("Escape")
        search.fill("nothing")
        expect(cards(page).filter(visible=True)).to_have_count(0)
        expect(page.get_by_role("status").first).to_contain_text("no picture")
        search.fill("")
        expect(cards(page).filter(visible=True)).to_have_count(5)


def test_the_large_view_and_its_slider(page: Page, report: Path) -> None:
    with opened(page, report):
        cards(page).first.get_by_role("button").click()
        dialog = page.get_by_role("dialog", name="a9")
        kinds = ["input", "translation", "true picture", "reconstruction", "there and back"]
        captions = [*kinds, "style 1", "style 2", "difference to the true picture"]
        expect(dialog.locator(".strip .soft")).to_have_text(captions)
        expect(dialog.locator("dt")).to_have_text(["visible error", "structural likeness"])

        stage = page.locator(".compare")
        slider = page.get_by_role("slider")
        assert shades(stage) == (20, 100), "half input, half translation"
        slider.press("End")
        assert shades(stage) == (20, 20), "all input"
        slider.press("Home")
        assert shades(stage) == (100, 100), "all translation"
        slider.press("End")
        page.locator(".before").select_option("truth")
        assert shades(stage) == (198, 198)

        page.get_by_role("button", name="Next").click()
        expect(page.get_by_role("dialog", name="d")).to_be_visible()
        assert shades(stage) == (196, 196), "the choice stays"
        slider.press("Home")
        dialog = page.get_by_role("dialog", name="d")
        dialog.get_by_role("button", name="reconstruction").click()
        assert shades(stage) == (50, 50)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).not_to_be_visible()
        expect(page.locator(":focus")).to_have_accessible_name(re.compile("^Open d"))


def test_the_large_view_by_keys_fills_the_window(page: Page, report: Path) -> None:
    with opened(page, report):
        cards(page).first.get_by_role("button").press("Enter")
        stage = page.locator(".compare")
        box = stage.bounding_box()
        assert box
        assert box["height"] > 0.7 * page.viewport_size["height"]  # type: ignore[index]
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("dialog", name="d")).to_be_visible()
        page.keyboard.press("ArrowUp")
        expect(page.get_by_role("dialog", name="a9")).to_be_visible()
        page.keyboard.press("ArrowUp")
        expect(page.get_by_role("dialog", name="a9")).to_be_visible()
        page.get_by_role("button", name="Close").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.locator(":focus")).to_have_role("slider")


@pytest.mark.parametrize("width", [1280, 768, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_wide_and_phone_light_and_dark(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    with screen(browser, width, scheme) as context, opened(context.new_page(), report) as page:
        assert fits(page), "nothing to scroll sideways"
        expect(cards(page).first.locator(".thumbs img")).not_to_have_count(0)

        with Image.open(io.BytesIO(page.screenshot())) as shot:
            darkest, brightest = shot.convert("L").getextrema()
            background = shot.convert("L").getpixel((0, 0))
        assert brightest - darkest > 180, "readable"
        assert background < 60 if scheme == "dark" else background > 200
        columns = "cards => getComputedStyle(cards).gridTemplateColumns.split(' ').length"
        assert (page.locator("#cards1").evaluate(columns) == 1) == (width < 600)

        cards(page).first.get_by_role("button").click()
        dialog = page.get_by_role("dialog")
        assert dialog.evaluate("dialog => dialog.scrollWidth <= innerWidth")


def test_many_images_stay_quick(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    many = drawn_direction([f"{i:03}" for i in range(500)], side=64)
    path.write_text(html_page(evaluation(many)), encoding="utf-8")
    with opened(page, path):
        expect(cards(page).first.locator(".thumbs img")).not_to_have_count(0)
        expect(cards(page).filter(visible=True)).to_have_count(24)
        page.get_by_role("button", name="Show all 500").click()
        filled = cards(page).filter(has=page.locator(".thumbs img")).count()
        assert 0 < filled < 100, "only what is near the window"

        sorting = """select => {
          const start = performance.now();
          select.selectedIndex = 1;
          select.dispatchEvent(new Event("change"));
          return performance.now() - start;
        }"""
        assert page.locator(".sort").evaluate(sorting) < 2000  # ms
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(cards(page).last.locator(".thumbs img")).not_to_have_count(0)
