"""The Python API: every kind of image comes back as it was given; styles, domains, batches."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests._helpers.small_model import SIDE, noise, save
from translate.config import Config
from translate.inference import styles as module
from translate.inference.domains import Direction
from translate.inference.predictor import Predictor, Translations
from translate.inference.predictor_options import PredictorOptions
from translate.inference.styles import style_source
from translate.inference.translator import Translator
from translate.io.files import sha256
from translate.io.images import Picture, UInt8, read_image
from translate.io.tensors import images_from_pixels
from translate.models.checkpoint import load_model


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def translator(path: Path) -> Translator:
    return Translator.load(path, "cpu")


@pytest.fixture(scope="module")
def gray(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return Translator.load(save(tmp_path_factory.mktemp("gray"), channels=1), "cpu")


def near(a: UInt8, b: UInt8) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b.astype(int)).max()) <= 1


# -- loading --


def test_a_loaded_model_has_its_config_hash_and_summary(path: Path, translator: Translator) -> None:
    assert isinstance(translator.config, Config)
    assert translator.config.data.size == SIDE
    assert translator.predictor.sha256 == sha256(path)
    assert translator.predictor.summary == {"step": 7}


@pytest.mark.parametrize(
    ("device", "precision", "named"), [("cpu", "16", "precision"), ("tpu", "32", "device")]
)
def test_a_wrong_device_or_precision_is_refused(
    path: Path, device: str, precision: str, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Translator.load(path, device, PredictorOptions(precision))


def test_a_missing_model_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        Translator.load(tmp_path / "none")


# -- images of every kind --


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_pil_images_keep_their_size_and_alpha(
    translator: Translator, gray: Translator, mode: str
) -> None:
    image = Image.fromarray(noise(21, 34, 4)).convert(mode)
    alpha = "A" if image.has_transparency_data else ""
    for model, colours in ((translator, "RGB"), (gray, "L")):
        (result,) = model.translate([image], "B")
        assert (result.size, result.mode) == (image.size, colours + alpha)
        if alpha:
            assert (
                result.getchannel("A").tobytes() == image.convert("RGBA").getchannel("A").tobytes()
            )


@pytest.mark.parametrize(
    ("shape", "coloured", "grayed"),
    [
        ((9, 30), (9, 30, 3), (9, 30)),
        ((9, 30, 1), (9, 30, 3), (9, 30, 1)),
        ((40, 16, 3), (40, 16, 3), (40, 16, 1)),
        ((5, 5, 4), (5, 5, 4), (5, 5, 2)),
        ((5, 5, 2), (5, 5, 4), (5, 5, 2)),
    ],
)
def test_arrays_keep_their_size_and_alpha(
    translator: Translator,
    gray: Translator,
    shape: tuple[int, ...],
    coloured: tuple[int, ...],
    grayed: tuple[int, ...],
) -> None:
    image = noise(*shape)
    for model, expected in ((translator, coloured), (gray, grayed)):
        (result,) = model.translate([image], "B")
        assert result.shape == expected
        assert result.dtype == np.uint8
        if shape[-1] in (2, 4):
            assert (result[..., -1] == image[..., -1]).all()


def test_transparent_pixels_are_translated_as_background(translator: Translator) -> None:
    hidden = noise(16, 16, 4)
    hidden[..., 3] = 0
    white = np.full((16, 16, 3), 255, np.uint8)
    (made,) = translator.translate([hidden], "B")
    (expected,) = translator.translate([white], "B")
    assert (made[..., :3] == expected).all()


OPTIONS: list[dict[str, Any]] = [
    {},
    {"precision": "bf16"},
    {"scale": "native"},
    {"scale": "native", "tile": 16},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_pictures_in_memory_are_batch_invariant(path: Path, options: dict[str, Any]) -> None:
    translator = Translator.load(path, "cpu", PredictorOptions(**options))
    sizes = [(1, 1), (16, 16), (50, 200), (17, 16), (16, 16), (3, 400), (32, 32), *[(20, 16)] * 5]
    pictures = [noise(*size, 3, seed=i) for i, size in enumerate(sizes)]
    together = translator.translate(pictures, "B", style="mean")
    backwards = translator.translate(pictures[::-1], "B", style="mean")[::-1]
    for picture, result, other in zip(pictures, together, backwards, strict=True):
        (alone,) = translator.translate([picture], "B", style="mean")
        assert alone.shape == picture.shape
        assert np.array_equal(result, alone)
        assert np.array_equal(other, alone)


def test_a_tensor_equals_the_model_and_the_arrays(path: Path, translator: Translator) -> None:
    pixels = np.stack([noise(SIDE, SIDE, 3, seed=i) for i in range(11)])
    x = images_from_pixels(pixels)
    y = translator.translate(x, "B")
    torch.testing.assert_close(y, load_model(path).model.translate(x, 0, 1), rtol=0, atol=1e-5)
    for one, array in zip(y, translator.translate(list(pixels), "B"), strict=True):
        assert near(array, ((one.permute(1, 2, 0).numpy() + 1) * 127.5 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("shape", [(2, 3, 40, 60), (1, 3, 7, 7), (0, 3, 16, 16)])
def test_a_tensor_keeps_its_size_type_and_range(
    translator: Translator, shape: tuple[int, ...]
) -> None:
    y = translator.translate((torch.rand(shape) * 2 - 1).double(), "B")
    assert y.shape == shape
    assert y.dtype == torch.float64
    assert not y.is_inference()
    assert y.numel() == 0 or y.abs().max() <= 1


@pytest.mark.parametrize("options", OPTIONS)
def test_tensors_are_batch_invariant(path: Path, options: dict[str, Any]) -> None:
    translator = Translator.load(path, "cpu", PredictorOptions(**options))
    x = torch.rand(19, 3, 24, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = translator.translate(x, "B", style="mean", samples=2).unflatten(0, (19, 2))
    for i in (0, 7, 18):
        alone = translator.translate(x[i : i + 1], "B", style="mean", samples=2)
        assert torch.equal(alone, together[i])
    backwards = translator.translate(x.flip(0), "B", style="mean", samples=2)
    assert torch.equal(backwards.unflatten(0, (19, 2)).flip(0), together)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_tensor_with_values_that_are_not_finite_is_refused(
    translator: Translator, value: float
) -> None:
    x = torch.zeros(4, 3, 16, 16)
    x[2, 1, 3, 4] = value
    with pytest.raises(ValueError, match="image 2 of the tensor"):
        translator.translate(x, "B")


@pytest.mark.parametrize("scale", ["model", "native"])
def test_a_tensor_is_made_in_float32_where_bf16_overflows(
    path: Path, monkeypatch: pytest.MonkeyPatch, scale: str
) -> None:
    exact, rough = (
        Translator.load(path, "cpu", PredictorOptions(kind, scale=scale))
        for kind in ("fp32", "bf16")
    )
    forward = Predictor.forward

    def overflow(
        self: Predictor,
        x: torch.Tensor,
        direction: Direction,
        z_s: torch.Tensor,
        dtype: torch.dtype,
        *rest: Any,
    ) -> Translations:
        y = forward(self, x, direction, z_s, dtype, *rest)
        white = (x == 1).flatten(1).all(1)
        overflows = white & (dtype == torch.bfloat16)
        images = y.images.masked_fill(overflows[None, :, None, None, None], float("inf"))
        return y._replace(images=images)

    monkeypatch.setattr(Predictor, "forward", overflow)
    x = torch.zeros(3, 3, 16, 16)
    x[1] = 1
    expected, found = (translator.translate(x, "B") for translator in (exact, rough))
    assert expected.isfinite().all()
    assert torch.equal(found[1], expected[1])
    assert not torch.equal(found[0], expected[0]), "the others stay in bf16"


@pytest.mark.parametrize("options", [{}, {"precision": "bf16"}, {"scale": "native", "tile": 8}])
def test_a_tensor_the_model_cannot_translate_is_an_error(
    path: Path, options: dict[str, Any]
) -> None:
    translator = Translator.load(path, "cpu", PredictorOptions(**options))
    with torch.no_grad():
        for parameter in translator.predictor.model.decoder.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(ValueError, match="image 0 of the tensor: the model's output is not finite"):
        translator.translate(torch.zeros(2, 3, 16, 24), "B")


def test_a_large_tensor_at_native_size_is_made_in_strips(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, strips = (
        Translator.load(path, "cpu", PredictorOptions(scale="native", tile=tile))
        for tile in (512, 16)
    )
    x = torch.rand(2, 3, 90, 41, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = whole.translate(x, "B", samples=2, style=noise(16, 16, 3))

    def refuse(*_: object) -> None:
        raise AssertionError("the whole image is given to the model at once")

    monkeypatch.setattr(Predictor, "forward", refuse)
    made = strips.translate(x, "B", samples=2, style=noise(16, 16, 3))
    assert made.shape == (4, 3, 90, 41)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("given_images", "reason"),
    [
        (Image.new("RGB", (9, 9)), "in a list"),
        (noise(9, 9, 3), "in a list"),
        ([noise(9, 9, 3).astype(np.float32)], "float32"),
        ([noise(9, 9, 5)], "shape"),
        ([np.zeros((0, 9), np.uint8)], "shape"),
        ([Image.new("F", (9, 9))], "mode F"),
        (["a.png"], "str"),
        (torch.zeros(1, 3, 9, 9, dtype=torch.uint8), "float tensor"),
        (torch.zeros(1, 1, 9, 9), "float tensor"),
        (torch.zeros(3, 9, 9), "float tensor"),
        (torch.zeros(1, 3, 0, 9), "float tensor"),
    ],
)
def test_anything_but_images_is_refused(
    translator: Translator, given_images: object, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        translator.translate(given_images, "B")  # type: ignore[call-overload]


@given(width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_images_are_resized_to_the_training_size(
    translator: Translator, width: int, height: int
) -> None:
    size = translator.predictor.model_size(width, height)
    stride = translator.config.model.stride
    assert min(size) == SIDE
    assert not any(side % stride for side in size)
    assert max(size) <= 16 * SIDE
    if max(width, height) <= 15 * min(width, height):
        assert abs(max(size) - SIDE * max(width, height) / min(width, height)) <= stride / 2 + 0.5
        assert (size[0] - size[1]) * (width - height) >= 0


# -- domains --


@pytest.mark.parametrize(
    ("to", "source", "reason"),
    [("C", None, "A and B"), ("B", "X", "A and B"), ("B", "B", "both B"), ("a", "A", "both A")],
)
def test_wrong_domains_are_refused(
    translator: Translator, to: str, source: str | None, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        translator.translate([noise(9, 9)], to, source)


def test_three_domains_need_a_source(tmp_path: Path) -> None:
    translator = Translator.load(save(tmp_path, domains=("cat", "dog", "fox")), "cpu")
    with pytest.raises(ValueError, match="cat, fox"):
        translator.translate([noise(9, 9)], "dog")
    images = [
        translator.translate([noise(16, 16, 3)], "dog", source)[0] for source in ("cat", "fox")
    ]
    assert (images[0] != images[1]).any()


def test_directions_differ(translator: Translator) -> None:
    image = noise(16, 16, 3)
    assert (translator.translate([image], "A")[0] != translator.translate([image], "B")[0]).any()


# -- styles --


def test_random_styles_follow_from_seed_and_place(translator: Translator) -> None:
    image = noise(16, 16, 3)
    mean = translator.translate([image], "B")[0]
    four = translator.translate([image] * 2, "B", style="random", seed=1, samples=2)
    again = translator.translate([image] * 3, "B", style="random", seed=1, samples=2)
    other = translator.translate([image] * 2, "B", style="random", seed=2, samples=2)
    kinds = [mean, *four, *other]
    assert len(four) == 4
    assert len({kind.tobytes() for kind in kinds}) == len(kinds)
    assert all(near(a, b) for a, b in zip(four, again[:4], strict=True))


@pytest.mark.parametrize(
    ("styles", "taken"),
    [
        ({"B": "random"}, "random"),
        ({"B": "mean"}, "mean"),
        ({"B": "keep"}, "keep"),
        ({"A": "random"}, "mean"),
        (7, "mean"),
        ({"B": 7}, "mean"),
    ],
)
def test_style_auto_is_what_training_found_best(path: Path, styles: object, taken: str) -> None:
    translator = Translator.load(path, "cpu")
    image = noise(20, 16, 3)
    translator.predictor.summary["styles"] = styles
    found, expected = (
        translator.translate([image] * 2, "B", style=style, seed=3) for style in ("auto", taken)
    )
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert np.array_equal(found[0], found[1]) == (taken != "random")


def test_a_kept_style_is_the_image_s_own_in_the_other_domain(
    path: Path, translator: Translator
) -> None:
    model = load_model(path).model
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = model.translate(x, 0, 1, model.encode_style(x, 0).mu)
    kept = translator.translate(x, "B", style="keep")
    torch.testing.assert_close(kept, expected, rtol=0, atol=1e-5)
    assert (kept - translator.translate(x, "B", style="mean")).abs().max() > 1e-3


def test_exemplars_give_their_style_mean(path: Path, translator: Translator) -> None:
    exemplars = [noise(16, 16, 3, seed=i) for i in (5, 6)]
    x = images_from_pixels(noise(16, 16, 3))[None]
    model = load_model(path).model
    mu = model.encoder.style(images_from_pixels(np.stack(exemplars)), torch.tensor([1, 1])).mu
    one, two = (model.translate(x, 0, 1, z_s) for z_s in (mu[:1], mu[1:]))
    torch.testing.assert_close(
        translator.translate(x, "B", style=exemplars[0]), one, rtol=0, atol=1e-5
    )
    torch.testing.assert_close(
        translator.translate(x, "B", style=Image.fromarray(exemplars[1])), two, rtol=0, atol=1e-5
    )
    listed = translator.translate(x.repeat(2, 1, 1, 1), "B", style=exemplars, samples=2)
    torch.testing.assert_close(listed, torch.cat([one, two, two, one]), rtol=0, atol=1e-5)


def test_a_folder_of_exemplars_is_decoded_in_threads_and_gives_what_each_gives(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exemplars = [noise(16 + i % 3 * 8, 20, 3, seed=i) for i in range(12)]
    for i, exemplar in enumerate(exemplars):
        Image.fromarray(exemplar).save(tmp_path / f"{i:02}.png")
    together = threading.Barrier(3)  # broken when it is waited for one by one

    def read(path: Path) -> Picture:
        together.wait(timeout=20)
        return read_image(path)

    monkeypatch.setattr(module, "usable_cores", lambda: 3)
    monkeypatch.setattr(translator.predictor, "read", read)
    found, expected = (
        style_source(translator.predictor, style, "B", variants=12)(0)
        for style in (tmp_path, exemplars)
    )
    assert torch.equal(found, expected)
    alone = [style_source(translator.predictor, exemplar, "B")(0) for exemplar in exemplars]
    assert torch.equal(found, torch.cat(alone)), "in the order of their names"


def test_exemplars_may_be_files(translator: Translator, tmp_path: Path) -> None:
    exemplar = noise(30, 20, 3, seed=1)
    image = noise(16, 16, 3)
    Image.fromarray(exemplar).save(tmp_path / "e.png")
    (expected,) = translator.translate([image], "B", style=exemplar)
    for style in (str(tmp_path / "e.png"), tmp_path):
        assert (translator.translate([image], "B", style=style)[0] == expected).all()


@pytest.mark.parametrize(
    ("style", "reason"),
    [("nice", "nice"), ([], "no exemplars"), (torch.zeros(1, 3, 9, 9), "Tensor")],
)
def test_wrong_styles_are_refused(translator: Translator, style: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        translator.translate([noise(9, 9)], "B", style=style)  # type: ignore[call-overload]


def test_samples_must_be_positive(translator: Translator) -> None:
    with pytest.raises(ValueError, match="samples"):
        translator.translate([noise(9, 9)], "B", samples=0)
