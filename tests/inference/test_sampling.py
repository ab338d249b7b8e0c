"""Samples are batch-invariant; interpolations end at the reconstructions."""

from __future__ import annotations

import json
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests._helpers.commands import call
from tests._helpers.folders import build, draw, opened
from tests._helpers.small_model import SIDE, save
from translate.inference.predictor import Predictor
from translate.inference.sampling import BATCH, interpolate, read_square, sample
from translate.inference.styles import generator
from translate.inference.translator import Translator
from translate.io import images as writing
from translate.io.images import UInt8, read_image, write_gif
from translate.io.tensors import images_from_pixels


def images(count: int, seed: int = 0) -> UInt8:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def largest_difference(a: UInt8, b: UInt8) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def is_close(pixels: UInt8, image: torch.Tensor) -> bool:
    """Whether pixels (H, W, C) are an image (C, H, W) in [-1, 1], up to rounding."""
    difference = images_from_pixels(pixels).numpy() - image.numpy()
    return bool(np.abs(difference).max() < 1.1 / 127.5)


def test_samples_are_batch_invariant(translator: Translator, tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "in" / f"{i}.png", 20, 30, seed=i)
    for content in ("prior", tmp_path / "in"):
        many = list(sample(translator.predictor, "B", BATCH + 3, seed=1, content=content))
        assert len(many) == BATCH + 3
        assert many[0].shape == (SIDE, SIDE, 3)
        for count in (1, 2, BATCH, BATCH + 1):
            few = list(sample(translator.predictor, "B", count, seed=1, content=content))
            assert all(np.array_equal(a, b) for a, b in zip(few, many[:count], strict=True)), count
        assert len({image.tobytes() for image in many}) == BATCH + 3, "each sample differs"
        of_seed = next(sample(translator.predictor, "B", 1, seed=2, content=content))
        assert not np.array_equal(of_seed, many[0]), "for each seed"
        of_domain = next(sample(translator.predictor, "A", 1, seed=1, content=content))
        assert not np.array_equal(of_domain, many[0]), "and domain"


