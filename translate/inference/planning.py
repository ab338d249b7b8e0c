"""What a folder translation is asked to do: the inputs found, and the outputs planned for them."""

from __future__ import annotations

import glob
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TypeAlias, cast

from translate.inference.manifest import (
    HIDDEN,
    LINK,
    NO_FILE,
    NO_PICTURE,
    NOT_REACHED,
    Entry,
)
from translate.io import files
from translate.io.files import PathLike
from translate.io.images import SUFFIXES, looks_like_image

Inputs: TypeAlias = PathLike | Sequence[PathLike]  # a folder, a file, a pattern or a list of files


def check(valid: object, message: str) -> None:
    """Raise ValueError with the message for what is not valid."""
    if not valid:
        raise ValueError(message)


def scan(inputs: Inputs, strict: bool = False) -> tuple[Path, list[Entry]]:
    """Find the inputs.

    Links below a folder are not followed, those that are named are. Of a list, a file keeps its
    place where that is below the current folder; of any other the path is the absolute one.
    Skipped are, below a folder, hidden files and folders (.name), and files that neither call
    themselves pictures nor begin like one.

    Args:
        inputs: a folder, a file, a pattern such as "photos/*.png" (** is any folders), or a list
            of files.
        strict: skip none of these.

    Returns:
        The folder that paths are relative to, and an entry for each input, sorted.

    Raises:
        ValueError: for none.
    """
    if not isinstance(inputs, str | os.PathLike):
        return Path(), _pictures(Path(), _listed(inputs), strict, "the list")
    folder = Path(inputs)
    if folder.is_file():
        return folder.parent, [Entry(folder.name)]
    matches = None
    if is_pattern(inputs):
        folder, matches = split_pattern(inputs)
    found = "neither a file nor a folder" if folder.exists() else "no such file or folder"
    check(folder.is_dir(), f"{folder}: {found}")

    entries = _below(folder, strict)
    check(entries, f"{folder}: no files in it")
    check(entries[0].path != ".", f"{folder}: {entries[0].reason}; check its permissions")
    if matches is not None:
        entries = [entry for entry in entries if entry.path in matches]
        check(entries, f"{inputs}: no files match")
    entries = _pictures(folder, entries, strict, str(inputs))
    return folder, sorted(entries, key=lambda entry: entry.path)


def is_pattern(inputs: Inputs) -> bool:
    """Tell whether an input is a pattern of names: with wildcards, and no file of that name."""
    if not isinstance(inputs, str | os.PathLike):
        return False
    return glob.has_magic(os.fspath(inputs)) and not os.path.lexists(inputs)


def split_pattern(pattern: PathLike) -> tuple[Path, set[str]]:
    """Split a pattern into the folder before its wildcards, and what matches below it."""
    path = Path(pattern)
    plain = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
    folder = Path(*path.parts[:plain])
    rest = os.path.join(*path.parts[plain:])
    names = glob.glob(rest, root_dir=folder, recursive=True)
    return folder, {Path(name).as_posix() for name in names}


def _pictures(folder: Path, entries: list[Entry], strict: bool, what: str) -> list[Entry]:
    """Skip what is no picture, unless `strict`; refuse inputs among which there is none."""
    if strict:
        return entries
    for entry in entries:
        if entry.reason == NOT_REACHED and not looks_like_image(folder / entry.path):
            entry.reason = NO_PICTURE
    skipped = [entry for entry in entries if entry.reason in (HIDDEN, NO_PICTURE)]
    check(
        len(skipped) < len(entries),
        f"{what}: no pictures in it, but {len(entries)} other files, such as {entries[0].path}",
    )
    return entries


def _below(folder: Path, strict: bool) -> list[Entry]:
    """Make an entry of every file, link and whatever else lies below a folder.

    Unless `strict`, a hidden folder is one entry.
    """
    entries: list[Entry] = []

    def unlisted(error: OSError) -> None:
        path = Path(error.filename).relative_to(folder).as_posix()
        entries.append(Entry(path).fail(error, "cannot be listed: "))

    def hidden(name: str) -> bool:
        return not strict and name.startswith(".")

    for root, folders, names in files.walk(folder, unlisted):
        kinds = [(name, stat.S_IFDIR) for name in folders]
        kinds += [(name, stat.S_IFREG) for name in names]
        for name, mode in kinds:
            path = Path(root, name)
            with suppress(OSError):  # it will fail, a folder when it is listed
                mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) and not hidden(name):
                continue
            reason = HIDDEN if hidden(name) else _reason(mode)
            entries.append(Entry(path.relative_to(folder).as_posix(), reason=reason))
        folders[:] = [name for name in folders if not hidden(name)]
    return entries


def _reason(mode: int) -> str:
    """Return why a file of a kind is skipped, as its mode tells it, or that it is not."""
    if stat.S_ISREG(mode):
        return NOT_REACHED
    return LINK if stat.S_ISLNK(mode) else NO_FILE


def _listed(paths: Iterable[PathLike]) -> list[Entry]:
    """Make an entry of every file in a list, one of those that are in it several times."""
    here = Path.cwd()
    times = Counter[str]()
    for path in map(Path, paths):
        if ".." in path.parts:  # what it leads out of may be a link
            path = Path(os.path.realpath(path.parent), path.name)
        full = Path(os.path.abspath(path))
        if full.anchor == "//":  # another name of the root, which paths keep
            full = Path("/", *full.parts[1:])
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
                entry.reason = NO_FILE
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
    if is_pattern(inputs):
        folder, names = split_pattern(cast(PathLike, inputs))
        inputs = [folder / name for name in names]
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
                f"{out}: the output folder may not be inside the input folder, nor contain it "
                f"({name}); choose another",
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
        # most have the name of their input: once in memory, then
        plan[path] = tuple(path if output == path else output for output in outputs)
    return plan


def _stems(place: PurePosixPath) -> Iterator[str]:
    """Yield what an output may be called, the best first, without end."""
    return chain((place.stem, place.name), (f"{place.name}-{n}" for n in count(2)))


def _fold(name: object) -> str:
    """Return one form of names that a file system may take for the same."""
    return unicodedata.normalize("NFC", str(name)).casefold()
