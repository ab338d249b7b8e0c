"""Folders that pictures are read from and written to: of this machine, or at an address.

What decodes and encodes pictures works on files of this machine. At an address, a file is fetched
into a temporary folder before it is read, and written there before it is put, whole, to its place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Protocol

from translate.io import files
from translate.io.address import (
    CHAIN,
    WEB,
    Facts,
    StorageError,
    address_of,
    in_words,
    join,
    open_address,
    scheme_of,
    split_name,
    unsafe,
    without_secrets,
)
from translate.io.files import PART, PathLike, Stamp
from translate.io.images import begins_like_image, is_named_like_image
from translate.io.lease import leased

LOCK = f"{PART}lock.part"
RUN_LOCK = f"{PART}run-"  # how the names of locks of whole runs begin
WORK = f"{PART}shards-"  # and those of folders for what runs have in work
# in a store: locks, and lines that were appended
STATE = f"{PART}state"
# a PUT, or the completion of an upload in parts, makes an object visible whole or not at all
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"}
READ_ONLY = {"http", "https", "zip", "tar", "libarchive", "hf", "git", "github", "gist", "data"}
QUESTIONS = 32  # asked at once
HEAD = 2**16  # bytes in which the formats that are read show themselves
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # whose directory may be at the end


def run_lock(owner: str) -> str:
    """Return the name of a run's lock."""
    return f"{RUN_LOCK}{owner}.lock"


def owner_of_lock(name: str) -> str:
    """Return whose run's lock has a name."""
    return name.removeprefix(RUN_LOCK).removesuffix(".lock")


class Source(Protocol):
    """Where inputs are; `path` is relative to it, POSIX."""

    def absolute(self) -> Source:
        """Return the same, for processes that work in another folder."""

    def fetch(self, path: str) -> Path:
        """Return the file of this machine to read an input from.

        Raises:
            OSError, ValueError: it cannot be had.
        """

    def release(self, path: str) -> None:
        """Let go of what `fetch` has made."""

    def facts(self, path: str) -> Facts:
        """Return an input's size and version, as they were when it was found.

        Raises:
            OSError: it is not there.
        """

    def is_picture(self, path: str) -> bool:
        """Tell whether an input calls itself a picture or begins like one, where that is open."""

    def close(self) -> None:
        """Remove all that was fetched."""


