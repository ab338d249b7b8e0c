"""Names of metrics, in code and in words, and which direction is better."""

from __future__ import annotations

from translate.metrics.registry import METRICS


def test_every_metric_can_be_read() -> None:
    paired = {"lpips_paired", "l1", "ssim", "reconstruction_l1"}
    lpips = {f"lpips_{x}" for x in ("source", "reconstruction", "cycle", "diversity")}
    sets = {name + of for name in ("kid", "fid") for of in ("", "_alex", "_vgg", "_squeeze")}
    assert set(METRICS) == paired | lpips | sets
    assert all(metric.label and metric.meaning and metric.range for metric in METRICS.values())
    assert all("Inception" in METRICS[name].meaning for name in ("kid", "fid"))
    assert "AlexNet" in METRICS["kid_alex"].meaning


def test_only_metrics_with_a_direction_can_be_better() -> None:
    higher = {name for name, metric in METRICS.items() if metric.better == "higher"}
    neither = {name for name, metric in METRICS.items() if metric.better is None}
    assert higher == {"ssim"}
    assert neither == {"lpips_source", "lpips_diversity"}


def test_metrics_of_one_evaluation_differ_in_words() -> None:
    suffixes = ("_vgg", "_squeeze")
    of_one = [
        metric.label
        for name, metric in METRICS.items()
        if name not in ("kid", "fid") and not name.endswith(suffixes)
    ]
    assert len(set(of_one)) == len(of_one)
