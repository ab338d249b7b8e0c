"""`introshift demo`: everything in one go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.demo import how_to_open
from tests._helpers.commands import call

pytestmark = pytest.mark.usefixtures("no_lpips_weights")


def test_it_draws_trains_translates_and_evaluates(tmp_path: Path) -> None:
    code, out, err = call("demo", tmp_path / "demo", "--steps", 3, "--json")
    assert code == 0, err
    done = json.loads(out)
    assert done["training"]["step"] == 3
    assert "minute" in err
    assert all(Path(path).exists() for path in done["paths"].values())
    assert len(list((tmp_path / "demo" / "A_to_B").glob("*.png"))) == 150
    assert {direction["name"] for direction in done["directions"]} == {"A-B", "B-A"}


def test_its_last_lines_say_how_to_open_the_report(tmp_path: Path) -> None:
    report = tmp_path / "my demo" / "report.html"
    address, command = how_to_open(report)
    assert report.as_uri() in address
    assert f"'{report}'" in command


def test_no_steps_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    code, out, err = call("demo", tmp_path / "demo", "--steps", 0)
    assert (code, out) == (2, "")
    assert "--steps" in err
    assert not (tmp_path / "demo").exists()
