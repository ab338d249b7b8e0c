"""The evaluator against its parts, an independent scorer, and folders that are not as they should be."""

from __future__ import annotations

import importlib.util
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translate.checkpoint import load_model
from translate.evaluator import COMPARED, DIVERSE, SHOWN, Evaluation, _Bench, compare, evaluate
from translate.images import to_float, to_uint8
from translate.metrics import kernel_distance, l1, ssim
from translate.perceptual import Perceptual

SHARED = Path(__file__).resolve().parents[2] / "shared"
NAMES = [f"{i:03}.png" for i in range(6)]
PAIRED, LPIPS_FREE = {"lpips_paired", "l1", "ssim"}, {"l1", "ssim", "reconstruction_l1"}
Write = Callable[..., Path]


def stack(folder: Path, size: int | None = None) -> torch.Tensor:
    files = [Image.open(path).convert("RGB") for path in sorted(folder.rglob("*.*"))]
    files = [file.resize((size, size), Image.Resampling.LANCZOS) if size else file for file in files]
    return torch.from_numpy(np.stack([np.array(file) for file in files]))


def shorten(path: Path) -> Path:
    """A picture whose file ends too early."""
    path.write_bytes(path.read_bytes()[:60])
    return path


# A model


def test_what_is_measured_is_what_the_model_makes(model_file: Write, data: Path, no_lpips_weights: None) -> None:
    path = model_file()
    evaluation = evaluate(path, data)
    file = load_model(path)
    a, b = stack(data / "testA"), stack(data / "testB")
    for result, source, truth, y in zip(evaluation.directions, (a, b), (b, a), (0, 1), strict=True):
        with torch.no_grad():
            x = torch.from_numpy(to_float(source.numpy()))
            translation = torch.from_numpy(to_uint8(file.model.translate(x, y, 1 - y).numpy()))
            reconstruction = torch.from_numpy(to_uint8(file.model.reconstruct(x, y).numpy()))
        assert set(result.metrics) == LPIPS_FREE
        assert (result.name, result.source, result.to) == (("A-B", "A", "B"), ("B-A", "B", "A"))[y]
        for name, measure in (("l1", l1), ("ssim", ssim)):
            figure, values = result.metrics[name], measure(translation, truth)
            assert [row[name] for row in result.per_image] == pytest.approx(values.tolist(), abs=1e-6)
            assert figure.value == pytest.approx(values.mean().item()) and figure.n == 6
            assert figure.identity and figure.identity.value == pytest.approx(measure(source, truth).mean().item())
            assert figure.low < figure.value < figure.high
            assert figure.identity.low < figure.identity.value < figure.identity.high
        assert result.metrics["reconstruction_l1"].value == pytest.approx(l1(reconstruction, source).mean().item())
        assert result.metrics["reconstruction_l1"].identity is None
        assert [row["name"] for row in result.per_image] == list(result.shown) == [name[:3] for name in NAMES]
        shown = result.shown["002"]
        assert np.array_equal(shown["translation"], translation[2]) and np.array_equal(shown["truth"], truth[2])
    assert evaluation.model_sha256 == file.sha256 and evaluation.weights_sha256 is None
    assert (evaluation.net, evaluation.seed, evaluation.size) == ("alex", 0, 16) and "lanczos" in evaluation.resize
    assert set(evaluation.versions) == {"introshift", "torch", "lpips"}
    (note,) = evaluation.notes
    assert "--lpips-weights FILE" in note and "left out" in note and "\n" not in note


def test_perceptual_metrics(model_file: Write, data: Path, lpips_weights: Path) -> None:
    evaluation = evaluate(model_file(), data, ["B"], weights=lpips_weights)
    (result,) = evaluation.directions
    alex = Perceptual.load("alex", lpips_weights)
    assert evaluation.notes == [] and evaluation.weights_sha256 == alex.weights_sha256
    assert set(result.metrics) == {*COMPARED, "kernel_distance", "lpips_diversity"}
    made = {
        what: torch.from_numpy(np.stack([shown[what] for shown in result.shown.values()]))
        for what in ("source", "translation", "truth", "reconstruction", "cycle")
    }
    for name, (measure, what, other) in COMPARED.items():
        if measure == "lpips":
            expected = alex.distance(made[what], made[other]).mean().item()
            assert result.metrics[name].value == pytest.approx(expected, abs=1e-6), name
    paired, kernel = result.metrics["lpips_paired"], result.metrics["kernel_distance"]
    assert paired.identity and kernel.identity
    assert paired.identity.value == pytest.approx(alex.distance(made["source"], made["truth"]).mean().item(), abs=1e-6)
    features = {what: alex.features(made[what]) for what in ("source", "translation", "truth")}
    assert kernel.value == pytest.approx(kernel_distance(features["translation"], features["truth"]), rel=1e-4)
    assert kernel.identity.value == pytest.approx(kernel_distance(features["source"], features["truth"]), rel=1e-4)
    assert kernel.n == kernel.identity.n == 6 and kernel.low <= kernel.high
    assert result.metrics["lpips_diversity"].value > 0
    assert {name for name, x in result.metrics.items() if x.better == "higher"} == {"ssim", "lpips_diversity"}


