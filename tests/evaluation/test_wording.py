"""What is said of a value: better, worse, or nothing that the numbers do not bear out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests._helpers.evaluations import metric
from translate.evaluation.results import Difference, DirectionMetrics, MetricValue
from translate.evaluation.wording import headline, interval, number, outcome, sentence, verdict


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (metric(0.3, 0.5), "40 % better"),
        (metric(0.7, 0.5), "40 % worse"),
        (metric(0.3, 0.6, "higher"), "50 % worse"),
        (metric(0.6, 0.5, "higher"), "20 % better"),
        (metric(2.5, 0.5), "5 times worse"),
        (metric(0.5, 0.502, margin=0.001), "under 1 % better"),
        (metric(0.1, 0.0), "worse"),
        (metric(-0.02, 0.1), "better"),
        (metric(0.05, 0.005), "worse"),
        (metric(0.3, 0.5, margin=0.3), "no clear difference"),
        (metric(0.3, 0.3, margin=0.0), "the same"),
        (metric(0.3, 0.5, n=5), "too few pictures to tell"),
        (metric(0.3, 0.5, warning="few"), "not to be quoted"),
        (metric(0.3, 0.5, better=None), ""),
        (metric(0.3), ""),
    ],
)
def test_verdicts(found: MetricValue, said: str) -> None:
    assert verdict(found) == said
    assert sentence(found).startswith(said)


def test_overlapping_intervals_may_differ_clearly() -> None:
    """The interval of the difference decides: both are measured on the same pictures."""
    wide = replace(metric(0.4, 0.5), low=0.0, high=1.0)
    assert outcome(wide) == "better"


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"kid_alex": metric(0.3, 0.5), "fid_alex": metric(1, 9)}, "40 % nearer to B"),
        ({"lpips_paired": metric(0.7, 0.5)}, "40 % farther from the true pictures"),
        ({"kid": metric(2.5, 0.5)}, "5 times as far from B"),
        ({"lpips_paired": metric(0.3, 0.5, margin=1), "l1": metric(0.1, 0.9)}, "No clear diff"),
        ({"l1": metric(0.3, 0.5, n=2)}, "2 pictures are too few"),
        ({"l1": metric(0.3, 0.3, margin=0)}, "as far from the true pictures as"),
    ],
)
def test_headlines(metrics: dict[str, MetricValue], said: str) -> None:
    assert said in headline(DirectionMetrics("A-B", "A", "B", metrics, [], {}))


def test_no_headline_without_a_baseline() -> None:
    metrics = {"lpips_source": metric(0.3, better=None), "l1": metric(0.3)}
    assert headline(DirectionMetrics("A-B", "A", "B", metrics, [], {})) == ""


def test_numbers_show_what_their_interval_leaves_certain() -> None:
    found = MetricValue(0.11274, 0.0506, 0.1748, 9, "lower")
    assert (number(found.value, found), interval(found)) == ("0.113", "0.051 to 0.175")
    large = MetricValue(3089.4, 2800, 3400, 9, "lower")
    assert number(large.value, large) == "3089"
    one = MetricValue(0.25, 0.25, 0.25, 1, "lower", difference=Difference(0.1, 0.1, 0.1))
    assert interval(one) == "0.2500 to 0.2500"
    assert number(float("nan"), found) == "not finite"
