"""What commands share at the terminal: bars and tables."""

from __future__ import annotations

import pytest

from pipelines._console import count_progress, table, training_progress
from translate.training.trainer import TrainProgress


def test_bars_on_a_terminal_show_rate_and_terms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes stderr for a terminal
    monkeypatch.setenv("COLUMNS", "150")
    with count_progress("translating") as progress:
        progress(0, 3)
        progress(3, 3)
    with training_progress() as report:
        report(TrainProgress(40, 1.0, 57.0, 61.0, {"rec": 12.3456, "kl_s": 2.0}))
    shown = capsys.readouterr().err
    for text in ("3/3", "images/s", "step 40", "57 images/s", "1:01 left", "rec 12.3", "kl_s 2"):
        assert text in shown


def test_a_table_is_aligned_and_takes_its_cells_literally(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "10")
    long = "[bold]x[/] :smile: " + 200 * "y"
    lines = table(("name", "n", "ms"), [(long, "1", "10.5"), ("図", "20", "")]).splitlines()
    assert lines == [
        f"{'name':<{len(long)}}   n    ms",
        f"{long}   1  10.5",
        f"図{' ' * (len(long) - 2)}  20",
    ]
