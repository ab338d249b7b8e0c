"""WebDataset shards: tar files in which neighbours with one key are a sample.

A member's key is its name up to the first dot of its base name, its extension the rest, in lower
case: photos/0001.input.png has the key photos/0001 and the extension input.png.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, Any, BinaryIO, cast

from translate.io.files import CHUNK, PathLike, open_regular

SUFFIXES = (".tar", ".tar.gz", ".tgz")
MOST_NAMES = 1_000_000  # that braces may stand for
LONGEST_NAME = 4096  # characters of a member's

# both as webdataset has them
NAME = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
META = re.compile(r"__[^/]*__($|/)")
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}", re.ASCII)

INSIDE = re.compile(r"(.*?\.(?:tar|tar\.gz|tgz))(?:/.*)?", re.IGNORECASE | re.DOTALL)


class ShardError(ValueError):
    """A shard that cannot be read; one line, without its name."""


@dataclass(frozen=True)
class Member:
    """A file in a shard.

    Attributes:
        name: as the shard has it.
        offset: of its first byte in the tar.
        size: in bytes.
        refused: why it may be neither translated nor carried over.
        special: whether it is a link, a device or the like, which webdataset passes over.
    """

    name: str
    offset: int
    size: int
    refused: str | None = None
    special: bool = False


def split_name(name: str) -> tuple[str | None, str]:
    """Split a member's name into the key of its sample and its extension, in lower case.

    The key is None where webdataset passes over the member.
    """
    found = None if META.match(name) else NAME.match(name)
    return (found[1], found[2].lower()) if found else (None, "")


def is_shard(path: PathLike) -> bool:
    """Tell by its name whether a file is a shard."""
    return os.fspath(path).lower().endswith(SUFFIXES)


def shard_of(path: str) -> str | None:
    """Return the shard that a path such as x.tar/a.jpg is in, or is; None where it is in none."""
    found = INSIDE.fullmatch(path)
    return found[1] if found else None


def expand(pattern: str) -> list[str]:
    """Return the names that braces stand for: x-{08..10}.tar or {train,test}.tar, as in a shell.

    Raises:
        ValueError: for more than MOST_NAMES.
    """
    found = BRACES.search(pattern)
    if found is None:
        return [pattern]
    first, last, listed = found.groups()
    tails = expand(pattern[found.end() :])
    count = listed.count(",") + 1 if listed is not None else abs(int(last) - int(first)) + 1
    if count * len(tails) > MOST_NAMES:
        raise ValueError(
            f"{pattern}: stands for more than {MOST_NAMES} files; give a smaller range"
        )
    parts = _numbers(first, last) if listed is None else listed.split(",")
    return [f"{pattern[: found.start()]}{part}{tail}" for part in parts for tail in tails]


def _numbers(first: str, last: str) -> list[str]:
    """Count from a number to another, as long as the longer where one begins with a zero."""
    padded = any(len(end) > 1 and end.startswith("0") for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    step = 1 if int(first) <= int(last) else -1
    return [f"{number:0{width}}" for number in range(int(first), int(last) + step, step)]


@contextmanager
def opened(path: PathLike, work: Path) -> Iterator[BinaryIO]:
    """Open a shard for reading at any place; a compressed one is unpacked into `work` first.

    Raises:
        ShardError: it cannot be unpacked.
        OSError: it is no regular file, or cannot be opened; `work` cannot be written into.
    """
    with open_regular(path) as file:
        if _is_plain(path):
            yield file
            return
        with open(work / "plain.tar", "w+b") as plain:
            with _in_words(), gzip.GzipFile(fileobj=file) as packed:
                shutil.copyfileobj(packed, plain, CHUNK)
            yield plain


@contextmanager
def streamed(path: PathLike) -> Iterator[BinaryIO]:
    """Open a shard for reading from the front to the back.

    Raises:
        OSError: it is no regular file, or cannot be opened.
    """
    with open_regular(path) as file:
        yield file if _is_plain(path) else cast(BinaryIO, gzip.GzipFile(fileobj=file))


def _is_plain(path: PathLike) -> bool:
    return os.fspath(path).lower().endswith(".tar")


def read_members(file: BinaryIO) -> Iterator[Member]:
    """Yield what a tar holds, in order, without its bytes; folders are left out.

    Raises:
        ShardError: it is none, is cut off, damaged or goes on after its end.
    """
    file.seek(0)
    with _in_words():
        tar = tarfile.open(  # noqa: SIM115  (it is the file that is closed)
            fileobj=cast(IO[bytes], _Bounded(file)), mode="r:", errors="surrogateescape"
        )
    while True:
        with _in_words():
            info = tar.next()
        if info is None:
            break
        if info.size < 0:  # the next header would be one of those before
            raise ShardError(f"is damaged at byte {info.offset}: a size below 0")
        if not info.isdir():
            special = not info.isreg()
            yield Member(info.name, info.offset_data, info.size, _refusal(info), special)
        cast(Any, tar).members = []  # which else grows by all headers
    with _in_words():
        _check_end(file, tar.offset)


def _refusal(info: tarfile.TarInfo) -> str | None:
    """Return why a member may be neither translated nor carried over."""
    path = PureWindowsPath(info.name)  # to which / and \ are the same
    if path.root or ".." in path.parts:
        return "its name leads out of the folder that it is unpacked into; rename it"
    if not info.name or "\0" in info.name:
        return "its name is none that files may have; rename it"
    if len(info.name) > LONGEST_NAME:
        return f"its name has {len(info.name)} characters; make it shorter"
    if info.issparse():
        return "is stored with holes (sparse); pack the shard without --sparse"
    return None


def _check_end(file: BinaryIO, offset: int) -> None:
    """Refuse a tar that does not end where its headers do: tarfile takes it for whole."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise ShardError("is cut off: it has no mark of its end; copy it again")
    if any(block):
        raise ShardError(f"is damaged at byte {offset}; copy it again")
    while rest := file.read(CHUNK):
        if any(rest):
            raise ShardError("goes on after the mark of its end; pack it as one tar")


