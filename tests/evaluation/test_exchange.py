"""Content and style exchanged between labelled views: which picture is the truth, and how far."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests._helpers.small_model import save
from tests._helpers.things import AZIMUTHS, write_things
from translate.config import from_dict
from translate.evaluation.exchange import (
    View,
    draw_exchanges,
    exchange,
    load_views,
    measure_exchange,
    one_view_each,
    read_views,
)
from translate.inference.swap import swap
from translate.metrics.lpips import Perceptual
from translate.models.checkpoint import load_model


@pytest.fixture
def things(tmp_path: Path) -> Path:
    folder = tmp_path / "things"
    folder.mkdir()
    return write_things(folder)


def view(azimuth: float, elevation: float, thing: str = "red") -> View:
    return View(Path("x.png"), thing, azimuth, elevation, held_out=False)


def test_labels_are_read(things: Path) -> None:
    views = read_views(things)
    assert len(views) == 6 * 4 * 2
    assert {v.thing for v in views if v.held_out} == {"green"}
    assert views[0] == View(things / "red_0_0.png", "red", 0.0, 0.0, held_out=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("azimuth", "angle", "no column azimuth"),
        ("red_90_0.png,red,90", "red_90_0.png,red,east", "line 4: azimuth 'east'"),
        ("red_90_0.png", "missing.png", "line 4: no picture"),
    ],
)
def test_wrong_labels_are_named(things: Path, old: str, new: str, message: str) -> None:
    table = things / "labels.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_views(things)


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.csv: no such file"):
        read_views(tmp_path)


def test_angles_between_directions() -> None:
    assert view(350, 0).angle_to(view(10, 0)) == pytest.approx(20)
    assert view(0, 90).angle_to(view(123, 90)) == pytest.approx(0, abs=1e-6)
    assert view(0, 40).angle_to(view(180, 40)) == pytest.approx(100)
    # in space: the cosine rule on a sphere
    a, b, turn = math.radians(10), math.radians(30), math.radians(50)
    cosine = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(turn)
    assert view(0, 10).angle_to(view(50, 30)) == pytest.approx(math.degrees(math.acos(cosine)))


def test_the_truth_is_the_style_s_thing_in_the_content_s_direction(things: Path) -> None:
    views = read_views(things)
    drawn = draw_exchanges(views, 200, seed=1)
    assert len(drawn) == 200
    for each in drawn:
        assert each.content.thing != each.style.thing == each.truth.thing == each.nearest.thing
        assert each.content.direction == each.truth.direction != each.style.direction
        assert each.nearest.azimuth == each.truth.azimuth  # 20 degrees up, not 90 around
        assert each.nearest.elevation == 20 - each.truth.elevation
    assert draw_exchanges(views, 200, seed=1) == drawn
    assert draw_exchanges(views, 200, seed=2) != drawn


def test_things_without_common_directions_are_refused() -> None:
    views = [view(0, 0, "red"), view(10, 0, "red"), view(20, 0, "blue"), view(30, 0, "blue")]
    with pytest.raises(ValueError, match="0 of 5 exchanges"):
        draw_exchanges(views, 5)
    with pytest.raises(ValueError, match="among 0 views"):
        draw_exchanges([], 5)


def test_a_model_exchanges_as_it_swaps(things: Path, tmp_path: Path) -> None:
    file = load_model(save(tmp_path, domains=("A",), content_channels=4))
    views = read_views(things)
    contents = load_views(views[:3], file.config.data)
    styles = load_views(views[-3:], file.config.data)
    made = exchange(file.model, contents, styles)
    rows = swap(file.model, contents, styles, 0, 0)
    assert made.shape == (3, 16, 16, 3)
    for i in range(3):
        # batches of other sizes round differently
        assert np.abs(made[i].astype(int) - rows[i, i]).max() <= 1


def test_the_truth_is_no_distance_from_itself(things: Path, lpips_weights: Path) -> None:
    config = from_dict({"data": {"size": 16}}).data
    drawn = draw_exchanges(read_views(things), 20)
    truth = load_views([each.truth for each in drawn], config)
    nearest = load_views([each.nearest for each in drawn], config)
    found = measure_exchange(
        {"truth": truth, "nearest": nearest}, truth, Perceptual.load("alex", lpips_weights)
    )
    for metric in ("lpips_paired", "l1"):
        assert found["truth"][metric].value == pytest.approx(0, abs=1e-6)
        assert found["nearest"][metric].low > 0
    assert found["truth"]["ssim"].value == pytest.approx(1)
    # a wider bar
    change = np.abs(nearest.astype(float) - truth).mean() / 255
    assert found["nearest"]["l1"].value == pytest.approx(change, rel=1e-5)


def test_views_of_a_figure_differ_in_thing_and_direction(things: Path) -> None:
    views = read_views(things)
    chosen = one_view_each(views, 3)
    assert len({v.thing for v in chosen}) == len({v.direction for v in chosen}) == 3
    assert len(one_view_each(views, 2)) == 2
    assert {v.azimuth for v in chosen} <= set(map(float, AZIMUTHS))


def test_a_batch_size_changes_nothing(things: Path, tmp_path: Path) -> None:
    file = load_model(save(tmp_path, domains=("A",), content_channels=4))
    pixels = load_views(read_views(things), file.config.data)
    many = np.concatenate([pixels] * 3)  # more than one batch
    with torch.no_grad():
        made = exchange(file.model, many, many)
    again = exchange(file.model, pixels, pixels)
    assert np.abs(made[-len(pixels) :].astype(int) - again).max() <= 1
