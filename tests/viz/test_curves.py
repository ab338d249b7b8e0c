"""Curves of runs: what is read from stats.jsonl, what is drawn, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from translate.viz.curves import curves_svg, draw_curves, read_stats, write_curves


def run_folder(folder: Path, *lines: dict[str, object], tail: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines = (
        {"step": 10 * i, "seconds": i, "rec": 10.0**-i, "kl <c>": 5.0, "beta_neg": None}
        for i in range(1, 5)
    )
    return run_folder(tmp_path / "run", *lines)


def test_every_number_becomes_a_curve(run: Path) -> None:
    curves = read_stats(run)
    assert list(curves) == ["rec", "kl <c>"], "neither step nor seconds, nor what has no value yet"
    assert curves["rec"] == [(10 * i, 10.0**-i) for i in range(1, 5)]


def test_a_step_logged_again_counts_once_and_a_torn_line_not_at_all(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "a": 1.0},
        {"step": 2, "a": 2.0},
        {"step": 2, "a": 3.0},
        {"step": 3, "a": float("nan")},
    ]
    assert read_stats(run_folder(tmp_path / "r", *lines, tail='{"step": 4, "a"'))["a"] == [
        (1, 1.0),
        (2, 3.0),
    ]


def test_panels_show_the_numbers(run: Path) -> None:
    panels = [panel for panel in draw_curves(read_stats(run)).axes if panel.get_visible()]
    assert [panel.get_title() for panel in panels] == ["rec", "kl <c>"]
    assert [panel.get_yscale() for panel in panels] == ["log", "linear"]
    assert panels[0].lines[0].get_xydata().tolist() == [[10 * i, 10.0**-i] for i in range(1, 5)]


def test_files_by_suffix(run: Path, tmp_path: Path) -> None:
    for name, start in (("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.SVG", b"<?xml")):
        write_curves(run, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 900
    first = (tmp_path / "a.SVG").read_bytes()
    write_curves(run, tmp_path / "a.SVG")
    assert (tmp_path / "a.SVG").read_bytes() == first


def test_the_svg_for_a_page_takes_its_colours(run: Path) -> None:
    svg = curves_svg(run)
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "currentColor" in svg
    assert "kl &lt;c&gt;" in svg
    assert svg == curves_svg(run)


def test_refusals(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stats.jsonl: cannot be read"):
        read_stats(tmp_path)
    with pytest.raises(ValueError, match="nothing was logged"):
        read_stats(run_folder(tmp_path / "empty"))
    with pytest.raises(ValueError, match="stats.jsonl: line 1 "):
        read_stats(run_folder(tmp_path / "odd", {"a": 1}, {"step": 2, "a": 1}))
    for name in ("a.txtt", "a"):
        with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
            write_curves(run, tmp_path / name)
    assert not [path for path in tmp_path.iterdir() if path.is_file()], "nothing half-written"


def test_the_command(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["plot", str(run)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(run / "curves.png"))
    assert (run / "curves.png").exists()
    done = CliRunner().invoke(app, ["plot", str(run), "-o", str(tmp_path / "x.svg"), "--json"])
    assert json.loads(done.stdout) == {"curves": str(tmp_path / "x.svg")}
    assert CliRunner().invoke(app, ["plot", str(tmp_path)]).exit_code == 2
