"""Names of metrics and their directions."""

from __future__ import annotations

from translate.metrics.registry import DIRECTION, METRICS


def test_every_metric_has_a_direction() -> None:
    paired = {"lpips_paired", "l1", "ssim", "reconstruction_l1"}
    lpips = {f"lpips_{x}" for x in ("source", "reconstruction", "cycle", "diversity")}
    sets = {name + of for name in ("kid", "fid") for of in ("", "_alex", "_vgg", "_squeeze")}
    assert set(DIRECTION) == paired | lpips | sets
    assert {name for name, better in DIRECTION.items() if better == "higher"} == {
        "ssim",
        "lpips_diversity",
    }
    assert all(metric.meaning and metric.range for metric in METRICS.values())
    assert all("Inception" in METRICS[name].meaning for name in ("kid", "fid"))
    assert "AlexNet" in METRICS["kid_alex"].meaning
