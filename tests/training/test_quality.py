"""The main job on real pictures: slow, run by `make test-slow` before a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from translate.config import from_dict
from translate.data.dataset import load_domains
from translate.data.glyphs import write_glyphs
from translate.data.inspection import suggest_config
from translate.evaluation.options import EvaluationOptions
from translate.evaluation.protocols import evaluate
from translate.training.trainer import Trainer


@pytest.mark.slow
def test_unseen_characters_come_closer_to_the_other_typeface(
    tmp_path: Path, lpips_weights: Path
) -> None:
    """Two to three minutes on two cores: LPIPS at least 20 % below the input's own from A to B,
    and below it back.
    """
    write_glyphs(tmp_path / "data")
    folders = {name: tmp_path / "data" / f"train{name}" for name in "AB"}
    config = from_dict(
        {**suggest_config(folders), "train": {"steps": 1500, "checkpoint_every": 1500}}
    )
    Trainer(config, load_domains(config.data), tmp_path / "run", "cpu").run()
    evaluation = evaluate(
        tmp_path / "run" / "model.safetensors",
        tmp_path / "data",
        options=EvaluationOptions(weights=lpips_weights, device="cpu"),
    )
    for result, factor in zip(evaluation.directions, (0.8, 1.0), strict=True):
        for name in ("lpips_paired", "l1", "ssim", "kid_alex"):
            metric = result.metrics[name]
            assert metric.identity is not None
            if metric.better == "lower":
                assert (
                    metric.value
                    < (factor if name == "lpips_paired" else 1.0) * metric.identity.value
                ), name
            else:
                assert metric.value > metric.identity.value, name
