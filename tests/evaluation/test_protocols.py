"""The evaluator against its parts, an independent scorer, and folders that are not as they should
be.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests._helpers.folders import shorten, stack
from translate.evaluation import evaluator as measuring
from translate.evaluation.evaluator import COMPARED
from translate.evaluation.options import EvaluationOptions
from translate.evaluation.protocols import evaluate
from translate.evaluation.results import DirectionMetrics, Evaluation
from translate.io.tensors import images_from_pixels, pixels_from_images
from translate.metrics.distribution import fid, kid, scaled
from translate.metrics.image import l1, ssim
from translate.metrics.lpips import Perceptual
from translate.models.checkpoint import load_model, save_model

SHARED = Path(__file__).resolve().parents[3] / "shared"
NAMES = [f"{i:03}.png" for i in range(6)]
SETS = {"kid_alex", "fid_alex"}
PAIRED = {"lpips_paired", "l1", "ssim"}
LPIPS_FREE = {"l1", "ssim", "reconstruction_l1"}
Write = Callable[..., Path]


@pytest.fixture
def options(lpips_weights: Path) -> EvaluationOptions:
    return EvaluationOptions(weights=lpips_weights)


def test_what_is_measured_is_what_the_model_makes(
    model_file: Write, data: Path, no_lpips_weights: None
) -> None:
    path = model_file()
    evaluation = evaluate(path, data)
    file = load_model(path)
    # rounds otherwise: a gray level here and there
    file.model.to(memory_format=torch.channels_last)
    a = stack(data / "testA")
    b = stack(data / "testB")
    for result, source, truth, y in zip(evaluation.directions, (a, b), (b, a), (0, 1), strict=True):
        with torch.no_grad():
            x = images_from_pixels(source.numpy())
            translation = torch.from_numpy(pixels_from_images(file.model.translate(x, y, 1 - y)))
            reconstruction = torch.from_numpy(pixels_from_images(file.model.reconstruct(x, y)))
        assert set(result.metrics) == LPIPS_FREE
        assert (result.name, result.source, result.to) == (("A-B", "A", "B"), ("B-A", "B", "A"))[y]
        for name, measure in (("l1", l1), ("ssim", ssim)):
            found = result.metrics[name]
            values = measure(translation, truth)
            assert [row[name] for row in result.per_image] == pytest.approx(
                values.tolist(), abs=1e-6
            )
            assert found.value == pytest.approx(values.mean().item())
            assert found.n == 6
            assert found.identity
            assert found.identity.value == pytest.approx(measure(source, truth).mean().item())
            assert found.low < found.value < found.high
            assert found.identity.low < found.identity.value < found.identity.high
        assert result.metrics["reconstruction_l1"].value == pytest.approx(
            l1(reconstruction, source).mean().item()
        )
        assert result.metrics["reconstruction_l1"].identity is None
        assert (
            [row["name"] for row in result.per_image]
            == list(result.shown)
            == [name[:3] for name in NAMES]
        )
        shown = result.shown["002"]
        assert np.array_equal(shown["translation"], translation[2])
        assert np.array_equal(shown["truth"], truth[2])
    assert evaluation.model_sha256 == file.sha256
    assert evaluation.weights_sha256 is None
    assert (evaluation.net, evaluation.seed, evaluation.size) == (
        "alex",
        0,
        16,
    )
    assert "lanczos" in evaluation.resize
    assert {"introshift", "torch", "lpips", "torch-fidelity", "pillow"} <= set(evaluation.versions)
    lpips, sets = evaluation.notes
    assert "--lpips-weights FILE" in lpips
    assert "left out" in lpips
    assert "\n" not in lpips
    assert "KID and FID are left out" in sets


@pytest.mark.parametrize(("style", "named"), [("random", "random style"), ("keep", "own style")])
def test_translations_are_measured_in_the_default_style(
    style: str, named: str, model_file: Write, data: Path, no_lpips_weights: None
) -> None:
    path = model_file()
    file = load_model(path)

    def l1_values(seed: int, **summary: object) -> tuple[list[float], list[str]]:
        save_model(path, file.model, file.config, summary)
        evaluation = evaluate(path, data, options=EvaluationOptions(seed=seed))
        return [result.metrics["l1"].value for result in evaluation.directions], evaluation.notes

    (to_b, to_a), _ = l1_values(0)
    (varied, same), notes = l1_values(0, styles={"B": style})
    (other, _), _ = l1_values(1, styles={"B": style})
    assert same == to_a
    assert len({to_b, varied, other}) == (3 if style == "random" else 2)
    assert notes[0].startswith("B: ")
    assert named in notes[0]
    assert not notes[1].startswith("A:")


def test_perceptual_metrics(
    model_file: Write, data: Path, lpips_weights: Path, options: EvaluationOptions
) -> None:
    evaluation = evaluate(model_file(), data, ["B"], options=options)
    (result,) = evaluation.directions
    alex = Perceptual.load("alex", lpips_weights)
    assert evaluation.notes == [] == evaluation.broken
    assert evaluation.weights_sha256 == alex.weights_sha256
    assert set(result.metrics) == {*COMPARED, *SETS, "lpips_diversity"}
    made = {
        kind: torch.from_numpy(np.stack([shown[kind] for shown in result.shown.values()]))
        for kind in ("source", "translation", "truth", "reconstruction", "cycle")
    }
    for name, (measure, kind, other) in COMPARED.items():
        if measure == "lpips":
            expected = alex.distance(made[kind], made[other]).mean().item()
            assert result.metrics[name].value == pytest.approx(expected, abs=1e-6), name
    paired = result.metrics["lpips_paired"]
    assert paired.identity
    assert paired.identity.value == pytest.approx(
        alex.distance(made["source"], made["truth"]).mean().item(), abs=1e-6
    )
    features = {kind: alex.features(made[kind]) for kind in ("source", "translation", "truth")}
    for name, distance in (("kid_alex", kid), ("fid_alex", fid)):
        found = result.metrics[name]
        assert found.identity
        assert found.n == found.identity.n == 6
        assert found.low < found.value < found.high
        for one, kind in ((found, "translation"), (found.identity, "source")):
            assert one.value == pytest.approx(
                distance(*scaled(features[kind], features["truth"])).value, rel=1e-4
            )
    assert result.metrics["lpips_diversity"].value > 0
    assert {name for name, x in result.metrics.items() if x.better == "higher"} == {"ssim"}


def test_plain_repeatable_data(model_file: Write, data: Path, lpips_weights: Path) -> None:
    path = model_file()

    def run(**changes: Any) -> Evaluation:
        return evaluate(
            path, data, ["A"], options=EvaluationOptions(weights=lpips_weights, **changes)
        )

    first = asdict(run())
    assert json.loads(json.dumps(first, allow_nan=False)) == first == asdict(run())
    other = asdict(run(seed=1))["directions"][0]["metrics"]
    before = first["directions"][0]["metrics"]
    assert other["lpips_diversity"]["value"] != before["lpips_diversity"]["value"]
    assert other["l1"]["value"] == before["l1"]["value"]
    assert other["kid_alex"]["low"] != before["kid_alex"]["low"]
    assert "lpips_diversity" not in run(styles=1).directions[0].metrics


def test_unpaired_sets(
    model_file: Write, data: Path, pictures: Write, options: EvaluationOptions
) -> None:
    shutil.rmtree(data / "testB")
    pictures(data / "testB", ["x.png", *(f"deep/{i}.png" for i in range(8))], seed=1)
    evaluation = evaluate(model_file(), data, options=options)
    (note,) = evaluation.notes
    assert "share no file names" in note
    for result, n in zip(evaluation.directions, (6, 9), strict=True):
        assert set(result.metrics) == {*COMPARED, *SETS, "lpips_diversity"} - PAIRED
        assert (
            len(result.per_image)
            == result.metrics["lpips_source"].n
            == result.metrics["kid_alex"].n
            == n
        )
        identity = result.metrics["kid_alex"].identity
        assert identity
        assert identity.n == n
        assert all("truth" not in shown for shown in result.shown.values())


def test_missing_partners(
    model_file: Write, data: Path, pictures: Write, no_lpips_weights: None
) -> None:
    path = model_file()
    pictures(data / "testA", [f"more{i:02}.png" for i in range(12)])
    with pytest.raises(ValueError, match="more00.png.*more09.png and 2 more.*--allow-missing"):
        evaluate(path, data)
    evaluation = evaluate(path, data, ["B"], options=EvaluationOptions(allow_missing=True))
    (result,) = evaluation.directions
    assert any("more09.png and 2 more" in note for note in evaluation.notes)
    assert result.metrics["l1"].n == 6
    assert result.metrics["reconstruction_l1"].n == len(result.per_image) == 18
    assert sum("l1" in row for row in result.per_image) == 6
    assert len(result.shown) == 18


def test_broken_images_are_left_out_and_noted(
    model_file: Write, data: Path, no_lpips_weights: None
) -> None:
    shorten(data / "testA" / "001.png")
    (data / "testB" / "004.png").write_bytes(b"")
    evaluation = evaluate(model_file(), data)
    assert sorted(Path(line.split(" (")[0]).name for line in evaluation.broken) == [
        "001.png",
        "004.png",
    ]
    assert any(line.endswith("004.png (empty file)") for line in evaluation.broken)
    for result in evaluation.directions:
        assert result.metrics["l1"].n == 4
        assert result.metrics["reconstruction_l1"].n == 5


def test_sizes_domains_and_grey(
    tmp_path: Path, model_file: Write, pictures: Write, no_lpips_weights: None
) -> None:
    for i, name in enumerate(("x", "y", "z")):
        pictures(tmp_path / "here" / f"of {name}", NAMES, (20 + 9 * i, 40), seed=i)
    folders = {
        "tests": {name: f"of {name}" for name in "xyz"},
        "domains": {name: name for name in "xyz"},
    }
    path = model_file(channels=1, root=str(tmp_path / "here"), load_size=24, **folders)
    evaluation = evaluate(path, to=["z", "x"])
    assert [result.name for result in evaluation.directions] == ["x-z", "y-x", "y-z", "z-x"]
    shown = evaluation.directions[0].shown["000"]
    assert {pixels.shape for pixels in shown.values()} == {(16, 16, 1), (4, 16, 16, 1)}
    grey = (
        Image.open(tmp_path / "here" / "of x" / "000.png")
        .convert("L")
        .resize((24, 48), Image.Resampling.LANCZOS)
    )
    assert np.array_equal(shown["source"][..., 0], np.array(grey.crop((4, 16, 20, 32))))


def test_the_background_and_the_given_folder_decide(
    model_file: Write, data: Path, no_lpips_weights: None
) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(data / "testA" / "000.png")
    path = model_file(
        background=[10, 20, 30], root="gone", tests={"A": "/nowhere/testA", "B": "testB"}
    )
    (result,) = evaluate(path, data, ["B"]).directions
    assert result.metrics["l1"].n == 6
    assert (result.shown["000"]["source"] == [10, 20, 30]).all()
    with pytest.raises(ValueError, match=r"/nowhere/testA.*gone.testB"):
        evaluate(path)


def test_pictures_are_kept_evenly_within_bounds(
    model_file: Write,
    tmp_path: Path,
    pictures: Write,
    options: EvaluationOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed, name in enumerate("AB"):
        pictures(tmp_path / f"test{name}", [f"{i:03}.png" for i in range(24)], seed=seed)

    def run() -> DirectionMetrics:
        (result,) = evaluate(
            model_file(), tmp_path, ["B"], options=replace(options, styles=2)
        ).directions
        assert result.metrics["lpips_diversity"].n == 24
        return result

    assert list(run().shown) == [f"{i:03}" for i in range(24)]
    monkeypatch.setattr(measuring, "SHOWN", 10)
    shown = [int(name) for name in run().shown]
    assert len(shown) == 10
    assert (shown[0], shown[-1]) == (0, 23)
    assert max(np.diff(shown)) <= 3
    # of five images: five kinds and two styles
    monkeypatch.setattr(measuring, "SHOWN_BYTES", 5 * 7 * 16 * 16 * 3)
    assert len(run().shown) == 5


def test_every_content_in_every_style_of_the_test_images(
    model_file: Write, data: Path, no_lpips_weights: None
) -> None:
    shorten(data / "testB" / "002.png")
    (result,) = evaluate(model_file(), data, ["B"]).directions
    assert result.swap is not None
    tile = 64 + 2
    assert result.swap.shape == (6 * tile + 2, 7 * tile + 2, 3), (
        "the row of contents, five styles, their column"
    )


def test_mixed_codecs_are_noted_once(
    model_file: Write, data: Path, pictures: Write, no_lpips_weights: None
) -> None:
    shutil.rmtree(data / "testB")
    pictures(data / "testB", [name.replace("png", "jpg") for name in NAMES])
    notes = [note for note in evaluate(model_file(), data).notes if note.startswith("mixed codecs")]
    assert len(notes) == 1
    assert "testA: PNG" in notes[0]
    assert "testB: JPEG" in notes[0]


def test_progress_counts_every_image(model_file: Write, data: Path, no_lpips_weights: None) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(model_file(), data, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(6, 12), (12, 12)]


def test_wrong_arguments_of_evaluate(model_file: Write, data: Path) -> None:
    path = model_file()
    with pytest.raises(ValueError, match="--to C: .*A, B"):
        evaluate(path, data, ["B", "C"])
    with pytest.raises(ValueError, match="none.safetensors"):
        evaluate(data / "none.safetensors", data)
    with pytest.raises(ValueError, match="--device tpu"):
        evaluate(path, data, options=EvaluationOptions(device="tpu"))


@pytest.mark.parametrize("layout", ["test{}", "test/{}", "{}"])
def test_one_folder_or_one_for_each_domain(
    layout: str, tmp_path: Path, model_file: Write, pictures: Write, no_lpips_weights: None
) -> None:
    path = model_file()
    folders = [
        pictures(tmp_path / "there" / layout.format(name), NAMES, seed=seed)
        for seed, name in enumerate("AB")
    ]
    by_layout = evaluate(path, tmp_path / "there").directions
    assert by_layout == evaluate(path, folders).directions
    assert by_layout != evaluate(path, folders[::-1]).directions
    with pytest.raises(ValueError, match="3 folders.*A, B"):
        evaluate(path, [*folders, folders[0]])
    with pytest.raises(ValueError, match=r"testA.*in this order"):
        evaluate(path, tmp_path / "there" / layout.format("A"))
    with pytest.raises(ValueError, match="nowhere"):
        evaluate(path, tmp_path / "nowhere")


def test_relative_test_folders_of_the_config_count_only_where_data_has_them(
    data: Path, model_file: Callable[..., Path], no_lpips_weights: None
) -> None:
    def rows(a: str, b: str) -> list[dict[str, str | float]]:
        return (
            evaluate(
                model_file(tests={"A": a, "B": b}),
                data,
                ["B"],
                options=EvaluationOptions(device="cpu"),
            )
            .directions[0]
            .per_image
        )

    assert rows("testA", "testB") == rows("elsewhere/testA", "elsewhere/testB")
    assert rows("testA", "testB") != rows("testB", "testA")