def test_plain_repeatable_data(model_file: Write, data: Path, lpips_weights: Path) -> None:
    path = model_file()

    def run(**options: Any) -> Evaluation:
        return evaluate(path, data, ["A"], weights=lpips_weights, **options)

    first = asdict(run())
    assert json.loads(json.dumps(first, allow_nan=False)) == first == asdict(run())
    other = asdict(run(seed=1))["directions"][0]["metrics"]
    before = first["directions"][0]["metrics"]
    assert other["lpips_diversity"]["value"] != before["lpips_diversity"]["value"]
    assert other["l1"]["value"] == before["l1"]["value"]
    assert other["kernel_distance"]["low"] != before["kernel_distance"]["low"]
    assert "lpips_diversity" not in run(styles=1).directions[0].metrics


def test_unpaired_sets(model_file: Write, data: Path, pictures: Write, lpips_weights: Path) -> None:
    shutil.rmtree(data / "testB")
    pictures(data / "testB", ["x.png", *(f"deep/{i}.png" for i in range(8))], seed=1)
    evaluation = evaluate(model_file(), data, weights=lpips_weights)
    (note,) = evaluation.notes
    assert "share no file names" in note
    for result, n in zip(evaluation.directions, (6, 9), strict=True):
        assert set(result.metrics) == {*COMPARED, "kernel_distance", "lpips_diversity"} - PAIRED
        assert len(result.per_image) == result.metrics["lpips_source"].n == result.metrics["kernel_distance"].n == n
        identity = result.metrics["kernel_distance"].identity
        assert identity and identity.n == n
        assert all("truth" not in shown for shown in result.shown.values())


def test_missing_partners(model_file: Write, data: Path, pictures: Write, no_lpips_weights: None) -> None:
    path = model_file()
    pictures(data / "testA", [f"more{i:02}.png" for i in range(12)])
    with pytest.raises(ValueError, match="without a partner.*more00.png.*more09.png and 2 more; .*--allow-missing"):
        evaluate(path, data)
    evaluation = evaluate(path, data, ["B"], allow_missing=True)
    (result,) = evaluation.directions
    assert any("more09.png and 2 more" in note for note in evaluation.notes)
    assert result.metrics["l1"].n == 6 and result.metrics["reconstruction_l1"].n == len(result.per_image) == 18
    assert sum("l1" in row for row in result.per_image) == 6 and len(result.shown) == SHOWN


def test_broken_images_are_left_out_and_noted(model_file: Write, data: Path, no_lpips_weights: None) -> None:
    shorten(data / "testA" / "001.png")
    (data / "testB" / "004.png").write_bytes(b"")
    evaluation = evaluate(model_file(), data)
    (note,) = [note for note in evaluation.notes if "cannot be read" in note]
    assert note.count("001.png") == note.count("004.png (empty file)") == 1
    for result in evaluation.directions:
        assert result.metrics["l1"].n == 4 and result.metrics["reconstruction_l1"].n == 5


def test_sizes_domains_and_grey(tmp_path: Path, model_file: Write, pictures: Write, no_lpips_weights: None) -> None:
    for i, name in enumerate(("x", "y", "z")):
        pictures(tmp_path / "here" / f"of {name}", NAMES, (20 + 9 * i, 40), seed=i)
    folders = {"tests": {name: f"of {name}" for name in "xyz"}, "domains": {name: name for name in "xyz"}}
    path = model_file(channels=1, root=str(tmp_path / "here"), load_size=24, **folders)
    evaluation = evaluate(path, directions=["z", "x"])
    assert [result.name for result in evaluation.directions] == ["x-z", "y-x", "y-z", "z-x"]
    shown = evaluation.directions[0].shown["000"]
    assert {pixels.shape for what, pixels in shown.items()} == {(16, 16, 1)}
    grey = Image.open(tmp_path / "here" / "of x" / "000.png").convert("L").resize((24, 48), Image.Resampling.LANCZOS)
    assert np.array_equal(shown["source"][..., 0], np.array(grey.crop((4, 16, 20, 32))))


def test_the_background_and_the_given_folder_decide(model_file: Write, data: Path, no_lpips_weights: None) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(data / "testA" / "000.png")
    path = model_file(background=[10, 20, 30], root="gone", tests={"A": "/nowhere/testA", "B": "testB"})
    (result,) = evaluate(path, data, ["B"]).directions
    assert result.metrics["l1"].n == 6 and (result.shown["000"]["source"] == [10, 20, 30]).all()
    with pytest.raises(ValueError, match=r"no images in /nowhere/testA and gone.testB"):
        evaluate(path)


