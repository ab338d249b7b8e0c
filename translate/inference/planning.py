"""What a folder translation is asked to do: the inputs found, and the outputs planned for them."""

from __future__ import annotations

import glob
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from translate.inference.manifest import (
    HIDDEN,
    LINK,
    NO_FILE,
    NO_PICTURE,
    NOT_REACHED,
    Entry,
)
from translate.io import files
from translate.io.address import (
    address_of,
    open_address,
    scheme_of,
    split_name,
    unsafe,
    without_secrets,
)
from translate.io.address import is_pattern as has_wildcards
from translate.io.address import split_pattern as split_address
from translate.io.files import PathLike
from translate.io.folders import LocalFolder, Source, Target
from translate.io.images import SUFFIXES, looks_like_image
from translate.io.named import ListedFiles, is_file
from translate.io.storage import StoredFolder

Inputs: TypeAlias = PathLike | Sequence[PathLike]  # a folder, a file, a pattern or a list of files


def check(valid: object, message: str) -> None:
    """Raise ValueError with the message for what is not valid."""
    if not valid:
        raise ValueError(message)


def scan(inputs: Inputs, strict: bool = False) -> tuple[Source, list[Entry]]:
    """Find the inputs.

    Links below a folder are not followed, those that are named are. Of a list, a file keeps its
    place where that is below the current folder; of any other the path is the absolute one, or the
    address. Skipped are, below a folder, hidden files and folders (.name), and files that neither
    call themselves pictures nor begin like one; at an address, what begins like one is found out
    when its turn comes.

    Args:
        inputs: a folder, a file, a pattern such as "photos/*.png" (** is any folders), the address
            of one of these, or a list of files and addresses of files.
        strict: skip none of these.

    Returns:
        Where paths are, and an entry for each input, sorted.

    Raises:
        ValueError: for none.
        StorageError: for an address that cannot be read.
    """
    if not isinstance(inputs, str | os.PathLike):
        source, entries = _listed(inputs)
        return source, _pictures(Path(), entries, strict, "the list")
    address = address_of(inputs)
    if address is not None:
        return _stored(address, strict)
    folder = Path(inputs)
    if folder.is_file():
        return LocalFolder(folder.parent, takes_links=True), [Entry(folder.name)]
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
    return LocalFolder(folder), sorted(entries, key=lambda entry: entry.path)


def _stored(address: str, strict: bool) -> tuple[Source, list[Entry]]:
    """Find the inputs at an address: a file, files that match a pattern, or all below a folder."""
    said = without_secrets(address)
    if is_file(address):
        name = split_name(address)[1].partition("?")[0]
        check(name and not unsafe(name), f"{said}: names no file")
        return ListedFiles({name: address}), [Entry(name)]
    rest = None
    if has_wildcards(address):
        address, rest = split_address(address)
    folder = StoredFolder(address)
    entries = _below_address(folder.find(), strict)
    check(entries, f"{said}: no files in it")
    if rest is not None:
        from fsspec.utils import glob_translate

        matches = re.compile(glob_translate(rest)).match
        entries = [entry for entry in entries if matches(entry.path)]
        check(entries, f"{said}: no files match")
    if not strict:
        hidden = sum(entry.reason == HIDDEN for entry in entries)
        check(hidden < len(entries), f"{said}: no pictures in it, but hidden files")
    return folder, entries


def _below_address(paths: Iterable[str], strict: bool) -> list[Entry]:
    """Make an entry of every file of a store, sorted; see `_below`."""
    entries: dict[str, Entry] = {}
    for path in paths:
        if path.startswith(files.PART) or f"/{files.PART}" in path:
            continue
        names = path.split("/")
        hidden = next((i for i, name in enumerate(names) if name.startswith(".")), None)
        why = unsafe(path)
        if why is not None:
            entries[path] = Entry(path).fail(ValueError(why))
        elif hidden is None or strict:
            entries[path] = Entry(path)
        else:
            above = "/".join(names[: hidden + 1])
            entries[above] = Entry(above, reason=HIDDEN)
    return [entries[path] for path in sorted(entries)]


def is_pattern(inputs: Inputs) -> bool:
    """Tell whether an input is a pattern of names: with wildcards, and no file of that name.

    Addresses are none here: they are listed, and matched, when they are scanned.
    """
    if not isinstance(inputs, str | os.PathLike) or address_of(inputs) is not None:
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
        if address_of(entry.path) is not None:
            continue
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


