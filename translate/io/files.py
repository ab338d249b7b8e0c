"""Files written whole or not at all, and what lies in a folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

from filelock import FileLock, Timeout

PathLike: TypeAlias = str | os.PathLike[str]
T = TypeVar("T")

# half a code point, which names of files may hold, and what some take for the end of a line
UNREADABLE = re.compile("[\ud800-\udfff\x85\u2028\u2029]")
# what terminals obey, but for ends of lines and tabs: escapes, and marks that turn text around
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PART = ".introshift-"  # how the names of unfinished files begin
SYNC_THREADS = 16
CHUNK = 2**20  # bytes read at once


def part_tag(path: PathLike) -> str:
    """Return the 16 hex digits after PART in the names of the unfinished files of `path`."""
    return hashlib.sha256(os.fsencode(Path(path).name)).hexdigest()[:16]


class DiskFullError(OSError):
    """No space is left where outputs are to be written; one line, with the remedy."""

    exit_code = 1  # of the command that it ends


def is_full(error: object) -> bool:
    """Whether an error says that no space, or none of the user's quota, is left on the disk."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def walk(
    folder: PathLike, on_error: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (root, folders, names) top down as os.walk does, at any depth.

    os.walk recurses before Python 3.12 and fails on about 950 nested folders.

    Args:
        folder: where to begin.
        on_error: called with the error of a folder that cannot be listed, which is then left out.
    """
    waiting = [os.fspath(folder)]
    while waiting:
        root = waiting.pop()
        folders: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(root) as entries:
                for entry in entries:
                    is_folder = False
                    with suppress(OSError):
                        is_folder = entry.is_dir()
                    (folders if is_folder else names).append(entry.name)
        except OSError as error:
            if on_error is not None:
                on_error(error)
            continue
        yield root, folders, names
        paths = [os.path.join(root, name) for name in folders]
        waiting += [path for path in reversed(paths) if not os.path.islink(path)]


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, at any depth: Path.mkdir(parents=True) recurses."""
    missing = [folder]
    while missing:
        path = missing[-1]
        try:
            path.mkdir(exist_ok=True)
            missing.pop()
        except FileNotFoundError:
            if path.parent == path:
                raise
            missing.append(path.parent)


def unfinished(folder: Path) -> list[Path]:
    """Find the temporary files that killed runs have left below a folder."""
    return [
        Path(root, name)
        for root, _, names in walk(folder)
        for name in names
        if name.startswith(PART) and name.endswith(".part")
    ]


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Take at most `count` items, evenly spaced, with the first and, of several, the last."""
    count = min(count, len(items))
    last = len(items) - 1
    return [items[round(i * last / max(1, count - 1))] for i in range(count)]


def make_parent(path: PathLike) -> None:
    """Make the folder of a file before the work whose result goes into that file.

    Raises:
        ValueError: `path` is a folder.
        OSError: the folder cannot be made.
    """
    if Path(path).is_dir():
        raise ValueError(f"{path}: is a folder; name a file")
    Path(path).parent.mkdir(parents=True, exist_ok=True)


def is_writable(folder: Path) -> bool:
    """Tell whether a folder can be written into, or be made where it is not there."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK)


