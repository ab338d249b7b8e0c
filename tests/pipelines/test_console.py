"""What commands share at the terminal: bars and tables."""

from __future__ import annotations

import io
import re
import sys

import pytest

from pipelines._console import count_progress, result, table, training_progress
from translate.training.trainer import TrainProgress

TERMS = {"rec": 1234.5678, "kl_c": 12.0, "kl_s": 2.0, "kl_s_translation": 20.125, "cyc": 1300.0}


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_displays_on_a_terminal_are_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes stderr for a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    with count_progress("translating A to B") as progress:
        progress(0, 1234)
        progress(1234, 1234)
    with training_progress() as report:
        report(TrainProgress(12346, 1.0, 57.0, 3661.0, TERMS))
    shown = _plain(capsys.readouterr().err)
    for text in (
        *("translating A to B", "1234 of 1234 images", "a second", "0:00 left"),
        *("100 %", "step 12346", "57 pictures a second", "1:01:01 left"),
        *("reconstruction error 1235", "style divergence 2", "error there and back 1300"),
        *("content divergence 12", "style divergence, translations 20.1"),
    ):
        assert text in shown
    assert "…" not in shown
    assert max(map(len, shown.split("\n"))) <= columns
    for what in ("translating", "training"):
        bars = [line for line in shown.split("\n") if line.startswith(what)]
        assert {len(bar) for bar in bars} == {columns}, "a line of its own"


def _plain(shown: str) -> str:
    """What stays on a terminal: no colours, and of lines that are drawn again the last."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    return "\n".join(line.rpartition("\r")[2].rstrip() for line in text.split("\n"))


def test_elsewhere_progress_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress() as report:
        report(TrainProgress(40, 0.5, 57.0, 61.0, {"rec": 12.3456, "kl_s": 2.0}))
    shown = capsys.readouterr().err
    assert shown == "step 40  57 images/s  1:01 left  rec 12.3  kl_s 2\n"


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


def test_a_stream_that_knows_ascii_alone_gets_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    result({}, "Äpfel \x1b[31m \udcff", False)
    assert stream.buffer.getvalue() == b"\\xc4pfel \\x1b[31m \\udcff\n"  # type: ignore[attr-defined]
