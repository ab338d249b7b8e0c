"""Which domain pictures look like, and the direction that follows from it."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from tests._helpers.folders import draw, files
from translate.inference import likeness as module
from translate.inference.folder_options import FolderOptions
from translate.inference.likeness import MANY, Likeness, judge
from translate.inference.translator import Translator

LIMITS = np.array([1.0, 1.0])


def drawn(nearer_to_0: float, spread: float, count: int, seed: int = 0) -> Likeness:
    """Judge pictures whose energies differ by so much, give or take a spread."""
    rng = np.random.default_rng(seed)
    difference = nearer_to_0 + spread * rng.standard_normal(count)
    return judge(np.stack([np.full(count, 0.5), 0.5 + difference], axis=1), LIMITS + 9)


def test_a_clear_difference_names_the_domain_and_counts_its_pictures() -> None:
    assert drawn(0.3, 0.1, MANY) == Likeness(MANY, 0, MANY, 0)
    assert drawn(-0.3, 0.1, MANY) == Likeness(MANY, 1, MANY, 0)


def test_chance_names_no_domain() -> None:
    named = [drawn(0.0, 0.1, MANY, seed).domain for seed in range(300)]
    assert named.count(None) > 0.95 * len(named)


@pytest.mark.parametrize(
    ("energies", "expected"),
    [
        ([[0.5, 3.0]], Likeness(1, 0, 1, 0)),  # fits one alone
        ([[3.0, 0.5]], Likeness(1, 1, 1, 0)),
        ([[0.5, 0.9]], Likeness(1)),
        ([[0.5, 3.0], [3.0, 0.5]], Likeness(2)),
        ([[3.0, 4.0]], Likeness(1, None, 0, 1)),
    ],
)
def test_few_pictures_are_judged_by_what_is_usual(
    energies: list[list[float]], expected: Likeness
) -> None:
    assert judge(np.array(energies), LIMITS) == expected


def test_without_reference_few_pictures_say_nothing() -> None:
    assert judge(np.array([[0.5, 3.0]])) == Likeness(1)
    assert judge(np.zeros((0, 2))) == Likeness(0)


def test_strange_pictures_are_of_no_domain() -> None:
    energies = np.full((8, 2), 5.0)
    energies[:, 1] += np.linspace(1, 2, 8)
    assert judge(energies, LIMITS) == Likeness(8, None, 0, 8)


@pytest.mark.parametrize(
    ("seen", "to", "target", "named"),
    [
        (Likeness(8, 1, 5), None, "A", "translating to A"),
        (Likeness(8, 0, 4), None, "B", "4 of 8"),
        (Likeness(8), None, "B", "--to A"),
        (Likeness(8, 1, 5), "B", "B", "already"),
        (Likeness(8, 0, 5), "B", "B", ""),
        (Likeness(8, None, 0, 5), "B", "B", "neither A nor B"),
    ],
)
def test_the_target_follows_and_what_is_odd_is_said(
    translator: Translator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seen: Likeness,
    to: str | None,
    target: str,
    named: str,
) -> None:
    for i in range(8):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    monkeypatch.setattr(module, "likeness", lambda *_: seen)
    with caplog.at_level(logging.INFO, "translate"):
        done = translator.translate_folder(tmp_path / "in", tmp_path / "out", to)
    assert done.to == target
    said = " ".join(record.getMessage() for record in caplog.records)
    assert named in said
    assert bool(said) == bool(named)
    other = "B" if target == "A" else "A"
    translator.translate_folder(
        tmp_path / "in", tmp_path / "again", target, FolderOptions(source=other)
    )
    assert files(tmp_path / "out") == files(tmp_path / "again")


def test_real_energies_and_broken_files(translator: Translator, tmp_path: Path) -> None:
    paths = [draw(tmp_path / f"{i}.png", 40, 20, seed=i) for i in range(6)]
    (tmp_path / "broken.png").write_bytes(b"broken")
    found = module.likeness(
        translator.predictor, [*paths, tmp_path / "broken.png"], 10**6, nullcontext
    )
    assert found.count == 6


def test_shares_need_a_target(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    with pytest.raises(ValueError, match=r"--to: .*A and B"):
        translator.translate_folder(
            tmp_path / "in", tmp_path / "out", options=FolderOptions(shard=(1, 2))
        )
