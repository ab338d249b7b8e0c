"""Which process this is of those that a launcher started, by its environment; imports no torch."""

from __future__ import annotations

import os


def rank_and_count(remedy: str) -> tuple[int, int]:
    """Read this process's number and how many there are from RANK and WORLD_SIZE.

    Both are set by torchrun and `accelerate launch`. Without them, and with WORLD_SIZE=1 alone,
    there is one process.

    Args:
        remedy: what the user can do instead of starting with torchrun, for the message.

    Returns:
        (rank, count), 0 <= rank < count.

    Raises:
        ValueError: one of the two is missing or is no number, or the rank is not below the count.
    """
    rank = os.environ.get("RANK")
    count = os.environ.get("WORLD_SIZE")
    if rank is None and count in (None, "1"):
        return 0, 1

    if rank is not None and count is not None and rank.isdecimal() and count.isdecimal():
        numbers = int(rank), int(count)
        if numbers[0] < numbers[1]:
            return numbers

    found = " and ".join(
        f"no {name}" if value is None else f"{name}={value}"
        for name, value in (("RANK", rank), ("WORLD_SIZE", count))
    )
    raise ValueError(
        f"the environment has {found}, which name no process of several; {remedy}, or start the "
        "processes with torchrun, which sets both"
    )
