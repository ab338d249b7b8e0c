"""`introshift demo`: everything in one go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests._helpers.commands import call

pytestmark = pytest.mark.usefixtures("no_lpips_weights")


def test_it_draws_trains_translates_and_evaluates(tmp_path: Path) -> None:
    code, out, err = call("demo", tmp_path / "demo", "--minutes", "0.02", "--json")
    assert code == 0, err
    done = json.loads(out)
    assert all(Path(path).exists() for path in done["paths"].values())
    assert len(list((tmp_path / "demo" / "A_to_B").glob("*.png"))) == 150
    assert {direction["name"] for direction in done["directions"]} == {"A-B", "B-A"}


@pytest.mark.parametrize("minutes", ["inf", "nan", "0", "-inf", "1e9"])
def test_a_training_time_that_cannot_be_is_refused_before_anything_is_drawn(
    minutes: str, tmp_path: Path
) -> None:
    code, out, err = call("demo", tmp_path / "demo", f"--minutes={minutes}")
    assert (code, out) == (2, "")
    assert "minutes" in err
    assert not (tmp_path / "demo").exists()
