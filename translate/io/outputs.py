"""Where results may go: not over what they are made from."""

from __future__ import annotations

import os
from pathlib import Path

from translate.io.files import PathLike, make_parent
from translate.io.images import SUFFIXES


def prepare_output(path: PathLike, *inputs: PathLike | None) -> None:
    """Make the folder of a file before the work whose result goes into that file.

    Args:
        path: the file.
        inputs: files and folders that the work reads; None stands for none.

    Raises:
        ValueError: `path` is a folder, one of the inputs, or a picture in one of them.
        OSError: the folder cannot be made.
    """
    make_parent(path)
    if not os.path.exists(path):
        return
    for given in inputs:
        if given is None or not os.path.exists(given):
            continue
        if os.path.isdir(given):
            is_input = Path(path).suffix.lower() in SUFFIXES and _lies_in(path, given)
        else:
            is_input = os.path.samefile(path, given)
        if is_input:
            raise ValueError(f"{path}: is an input, and would be replaced; name another file")


def _lies_in(path: PathLike, folder: PathLike) -> bool:
    """Tell whether a file lies below a folder, by the folders themselves, whatever their names."""
    parents = (Path(os.path.abspath(path)).parents, Path(os.path.realpath(path)).parents)
    return any(os.path.samefile(parent, folder) for each in parents for parent in each)
