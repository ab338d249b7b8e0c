"""What a folder translation is asked to do: the inputs found, and the outputs planned for them."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from translate.inference.manifest import NOT_REACHED, Entry
from translate.io import files
from translate.io.files import PathLike
from translate.io.images import SUFFIXES

Inputs: TypeAlias = PathLike | Sequence[PathLike]  # a folder, a file or a list of files


def check(valid: object, message: str) -> None:
    """Raise ValueError with the message for what is not valid."""
    if not valid:
        raise ValueError(message)


def scan(inputs: Inputs) -> tuple[Path, list[Entry]]:
    """Find the inputs.

    Links below a folder are not followed, those that are named are. Of a list, a file keeps its
    place where that is below the current folder; of any other the path is the absolute one.

    Returns:
        The folder that paths are relative to, and an entry for each input, sorted.

    Raises:
        ValueError: for none.
    """
    if not isinstance(inputs, str | os.PathLike):
        return Path(), _listed(inputs)
    folder = Path(inputs)
    if folder.is_file():
        return folder.parent, [Entry(folder.name)]
    found = "neither a file nor a folder" if folder.exists() else "no such file or folder"
    check(folder.is_dir(), f"{folder}: {found}")

    entries = _below(folder)
    check(entries, f"{folder}: no files in it")
    check(entries[0].path != ".", f"{folder}: {entries[0].reason}")
    return folder, sorted(entries, key=lambda entry: entry.path)


def _below(folder: Path) -> list[Entry]:
    """Make an entry of every file, link and whatever else lies below a folder."""
    entries: list[Entry] = []

    def unlisted(error: OSError) -> None:
        path = Path(error.filename).relative_to(folder).as_posix()
        entries.append(Entry(path).fail(error, "cannot be listed: "))

    for root, folders, names in files.walk(folder, unlisted):
        kinds = [(name, stat.S_IFDIR) for name in folders]
        kinds += [(name, stat.S_IFREG) for name in names]
        for name, mode in kinds:
            path = Path(root, name)
            with suppress(OSError):  # it will fail, a folder when it is listed
                mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            other = "symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
            reason = NOT_REACHED if stat.S_ISREG(mode) else other
            entries.append(Entry(path.relative_to(folder).as_posix(), reason=reason))
    return entries


def _listed(paths: Iterable[PathLike]) -> list[Entry]:
    """Make an entry of every file in a list, one of those that are in it several times."""
    here = Path.cwd()
    times = Counter[str]()
    for path in map(Path, paths):
        if ".." in path.parts:  # what it leads out of may be a link
            path = Path(os.path.realpath(path.parent), path.name)
        full = Path(os.path.abspath(path))
        times[(full.relative_to(here) if full.is_relative_to(here) else full).as_posix()] += 1
    check(times, "the list of inputs is empty; give a path a line")

    entries = []
    for path_text, n in sorted(times.items()):
        entry = Entry(path_text, warnings=(f"listed {n} times",) if n > 1 else ())
        try:
            mode = os.stat(path_text).st_mode
            if stat.S_ISDIR(mode):
                entry.fail(ValueError("a folder; list the files in it"))
            elif not stat.S_ISREG(mode):
                entry.reason = "not a regular file"
        except (OSError, ValueError) as error:
            entry.fail(error)
        entries.append(entry)
    return entries


def check_out(inputs: Inputs, out: Path) -> Path:
    """Make sure that outputs go elsewhere than where the inputs are.

    Returns:
        `out` without links.

    Raises:
        ValueError: when it is, holds or lies in the input, under whatever name.
    """
    target = Path(os.path.realpath(out))
    listed = not isinstance(inputs, str | os.PathLike)
    named = (
        [Path(inputs)]
        if isinstance(inputs, str | os.PathLike)
        else {Path(path).parent for path in inputs}
    )
    for name in named:
        for place in {Path(os.path.realpath(name)), Path(os.path.abspath(name))}:
            inside = not listed and _holds(place, target)
            around = target.exists() and _holds(target, place)
            check(
                not inside and not around,
                f"{out}: outputs must lie neither in nor around the inputs {name}; "
                "choose another folder",
            )
    return target


def _holds(folder: Path, path: Path) -> bool:
    """Tell whether a path is a folder or lies in it, by the files themselves."""
    return any(os.path.exists(p) and os.path.samefile(p, folder) for p in (path, *path.parents))


def plan_outputs(
    paths: Iterable[str], extension: str, suffix: str, variants: int
) -> dict[str, tuple[str, ...]]:
    """Name the outputs of each input, from the names alone.

    They are different even where case and Unicode forms are not told apart. Of two inputs that
    would share one, that keeps it which has the output's suffix, else the first in order; the
    other's whole name goes before the suffix: a.jpg and a.png become a.jpg.png and a.png.
    Absolute paths lose their root.

    Args:
        paths: of the inputs.
        extension: of the outputs, with its dot; "" keeps the input's.
        suffix: text between name and extension.
        variants: outputs of each input; above 1 they are numbered.
    """

    def ending(place: PurePosixPath) -> str:
        return extension or (place.suffix if place.suffix.lower() in SUFFIXES else ".png")

    def order(path: str) -> tuple[bool, str]:
        place = places[path]
        return place.suffix.lower() != ending(place).lower(), path

    places = {path: PurePosixPath(path[len(Path(path).anchor) :]) for path in paths}
    taken = {_fold(folder) for place in places.values() for folder in place.parents}
    numbers = [""] if variants == 1 else [f"_{k + 1}" for k in range(variants)]
    plan: dict[str, tuple[str, ...]] = {}
    for path in sorted(places, key=order):
        place = places[path]
        for stem in _stems(place):
            outputs = tuple(
                str(place.with_name(f"{stem}{suffix}{number}{ending(place)}")) for number in numbers
            )
            if taken.isdisjoint(map(_fold, outputs)):
                break
        taken.update(map(_fold, outputs))
        plan[path] = outputs
    return plan


def _stems(place: PurePosixPath) -> Iterator[str]:
    """Yield what an output may be called, the best first, without end."""
    return chain((place.stem, place.name), (f"{place.name}-{n}" for n in count(2)))


def _fold(name: object) -> str:
    """Return one form of names that a file system may take for the same."""
    return unicodedata.normalize("NFC", str(name)).casefold()
