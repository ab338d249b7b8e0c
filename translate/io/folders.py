"""Where inputs are read and outputs written, and the folder of this machine that may be either.

What decodes and encodes pictures works on files of this machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from translate.io import files
from translate.io.address import Facts
from translate.io.files import PART, Stamp

LOCK = f"{PART}lock.part"
RUN_LOCK = f"{PART}run-"  # how the names of locks of whole runs begin
WORK = f"{PART}shards-"  # and those of folders for what runs have in work


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
