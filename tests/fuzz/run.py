"""Fuzzes for some minutes: `make fuzz MINUTES=5`, or python -m tests.fuzz.run --minutes 5."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Check

EXAMPLES = 100  # of a target in its turn


def examine(check: Check, examples: int, seed: int | None = None) -> None:
    """Give a target's check so many examples: always the same ones, or those of a seed.

    What fails is made as small as possible, and hypothesis prints it.
    """

    @settings(
        max_examples=examples,
        derandomize=seed is None,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(st.data())
    def test(data: st.DataObject) -> None:
        check(data)

    if seed is not None:
        test = hypothesis.seed(seed)(test)
    test()


def main() -> None:
    """Take the targets in turns until the time is over; end at the first failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    names = arguments.target or list(TARGETS)
    end = time.monotonic() + 60 * arguments.minutes
    seed = arguments.seed
    counts = dict.fromkeys(names, 0)
    with tempfile.TemporaryDirectory() as folder:
        checks = {}
        for name in names:
            place = Path(folder, name)
            place.mkdir()
            checks[name] = TARGETS[name](place)
        while time.monotonic() < end:
            for name, check in checks.items():
                examine(check, EXAMPLES, seed)
                counts[name] += EXAMPLES
                seed += 1
    for name, count in counts.items():
        print(f"{name}: {count} damaged files, each answered")


if __name__ == "__main__":
    main()
