"""A folder translation as a page before and after: OUT/preview.html and OUT/preview.png."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from translate.inference.manifest import UP_TO_DATE, Entry
from translate.io.folders import Source, Target
from translate.io.images import ImageError, Picture, UInt8, composite, resize
from translate.viz.preview import LARGE, PAGE, SHEET, PreviewRow, write_preview

SHOWN = 48  # inputs, the first in order


def refuse_clash(outputs: Sequence[str]) -> None:
    """Refuse outputs that have the name of the page or of its sheet.

    Raises:
        ValueError: One has.
    """
    clash = {PAGE, SHEET}.intersection(outputs)
    if clash:
        name = min(clash)
        raise ValueError(
            f"--preview: writes {name}, and so does the translation of an input of that name; "
            "give a --suffix"
        )


def write_folder_preview(
    out: Target,
    source: Source,
    entries: Sequence[Entry],
    names: tuple[str, str],
    read: Callable[[Path], Picture],
) -> None:
    """Write the page and its sheet from what a folder translation has left on the disk.

    Args:
        out: Where the outputs are.
        source: Where the inputs are.
        entries: The inputs; those without outputs are left out, and all of them if none has any.
        names: Of the domains, source and target.
        read: Decodes a file.
    """
    done = [entry for entry in entries if entry.status == "ok" or entry.reason == UP_TO_DATE]
    rows: list[PreviewRow] = []
    for entry in done[:SHOWN]:
        with suppress(
            ImageError, OSError, ValueError
        ):  # changed or gone meanwhile: no reason to end with an error
            before = _reduced(_read(source, entry.path, read))
            after = [_reduced(_read(out, output, read)) for output in entry.outputs]
            rows.append(PreviewRow(entry.path, before, after, *names))
    if rows:
        write_preview(out.place, rows, " to ".join(names), len(done))
        out.commit((PAGE, SHEET))


def _read(place: Source | Target, path: str, read: Callable[[Path], Picture]) -> Picture:
    """Decode a file of a place."""
    try:
        return read(place.fetch(path))
    finally:
        place.release(path)


def _reduced(picture: Picture) -> UInt8:
    """Return a picture over white, no larger than a page shows it."""
    pixels = composite(picture)
    height, width = pixels.shape[:2]
    factor = min(1.0, LARGE / max(height, width))
    return resize(pixels, (max(1, round(width * factor)), max(1, round(height * factor))))
