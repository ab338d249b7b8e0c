"""Which folders are the domains, and which hold their test pictures; nothing is decoded.

A folder alone is a set of domains where it has sub-folders trainA, trainB and so on, or pictures
only in sub-folders; it is one domain where pictures lie in it. Of several folders, each is a
domain with all that is below it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path

from translate.io.images import list_images

# trainA, train_photos, Train-2: the rest is the domain's name. Not trains, nor training.
_TRAIN = re.compile(r"^train(?:[ ._-]+(?P<word>.+)|(?-i:(?P<tail>[A-Z0-9].*)))$", re.IGNORECASE)
_SPLITS = ("test", "val", "valid", "validation")
_OF_SPLIT = re.compile(r"^(?:test|val|valid|validation)(?:$|[ ._-]|(?-i:[A-Z0-9]))", re.IGNORECASE)
MAX_NAME = 60  # characters of a domain's name
LISTED = 6  # names in a message


@dataclass(frozen=True)
class Layout:
    """What folders were understood as.

    Attributes:
        domains: Name -> folder of training pictures.
        tests: Name -> folder of test pictures, of all domains or of none.
        understood: How a folder that was given alone was read, in words.
    """

    domains: dict[str, Path]
    tests: dict[str, Path] = field(default_factory=dict)
    understood: str = ""

    def with_tests(self, place: Callable[[Path], Path | None] | None = None) -> Layout:
        """Add the folders of test pictures, where all domains have one.

        Args:
            place: A domain's folder -> where its test pictures lie, if anywhere; by default a
                leading "train" of its name is replaced by "test".
        """
        placed = {name: (place or _beside_train)(path) for name, path in self.domains.items()}
        tests = {name: path for name, path in placed.items() if path is not None and _holds(path)}
        return replace(self, tests=tests if len(tests) == len(self.domains) else {})

    def settings(self, base: Path) -> dict[str, object]:
        """Return `data.root`, `data.domains` and `data.tests` of a config in the folder `base`.

        The root is the folder that holds them all. It is relative where it lies in `base` or
        beside it, so that both can be moved together, and absolute otherwise.
        """
        named = {"domains": self.domains, "tests": self.tests}
        folders = [Path(os.path.abspath(path)) for part in named.values() for path in part.values()]
        root = _shared([folder.parent for folder in folders])
        here = Path(os.path.abspath(base))
        found: dict[str, object] = {}
        if root is not None and root != here:
            is_near = here.parent in (root, *root.parents) and here.parent != Path(here.anchor)
            found["root"] = Path(os.path.relpath(root, here)).as_posix() if is_near else str(root)
        for key, part in named.items():
            if part:
                found[key] = {name: _from(root, folder) for name, folder in part.items()}
        return found


def _shared(folders: Sequence[Path]) -> Path | None:
    """Return the deepest folder that holds all of these; None for the file system's root."""
    try:
        shared = Path(os.path.commonpath(folders))
    except ValueError:  # drives of Windows
        return None
    return None if shared == Path(shared.anchor) else shared


def _from(root: Path | None, folder: Path) -> str:
    """Return a folder relative to the root above it, or absolute where there is none."""
    absolute = Path(os.path.abspath(folder))
    return str(absolute) if root is None else absolute.relative_to(root).as_posix()


def find_domains(arguments: Sequence[str]) -> Layout:
    """Find the domains that the arguments of a command mean.

    Args:
        arguments: Folders, each a domain or, where there is one alone, perhaps a folder of
            domains; NAME=FOLDER is always one domain, and names it.

    Raises:
        ValueError: For a folder that is missing or has no pictures, folders that are the same or
            lie in one another, and names that no domain can have or that two have.
    """
    if not arguments:
        raise ValueError("no folder: give a folder of pictures for each domain")
    given = [_named(argument) for argument in arguments]
    for _, folder in given:
        if not folder.is_dir():
            raise ValueError(f"{folder.resolve()}: no such folder; give folders of pictures")
    if len(given) == 1 and given[0][0] is None:
        layout = _read_alone(given[0][1])
        _check(list(layout.domains), list(layout.domains.values()))
        return layout

    names = _choose_names(given)
    folders = [folder for _, folder in given]
    _check(names, folders)
    return Layout(dict(zip(names, folders, strict=True))).with_tests()


def _check(names: Sequence[str], folders: Sequence[Path]) -> None:
    """Refuse folders that share pictures, and names that are no domain's or that two have."""
    _require_separate(folders)
    if len({name.casefold() for name in names}) < len(names):
        listed = _listed([str(folder) for folder in folders])
        raise ValueError(f"{listed}: two domains of one name; name them: NAME=FOLDER")
    for name, folder in zip(names, folders, strict=True):
        _check_name(name, folder)


def _named(argument: str) -> tuple[str | None, Path]:
    """Split NAME=FOLDER, unless there is a folder of the whole name."""
    name, equals, folder = argument.partition("=")
    if not equals or not name or "/" in name or Path(argument).exists():
        return None, Path(argument)
    return name, Path(folder)


