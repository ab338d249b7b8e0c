"""Files at addresses, kept in the user's cache folder until they change."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

from translate.io.address import Facts, split_name, without_secrets
from translate.io.files import atomic
from translate.io.hub import OFFLINE, is_offline
from translate.io.named import ListedFiles


def cache_folder() -> Path:
    """Return the user's folder of what can be fetched again."""
    return user_cache_path("introshift", appauthor=False)


def cached(address: str) -> Path:
    """Return a file of this machine with the content of one at an address.

    It is fetched where the cache does not have it in the version that is there now; offline, what
    was fetched last is taken.

    Raises:
        StorageError: it cannot be had.
        ValueError: offline, where it was not fetched before.
    """
    # by the hash: an address may hold a token
    folder = cache_folder() / "files" / hashlib.sha256(address.encode()).hexdigest()[:32]
    if is_offline():
        kept = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime)
        if not kept:
            raise ValueError(
                f"{without_secrets(address)}: not fetched before; run once without --offline "
                f"(or {OFFLINE})"
            )
        return kept[-1]

    source = ListedFiles({"": address})
    try:
        facts = source.facts("")
        file = folder / f"{_digest(facts)}{PurePosixPath(split_name(address)[1]).suffix}"
        if facts.version is not None and file.exists():
            os.utime(file)
            return file
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(file) as part:
            shutil.move(source.fetch(""), part)
    finally:
        source.close()
    for other in folder.glob("*"):
        if other != file:
            with suppress(OSError):
                other.unlink()
    return file


def _digest(facts: Facts) -> str:
    return hashlib.sha256(repr(tuple(facts)).encode()).hexdigest()[:16]
