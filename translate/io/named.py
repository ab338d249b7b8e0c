"""Files and folders that are named by paths of this machine and by addresses alike."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from translate.io.address import (
    WEB,
    Facts,
    address_of,
    in_words,
    open_address,
    scheme_of,
    split_name,
    unsafe,
)
from translate.io.files import PathLike
from translate.io.folders import LocalFolder
from translate.io.storage import Staging, StoredFolder

QUESTIONS = 32  # asked at once


class ListedFiles:
    """Files named one by one, of this machine and at addresses.

    Args:
        places: of each path, where the file is: an address, or a path of this machine.
    """

    def __init__(self, places: Mapping[str, PathLike]) -> None:
        self.places = dict(places)
        self.staging = Staging()
        self.turns = threading.RLock()
        self.folders: dict[str, StoredFolder] = {}
        self.found: dict[str, Facts] = {}

    def __reduce__(self) -> tuple[type[ListedFiles], tuple[dict[str, PathLike]]]:
        """Let another process open the addresses for itself."""
        return ListedFiles, (self.places,)

    def absolute(self) -> ListedFiles:
        """Return the same by absolute paths."""
        return ListedFiles(
            {
                path: os.path.abspath(place) if address_of(place) is None else place
                for path, place in self.places.items()
            }
        )

    def ask(self, paths: Iterable[str]) -> dict[str, OSError]:
        """Find out size and version of files, many at once; return those that are not there."""
        missing: dict[str, OSError] = {}

        def ask_one(path: str) -> None:
            try:
                self.found[path] = self.facts(path)
            except OSError as error:
                missing[path] = error

        with ThreadPoolExecutor(QUESTIONS) as pool:
            list(pool.map(ask_one, paths))
        return missing

    def facts(self, path: str) -> Facts:
        """Return what was found, or ask."""
        if path in self.found:
            return self.found[path]
        stored = self._stored(path)
        if stored is None:
            return Facts.here(self.places[path])
        folder, name = stored
        return folder.facts(name)

    def fetch(self, path: str) -> Path:
        """Return the file itself, or fetch it, whole."""
        stored = self._stored(path)
        if stored is None:
            return Path(self.places[path])
        folder, name = stored
        return folder.fetch(name, self.facts(path).size)

    def release(self, path: str) -> None:
        """Remove what was fetched."""
        stored = self._stored(path)
        if stored is not None:
            folder, name = stored
            folder.release(name)

    def is_picture(self, path: str) -> bool:
        """Look at the first bytes of what is at an address and is not named like a picture."""
        stored = self._stored(path)
        if stored is None:
            return True
        folder, name = stored
        return folder.is_picture(name)

    def close(self) -> None:
        """Remove what was fetched."""
        self.staging.close()

    def _stored(self, path: str) -> tuple[StoredFolder, str] | None:
        """Return the folder and the name of a file at an address, None for one of this machine."""
        address = address_of(self.places[path])
        if address is None:
            return None
        above, name = split_name(address)
        with self.turns:
            if above not in self.folders:
                self.folders[above] = StoredFolder(above, self.staging, self.turns)
            return self.folders[above], name


def folder_at(path: PathLike) -> LocalFolder | StoredFolder:
    """Return the folder of a path, or of an address."""
    address = address_of(path)
    return LocalFolder(Path(path)) if address is None else StoredFolder(address)


@contextmanager
def fetched(path: PathLike) -> Iterator[Path]:
    """Yield a file of this machine with the content of one that may be at an address."""
    address = address_of(path)
    if address is None:
        yield Path(path)
        return
    source = ListedFiles({"": address})
    try:
        file = source.fetch("")
        name = split_name(address)[1].partition("?")[0]
        if name and not unsafe(name) and len(os.fsencode(name)) < 256:
            file = file.rename(file.with_name(name))  # random styles follow from names
        yield file
    finally:
        source.close()


@contextmanager
def put_whole(path: PathLike) -> Iterator[Path]:
    """Yield the path to write a file to, which may be meant for an address, and is then put there.

    When the block fails, nothing is put.
    """
    address = address_of(path)
    if address is None:
        yield Path(path)
        return
    above, name = split_name(address)
    folder = StoredFolder(above)
    folder.prepare()
    try:
        with folder.writing(name) as file:
            yield file
    finally:
        folder.close()


def is_file(path: PathLike) -> bool:
    """Tell whether there is a file, here or at an address, and not a folder or nothing.

    On the web, which has no folders, everything is taken for a file.

    Raises:
        StorageError: it cannot be told.
    """
    address = address_of(path)
    if address is None:
        return os.path.isfile(path)
    if scheme_of(address) in WEB:
        return True
    file_system, place = open_address(address)
    with in_words(address):
        try:
            return bool(file_system.info(place)["type"] == "file")
        except FileNotFoundError:
            return False
