"""Curves of runs: what is read from stats.jsonl, what is drawn, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from translate.viz.curves import curves_svg, distance_svgs, draw_curves, write_curves
from translate.viz.history import (
    DistanceCurve,
    History,
    read_grids,
    read_history,
    read_stats,
)


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
    panels = [panel for panel in draw_curves(read_history(run)).axes if panel.get_visible()]
    assert [panel.get_title() for panel in panels] == ["reconstruction error (rec)", "kl <c>"]
    assert [panel.get_yscale() for panel in panels] == ["log", "linear"]
    assert panels[0].lines[0].get_xydata().tolist() == [[10 * i, 10.0**-i] for i in range(1, 5)]
    assert panels[0].lines[0].get_marker() == "o", "few points are seen one by one"
    assert [panel.get_xlabel() for panel in panels] == ["training step"] * 2
    assert panels[0].get_ylabel() == "sum over a picture"


def write_scores(run: Path) -> None:
    """Two scores in two directions; of the second direction pictures are at no distance at all."""
    lines = []
    for step, distance in ((20, 3.0), (40, 1.5)):
        both = [
            {"source": "A", "to": "B", "distance": distance, "identity": 2.0},
            {"source": "B", "to": "A", "distance": distance, "identity": -0.1},
        ]
        lines.append({"step": step, "best_step": 40, "direction_scores": both})
    (run / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_score_comes_first_beside_what_doing_nothing_costs(run: Path) -> None:
    write_scores(run)
    there, back, *_ = draw_curves(read_history(run)).axes
    assert there.get_title() == "distance to B, translated from A"
    assert there.lines[0].get_xydata().tolist() == [[20, 150], [40, 75]]
    assert set(there.lines[1].get_ydata()) == {100}
    assert there.get_ylabel() == "% of untranslated A"
    assert back.lines[0].get_xydata().tolist() == [[20, 3], [40, 1.5]], "no share of nothing"
    assert set(back.lines[1].get_ydata()) == {-0.1}


def test_marks_of_what_happened(tmp_path: Path) -> None:
    betas = [None, None, 8.0, 8.0, 8.0]
    rollbacks = [0, 0, 0, 1, 2]
    lines = [
        {"step": 10 * i, "rec": 1.0, "beta_neg": beta, "rollbacks": count}
        for i, (beta, count) in enumerate(zip(betas, rollbacks, strict=True), 1)
    ]
    run = run_folder(tmp_path / "run", *lines)
    write_scores(run)
    history = read_history(run)
    assert (history.introspective, history.kept, history.rollbacks) == (30, 40, [40, 50])
    assert list(history.terms) == ["rec", "beta_neg"]

    figure = draw_curves(history)
    for panel in figure.axes[:3]:
        marked = [line for line in panel.lines if len(set(line.get_xdata())) == 1]
        assert [line.get_xdata()[0] for line in marked] == [30, 40, 50, 40]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 4, "each mark is explained once"


def test_a_run_of_one_line_is_seen(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", {"step": 10, "rec": 1.0})
    (panel,) = [axes for axes in draw_curves(read_history(run)).axes if axes.get_visible()]
    assert panel.lines[0].get_marker() == "o"


def test_grids_of_steps_that_a_run_went_back_from_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for name in ("step_0000020.png", "step_0000003.png", "step_0000400.png", "step_x.png"):
        (tmp_path / "samples" / name).touch()
    assert read_grids(tmp_path, 20) == [
        (3, "samples/step_0000003.png"),
        (20, "samples/step_0000020.png"),
    ]


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


def test_each_direction_alone_is_an_svg_of_its_own(tmp_path: Path) -> None:
    history = History({}, [], introspective=20, kept=40, rollbacks=[])
    for source, to in ("AB", "BA"):
        points = [(20, 5000.0), (40, 2.0), (60, -0.1)]
        history.distances.append(DistanceCurve(source, to, points, untranslated=1.0))
    first, second = distance_svgs(history)
    for svg, title in ((first, "to B, translated from A"), (second, "to A, translated from B")):
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert svg.count("distance to") == 1
        assert title in svg
        assert "pictures as they were given" in svg
        assert "model that is kept" in svg


def test_first_scores_do_not_flatten_the_others(tmp_path: Path) -> None:
    points = [(20, 5000.0), (40, 0.5), (60, -0.1)]
    history = History({}, [DistanceCurve("A", "B", points, 1.0)], None, None, [])
    (panel,) = draw_curves(history, 1).axes
    height = panel.transData.transform([(0, 100.0), (0, 50.0)])
    bottom, top = panel.transData.transform([(0, y) for y in panel.get_ylim()])[:, 1]
    assert height[0, 1] - height[1, 1] > 0.05 * (top - bottom), "half of what doing nothing costs"
    assert panel.get_xlim()[0] == 0


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
