"""Samples follow from the seed and their number alone; interpolations end at the reconstructions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.folders import build, draw
from tests._helpers.small_model import SIDE
from translate.inference.sampling import BATCH, interpolate, read_square, sample
from translate.inference.styles import generator
from translate.inference.translator import Translator
from translate.io import images as writing
from translate.io.images import UInt8, read_image, write_gif
from translate.io.tensors import images_from_pixels


def images(count: int, seed: int = 0) -> UInt8:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def furthest(a: UInt8, b: UInt8) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_an_image_does_not_know_how_many_there_are(translator: Translator, tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "in" / f"{i}.png", 20, 30, seed=i)
    for content in ("prior", tmp_path / "in"):
        many = list(sample(translator.predictor, "B", BATCH + 3, seed=1, content=content))
        assert len(many) == BATCH + 3
        assert many[0].shape == (SIDE, SIDE, 3)
        for count in (1, 2, BATCH, BATCH + 1):
            few = list(sample(translator.predictor, "B", count, seed=1, content=content))
            assert all(np.array_equal(a, b) for a, b in zip(few, many[:count], strict=True)), count
        assert len({image.tobytes() for image in many}) == BATCH + 3, "every image is another"
        others = list(sample(translator.predictor, "B", 1, seed=2, content=content))
        assert not np.array_equal(others[0], many[0]), "and every seed"
        assert not np.array_equal(
            next(sample(translator.predictor, "A", 1, seed=1, content=content)), many[0]
        ), "and domain"


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
            expected = translator.predictor.model.decoder(z_c, z_s, y, y)[0].permute(1, 2, 0)
            (made,) = sample(translator.predictor, "B", 1, seed=5, content=content)
            assert (
                np.abs(images_from_pixels(made).movedim(0, -1).numpy() - expected.numpy()).max()
                < 1.1 / 127.5
            )


def test_what_cannot_be_sampled(translator: Translator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--count 0: must be at least 1"):
        sample(translator.predictor, "B", 0)
    with pytest.raises(ValueError, match="C: no domain of this model, which knows A, B"):
        sample(translator.predictor, "C", 1)
    with pytest.raises(ValueError, match="no pictures; use prior or name another folder"):
        sample(translator.predictor, "B", 1, content=tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="a.png: empty file; fix the file or name another"):
        list(sample(translator.predictor, "B", 1, content=tmp_path))


def test_interpolations_end_at_the_reconstructions(translator: Translator) -> None:
    first, second = images(2)
    made = interpolate(translator.predictor, first, second, "B", steps=5)
    assert made.shape == (3, 5, SIDE, SIDE, 3)
    again = translator.translate([first, second], "B", style="own")
    for row in made:
        assert furthest(row[0], again[0]) <= 1
    assert furthest(made[2, -1], again[1]) <= 1
    crossed = translator.predictor.model
    with torch.inference_mode():
        x = images_from_pixels(np.stack([first, second]))
        y = torch.tensor([1, 1])
        c = crossed.encoder.content(x, y).mu
        s = crossed.encoder.style(x, y).mu
        ends = crossed.decoder(c.flip(0), s, y, y)
        middle = crossed.decoder(c.mean(0, keepdim=True), s.mean(0, keepdim=True), y[:1], y[:1])
    assert np.abs(images_from_pixels(made[0, -1]).numpy() - ends[0].numpy()).max() < 1.1 / 127.5, (
        "the second's content, the first's style"
    )
    assert np.abs(images_from_pixels(made[1, -1]).numpy() - ends[1].numpy()).max() < 1.1 / 127.5, (
        "and the reverse"
    )
    assert np.abs(images_from_pixels(made[2, 2]).numpy() - middle[0].numpy()).max() < 1.1 / 127.5


def test_in_another_domain_styles_are_draws(translator: Translator) -> None:
    first, second = images(2)
    made = interpolate(translator.predictor, first, second, "A", "B", steps=3, seed=7)
    assert np.array_equal(
        made, interpolate(translator.predictor, first, second, "A", "B", steps=3, seed=7)
    )
    assert not np.array_equal(
        made, interpolate(translator.predictor, first, second, "A", "B", steps=3, seed=8)
    )
    z_s = torch.randn(4, generator=generator(7, "style", 1))
    with torch.inference_mode():
        x = images_from_pixels(second)[None]
        end = translator.predictor.model.translate(x, 0, 1, z_s[None])[0]
    assert np.abs(images_from_pixels(made[2, -1]).numpy() - end.numpy()).max() < 1.1 / 127.5
    assert np.array_equal(
        interpolate(translator.predictor, first, second, "A", "A", 3),
        interpolate(translator.predictor, first, second, "A", steps=3),
    )
    with pytest.raises(ValueError, match="--steps 1: must be at least 2"):
        interpolate(translator.predictor, first, second, "A", steps=1)
    with pytest.raises(ValueError, match="C: no domain"):
        interpolate(translator.predictor, first, second, "A", "C")


def test_the_sample_command(tmp_path: Path) -> None:
    build(tmp_path)
    for i in range(3):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    words = [
        "sample",
        str(tmp_path / "model.safetensors"),
        str(tmp_path / "o"),
        "--domain",
        "A",
        "--count",
        "10",
    ]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["content"], said["style"], said["count"]) == ("prior", "prior", 10)
    names = sorted(path.name for path in (tmp_path / "o" / "images").iterdir())
    assert names == [f"{i:06}.png" for i in range(10)]
    with Image.open(tmp_path / "o" / "grid.png") as image:
        assert image.size == (8 * 66 + 2, 2 * 66 + 2)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "holds files already; choose another folder" in done.stderr
    words[2] = str(tmp_path / "p")
    done = CliRunner().invoke(app, [*words, "--content", str(tmp_path / "in"), "--seed", "3"])
    assert done.exit_code == 0
    assert f"content from the encoded pictures of {tmp_path / 'in'}" in done.stdout
    words[2] = str(tmp_path / "q")
    done = CliRunner().invoke(app, [*words, "--content", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "no pictures" in done.stderr
    assert not (tmp_path / "q").exists()


def test_an_interrupted_sample_command_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    out = tmp_path / "o"
    write = writing.write_image
    words = ["sample", str(tmp_path / "model.safetensors"), str(out), "--domain", "A", "--count"]

    def interrupted(path: Path, *rest: Any) -> None:
        if path.name == "000005.png":
            raise KeyboardInterrupt
        write(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_image", interrupted)
        assert CliRunner().invoke(app, [*words, "10"]).exit_code != 0
    assert not (out / "images").exists()
    assert not (out / "grid.png").exists()
    (out / "images").mkdir()
    for left in out.glob(".introshift-*"):
        pytest.fail(f"{left.name} is left")
    stale = out / ".introshift-images.part" / "000009.png"  # of a run that was killed
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    done = CliRunner().invoke(app, [*words, "3"])
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["grid.png", "images"]
    assert sorted(path.name for path in (out / "images").iterdir()) == [
        f"{i:06}.png" for i in range(3)
    ]


def test_the_interpolate_command(tmp_path: Path) -> None:
    predictor = build(tmp_path).predictor
    first, second = (str(draw(tmp_path / f"{i}.png", 30, 20, seed=i)) for i in range(2))
    words = [
        "interpolate",
        str(tmp_path / "model.safetensors"),
        first,
        second,
        str(tmp_path / "o.png"),
    ]
    more = ["--domain", "A", "--steps", "5", "--gif", str(tmp_path / "o.gif"), "--json"]
    done = CliRunner().invoke(app, [*words, *more])
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["rows"], said["steps"], said["to"]) == (["content", "style", "both"], 5, "A")
    with Image.open(tmp_path / "o.gif") as image:
        assert (image.size, getattr(image, "n_frames", 1)) == ((3 * 66 + 2, 66 + 2), 2 * 5 - 2)
    a, b = (read_square(Path(path), predictor) for path in (first, second))
    made = interpolate(predictor, a, b, "A", steps=5)
    with Image.open(tmp_path / "o.png") as image:
        corner = np.asarray(image)[-66:-2:4, -66:-2:4]
    assert np.array_equal(corner, made[2, -1])
    for wrong, message in (
        (["--domain", "C"], "C: no domain"),
        (["--domain", "A", "--gif", "x.png"], "x.png: an anim"),
    ):
        done = CliRunner().invoke(app, [*words, *wrong])
        assert done.exit_code == 2
        assert message in done.stderr
    (tmp_path / "1.png").write_bytes(b"")
    done = CliRunner().invoke(app, [*words, "--domain", "A"])
    assert done.exit_code == 2
    assert "1.png: empty file" in done.stderr


def test_an_animation_is_whole_or_not_there(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", images(3), milliseconds=40)
    with Image.open(tmp_path / "a.gif") as image:
        assert (getattr(image, "n_frames", 1), image.info["duration"], image.info["loop"]) == (
            3,
            40,
            0,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]
