"""What is black and what is white in files of more than 8 bits a channel: the setting's texts."""

from __future__ import annotations

import math

FILE = "file"
AUTO = "auto"
PERCENTILE = "percentile"
NAMED = (FILE, AUTO, PERCENTILE)


def fixed_range(text: str, option: str = "data.range") -> tuple[float, float] | None:
    """Return the numbers that stand for black and white, None for one of the names in NAMED.

    Args:
        text: a name, or LOW,HIGH.
        option: what says it, for the message.

    Raises:
        ValueError: for another text.
    """
    if text in NAMED:
        return None
    try:
        low, high = map(float, text.split(","))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{option}: {text!r} is no range; use {', '.join(NAMED)} or LOW,HIGH, such as 0,4095"
        ) from None
    return low, high