def test_samples_are_decoded_draws(translator: Translator, tmp_path: Path) -> None:
    def normal(what: str, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator(5, what, 0))[None]

    picture = draw(tmp_path / "in" / "a.png", seed=4)
    x = images_from_pixels(read_image(picture).pixels)[None]
    y = torch.tensor([1])
    with torch.inference_mode():
        noise = normal("content", 8, SIDE // 2, SIDE // 2)
        z_s = normal("style", 4)
        q = translator.predictor.model.encoder.content(x, y)
        for z_c, content in (
            (noise, "prior"),
            (q.mu + q.logvar.exp().sqrt() * noise, str(tmp_path / "in")),
        ):
            expected = translator.predictor.model.decoder(z_c, z_s, y, y)[0]
            (made,) = sample(translator.predictor, "B", 1, seed=5, content=content)
            assert is_close(made, expected)


def trained_on(translator: Translator, root: Path) -> Predictor:
    """The predictor as if its training pictures lay below a folder."""
    predictor = copy(translator.predictor)
    data = predictor.config.data.model_copy(update={"root": str(root), "domains": {"B": "b"}})
    predictor.config = predictor.config.model_copy(update={"data": data})
    return predictor


def test_content_is_by_default_that_of_the_training(translator: Translator, tmp_path: Path) -> None:
    predictor = trained_on(translator, tmp_path)
    with pytest.raises(ValueError, match="b: .*--content"):
        sample(predictor, "B", 1)
    draw(tmp_path / "b" / "a.png", seed=4)
    (made,) = sample(predictor, "B", 1)
    assert np.array_equal(made, next(sample(predictor, "B", 1, content=tmp_path / "b")))
    assert not np.array_equal(made, next(sample(predictor, "B", 1, content="prior")))


def test_wrong_arguments_of_sampling_are_refused(translator: Translator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--count 0"):
        sample(translator.predictor, "B", 0, content="prior")
    with pytest.raises(ValueError, match=r"\bC: .*A and B"):
        sample(translator.predictor, "C", 1, content="prior")
    with pytest.raises(ValueError, match=f"{tmp_path.name}: no pictures"):
        sample(translator.predictor, "B", 1, content=tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.png: empty file"):
        list(sample(translator.predictor, "B", 1, content=tmp_path))


def test_interpolations_end_at_the_reconstructions(translator: Translator) -> None:
    first, second = images(2)
    made = interpolate(translator.predictor, first, second, "B", steps=5)
    assert made.shape == (3, 5, SIDE, SIDE, 3)
    again = translator.translate([first, second], "B", style="own")
    for row in made:
        assert largest_difference(row[0], again[0]) <= 1
    assert largest_difference(made[2, -1], again[1]) <= 1
    model = translator.predictor.model
    with torch.inference_mode():
        x = images_from_pixels(np.stack([first, second]))
        y = torch.tensor([1, 1])
        c = model.encoder.content(x, y).mu
        s = model.encoder.style(x, y).mu
        ends = model.decoder(c.flip(0), s, y, y)
        middle = model.decoder(c.mean(0, keepdim=True), s.mean(0, keepdim=True), y[:1], y[:1])
    assert is_close(made[0, -1], ends[0]), "the second's content, the first's style"
    assert is_close(made[1, -1], ends[1]), "and the reverse"
    assert is_close(made[2, 2], middle[0])


def test_interpolations_in_another_domain_draw_their_styles(translator: Translator) -> None:
    first, second = images(2)
    made, again, other = (
        interpolate(translator.predictor, first, second, "A", "B", steps=3, seed=seed)
        for seed in (7, 7, 8)
    )
    assert np.array_equal(made, again)
    assert not np.array_equal(made, other)
    z_s = torch.randn(4, generator=generator(7, "style", 1))
    with torch.inference_mode():
        x = images_from_pixels(second)[None]
        end = translator.predictor.model.translate(x, 0, 1, z_s[None])[0]
    assert is_close(made[2, -1], end)
    assert np.array_equal(
        interpolate(translator.predictor, first, second, "A", "A", 3),
        interpolate(translator.predictor, first, second, "A", steps=3),
    )
    with pytest.raises(ValueError, match="--steps 1"):
        interpolate(translator.predictor, first, second, "A", steps=1)
    with pytest.raises(ValueError, match=r"\bC: "):
        interpolate(translator.predictor, first, second, "A", "C")


def test_the_sample_command(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    model = save(tmp_path)
    arguments = ["sample", model, tmp_path / "out", "--domain", "A", "--count", 10]
    exit_code, stdout, stderr = call(*arguments, "--content", tmp_path / "in", "--json")
    assert exit_code == 0, stderr
    summary = json.loads(stdout)
    assert (summary["content"], summary["style"]) == (str(tmp_path / "in"), "prior")
    assert summary["count"] == 10
    names = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert names == [f"{i:06}.png" for i in range(10)]
    assert opened(tmp_path / "out" / "grid.png").size == (8 * 66 + 2, 2 * 66 + 2)

    exit_code, _, stderr = call(*arguments, "--content", "prior")
    assert exit_code == 2
    assert "images: holds files" in stderr


def test_the_sample_command_without_pictures_for_content(tmp_path: Path) -> None:
    arguments = ["sample", save(tmp_path), tmp_path / "out", "--domain", "A"]
    for options, named in (([], "--content"), (["--content", tmp_path / "none"], "none: ")):
        exit_code, stdout, stderr = call(*arguments, *options)
        assert (exit_code, stdout) == (2, "")
        assert named in stderr
        assert not (tmp_path / "out").exists()

    exit_code, stdout, stderr = call(*arguments, "--content", "prior", "--count", 1, "--json")
    assert exit_code == 0, stderr
    assert json.loads(stdout)["content"] == "prior"


def test_an_interrupted_sample_command_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write = writing.write_image
    arguments = ["sample", save(tmp_path), out, "--domain", "A", "--content", "prior", "--count"]

    def interrupted(path: Path, *rest: Any) -> None:
        if path.name == "000005.png":
            raise KeyboardInterrupt
        write(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_image", interrupted)
        exit_code, _, _ = call(*arguments, 10)
    assert exit_code != 0
    assert not (out / "images").exists()
    assert not (out / "grid.png").exists()
    assert not list(out.glob(".introshift-*"))

    (out / "images").mkdir()
    stale = out / ".introshift-images.part" / "000009.png"  # of a run that was killed
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    exit_code, _, stderr = call(*arguments, 3)
    assert exit_code == 0, stderr
    assert sorted(path.name for path in out.iterdir()) == ["grid.png", "images"]
    names = sorted(path.name for path in (out / "images").iterdir())
    assert names == [f"{i:06}.png" for i in range(3)]


def test_the_interpolate_command(tmp_path: Path) -> None:
    predictor = build(tmp_path).predictor
    model = tmp_path / "model.safetensors"
    first, second = (draw(tmp_path / f"{i}.png", 30, 20, seed=i) for i in range(2))
    animation = tmp_path / "out.gif"
    arguments = ["interpolate", model, first, second, tmp_path / "out.png", "--domain", "A"]
    exit_code, stdout, stderr = call(*arguments, "--steps", 5, "--gif", animation, "--json")
    assert exit_code == 0, stderr
    summary = json.loads(stdout)
    assert summary["rows"] == ["content", "style", "both"]
    assert (summary["steps"], summary["to"]) == (5, "A")
    with Image.open(animation) as image:
        assert image.size == (3 * 66 + 2, 66 + 2)
        assert getattr(image, "n_frames", 1) == 2 * 5 - 2

    a, b = (read_square(path, predictor) for path in (first, second))
    made = interpolate(predictor, a, b, "A", steps=5)
    corner = np.asarray(opened(tmp_path / "out.png"))[-66:-2:4, -66:-2:4]
    assert np.array_equal(corner, made[2, -1])


@pytest.mark.parametrize(
    ("second", "options", "named"),
    [
        ("good.png", ["--domain", "C"], "C: "),
        ("good.png", ["--domain", "A", "--gif", "x.png"], "x.png: "),
        ("empty.png", ["--domain", "A"], "empty.png: "),
    ],
)
def test_the_interpolate_command_refuses_wrong_arguments(
    tmp_path: Path, second: str, options: list[str], named: str
) -> None:
    good = draw(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    out = tmp_path / "out.png"
    words = ["interpolate", save(tmp_path), good, tmp_path / second, out]
    exit_code, _, stderr = call(*words, *options)
    assert exit_code == 2
    assert named in stderr
    assert not out.exists()


def test_an_animation_has_its_frames_and_their_duration(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", list(images(3)), milliseconds=40)
    with Image.open(tmp_path / "a.gif") as image:
        assert getattr(image, "n_frames", 1) == 3
        assert (image.info["duration"], image.info["loop"]) == (40, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]
