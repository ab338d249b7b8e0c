"""What was measured, in words: how translations compare with the pictures as they were."""

from __future__ import annotations

import math
from typing import Literal

from translate.evaluation.results import DirectionMetrics, MetricValue

Outcome = Literal["better", "worse", "same", "unclear", "few"]

UNTRANSLATED = "the untranslated pictures"
# Images. With fewer, even differences of one sign on all of them come about by chance in more than
# 5 % of cases: 2 of 2^5.
FEWEST = 6
FACTOR = 3.0  # from here on "5 times" says more than "400 %"
DECIMALS = 4  # at most
# What an evaluation is summed up by: the first of these that was measured.
HEADLINES = ("lpips_paired", "l1", "kid", "kid_alex", "kid_vgg", "kid_squeeze")


def outcome(found: MetricValue) -> Outcome | None:
    """Tell whether translations are better than their inputs, by the interval of the difference.

    Returns:
        unclear where that interval holds 0; few where there are too few images to tell; None
        without a baseline or a direction, and for a value that must not be quoted.
    """
    difference = found.difference
    if difference is None or found.better is None or found.warning:
        return None
    if not math.isfinite(difference.value):
        return None
    if difference.value == difference.low == difference.high == 0:
        return "same"
    if found.n < FEWEST:
        return "few"
    if difference.low <= 0 <= difference.high:
        return "unclear"
    return "better" if (difference.value < 0) == (found.better == "lower") else "worse"


def verdict(found: MetricValue) -> str:
    """Return the outcome in two or three words, such as "40 % better"; empty where there is none.

    The share is that of the input's value. It is left out where that value may be 0.
    """
    if found.warning:
        return "not to be quoted"
    result = outcome(found)
    if result in ("better", "worse"):
        return f"{_share(found)} {result}".strip()
    words = {
        "same": "the same",
        "unclear": "no clear difference",
        "few": "too few pictures to tell",
    }
    return words[result] if result else ""


def sentence(found: MetricValue) -> str:
    """Return the outcome as part of a sentence: "40 % better than the untranslated pictures"."""
    short = verdict(found)
    joined = {"better": "than", "worse": "than", "same": "as", "unclear": "from"}
    word = joined.get(outcome(found) or "")
    return f"{short} {word} {UNTRANSLATED}" if word else short


def headline(result: DirectionMetrics) -> str:
    """Return one sentence that sums up a direction; empty where nothing can be said."""
    for name in HEADLINES:
        found = result.metrics.get(name)
        if found and (said := outcome(found)):
            paired = not name.startswith("kid")
            return _sum_up(found, said, "the true pictures" if paired else result.to)
    return ""


def _sum_up(found: MetricValue, said: Outcome, target: str) -> str:
    """Return the headline of one metric, whose distance is to `target`."""
    nearer = {"better": f"nearer to {target}", "worse": f"farther from {target}"}
    if said in nearer:
        share = _share(found)
        if share.endswith("times"):  # a distance that is 5 times as long
            return f"The translations are {share} as far from {target} as {UNTRANSLATED}."
        how = f"{share} {nearer[said]}".strip()
        return f"The translations are {how} than {UNTRANSLATED}."
    if said == "same":
        return f"The translations are as far from {target} as {UNTRANSLATED}."
    if said == "few":
        return f"{found.n} pictures are too few to tell whether the translations are any better."
    return (
        f"No clear difference: the translations are about as far from {target} as {UNTRANSLATED}."
    )


def _share(found: MetricValue) -> str:
    """Return by how much of the input's value the two differ: "40 %", "5 times", or nothing."""
    identity = found.identity
    assert identity
    assert found.difference
    if min(found.value, identity.value) < 0 or identity.low <= 0:
        return ""
    share = abs(found.difference.value) / identity.value
    if share + 1 >= FACTOR:
        return f"{share + 1:.0f} times"
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def count(n: int, noun: str) -> str:
    """Return "1 picture" or "5 pictures"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def number(value: float, found: MetricValue) -> str:
    """Return a number in the decimals that the interval of `found` leaves certain, and one more."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.{_decimals(found)}f}"


def interval(found: MetricValue) -> str:
    """Return the 95 % interval as text; empty where it is not finite."""
    if not found.is_finite():
        return ""
    return f"{number(found.low, found)} to {number(found.high, found)}"


def _decimals(found: MetricValue) -> int:
    """Return how many decimals show two digits of half the interval."""
    half = (found.high - found.low) / 2
    if not math.isfinite(half) or half <= 0:
        return DECIMALS
    return min(DECIMALS, max(0, 1 - math.floor(math.log10(half))))
