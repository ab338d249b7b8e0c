"""The names of the precisions, for settings and options; imports no torch."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["auto", "fp32", "bf16"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def normalize_precision(value: object) -> object:
    """Return fp32 for 32, text or number, as older configs and model files hold it.

    Args:
        value: what a config or a caller gives; only 32 is changed, nothing is refused.
    """
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return "fp32" if value == "32" or (is_number and value == 32) else value
