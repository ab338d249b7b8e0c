"""Model selection without pairs: order, numbers, chance, a warning for each fault."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple
from itertools import pairwise
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from translate.metrics.distribution import estimate_kernel_distance, kernel_distance
from translate.metrics.random_features import RandomFeatures
from translate.models.distributions import Gaussian
from translate.models.networks import Model
from translate.training.validation import (
    ALIKE,
    AS_GOOD,
    CHANCE,
    COLLAPSED,
    DISTINCT,
    MEMORIZED,
    DirectionScore,
    ModelScore,
    ModelSelector,
    SelectionCriterion,
    default_styles,
    quality_sentence,
)

N = 40
SIZE = 16
Translate = Callable[[Tensor, Tensor], Tensor]


def textures(seed: int, n: int = N) -> Tensor:
    """Domain A: vertical stripes of any phase and contrast, uint8 (n, 1, S, S); turned by 90
    degrees they are B's.
    """
    draw = torch.Generator().manual_seed(seed)
    phase, height = torch.rand(2, n, 1, 1, generator=draw)
    wave = torch.sin(torch.arange(SIZE) * 0.9 + 6.28 * phase) * (0.4 + 0.6 * height)
    return ((wave.expand(n, SIZE, SIZE) + 1) * 127.5).round().byte()[:, None]


def turn(x: Tensor) -> Tensor:
    return x.transpose(2, 3)


class Stub(nn.Module):
    """Answers as a model does: `translation` of an image and a style, and KL_s = `kl(x, y)` nats
    for every image.
    """

    style_dim = 2

    def __init__(self, translation: Translate, kl: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.translation = translation
        self.kl = kl

    def translate(self, x: Tensor, source: int, to: int, z_s: Tensor | None = None) -> Tensor:
        return self.translation(x, torch.zeros(len(x), self.style_dim) if z_s is None else z_s)

    def encode_style(self, x: Tensor, domain: int) -> Gaussian:  # KL of N(m, 1) is m^2 / 2
        y = torch.full((len(x),), domain)
        return Gaussian((2 * self.kl(x, y)).sqrt()[:, None], torch.zeros(len(x), 1))


def no_kl(x: Tensor, y: Tensor) -> Tensor:
    return torch.zeros(len(x))


def model_score(
    translation: Translate, kl: Callable[[Tensor, Tensor], Tensor] = no_kl
) -> ModelScore:
    held_out = [textures(1), turn(textures(2))]
    trained = [textures(3, 80), turn(textures(4, 80))]
    return ModelSelector("AB", held_out, trained).score(cast(Model, Stub(translation, kl)))


def scores(
    translation: Translate, kl: Callable[[Tensor, Tensor], Tensor] = no_kl
) -> list[DirectionScore]:
    return model_score(translation, kl).directions


def direction_score(**numbers: float) -> DirectionScore:
    """A to B, nothing wrong, with some numbers changed."""
    fine = {
        "distance": 0.05,
        "identity": 1.0,
        "cycle": 0.1,
        "feature_std_ratio": 1.0,
        "diversity": 0.1,
        "energy_gap": 1.0,
        "kl_generalization_gap": 0.0,
        "mean_style_energy_ratio": 1.0,
        "distance_error": 0.01,
        "domain_distance": 1.0,
        "domain_distance_error": 0.1,
    }
    return DirectionScore("A", "B", **{**fine, **numbers})


def styled(x: Tensor, z: Tensor) -> Tensor:
    """A good translator whose style is brightness."""
    return turn(x) * (1 - 0.05 * torch.tanh(z[:, :1, None, None]) ** 2)


def test_features_are_the_same_for_every_run_and_leave_the_random_numbers_alone() -> None:
    x = torch.rand(3, 3, 32, 32)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = RandomFeatures(3)(x)
    second = RandomFeatures(3)(x)
    assert torch.equal(first, second)
    assert first.shape == (3, 640)
    assert torch.equal(torch.rand(1), expected)


def test_each_number_of_a_direction_is_what_it_says() -> None:
    """An independent computation, for a translator and energies that are known."""

    def kl(x: Tensor, y: Tensor) -> Tensor:
        return y + x.mean((1, 2, 3)).abs()

    score = scores(styled, kl)[0]
    x = textures(1).float() / 127.5 - 1
    b = turn(textures(4, 80)).float() / 127.5 - 1
    first, second = torch.randn(N, 2, 2, generator=torch.Generator().manual_seed(0)).unbind(1)
    made = styled(x, first)
    other = styled(x, second)
    mean = turn(x)
    features = RandomFeatures(1)
    real = features(b)
    middle = features(b).mean(0)
    std = features(b).std(0)
    std = torch.maximum(std, 0.1 * std.mean())
    target, moved, source = ((f - middle) / std for f in (real, features(made), features(x)))
    assert (score.source, score.to) == ("A", "B")
    assert score.distance == pytest.approx(kernel_distance(moved, target), abs=1e-6)
    assert score.identity == pytest.approx(kernel_distance(source, target), rel=1e-5)
    assert score.cycle == pytest.approx((turn(made) - x).abs().mean().item() / 2, rel=0.1)
    assert score.diversity == pytest.approx((made - other).abs().mean().item() / 2, rel=1e-4)
    energy, at_mean = (kl(z, torch.ones(N)).mean().item() for z in (made, mean))
    assert score.mean_style_energy_ratio == pytest.approx(
        (at_mean + ALIKE) / (energy + ALIKE), rel=1e-4
    )
    assert score.feature_std_ratio == pytest.approx(
        (features(mean).std(0) / std).mean().item(), rel=1e-5
    )
    held_out = turn(textures(2)).float() / 127.5 - 1
    unseen, seen = (kl(z, torch.ones(len(z))).mean().item() for z in (held_out, b))
    assert score.kl_generalization_gap == pytest.approx(unseen - seen, abs=1e-5)
    a = features(textures(3, 80).float() / 127.5 - 1)
    assert score.domain_distance == pytest.approx(
        kernel_distance((a - middle) / std, target), rel=1e-5
    )
    assert score.value == pytest.approx(score.distance / score.domain_distance + score.cycle / 10)


def test_better_translators_score_lower() -> None:
    translators: list[Translate] = [
        styled,
        lambda x, z: 0.5 * (turn(x) + x),
        lambda x, z: x,
        lambda x, z: torch.ones_like(x),
    ]
    criteria = [model_score(translation).criterion for translation in translators]
    for better, worse in pairwise(criteria):
        assert better.value < worse.value
        assert better.is_as_good_as(worse)
        assert not worse.is_as_good_as(better)


def test_a_good_run_is_not_warned_of() -> None:
    assert not any(score.warnings(True) for score in scores(styled))


@pytest.mark.parametrize(
    ("translation", "kind"),
    [
        (lambda x, z: x + 0.02 * z[:, :1, None, None], "A to B, identity"),
        (lambda x, z: torch.ones_like(x) * z[:, :1, None, None].cos(), "A to B, content"),
    ],
    ids=["identity", "content"],
)
def test_what_the_pictures_show(translation: Translate, kind: str) -> None:
    assert kind in scores(translation)[0].warnings(True)


def test_a_style_that_changes_nothing_is_noted_and_no_warning() -> None:
    score = scores(lambda x, z: turn(x))[0]
    assert list(score.notes(True)) == ["A to B, style"]
    assert score.notes(False) == score.warnings(True) == {}


def test_quality_is_told_in_percent_where_the_paired_difference_is_clear() -> None:
    better = direction_score(distance=0.69, gain_error=0.1)
    assert better.quality.startswith("A to B: 31 % nearer to B")
    worse = direction_score(distance=1.31, gain_error=0.1)
    assert worse.quality.startswith("A to B: farther from B")
    for error in (0.2, float("nan")):
        unclear = direction_score(distance=0.69, gain_error=error)
        assert "no clear difference" in unclear.quality
    alike = direction_score(distance=0.69, gain_error=0.1, domain_distance=0.1)
    assert "told apart" in alike.quality


def test_the_paired_error_leaves_out_what_both_distances_have_in_common() -> None:
    unchanged = scores(lambda x, z: x)[0]
    assert unchanged.gain_error < 1e-6 < unchanged.distance_error
    good = scores(styled)[0]
    assert 0 < good.gain_error < 2 * good.domain_distance_error
    assert " % nearer to B" in good.quality


def test_of_many_directions_the_best_and_the_worst_are_named() -> None:
    distances = (0.5, 0.2, 0.9)
    named = quality_sentence([direction_score(distance=d, gain_error=0.01) for d in distances])
    assert "80 %" in named
    assert "10 %" in named
    assert "50 %" not in named


def test_an_energy_gap_of_the_wrong_sign_has_a_number() -> None:
    assert scores(styled)[0].energy_gap == 0
    assert "-3.2 nats" in direction_score(energy_gap=-3.21).warnings(True)["A to B, energy gap"]


def test_memorized_training_images_have_a_number() -> None:
    warned = direction_score(kl_generalization_gap=MEMORIZED + 1).warnings(True)
    assert f"{MEMORIZED + 1:.1f} nats" in warned["B, memorized"]
    assert direction_score(kl_generalization_gap=MEMORIZED - 1).warnings(True) == {}


def test_before_the_introspective_phase_only_lost_content_is_warned_of() -> None:
    score = direction_score(
        distance=2.0,
        feature_std_ratio=COLLAPSED / 2,
        diversity=0.0,
        energy_gap=-1.0,
        kl_generalization_gap=99.0,
    )
    assert list(score.warnings(False)) == ["A to B, content"]
    assert len(score.warnings(True)) == 4


def test_a_lucky_draw_does_not_lock_the_choice() -> None:
    """Of perfect translators, whose distances are 0 but for chance, nearly every one is kept."""
    features = RandomFeatures(1)
    real = features(textures(0, 80).float() / 127.5 - 1)
    center = real.mean(0)
    std = real.std(0).clamp_min(0.1)

    def criterion(images: Tensor) -> SelectionCriterion:
        found = (features(images.float() / 127.5 - 1) - center) / std
        distance = estimate_kernel_distance(found, (real - center) / std)
        influence = [distance.influence_x.tolist(), distance.influence_y.tolist()]
        return SelectionCriterion(distance.value, influence)

    perfect = [criterion(textures(seed)) for seed in range(1, 21)]
    best = min(perfect, key=lambda one: one.value)
    assert best.value < 0 < max(one.value for one in perfect)
    assert sum(one.is_as_good_as(best) for one in perfect) >= 18
    faded = textures(21) * 0.5
    assert not criterion(faded).is_as_good_as(best)


@pytest.mark.parametrize("value", [-0.0003, 0.0])
def test_a_criterion_of_nothing_can_be_followed(value: float) -> None:
    """The error of the difference decides where a share of the lowest criterion is nothing."""
    noise = [0.01, -0.01, 0.02, -0.02]
    lucky = SelectionCriterion(value, [noise])
    later = SelectionCriterion(0.0, [noise[::-1]])
    allowed = CHANCE * later.error_of_difference(lucky)
    assert SelectionCriterion(value + 0.99 * allowed, later.influence).is_as_good_as(lucky)
    assert not SelectionCriterion(value + 1.01 * allowed, later.influence).is_as_good_as(lucky)


def test_models_that_the_criterion_does_not_tell_apart_are_as_good() -> None:
    same = [[0.1, -0.1]]
    best = SelectionCriterion(0.1, same)
    assert SelectionCriterion(0.1 * (1 + AS_GOOD) - 1e-6, same).is_as_good_as(best)
    assert not SelectionCriterion(0.1 * (1 + AS_GOOD) + 1e-6, same).is_as_good_as(best)


def test_what_two_models_have_in_common_is_no_error_of_their_difference() -> None:
    """The jackknife of a difference of means, with sets of two sizes."""
    one = SelectionCriterion(0.3, [[1.0, 2.0, 6.0], [0.0, 4.0]])
    other = SelectionCriterion(0.1, [[1.5, 2.0, 6.0], [1.0, 5.0]])
    assert one.error == pytest.approx((7 / 3 + 8 / 2) ** 0.5)
    assert one.error_of_difference(other) == pytest.approx((0.25 / 9) ** 0.5)
    assert one.error_of_difference(one) == 0


def test_the_error_is_that_of_other_images() -> None:
    """The criterion of one translator on other held-out and training images, many times."""
    found = []
    for seed in range(0, 200, 4):
        held_out = [textures(seed + 1000), turn(textures(seed + 1001))]
        trained = [textures(seed + 1002, 80), turn(textures(seed + 1003, 80))]
        selector = ModelSelector("AB", held_out, trained)
        half = selector.score(cast(Model, Stub(lambda x, z: 0.6 * turn(x) + 0.4 * x, no_kl)))
        found.append(half.criterion)
    deviation = torch.tensor([criterion.value for criterion in found]).std().item()
    mean_error = sum(criterion.error for criterion in found) / len(found)
    assert 0.5 < mean_error / deviation < 2


def test_directions_share_the_images_of_a_domain() -> None:
    """Of three domains each direction counts a sixth, and each set of images once."""
    sizes = (10, 11, 12)
    held_out = [textures(d, n) for d, n in enumerate(sizes)]
    trained = [textures(10 + d, 2 * n) for d, n in enumerate(sizes)]
    selector = ModelSelector("ABC", held_out, trained)
    found = selector.score(cast(Model, Stub(lambda x, z: x, no_kl)))
    assert found.criterion.influence is not None
    assert [len(x) for x in found.criterion.influence] == [10, 11, 12, 20, 22, 24]
    assert found.criterion.value == pytest.approx(
        sum(score.value for score in found.directions) / 6
    )


def test_the_better_one_is_remembered() -> None:
    new = SelectionCriterion(0.2, [[1.0, 2.0]])
    assert new.better_of(None, None) == new
    assert new.better_of(0.3, [[0.0, 1.0]]) == new
    assert new.better_of(0.1, [[0.0, 1.0]]) == SelectionCriterion(0.1, [[0.0, 1.0]])


@pytest.mark.parametrize("influence", [None, [[0.0, 1.0, 2.0]]], ids=["earlier", "other images"])
def test_without_a_common_influence_errors_are_independent(
    influence: list[list[float]] | None,
) -> None:
    new = SelectionCriterion(0.2, [[1.0, 2.0]])
    best = new.better_of(0.1, influence)
    assert best.value == 0.1
    assert new.error_of_difference(best) == pytest.approx(2**0.5 * new.error)


def halves(translation: Translate) -> ModelScore:
    """The score where both domains are of one kind."""
    held_out = [textures(1), textures(2)]
    trained = [textures(3, 80), textures(4, 80)]
    return ModelSelector("AB", held_out, trained).score(cast(Model, Stub(translation, no_kl)))


def test_domains_that_cannot_be_told_apart_are_named_and_not_divided_by() -> None:
    unchanged = halves(lambda x, z: x + 0.02 * z[:, :1, None, None])
    for score in unchanged.directions:
        assert abs(score.domain_distance) < DISTINCT * score.domain_distance_error
        assert score.value == pytest.approx(score.distance + score.cycle / 10)
        warned = score.warnings(False)
        assert list(warned) == [f"{score.source} to {score.to}, alike"]
        assert f"{score.domain_distance:.3f}" in warned[f"{score.source} to {score.to}, alike"]
        # to be no nearer than nothing is no fault
        assert score.warnings(True).keys() == warned.keys()
    # what is clearly broken is still found
    broken = halves(lambda x, z: torch.ones_like(x))
    assert not broken.criterion.is_as_good_as(unchanged.criterion)


def test_domains_that_differ_are_told_apart() -> None:
    assert all(score.domains_differ for score in scores(styled))
    limit = DISTINCT * 0.1
    assert direction_score(domain_distance=limit + 0.01).unit == limit + 0.01
    assert direction_score(domain_distance=limit - 0.01).unit == 1
    assert direction_score(domain_distance=0.0, domain_distance_error=0.0).unit == 1


def test_the_images_come_in_batches_without_changing_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = scores(styled)
    monkeypatch.setattr("translate.data.dataset.BATCH", 40)
    for a, b in zip(whole, scores(styled), strict=True):
        assert (a.distance, a.cycle, a.feature_std_ratio) == pytest.approx(
            (b.distance, b.cycle, b.feature_std_ratio), abs=1e-6
        )


def test_domains_whose_images_are_all_alike_are_scored() -> None:
    blank = torch.full((4, 1, SIZE, SIZE), 255, dtype=torch.uint8)
    for kinds in ([textures(1), blank], [blank, blank]):
        found = ModelSelector("AB", kinds, kinds).score(cast(Model, Stub(styled, no_kl)))
        assert math.isfinite(found.criterion.error)
        for score in found.directions:
            assert all(map(math.isfinite, (score.value, *astuple(score)[2:])))


def test_where_the_mean_of_all_styles_is_none_random_ones_are_the_default() -> None:
    """Images of B are bright or dark; what lies between costs the more energy the grayer it is."""

    def many_looks(x: Tensor, z: Tensor) -> Tensor:
        return turn(x) * 0.2 + 0.8 * torch.tanh(3 * z[:, :1, None, None])

    def kl(x: Tensor, y: Tensor) -> Tensor:
        return 20 - 10 * x.mean((1, 2, 3)).abs()

    assert default_styles(scores(many_looks, kl), False) == {"A": "random", "B": "random"}
    assert default_styles(scores(many_looks, no_kl), False) == {"A": "mean", "B": "mean"}
    one_direction = [score for score in scores(many_looks, kl) if score.to == "B"] + [
        score for score in scores(styled, kl) if score.to == "A"
    ]
    assert default_styles(one_direction, False) == {"A": "mean", "B": "random"}
    assert default_styles(one_direction, True) == {"A": "keep", "B": "keep"}
