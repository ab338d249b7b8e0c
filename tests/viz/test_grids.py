"""translate.viz.grids: every tile in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests._helpers.encoders import PHOTO
from translate.viz.grids import grid


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 3),
    st.integers(1, 3),
)
def test_grid_places_every_tile(
    rows: int, columns: int, h: int, w: int, pad: int, scale: int
) -> None:
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (rows, columns, h, w, 3), dtype=np.uint8)
    picture = grid([list(row) for row in tiles], pad=pad, scale=scale)
    assert picture.shape == (rows * (h * scale + pad) + pad, columns * (w * scale + pad) + pad, 3)
    for j in range(rows):
        for i in range(columns):
            y = pad + j * (h * scale + pad)
            x = pad + i * (w * scale + pad)
            assert np.array_equal(
                picture[y : y + h * scale : scale, x : x + w * scale : scale], tiles[j, i]
            )
    inside = scale**2 * tiles.astype(int).sum()
    assert picture.astype(int).sum() == inside + 255 * (picture.size - scale**2 * tiles.size)


def test_grid_with_labels() -> None:
    black = np.zeros((40, 64, 1), np.uint8)
    bare = grid([[black] * 3, [black]])
    picture = grid(
        [[black] * 3, [black]],
        ["source", "a very long label indeed\nof two lines", ""],
        ["Ägypten", "漢字"],
    )
    top = picture.shape[0] - bare.shape[0]
    left = picture.shape[1] - bare.shape[1]
    assert top >= 11
    assert left >= 11
    # tiles, gaps and the missing ones
    assert np.array_equal(picture[top + 2 :, left + 2 :], bare[2:, 2:])
    ink = (picture[:top] < 128).any(axis=(0, 2))
    columns = [slice(left + 2 + i * 66, left + 66 + i * 66) for i in range(3)]
    assert ink[columns[0]].any()
    assert ink[columns[1]].any()
    assert not ink[columns[2]].any()
    assert ink.sum() == sum(ink[column].sum() for column in columns)  # no label leaves its column
    assert (picture[top + 2 : top + 42, :left] < 128).any()
    assert (picture[:, 0] == 255).all()
    assert (picture[0] == 255).all()


def test_grid_refuses_unlike_tiles() -> None:
    for rows in ([], [[]], [[PHOTO, PHOTO[:5]]]):
        with pytest.raises(ValueError, match="one size"):
            grid(rows)
