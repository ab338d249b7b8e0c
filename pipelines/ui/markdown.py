"""Text of anyone as Markdown that shows it as it is."""

from __future__ import annotations

from collections.abc import Iterable

PLAIN = " .,:;-%/'"  # besides letters and digits


def literal(text: str) -> str:
    """Return text on one line that Markdown takes as it is."""
    line = " ".join(text.split())
    return "".join(c if c.isalnum() or c in PLAIN else f"&#{ord(c)};" for c in line)


def inert(text: str) -> str:
    """Return someone's Markdown without what a page would load: HTML and pictures."""
    return text.replace("<", "&lt;").replace("![", "!&#91;")


def table(rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return a table of labels, each with a line or more."""
    lines = [
        f"| **{literal(label)}** | {'<br>'.join(map(literal, texts))} |" for label, texts in rows
    ]
    return "\n".join(["| | |", "|---|---|", *lines])
