"""Pictures before and after their translation: preview.html, a page, and preview.png, a sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from translate.io.files import write_text
from translate.io.images import UInt8, resize, to_channels, write_image
from translate.viz.grids import fit_text, label_font
from translate.viz.pages import SMALL, render_page, to_data_uri

PAGE = "preview.html"
SHEET = "preview.png"
LARGE = 768  # px a side that pictures of the page have at most
CELL = 192  # px a side of the sheet's pictures
SHEET_WIDTH = 1600  # px that the sheet is wide at most, unless a single row is wider
GAP = 4  # px between the pictures of a row
MARGIN = 20  # px between rows, and around them


@dataclass(frozen=True)
class PreviewRow:
    """A picture and what it became.

    Args:
        caption: What is written below, such as the file's name.
        source: uint8 (H, W, 1 or 3).
        translations: As `source`, at least one; sizes may differ.
        source_label: Such as the name of the source's domain.
        target_label: Such as the name of the target; several translations are numbered.
    """

    caption: str
    source: UInt8
    translations: Sequence[UInt8]
    source_label: str = "before"
    target_label: str = "after"

    @property
    def pictures(self) -> list[UInt8]:
        """The source, then the translations."""
        return [self.source, *self.translations]

    @property
    def labels(self) -> list[str]:
        """A label for each of `pictures`."""
        count = len(self.translations)
        numbers = [f" {k}" for k in range(1, count + 1)] if count > 1 else [""]
        return [self.source_label, *(f"{self.target_label}{number}" for number in numbers)]


def write_preview(
    place: Callable[[str], Path], rows: Sequence[PreviewRow], title: str, total: int = 0
) -> list[Path]:
    """Write preview.html and preview.png, each all or nothing.

    Args:
        place: Where a file of a name goes.
        rows: At least one.
        title: Of the page.
        total: How many pictures there are, of which `rows` are the first; default: these.

    Returns:
        The paths of the page and of the sheet.
    """
    page = place(PAGE)
    sheet = place(SHEET)
    write_text(page, preview_page(rows, title, total))
    write_image(sheet, preview_sheet(rows))
    return [page, sheet]


def preview_page(rows: Sequence[PreviewRow], title: str, total: int = 0) -> str:
    """Return the page: cards of pictures, and a large view with a slider; see `write_preview`."""
    shown = f"{len(rows)} picture{'s' if len(rows) > 1 else ''}"
    if total > len(rows):
        shown = f"The first {len(rows)} of {total} pictures"
    return render_page(
        "translate.viz",
        "preview.html",
        title=title,
        summary=f"{shown}.",
        widest=max(len(row.pictures) for row in rows),
        cards=[_card(row) for row in rows],
    )


def _card(row: PreviewRow) -> dict[str, Any]:
    """Return what the template shows of a row."""
    height, width = row.source.shape[:2]
    pictures = [
        {
            "label": label,
            "uri": to_data_uri(pixels, LARGE),
            "width": pixels.shape[1],
            "height": pixels.shape[0],
        }
        for label, pixels in zip(row.labels, row.pictures, strict=True)
    ]
    return {
        "caption": row.caption,
        "pictures": pictures,
        "small": max(height, width) <= SMALL,
        "aspect": round(width / height, 5),
    }


def preview_sheet(rows: Sequence[PreviewRow]) -> UInt8:
    """Draw all rows as one picture on white, several beside each other where they fit.

    Args:
        rows: At least one; pictures may differ in size.

    Returns:
        uint8 (H, W, 3).
    """
    font = label_font(14)
    line = int(font.getbbox("Ág")[3]) + 4
    widest = max(len(row.pictures) for row in rows)
    across = widest * (CELL + GAP) - GAP + MARGIN
    down = CELL + 2 * line + MARGIN
    columns = max(1, min(len(rows), (SHEET_WIDTH - MARGIN) // across))
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (MARGIN + columns * across, MARGIN + lines * down), "white")

    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        left = MARGIN + i % columns * across
        top = MARGIN + i // columns * down
        for label, pixels in zip(row.labels, row.pictures, strict=True):
            cell = Image.fromarray(_fit_cell(pixels))
            sheet.paste(cell, (left + (CELL - cell.width) // 2, top + (CELL - cell.height) // 2))
            draw.text((left, top + CELL + 2), fit_text(label, CELL, font), "#666666", font)
            left += CELL + GAP
        start = MARGIN + i % columns * across
        caption = fit_text(row.caption, across - MARGIN, font)
        draw.text((start, top + CELL + line), caption, "black", font)
    return np.array(sheet)


def _fit_cell(pixels: UInt8) -> UInt8:
    """Enlarge or reduce (H, W, C) to CELL px a side, small ones by a whole factor, in colour."""
    longest = max(pixels.shape[:2])
    if longest <= SMALL:
        factor = CELL // longest
        return to_channels(pixels, 3).repeat(factor, 0).repeat(factor, 1)
    height, width = (max(1, round(length * CELL / longest)) for length in pixels.shape[:2])
    return to_channels(resize(pixels, (width, height)), 3)
