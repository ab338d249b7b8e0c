"""Evaluations below the folder, text of strangers, and pictures of a model's domains."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.ui.display import strip
from pipelines.ui.markdown import inert, literal, table
from pipelines.ui.reports import figures, find_report
from pipelines.ui.runs import RunStatus
from pipelines.ui.training_view import state_html
from tests._helpers.commands import fill
from tests._helpers.evaluations import EVIL, drawn_direction, evaluation
from translate.evaluation.report import write_report


def report(folder: Path, sha256: str = "m" * 64) -> Path:
    made = evaluation(drawn_direction(["0.png", "1.png"]))
    write_report(dataclasses.replace(made, model_sha256=sha256), folder)
    return folder


def test_the_newest_report_of_the_very_model_is_found(tmp_path: Path) -> None:
    old = report(tmp_path / "old")
    new = report(tmp_path / "deep" / "new")
    report(tmp_path / "another", "a" * 64)
    report(tmp_path / ".hidden")
    os.utime(old / "metrics.json", (1, 1))
    (tmp_path / "broken").mkdir()
    for name in ("metrics.json", "report.html"):
        (tmp_path / "broken" / name).write_text("{}")

    found = find_report(tmp_path, "m" * 64)
    assert found is not None
    assert found.folder == new
    assert found.page.is_file()
    assert find_report(tmp_path, "x" * 64) is None


def test_figures_are_in_words(tmp_path: Path) -> None:
    report(tmp_path / "report")
    found = find_report(tmp_path, "m" * 64)
    assert found is not None
    ((title, sentence, rows),) = figures(found)
    assert title == "A to B"
    assert (
        sentence
        == "The translations are 25 % nearer to the true pictures than the untranslated pictures."
    )
    assert rows[0][1:] == ("0.15", "0.2", "25 % better than the untranslated pictures")
    assert rows[1][3] == "not to be quoted"


def test_figures_of_a_damaged_file_are_left_out(tmp_path: Path) -> None:
    report(tmp_path / "report")
    path = tmp_path / "report" / "metrics.json"
    about = json.loads(path.read_text())
    about["directions"] = [1, {"metrics": {"lpips_paired": "x"}}, *about["directions"]]
    path.write_text(json.dumps(about))
    found = find_report(tmp_path, "m" * 64)
    assert found is not None
    assert [title for title, _, _ in figures(found)] == ["A to B"]


def test_text_of_strangers_is_shown_as_it_is() -> None:
    for mark in "<>*_`|[]!&\\#":
        assert mark not in literal(f"a{mark}b").replace("&#", "")
    assert literal("a\n\n b") == "a b"
    assert EVIL not in table([("label", [EVIL])])
    assert table([("a", ["x", "y"])]).endswith("| **a** | x<br>y |")


def test_a_card_loads_nothing() -> None:
    card = "# T\n![x](http://a.b/c.png)\n<img src=http://a.b/c.png>\n[link](http://a.b)"
    made = inert(card)
    assert "![" not in made
    assert "<" not in made
    assert "# T" in made


def test_what_a_training_wrote_is_no_html_and_may_be_damaged() -> None:
    live: dict[str, Any] = {"progress": 0.5, "step": 7, "seconds": 60.0, "seconds_left": 240.0}
    live |= {"quality": EVIL, "advice": [EVIL], "remarks": []}
    made = state_html(EVIL, RunStatus(True, "Cooling down", EVIL, True, live))
    assert "<script" not in made
    assert "50 % done · step 7 · 60 s so far · about 4 minutes left" in made
    assert made.count("<li>") == 1
    for broken in ({"progress": "x"}, {"progress": 0.5, "step": None}):
        made = state_html("run", RunStatus(False, "Ended", "gone", True, {**live, **broken}))
        assert made.startswith("<p><strong>Ended</strong> gone</p>")


def test_a_strip_shows_pictures_and_leaves_out_broken_ones(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", count=3)
    (folder / "broken.png").write_bytes(b"no")
    made = strip(folder, 10)
    assert made.count("<img") == 3
    assert "data:image/webp;base64," in made


@pytest.mark.parametrize("name", ['a"b.png', "<b>.png"])
def test_names_of_files_are_no_html(name: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", count=1)
    (folder / "0.png").rename(folder / name)
    made = strip(folder, 1)
    assert made.count("<") == 3  # <div>, <img>, </div>
    assert made.count('"') == 8
