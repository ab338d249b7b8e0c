"""Contact sheets: many pictures as one, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from translate.io.images import UInt8, to_channels

Labels: TypeAlias = Sequence[str]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

TILE = 64  # px a side that a tile of `image_grid` has at least


def grid(
    rows: Sequence[Sequence[UInt8]],
    labels: Labels = (),
    row_labels: Labels = (),
    pad: int = 2,
    scale: int = 1,
) -> UInt8:
    """Draw a contact sheet on white.

    Args:
        rows: pictures (H, W, 1 or 3), all of one size; rows may differ in length.
        labels: above the columns; too long ones are shortened.
        row_labels: left of the rows; too long ones are shortened.
        pad: px between tiles and around them.
        scale: px a side that each pixel becomes.

    Returns:
        uint8 (H', W', 3).

    Raises:
        ValueError: there are no pictures, or pictures of several sizes.
    """
    tiles = [
        [Image.fromarray(to_channels(tile, 3).repeat(scale, 0).repeat(scale, 1)) for tile in row]
        for row in rows
    ]
    sizes = {tile.size for row in tiles for tile in row}
    if len(sizes) != 1:
        raise ValueError(f"a grid takes tiles of one size, not of {len(sizes)}")

    width, height = sizes.pop()
    font = label_font(min(max(width // 8, 11), 24))
    sides = [fit_text(text, max(3 * width, 120), font) for text in row_labels]
    left = pad + (int(max(map(font.getlength, sides))) + 1 + pad if sides else 0)
    top = pad + (int(font.getbbox("Ág")[3]) + pad if labels else 0)
    across = width + pad
    down = height + pad
    columns = max(map(len, tiles))
    picture = Image.new("RGB", (left + across * columns, top + down * len(tiles)), "white")

    draw = ImageDraw.Draw(picture)
    for i, text in enumerate(labels):
        middle = left + i * across + width / 2
        draw.text((middle, top - pad), fit_text(text, width, font), "black", font, "md")
    for j, text in enumerate(sides):
        middle = top + j * down + height / 2
        draw.text((left - pad, middle), text, "black", font, "rm")
    for j, row in enumerate(tiles):
        for i, tile in enumerate(row):
            picture.paste(tile, (left + i * across, top + j * down))
    return np.array(picture)


def label_font(size: int) -> Font:
    """Return the font of labels in pictures, `size` px high."""
    return ImageFont.load_default(size=size)


def fit_text(text: str, room: int, font: Font) -> str:
    """Return text on one line, cut to at most `room` px; an empty one where no letter fits."""
    line = " ".join(text.split())
    cuts = (f"{line[:end]}…" for end in range(len(line) - 1, 0, -1))
    return next((cut for cut in (line, *cuts) if font.getlength(cut) <= room), "")


def image_grid(rows: Sequence[Sequence[UInt8]] | UInt8, labels: Labels = ()) -> UInt8:
    """Draw rows of pictures as one picture, its tiles large enough to look at.

    Args:
        rows: pictures (H, W, 1 or 3), all of one size.
        labels: left of the rows.

    Returns:
        uint8 (H', W', 3); each tile is at least TILE px high.
    """
    scale = -(-TILE // rows[0][0].shape[0])
    return grid(list(map(list, rows)), row_labels=labels, scale=scale)
