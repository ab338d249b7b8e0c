"""`introshift status`: how far the translation of a folder is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines._console import clock, result, short_number, table
from pipelines._options import Json

if TYPE_CHECKING:
    from translate.inference.status import Share, Status


def command(
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT", help="Folder that `translate` writes into, or has; or its address."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say how far a translation into OUT is: done, failed, rate, time left, by how many runs."""
    # no torch here: the manifest has all that is shown
    from translate.inference.status import read_status
    from translate.io.address import without_secrets

    status = read_status(out)
    out = without_secrets(out)
    data = {"out": out, **asdict(status)}
    data["shards"] = [{**asdict(share), "shard": _name(share)} for share in status.shards]
    result(data, "\n".join([f"{out}: {_line(status)}", *_shards(status)]), as_json)


def _name(share: Share) -> str:
    i, n = share.shard
    return f"{i}/{n}"


def _line(status: Status) -> str:
    """Return the sums in one line."""
    wanted = status.total - status.skipped
    parts = [
        f"{status.done} of {wanted} translated" + f" ({status.done / wanted:.0%})" * bool(wanted)
    ]
    parts += [f"{status.failed} failed", f"{status.skipped} skipped", f"{status.left} to do"]
    if status.running:
        parts.append(f"{status.running} run{'s' * (status.running != 1)} at work")
    elif status.left:
        parts.append("no run at work: the same command with --skip-existing does the rest")
    if status.rate is not None:
        parts.append(f"{short_number(status.rate)} a second")
    if status.seconds_left is not None:
        parts.append(f"{clock(status.seconds_left)} left")
    return ", ".join(parts)


def _shards(status: Status) -> list[str]:
    """Return a table of the shards, where there are several."""
    if all(share.shard == (1, 1) for share in status.shards):
        return []
    head = ("shard", "state", "done", "failed", "skipped", "to do", "a second", "time left")
    rows = [
        (
            _name(share),
            "at work" if share.running else "killed",
            str(share.done),
            str(share.failed),
            str(share.skipped),
            str(share.left),
            "" if share.rate is None else short_number(share.rate),
            "" if share.seconds_left is None else clock(share.seconds_left),
        )
        for share in status.shards
    ]
    return [table(head, rows, text_columns=2)]
