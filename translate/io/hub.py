"""Models on a hub: files of a repository, by the client library of the Hugging Face Hub.

The library keeps what it has fetched in its cache, and takes address, token and whether to work
offline from its own environment variables: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HOME.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from translate.io.files import PathLike

SCHEME = "hf://"
SCHEME_OF_PATH = re.compile("hf://?")  # a Path makes one slash of two
OFFLINE = "HF_HUB_OFFLINE"
REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


@dataclass(frozen=True)
class HubAddress:
    """A repository of models on a hub, hf://USER/NAME or hf://USER/NAME@REVISION.

    Args:
        repository: USER/NAME.
        revision: a branch, a tag or a commit; None for the newest.

    Raises:
        ValueError: for a name that no repository has.
    """

    repository: str
    revision: str | None = None

    def __post_init__(self) -> None:
        if not REPOSITORY.fullmatch(self.repository) or self.revision == "":
            raise ValueError(f"{self}: name a model as {SCHEME}USER/NAME or {SCHEME}USER/NAME@TAG")

    def __str__(self) -> str:
        """Return the address as it is given on the command line."""
        return SCHEME + self.repository + ("" if self.revision is None else f"@{self.revision}")

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Read an address, with or without the scheme."""
        repository, at, revision = SCHEME_OF_PATH.sub("", text).partition("@")
        return cls(repository, revision if at else None)


def is_on_hub(path: PathLike) -> bool:
    """Tell whether a path is the address of a repository on a hub."""
    return SCHEME_OF_PATH.match(os.fspath(path)) is not None


def download(address: HubAddress, file: str) -> Path:
    """Fetch a file of a repository, or find it in the cache.

    Raises:
        ValueError: where it cannot be had, in one line.
    """
    with _reasons(address):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(address.repository, file, revision=address.revision))


def upload(
    address: HubAddress, files: Mapping[str, Path | bytes], message: str, public: bool = False
) -> str:
    """Put files into a repository, all in one commit; make the repository where there is none.

    Args:
        address: of the repository; the revision is a branch.
        files: name in the repository -> a file, or its bytes.
        message: of the commit.
        public: whether a repository that is made can be seen by everybody.

    Returns:
        The address of the commit, for a browser.

    Raises:
        ValueError: where it cannot be done, in one line.
    """
    with _reasons(address):
        from huggingface_hub import CommitOperationAdd, HfApi

        hub = HfApi()
        hub.create_repo(address.repository, private=not public, exist_ok=True)
        additions = [CommitOperationAdd(name, content) for name, content in files.items()]
        made = hub.create_commit(
            address.repository, additions, commit_message=message, revision=address.revision
        )
        return str(made.commit_url)


@contextmanager
def _reasons(address: HubAddress) -> Iterator[None]:
    """Raise what the client library raises as ValueError, with the remedy."""
    try:
        import huggingface_hub  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError(f"{address}: needs pip install 'introshift[hub]'") from None

    try:
        yield
    except Exception as error:  # the client and the network library below it raise many things
        raise ValueError(f"{address}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return why a repository cannot be read or written, and the remedy."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    not_here = f"{hub} does not answer, and it was not fetched before; check the network"
    if constants.HF_HUB_OFFLINE:
        not_here = f"not fetched before; run once without --offline (or {OFFLINE})"
    known: dict[type[Exception], str] = {
        errors.GatedRepoError: f"its owner gives access on request; ask at {hub}, set HF_TOKEN",
        errors.RepositoryNotFoundError: f"not found at {hub}; for a private one set HF_TOKEN",
        errors.RevisionNotFoundError: "no such branch, tag or commit",
        errors.LocalEntryNotFoundError: not_here,
        errors.EntryNotFoundError: "no introshift model in it",
        errors.OfflineModeIsEnabled: f"cannot be done offline; leave out --offline (or {OFFLINE})",
    }
    for kind, reason in known.items():
        if isinstance(error, kind):
            return reason
    response = getattr(error, "response", None)
    if response is not None and response.status_code in (401, 403):
        return f"{hub} refuses; set HF_TOKEN to a token that may do this"
    return " ".join(str(error).split())[:300] or type(error).__name__


def work_offline() -> None:
    """Let this process take models from the cache alone; before the client library is loaded."""
    os.environ[OFFLINE] = "1"


def is_offline() -> bool:
    """Tell whether models are taken from the cache alone, by the client library's variable."""
    return os.environ.get(OFFLINE, "").upper() in ("1", "ON", "YES", "TRUE")
