"""Which files belong together: folders in, groups of paths out. Nothing is decoded.

Files of one name are pairs: of one stem or, where two files of a folder share a stem, one path
without the suffix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias

from translate.io.images import SUFFIXES, list_images

Groups: TypeAlias = dict[str, dict[str, Path]]  # name: what a file shows: the file
LISTED = 10  # names in a message
LOSSY = ("JPEG", "WEBP")  # WebP has a lossless form too, but a name does not tell


def match_by_name(folders: Mapping[str, Path], allow_missing: bool, notes: list[str]) -> Groups:
    """Group the images of several folders by name.

    Args:
        folders: What a folder shows -> folder.
        allow_missing: Whether files without a partner are left in groups of their own.
        notes: Messages for readers of the results are appended to it.

    Returns:
        Name -> what a file shows -> file; the complete groups come first.

    Raises:
        ValueError: For a folder that is missing or without images, two files of one name in a
            folder, and files without a partner.
    """
    if missing := [str(folder.resolve()) for folder in folders.values() if not folder.is_dir()]:
        raise ValueError(f"no such folder: {' and '.join(missing)}; check the path")
    files = {what: list_images(folder) for what, folder in folders.items()}
    if empty := [str(folders[what]) for what, paths in files.items() if not paths]:
        raise ValueError(f"no images in {' and '.join(empty)}; name another folder")
    unique = all(len({path.stem for path in paths}) == len(paths) for paths in files.values())
    groups: Groups = defaultdict(dict)
    for what, paths in files.items():
        for path in paths:
            group = groups[path.stem if unique else path.with_suffix("").as_posix()]
            if what in group:
                raise ValueError(
                    f"{group[what]} and {path.name} have one name, so that it is not clear which "
                    "is the pair; rename one of them"
                )
            group[what] = folders[what] / path
    _require_partners(groups, len(folders), allow_missing, notes)
    _note_mixed_codecs(folders, files, notes)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), *item[1], item[0])))


def _require_partners(groups: Groups, whole: int, allow_missing: bool, notes: list[str]) -> None:
    """Note files without a partner; raise ValueError where they are not allowed."""
    incomplete = [group for group in groups.values() if len(group) < whole]
    alone = [str(path) for group in incomplete for path in group.values()]
    if len(alone) == sum(map(len, groups.values())):
        notes.append("the folders share no file names: metrics of pairs are left out")
    elif alone:
        notes.append(f"without a partner of the same name: {some(alone)}")
        if not allow_missing:
            raise ValueError(f"{notes[-1]}; leave them out with --allow-missing")


def _note_mixed_codecs(
    folders: Mapping[str, Path], files: Mapping[str, Collection[Path]], notes: list[str]
) -> None:
    """Note where some files are compressed with loss and others are not."""
    codecs = {
        what: {SUFFIXES[path.suffix.lower()] for path in paths} for what, paths in files.items()
    }
    found = set().union(*codecs.values())
    if len(found) > 1 and found.intersection(LOSSY):
        lines = [f"{folders[what]}: {', '.join(sorted(names))}" for what, names in codecs.items()]
        notes.append(
            "mixed codecs shift metrics, as the artefacts of JPEG and WebP count as differences "
            f"({'; '.join(sorted(lines))})"
        )


def some(names: Collection[str]) -> str:
    """Return the first names of many, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(list(names)[:LISTED]) + more
