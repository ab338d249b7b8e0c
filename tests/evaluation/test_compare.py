"""Folders of results against their parts, an independent scorer, and folders that are not as they
should be.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests._helpers.folders import shorten, stack
from translate.evaluation.options import EvaluationOptions
from translate.evaluation.protocols import compare
from translate.evaluation.report import table, write_report
from translate.evaluation.results import Difference
from translate.evaluation.thresholds import missed_thresholds, parse_threshold
from translate.metrics.image import l1

SHARED = Path(__file__).resolve().parents[3] / "shared"
NAMES = [f"{i:03}.png" for i in range(6)]
PAIRED = {"lpips_paired", "l1", "ssim"}
SETS = {"kid_alex", "fid_alex"}
Write = Callable[..., Path]


@pytest.fixture
def options(lpips_weights: Path) -> EvaluationOptions:
    return EvaluationOptions(weights=lpips_weights)


@pytest.mark.parametrize(
    ("made", "side", "size"), [(32, 32, None), (64, 64, None), (48, 48, 40), (48, 80, None)]
)
def test_agreement_with_the_independent_scorer(
    tmp_path: Path, pictures: Write, made: int, side: int, size: int | None
) -> None:
    if (
        not (SHARED / "score.py").exists()
        or not (SHARED / "weights" / "alexnet_features.safetensors").exists()
    ):
        pytest.skip(f"{SHARED / 'score.py'} and its weights are not here")
    out = pictures(tmp_path / "out", NAMES, (made, made))
    truth = pictures(tmp_path / "truth", NAMES, (side, side), seed=1)
    Image.open(out / "000.png").convert("L").save(out / "000.png")
    spec = importlib.util.spec_from_file_location("score", SHARED / "score.py")
    assert spec
    assert spec.loader
    score: Any = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():  # score.py silences all warnings for good, as a script may
        spec.loader.exec_module(score)
        load = score.lpips_net
        score.lpips_net = lambda _, folder: load("alex", folder)
        theirs = score.score(out, truth, SHARED / "weights", size)
    evaluation = compare(
        out,
        truth,
        size=size,
        resize=True,
        options=EvaluationOptions(weights=SHARED / "weights" / "alexnet_features.safetensors"),
    )
    ours = evaluation.directions[0].metrics
    assert ours["lpips_paired"].value == pytest.approx(theirs["lpips_alex"], abs=1e-4)
    assert ours["l1"].value == pytest.approx(theirs["l1"], abs=1e-6)
    assert ours["ssim"].value == pytest.approx(theirs["ssim"], abs=1e-4)
    # the scorer takes all images at once, KID the mean of subsets: one expected value
    kid = ours["kid_alex"]
    assert kid.low < theirs["kd_alex_x1000"] / 1000 < kid.high
    assert set(ours) == PAIRED | {"kid_alex", "fid_alex"}
    assert evaluation.size == size


def test_closed_forms_and_identity(
    tmp_path: Path, pictures: Write, options: EvaluationOptions
) -> None:
    truth = pictures(tmp_path / "truth", NAMES)
    source = pictures(tmp_path / "source", NAMES, seed=1)
    (perfect,) = compare(truth, truth, source, options=options).directions
    assert perfect.name == "truth-truth"
    values = {name: found.value for name, found in perfect.metrics.items()}
    assert (values["lpips_paired"], values["l1"], values["ssim"]) == (0, 0, 1)
    assert values["lpips_source"] == pytest.approx(perfect.metrics["lpips_paired"].identity.value)  # type: ignore[union-attr]
    (copy,) = compare(source, truth, source, options=options).directions
    for name in (*PAIRED, "kid_alex", "fid_alex"):
        found = copy.metrics[name]
        assert found.identity
        assert asdict(found) | {"identity": None, "difference": None} == asdict(found.identity)
        if name != "fid_alex":  # which is not measured on pairs of pictures
            assert found.difference == Difference(0, 0, 0)


def test_pairs_may_have_sizes_of_their_own(
    tmp_path: Path, pictures: Write, options: EvaluationOptions
) -> None:
    for seed, name in enumerate(("out", "truth")):
        pictures(tmp_path / name, NAMES[:3], (20, 30), seed=seed)
        pictures(tmp_path / name, NAMES[3:5], (31, 17), seed=seed + 2)
        pictures(tmp_path / name, NAMES[5:], (9, 12), seed=seed + 4)
    evaluation = compare(tmp_path / "out", tmp_path / "truth", options=options)
    (result,) = evaluation.directions
    (note,) = evaluation.notes
    assert "SSIM" in note
    assert "under 11 px" in note
    assert (result.metrics["l1"].n, result.metrics["ssim"].n, result.metrics["kid_alex"].n) == (
        6,
        5,
        6,
    )
    assert result.sizes == {"20 x 30": 3, "31 x 17": 2, "9 x 12": 1}
    assert (evaluation.size, evaluation.resize.split(";")[0]) == (None, "none")


def test_sizes_that_differ(tmp_path: Path, pictures: Write, no_lpips_weights: None) -> None:
    out = pictures(tmp_path / "out", NAMES, (20, 30))
    truth = pictures(tmp_path / "truth", NAMES, (40, 50), seed=1)
    with pytest.raises(ValueError, match="000: the translation.* 20 x 30.* 40 x 50.*--resize"):
        compare(out, truth)
    evaluation = compare(out, truth, resize=True)
    assert evaluation.resize == "lanczos to the truth's size"
    assert evaluation.directions[0].shown["000"]["translation"].shape == (50, 40, 3)
    with pytest.raises(ValueError, match="000: the source.* 20 x 30.* 40 x 50"):
        compare(truth, truth, out)
    both = compare(out, truth, out, size=24)
    assert both.resize == "lanczos to 24 x 24"
    resized = l1(stack(out, 24), stack(truth, 24)).mean().item()
    assert both.directions[0].metrics["l1"].value == pytest.approx(resized)


def test_pairs_are_found_by_name(tmp_path: Path, pictures: Write, no_lpips_weights: None) -> None:
    names = ["a/1.png", "b/2.png", "b/c/3.png"]
    out = pictures(tmp_path / "out", names)
    flat = pictures(tmp_path / "flat", ["1.webp", "2.bmp", "3.tiff"])
    assert [row["name"] for row in compare(out, flat).directions[0].per_image] == ["1", "2", "3"]
    pictures(out, ["b/1.png"])  # stems are no longer unique: paths decide
    with pytest.raises(ValueError, match="no file name .*out.*flat"):
        compare(out, flat)
    deep = pictures(tmp_path / "deep", [name.replace("png", "jpg") for name in [*names, "b/1.png"]])
    assert [row["name"] for row in compare(out, deep).directions[0].per_image] == [
        "a/1",
        "b/1",
        "b/2",
        "b/c/3",
    ]
    pictures(out, ["a/1.webp"])
    with pytest.raises(ValueError, match=r"a.1.(png|webp) and 1.(png|webp)"):
        compare(out, deep)


def test_partners_and_broken_files_of_compare(
    tmp_path: Path, pictures: Write, no_lpips_weights: None
) -> None:
    out = pictures(tmp_path / "out", NAMES)
    truth = pictures(tmp_path / "truth", NAMES[1:], seed=1)
    with pytest.raises(ValueError, match=r"partner.*out.000.png.*--allow-missing"):
        compare(out, truth)
    allowing = EvaluationOptions(allow_missing=True)
    (some,) = compare(out, truth, options=allowing).directions
    assert some.metrics["l1"].n == 5
    pictures(truth, NAMES)
    broken = shorten(truth / "003.png"), shorten(out / "004.png")
    with pytest.raises(ValueError, match="--allow-missing") as refused:
        compare(out, truth)
    assert all(str(path) in str(refused.value) for path in broken)
    assert "\n" not in str(refused.value)
    evaluation = compare(out, truth, options=allowing)
    assert evaluation.directions[0].metrics["l1"].n == 4
    assert {line.split(" (")[0] for line in evaluation.broken} == set(map(str, broken))
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no images .*none"):
        compare(out, tmp_path / "none")
    with pytest.raises(ValueError, match=r"no such folder.*nowhere"):
        compare(out, tmp_path / "nowhere")


def test_mixed_codecs_are_noted(tmp_path: Path, pictures: Write, no_lpips_weights: None) -> None:
    png, jpeg, bmp, webp = (
        pictures(tmp_path / kind, [f"a.{kind}"]) for kind in ("png", "JPG", "bmp", "webp")
    )

    def warned(a: Path, b: Path) -> list[str]:
        return [note for note in compare(a, b).notes if note.startswith("mixed codecs")]

    assert all(text in warned(png, jpeg)[0] for text in ("JPEG", "PNG", str(png), str(jpeg)))
    assert warned(webp, png)
    assert warned(webp, jpeg)
    assert not warned(png, png)
    assert not warned(jpeg, jpeg)
    assert not warned(png, bmp)
    pictures(jpeg, ["b.png"], seed=1)
    assert warned(jpeg, jpeg)


def test_what_is_not_finite_is_null_and_all_else_still_comes(
    tmp_path: Path, pictures: Write, lpips_weights: Path
) -> None:
    features = load_file(lpips_weights)
    for name, tensor in features.items():
        if name.endswith("weight"):
            features[name] = tensor * 1e20  # finite, but what comes out is not
    weights = tmp_path / "weights.safetensors"
    save_file(features, weights)
    truth = pictures(tmp_path / "truth", NAMES)
    evaluation = compare(
        pictures(tmp_path / "out", NAMES, seed=1),
        truth,
        truth,
        options=EvaluationOptions(weights=weights),
    )
    metrics = evaluation.directions[0].metrics
    assert metrics["lpips_paired"].warning == "not finite on 6 of 6 images"
    assert metrics["l1"].warning is None

    paths = write_report(evaluation, tmp_path / "report")
    assert list(paths) == ["metrics", "per_image", "report", "grid_out_to_truth"]
    (direction,) = json.loads(paths["metrics"].read_text(), parse_constant=pytest.fail)[
        "directions"
    ]
    lpips = direction["metrics"]["lpips_paired"]
    assert (lpips["value"], lpips["low"], lpips["high"]) == (None, None, None)
    assert direction["metrics"]["l1"]["value"] == metrics["l1"].value > 0
    rows = list(csv.DictReader(io.StringIO(paths["per_image"].read_text())))
    assert all(row["lpips_paired"] == "" and float(row["l1"]) > 0 for row in rows)
    assert len(rows) == 6
    page = paths["report"].read_text()
    assert "NaN" not in page
    assert "nan%" not in page
    assert "not finite on 6 of 6 images" in page
    assert "not finite on 6 of 6 images" in table(evaluation)
    (miss,) = missed_thresholds(evaluation, [parse_threshold("lpips_paired>0.3")])
    assert miss == "lpips_paired>0.3: out-truth has lpips_paired not finite on 6 of 6 images"
    assert missed_thresholds(evaluation, [parse_threshold("l1>1")]) == []


def test_too_few_images_for_sets(
    tmp_path: Path, pictures: Write, options: EvaluationOptions
) -> None:
    few = pictures(tmp_path / "few", NAMES[:3])
    evaluation = compare(few, few, options=options)
    assert [note.split(":")[0] for note in evaluation.notes] == [
        "KID is left out",
        "FID is left out",
    ]
    assert all("at least 4 images" in note for note in evaluation.notes)
    assert set(evaluation.directions[0].metrics) == PAIRED


def test_one_image(tmp_path: Path, pictures: Write, options: EvaluationOptions) -> None:
    out = pictures(tmp_path / "out", ["a.png"])
    truth = pictures(tmp_path / "truth", ["a.png"], seed=1)
    (result,) = compare(out, truth, options=options).directions
    assert set(result.metrics) == PAIRED
    assert all(
        found.low == found.value == found.high and found.n == 1 for found in result.metrics.values()
    )


@pytest.mark.parametrize("side", [1, 9, 30, 31, 63, 64])
def test_small_images_are_enlarged_for_lpips_and_it_is_said(
    side: int, tmp_path: Path, pictures: Write, options: EvaluationOptions
) -> None:
    out, truth = (
        pictures(tmp_path / name, NAMES, (side, side), seed)
        for seed, name in enumerate(("out", "truth"))
    )
    evaluation = compare(out, truth, options=options)
    found = evaluation.directions[0].metrics["lpips_paired"]
    assert 0 < found.low <= found.value <= found.high < 2
    assert ("bilinear to 64" in evaluation.resize) == (side < 64)
    assert evaluation.directions[0].sizes == {f"{side} x {side}": 6}


def test_fid_is_no_figure_to_quote_below_its_number(
    tmp_path: Path, pictures: Write, options: EvaluationOptions
) -> None:
    out, truth = (
        pictures(tmp_path / name, NAMES, seed=seed) for seed, name in enumerate(("out", "truth"))
    )
    metrics = compare(out, truth, out, options=options).directions[0].metrics
    assert metrics["kid_alex"].warning is None
    assert metrics["kid_alex"].subset == 3
    assert metrics["fid_alex"].warning
    assert "6 images, under 2048" in metrics["fid_alex"].warning
    assert not {"kid", "fid"} & metrics.keys(), "these names are Inception's"


def test_folders_without_a_common_name_are_compared_as_sets(
    tmp_path: Path, pictures: Write, options: EvaluationOptions
) -> None:
    drawn = pictures(tmp_path / "drawn", [f"a{i}.png" for i in range(6)], seed=1)
    real = pictures(tmp_path / "real", NAMES)
    pictures(tmp_path / "paired", NAMES, seed=1)  # the same pictures as drawn
    evaluation = compare(drawn, real, options=options)
    (result,) = evaluation.directions
    (paired,) = compare(tmp_path / "paired", real, options=options).directions
    assert set(result.metrics) == SETS
    assert any("metrics of pairs are left out" in note for note in evaluation.notes)
    for name in SETS:
        assert result.metrics[name].value == pytest.approx(paired.metrics[name].value, rel=1e-5)
    assert compare(drawn, real, size=16, options=options).directions[0].metrics.keys() == SETS
    pictures(tmp_path / "source", ["a1.png"])
    with pytest.raises(ValueError, match="no file name .*drawn.*source"):
        compare(drawn, real, tmp_path / "source", options=replace(options, allow_missing=True))


def test_sets_of_several_sizes_take_the_truths_most_common_one(
    tmp_path: Path, pictures: Write, options: EvaluationOptions
) -> None:
    drawn = pictures(tmp_path / "drawn", [f"a{i}.png" for i in range(6)], (40, 20), seed=1)
    real = pictures(tmp_path / "real", NAMES[:4], (24, 18))
    pictures(real, NAMES[4:], (18, 24), seed=2)
    (real / "broken.png").write_bytes(b"broken")
    allowing = replace(options, allow_missing=True)
    evaluation = compare(drawn, real, options=allowing)
    (result,) = evaluation.directions
    assert set(result.metrics) == SETS
    assert result.metrics["kid_alex"].n == 6
    assert "24 x 18" in evaluation.resize
    assert any("24 x 18" in note for note in evaluation.notes)
    assert len(evaluation.broken) == 1

    # the same pictures, cut and resized by hand
    for folder in (drawn, real):
        for path in folder.glob("[0-9a]*.png"):
            image = Image.open(path)
            factor = max(24 / image.width, 18 / image.height)
            size = round(image.width * factor), round(image.height * factor)
            left, top = (size[0] - 24) // 2, (size[1] - 18) // 2
            resized = image.resize(size, Image.Resampling.LANCZOS)
            resized.crop((left, top, left + 24, top + 18)).save(path)
    by_hand = compare(drawn, real, options=allowing)
    assert by_hand.resize.startswith("none")
    assert by_hand.directions[0].metrics["kid_alex"] == result.metrics["kid_alex"]


def test_pairs_that_are_all_broken_are_not_said_to_lack_a_partner(
    tmp_path: Path, pictures: Write, no_lpips_weights: None
) -> None:
    out = pictures(tmp_path / "out", NAMES[:2])
    truth = pictures(tmp_path / "truth", NAMES[:2])
    for name in NAMES[:2]:
        shorten(out / name)
    evaluation = compare(out, truth, options=EvaluationOptions(allow_missing=True))
    assert len(evaluation.broken) == 2
    assert evaluation.directions[0].metrics == {}
