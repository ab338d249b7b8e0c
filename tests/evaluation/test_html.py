"""The page: what it says, that nothing of it comes from elsewhere, and that it works in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests._helpers.browser import Page, browser, chromium
from translate.evaluation.evaluator import Evaluation, MetricValue, Result
from translate.evaluation.html import html_page, to_data_uri
from translate.io.images import UInt8

EVIL = "<script>alert('x')</script>\"&'"


def figure(value: float, identity: float | None = None, warning: str | None = None) -> MetricValue:
    other = (
        None
        if identity is None
        else MetricValue(identity, identity - 0.01, identity + 0.01, 9, "lower")
    )
    return MetricValue(value, value - 0.02, value + 0.02, 9, "lower", other, warning=warning)


def result(names: list[str], side: int = 16, source: str = "A", to: str = "B") -> Result:
    """Pictures of one gray each: the source of image i is 10 i, translations 100, truths 200 - i."""
    figures = {
        "lpips_paired": figure(0.15, 0.2),
        "fid_alex": figure(7.0, 9.0, "no figure to quote"),
    }
    rows: list[dict[str, str | float]] = [
        {"name": name, "lpips_paired": 0.1 * (i * 7 % 5), "ssim": 0.9 - 0.1 * i}
        for i, name in enumerate(names)
    ]
    made = Result(f"{source}-{to}", source, to, figures, rows, {f"{side} x {side}": len(names)})

    def flat(gray: int) -> UInt8:
        return np.full((side, side, 3), gray, np.uint8)

    for i, name in enumerate(names):
        made.shown[name] = {
            "source": flat(10 * i % 256),
            "translation": flat(100),
            "truth": flat((200 - i) % 256),
        }
        made.shown[name] |= {
            "reconstruction": flat(50),
            "cycle": flat(60),
            "styles": np.stack([flat(1), flat(2)]),
        }
    made.swap = np.zeros((40, 30, 3), np.uint8)
    return made


def evaluation(*results: Result, broken: tuple[str, ...] = ()) -> Evaluation:
    versions = {"introshift": "0", "torch": "1"}
    return Evaluation(
        versions,
        "m" * 64,
        "w" * 64,
        None,
        "alex",
        0,
        16,
        "lanczos",
        ["a note"],
        [*broken],
        [*results],
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    lines = [json.dumps({"step": i, "rec": 1.0 / i, EVIL: i}) for i in range(1, 9)]
    (tmp_path / "run" / "stats.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "run"


class Elements(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_names_are_escaped_and_nothing_comes_from_elsewhere(run: Path) -> None:
    html = html_page(evaluation(result([EVIL, "b"], source=EVIL), broken=(EVIL,)), run)
    assert "<script>alert" not in html
    assert html.count("<script>") == 1
    elements = Elements(html).found
    assert [cell["data-name"] for tag, cell in elements if "data-name" in cell] == [EVIL, "b"]
    loading = ("src", "srcset", "href", "action", "data", "poster", "xlink:href", "background")
    for tag, attributes in elements:
        for name in loading:
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|WebSocket", html)
    assert "default-src 'none'" in html


@settings(max_examples=25)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        min_size=1,
        max_size=3,
        unique=True,
    )
)
def test_any_name_comes_back(names: list[str]) -> None:
    elements = Elements(html_page(evaluation(result(names)))).found
    assert [cell["data-name"] for _, cell in elements if "data-name" in cell] == names


def test_a_screen_reader_finds_its_way(run: Path) -> None:
    html = html_page(evaluation(result(["a", "b"]), result(["a"], source="B", to="A")), run)
    elements = Elements(html).found
    assert all(element["alt"] for tag, element in elements if tag == "img")
    ids = [element["id"] for _, element in elements if "id" in element]
    for _, element in elements:
        for name in ("aria-labelledby", "aria-controls"):
            assert element.get(name) is None or element[name] in ids
    assert [element.get("lang") for tag, element in elements if tag == "html"] == ["en"]
    assert sum(tag == "h1" for tag, _ in elements) == sum(tag == "main" for tag, _ in elements) == 1
    assert all("scope" in element for tag, element in elements if tag == "th")


def test_figures_that_are_not_to_be_quoted_are_no_headline(tmp_path: Path) -> None:
    html = html_page(evaluation(result(["a"])))
    assert html.count('<li class="tile">') == 1
    assert "-25 % better" in html
    assert "<strong>no figure to quote</strong>" in html
    assert "Training</h2>" not in html, "no run folder, no curves"
    (tmp_path / "stats.jsonl").write_text("")
    assert html_page(evaluation(result(["a"])), tmp_path) == html, "nor where nothing was logged"


def test_pictures_shrink_to_fit_and_small_ones_are_exact() -> None:
    rng = np.random.default_rng(0)

    def back(pixels: UInt8) -> UInt8:
        with Image.open(io.BytesIO(base64.b64decode(to_data_uri(pixels).split(",")[1]))) as image:
            return np.asarray(image)

    for shape in ((64, 33, 3), (5, 64, 1), (1, 1, 3)):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        assert np.array_equal(back(pixels), np.broadcast_to(pixels, (*shape[:2], 3)))
    large = np.linspace(0, 255, 600 * 300 * 3).reshape(600, 300, 3).astype(np.uint8)
    assert back(large).shape == (256, 128, 3)
    assert np.abs(back(large).mean((0, 1)) - large.mean((0, 1))).max() < 2


# In a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not chromium():
        pytest.skip(
            "no Chromium: install it (apt-get install chromium) to test the report in a browser"
        )
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


NAMES = ["b", "a10", "a9", "c", "d"]  # lpips_paired 0, .2, .4, .1, .3
CARDS = "[...document.querySelectorAll('#cards1 > .card')]"
ORDER = f"{CARDS}.map(card => card.dataset.name)"


@pytest.fixture
def report(page: Page, run: Path, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(
        html_page(evaluation(result(NAMES), result(NAMES, source="B", to="A")), run),
        encoding="utf-8",
    )
    page.requests.clear()
    return path


def sort_by(page: Page, value: str) -> list[str]:
    page.js(
        f"(s => {{ s.value = '{value}'; s.dispatchEvent(new Event('change')) }})(document.querySelector('.sort'))"
    )
    order: list[str] = page.js(ORDER)
    return order


def test_sorting(page: Page, report: Path) -> None:
    page.open(report)
    assert page.js(ORDER) == ["a9", "d", "a10", "c", "b"], "worst first"
    assert sort_by(page, "ssim") == ["d", "c", "a9", "a10", "b"], "the lowest is the worst"
    assert "ssim 0.5" in page.js(f"{CARDS}[0].querySelector('button').getAttribute('aria-label')")
    assert sort_by(page, "") == ["a9", "a10", "b", "c", "d"], "as people count"
    assert (page.requests, page.messages) == ([report.as_uri()], [])


def test_the_large_view_and_its_slider(page: Page, report: Path) -> None:
    page.open(report)
    page.js(f"{CARDS}[0].querySelector('button').click()")
    assert (
        page.js(
            "document.querySelector('dialog').open && document.querySelector('#viewed').textContent"
        )
        == "a9"
    )
    captions = page.js(
        "[...document.querySelectorAll('dialog figcaption')].map(x => x.textContent)"
    )
    kinds = ["source", "translation", "truth", "reconstruction", "cycle", "difference to truth"]
    assert captions == [*kinds, "style 1", "style 2"]

    def colours() -> list[list[int]]:
        """Of the stage, a quarter and three quarters of the way across."""
        box = page.js("JSON.stringify(document.querySelector('.compare').getBoundingClientRect())")
        decoded = "[...document.querySelectorAll('.compare img')].map(image => image.decode())"
        page.js(f"Promise.all({decoded}).then(() => true)")
        shot = report.with_name("stage.png")
        page.screenshot(shot)
        place = json.loads(box)
        with Image.open(shot) as image:
            row = int(place["y"] + place["height"] / 2)
            columns = (int(place["x"] + place["width"] * share) for share in (0.25, 0.75))
            return [list(image.getpixel((column, row))[:3]) for column in columns]  # type: ignore[index]

    assert colours() == [[20] * 3, [100] * 3], "half source, half translation"
    page.js("document.querySelector('dialog input').focus()")
    page.press("End")
    assert colours() == [[20] * 3] * 2, "all source"
    page.press("Home")
    assert colours() == [[100] * 3] * 2, "all translation"
    page.press("End")
    page.js(
        "(s => { s.value = 'truth'; s.dispatchEvent(new Event('change')) })(document.querySelector('.before'))"
    )
    assert colours() == [[198] * 3] * 2
    page.js("document.querySelector('[data-step=\"1\"]').click()")
    assert page.js("document.querySelector('#viewed').textContent") == "d"
    assert colours() == [[196] * 3] * 2, "the choice stays"
    page.press("Escape")
    page.wait("!document.querySelector('dialog').open")
    # The dialog tells of its end in a task of its own.
    page.wait("document.activeElement.getAttribute('aria-label')?.startsWith('Open d')")
    assert (page.requests, page.messages) == ([report.as_uri()], [])


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_wide_and_phone_light_and_dark(
    page: Page, report: Path, width: int, dark: bool, tmp_path: Path
) -> None:
    page.open(report, width, 844, dark)
    assert page.js("document.documentElement.scrollWidth") <= width, "nothing to scroll sideways"
    page.wait(f"{CARDS}[0].querySelectorAll('img').length > 0")
    shot = tmp_path / "shot.png"
    page.screenshot(shot)
    with Image.open(shot) as image:
        background, ink = (image.convert("L").getextrema()[i] for i in ((0, 1) if dark else (1, 0)))
    assert abs(int(background) - int(ink)) > 180, "readable"
    assert (int(background) < 60) == dark
    columns = page.js(
        "getComputedStyle(document.querySelector('.cards')).gridTemplateColumns.split(' ').length"
    )
    assert (columns == 1) == (width < 600)
    page.js(f"{CARDS}[0].querySelector('button').click()")
    assert page.js("document.querySelector('dialog').scrollWidth") <= width
    assert page.messages == []


def test_many_images_stay_quick(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    path.write_text(
        html_page(evaluation(result([f"{i:03}" for i in range(500)], 64))), encoding="utf-8"
    )
    page.open(path)
    page.wait(f"{CARDS}[0].querySelectorAll('img').length > 0")
    filled = page.js(f"{CARDS}.filter(card => card.querySelector('.thumbs img')).length")
    assert 0 < filled < 100, "only what is near the window"
    assert (
        page.js(
            "(t => (sort(document.querySelector('.sort')), performance.now() - t))(performance.now())"
        )
        < 2000
    )
    page.js("scrollTo(0, document.body.scrollHeight)")
    page.wait(f"{CARDS}[499].querySelector('.thumbs img') !== null")
    assert page.messages == []
