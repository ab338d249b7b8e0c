"""Some seconds of fuzzing, always with the same examples; `make fuzz` goes on for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.run import examine
from tests.fuzz.targets import TARGETS

EXAMPLES = {"folders": 10}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_have_an_answer(name: str, tmp_path: Path) -> None:
    examine(TARGETS[name](tmp_path), EXAMPLES.get(name, 40))
