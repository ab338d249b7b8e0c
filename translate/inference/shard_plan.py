"""What is to become of a WebDataset shard: of its members, sample by sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from translate.inference.manifest import NOT_REACHED, Entry
from translate.io import images
from translate.io.shards import Member, group, split_name

WITH_SAMPLE = "left out with its sample"
WITH_SHARD = "left out with its shard"


@dataclass(frozen=True)
class Naming:
    """Which members are translated, and what they are called then.

    Attributes:
        suffix: of the outputs, with its dot; "" keeps the input's.
        samples: variants of each picture; above 1, each is a sample of its own, KEY_1, KEY_2, ...
        members: extensions that are translated, in lower case; none means all pictures.
    """

    suffix: str = ""
    samples: int = 1
    members: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Tell whether a member of a name is translated."""
        key, extension = split_name(name)
        if key is None:
            return False
        return extension in self.members if self.members else names_picture(extension)

    def names(self, name: str, numbered: bool) -> tuple[str, ...]:
        """Return what a member is called in the new shard, one name for each variant."""
        key, _ = split_name(name)
        if key is None:
            return (name,)
        rest = name[len(key) :]
        if self.takes(name):
            own = PurePosixPath(name).suffix
            known = own if own.lower() in images.SUFFIXES else ".png"
            rest = rest.removesuffix(own) + (self.suffix or known)
        if not numbered:
            return (key + rest,)
        return tuple(f"{key}_{k + 1}{rest}" for k in range(self.samples))


def names_picture(extension: str) -> bool:
    """Tell whether an extension such as jpg or input.png is a picture's."""
    suffix = f".{extension.rpartition('.')[2]}"
    return suffix in images.SUFFIXES or suffix in images.FOREIGN_SUFFIXES


@dataclass(frozen=True)
class Part:
    """A member and what becomes of it.

    Attributes:
        member: of the shard.
        names: in the new shard, one for each variant.
        entry: of a picture that is translated, and of a member that is refused; None where the
            member is carried over.
    """

    member: Member
    names: tuple[str, ...]
    entry: Entry | None = None


class Sample:
    """Members that stay together: all are in the new shard, or none.

    Args:
        parts: in the order of the shard.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.entries = [part.entry for part in parts if part.entry is not None]

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it has failed or was left out so far."""
        return all(e.status == "ok" or e.reason == NOT_REACHED for e in self.entries)

    def leave_out(self, reason: str = WITH_SAMPLE) -> None:
        """Note of its pictures why they are not in the new shard, where nothing else is known."""
        for entry in self.entries:
            if entry.status == "ok" or entry.reason == NOT_REACHED:
                entry.status = "skipped"
                entry.reason = reason

    def pictures(self) -> Iterator[tuple[Member, Entry]]:
        """Yield members that are to be translated; of a sample that is left out, none."""
        for part in self.parts:
            if part.entry is not None and part.entry.reason == NOT_REACHED:
                yield part.member, part.entry

    def outputs(self) -> Iterator[tuple[Part, str]]:
        """Yield parts with their names in the new shard, in its order: variant by variant."""
        for k in range(len(self.parts[0].names)):
            for part in self.parts:
                yield part, part.names[k]


def plan_samples(shard: str, members: Sequence[Member], naming: Naming) -> list[Sample]:
    """Decide what becomes of a shard's members.

    A sample with a member that cannot be used is left out as a whole; it has an entry that says
    why.

    Args:
        shard: its path, which the paths of its members begin with.
        members: in its order.
        naming: which are translated, and what they are called then.
    """
    times = Counter(member.name for member in members if not member.special)
    taken: set[tuple[str | None, str]] = set()
    samples = []
    for found in group(members):
        numbered = naming.samples > 1 and any(naming.takes(member.name) for member in found)
        sample = Sample([_part(shard, m, naming, numbered, times[m.name]) for m in found])
        counts = Counter(split_name(name) for _, name in sample.outputs())
        clashes = [name for name, n in counts.items() if n > 1 or name in taken]
        if clashes and sample.entries and sample.is_whole:
            reason = f"{'.'.join(map(str, clashes[0]))} would be in the shard twice"
            sample.entries[0].fail(ValueError(f"{reason}; choose other --members or --format"))
        if sample.is_whole:
            taken.update(counts)
        else:
            sample.leave_out()
        samples.append(sample)
    return samples


def _part(shard: str, member: Member, naming: Naming, numbered: bool, times: int) -> Part:
    """Decide what becomes of a member of which so many are in its shard."""
    names = naming.names(member.name, numbered)
    refused = member.refused
    if times > 1 and split_name(member.name)[0] is not None:
        refused = f"is {times} times in the shard; leave one"
    if refused is None and not naming.takes(member.name):
        return Part(member, names)
    entry = Entry(f"{shard}/{member.name}", outputs=tuple(f"{shard}/{name}" for name in names))
    if refused is not None:
        entry.fail(ValueError(refused))
    return Part(member, names, entry)


def entries_of(samples: Iterable[Sample]) -> list[Entry]:
    """Return what the manifest says of samples, in their order, each path once."""
    return list({entry.path: entry for sample in samples for entry in sample.entries}.values())