def test_styles_of_the_first_images(model_file: Write, tmp_path: Path, pictures: Write, lpips_weights: Path) -> None:
    for seed, name in enumerate("AB"):
        pictures(tmp_path / f"test{name}", [f"{i:03}.png" for i in range(DIVERSE + 6)], seed=seed)
    (result,) = evaluate(model_file(), tmp_path, ["B"], weights=lpips_weights, styles=2).directions
    assert result.metrics["lpips_diversity"].n == DIVERSE
    assert [row["name"] for row in result.per_image if "lpips_diversity" in row][-1] == f"{DIVERSE - 1:03}"
    shown = [int(name) for name in result.shown]
    assert len(shown) == SHOWN and shown[0] == 0 and shown[-1] == DIVERSE + 5 and max(np.diff(shown)) <= 5


def test_wrong_arguments_of_evaluate(model_file: Write, data: Path) -> None:
    path = model_file()
    with pytest.raises(ValueError, match="--to C: the model's domains are A, B"):
        evaluate(path, data, ["B", "C"])
    with pytest.raises(ValueError, match="no such file"):
        evaluate(data / "none.safetensors", data)
    with pytest.raises(ValueError, match="--device tpu"):
        evaluate(path, data, device="tpu")


# Folders


@pytest.mark.parametrize(("side", "size"), [(48, None), (48, 40), (80, None)])
def test_agreement_with_the_independent_scorer(tmp_path: Path, pictures: Write, side: int, size: int | None) -> None:
    if not (SHARED / "score.py").exists() or not (SHARED / "weights" / "alexnet_features.safetensors").exists():
        pytest.skip(f"{SHARED / 'score.py'} and its weights are not here")
    out = pictures(tmp_path / "out", NAMES, (48, 48))
    truth = pictures(tmp_path / "truth", NAMES, (side, side), seed=1)
    Image.open(out / "000.png").convert("L").save(out / "000.png")
    spec = importlib.util.spec_from_file_location("score", SHARED / "score.py")
    assert spec and spec.loader
    score: Any = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():  # score.py silences all warnings for good, as a script may
        spec.loader.exec_module(score)
        load = score.lpips_net
        score.lpips_net = lambda _, folder: load("alex", folder)
        theirs = score.score(out, truth, SHARED / "weights", size)
    evaluation = compare(
        out, truth, size=size, resize=True, weights=SHARED / "weights" / "alexnet_features.safetensors"
    )
    ours = evaluation.directions[0].metrics
    assert ours["lpips_paired"].value == pytest.approx(theirs["lpips_alex"], abs=1e-4)
    assert ours["l1"].value == pytest.approx(theirs["l1"], abs=1e-6)
    assert ours["ssim"].value == pytest.approx(theirs["ssim"], abs=1e-4)
    assert ours["kernel_distance"].value == pytest.approx(theirs["kd_alex_x1000"] / 1000, rel=1e-3)
    assert set(ours) == {"lpips_paired", "l1", "ssim", "kernel_distance"} and evaluation.size == size


def test_closed_forms_and_identity(tmp_path: Path, pictures: Write, lpips_weights: Path) -> None:
    truth, source = pictures(tmp_path / "truth", NAMES), pictures(tmp_path / "source", NAMES, seed=1)
    (perfect,) = compare(truth, truth, source, weights=lpips_weights).directions
    assert perfect.name == "truth-truth"
    values = {name: figure.value for name, figure in perfect.metrics.items()}
    assert (values["lpips_paired"], values["l1"], values["ssim"]) == (0, 0, 1)
    assert values["lpips_source"] == pytest.approx(perfect.metrics["lpips_paired"].identity.value)  # type: ignore[union-attr]
    (copy,) = compare(source, truth, source, weights=lpips_weights).directions
    for name in (*PAIRED, "kernel_distance"):
        figure = copy.metrics[name]
        assert figure.identity and asdict(figure) | {"identity": None} == asdict(figure.identity)


def test_pairs_may_have_sizes_of_their_own(tmp_path: Path, pictures: Write, lpips_weights: Path) -> None:
    for seed, name in enumerate(("out", "truth")):
        pictures(tmp_path / name, NAMES[:3], (20, 30), seed=seed)
        pictures(tmp_path / name, NAMES[3:5], (31, 17), seed=seed + 2)
        pictures(tmp_path / name, NAMES[5:], (9, 12), seed=seed + 4)
    evaluation = compare(tmp_path / "out", tmp_path / "truth", weights=lpips_weights)
    (result,) = evaluation.directions
    assert evaluation.notes == ["SSIM is left out where images are under 11 px"]
    assert (result.metrics["l1"].n, result.metrics["ssim"].n, result.metrics["kernel_distance"].n) == (6, 5, 6)
    assert (evaluation.size, evaluation.resize) == (None, "none")


