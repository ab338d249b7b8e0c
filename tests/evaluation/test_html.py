"""The page: its text, names that are no plain text, and that nothing of it comes from elsewhere."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests._helpers.evaluations import EVIL, drawn_direction, evaluation, write_log
from translate.evaluation.html import html_page
from translate.io.images import UInt8
from translate.viz.pages import to_data_uri


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    write_log(tmp_path / "run")
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
    html = html_page(evaluation(drawn_direction([EVIL, "b"], source=EVIL), broken=(EVIL,)), run)
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
    elements = Elements(html_page(evaluation(drawn_direction(names)))).found
    assert [cell["data-name"] for _, cell in elements if "data-name" in cell] == names


def test_a_screen_reader_finds_its_way(run: Path) -> None:
    html = html_page(
        evaluation(drawn_direction(["a", "b"]), drawn_direction(["a"], source="B", to="A")), run
    )
    elements = Elements(html).found
    assert all(element["alt"] for tag, element in elements if tag == "img")
    ids = [element["id"] for _, element in elements if "id" in element]
    for _, element in elements:
        for name in ("aria-labelledby", "aria-controls"):
            assert element.get(name) is None or element[name] in ids
    assert [element.get("lang") for tag, element in elements if tag == "html"] == ["en"]
    assert sum(tag == "h1" for tag, _ in elements) == sum(tag == "main" for tag, _ in elements) == 1
    assert all("scope" in element for tag, element in elements if tag == "th")


def test_metrics_that_are_not_to_be_quoted_are_no_headline(tmp_path: Path) -> None:
    html = html_page(evaluation(drawn_direction(["a"])))
    assert html.count('<li class="tile">') == 1
    assert "25 % better" in html
    assert "-25 %" not in html
    assert "<strong>not to be quoted</strong>" in html
    assert "Training</h2>" not in html, "no run folder, no curves"
    (tmp_path / "stats.jsonl").write_text("")
    assert html_page(evaluation(drawn_direction(["a"])), tmp_path) == html, (
        "nor where nothing was logged"
    )


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
