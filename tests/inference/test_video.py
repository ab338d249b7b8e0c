"""Raw video through a model, stream to stream."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests._helpers.folders import build
from translate.inference import video as module
from translate.inference.styles import style_source
from translate.inference.translator import Translator
from translate.inference.video import VideoOptions, translate_video
from translate.io.images import Picture, UInt8

WIDTH, HEIGHT = 40, 24


def clip(count: int) -> UInt8:
    """Frames of noise, (N, H, W, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


def options(translator: Translator, style: str = "random") -> VideoOptions:
    style_of = style_source(translator.predictor, style, "B")
    return VideoOptions((WIDTH, HEIGHT), (0, 1), style_of("-"))


def run(translator: Translator, data: bytes, video: VideoOptions) -> tuple[UInt8, list[int]]:
    sink = BytesIO()
    counts: list[int] = []
    translate_video(translator.predictor, BytesIO(data), sink, video, counts.append)
    return np.frombuffer(sink.getvalue(), np.uint8).reshape(-1, HEIGHT, WIDTH, 3), counts


@pytest.mark.parametrize("scale", ["model", "detail", "native"])
def test_frames_are_those_of_a_translator(tmp_path: Path, scale: str) -> None:
    translator = build(tmp_path, scale=scale)
    frames = clip(7)
    made, counts = run(translator, frames.tobytes(), options(translator, "mean"))
    expected = translator.translate([Image.fromarray(frame) for frame in frames], "B", style="mean")
    assert np.array_equal(made, np.stack([np.asarray(image) for image in expected]))
    assert counts == [1, 2, 3, 4, 5, 6, 7]


def test_one_style_for_the_whole_clip(translator: Translator) -> None:
    frames = clip(1)
    made, _ = run(translator, frames.tobytes() * 3, options(translator))
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])
    other, _ = run(translator, frames.tobytes(), options(translator, "mean"))
    assert not np.array_equal(made[0], other[0])


def test_a_pan_is_steadier_in_one_style_than_in_many(tmp_path: Path) -> None:
    """A window that moves by a pixel a frame: how much a point changes from frame to frame."""
    translator = build(tmp_path, scale="detail")
    coarse = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    still = np.asarray(Image.fromarray(coarse).resize((60, HEIGHT), Image.Resampling.BICUBIC))
    frames = np.stack([still[:, i : i + WIDTH] for i in range(12)])
    one, _ = run(translator, frames.tobytes(), options(translator))
    images = translator.translate([Image.fromarray(frame) for frame in frames], "B", style="random")
    many = np.stack([np.asarray(image) for image in images])

    def flicker(clip: UInt8) -> float:
        moved = clip[1:, :, :-1].astype(int) - clip[:-1, :, 1:]
        return float(np.abs(moved).mean())

    assert flicker(frames) == 0
    assert flicker(one) < 0.7 * flicker(many)


def test_a_gray_model_writes_gray_in_three_channels(tmp_path: Path) -> None:
    translator = build(tmp_path, channels=1)
    made, _ = run(translator, clip(2).tobytes(), options(translator))
    assert made.shape == (2, HEIGHT, WIDTH, 3)
    assert np.array_equal(made[..., 0], made[..., 2])


def test_a_part_of_a_frame_is_an_error_after_the_whole_ones(translator: Translator) -> None:
    sink = BytesIO()
    data = clip(3).tobytes()[:-5]
    with pytest.raises(ValueError, match=r"--rgb24 40x24: .*frame 3, after 2875 of 2880 bytes"):
        translate_video(
            translator.predictor, BytesIO(data), sink, options(translator), lambda _: None
        )
    assert len(sink.getvalue()) == 2 * HEIGHT * WIDTH * 3
    with pytest.raises(ValueError, match="no frames on standard input"):
        run(translator, b"", options(translator))
    with pytest.raises(ValueError, match="at least 1x1"):
        VideoOptions((0, 4), (0, 1), torch.zeros(1, 1))


def test_few_frames_are_held_however_long_the_clip(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = 0
    most = 0

    class Counted(Picture):
        def __init__(self, *values: object) -> None:
            nonlocal alive, most
            super().__init__(*values)  # type: ignore[arg-type]
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    monkeypatch.setattr(module, "Picture", Counted)
    made, _ = run(translator, clip(120).tobytes(), options(translator))
    assert len(made) == 120
    assert most <= 2 * torch.get_num_threads() + 4