def _listed(paths: Iterable[PathLike]) -> tuple[Source, list[Entry]]:
    """Make an entry of every file in a list, one of those that are in it several times."""
    times = Counter[str]()
    addresses: dict[str, str] = {}
    clashing: set[str] = set()  # which only a query tells apart
    here = Path.cwd()
    for path in paths:
        address = address_of(path)
        name = _place_in_list(Path(path), here) if address is None else without_secrets(address)
        times[name] += 1
        if address is not None and addresses.setdefault(name, address) != address:
            clashing.add(name)
    check(times, "the list of inputs is empty; give a path a line")

    source: Source = LocalFolder(Path(), takes_links=True)
    missing: dict[str, OSError] = {}
    if addresses:
        source = listed = ListedFiles({path: addresses.get(path, path) for path in times})
        missing = listed.ask(addresses)
    entries = []
    for name, n in sorted(times.items()):
        entry = Entry(name, warnings=(f"listed {n} times",) if n > 1 else ())
        try:
            if name in addresses:
                _check_listed(name, name in clashing, missing.get(name))
            elif not _is_regular(name):
                entry.reason = NO_FILE
        except (OSError, ValueError) as error:
            entry.fail(error)
        entries.append(entry)
    return source, entries


def _place_in_list(path: Path, here: Path) -> str:
    """Return a listed path as manifests have it: relative to `here`, or else absolute."""
    if ".." in path.parts:  # what it leads out of may be a link
        path = Path(os.path.realpath(path.parent), path.name)
    full = Path(os.path.abspath(path))
    if full.anchor == "//":  # another name of the root, which paths keep
        full = Path("/", *full.parts[1:])
    return (full.relative_to(here) if full.is_relative_to(here) else full).as_posix()


def _is_regular(path: str) -> bool:
    """Tell whether a path is that of a regular file; raise for that of a folder, or of none."""
    mode = os.stat(path).st_mode
    check(not stat.S_ISDIR(mode), "a folder; list the files in it")
    return stat.S_ISREG(mode)


def _check_listed(path: str, clashes: bool, missing: OSError | None) -> None:
    """Raise why an address in a list is no input, where it is none."""
    check(not clashes, "listed with several queries, which no name keeps; list one of them")
    why = unsafe(place_of(path))
    check(why is None, str(why))
    if missing is not None:
        raise missing


def place_of(path: str) -> str:
    """Return the place of an input's outputs: an address without scheme, a path without root."""
    if address_of(path) is not None:
        member, _, archive = path.partition("::")
        return "/".join(filter(None, (_below_scheme(archive), _below_scheme(member))))
    return path[len(Path(path).anchor) :]


def _below_scheme(address: str) -> str:
    return address.partition("://")[2] if "://" in address else address


def check_out(inputs: Inputs, out: PathLike) -> Target:
    """Make sure that outputs go elsewhere than where the inputs are.

    Returns:
        Where outputs go; of this machine, without links.

    Raises:
        ValueError: when it is, holds or lies in the input, under whatever name.
    """
    named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    listed = not isinstance(inputs, str | os.PathLike)
    address = address_of(out)
    if address is not None:
        folder = StoredFolder(address)
        folder.prepare()
        _check_out_address(folder, {given for each in named if (given := address_of(each))}, listed)
        return folder
    here = [path for path in named if address_of(path) is None]
    return LocalFolder(_check_out_here(here, listed, Path(out)))


def _check_out_address(out: StoredFolder, addresses: Iterable[str], listed: bool) -> None:
    """Refuse outputs where inputs are, by the names of both."""
    target = f"{out.root}/"
    for address in addresses:
        if scheme_of(address) != out.scheme:
            continue
        by_name = listed or is_file(address)
        if by_name:
            address = split_name(address)[0]
        elif has_wildcards(address):
            address = split_address(address)[0]
        place = f"{open_address(address)[1]}/"
        inside = not by_name and target.startswith(place)
        check(
            not inside and not place.startswith(target),
            f"{out}: the output folder may not be inside the input folder, nor contain it "
            f"({without_secrets(address)}); choose another",
        )


def _check_out_here(inputs: list[PathLike], listed: bool, out: Path) -> Path:
    """Refuse outputs where inputs are, by the folders themselves."""
    target = Path(os.path.realpath(out))
    if not listed and inputs and is_pattern(inputs[0]):
        folder, names = split_pattern(inputs[0])
        inputs = [folder / name for name in names]
        listed = True
    places = {Path(path).parent for path in inputs} if listed else {Path(path) for path in inputs}
    for name in places:
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
    Absolute paths lose their root, addresses their scheme.

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

    places = {path: PurePosixPath(place_of(path)) for path in paths}
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
