"""Every content in every style: the cells against single translations, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests._helpers.commands import call
from tests._helpers.folders import build, draw, opened
from tests._helpers.small_model import SIDE, save
from translate.inference.swap import spread_of, swap, swap_figure
from translate.inference.translator import Translator
from translate.io.images import UInt8


def noise(count: int, seed: int) -> UInt8:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("detail", [False, True])
def test_cells_are_single_translations(tmp_path: Path, detail: bool) -> None:
    translator = Translator.load(save(tmp_path, detail=detail), "cpu")
    contents = noise(3, 0)
    styles = noise(2, 1)
    made = swap(translator.predictor.model, contents, styles, 0, 1)
    assert made.shape == (2, 3, SIDE, SIDE, 3)
    for i, style in enumerate(styles):
        alone = translator.translate(list(contents), to="B", style=style)
        assert np.abs(made[i].astype(int) - np.stack(alone).astype(int)).max() <= 1
    assert not np.array_equal(made[0], made[1]), "styles matter"


def test_the_figure_has_contents_above_and_styles_to_the_left(tmp_path: Path) -> None:
    model = build(tmp_path).predictor.model
    contents = noise(3, 0)
    styles = noise(2, 1)
    figure = swap_figure(model, contents, styles, 0, 1)
    scale = 64 // SIDE
    pad = 2
    step = 64 + pad
    assert figure.shape == (3 * step + pad, 4 * step + pad, 3)

    def tile(row: int, column: int) -> UInt8:
        top = pad + row * step
        left = pad + column * step
        return figure[top : top + 64 : scale, left : left + 64 : scale]

    assert (tile(0, 0) == 255).all()
    assert all(np.array_equal(tile(0, 1 + j), contents[j]) for j in range(3))
    assert all(np.array_equal(tile(1 + i, 0), styles[i]) for i in range(2))
    assert np.array_equal(tile(2, 1), swap(model, contents, styles, 0, 1)[1, 0])


def test_pictures_are_taken_evenly_spaced(tmp_path: Path) -> None:
    config = build(tmp_path).config.data
    for i in range(7):
        Image.new("RGB", (SIDE, SIDE), (i, 0, 0)).save(tmp_path / f"{i}.png")
    assert spread_of(tmp_path, 3, config)[:, 0, 0, 0].tolist() == [0, 3, 6]
    assert len(spread_of(tmp_path, 99, config)) == 7
    (tmp_path / "3.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"3\.png: empty file"):
        spread_of(tmp_path, 3, config)
    assert spread_of(tmp_path / "2.png", 3, config)[:, 0, 0, 0].tolist() == [2], "a picture alone"
    with pytest.raises(ValueError, match="none: no pictures"):
        spread_of(tmp_path / "none", 3, config)


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    """The command with a model and two folders of pictures."""
    for i in range(5):
        draw(tmp_path / "a" / f"{i}.png", 30, 20, seed=i)
        draw(tmp_path / "b" / "deep" / f"{i}.png", seed=9 + i)
    return ["swap", save(tmp_path), tmp_path / "a", tmp_path / "b"]


def test_the_swap_command(tmp_path: Path, arguments: list[object]) -> None:
    out = tmp_path / "out.png"
    exit_code, stdout, stderr = call(*arguments, out, "--columns", 4, "--rows", 2, "--json")
    assert exit_code == 0, stderr
    assert json.loads(stdout) == {"out": str(out), "contents": 4, "styles": 2}
    assert opened(out).size == (5 * 66 + 2, 3 * 66 + 2)

    alone = ["swap", arguments[1], tmp_path / "a" / "0.png", tmp_path / "b" / "deep" / "0.png"]
    exit_code, stdout, stderr = call(*alone, out)
    assert exit_code == 0, stderr
    assert "1 contents of A in 1 styles of B" in stdout

    exit_code, stdout, _ = call(*arguments, out, "--to", "A")
    assert exit_code == 0
    assert "5 contents of B in 5 styles of A" in stdout


@pytest.mark.parametrize(
    ("options", "named"), [(["--to", "C"], "C: "), (["--from", "B"], "both B")]
)
def test_the_swap_command_refuses_wrong_domains(
    tmp_path: Path, arguments: list[object], options: list[str], named: str
) -> None:
    out = tmp_path / "out.png"
    exit_code, _, stderr = call(*arguments, out, *options)
    assert exit_code == 2
    assert named in stderr
    assert not out.exists()
