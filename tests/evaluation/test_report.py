"""Reports of evaluations made by hand, and of one real evaluation."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests._helpers.evaluations import evaluation, metric
from translate.evaluation.protocols import evaluate
from translate.evaluation.report import as_plain_data, picture_grid, table, write_report
from translate.evaluation.results import DirectionMetrics, MetricValue
from translate.evaluation.thresholds import missed_thresholds, parse_threshold
from translate.evaluation.wording import headline, outcome, sentence, verdict
from translate.metrics.registry import METRICS


def direction(
    source: str = "A",
    to: str = "B",
    sizes: tuple[tuple[int, int], ...] = ((16, 16),),
    **metrics: MetricValue,
) -> DirectionMetrics:
    rows: list[dict[str, str | float]] = [{"name": f"{i}", "l1": 1 / (i + 3)} for i in range(2)]
    rows.append({"name": "alone", "lpips_source": 0.5})
    made = DirectionMetrics(f"{source}-{to}", source, to, metrics, rows, {"16 x 16": 3})
    for i, (height, width) in enumerate(sizes):
        shades = {"source": 0, "translation": 80, "truth": 160}
        made.shown[f"{i}"] = {
            kind: np.full((height, width, 3), shade, np.uint8) for kind, shade in shades.items()
        }
    return made


A_B = direction(
    lpips_paired=metric(0.15, 0.2), ssim=metric(0.6, 0.5, "higher"), lpips_source=metric(0.3)
)


# Files


def test_the_files_of_a_report(tmp_path: Path) -> None:
    measured = evaluation(A_B, direction("B", "A", l1=metric(0.1)), notes=("a note",))
    paths = write_report(measured, tmp_path / "new" / "out")
    assert list(paths) == ["metrics", "per_image", "report", "grid_A_to_B", "grid_B_to_A"]
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(
        path.name for path in paths.values()
    )
    metrics = json.loads(paths["metrics"].read_text())
    expected = asdict(measured)
    for plain in expected["directions"]:
        del plain["per_image"]
    for plain, found in zip(expected["directions"], measured.directions, strict=True):
        plain["in_words"] = headline(found)
        for name, value in found.metrics.items():
            words = {"label": METRICS[name].label, "outcome": outcome(value)}
            plain["metrics"][name] |= words | {"in_words": sentence(value)}
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
    write_report(measured, tmp_path / "new" / "out")  # again, over the old files


def test_a_grid_is_readable_whatever_the_sizes() -> None:
    for sizes, tile in (
        (((16, 16),), 96),
        (((300, 300), (16, 16)), 256),
        (((10, 20), (20, 10)), 100),
    ):
        picture = picture_grid(direction(sizes=sizes))
        for shade in (0, 80, 160):
            rows, columns = np.nonzero((picture == shade).all(2))
            assert len(rows) > 0, (sizes, shade)
        height, width = np.nonzero((picture == 80).all(2))
        if len({*sizes}) == 1:
            assert np.ptp(height) == np.ptp(width) == tile - 1
        assert picture.shape[0] >= 3 * tile
        assert picture.shape[1] >= len(sizes) * tile


def test_missing_pictures_leave_a_blank() -> None:
    some = direction(sizes=((96, 96), (96, 96)))
    before = picture_grid(some)
    del some.shown["0"]["truth"]
    after = picture_grid(some)
    assert before.shape == after.shape
    gone = (before == 160).all(2) & ~(after == 160).all(2)
    assert (after[gone] == 255).all()
    assert gone.sum() == 96 * 96


def test_names_of_domains_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    measured = evaluation(direction("../a/b", "c d"), direction("../a_b", "字"))
    paths = write_report(measured, tmp_path / "out")
    assert [path.name for path in paths.values()][3:] == [
        "grid_..%2fa%2fb_to_c%20d.png",
        "grid_..%2fa_b_to_字.png",
    ]
    assert all(path.parent == tmp_path / "out" and path.is_file() for path in paths.values())


def test_names_that_are_no_text(tmp_path: Path) -> None:
    odd = direction()
    odd.per_image[0]["name"] = "\udcff.png"
    odd.shown["\udcff.png"] = odd.shown["0"]
    odd.shown["1"] = odd.shown.pop("0")
    assert (
        write_report(evaluation(odd), tmp_path)["per_image"]
        .read_text(encoding="utf-8")
        .splitlines()[1]
        == "A-B,?.png,0.333333,"
    )


def test_out_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("taken")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="--out .*file") as refused:
            write_report(evaluation(A_B), out)
        assert "\n" not in str(refused.value)
    (tmp_path / "out" / "metrics.json").mkdir(parents=True)
    with pytest.raises(ValueError, match="--out .*out"):
        write_report(evaluation(A_B), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["metrics.json"]


# The table


def test_the_table_is_aligned_and_in_words() -> None:
    text = table(evaluation(A_B, direction("B", "A", l1=metric(0.1))))
    a_b, b_a = (part.splitlines() for part in text.split("\n\n"))
    assert a_b[0] == "A to B, 3 pictures"
    assert b_a[0] == "B to A, 3 pictures"
    assert "25 % nearer" in a_b[1]
    head, *rows = a_b[2:6]
    names = ("lpips_paired", "ssim", "lpips_source")
    assert [row.split("  ")[0] for row in rows] == [METRICS[name].label for name in names]
    assert rows[0].endswith("0.150  0.130 to 0.170         0.200  25 % better")
    assert rows[1].endswith("20 % better")
    assert rows[2].split()[-3:] == ["0.280", "to", "0.320"], "no baseline and no direction"
    ends = [head.index("value") + len("value"), head.index("untranslated") + len("untranslated")]
    assert [rows[0][end - 5 : end] for end in ends] == ["0.150", "0.200"]
    assert ", ".join(names) in a_b[-1]
    assert max(map(len, a_b[:6])) < 100


def test_plain_data_holds_no_nan_and_verdicts_need_two_numbers() -> None:
    bad = direction(l1=metric(0.1, math.nan), ssim=metric(math.inf, 0.5, "higher"))
    bad.per_image[0]["l1"] = math.nan
    plain = as_plain_data(evaluation(bad))
    (data,) = plain["directions"]
    assert data["per_image"][0]["l1"] is None
    assert data["metrics"]["l1"]["identity"]["value"] is None
    assert data["metrics"]["l1"]["value"] == 0.1
    assert data["metrics"]["ssim"]["value"] is None
    json.dumps(plain, allow_nan=False)
    assert verdict(bad.metrics["l1"]) == verdict(bad.metrics["ssim"]) == ""


def test_the_table_says_why_a_figure_is_not_to_be_quoted() -> None:
    careful = metric(7.0, 9.0, warning="too few images")
    rows = table(evaluation(direction(fid_alex=careful))).splitlines()
    label = METRICS["fid_alex"].label
    line, reason = (row for row in rows if row.startswith(label))
    assert line.endswith("not to be quoted")
    assert reason == f"{label}: too few images"


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
    with Image.open(paths["grid_B_to_A"]) as picture:
        assert picture.height >= 4 * 96
        assert picture.width >= 16 * 96
    assert "l1" in table(evaluation)
    (line, _) = missed_thresholds(evaluation, [parse_threshold("lpips>0.3")])
    assert "--lpips-weights" in line
