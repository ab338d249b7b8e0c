"""Before and after: the page's pictures and names, and the sheet's cells."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests._helpers.evaluations import EVIL
from translate.io.images import UInt8, read_image
from translate.viz.preview import (
    CELL,
    GAP,
    MARGIN,
    SHEET_WIDTH,
    PreviewRow,
    preview_page,
    preview_sheet,
    write_preview,
)


def flat(gray: int, height: int = 16, width: int = 16, channels: int = 3) -> UInt8:
    return np.full((height, width, channels), gray, np.uint8)


def embedded(page: str) -> list[UInt8]:
    """The pictures in a page, in order."""
    texts = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(text)))) for text in texts]


def test_the_page_holds_every_picture_and_label() -> None:
    rows = [
        PreviewRow("a.png", flat(10), [flat(20), flat(30, channels=1)], "A", "B"),
        PreviewRow("b.png", flat(40, 1000, 2000), [flat(50, 1000, 2000)]),
    ]
    page = preview_page(rows, "A to B", total=9)
    pictures = embedded(page)
    assert [picture[0, 0, 0] for picture in pictures[:3]] == [10, 20, 30], "small ones exactly"
    assert [int(picture[0, 0, 0]) for picture in pictures[3:]] == pytest.approx([40, 50], abs=2)
    assert pictures[3].shape == (384, 768, 3)
    assert re.findall(r'alt="([^"]*)"', page) == ["A", "B 1", "B 2", "before", "after"]
    assert "first 2 of 9" in page
    assert "first" not in preview_page(rows[:1], "A to B").split("<main>")[0].split("</style>")[1]


def test_names_are_escaped_and_nothing_comes_from_elsewhere() -> None:
    page = preview_page([PreviewRow(EVIL, flat(1), [flat(2)], EVIL, EVIL)], EVIL)
    assert EVIL not in page
    assert page.count("<script>") == 1
    assert not re.findall(r"(?:https?:|//)[\w.]+\.\w", page)


def test_the_sheet_has_every_picture_in_its_cell() -> None:
    sheet = preview_sheet([PreviewRow("a", flat(0, 64, 32), [flat(100, 300, 300)])])
    middle = MARGIN + CELL // 2
    assert sheet[middle, middle].tolist() == [0, 0, 0]
    assert sheet[middle, MARGIN + 2].tolist() == [255, 255, 255], (
        "as tall as the cell, half as wide"
    )
    assert sheet[middle, middle + CELL + GAP].tolist() == [100, 100, 100]
    assert (sheet[MARGIN + CELL :] < 128).any(), "the caption"


def test_many_rows_stay_within_the_width_of_a_sheet() -> None:
    sheet = preview_sheet([PreviewRow(str(i), flat(i), [flat(i)]) for i in range(48)])
    assert sheet.shape[1] <= SHEET_WIDTH
    wide = preview_sheet([PreviewRow("a", flat(1), [flat(2)] * 20)])
    assert wide.shape[1] > SHEET_WIDTH, "a row is never broken"


def test_files(tmp_path: Path) -> None:
    rows = [PreviewRow("永 Ä.png", flat(10), [flat(20)])]
    page, sheet = write_preview(tmp_path.joinpath, rows, "永")
    assert (page.name, sheet.name) == ("preview.html", "preview.png")
    assert "永 Ä.png" in page.read_text(encoding="utf-8")
    assert np.array_equal(read_image(sheet).pixels, preview_sheet(rows))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preview.html", "preview.png"]


@pytest.mark.parametrize(("height", "width"), [(1, 900), (900, 1), (1, 1)])
def test_odd_shapes(height: int, width: int) -> None:
    rows = [PreviewRow("a", flat(1, height, width), [flat(2, height, width)])]
    assert len(embedded(preview_page(rows, "t"))) == 2
    preview_sheet(rows)
