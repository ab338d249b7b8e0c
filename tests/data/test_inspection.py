"""What a look at two folders proposes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from translate.config import from_dict
from translate.data import overlap
from translate.data.inspection import (
    Surveys,
    advise,
    inspect_folder,
    inspect_folders,
    suggest_config,
    suggest_settings,
)
from translate.io.images import UInt8
from translate.metrics import lpips


def fill(folder: Path, mode: str, size: tuple[int, int], count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new(mode, size, 40 * i if mode == "L" else (40 * i, 90, 200)).save(
            folder / f"{i}.png"
        )
    return folder


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("L", (32, 32), (32, 1, "tiny", "center")),
        ("L", (20, 20), (32, 1, "tiny", "center")),
        ("L", (90, 64), (64, 1, "small", "random")),
        ("L", (200, 150), (128, 1, "base", "random")),
        ("L", (300, 300), (256, 1, "large", "center")),
    ],
)
def test_size_channels_preset_and_crop_follow_the_pictures(
    tmp_path: Path, mode: str, size: tuple[int, int], expected: tuple[int, int, str, str]
) -> None:
    config = from_dict(suggest_config({n: fill(tmp_path / n, mode, size) for n in "AB"}))
    assert (
        config.data.size,
        config.data.channels,
        config.model.preset,
        config.data.crop,
    ) == expected


def textured(folder: Path, mode: str = "RGB", side: int = 64, seed: int = 0) -> Path:
    """Twelve pictures of noise, each around a brightness of its own."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(12):
        noise = rng.integers(0, rng.integers(1, 256), (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(folder / f"{i}.png")
    return folder


def squared(folder: Path) -> Path:
    """Twelve pictures of bright squares."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        squares = rng.integers(200, 256, (8, 8, 3), dtype=np.uint8)
        enlarged = squares.repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(enlarged).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(("mode", "ratio"), [("RGB", 12), ("L", 4)])
def test_domains_that_overlap_keep_detail_and_place(tmp_path: Path, mode: str, ratio: int) -> None:
    folders = {name: textured(tmp_path / name, mode, seed=i) for i, name in enumerate("AB")}
    config = from_dict(suggest_config(folders))
    assert config.model.detail
    assert config.model.warp == 0
    assert config.data.flip == 0.5
    assert config.data.size == 64
    assert config.objective.beta_kl_s == pytest.approx(3 * ratio)
    assert config.objective.beta_fake == pytest.approx(0.4 * ratio)
    assert config.augment.game_share == 0


def test_small_coloured_drawings_are_trained_like_gray_ones(tmp_path: Path) -> None:
    icons = {name: fill(tmp_path / name, "RGB", (64, 64)) for name in "AB"}
    small = from_dict(suggest_config(icons, 32))
    assert small.model.preset == "tiny"
    assert small.model.align
    assert from_dict(suggest_config(icons, 64)).model.detail


def test_domains_that_lie_apart_are_drawn_anew(tmp_path: Path) -> None:
    folders = {"A": textured(tmp_path / "A"), "B": squared(tmp_path / "B")}
    config = from_dict(suggest_config(folders, 64))
    assert not config.model.detail
    assert config.model.warp == 0
    assert config.model.fold == 4


@pytest.fixture
def surveys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surveys:
    """Two domains that overlap, with as many pictures as it takes to tell what they show."""
    monkeypatch.setattr("translate.data.inspection.LEAST_LOOKS", 12)
    return inspect_folders({n: textured(tmp_path / n, seed=i) for i, n in enumerate("AB")})


@pytest.mark.parametrize("differ", [False, True])
def test_things_of_another_kind_are_drawn_anew_unless_it_is_asked_otherwise(
    surveys: Surveys, differ: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []

    def differ_in_kind(looks: list[UInt8], perceptual: object) -> bool:
        looked_at.extend(looks)
        return differ

    monkeypatch.setattr(Surveys, "perceptual", object())
    monkeypatch.setattr(overlap, "differ_in_kind", differ_in_kind)
    for asked, expected in ((None, not differ), (True, True), (False, False)):
        settings = suggest_settings(replace(surveys, detail=asked), 64)
        assert settings["model"]["detail"] is expected
        assert ("lambda_lpips" in settings["objective"]) is not expected
        assert settings["augment"]["energy_whole_pixels"]
        assert ("pixel_channels" in settings["model"]) is not expected
    assert [looks.shape for looks in looked_at] == [(12, 64, 64, 3)] * 2


@pytest.mark.parametrize("missing", ["weights", "pictures"])
def test_where_it_cannot_be_told_whether_kinds_differ_detail_is_kept(
    surveys: Surveys, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Surveys, "perceptual", None if missing == "weights" else object())
    if missing == "pictures":
        monkeypatch.setattr("translate.data.inspection.LEAST_LOOKS", 13)
    assert surveys.differ_in_kind is None
    assert surveys.keep_detail


def test_what_is_drawn_anew_is_judged_by_alexnet_where_its_weights_are_at_hand(
    tmp_path: Path, lpips_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {"A": textured(tmp_path / "A"), "B": squared(tmp_path / "B")}

    def weight() -> float:
        return from_dict(suggest_config(folders, 64)).objective.lambda_lpips

    monkeypatch.setenv(lpips.ENVIRONMENT, str(lpips_weights))
    assert weight() > 0
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    monkeypatch.setenv(lpips.ENVIRONMENT, str(tmp_path / "broken.safetensors"))
    assert weight() == 0
    monkeypatch.delenv(lpips.ENVIRONMENT)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "none"))
    assert weight() == 0


def test_gray_drawings_and_one_domain_keep_no_detail(tmp_path: Path) -> None:
    drawings = {name: fill(tmp_path / name, "L", (64, 64)) for name in "AB"}
    for folders in (drawings, {"A": textured(tmp_path / "photographs")}):
        config = from_dict(suggest_config(folders))
        assert not config.model.detail
        assert config.data.flip == 0


@pytest.mark.parametrize(("mode", "weight"), [("L", 1.0), ("RGB", 0.25)])
def test_one_domain_in_colour_has_a_lower_weight_of_the_error(
    tmp_path: Path, mode: str, weight: float
) -> None:
    settings = suggest_config({"A": fill(tmp_path / "A", mode, (64, 64))}, 32)
    assert ("objective" in settings) == (weight != 1)
    objective = from_dict(settings).objective
    assert objective.beta_rec == objective.beta_rec_neg == weight
    assert objective.beta_kl_s == objective.beta_fake == 1
    assert objective.beta_neg == "auto"


def test_one_coloured_domain_makes_both_coloured_and_test_folders_are_found(tmp_path: Path) -> None:
    folders = {
        "A": fill(tmp_path / "trainA", "L", (32, 32)),
        "B": fill(tmp_path / "trainB", "RGB", (32, 32)),
    }
    fill(tmp_path / "testA", "L", (32, 32))
    fill(tmp_path / "testB", "L", (32, 32))
    config = from_dict(suggest_config(folders, size=48))
    assert config.data.channels == 3
    assert config.data.size == 48
    assert config.data.folder("B", "test").resolve() == tmp_path / "testB"


def test_only_the_leading_train_of_a_folder_s_name_is_replaced(tmp_path: Path) -> None:
    constraints = fill(tmp_path / "constraints", "RGB", (32, 32))
    pretrained = fill(tmp_path / "trainA" / "pretrained", "RGB", (32, 32))
    for mangled in ("constests", "constestts", "trainA/pretested"):
        fill(tmp_path / mangled, "RGB", (32, 32))
    fill(tmp_path / "testA" / "pretrained", "RGB", (32, 32))
    assert "tests" not in suggest_config({"A": constraints, "B": pretrained})["data"]
    a = fill(tmp_path / "trains_at_train", "RGB", (32, 32))
    b = fill(tmp_path / "trainB", "RGB", (32, 32))
    for name in ("tests_at_train", "testB"):
        fill(tmp_path / name, "RGB", (32, 32))
    config = from_dict(suggest_config({"A": a, "B": b}))
    assert config.data.folder("A", "test").resolve() == tmp_path / "tests_at_train"
    assert config.data.folder("B", "test").resolve() == tmp_path / "testB"


@pytest.mark.parametrize(
    ("size", "fold"), [(32, None), (48, 2), (64, 4), (96, 4), (128, 8), (256, 8)]
)
def test_a_cpu_gets_a_network_it_can_train(tmp_path: Path, size: int, fold: int | None) -> None:
    surveys = inspect_folders({name: fill(tmp_path / name, "L", (256, 256)) for name in "AB"})
    model = suggest_settings(surveys, size, for_cpu=True)["model"]
    assert model.get("fold") == fold
    assert (model.get("preset") == "tiny") == (fold is None)
    alone = suggest_settings(Surveys({"A": surveys.domains["A"]}), size, for_cpu=True)
    data = {**alone["data"], "domains": {"A": "a"}}
    assert from_dict({**alone, "data": data}).model.one_latent


def test_sizes_are_those_that_most_pictures_fill(tmp_path: Path) -> None:
    small = inspect_folder(fill(tmp_path / "s", "RGB", (20, 20), count=1))
    large = inspect_folder(fill(tmp_path / "l", "RGB", (200, 130)))
    assert Surveys({"A": small, "B": large}).sizes == [128, 64, 32]
    assert Surveys({"A": small}).sizes == [32]


def test_broken_pictures_are_counted(tmp_path: Path) -> None:
    folder = fill(tmp_path / "A", "RGB", (32, 32))
    (folder / "broken.png").write_bytes(b"nothing")
    seen = inspect_folder(folder)
    assert seen.count == 4
    assert [path.name for path in seen.broken] == ["broken.png"]


def test_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "A", "L", (32, 32))
    monkeypatch.chdir(tmp_path / "A")
    assert "tests" not in suggest_config({"A": Path("."), "B": Path("..") / "A"})["data"]


def test_unusable_folders_are_named(tmp_path: Path) -> None:
    good = fill(tmp_path / "A", "L", (32, 32))
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        suggest_config({"A": good, "B": tmp_path / "nowhere"})
    (tmp_path / "B").mkdir()
    with pytest.raises(ValueError, match="B: no readable picture"):
        suggest_config({"A": good, "B": tmp_path / "B"})


def test_nearly_black_pictures_of_16_bits_are_counted(tmp_path: Path) -> None:
    for i, peak in enumerate((4095, 65535, 3000)):
        ramp = np.linspace(0, peak, 64 * 64).astype(np.uint16).reshape(64, 64)
        Image.fromarray(ramp).save(tmp_path / f"{i}.png")
    seen = inspect_folder(tmp_path)
    assert seen.dark == 2
    (said,) = (text for text in advise(Surveys({"cells": seen})) if "nearly black" in text)
    assert said.startswith("2 of 3 pictures of cells")
    assert "data.range: auto" in said
