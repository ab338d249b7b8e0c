"""Pictures that are there twice are found, by bytes or by looks; others are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from translate.data.duplicates import find_duplicates


def scene(seed: int, side: int = 96) -> Image.Image:
    """Smooth colours, another picture for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def folder(path: Path, seeds: range) -> Path:
    path.mkdir()
    for seed in seeds:
        scene(seed).save(path / f"{seed}.png")
    return path


def test_different_pictures_are_no_copies(tmp_path: Path) -> None:
    folders = {"A": folder(tmp_path / "A", range(30)), "B": folder(tmp_path / "B", range(30, 60))}
    found = find_duplicates(folders)
    assert (found.exact, found.alike, found.compared, found.total) == ({}, {}, 60, 60)


def test_equal_files_and_pictures_saved_anew_are_told_apart(tmp_path: Path) -> None:
    a = folder(tmp_path / "A", range(10))
    b = folder(tmp_path / "B", range(10, 20))
    shutil.copy(a / "3.png", a / "again.png")
    shutil.copy(a / "4.png", b / "4.png")
    scene(5).save(b / "saved.jpg", quality=60)
    scene(6).resize((48, 48), Image.Resampling.LANCZOS).save(b / "small.png")
    scene(12, 64).save(b / "other_size.webp")

    found = find_duplicates({"A": a, "B": b})
    assert {key: copies.count for key, copies in found.exact.items()} == {
        ("A", "A"): 1,
        ("A", "B"): 1,
    }
    assert {key: copies.count for key, copies in found.alike.items()} == {
        ("A", "B"): 2,
        ("B", "B"): 1,
    }
    assert [path.name for path in found.exact["A", "A"].example] == ["3.png", "again.png"]


def test_small_changes_of_drawings_are_other_pictures(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    for i in range(8):
        pixels = np.full((64, 64, 3), 255, np.uint8)
        pixels[8:56, 8:12] = 0
        pixels[8 + 6 * i : 12 + 6 * i, 8:40] = 0
        Image.fromarray(pixels).save(tmp_path / "A" / f"{i}.png")
    assert find_duplicates({"A": tmp_path / "A"}).alike == {}


def test_deep_and_transparent_pictures_are_compared_by_what_they_show(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    ramp = np.arange(64, dtype=np.uint16)[None].repeat(64, 0)
    for i, deep in enumerate((ramp * 1000, ramp.T * 1000)):
        Image.fromarray(deep).save(tmp_path / "A" / f"{i}.png")
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    clear.paste((200, 0, 0, 255), (10, 10, 30, 30))
    clear.save(tmp_path / "A" / "clear.png")
    white = Image.new("RGB", (64, 64), "white")
    white.paste((200, 0, 0), (10, 10, 30, 30))
    white.save(tmp_path / "A" / "white.png")
    found = find_duplicates({"A": tmp_path / "A"})
    (copies,) = found.alike.values()
    assert {path.name for path in copies.example} == {"clear.png", "white.png"}


def test_broken_files_and_missing_time_are_no_mistake(tmp_path: Path) -> None:
    a = folder(tmp_path / "A", range(3))
    (a / "broken.png").write_bytes(b"nothing")
    assert find_duplicates({"A": a}).compared == 4
    assert find_duplicates({"A": a}, seconds=-1).compared == 0
