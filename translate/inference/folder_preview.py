"""A folder translation as a page before and after: OUT/preview.html and OUT/preview.png."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from translate.inference.manifest import UP_TO_DATE, Entry
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
    out: Path,
    folder: Path,
    entries: Sequence[Entry],
    names: tuple[str, str],
    read: Callable[[Path], Picture],
) -> None:
    """Write the page and its sheet from what a folder translation has left on the disk.

    Args:
        out: The folder with the outputs.
        folder: What the inputs' paths are relative to.
        entries: The inputs; those without outputs are left out, and all of them if none has any.
        names: Of the domains, source and target.
        read: Decodes a file.
    """
    done = [entry for entry in entries if entry.status == "ok" or entry.reason == UP_TO_DATE]
    rows: list[PreviewRow] = []
    for entry in done[:SHOWN]:
        with suppress(ImageError):  # changed or gone meanwhile: no reason to end with an error
            before = _reduced(read(Path(folder, entry.path)))
            after = [_reduced(read(Path(out, output))) for output in entry.outputs]
            rows.append(PreviewRow(entry.path, before, after, *names))
    if rows:
        write_preview(out, rows, " to ".join(names), len(done))


def _reduced(picture: Picture) -> UInt8:
    """Return a picture over white, no larger than a page shows it."""
    pixels = composite(picture)
    height, width = pixels.shape[:2]
    factor = min(1.0, LARGE / max(height, width))
    return resize(pixels, (max(1, round(width * factor)), max(1, round(height * factor))))
