"""Reports and thresholds of evaluations made by hand, and of one real evaluation."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate.evaluation.evaluator import Evaluation, MetricValue, Result
from translate.evaluation.html import verdict
from translate.evaluation.protocols import evaluate
from translate.evaluation.report import (
    Threshold,
    as_plain_data,
    missed,
    parse_threshold,
    picture_grid,
    table,
    write_report,
)
from translate.metrics.registry import METRICS


def figure(value: float, identity: float | None = None, better: Any = "lower") -> MetricValue:
    other = (
        None
        if identity is None
        else MetricValue(identity, identity - 0.01, identity + 0.01, 9, better)
    )
    return MetricValue(value, value - 0.02, value + 0.02, 9, better, other)


def made(*results: Result, notes: tuple[str, ...] = ()) -> Evaluation:
    versions = {"introshift": "0"}
    return Evaluation(
        versions, "m", "w", None, "alex", 0, 16, "lanczos", list(notes), [], list(results)
    )


def result(
    source: str = "A",
    to: str = "B",
    sizes: tuple[tuple[int, int], ...] = ((16, 16),),
    **figures: MetricValue,
) -> Result:
    rows: list[dict[str, str | float]] = [{"name": f"{i}", "l1": 1 / (i + 3)} for i in range(2)]
    rows.append({"name": "alone", "lpips_source": 0.5})
    result = Result(f"{source}-{to}", source, to, figures, rows, {"16 x 16": 3})
    for i, (height, width) in enumerate(sizes):
        shades = {"source": 0, "translation": 80, "truth": 160}
        result.shown[f"{i}"] = {
            what: np.full((height, width, 3), shade, np.uint8) for what, shade in shades.items()
        }
    return result


A_B = result(
    lpips_paired=figure(0.15, 0.2), ssim=figure(0.6, 0.5, "higher"), lpips_source=figure(0.3)
)


# Files


def test_the_files_of_a_report(tmp_path: Path) -> None:
    evaluation = made(A_B, result("B", "A", l1=figure(0.1)), notes=("a note",))
    paths = write_report(evaluation, tmp_path / "new" / "out")
    assert list(paths) == ["metrics", "per_image", "report", "grid_A_to_B", "grid_B_to_A"]
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(
        path.name for path in paths.values()
    )
    metrics = json.loads(paths["metrics"].read_text())
    expected = asdict(evaluation)
    for direction in expected["directions"]:
        del direction["per_image"]
    assert metrics == expected
    assert metrics["notes"] == ["a note"]
    assert metrics["directions"][0]["metrics"]["lpips_paired"]["identity"]["value"] == 0.2
    rows = list(csv.DictReader(io.StringIO(paths["per_image"].read_text())))
    assert list(rows[0]) == ["direction", "name", "l1", "lpips_source"]
    assert [row["direction"] for row in rows] == ["A-B"] * 3 + ["B-A"] * 3
    assert rows[0]["l1"] == "0.333333"
    assert rows[2] == {
        "direction": "A-B",
        "name": "alone",
        "l1": "",
        "lpips_source": "0.5",
    }
    write_report(evaluation, tmp_path / "new" / "out")  # again, over the old files


def test_a_grid_is_readable_whatever_the_sizes() -> None:
    for sizes, tile in (
        (((16, 16),), 96),
        (((300, 300), (16, 16)), 256),
        (((10, 20), (20, 10)), 100),
    ):
        sheet = picture_grid(result(sizes=sizes))
        for shade in (0, 80, 160):
            rows, columns = np.nonzero((sheet == shade).all(2))
            assert len(rows) > 0, (sizes, shade)
        height, width = np.nonzero((sheet == 80).all(2))
        if len({*sizes}) == 1:
            assert np.ptp(height) == np.ptp(width) == tile - 1
        assert sheet.shape[0] >= 3 * tile
        assert sheet.shape[1] >= len(sizes) * tile


def test_missing_pictures_leave_a_blank() -> None:
    some = result(sizes=((96, 96), (96, 96)))
    before = picture_grid(some)
    del some.shown["0"]["truth"]
    after = picture_grid(some)
    assert before.shape == after.shape
    gone = (before == 160).all(2) & ~(after == 160).all(2)
    assert (after[gone] == 255).all()
    assert gone.sum() == 96 * 96


def test_names_of_domains_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    evaluation = made(result("../a/b", "c d"), result("../a_b", "字"))
    paths = write_report(evaluation, tmp_path / "out")
    assert [path.name for path in paths.values()][3:] == [
        "grid_..%2fa%2fb_to_c%20d.png",
        "grid_..%2fa_b_to_字.png",
    ]
    assert all(path.parent == tmp_path / "out" and path.is_file() for path in paths.values())


def test_names_that_are_no_text(tmp_path: Path) -> None:
    odd = result()
    odd.per_image[0]["name"] = "\udcff.png"
    odd.shown["\udcff.png"] = odd.shown["0"]
    odd.shown["1"] = odd.shown.pop("0")
    assert (
        write_report(made(odd), tmp_path)["per_image"].read_text(encoding="utf-8").splitlines()[1]
        == "A-B,?.png,0.333333,"
    )


def test_out_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("taken")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            ValueError, match="--out .*cannot be written .*; name another folder"
        ) as refused:
            write_report(made(A_B), out)
        assert "\n" not in str(refused.value)
    (tmp_path / "out" / "metrics.json").mkdir(parents=True)
    with pytest.raises(ValueError, match="cannot be written"):
        write_report(made(A_B), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["metrics.json"]


# The table


def test_the_table_is_aligned_and_says_what_is_better() -> None:
    head, *lines = table(made(A_B, result("B", "A", l1=figure(0.1)))).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["A-B", "lpips_paired"],
        ["A-B", "ssim"],
        ["A-B", "lpips_source"],
        ["B-A", "l1"],
    ]
    assert "0.1500  [0.1300, 0.1700]  0.2000        [0.1900, 0.2100]" in lines[0]
    assert lines[0].endswith("-25 % better")
    assert lines[1].endswith("+20 % better")
    start = head.index("better")
    assert all(
        line[start:].startswith(("lower", "higher")) and line[start - 2 : start] == "  "
        for line in lines
    )
    assert lines[2].endswith("lower")


def test_verdicts() -> None:
    assert verdict(figure(0.3, 0.2)) == "+50 % worse"
    assert verdict(figure(0.3, 0.6, "higher")) == "-50 % worse"
    assert verdict(figure(0.2, 0.2)) == "same"
    assert verdict(figure(0.1)) == ""
    assert verdict(figure(0.1, 0.0)) == "worse"
    assert verdict(figure(-0.2, -0.1)) == "better"


def test_plain_data_holds_no_nan_and_verdicts_need_two_numbers() -> None:
    bad = result(l1=figure(0.1, math.nan), ssim=figure(math.inf, 0.5, "higher"))
    bad.per_image[0]["l1"] = math.nan
    plain = as_plain_data(made(bad))
    (direction,) = plain["directions"]
    assert direction["per_image"][0]["l1"] is None
    assert direction["metrics"]["l1"]["identity"]["value"] is None
    assert direction["metrics"]["l1"]["value"] == 0.1
    assert direction["metrics"]["ssim"]["value"] is None
    json.dumps(plain, allow_nan=False)
    assert verdict(bad.metrics["l1"]) == verdict(bad.metrics["ssim"]) == ""


def test_the_table_says_why_a_figure_is_not_to_be_quoted() -> None:
    careful = MetricValue(
        7.0, 6.0, 8.0, 9, "lower", MetricValue(9.0, 8.0, 10.0, 9, "lower"), 4, "too few images"
    )
    _, line, reason = table(made(result(fid_alex=careful))).splitlines()
    assert line.endswith("not to be quoted")
    assert reason == "A-B fid_alex: too few images"


# Thresholds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lpips_paired>0.3", ("lpips_paired", ">", 0.3, None)),
        (" ssim <= .5 ", ("ssim", "<=", 0.5, None)),
        ("A-B:l1>=1e-2", ("l1", ">=", 0.01, "A-B")),
        ("day: 2-night: 1:kid_alex<-1", ("kid_alex", "<", -1, "day: 2-night: 1")),
        ("lpips>0.3", ("lpips_paired", ">", 0.3, None)),
        ("A-B:reconstruction_l1>0.1", ("reconstruction_l1", ">", 0.1, "A-B")),
    ],
)
def test_thresholds_are_read(text: str, expected: tuple[str, str, float, str | None]) -> None:
    assert parse_threshold(text) == Threshold(text, *expected)


@pytest.mark.parametrize(
    "text",
    ["", "l1", "l1>", ">0.3", "l1=0.3", "l1==0.3", "l1>a", "l1>nan", "l1>inf", "l1>>1", "l1><1"],
)
def test_what_is_no_threshold(text: str) -> None:
    with pytest.raises(ValueError, match="--fail-if .* expected METRIC>NUMBER"):
        parse_threshold(text)


def test_unknown_metrics_name_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="--fail-if 'lpip>0.3': no metric lpip; there are"
    ) as refused:
        parse_threshold("lpip>0.3")
    assert all(name in str(refused.value) for name in METRICS)


def test_which_thresholds_are_missed() -> None:
    evaluation = made(A_B, result("B", "A", lpips_paired=figure(0.4)), notes=("no LPIPS weights",))

    def lines(*texts: str) -> list[str]:
        return missed(evaluation, [parse_threshold(text) for text in texts])

    assert lines("lpips_paired>0.4", "lpips_paired<0.15", "A-B:ssim<0.6") == []
    assert lines("lpips_paired>=0.4") == ["lpips_paired>=0.4: B-A has lpips_paired 0.4"]
    assert len(lines("lpips_paired>0.1")) == 2
    assert len(lines("A-B:lpips_paired>0.1")) == 1
    assert lines("A-B:lpips_paired>0.3") == []
    assert len(lines("A-B:lpips_paired<=0.15")) == 1
    assert lines("B-A:l1>9") == ["B-A:l1>9: B-A has no l1 (no LPIPS weights)"]
    assert lines("A-C:l1>9") == ["A-C:l1>9: not measured, the directions are A-B, B-A"]
    assert lines() == []


def test_a_real_evaluation(
    tmp_path: Path,
    model_file: Callable[..., Path],
    pictures: Callable[..., Path],
    no_lpips_weights: None,
) -> None:
    for seed, name in enumerate("AB"):
        pictures(tmp_path / f"test{name}", [f"{i}.png" for i in range(20)], seed=seed)
    evaluation = evaluate(model_file(), tmp_path)
    paths = write_report(evaluation, tmp_path / "out")
    assert len(paths["per_image"].read_text().splitlines()) == 41
    with Image.open(paths["grid_B_to_A"]) as sheet:
        assert sheet.height >= 4 * 96
        assert sheet.width >= 16 * 96
    assert "l1" in table(evaluation)
    (line, _) = missed(evaluation, [parse_threshold("lpips>0.3")])
    assert "--lpips-weights" in line