@contextmanager
def atomic(path: PathLike, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces it when the block succeeds.

    When the block fails, the temporary file is removed.

    Args:
        path: the file that is written.
        durable: wait until the file and its name are on the disk, so that a power cut leaves the
            old file or the new one and never an empty one. It costs milliseconds a file: for what
            a run cannot make again in a moment, such as models and manifests. Of thousands of
            pictures, many are synced at once (`sync`).

    Raises:
        OSError: the file cannot be written; `filename` is `path`.
    """
    # not by mkstemp, whose files only their owner may read
    temporary = Path(path).with_name(f"{PART}{part_tag(path)}-{os.urandom(8).hex()}.part")
    try:
        yield temporary
        if durable:
            # before the rename: else the name may be on the disk before the bytes
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync_folder(Path(path).parent)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def sync(paths: Sequence[Path], top: Path) -> list[OSError | None]:
    """Wait until files are on the disk, with the folders that name them, up to and with `top`.

    Many at once, so that the file system writes its journal for all of them together: of 1000
    files of 10 kB on ext4, 1.2 s in place of 6 s one after the other.

    Returns:
        For each path, the error that its file or one of these folders had.
    """
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        errors = list(pool.map(_error_of(_sync), paths))
        # after the files, and each once: the names of a whole batch
        folders = list({folder for path in paths for folder in _between(path, top)})
        failed = dict(zip(folders, pool.map(_error_of(_sync_folder), folders), strict=True))
    return [
        error or next(filter(None, (failed[folder] for folder in _between(path, top))), None)
        for path, error in zip(paths, errors, strict=True)
    ]


def _between(path: Path, top: Path) -> list[Path]:
    """Return the folders above a file, up to and with `top`."""
    return [folder for folder in path.parents if folder.is_relative_to(top)]


def _error_of(act: Callable[[Path], None]) -> Callable[[Path], OSError | None]:
    """Return a function that returns the OSError of `act` in place of raising it."""

    def attempt(path: Path) -> OSError | None:
        try:
            act(path)
        except OSError as error:
            return error
        return None

    return attempt


def _sync(path: Path) -> None:
    """Flush the bytes of a file to the disk."""
    with open(path, "rb+") as file:  # open for writing, which Windows asks of a file that is synced
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Flush a rename in `folder` to the disk, where the system can."""
    if os.name == "nt":  # opens no folders
        return

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # network file systems may not sync folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def open_regular(path: PathLike) -> BinaryIO:
    """Open a file to read its bytes; what has become a pipe or a device is refused, not waited for.

    Raises:
        OSError: it is no regular file, or cannot be opened.
    """
    more = getattr(os, "O_NONBLOCK", 0)  # not on Windows
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | more))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return file


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append lines to a file of lines, which are on the disk on return.

    A last line that a kill has cut off is ended first, so that it spoils none of these.
    """
    with open(path, "ab+") as file:
        cut = False
        if file.tell():
            file.seek(-1, os.SEEK_END)
            cut = file.read() != b"\n"
        file.write(b"\n" * cut + "".join(f"{line}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def held(lock: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock file for a block; it is free when its process has ended, killed or not.

    A file system that has no locks is written to without one.

    Args:
        lock: its path; the file is there as long as it is held.
        wait: until whoever holds it lets go.

    Raises:
        BlockingIOError: another block holds it, of this process or of another.
    """
    file_lock = FileLock(lock, blocking=wait)
    try:
        file_lock.acquire()
    except Timeout:
        raise BlockingIOError(errno.EWOULDBLOCK, "in use by another run", str(lock)) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise
    try:
        yield
    finally:
        # while it is held, so that no one can wait for a file that is gone
        with suppress(OSError):  # Windows removes no open files
            lock.unlink()
        file_lock.release()


def write_text(path: PathLike, text: str) -> None:
    """Write text as UTF-8, line ends as they are, all or nothing; it is on the disk on return."""
    with atomic(path, durable=True) as temporary:
        temporary.write_bytes(text.encode())


def write_lines(path: PathLike, lines: Iterable[str]) -> None:
    """Write lines as `write_text` does, one by one: there may be millions."""
    with atomic(path, durable=True) as temporary, open(temporary, "wb") as file:
        for line in lines:
            file.write(f"{line}\n".encode())


def readable_json(data: Any) -> str:
    """Return JSON on one line, with characters of all scripts as they are."""
    text = json.dumps(data, ensure_ascii=False)
    return UNREADABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def printable(text: str) -> str:
    """Return text for a terminal: names of files may hold what it would obey, written as codes."""
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def cell(text: str) -> str:
    """Return text for a table's cell; a name that a spreadsheet takes for a formula gets a mark."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text


def list_files(folder: PathLike, on_error: Callable[[OSError], None] | None = None) -> list[Path]:
    """List the files below a folder, relative to it, sorted by POSIX path.

    Links to files are followed, links to folders are not; unfinished files (PART) are left out.

    Args:
        folder: where to begin.
        on_error: as in `walk`.
    """
    found: list[Path] = []
    for root, folders, names in walk(folder, on_error):
        folders[:] = [name for name in folders if not name.startswith(PART)]
        paths = (Path(root, name) for name in names if not name.startswith(PART))
        found += [path.relative_to(folder) for path in paths if os.path.isfile(path)]
    return sorted(found, key=Path.as_posix)


def sha256(path: PathLike) -> str:
    """Return the hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file's content is known by: its number of bytes and their SHA-256, in hexadecimal."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: PathLike) -> Stamp:
        """Read a file's."""
        return cls(os.stat(path).st_size, sha256(path))

    def is_of(self, path: PathLike, content: bool) -> bool:
        """Tell whether a file has this size and, where `content` is asked for, this SHA-256."""
        if os.stat(path).st_size != self.size:
            return False
        return not content or sha256(path) == self.sha256
