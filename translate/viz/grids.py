"""Contact sheets: many pictures as one, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from translate.io.images import UInt8, to_channels

Labels: TypeAlias = Sequence[str]

TILE = 64  # px a side that a tile of `sheet` has at least


def grid(
    rows: Sequence[Sequence[UInt8]],
    labels: Labels = (),
    row_labels: Labels = (),
    pad: int = 2,
    scale: int = 1,
) -> UInt8:
    """A contact sheet (H, W, 3) on white: tiles of one size, each pixel `scale` wide; labels too
    long are shortened.
    """
    tiles = [
        [Image.fromarray(to_channels(tile, 3).repeat(scale, 0).repeat(scale, 1)) for tile in row]
        for row in rows
    ]
    sizes = {tile.size for row in tiles for tile in row}
    if len(sizes) != 1:
        raise ValueError(f"a grid takes tiles of one size, not of {len(sizes)}")
    width, height = sizes.pop()
    font = ImageFont.load_default(size=min(max(width // 8, 11), 24))

    def fit(text: str, room: int) -> str:
        cuts = [
            text := " ".join(text.split()),
            *(f"{text[:end]}…" for end in range(len(text) - 1, 0, -1)),
        ]
        return next((cut for cut in cuts if font.getlength(cut) <= room), "")

    sides = [fit(text, max(3 * width, 120)) for text in row_labels]
    left = pad + (int(max(map(font.getlength, sides))) + 1 + pad if sides else 0)
    top = pad + (int(font.getbbox("Ág")[3]) + pad if labels else 0)
    across = width + pad
    down = height + pad
    sheet = Image.new(
        "RGB", (left + across * max(map(len, tiles)), top + down * len(tiles)), "white"
    )
    draw = ImageDraw.Draw(sheet)
    for i, text in enumerate(labels):
        draw.text((left + i * across + width / 2, top - pad), fit(text, width), "black", font, "md")
    for j, text in enumerate(sides):
        draw.text((left - pad, top + j * down + height / 2), text, "black", font, "rm")
    for j, row in enumerate(tiles):
        for i, tile in enumerate(row):
            sheet.paste(tile, (left + i * across, top + j * down))
    return np.array(sheet)


def image_grid(rows: Sequence[Sequence[UInt8]] | UInt8, labels: Labels = ()) -> UInt8:
    """Rows of pictures (H, W, C) of one size as a picture (H', W', 3), its tiles large enough to
    look at.
    """
    return grid(list(map(list, rows)), row_labels=labels, scale=-(-TILE // rows[0][0].shape[0]))
