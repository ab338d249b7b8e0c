"""Pictures of more than 8 bits a channel, translated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests._helpers.commands import call
from tests._helpers.folders import manifest
from tests._helpers.small_model import SIDE, save
from tests.inference.test_carrying import identity, random_maps
from translate.config import from_dict
from translate.data.dataset import load_image
from translate.evaluation.options import EvaluationOptions
from translate.evaluation.protocols import compare
from translate.inference.carrying import STRIP_PIXELS, carry, carry_levels
from translate.inference.folder_options import FolderOptions
from translate.inference.predictor import Predictor
from translate.inference.predictor_options import PredictorOptions
from translate.inference.single import translate_picture
from translate.inference.translator import Translator
from translate.io.depth import WHITE, Levels, Values
from translate.io.images import Picture, composite, read_image, to_channels, write_image

RNG = np.random.default_rng(0)
GROUND = (255, 128, 0)


def ramp(height: int, width: int, high: int = WHITE) -> Values:
    """A smooth ramp of gray with as many levels as there is room for, (H, W, 1)."""
    values = np.linspace(0, high, height * width).round().astype(np.uint16)
    return values.reshape(height, width, 1)


def smooth(height: int, width: int, high: int = WHITE) -> Values:
    """Three ramps in three directions, (H, W, 3)."""
    down, right = np.mgrid[0:height, 0:width] / [[[height - 1]], [[width - 1]]]
    colours = np.stack([down, right, (down + right) / 2], axis=2)
    return (colours * high).round().astype(np.uint16)


def levels_of(path: Path, value_range: str = "file") -> Levels:
    levels = read_image(path, value_range=value_range).levels
    assert levels is not None
    return levels


def difference(a: Values, b: Values) -> int:
    return int(np.abs(a.astype(np.int64) - b).max())


@pytest.mark.parametrize("channels", [1, 3])
def test_identity_maps_change_no_level(channels: int) -> None:
    values = RNG.integers(0, WHITE + 1, (200, 300, channels), dtype=np.uint16)
    for low, high in ((0, WHITE), (0, 4095), (777, 50000)):
        levels = Levels(values, None, low, high)
        made = carry_levels(identity(channels), levels, GROUND, channels)
        assert difference(made.values, values) <= 1
    floats = Levels(values.astype(np.float32) / 7, None, 100, 5000)
    made = carry_levels(identity(channels), floats, GROUND, channels)
    assert np.abs(made.values - floats.values).max() < 0.01


@pytest.mark.parametrize("channels", [1, 3])
def test_depth_changes_nothing_but_the_rounding(channels: int) -> None:
    width = 1024
    height = 2 * (STRIP_PIXELS // width) + 5
    pixels = RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)
    maps = random_maps(channels)
    deep = Levels(pixels.astype(np.uint16) * np.uint16(257), None)
    made = carry_levels(maps, deep, GROUND, channels)
    assert np.abs(made.values / 257 - carry(maps, pixels)).max() <= 0.51


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("of_file", [1, 3])
def test_background_and_channels_are_as_with_8_bits(channels: int, of_file: int) -> None:
    pixels = RNG.integers(0, 256, (40, 50, of_file), dtype=np.uint8)
    alpha = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
    levels = Levels(pixels.astype(np.uint16) * np.uint16(257), alpha.astype(np.uint16) * 257)
    made = carry_levels(identity(channels), levels, GROUND, channels)
    picture = Picture(to_channels(pixels, 3), alpha, "", "", ())
    expected = to_channels(composite(picture, GROUND), channels)
    assert np.abs(made.values / 257 - expected).max() <= 1.6  # two roundings there
    assert made.alpha is levels.alpha


def test_a_smooth_ramp_keeps_its_levels() -> None:
    levels = Levels(ramp(256, 256), None)
    maps = random_maps(1)
    scaled = maps._replace(matrices=0.7 + 0.1 * maps.matrices, offsets=0.1 * maps.offsets)
    made = carry_levels(scaled, levels, GROUND, 1).values
    assert len(np.unique(made)) > 10_000
    banded = carry(scaled, levels.to_bytes())
    assert len(np.unique(banded)) <= 256


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_reconstruction_with_detail_is_the_picture_to_a_level(
    tmp_path: Path, channels: int, name: str
) -> None:
    """Reconstruction and translation are one, so that the model is the identity."""
    save(tmp_path, channels)
    (tmp_path / "in").mkdir()
    values = ramp(90, 120) if channels == 1 else smooth(90, 120)
    alpha = ramp(90, 120)[..., 0] if channels == 3 else None
    write_image(tmp_path / "in" / name, Levels(values, alpha))
    options = PredictorOptions(scale="detail", background=(0, 0, 0))
    translator = Translator.load(tmp_path / "model.safetensors", "cpu", options)
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "A", FolderOptions(style="own"))
    found = levels_of(tmp_path / "out" / name)
    expected = values if alpha is None else values * (alpha[..., None] / WHITE)
    assert found.values.shape == values.shape
    assert np.abs(found.values - expected).max() <= 1 + 0.5 * (alpha is not None)
    if alpha is not None:
        assert found.alpha is not None
        assert np.array_equal(found.alpha, alpha)
    assert manifest(tmp_path / "out")[name]["warnings"] == []


def test_translations_of_deep_and_of_8_bit_pictures_differ_by_rounding_alone(
    tmp_path: Path,
) -> None:
    save(tmp_path, detail=True)
    (tmp_path / "in").mkdir()
    pixels = (smooth(90, 120) >> 8).astype(np.uint8)
    write_image(tmp_path / "in" / "shallow.png", pixels)
    write_image(tmp_path / "in" / "deep.tif", Levels(pixels.astype(np.uint16) * 257, None))
    translator = Translator.load(tmp_path / "model.safetensors", "cpu")
    options = FolderOptions(style="mean")
    assert translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options).ok == 2
    deep = levels_of(tmp_path / "out" / "deep.tif").values
    shallow = read_image(tmp_path / "out" / "shallow.png")
    assert shallow.levels is None
    assert len(np.unique(deep)) > 10_000
    assert np.abs(deep / 257 - shallow.pixels).max() <= 0.51


@pytest.mark.parametrize("value_range", ["auto", "0,4095"])
def test_12_bits_in_16_are_seen_as_bright_and_stay_12_bits(
    tmp_path: Path, value_range: str
) -> None:
    save(tmp_path, detail=True)
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "12.png", Levels(smooth(90, 120, 4095), None))
    write_image(tmp_path / "in" / "16.png", Levels(smooth(90, 120), None))
    options = PredictorOptions(value_range=value_range)
    translator = Translator.load(tmp_path / "model.safetensors", "cpu", options)
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", FolderOptions(style="mean"))
    twelve = levels_of(tmp_path / "out" / "12.png").values
    assert 255 < twelve.max() <= 4095
    if value_range == "auto":
        sixteen = levels_of(tmp_path / "out" / "16.png").values
        assert np.abs(twelve / 4095 - sixteen / WHITE).max() < 0.01
        line = manifest(tmp_path / "out")["12.png"]
        assert line["warnings"] == ["read as 12 bits: no value is above 4095 (data.range: auto)"]


def test_what_is_lost_is_in_the_manifest(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.png", Levels(smooth(60, 80), None))
    write_image(tmp_path / "in" / "b.png", Levels(smooth(60, 80, 4095), None))

    def said(scale: str, out: str, **options: str) -> list[list[str]]:
        predictor = Predictor.load(
            tmp_path / "model.safetensors", "cpu", PredictorOptions(scale=scale)
        )
        Translator(predictor).translate_folder(
            tmp_path / "in", tmp_path / out, "B", FolderOptions(style="mean", **options)
        )
        return [
            [warning for warning in line["warnings"] if "shape changes" not in warning]
            for line in manifest(tmp_path / out).values()
        ]

    lost = "16 bits a channel became 8: only --scale detail keeps them"
    dark = (
        "nearly black: no value is above 4095 of 65535; "
        "data.range: auto reads fewer bits, LOW,HIGH any range"
    )
    assert said("model", "model") == [[lost], [dark, lost]]
    assert read_image(tmp_path / "model" / "a.png").bits == 8
    assert said("native", "native") == [[lost], [dark, lost]]
    assert said("detail", "detail") == [[], [dark]]
    assert said("detail", "jpeg", format="jpg")[0] == [
        "16 bits a channel became 8: JPEG holds no more, PNG and TIFF do"
    ]


def test_one_picture_is_as_in_a_folder(tmp_path: Path) -> None:
    save(tmp_path, detail=True)
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.tif", Levels(smooth(90, 120), None))
    predictor = Predictor.load(tmp_path / "model.safetensors", "cpu")
    options = FolderOptions(style="mean")
    Translator(predictor).translate_folder(tmp_path / "in", tmp_path / "out", "B", options)
    made = translate_picture(predictor, tmp_path / "in" / "a.tif", "B", options, kind="TIFF")
    assert isinstance(made.pixels, Levels)
    assert np.array_equal(made.pixels.values, levels_of(tmp_path / "out" / "a.tif").values)
    assert made.warnings == ()
    shallow = translate_picture(predictor, tmp_path / "in" / "a.tif", "B", options, kind="JPEG")
    assert isinstance(shallow.pixels, np.ndarray)
    assert "JPEG holds no more" in shallow.warnings[-1]


@pytest.mark.parametrize("value_range", ["file", "auto", "100,3000", "percentile"])
def test_training_and_translation_read_the_same(tmp_path: Path, value_range: str) -> None:
    data = {"size": SIDE, "range": value_range, "domains": {"A": "A", "B": "B"}}
    config = from_dict({"data": data, "model": {"width": 8, "style_dim": 4, "condition": 8}})
    write_image(tmp_path / "a.png", Levels(smooth(SIDE, SIDE, 4000), None))
    save(tmp_path)
    stored = Predictor.load(
        tmp_path / "model.safetensors", "cpu", PredictorOptions("fp32", value_range=value_range)
    )
    trained = load_image(tmp_path / "a.png", config.data)
    assert np.array_equal(trained, stored.preprocess(stored.read(tmp_path / "a.png")))
    black_to_white = {"file": 16, "auto": 249, "100,3000": 255, "percentile": 255}
    assert abs(int(trained.max()) - black_to_white[value_range]) <= 1


def test_a_model_keeps_the_range_that_it_was_trained_with(tmp_path: Path) -> None:
    from translate.models.checkpoint import load_model, save_model

    file = load_model(save(tmp_path))
    assert file.config.data.range == "file"
    before = Predictor(file, "cpu").cache_key
    data = file.config.data.model_copy(update={"range": "0,4095"})
    config = file.config.model_copy(update={"data": data})
    save_model(tmp_path / "12.safetensors", file.model, config, {})
    predictor = Predictor.load(tmp_path / "12.safetensors", "cpu")
    assert predictor.value_range == "0,4095"
    assert predictor.cache_key.endswith(" 0,4095")
    assert not before.endswith(" file")  # older manifests stay valid
    other = Predictor.load(
        tmp_path / "12.safetensors", "cpu", PredictorOptions(value_range="percentile")
    )
    assert other.value_range == "percentile"


def test_every_setting_of_the_range_is_checked() -> None:
    assert from_dict({"data": {"range": "0, 4095"}}).data.range == "0,4095"
    with pytest.raises(ValueError, match=r"data.range: 'all' is no range; use file, auto"):
        from_dict({"data": {"range": "all"}})
    with pytest.raises(ValueError, match="--range: 'all' is no range"):
        PredictorOptions(value_range="all")


def test_translate_and_compare_take_a_range(tmp_path: Path) -> None:
    save(tmp_path, detail=True)
    for name in ("in", "truth"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.tif", Levels(smooth(90, 120, 4095), None))
    model = tmp_path / "model.safetensors"
    options = ("--to", "B", "--style", "mean", "--preview")
    for value_range, out in (("0,4095", "bright"), ("file", "dark")):
        code, _, _ = call(
            "translate", model, tmp_path / "in", tmp_path / out, *options, "--range", value_range
        )
        assert code == 0
    bright = levels_of(tmp_path / "bright" / "a.tif")
    assert bright.high == 4095  # the TIFF says so
    assert difference(bright.values, levels_of(tmp_path / "dark" / "a.tif").values) > 100

    def mean_of_preview(folder: str) -> float:
        return float(read_image(tmp_path / folder / "preview.png").pixels.mean())

    assert mean_of_preview("bright") != pytest.approx(mean_of_preview("dark"), abs=5)
    code, _, said = call("translate", model, tmp_path / "in", tmp_path / "x", "--range", "12")
    assert code == 2
    assert "--range: '12' is no range; use file, auto, percentile or LOW,HIGH" in said


def test_compare_reads_with_a_range(tmp_path: Path) -> None:
    for name, high in (("out", 4095), ("truth", WHITE)):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", Levels(smooth(40, 40, high), None))

    def l1(value_range: str) -> float:
        options = EvaluationOptions(value_range=value_range, device="cpu")
        found = compare(tmp_path / "out", tmp_path / "truth", options=options)
        return found.directions[0].metrics["l1"].value

    assert l1("auto") < 0.01
    assert l1("file") > 0.2
    with pytest.raises(ValueError, match="--range: 'x' is no range"):
        EvaluationOptions(value_range="x")
