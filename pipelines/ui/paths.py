"""Names that come from the page: each must mean something below the served folder."""

from __future__ import annotations

import os
from pathlib import Path

from translate.io.files import evenly_spaced, walk
from translate.io.images import SUFFIXES, list_images

MOST_FOLDERS = 500  # offered for choice; any other can be named


def confined(folder: Path, name: str) -> Path:
    """Return the path below a folder that a name means, whether it exists or not.

    Args:
        folder: resolved, as `Path.resolve` returns it.
        name: relative to it, or an absolute path below it.

    Raises:
        ValueError: for a name with "..", and for one that leads out of the folder, by itself or
            by a symbolic link.
    """
    if "\0" in name or ".." in Path(name).parts:
        raise ValueError(f"{name!r}: name a place below {folder}, without ..")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise ValueError(f"{name}: leads out of {folder}; name a place below it")
    return path


def relative(folder: Path, path: Path) -> str:
    """Return what a path below a folder is called on the page."""
    return path.relative_to(folder).as_posix()


def picture_folders(folder: Path) -> dict[str, int]:
    """Find the folders that hold pictures themselves, without hidden ones and links.

    Returns:
        How many files are named like pictures, by the folder's name relative to `folder`; at
        most MOST_FOLDERS.
    """
    found: dict[str, int] = {}
    for root, folders, names in walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        count = sum(
            os.path.splitext(name)[1].lower() in SUFFIXES
            for name in names
            if not name.startswith(".")
        )
        if count:
            found[relative(folder, Path(root))] = count
        if len(found) == MOST_FOLDERS:
            break
    return dict(sorted(found.items()))


def some_pictures(folder: Path, count: int) -> list[Path]:
    """Return at most so many pictures of a folder, evenly spaced by name."""
    return [folder / path for path in evenly_spaced(list_images(folder), count)]


def first_picture(folder: Path) -> Path | None:
    """Return a picture of a folder, the same each time."""
    return next(iter(some_pictures(folder, 1)), None)
