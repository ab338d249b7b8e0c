"""Native scale: strips give what the whole image gives, in memory that does not grow with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests._helpers.folders import build, draw, files, manifest, opened
from translate.config import from_dict
from translate.inference.folder_options import FolderOptions
from translate.inference.predictor_options import PredictorOptions
from translate.inference.tiling import Map
from translate.inference.translator import Translator
from translate.io.images import UInt8
from translate.models.checkpoint import save_model
from translate.models.networks import Model


def vivid_model(
    where: Path,
    preset: str,
    warp: float,
    channels: int = 3,
    apart: bool = False,
    detail: bool = False,
    pixel_channels: int = 0,
) -> Path:
    """A model whose every weight matters, so that a wrong border or statistic cannot hide."""
    model_options = {
        "preset": preset,
        "width": 8,
        "condition": 8,
        "warp": warp,
        "detail": detail,
        "pixel_channels": pixel_channels,
    }
    config = from_dict({"data": {"size": 32, "channels": channels}, "model": model_options})
    torch.manual_seed(1)
    model = Model(config)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5 if weight.ndim < 3 else 1.3 / weight[0].numel() ** 0.5)
    if apart:
        model.decoder.domain_affine[1] = torch.tensor([[0.33, 0.05, 0.52], [0.0, 0.25, 0.45]])
    save_model(where / "vivid.safetensors", model, config, {})
    return where / "vivid.safetensors"


def scene(height: int, width: int, channels: int = 3) -> UInt8:
    """Noise, dark above and bright below: statistics of a part differ from those of the whole."""
    pixels = np.random.default_rng(height).integers(
        0, 256, (height, width, channels), dtype=np.uint8
    )
    pixels[: height // 2] //= 4
    return pixels


def largest_difference(a: UInt8, b: UInt8) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize(
    ("preset", "warp", "pixel_channels"),
    [("tiny", 0.3, 0), ("tiny", 1.0, 0), ("small", 0.0, 0), ("base", 0.3, 0), ("base", 0.0, 5)],
)
@pytest.mark.parametrize("tile", [24, 90])
def test_strips_equal_the_whole(
    tmp_path: Path, preset: str, warp: float, pixel_channels: int, tile: int
) -> None:
    path = vivid_model(tmp_path, preset, warp, apart=tile == 90, pixel_channels=pixel_channels)
    image = scene(173, 117)
    whole, strips = (
        Translator.load(path, "cpu", PredictorOptions(scale="native", tile=side)).translate(
            [image], "B", style="random", samples=2
        )
        for side in (4096, tile)
    )
    for one, other in zip(whole, strips, strict=True):
        assert one.shape == other.shape == image.shape
        assert one.std() > 20
        assert largest_difference(one, other) <= 1
    assert largest_difference(*whole) > 20
    halves = Translator.load(path, "cpu", PredictorOptions(scale="native")).translate(
        [image[:86], image[86:]], "B", style="random"
    )
    difference = largest_difference(np.concatenate(halves), whole[0])
    assert difference > 20, "this test notices if statistics are those of parts"


@pytest.mark.parametrize("tile", [24, 90])
def test_strips_carry_the_change_by_the_same_colour_maps_as_the_whole(
    tmp_path: Path, tile: int
) -> None:
    path = vivid_model(tmp_path, "small", 0.0, detail=True)
    image = scene(173, 117)
    (whole,), (strips,) = (
        Translator.load(path, "cpu", PredictorOptions(scale="native", tile=side)).translate(
            [image], "B", style="random"
        )
        for side in (4096, tile)
    )
    assert largest_difference(whole, strips) <= 1
    assert largest_difference(whole, image) > 20


def test_no_strip_is_larger_than_a_tile_of_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = vivid_model(tmp_path, "tiny", 0.3)
    read = Map.read
    most = []

    def counted(self: Map, a: int, b: int) -> torch.Tensor:
        most[-1] = max(most[-1], self.shape[1] * (b - a) * self.shape[3])
        return read(self, a, b)

    monkeypatch.setattr(Map, "read", counted)
    translator = Translator.load(path, "cpu", PredictorOptions(scale="native", tile=64))
    for height in (128, 512):
        most.append(0)
        translator.translate([scene(height, 96)], "B")
    assert most[1] <= most[0] * 1.1


def test_a_full_disk_of_temporary_files_fails_one_picture_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    translator = Translator.load(
        vivid_model(tmp_path, "tiny", 0.3), "cpu", PredictorOptions(scale="native", tile=16)
    )
    with pytest.raises(ValueError, match="TMPDIR"):
        translator.translate([scene(40, 40)], "B")
    draw(tmp_path / "in" / "a.png", 40, 40)
    draw(tmp_path / "in" / "b.png", 12, 12)
    done = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert done.ok == 1
    assert "TMPDIR" in done.failures[0][1]


def test_an_unsupported_operation_is_refused() -> None:
    with pytest.raises(AssertionError, match="strips"):
        F.softmax(Map.of_image(scene(8, 8), 4, torch.device("cpu")), dim=1)  # type: ignore[arg-type]


def test_native_images_of_all_sizes_keep_their_size(tmp_path: Path) -> None:
    translator = Translator.load(
        vivid_model(tmp_path, "tiny", 0.3), "cpu", PredictorOptions(scale="native", tile=32)
    )
    sizes = [(1, 1), (1, 70), (3, 5), (32, 32), (33, 31), (200, 9)]
    for i, size in enumerate(sizes):
        draw(tmp_path / "in" / f"{i}.png", *size, mode="RGBA" if i % 2 else "RGB", seed=i)
    assert translator.translate_folder(tmp_path / "in", tmp_path / "out", "B").ok == len(sizes)
    for i, size in enumerate(sizes):
        assert opened(tmp_path / "out" / f"{i}.png").size == size
        assert manifest(tmp_path / "out")[f"{i}.png"]["warnings"] == []  # nothing is squeezed
    translator.translate_folder(
        tmp_path / "in", tmp_path / "four", "B", FolderOptions(workers=1, batch_size=8)
    )
    assert files(tmp_path / "out") == files(tmp_path / "four")


def test_native_tensors_equal_arrays(tmp_path: Path) -> None:
    translator = Translator.load(
        vivid_model(tmp_path, "tiny", 0.3), "cpu", PredictorOptions(scale="native")
    )
    image = scene(37, 50)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    y = translator.translate(x, "B")
    assert y.shape == x.shape
    (expected,) = translator.translate([image], "B")
    made = ((y[0].permute(1, 2, 0).numpy() + 1) * 127.5 + 0.5).astype(np.uint8)
    assert largest_difference(made, expected) <= 1


def test_skip_existing_compares_the_scale(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", 40, 40)
    outputs = []
    options = FolderOptions(skip_existing=True)
    for scale in ("model", "native", "model"):
        translator = build(tmp_path, scale=scale)
        assert translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options).ok == 1
        outputs.append(files(tmp_path / "out")["a.png"])
    assert outputs[0] == outputs[2] != outputs[1]
