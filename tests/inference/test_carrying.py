"""The change found at the training size, carried to pictures of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tests._helpers.folders import files, manifest
from tests._helpers.small_model import SIDE, noise, save
from translate.inference import predictor as predicting
from translate.inference.carrying import STRIP_PIXELS, carry
from translate.inference.folder_options import FolderOptions
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.io.images import UInt8, read_image
from translate.io.tensors import images_from_pixels, pixels_on_host, to_uint8
from translate.models.detail import ColourMaps

Float64 = NDArray[np.float64]


def identity(channels: int, height: int = 4, width: int = 5) -> ColourMaps:
    eye = torch.eye(channels)[:, :, None, None].repeat(1, 1, height, width)
    return ColourMaps(eye, torch.zeros(channels, height, width))


def random_maps(channels: int, seed: int = 0) -> ColourMaps:
    draw = torch.Generator().manual_seed(seed)
    eye, zeros = identity(channels)
    return ColourMaps(
        eye + 0.2 * torch.randn(eye.shape, generator=draw),
        zeros + 0.2 * torch.randn(zeros.shape, generator=draw),
    )


def enlarged(maps: Tensor, height: int, width: int) -> Tensor:
    size = (height, width)
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    return F.interpolate(flat, size, mode="bilinear", align_corners=False).reshape(
        *maps.shape[:-2], *size
    )


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours, with noise as detail."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    fine = rng.integers(-20, 21, (height, width, 1))
    return Image.fromarray((smooth + fine).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("shape", [(3, 7, 3), (64, 50, 1), (1, 1, 3), (40, 2, 3)])
def test_identity_maps_change_no_pixel(shape: tuple[int, int, int]) -> None:
    pixels = noise(*shape)
    assert np.array_equal(carry(identity(shape[2]), pixels), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_strips_meet_without_a_seam(channels: int) -> None:
    width = 2048
    height = 3 * (STRIP_PIXELS // width) + 7
    maps = random_maps(channels)
    pixels = noise(height, width, channels)
    matrices, offsets = (enlarged(numbers, height, width) for numbers in maps)
    whole = (matrices * images_from_pixels(pixels)[None]).sum(1) + offsets
    wanted: UInt8 = pixels_on_host(to_uint8(whole))
    difference = np.abs(carry(maps, pixels).astype(int) - wanted.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_a_large_picture_keeps_its_detail_and_a_small_one_is_the_models(tmp_path: Path) -> None:
    translator = Translator.load(save(tmp_path, detail=True), "cpu")
    through = Translator.load(
        tmp_path / "model.safetensors", "cpu", PredictorOptions(scale="model")
    )
    large = photograph(20 * SIDE, 15 * SIDE)
    small = photograph(SIDE + SIDE // 2, SIDE)
    made, same = translator.translate([large, small], "B")
    blurred, wanted = through.translate([large, small], "B")
    assert np.array_equal(np.asarray(same), np.asarray(wanted))
    assert made.size == large.size

    def detail(image: Image.Image) -> Tensor:
        x = images_from_pixels(np.array(image.convert("L"))[..., None])
        return (x - F.avg_pool2d(x, 3, 1, 1)).flatten()

    def likeness(image: Image.Image) -> float:
        return torch.corrcoef(torch.stack([detail(image), detail(large)]))[0, 1].item()

    assert likeness(made) > 0.25
    assert abs(likeness(blurred)) < 0.15


def test_a_file_is_translated_as_a_picture_in_memory(tmp_path: Path) -> None:
    translator = Translator.load(save(tmp_path, detail=True), "cpu")
    large = photograph(10 * SIDE, 8 * SIDE)
    (tmp_path / "in").mkdir()
    large.save(tmp_path / "in" / "a.png")
    done = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(style="mean", samples=2)
    )
    assert done.ok == 1
    first, second = translator.translate([large], "B", style="mean", samples=2)
    for name, image in (("a_1.png", first), ("a_2.png", second)):
        found = read_image(tmp_path / "out" / name).pixels.astype(int)
        assert np.abs(found - np.asarray(image)).max() <= 1

    x = images_from_pixels(np.array(large))[None]
    tensor = translator.translate(x, "B", style="mean")
    wanted = images_from_pixels(np.array(first))[None]
    # the tensor is made smaller by another filter, so that its maps are a little different
    assert (tensor - wanted).abs().mean() < 0.05


def test_a_file_that_changes_on_the_way_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = Translator.load(save(tmp_path, detail=True), "cpu")
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.png"
    photograph(10 * SIDE, 8 * SIDE).save(path)
    predict_stream = translator.predictor.predict_stream

    def replaced(*arguments: object, **options: object) -> object:
        for item in predict_stream(*arguments, **options):  # type: ignore[arg-type]
            photograph(9 * SIDE, 8 * SIDE).save(path)
            yield item

    monkeypatch.setattr(translator.predictor, "predict_stream", replaced)
    done = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert [name for name, _ in done.failures] == ["a.png"]
    assert "changed" in done.failures[0][1]


def test_models_without_detail_translate_as_before(tmp_path: Path) -> None:
    path = save(tmp_path)
    (tmp_path / "in").mkdir()
    photograph(10 * SIDE, 8 * SIDE).save(tmp_path / "in" / "a.png")
    auto = Translator.load(path, "cpu")
    model = Translator.load(path, "cpu", PredictorOptions(scale="model"))
    assert auto.predictor.cache_key == model.predictor.cache_key
    for name, translator in (("auto", auto), ("model", model)):
        translator.translate_folder(tmp_path / "in", tmp_path / name, "B")
    assert files(tmp_path / "auto") == files(tmp_path / "model")
    asked = Translator.load(path, "cpu", PredictorOptions(scale="detail"))
    assert asked.translate_folder(tmp_path / "in", tmp_path / "asked", "B").ok == 1
    assert files(tmp_path / "asked") != files(tmp_path / "model")


def test_what_maps_cannot_carry_is_said_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "LARGE_SHARE", 0.02)  # random weights draw few shapes
    translator = Translator.load(save(tmp_path), "cpu", PredictorOptions(scale="detail"))
    (tmp_path / "in").mkdir()
    photograph(10 * SIDE, 8 * SIDE).save(tmp_path / "in" / "a.png")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    (warning,) = manifest(tmp_path / "out")["a.png"]["warnings"]
    assert "native" in warning
    translator.translate_folder(
        tmp_path / "in", tmp_path / "own", "A", FolderOptions(source="A", style="own")
    )
    assert manifest(tmp_path / "own")["a.png"]["warnings"] == []
    assert np.array_equal(
        read_image(tmp_path / "own" / "a.png").pixels,
        read_image(tmp_path / "in" / "a.png").pixels,
    )


def test_a_small_picture_is_not_warned_of_what_is_not_carried_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "LARGE_SHARE", -1)
    translator = Translator.load(save(tmp_path, detail=True), "cpu")
    (tmp_path / "in").mkdir()
    photograph(10 * SIDE, 8 * SIDE).save(tmp_path / "in" / "large.png")
    photograph(SIDE, SIDE).save(tmp_path / "in" / "small.png")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    lines = manifest(tmp_path / "out")
    assert len(lines["large.png"]["warnings"]) == 1
    assert lines["small.png"]["warnings"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", "half"),
        ("tile", 0),
        ("precision", "fp16"),
        ("background", (0, 0, 256)),
        ("strength", 0.0),
        ("strength", 2.5),
        ("strength", float("nan")),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"--{name}"):
        predicting.PredictorOptions(**{name: value})  # type: ignore[arg-type]


def test_a_reconstruction_is_the_models_own(tmp_path: Path) -> None:
    translator = Translator.load(save(tmp_path, detail=True), "cpu")
    through = Translator.load(
        tmp_path / "model.safetensors", "cpu", PredictorOptions(scale="model")
    )
    large = np.array(photograph(10 * SIDE, 8 * SIDE))
    (found,) = translator.translate([large], "A", style="own")
    (wanted,) = through.translate([large], "A", style="own")
    assert np.array_equal(found, wanted)
    assert np.abs(found.astype(int) - large).mean() > 5


def test_one_latent_has_no_detail_to_carry(tmp_path: Path) -> None:
    path = save(tmp_path, domains=("A",), content_channels=0, warp=0, align=False)
    with pytest.raises(ValueError, match="--scale detail"):
        Translator.load(path, "cpu", PredictorOptions(scale="detail"))
    Translator.load(path, "cpu")


@pytest.mark.parametrize("scale", ["auto", "model", "native"])
def test_half_the_strength_is_half_of_the_change(tmp_path: Path, scale: str) -> None:
    """Of a large picture by maps, of a small one in the network, and in strips."""
    path = save(tmp_path, detail=True)
    pictures = [photograph(10 * SIDE, 8 * SIDE), photograph(SIDE + SIDE // 2, SIDE)]
    grayish = [image.point(lambda level: 96 + level // 4) for image in pictures]

    def made(strength: float) -> list[Float64]:
        options = PredictorOptions(scale=scale, tile=16, strength=strength)
        translator = Translator.load(path, "cpu", options)
        images = translator.translate(grayish, "B", style="mean")
        return [np.asarray(image, np.float64) for image in images]

    # with next to none, what has passed through the training size and back is seen
    for x, half, whole in zip(made(1e-6), made(0.1), made(0.2), strict=True):
        assert 0 < whole.min() < whole.max() < 255, "nothing is clipped"
        assert np.abs(whole - x).mean() > 4
        # at the training size levels are rounded, and enlarging makes more of it
        assert np.abs(half - (x + whole) / 2).max() <= (3 if scale == "model" else 1)


def test_strength_is_part_of_what_outputs_depend_on(tmp_path: Path) -> None:
    path = save(tmp_path, detail=True)
    keys = [
        Translator.load(path, "cpu", PredictorOptions(strength=strength)).predictor.cache_key
        for strength in (1.0, 0.5, 0.25)
    ]
    assert len(set(keys)) == 3
    assert keys[0] == Translator.load(path, "cpu").predictor.cache_key


def test_there_is_no_strength_where_pictures_are_drawn_anew(tmp_path: Path) -> None:
    path = save(tmp_path)
    with pytest.raises(ValueError, match="--strength.*--scale detail"):
        Translator.load(path, "cpu", PredictorOptions(strength=0.5))
    large = photograph(10 * SIDE, 8 * SIDE)
    made = [
        np.asarray(
            Translator.load(
                path, "cpu", PredictorOptions(scale="detail", strength=strength)
            ).translate([large], "B", style="mean")[0],
            float,
        )
        for strength in (1e-6, 0.5, 1.0)
    ]
    assert np.array_equal(made[0], np.asarray(large))
    clear = ((made[2] > 0) & (made[2] < 255)).all(-1)
    assert np.abs(made[1] - (made[0] + made[2]) / 2)[clear].max() <= 1
