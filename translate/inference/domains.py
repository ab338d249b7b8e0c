"""The names of a model's domains, as users give them and as messages list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Direction: TypeAlias = tuple[int, int]  # indices of the source and the target domain


def domain_index(names: Sequence[str], name: str, option: str = "domain") -> int:
    """Return a domain's index.

    Args:
        names: of the domains that the model knows.
        name: one of them, in any case, or the beginning of one alone.
        option: what asks for it, for the message.

    Raises:
        ValueError: for another name; it says which there are.
    """
    if name in names:
        return names.index(name)
    folded = [known.casefold() for known in names]
    if folded.count(name.casefold()) == 1:
        return folded.index(name.casefold())
    begun = [i for i, known in enumerate(folded) if name and known.startswith(name.casefold())]
    if len(begun) == 1:
        return begun[0]
    raise ValueError(f"{option} {name}: this model has {listed_domains(names)}")


def listed_domains(names: Sequence[str]) -> str:
    """Return the names of domains as part of a sentence."""
    if len(names) == 1:
        return f"one domain, {names[0]}"
    return f"the domains {', '.join(names[:-1])} and {names[-1]}"
