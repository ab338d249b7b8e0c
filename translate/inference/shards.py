"""WebDataset shards in, shards out: find, look, skip, and each unpacked, translated and packed."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from translate.inference.folder_options import (
    DEFAULTS,
    SUFFIXES,
    FolderOptions,
    FolderSummary,
    Progress,
    no_progress,
)
from translate.inference.folder_work import Places
from translate.inference.likeness import MANY
from translate.inference.manifest import (
    ALL,
    NO_SPACE,
    NOT_REACHED,
    STOPPED,
    Entry,
    is_over,
    only_run,
    owner_of,
    refuse_used,
    remove_unfinished,
    stamps_of,
)
from translate.inference.planning import (
    Inputs,
    check,
    check_out,
    is_pattern,
    scan,
    split_pattern,
)
from translate.inference.predictor import Predictor
from translate.inference.shard_manifest import ShardManifest, Tally
from translate.inference.shard_plan import Naming, names_picture
from translate.inference.shard_work import ShardWork, shard_key
from translate.inference.status import RunNote
from translate.inference.task import Task, check_task
from translate.io import files, shards
from translate.io.address import CHAIN, address_of, split_name, unsafe, without_secrets
from translate.io.address import is_pattern as has_wildcards
from translate.io.files import DiskFullError, PathLike, is_full
from translate.io.folders import LocalFolder, Source
from translate.io.shards import is_shard, shard_of
from translate.io.storage import StoredFolder
from translate.runtime.signals import interruption

logger = logging.getLogger(__name__)

# options that are about folders, and why
NOT_OF_SHARDS = {
    "suffix": "would part pictures from their samples, which are told by names",
    "preview": "shows pictures of a folder",
    "strict": "is about files in a folder; what is no picture stays in its sample",
}


@dataclass(frozen=True)
class FoundShards:
    """Shards that were found.

    Attributes:
        source: what their paths are relative to.
        paths: sorted.
        named: what outputs may not be written over: the folder, the pattern or the files that
            stand for them.
    """

    source: Source
    paths: Sequence[str]
    named: Inputs


def find_shards(inputs: Inputs) -> FoundShards | None:
    """Find the shards that inputs stand for.

    Args:
        inputs: a shard, a folder of shards and no pictures, a pattern that matches shards alone,
            names with braces such as x-{000..099}.tar, or a list of shards; of addresses, all but
            a folder.

    Returns:
        The shards; None where the inputs are none.

    Raises:
        ValueError: for shards and other files in one list, addresses in several folders, and braces
            that stand for too many.
        StorageError: for an address that cannot be read.
    """
    if not isinstance(inputs, str | os.PathLike):
        return _listed([os.fspath(path) for path in inputs])
    name = os.fspath(inputs)
    if os.path.isdir(name):
        found = _in_folder(Path(name))
        return FoundShards(LocalFolder(Path(name)), found, name) if found else None
    if not is_shard(name) or CHAIN in name:  # a chain leads into an archive
        return None
    if address_of(name) is not None:
        return _matching(name) if has_wildcards(name) else _at_addresses(shards.expand(name))
    if os.path.lexists(name):
        return FoundShards(LocalFolder(Path(name).parent), [Path(name).name], [name])
    if is_pattern(name):
        folder, matches = split_pattern(name)
        if not matches or not all(map(is_shard, matches)):
            return None
        paths = sorted(matches)
        return FoundShards(LocalFolder(folder), paths, [folder / path for path in paths])
    expanded = shards.expand(name)
    return None if expanded == [name] else _listed(expanded)


def _in_folder(folder: Path) -> list[str]:
    """List the shards below a folder; none where there are pictures."""
    found = []
    for root, folders, names in files.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.startswith("."):
                continue
            if names_picture(name.lower()):
                return []
            if is_shard(name):
                found.append(Path(root, name).relative_to(folder).as_posix())
    return sorted(found)


def _listed(paths: Sequence[str]) -> FoundShards | None:
    """Return listed shards, relative to the folder that they have in common."""
    others = [path for path in paths if not is_shard(path) or CHAIN in path]
    if len(others) == len(paths):
        return None
    if others:
        raise ValueError(
            f"{without_secrets(others[0])}: is no shard, others are; translate them one after the "
            "other"
        )
    if any(address_of(path) is not None for path in paths):
        return _at_addresses(paths)
    full = [os.path.abspath(path) for path in paths]
    folder = Path(os.path.commonpath([os.path.dirname(path) for path in full]))
    found = {Path(path).relative_to(folder).as_posix() for path in full}
    return FoundShards(LocalFolder(folder), sorted(found), full)


def _at_addresses(addresses: Sequence[str]) -> FoundShards:
    """Return shards that lie in one folder at an address."""
    places = [split_name(address) for address in addresses]
    (first, _), (last, _) = min(places), max(places)
    check(
        first == last,
        f"{without_secrets(first)}, {without_secrets(last)}: shards at addresses have to lie in "
        "one folder; translate one folder after the other",
    )
    return FoundShards(StoredFolder(first), sorted({name for _, name in places}), addresses[:1])


def _matching(pattern: str) -> FoundShards | None:
    """Return what matches a pattern at an address, if all of it are shards."""
    source, entries = scan(pattern, strict=True)
    paths = sorted(entry.path for entry in entries)
    return FoundShards(source, paths, pattern) if all(map(is_shard, paths)) else None


class ShardJob:
    """The translation of WebDataset shards into shards of the same names.

    A shard is translated as a whole: its pictures are unpacked into a folder in `out` (of an
    address, into a temporary one), translated as those of a folder, and packed among what else it
    holds, which is carried over byte for byte. A sample of which a picture fails or is rejected is
    left out.

    Args:
        predictor: the model.
        inputs: see `find_shards`; or what that has found.
        out: the folder to write into, or its address.
        to: the target domain; of two it may be left out, and is then the one that a few pictures
            of the first shard do not look like, else the second.
        options: everything else. A style is chosen by seed, the shard's name and the member's.
        members: extensions that are translated, such as jpg or input.png; none means all pictures.
        progress: called with how many shards are done, and of how many.

    Raises:
        ValueError: for inputs that are no shards, and options that do not fit.
    """

    def __init__(
        self,
        predictor: Predictor,
        inputs: Inputs | FoundShards,
        out: PathLike,
        to: str | None = None,
        options: FolderOptions = DEFAULTS,
        members: Sequence[str] = (),
        progress: Progress = no_progress,
    ) -> None:
        for name, reason in NOT_OF_SHARDS.items():
            given = getattr(options, name) != getattr(DEFAULTS, name)
            check(not given, f"--{name}: {reason}; leave it out for shards")
        extensions = [member.lower().removeprefix(".") for member in members]
        for extension in extensions:
            check(
                names_picture(extension),
                f"--members {extension}: is no extension of pictures, such as jpg or input.png",
            )
        is_file = is_shard(out) and not os.path.isdir(out)
        said = without_secrets(os.fspath(out))
        check(not is_file, f"{said}: name a folder to write into; shards keep their names")
        check_task(predictor, to, options)
        self.predictor = predictor
        self.inputs = inputs
        self.out = out
        self.to = to
        self.options = options
        self.progress = progress
        self.naming = Naming(SUFFIXES[options.format], options.samples, tuple(sorted(extensions)))
        self.tally = Tally()
        self.done = 0  # shards
        self.stopped = False  # at a failure, with on_error "stop"
        self.full = False  # the disk

    def translate(self) -> FolderSummary:
        """Run all steps.

        Returns:
            Counts of pictures; of a shard that failed as a whole, one failure.

        Raises:
            ValueError: before any work, in one line, when the options do not fit the inputs or the
                model.
            DiskFullError: no space is left.
            KeyboardInterrupt: after Ctrl-C or SIGTERM; the shard in work is not written.
        """
        start = time.perf_counter()
        self.scan()
        try:
            self.look()
            with only_run(self.target, self.options.shard):
                self.skip()
                try:
                    self.run()
                finally:
                    self.finish()
        finally:
            self.source.close()
            self.target.close()
        return self.tally.summary(time.perf_counter() - start, self.task.names)

    def scan(self) -> None:
        """Find the shards, and those that are this run's own: every n-th."""
        given = self.inputs
        found = given if isinstance(given, FoundShards) else find_shards(given)
        if found is None:
            raise ValueError(f"{without_secrets(str(given))}: no WebDataset shards (.tar)")
        for path in found.paths:
            check(shard_of(path) == path, f"{path}: lies in a folder named like a shard; rename it")
            check(not unsafe(path), f"{path}: names no file; rename it")
        self.source = found.source
        self.target = check_out(found.named, self.out)
        self.manifest = ShardManifest(self.target, self.options.shard)
        self.entries = [Entry(path, outputs=(path,)) for path in found.paths]
        i, n = self.options.shard
        self.own = self.entries[i - 1 :: n]
        options = self.options
        if not options.overwrite:
            # a killed run may have left no line about its shards, but always a manifest
            shard = ALL if options.skip_existing else options.shard
            refuse_used(self.target, self.own, options.skip_existing, shard)

    def look(self) -> None:
        """Look at a few pictures, which may decide the direction."""
        with tempfile.TemporaryDirectory() as folder:
            paths = self._first_pictures(Path(folder))
            self.task = Task.find(self.predictor, paths, self.to, self.options, nullcontext)

    def _first_pictures(self, folder: Path) -> list[Path]:
        """Unpack the first pictures of the first shard that has some."""
        paths: list[Path] = []
        for entry in self.entries:
            with (
                suppress(ValueError, OSError),  # it will fail, and say why
                shards.streamed(self.source.fetch(entry.path)) as file,
            ):
                for member in shards.read_members(file):
                    if member.special or member.refused or not self.naming.takes(member.name):
                        continue
                    path = folder / f"{len(paths)}{PurePosixPath(member.name).suffix}"
                    with open(path, "wb") as picture:
                        shards.copy_member(file, member, picture)
                    paths.append(path)
                    if len(paths) == MANY:
                        break
            if paths:
                break
        return paths

    def skip(self) -> None:
        """Leave out the shards that are done, and clear away what killed runs have left."""
        own = {entry.path: entry for entry in self.own}
        shard = self.options.shard

        def keep(path: str, entries: list[Entry]) -> None:
            del own[path]
            self.tally.add(entries)

        # At once: a run that gets killed must leave no line about outputs it has replaced.
        self.manifest.begin(self.entries, set(own), self._is_done, keep)
        remove_unfinished(self.target, self.own, shard)
        self.workplace = self.target.workplace(owner_of(shard), lambda owner: is_over(owner, shard))
        self.jobs = list(own.values())
        self.done = len(self.own) - len(self.jobs)
        self.progress(self.done, len(self.own))

    def _is_done(self, path: str, lines: Sequence[dict[str, Any]]) -> bool:
        """Tell by an earlier run's lines about a shard whether it is as this run would make it."""
        *pictures, last = lines
        if not self.options.skip_existing or last["source"] != path or last["status"] != "ok":
            return False
        try:
            facts = self.source.facts(path)
        except OSError:  # it will fail
            return False
        sources = [line["source"] for line in pictures]
        key = shard_key(self.task, self.naming, path, sources, facts)
        if last["key"] != key or not self.target.holds_file(path):
            return False
        stamps = stamps_of(last)
        written = [self.target.is_as_written(path, s, self.options.verify) for s in stamps]
        return written == [True]

    def run(self) -> None:
        """Translate the shards, one after the other.

        Raises:
            DiskFullError: no space is left.
            KeyboardInterrupt: after Ctrl-C or SIGTERM.
        """
        aborted = threading.Event()
        note = RunNote(self.target, self.options.shard)
        with note.kept(), interruption(_say_that_it_ends, aborted.set) as interrupted:
            work = ShardWork(
                self.task,
                self.naming,
                Places(self.source, self.target),
                self.workplace,
                self._count_share,
                aborted,
            )
            for shard in self.jobs:
                try:
                    entries = work.translate(shard, interrupted)
                    if shard.reason == NOT_REACHED:
                        break
                    self.manifest.add([*entries, shard])
                except OSError as error:
                    if not (is_full(error) or isinstance(error, DiskFullError)):
                        raise
                    self.full = True
                    raise DiskFullError(
                        f"{self.target.disk}: no space left on device; make room, then run again "
                        "with --skip-existing"
                    ) from None
                self.tally.add(entries if shard.status == "ok" else [*entries, shard])
                self.done += 1
                note.add()
                self.progress(self.done, len(self.own))
                self.stopped = self.options.on_error == "stop" and shard.status == "failed"
                if self.stopped or interrupted.is_set():
                    break
        if interrupted.is_set():
            raise KeyboardInterrupt

    def _count_share(self, share: float) -> None:
        """Tell of the share of the shard in work that is done."""
        self.progress(self.done + share, len(self.own))

    def finish(self) -> None:
        """Write the last manifest; a full disk keeps the one that is there, which is as true."""
        reason = NO_SPACE if self.full else STOPPED if self.stopped else NOT_REACHED
        left = [shard for shard in self.jobs if shard.reason == NOT_REACHED]
        for shard in left:
            shard.reason = reason
        self.tally.add(left)
        with suppress(DiskFullError):
            self.manifest.end({shard.path for shard in self.jobs}, left)


def _say_that_it_ends() -> None:
    logger.warning("the shard in work is given up; Ctrl-C again stops at once")