class Target(Protocol):
    """Where outputs go; `path` is relative to it, POSIX."""

    def absolute(self) -> Target:
        """Return the same, for processes that work in another folder."""

    def fetch(self, path: str) -> Path:
        """Return the file of this machine to read an output from; see `Source`."""

    def release(self, path: str) -> None:
        """Let go of what `fetch` has made."""

    appends: bool
    """Whether lines can be appended to a file that is there."""

    @property
    def disk(self) -> str:
        """The folder of this machine whose disk outputs are written to."""

    def prepare(self) -> None:
        """Make it, or make sure that it can be written to.

        Raises:
            OSError, ValueError: it cannot.
        """

    def check(self, path: str) -> None:
        """Refuse an output that would lie elsewhere.

        Raises:
            ValueError: it would.
        """

    def place(self, path: str) -> Path:
        """Return the file of this machine to write an output to; its folder is made."""

    def commit(self, paths: Sequence[str]) -> None:
        """Put to their places outputs that were written where `place` said.

        Raises:
            OSError: one cannot be put; nothing of it, or what was there before, is then there.
        """

    def writing(self, path: str) -> AbstractContextManager[Path]:
        """Yield the file of this machine to write one output to.

        When the block succeeds, it is put to its place, whole, and sure to stay. When the block
        fails, or it cannot be put, what was there before stays.
        """

    def workplace(self, owner: str, is_over: Callable[[str], bool]) -> Path:
        """Return the folder of this machine, not made yet, for what an owner has in work.

        What owners that are over have left in theirs is removed.
        """

    def sync(self, paths: Sequence[str]) -> list[OSError | None]:
        """Wait until outputs are sure to stay; return the error of each."""

    def holds(self, path: str) -> bool:
        """Tell whether there is something of that name."""

    def holds_file(self, path: str) -> bool:
        """Tell whether there is a file of that name."""

    def is_as_written(self, path: str, stamp: Stamp, content: bool) -> bool:
        """Tell whether an output has a stamp's size and, if asked for, its content."""

    def remove(self, path: str) -> None:
        """Remove an output."""

    def unfinished(self) -> list[str]:
        """Find what killed runs have left in temporary files."""

    def read_log(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a file, then those that were appended; none where there is none."""

    def append_log(self, name: str, lines: Sequence[str], owner: str, shared: bool) -> None:
        """Append lines, which are sure to stay on return.

        Args:
            name: of the file.
            lines: without their ends.
            owner: who appends; of one name there is one at a time.
            shared: whether there may be other owners at the same time.
        """

    def write_log(self, name: str, lines: Iterable[str], is_over: Callable[[str], bool]) -> None:
        """Replace a file of lines, and forget what owners that are over have appended."""

    def turn(self) -> AbstractContextManager[None]:
        """Keep others that take turns waiting for a block."""

    def sole(self, owner: str, excludes: Callable[[str], bool]) -> AbstractContextManager[None]:
        """Hold the lock of `owner` for a block in which no owner that it excludes holds one.

        Raises:
            BlockingIOError: one does.
        """

    def close(self) -> None:
        """Remove what was written and not put to its place."""


class LocalFolder:
    """A folder of this machine, whose files are read and written where they are.

    Args:
        folder: its path.
        takes_links: whether links in it are read, as where they were named one by one.
    """

    appends = True

    def __init__(self, folder: Path, takes_links: bool = False) -> None:
        self.folder = folder
        self.takes_links = takes_links

    def __str__(self) -> str:
        """Return how messages name it."""
        return str(self.folder)

    def absolute(self) -> LocalFolder:
        """Return the same by its absolute path."""
        return LocalFolder(self.folder.absolute(), self.takes_links)

    @property
    def disk(self) -> str:
        """The folder itself."""
        return str(self.folder)

    def fetch(self, path: str) -> Path:
        """Return the file itself, unless it has become a link."""
        file = self.folder / path
        if not self.takes_links and file.is_symlink():
            raise ValueError("has become a symbolic link")
        return file

    def release(self, path: str) -> None:
        """Leave the file as it is."""

    def facts(self, path: str) -> Facts:
        """Return size and time of change, in ns."""
        return Facts.here(self.folder / path)

    def is_picture(self, path: str) -> bool:
        """Say yes: what is none was skipped when the folder was listed."""
        return True

    def prepare(self) -> None:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def check(self, path: str) -> None:
        """Refuse an output that a link would lead elsewhere."""
        parent = (self.folder / path).parent
        if parent.resolve() != parent:
            raise ValueError(f"not written through a symbolic link: {parent}")

    def place(self, path: str) -> Path:
        """Return the output's own path."""
        file = self.folder / path
        files.make_folders(file.parent)
        return file

    def commit(self, paths: Sequence[str]) -> None:
        """Leave outputs where they were written."""

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """Yield a temporary file beside the output, which it replaces."""
        with files.atomic(self.place(path), durable=True) as part:
            yield part

    def workplace(self, owner: str, is_over: Callable[[str], bool]) -> Path:
        """Return a hidden folder in this one, so that large pictures are on its disk."""
        for left in self.folder.glob(f"{WORK}*"):
            if is_over(left.name.removeprefix(WORK)):
                shutil.rmtree(left, ignore_errors=True)
        return self.folder / f"{WORK}{owner}"

    def sync(self, paths: Sequence[str]) -> list[OSError | None]:
        """Wait until outputs are on the disk."""
        return files.sync([self.folder / path for path in paths], self.folder)

    def holds(self, path: str) -> bool:
        """Tell whether there is a file, a folder or a link."""
        return os.path.lexists(self.folder / path)

    def holds_file(self, path: str) -> bool:
        """Tell whether there is a file."""
        return os.path.isfile(self.folder / path)

    def is_as_written(self, path: str, stamp: Stamp, content: bool) -> bool:
        """Compare a file with a stamp; False where it cannot be read."""
        try:
            return stamp.is_of(self.folder / path, content)
        except OSError:
            return False

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self.folder / path).unlink(missing_ok=True)

    def unfinished(self) -> list[str]:
        """Find temporary files."""
        return [path.relative_to(self.folder).as_posix() for path in files.unfinished(self.folder)]

    def read_log(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a file; none where it cannot be read."""
        with suppress(OSError), open(self.folder / name, "rb") as file:
            yield from file

    def append_log(self, name: str, lines: Sequence[str], owner: str, shared: bool) -> None:
        """Append lines to the file itself."""
        with self.turn() if shared else nullcontext():
            files.append_lines(self.folder / name, lines)

    def write_log(self, name: str, lines: Iterable[str], is_over: Callable[[str], bool]) -> None:
        """Replace the file."""
        files.write_lines(self.folder / name, lines)

    def turn(self) -> AbstractContextManager[None]:
        """Hold a lock file."""
        return files.held(self.folder / LOCK, wait=True)

    @contextmanager
    def sole(self, owner: str, excludes: Callable[[str], bool]) -> Iterator[None]:
        """Hold a lock file; those that nobody holds are of killed runs, and go."""
        with ExitStack() as stack:
            with self.turn():
                for lock in self.folder.glob(run_lock("*")):
                    if excludes(owner_of_lock(lock.name)):
                        with files.held(lock):
                            pass
                stack.enter_context(files.held(self.folder / run_lock(owner)))
            yield

    def close(self) -> None:
        """Leave all as it is."""


class Staging:
    """A temporary folder for files of any name, made when it is needed."""

    def __init__(self) -> None:
        self._folder: str | None = None
        self._making = threading.Lock()
        self._remove: Callable[[], object] = bool

    def path(self, name: str) -> Path:
        """Return where the file of a name lies; it keeps the suffix, which names the format."""
        with self._making:
            if self._folder is None:
                self._folder = tempfile.mkdtemp(prefix="introshift-")
                # also when this process ends
                self._remove = weakref.finalize(self, shutil.rmtree, self._folder, True)
        suffix = PurePosixPath(name.partition("?")[0]).suffix.lower()  # an URL may have a query
        suffix = suffix if suffix[1:].isalnum() and len(suffix) < 10 else ""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        return Path(self._folder, digest[:32] + suffix)

    def close(self) -> None:
        """Remove it with all that is in it."""
        with self._making:
            self._remove()
            self._folder = None


class StoredFolder:
    """A folder at an address, whose files are fetched before they are read.

    Args:
        address: of the folder.
        staging: the temporary folder, default one of its own.
        turns: what the threads take turns with, of a file system that answers one at a time.

    Raises:
        StorageError: for an unknown scheme, a package that is missing, and an archive that cannot
            be opened.
    """

    appends = False

    def __init__(
        self,
        address: str,
        staging: Staging | None = None,
        turns: threading.RLock | None = None,
    ) -> None:
        self.address = address
        self.file_system, self.root = open_address(address)
        self.scheme = scheme_of(address)
        self.is_object_store = self.scheme in OBJECT_STORES
        self.staging = staging or Staging()
        answers_many = self.file_system.async_impl or self.scheme == "hf"
        self.turns = nullcontext() if answers_many else turns or threading.RLock()
        self.parts = 0  # of logs
        self.listed: dict[str, Facts] | None = None
        self.folders: set[str] = set()  # that were made

    def __reduce__(self) -> tuple[type[StoredFolder], tuple[str]]:
        """Let another process open the address for itself."""
        return StoredFolder, (self.address,)

    def __str__(self) -> str:
        """Return how messages name it."""
        return without_secrets(self.address)

    def absolute(self) -> StoredFolder:
        """Return the folder, whose address is absolute."""
        return self

    @property
    def disk(self) -> str:
        """The folder of temporary files."""
        return tempfile.gettempdir()

    # -- reading --

    def find(self) -> dict[str, Facts]:
        """List all files below the folder, relative to it; empty where there is none.

        Raises:
            StorageError: it cannot be listed.
        """
        with in_words(self.address), self.turns:
            self.file_system.invalidate_cache()
            found = self.file_system.find(self.root, detail=True)
            # not kept: of millions of files it is the larger part
            self.file_system.invalidate_cache()
        self.listed = {
            name.removeprefix(self._full("")): Facts.of(info)
            for name, info in found.items()
            # some stores have an empty object in place of a folder
            if info.get("type") == "file" and not name.endswith("/")
        }
        return self.listed

    def facts(self, path: str) -> Facts:
        """Return what was listed, or else ask."""
        if self.listed is not None and path in self.listed:
            return self.listed[path]
        with in_words(self._address(path)), self.turns:
            info = self.file_system.info(self._full(path))
        if info.get("type") == "directory":
            raise StorageError(
                f"{without_secrets(self._address(path))}: a folder; list the files in it"
            )
        return Facts.of(info)

    def fetch(self, path: str, size: int | None = None) -> Path:
        """Fetch a file, whole, unless that was done.

        Args:
            path: of the file.
            size: its number of bytes, default as listed.
        """
        file = self._staged(path)
        if file.exists():
            return file
        if size is None and self.listed is not None and path in self.listed:
            size = self.listed[path].size
        with files.atomic(file) as part:
            with in_words(self._address(path)), self.turns:
                self.file_system.get_file(self._full(path), str(part))
            came = part.stat().st_size
            if size is not None and came != size:
                raise StorageError(
                    f"{without_secrets(self._address(path))}: {came} bytes came, not the {size} "
                    "that it had; it was replaced meanwhile, or cut off"
                )
        return file

    def release(self, path: str) -> None:
        """Remove what was fetched."""
        with suppress(OSError):
            self._staged(path).unlink()

    def is_picture(self, path: str) -> bool:
        """Look at the name, and where that tells nothing at the first bytes."""
        if is_named_like_image(path):
            return True
        try:
            with in_words(self._address(path)), self.turns:
                start = self.file_system.cat_file(self._full(path), start=0, end=HEAD)
        except StorageError:
            return True  # reading it says why
        return start.startswith(TIFF) or begins_like_image(BytesIO(start))

    def close(self) -> None:
        """Remove what was fetched, and what was not put to its place."""
        self.staging.close()

    # -- writing --

    def prepare(self) -> None:
        """Refuse what can only be read."""
        if self.scheme in READ_ONLY or CHAIN in self.address:
            raise ValueError(
                f"{self}: can only be read; write into a folder of this machine or of an object "
                "store, and pack or upload that"
            )

    def check(self, path: str) -> None:
        """Refuse nothing: there are no links."""

    def place(self, path: str) -> Path:
        """Return where in the temporary folder an output is written."""
        return self._staged(path)

    def commit(self, paths: Sequence[str]) -> None:
        """Put outputs to their places, and remove them here."""
        try:
            for path in paths:
                self.put(self._staged(path), path)
        finally:
            for path in paths:
                self.release(path)

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """Yield a file in the temporary folder, which is put."""
        try:
            yield self.place(path)
            self.commit([path])
        finally:
            self.release(path)

    def workplace(self, owner: str, is_over: Callable[[str], bool]) -> Path:
        """Return one in the temporary folder, which no other run has."""
        return self.place(f"{WORK}{owner}")

    def put(self, file: Path, path: str) -> None:
        """Copy a file of this machine to the folder, whole or not at all.

        Object stores show an object when all of it is there. In other file systems it is written
        beside its place, and renamed.

        Raises:
            StorageError: it cannot be put.
        """
        full = self._full(path)
        with in_words(self._address(path)), self.turns:
            if self.is_object_store:
                self.file_system.put_file(str(file), full)
                return
            folder, _, name = full.rpartition("/")
            part = f"{folder}/{PART}{files.part_tag(name)}-{os.urandom(8).hex()}.part"
            self._make_folders(folder)
            try:
                self.file_system.put_file(str(file), part)
                self._rename(part, full)
            except BaseException:
                with suppress(Exception):
                    self.file_system.rm_file(part)
                raise

    def _make_folders(self, folder: str) -> None:
        if folder and folder not in self.folders:
            self.file_system.makedirs(folder, exist_ok=True)
            self.folders.add(folder)

    def _rename(self, part: str, full: str) -> None:
        """Give a file its name, in place of what has it."""
        try:
            self.file_system.mv(part, full)
        except OSError:
            if not self.file_system.exists(full):
                raise
            self.file_system.rm_file(full)  # SMB renames to free names alone
            self.file_system.mv(part, full)

    def sync(self, paths: Sequence[str]) -> list[OSError | None]:
        """Wait for nothing: what was put is sure to stay."""
        return [None] * len(paths)

    def holds(self, path: str) -> bool:
        """Tell whether a file was there when the folder was first looked at."""
        return path in (self.find() if self.listed is None else self.listed)

    def holds_file(self, path: str) -> bool:
        """Tell whether a file was there when the folder was first looked at."""
        return self.holds(path)

    def is_as_written(self, path: str, stamp: Stamp, content: bool) -> bool:
        """Compare what was listed with a stamp; for the content, fetch it."""
        size = self.facts(path).size
        if not content or size != stamp.size:
            return size == stamp.size
        try:
            return stamp.is_of(self.fetch(path), content)
        except OSError:
            return False
        finally:
            self.release(path)

    def remove(self, path: str) -> None:
        """Remove a file."""
        with in_words(self._address(path)), self.turns, suppress(FileNotFoundError):
            self.file_system.rm_file(self._full(path))

    def unfinished(self) -> list[str]:
        """Find temporary files, which object stores have none of."""
        if self.is_object_store:
            return []
        names = self.find() if self.listed is None else self.listed
        return [
            path
            for path in names
            if PurePosixPath(path).name.startswith(PART) and path.endswith(".part")
        ]

    # -- lines: objects cannot grow, so what is appended are objects of their own --

    def read_log(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a file and of what was appended, in this order."""
        for each in (name, *self._appended(name)):
            file = self.staging.path(f"{each} read")
            with in_words(self._address(each)), self.turns, suppress(FileNotFoundError):
                self.file_system.get_file(self._full(each), str(file))
            if file.exists():
                with open(file, "rb") as lines:
                    yield from lines
                file.unlink()

    def append_log(self, name: str, lines: Sequence[str], owner: str, shared: bool) -> None:
        """Write lines as an object of their own."""
        if not lines:
            return
        self.parts += 1
        part = f"{STATE}/{name}-{owner}-{self.parts:08}"
        self.write(part, "".join(f"{line}\n" for line in lines).encode())

    def write_log(self, name: str, lines: Iterable[str], is_over: Callable[[str], bool]) -> None:
        """Replace the file, then remove what was appended to it."""
        prefix = len(f"{STATE}/{name}-")
        parts = [p for p in self._appended(name) if is_over(p[prefix:].rpartition("-")[0])]
        with self.writing(name) as place, open(place, "wb") as file:
            for line in lines:
                file.write(f"{line}\n".encode())
        for part in parts:
            self.remove(part)

    def _appended(self, name: str) -> list[str]:
        return [path for path in self.state() if path.startswith(f"{STATE}/{name}-")]

    def state(self) -> list[str]:
        """List what runs have left here for each other, sorted."""
        with in_words(self.address), self.turns:
            self.file_system.invalidate_cache()
            found = self.file_system.find(self._full(STATE))
        return sorted(name.removeprefix(self._full("")) for name in found)

    def read(self, name: str) -> bytes:
        """Read a file; empty where there is none."""
        with in_words(self._address(name)), self.turns, suppress(FileNotFoundError):
            return bytes(self.file_system.cat_file(self._full(name)))
        return b""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        with self.writing(name) as place:
            place.write_bytes(data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file where there is none; tell whether that was so."""
        full = self._full(name)
        with in_words(self._address(name)), self.turns:
            if not self.is_object_store:
                self._make_folders(full.rpartition("/")[0])
            try:
                self.file_system.pipe_file(full, data, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                if "not implemented" not in str(error).lower():
                    raise
                self.file_system.pipe_file(full, data)  # by a store that knows no conditions
        return True

    def turn(self) -> AbstractContextManager[None]:
        """Hold a lease."""
        return leased(self, f"{STATE}/{LOCK}", wait=True)

    def sole(self, owner: str, excludes: Callable[[str], bool]) -> AbstractContextManager[None]:
        """Hold a lease; those that nobody renews are of killed runs, and go."""

        def others() -> list[str]:
            names = [(path, PurePosixPath(path).name) for path in self.state()]
            locks = [(path, name) for path, name in names if name.startswith(RUN_LOCK)]
            return [path for path, name in locks if excludes(owner_of_lock(name))]

        return leased(self, f"{STATE}/{run_lock(owner)}", others=others)

    # -- names --

    def _staged(self, path: str) -> Path:
        return self.staging.path(self._full(path))

    def _full(self, path: str) -> str:
        return (f"{self.root}/" if self.root else str(self.file_system.root_marker)) + path

    def _address(self, path: str) -> str:
        return join(self.address, path)


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
