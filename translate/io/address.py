"""Addresses of files that lie elsewhere, such as s3://bucket/folder, and the file systems behind.

What fsspec (Filesystem Spec) knows is known here: object stores, servers, members of archives
(`zip://::s3://bucket/a.zip`). Credentials and endpoints are those of the provider's own tools.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from translate.io.files import PathLike, is_full

# two letters at least: C:// is a drive
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
SCHEME_OF_PATH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?=[^/])")  # a Path makes one slash of two
CHAIN = "::"  # between a member of an archive and the archive
WEB = ("http", "https")  # which lists no folders, and where ? begins a query
# what pip is asked for, where it is one of this package's extras
EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
    "http": "http",
    "https": "http",
    "hf": "hub",
}
# in the order in which they tell more of the content
VERSIONS = (
    *("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "blob_id", "CRC", "generation"),
    *("mtime", "LastModified", "last_modified", "Last-Modified", "modified", "created"),
)
# names of classes, as the packages that have them need not be there
NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "NoAuthTokenError",
    "DefaultCredentialsError",
    "RefreshError",
    "ClientAuthenticationError",
}
UNREACHABLE = {
    "EndpointConnectionError",
    "HTTPClientError",
    "ClientConnectorError",
    "ServerDisconnectedError",
    "ServiceRequestError",
    "ConnectionError",
    "TimeoutError",
    "gaierror",
}
USER = re.compile(r"(?<=://)[^/@\s]*@")  # user:password@
QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\")]*")


class StorageError(OSError):
    """Something at an address cannot be had or written; one line, with the remedy."""


class Facts(NamedTuple):
    """What is known of a file without reading it.

    Attributes:
        size: in bytes, None where the server does not say.
        version: changes when the content does: a content hash, else a time; None where neither is
            known.
    """

    size: int | None
    version: str | int | None

    @classmethod
    def here(cls, path: PathLike) -> Facts:
        """Take those of a file of this machine: its size, and the time of its change in ns."""
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns)

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Facts:
        """Take them from what a file system says of a file."""
        version = next((info[name] for name in VERSIONS if info.get(name) is not None), None)
        size = info.get("size")
        return cls(None if size is None else int(size), None if version is None else str(version))


def address_of(path: PathLike) -> str | None:
    """Return the address that a text or a path is, or None for a path of this machine."""
    text = os.fspath(path)
    if SCHEME.match(text) or (CHAIN in text and SCHEME.search(text)):
        return text
    if isinstance(path, Path) and SCHEME_OF_PATH.match(path.as_posix()):
        return SCHEME_OF_PATH.sub(r"\1://", path.as_posix())
    return None


def scheme_of(address: str) -> str:
    """Return the scheme of an address, of a chain that of its first link."""
    return _parts(address)[0]


def without_secrets(text: str) -> str:
    """Return text whose addresses have no user, password and query, which may hold tokens."""
    return QUERY.sub(r"\1", USER.sub("", text))


def is_pattern(address: str) -> bool:
    """Tell whether the names in an address have wildcards."""
    scheme, path, _ = _parts(address)
    return scheme not in WEB and glob.has_magic(path)


def split_pattern(address: str) -> tuple[str, str]:
    """Split an address with wildcards into that of the folder before them, and the rest."""
    scheme, path, archive = _parts(address)
    names = path.split("/")
    plain = next(i for i, name in enumerate(names) if glob.has_magic(name))
    return f"{scheme}://{'/'.join(names[:plain])}{archive}", "/".join(names[plain:])


def split_name(address: str) -> tuple[str, str]:
    """Split the address of a file into that of its folder, and its name."""
    scheme, path, archive = _parts(address)
    path, mark, query = path.partition("?") if scheme in WEB else (path, "", "")
    folder, _, name = path.rpartition("/")
    return f"{scheme}://{folder}{archive}", name + mark + query


def join(folder: str, path: str) -> str:
    """Return the address of a path below a folder, of a member in that of the archive."""
    scheme, above, archive = _parts(folder)
    above = above.rstrip("/")
    return f"{scheme}://{above}{'/' * bool(above)}{path}{archive}"


def _parts(address: str) -> tuple[str, str, str]:
    """Split an address into scheme, path and, from :: on, the archive."""
    first, chain, archive = address.partition(CHAIN)
    scheme, _, path = first.partition("://")
    return scheme.lower(), path, chain + archive


@contextmanager
def in_words(address: str) -> Iterator[None]:
    """Raise what a file system raises as StorageError, with the address and the remedy.

    A full disk of this machine stays the OSError that it is.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:  # file systems and the network libraries below raise many things
        if is_full(error):
            raise
        raise StorageError(f"{without_secrets(address)}: {_reason(error, address)}") from None


def open_address(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it, without a slash at its end.

    Raises:
        StorageError: for an unknown scheme, a package that is missing, and an archive that cannot
            be opened.
    """
    with in_words(address):
        from fsspec.core import url_to_fs

        file_system, path = url_to_fs(address)
        return file_system, str(path).rstrip("/")


def _reason(error: Exception, address: str) -> str:
    """Return why something at an address cannot be had, and the remedy, in one line."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    status = next((each.status for each in chain if hasattr(each, "status")), None)
    scheme = scheme_of(address)
    if "ImportError" in names:
        if scheme in EXTRAS:
            return f"needs pip install 'introshift[{EXTRAS[scheme]}]'"
        return f"needs another package ({_line(error)})"
    if "Protocol not known" in str(error):
        return f"{scheme}:// is none of the schemes that fsspec knows, such as s3, gs, az or hf"
    if names & NO_CREDENTIALS:
        return "no credentials, or expired ones; give them as to the provider's own tools"
    if names & UNREACHABLE:
        return "does not answer; check the network and the endpoint"
    if isinstance(error, PermissionError) or status in (401, 403):
        return "access denied; check the credentials and what they allow"
    if isinstance(error, FileNotFoundError) and status in (None, 404, 410):
        return "no such file, folder or bucket"
    if status is not None:
        return f"the server answers with status {status}"
    return without_secrets(_line(error))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def unsafe(path: str) -> str | None:
    r"""Return why a relative name at an address cannot be that of a file here; None if it can.

    Stores take any text for a name: `../x`, `//x`, `C:\x`, ends of lines.
    """
    strange = set('\\<>:"|?*') if os.name == "nt" else {"\\"}
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "its name leads to another folder; rename it"
    if strange.intersection(path) or any(ord(sign) < 32 or ord(sign) == 127 for sign in path):
        return "its name has signs that names of files cannot have; rename it"
    return None
