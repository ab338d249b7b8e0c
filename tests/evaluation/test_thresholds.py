"""Thresholds: how they are read, and which of them an evaluation misses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests._helpers.evaluations import evaluation, metric
from translate.evaluation.results import DirectionMetrics, MetricValue
from translate.evaluation.thresholds import Threshold, missed_thresholds, parse_threshold
from translate.metrics.registry import METRICS


def direction(source: str, to: str, **metrics: MetricValue) -> DirectionMetrics:
    return DirectionMetrics(f"{source}-{to}", source, to, metrics, [], {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lpips_paired>0.3", ("lpips_paired", ">", 0.3, None)),
        (" ssim <= .5 ", ("ssim", "<=", 0.5, None)),
        ("A-B:l1>=1e-2", ("l1", ">=", 0.01, "A-B")),
        ("day: 2-night: 1:kid_alex<-1", ("kid_alex", "<", -1, "day: 2-night: 1")),
        ("lpips>0.3", ("lpips_paired", ">", 0.3, None)),
        ("A-B:reconstruction_l1>0.1", ("reconstruction_l1", ">", 0.1, "A-B")),
    ],
)
def test_thresholds_are_read(text: str, expected: tuple[str, str, float, str | None]) -> None:
    assert parse_threshold(text) == Threshold(text, *expected)


@pytest.mark.parametrize(
    "text",
    ["", "l1", "l1>", ">0.3", "l1=0.3", "l1==0.3", "l1>a", "l1>nan", "l1>inf", "l1>>1", "l1><1"],
)
def test_what_is_no_threshold(text: str) -> None:
    with pytest.raises(ValueError, match="--fail-if .*METRIC>NUMBER"):
        parse_threshold(text)


def test_unknown_metrics_name_the_known_ones() -> None:
    with pytest.raises(ValueError, match="--fail-if 'lpip>0.3'") as refused:
        parse_threshold("lpip>0.3")
    assert all(name in str(refused.value) for name in METRICS)


def test_which_thresholds_are_missed() -> None:
    measured = evaluation(
        direction("A", "B", lpips_paired=metric(0.15), ssim=metric(0.6, better="higher")),
        direction("B", "A", lpips_paired=metric(0.4)),
        notes=["no LPIPS weights"],
    )

    def lines(*texts: str) -> list[str]:
        return missed_thresholds(measured, [parse_threshold(text) for text in texts])

    assert lines("lpips_paired>0.4", "lpips_paired<0.15", "A-B:ssim<0.6") == []
    assert lines("lpips_paired>=0.4") == ["lpips_paired>=0.4: B-A has lpips_paired 0.4"]
    assert len(lines("lpips_paired>0.1")) == 2
    assert len(lines("A-B:lpips_paired>0.1")) == 1
    assert lines("A-B:lpips_paired>0.3") == []
    assert len(lines("A-B:lpips_paired<=0.15")) == 1
    assert lines() == []


def test_what_cannot_be_checked_is_missed() -> None:
    not_finite = replace(metric(0.1), value=math.nan, warning="not finite on 1 of 9 images")
    measured = evaluation(direction("A", "B", l1=not_finite), notes=["no LPIPS weights"])

    def line(text: str) -> str:
        (found,) = missed_thresholds(measured, [parse_threshold(text)])
        return found

    for part in ("A-B", "lpips_paired", "no LPIPS weights"):
        assert part in line("lpips>0.3")
    for part in ("A-C", "not measured", "A-B"):
        assert part in line("A-C:l1>9")
    assert "1 of 9 images" in line("l1>0.5")
    assert "1 of 9 images" in line("l1<0.5")
