"""The embedded data set: sizes, disjointness, difference between the faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from translate.data.glyphs import TEST_PAIRS, common_characters, write_glyphs
from translate.io.images import read_image


def test_the_set_is_as_large_and_disjoint_as_promised(tmp_path: Path) -> None:
    counts = write_glyphs(tmp_path / "glyphs")
    assert counts["trainA"] >= 800
    assert counts["trainB"] >= 800
    assert counts["testA"] == counts["testB"] == TEST_PAIRS >= 150
    names = {
        split: {path.stem for path in (tmp_path / "glyphs" / split).iterdir()} for split in counts
    }
    assert names["testA"] == names["testB"]
    assert not names["trainA"] & names["trainB"]
    assert not (names["trainA"] | names["trainB"]) & names["testA"]
    looks = [
        path.read_bytes()
        for split in ("trainA", "testA")
        for path in (tmp_path / "glyphs" / split).iterdir()
    ]
    assert len(set(looks)) == len(looks), "no character of the test set looks like one of training"
    assert read_image(next((tmp_path / "glyphs" / "trainA").iterdir())).pixels.shape == (32, 32, 3)
    with pytest.raises(ValueError, match="not empty"):
        write_glyphs(tmp_path / "glyphs")


def test_the_faces_differ_plainly_and_the_seed_decides_the_split(tmp_path: Path) -> None:
    pictures = common_characters(32)
    ink = np.array([[255.0 - p.mean() for p in pair] for pair in pictures.values()]).mean(0)
    assert ink[1] > 1.25 * ink[0], "B is the heavier face"
    first = write_glyphs(tmp_path / "1", 24, seed=1)
    second = write_glyphs(tmp_path / "2", 24, seed=2)
    assert first.keys() == second.keys()
    assert {p.name for p in (tmp_path / "1/testA").iterdir()} != {
        p.name for p in (tmp_path / "2/testA").iterdir()
    }


def test_sizes_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--size 4"):
        write_glyphs(tmp_path, 4)
