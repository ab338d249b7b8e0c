"""Runs that end as killed ones do, in the process of the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from translate.inference.folder import FolderJob
from translate.inference.manifest import Entry


class Killed(BaseException):
    """In place of SIGKILL: nothing of the run is done after it."""


@contextmanager
def killed_after(count: int) -> Iterator[list[str]]:
    """Kill the folder translation in a block after so many inputs; yield those that are over."""
    end = FolderJob._end
    ended: list[str] = []

    def kill(self: FolderJob, job: Entry) -> None:
        end(self, job)
        ended.append(job.path)
        if len(ended) == count:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderJob, "_end", kill)
        patch.setattr(FolderJob, "finish", lambda self: None)
        with pytest.raises(Killed):
            yield ended
