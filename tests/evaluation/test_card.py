"""The card of a model: its figures are those of the evaluation, and names cannot break it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from translate.evaluation.card import METRICS, Report, model_card
from translate.models.metadata import ModelInfo, read_info
from translate.zoo import SHIPPED


@pytest.fixture
def info() -> ModelInfo:
    return read_info(SHIPPED["typefaces"].file)


def value(mean: float, half: float, **more: Any) -> dict[str, Any]:
    return {
        "value": mean,
        "low": mean - half,
        "high": mean + half,
        "n": 150,
        "better": "lower",
        **more,
    }


def report(folder: Path) -> Report:
    metrics = {
        "lpips_paired": value(
            0.0407, 0.006, identity=value(0.0989, 0.007), in_words="59 % better", label="visible"
        ),
        "fid_alex": value(2.2, 3.5, identity=value(22.1, 3.0), warning="mostly bias"),
        "lpips_source": value(0.09, 0.005, identity=None),
    }
    directions = [{"source": "sans", "to": "serif", "metrics": metrics}]
    (folder / METRICS).write_text(json.dumps({"directions": directions}))
    return Report.read(folder)


def test_card_has_the_figures_that_may_be_quoted(info: ModelInfo, tmp_path: Path) -> None:
    card = model_card(info, "hf://me/letters", report(tmp_path), "pictures.png", "mit")
    row = "| visible (`lpips_paired`) | 0.0407 | 0.0347 to 0.0467 | 0.0989 | 59 % better |"
    assert row in card
    assert "fid_alex" not in card
    assert "lpips_source" not in card
    assert "`sans`: 801 training pictures" in card
    assert "introshift translate hf://me/letters" in card
    assert "pictures.png" in card
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "mit"
    assert front["library_name"] == "introshift"


def test_card_without_evaluation_says_so(info: ModelInfo) -> None:
    card = model_card(info, "hf://me/letters", None, None, None)
    assert "Not evaluated." in card
    assert "Not stated by its author." in card
    assert "license" not in yaml.safe_load(card.split("---\n")[1])


def test_names_cannot_break_the_card(info: ModelInfo) -> None:
    hostile = "x`|\n# <script>"
    summary = {**info.summary, "images": {hostile: 3}, "warnings": [hostile]}
    card = model_card(replace(info, summary=summary), "hf://me/letters", None, None, None)
    assert "<script>" not in card
    assert "\n# <" not in card
    assert "- `x'/ # &lt;script>`: 3 training pictures" in card


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"directions": 3}'])
def test_folder_without_figures_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / METRICS).write_text(content)
    with pytest.raises(ValueError, match="introshift evaluate"):
        Report.read(tmp_path)