def _read_alone(folder: Path) -> Layout:
    """Tell whether a folder is one domain or holds several."""
    inner = _sub_folders(folder)
    train = {_own_name(path): path for path in inner if _TRAIN.match(path.name)}
    if train:
        return _described(folder, Layout(train).with_tests(), inner)
    if not inner or any(len(path.parts) == 1 for path in list_images(folder)):
        return _one_domain(folder, f"with {len(inner)} sub-folders" if inner else "")

    splits = {path.name.lower(): path for path in inner}
    if "train" in splits:
        parts = {path.name: path for path in _sub_folders(splits["train"])}
        if len(parts) > 1:
            return _described(folder, Layout(parts).with_tests(_in_test_split), inner)
        name = _own_name(folder.resolve())
        return _described(folder, Layout({name: splits["train"]}).with_tests(), inner)
    domains = {path.name: path for path in inner if not _OF_SPLIT.match(path.name)}
    if len(domains) < 2:
        return _one_domain(folder, "with its sub-folder")
    return _described(folder, Layout(domains).with_tests(_beside), inner)


def _sub_folders(folder: Path) -> list[Path]:
    """List the folders in a folder that hold pictures, however deep."""
    inner = [path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"]
    return sorted((path for path in inner if _holds(path)), key=lambda path: path.name)


def _one_domain(folder: Path, how: str) -> Layout:
    name = _choose_names([(None, folder)])[0]
    layout = Layout({name: folder}).with_tests()
    words = f"{folder} is one domain, {name}" + f", {how}" * bool(how)
    return replace(layout, understood=words)


def _described(folder: Path, layout: Layout, inner: Sequence[Path]) -> Layout:
    """Say how the sub-folders of a folder were read, and which of them are left out."""
    parts = [
        path.relative_to(folder).as_posix() + f" ({name})" * (path.name != name)
        for name, path in layout.domains.items()
    ]
    words = f"{folder} holds the domain{'s' * (len(parts) > 1)} {_listed(parts)}"
    if layout.tests:
        tests = [path.relative_to(folder).as_posix() for path in layout.tests.values()]
        words += f" and test pictures in {_listed(tests)}"
    used = {*layout.domains.values(), *layout.tests.values()}
    used |= {path.parent for path in used}
    rest = [path.name for path in inner if path not in used]
    if rest:
        words += f"; left out: {_listed(rest)}"
    name = folder.resolve().name
    alone = shlex.quote(f"{name}={folder}")
    return replace(layout, understood=f"{words}; one domain of all would be: init {alone}")


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:LISTED])
    if len(names) > LISTED:
        shown[-1:] = [f"{len(names) - LISTED + 1} more"]
    *others, last = shown
    return f"{', '.join(others)} and {last}" if others else last


def _holds(folder: Path) -> bool:
    """Whether there are pictures below a folder."""
    return folder.is_dir() and bool(list_images(folder))


def _beside_train(folder: Path) -> Path | None:
    """Return where test pictures lie: the folder's name with a leading "train" as "test".

    Returns:
        None for other names, such as `constraints`.
    """
    if not folder.name.lower().startswith("train"):
        return None
    test = "Test" if folder.name[0] == "T" else "test"
    return folder.with_name(test + folder.name[len("train") :])


def _in_test_split(folder: Path) -> Path | None:
    """DATA/train/NAME -> DATA/test/NAME, or that of another split."""
    data = folder.parent.parent
    found = [data / split / folder.name for split in _SPLITS]
    return next((path for path in found if path.is_dir()), None)


def _beside(folder: Path) -> Path | None:
    """DATA/NAME -> DATA/testNAME, DATA/test_NAME or DATA/test/NAME."""
    data = folder.parent
    found = [data / f"test{folder.name}", data / f"test_{folder.name}", data / "test" / folder.name]
    return next((path for path in found if path.is_dir()), None)


def _require_separate(folders: Sequence[Path]) -> None:
    """Refuse folders that are the same, by links too, or lie in one another."""
    for first, second in permutations(folders, 2):
        if first.resolve() == second.resolve():
            raise ValueError(
                f"{first}, {second}: the same folder; give another folder for each domain"
            )
        if first.resolve() in second.resolve().parents:
            raise ValueError(f"{second}: lies in {first}; give folders that share no pictures")


def _choose_names(given: Sequence[tuple[str | None, Path]]) -> list[str]:
    """Name domains after their folders; after those above, where several have one name."""
    paths = [folder.resolve() for _, folder in given]
    names = [name or _own_name(path) for (name, _), path in zip(given, paths, strict=True)]
    doubled = {name for name, count in Counter(map(str.casefold, names)).items() if count > 1}
    if doubled:
        names = [
            name if given[i][0] or name.casefold() not in doubled else paths[i].parent.name
            for i, name in enumerate(names)
        ]
    return names


def _own_name(folder: Path) -> str:
    """Return trainA -> A, and other names as they are."""
    match = _TRAIN.match(folder.name)
    return (match["word"] or match["tail"]) if match else folder.name


def _check_name(name: str, folder: Path) -> None:
    """Refuse what no option could name: empty, with line ends, like an option, endless."""
    plain = name.isprintable() and name.strip() == name and not name.startswith("-")
    if not plain or not name or len(name) > MAX_NAME or any(mark in name for mark in "/\\"):
        raise ValueError(
            f"{str(folder)!r}: its name {name!r} names no domain; name it: NAME=FOLDER"
        )