def test_sizes_that_differ(tmp_path: Path, pictures: Write, no_lpips_weights: None) -> None:
    out, truth = pictures(tmp_path / "out", NAMES, (20, 30)), pictures(tmp_path / "truth", NAMES, (40, 50), seed=1)
    with pytest.raises(ValueError, match="000: the translation is 20 x 30, the truth 40 x 50; give --resize"):
        compare(out, truth)
    evaluation = compare(out, truth, resize=True)
    assert evaluation.resize == "lanczos to the truth's size"
    assert evaluation.directions[0].shown["000"]["translation"].shape == (50, 40, 3)
    with pytest.raises(ValueError, match="000: the source is 20 x 30, the truth 40 x 50"):
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
    with pytest.raises(ValueError, match="no file name is in all of .*out, .*flat"):
        compare(out, flat)
    deep = pictures(tmp_path / "deep", [name.replace("png", "jpg") for name in [*names, "b/1.png"]])
    assert [row["name"] for row in compare(out, deep).directions[0].per_image] == ["a/1", "b/1", "b/2", "b/c/3"]
    pictures(out, ["a/1.webp"])
    with pytest.raises(ValueError, match=r"a.1.(png|webp) and 1.(png|webp) have one name"):
        compare(out, deep)


def test_partners_and_broken_files_of_compare(tmp_path: Path, pictures: Write, no_lpips_weights: None) -> None:
    out, truth = pictures(tmp_path / "out", NAMES), pictures(tmp_path / "truth", NAMES[1:], seed=1)
    with pytest.raises(ValueError, match=r"without a partner of the same name: .*out.000.png; .*--allow-missing"):
        compare(out, truth)
    assert compare(out, truth, allow_missing=True).directions[0].metrics["l1"].n == 5
    pictures(truth, NAMES)
    broken = shorten(truth / "003.png"), shorten(out / "004.png")
    with pytest.raises(ValueError, match="cannot be read: .*mend them") as refused:
        compare(out, truth)
    assert all(str(path) in str(refused.value) for path in broken) and "\n" not in str(refused.value)
    evaluation = compare(out, truth, allow_missing=True)
    assert evaluation.directions[0].metrics["l1"].n == 4
    assert any(str(broken[0]) in note and str(broken[1]) in note for note in evaluation.notes)
    with pytest.raises(ValueError, match=r"no images in .*none; name another folder"):
        compare(out, tmp_path / "none")


def test_jpeg_against_png_is_noted(tmp_path: Path, pictures: Write, no_lpips_weights: None) -> None:
    png, jpeg = pictures(tmp_path / "png", ["a.png"]), pictures(tmp_path / "jpeg", ["a.JPG"])
    assert any("JPEG" in note for note in compare(png, jpeg).notes)
    assert not any("JPEG" in note for note in [*compare(png, png).notes, *compare(jpeg, jpeg).notes])


def test_the_kernel_distance_of_too_few_images(tmp_path: Path, pictures: Write, lpips_weights: Path) -> None:
    few = pictures(tmp_path / "few", NAMES[:3])
    evaluation = compare(few, few, weights=lpips_weights)
    assert any("kernel distance" in note and "at least" in note for note in evaluation.notes)
    assert set(evaluation.directions[0].metrics) == PAIRED


def test_the_kernel_distances_interval(no_lpips_weights: None) -> None:
    bench = _Bench(lambda path: np.zeros((1, 1, 3), np.uint8), "alex", None, "cpu", 0, [])

    def sample(seed: int, shift: float) -> torch.Tensor:
        return torch.randn(100, 8, generator=torch.Generator().manual_seed(seed)) + shift

    drawn = torch.tensor([kernel_distance(sample(2 * s, 0.5), sample(2 * s + 1, 0)) for s in range(100)])
    found = [bench.kernel([sample(2 * s, 0.5)], [sample(2 * s + 1, 0)]) for s in range(8)]
    widths = [estimate[2] - estimate[1] for estimate in found if estimate]
    assert len(widths) == 8 and all(estimate[1] < estimate[0] < estimate[2] for estimate in found if estimate)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * drawn.std().item(), rel=0.3)  # 100 draws: the spread is 7 % off


def test_relative_test_folders_of_the_config_count_only_where_data_has_them(
    data: Path, model_file: Callable[..., Path], no_lpips_weights: None
) -> None:
    def rows(a: str, b: str) -> list[dict[str, str | float]]:
        return evaluate(model_file(tests={"A": a, "B": b}), data, ["B"], device="cpu").directions[0].per_image

    assert rows("testA", "testB") == rows("elsewhere/testA", "elsewhere/testB")
    assert rows("testA", "testB") != rows("testB", "testA")