@contextmanager
def _in_words() -> Iterator[None]:
    """Raise ShardError for what is wrong with a tar, of whose errors not all are TarErrors."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ShardError("is cut off or damaged (gzip); copy it again") from None
    except (tarfile.TarError, ValueError, IndexError, RecursionError, OverflowError) as error:
        if isinstance(error, ShardError):
            raise
        said = str(error)
        if said == "empty file":
            raise ShardError("is empty") from None
        if "end of data" in said or "truncated" in said:
            raise ShardError("is cut off; copy it again") from None
        raise ShardError("is no tar, or damaged; copy it again") from None


class _Bounded:
    """A file of which no more than CHUNK bytes are read at once.

    tarfile reads headers of any length that the tar calls for, and one that it calls negative to
    the end of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= CHUNK:
            raise ShardError(f"is damaged: a header of {size} bytes")
        return self.file.read(size)


def copy_member(file: BinaryIO, member: Member, to: BinaryIO) -> None:
    """Copy the bytes of a member into a file.

    Raises:
        ShardError: the tar has become shorter.
    """
    file.seek(member.offset)
    left = member.size
    while left:
        data = file.read(min(CHUNK, left))
        if not data:
            raise ShardError("is cut off; copy it again")
        to.write(data)
        left -= len(data)


class ShardWriter:
    """A tar that depends on the names and bytes of its members alone: times and owners are 0.

    Args:
        file: what it is written into.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.tar = tarfile.TarFile(
            fileobj=file,
            mode="w",
            format=tarfile.GNU_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
            copybufsize=CHUNK,
        )

    def add(self, name: str, size: int, file: BinaryIO) -> None:
        """Add a member of `size` bytes, read from a file's place."""
        info = tarfile.TarInfo(name)
        info.size = size
        self.tar.addfile(info, file)
        cast(Any, self.tar).members = []  # which else grows by all headers


@contextmanager
def written(path: Path, name: PathLike) -> Iterator[ShardWriter]:
    """Write a shard, compressed as its name says; its end is written when the block succeeds.

    Args:
        path: the file that is written.
        name: what it will be called.
    """
    with ExitStack() as stack:
        file: BinaryIO = stack.enter_context(open(path, "wb"))
        if not _is_plain(name):
            packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0)
            file = cast(BinaryIO, stack.enter_context(packed))
        writer = ShardWriter(file)
        yield writer
        writer.tar.close()


def group(members: Iterable[Member]) -> list[list[Member]]:
    """Group members as webdataset does: neighbours with one key are a sample.

    A member without a key is a group of its own, which parts no sample; links and the like are in
    none.
    """
    groups: list[list[Member]] = []
    sample: list[Member] = []
    for member in members:
        if member.special:
            continue
        key, _ = split_name(member.name)
        if key is None:
            groups.append([member])
        elif sample and split_name(sample[0].name)[0] == key:
            sample.append(member)
        else:
            sample = [member]
            groups.append(sample)
    return groups
