"""`introshift init`: what it understands, plans, warns of and writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests._helpers.commands import call, fill, tiny
from translate.config import load_config
from translate.data import overlap


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time a network for a moment only."""
    monkeypatch.setattr("translate.training.plan.BUDGET", 0.01)
    monkeypatch.setattr("translate.training.plan.LONGEST", 0.01)


def scenes(folder: Path, count: int = 3, side: int = 64, seed: int = 0) -> Path:
    """Make pictures of noise, which count as photographs."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def init(*arguments: object) -> dict[str, Any]:
    code, out, err = call("init", *arguments, "--json")
    assert code == 0, err
    made: dict[str, Any] = json.loads(out)
    return made


def test_a_config_made_in_one_folder_trains_from_another_and_resumes_from_a_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("trainA", "trainB", "testA", "testB"):
        fill(tmp_path / "project" / "data" / name)
    for name in ("second", "third"):
        (tmp_path / name).mkdir()

    monkeypatch.chdir(tmp_path / "project")
    made = init("data", "-o", "my.yaml")
    assert made["data"]["root"] == "data"
    assert made["data"]["domains"] == {"A": "trainA", "B": "trainB"}

    monkeypatch.chdir(tmp_path / "second")
    code, _, err = call("train", "../project/my.yaml", "--out", "run", *tiny())
    assert code == 0, err
    monkeypatch.chdir(tmp_path / "third")
    arguments = ("train", "../second/run/config.yaml", "--out", "../second/run", "--resume")
    code, out, err = call(*arguments, "--set", "train.steps=6", "--json")
    assert code == 0, err
    assert json.loads(out)["step"] == 6
    code, out, err = call("info", "../second/run/model.safetensors", "--config")
    assert yaml.safe_load(out)["data"]["root"] == "../project/data"
    for file in ("model.safetensors", "config.yaml"):
        assert str(tmp_path).encode() not in (tmp_path / "second" / "run" / file).read_bytes()


def test_a_missing_folder_is_named_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conf").mkdir()
    Path("conf/my.yaml").write_text("data: {root: gone}\n")
    code, _, err = call("train", "conf/my.yaml", "--out", "run")
    assert code == 2
    assert str(tmp_path / "conf" / "gone" / "trainA") in err
    code, _, err = call("init", "gone", "-o", "new.yaml")
    assert code == 2
    assert str(tmp_path / "gone") in err


def test_domains_are_the_sub_folders_or_the_folders(tmp_path: Path) -> None:
    for name in ("cats", "dogs", "test/cats", "test/dogs"):
        fill(tmp_path / "pets" / name)
    made = init(tmp_path / "pets", "-o", tmp_path / "one.yaml")
    config = load_config(tmp_path / "one.yaml")
    assert config.data.names == ("cats", "dogs")
    assert config.data.folder("dogs", "test") == tmp_path / "pets" / "test" / "dogs"
    assert made["plan"]["pictures"] == {"cats": 4, "dogs": 4}

    folders = (tmp_path / "pets" / "dogs", f"feline={tmp_path / 'pets' / 'cats'}")
    init(*folders, "-o", tmp_path / "two.yaml")
    assert load_config(tmp_path / "two.yaml").data.names == ("dogs", "feline")

    init(f"pets={tmp_path / 'pets'}", "-o", tmp_path / "three.yaml")
    config = load_config(tmp_path / "three.yaml")
    assert config.data.folder("pets") == tmp_path / "pets"
    assert config.model.one_latent


def test_the_same_folder_twice_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a")
    (tmp_path / "b").symlink_to(folder, target_is_directory=True)
    for second in (folder, tmp_path / "b", folder / ".." / "a"):
        code, out, err = call("init", folder, second, "-o", tmp_path / "my.yaml")
        assert (code, out) == (2, "")
        assert str(folder) in err
        assert not (tmp_path / "my.yaml").exists()


def test_the_plan_is_readable_and_says_what_is_next(tmp_path: Path) -> None:
    folders = [scenes(tmp_path / name, seed=seed) for seed, name in enumerate(("a", "b"))]
    out_file = tmp_path / "my file.yaml"
    code, out, _ = call("init", *folders, "-o", out_file, "--device", "cpu", "--size", 32)
    assert code == 0
    for word in ("3 of 64 px", "32 px", "photographs", "million", "16 + 16", "cpu", "advice"):
        assert word in out, word
    assert max(map(len, out.splitlines()[:-1])) < 200
    assert out.rstrip().endswith(f"introshift train '{out_file}'")
    assert load_config(out_file).model.detail
    assert "could not be told" in out, "of three pictures"

    code, out, _ = call("init", *folders, "-o", out_file, "--size", 32, "--no-detail", "--force")
    assert code == 0
    assert "as asked: translations are drawn anew" in " ".join(out.split())
    assert "could not be told" not in out
    assert not load_config(out_file).model.detail


def test_a_cpu_is_spared_what_takes_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [scenes(tmp_path / name, side=256, seed=seed) for seed, name in enumerate("ab")]
    measured = []
    measure = overlap.domain_gap
    monkeypatch.setattr(overlap, "domain_gap", lambda x: measured.append(x) or measure(x))
    monkeypatch.setattr("translate.training.plan.HOURS", 0.0)
    made = init(*folders, "-o", tmp_path / "my.yaml", "--device", "cpu")
    assert made["data"]["size"] == 32
    assert len(measured) == 1, "the distance of the domains is no matter of the size"
    assert any("GPU" in line for line in made["plan"]["advice"])

    monkeypatch.setattr("translate.training.plan.HOURS", 1e9)
    made = init(*folders, "-o", tmp_path / "my.yaml", "--device", "cpu", "--force")
    assert (made["data"]["size"], made["model"]["fold"]) == (256, 8)
    assert made["plan"]["minutes"] > 0


def test_too_few_pictures_and_copies_are_said(tmp_path: Path) -> None:
    for name, count, seed in (
        ("trainA", 25, 1),
        ("trainB", 5, 2),
        ("testA", 3, 3),
        ("testB", 3, 4),
    ):
        scenes(tmp_path / "data" / name, count, 32, seed)
    data = tmp_path / "data"
    shutil.copy(data / "trainA" / "0.png", data / "testA" / "leak.png")
    Image.open(data / "trainA" / "1.png").save(data / "trainB" / "same.webp", lossless=True)
    shutil.copy(data / "trainB" / "2.png", data / "trainB" / "twice.png")

    advice = init(data, "-o", tmp_path / "my.yaml")["plan"]["advice"]
    for words in (
        ("A has 25 pictures",),
        ("B has 7 pictures", "by heart"),
        ("test pictures of A", "leak.png as 0.png", "byte for byte", "evaluation"),
        ("same.webp as 1.png", "looks like"),
        ("twice.png as 2.png", "byte for byte", "remove"),
    ):
        assert any(all(word in line for word in words) for line in advice), (words, advice)


def test_an_existing_config_is_kept_unless_forced(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a")
    (tmp_path / "my.yaml").write_text("mine")
    code, _, err = call("init", folder, "-o", tmp_path / "my.yaml")
    assert code == 2
    assert "--force" in err
    assert (tmp_path / "my.yaml").read_text() == "mine"
    init(folder, "-o", tmp_path / "my.yaml", "--force")
    assert (tmp_path / "my.yaml").read_text() != "mine"
