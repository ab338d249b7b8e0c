"""Damage to files, drawn by hypothesis: of bytes, and of what JSON and YAML hold."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

KINDS = ("flip", "overwrite", "insert", "delete", "repeat", "cut", "join")
MAX_EDITS = 4

# numbers that parsers of lengths, offsets and sizes get wrong
NUMBERS = (0, 1, -1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 10**30, 1e308, -0.0, float("nan"))


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds, damaged in up to MAX_EDITS places."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, MAX_EDITS))):
        kind = draw(st.sampled_from(KINDS))
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.one_of(st.integers(1, 8), st.integers(1, max(len(data), 1))))
        if kind == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "overwrite":
            text = draw(st.binary(min_size=1, max_size=16))
            data[place : place + len(text)] = text
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=64))
        elif kind == "delete":
            del data[place : place + length]
        elif kind == "repeat":
            data[place:place] = data[place : place + length] * draw(st.integers(1, 50))
        elif kind == "cut":
            del data[place:]
        elif kind == "join":
            data += draw(st.sampled_from(seeds))
    return bytes(data)


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(NUMBERS),
        st.integers(-5, 5000),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["", "/", "..", "A", "B", "nan", "\x1b[31m", "\ud800", "<script>"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of everything that nested lists and dictionaries hold."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        yield data, key
        if isinstance(value, dict | list):
            yield from _places(value)


@st.composite
def changed(draw: st.DrawFn, seed: Any) -> Any:
    """Nested lists and dictionaries with up to MAX_EDITS values changed, removed or added."""
    data = copy.deepcopy(seed)
    for _ in range(draw(st.integers(1, MAX_EDITS))):
        places = list(_places(data))
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["change", "change", "remove", "add"]))
        if kind == "change":
            container[key] = draw(values)
        elif kind == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(st.text(max_size=6))] = draw(values)
        else:
            container.append(draw(values))
    return data
