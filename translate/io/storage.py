"""Folders at addresses, read from and written to.

A file is fetched into a temporary folder before it is read, and written there before it is put,
whole, to its place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath

from translate.io import files
from translate.io.address import (
    CHAIN,
    Facts,
    StorageError,
    in_words,
    join,
    open_address,
    scheme_of,
    without_secrets,
)
from translate.io.files import PART, Stamp
from translate.io.folders import LOCK, RUN_LOCK, WORK, owner_of_lock, run_lock
from translate.io.images import begins_like_image, is_named_like_image
from translate.io.lease import leased

# in a store: locks, and lines that were appended
STATE = f"{PART}state"
# a PUT, or the completion of an upload in parts, makes an object visible whole or not at all
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"}
READ_ONLY = {"http", "https", "zip", "tar", "libarchive", "hf", "git", "github", "gist", "data"}
HEAD = 2**16  # bytes in which the formats that are read show themselves
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # whose directory may be at the end


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
