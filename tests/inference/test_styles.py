"""Directions of a translation: found out or refused from the domains' names, without a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from translate.inference.styles import OWN, Style, resolve_direction

EXEMPLAR = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("names", "to", "source", "style", "direction"),
    [
        ("AB", "B", None, "auto", (0, 1)),
        ("AB", "A", None, "auto", (1, 0)),
        ("AB", "A", "B", "random", (1, 0)),
        ("AB", "B", None, EXEMPLAR, (0, 1)),
        ("AB", "B", None, [EXEMPLAR], (0, 1)),
        ("ABC", "A", "C", "mean", (2, 0)),
        ("AB", "B", "A", "keep", (0, 1)),
        ("AB", "B", None, OWN, (1, 1)),
        ("ABC", "C", "C", OWN, (2, 2)),
        ("A", "A", None, OWN, (0, 0)),
        ("AB", None, "B", "auto", (1, 0)),
        ("AB", None, "B", OWN, (1, 1)),
        ("AB", "b", "a", "auto", (0, 1)),
        (["summer", "winter"], "Win", None, "auto", (0, 1)),
        (["glow", "glowing"], "GLOW", None, "auto", (1, 0)),
    ],
)
def test_a_direction_is_found(
    names: Sequence[str],
    to: str | None,
    source: str | None,
    style: Style,
    direction: tuple[int, int],
) -> None:
    assert resolve_direction(list(names), to, source, style) == direction


@pytest.mark.parametrize(
    ("names", "to", "source", "style", "named"),
    [
        ("AB", "C", None, "auto", r"\A--to C: .*A and B"),
        ("AB", "", None, "auto", r"\A--to : .*A and B"),
        (["spring", "summer"], "s", None, "auto", r"\A--to s: .*spring and summer"),
        (["Ab", "aB"], "AB", None, "auto", r"\A--to AB: .*Ab and aB"),
        ("AB", None, None, "auto", r"\A--to: .*A and B"),
        ("ABC", None, "A", "auto", r"\A--to: .*A, B and C"),
        ("AB", None, None, OWN, r"\A--style own: .*--to"),
        ("AB", "B", "X", "auto", r"\A--from X: .*A and B"),
        ("AB", "B", "B", "auto", r"both B\b.*\bA\Z"),
        ("ABC", "B", "B", "auto", r"both B\b.*A, C\Z"),
        ("ABC", "B", None, "auto", r"source .*A, C\Z"),
        ("A", "A", None, "auto", "A alone"),
        ("AB", "B", "A", OWN, r"own.*--from must be B"),
        ("AB", "C", None, OWN, r"\Adomain C: .*A and B"),
    ],
)
def test_a_direction_that_cannot_be_meant_is_refused(
    names: Sequence[str], to: str | None, source: str | None, style: Style, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        resolve_direction(list(names), to, source, style)
