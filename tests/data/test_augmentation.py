"""Augmentation on the device: ranges, seeds, gradients, and nothing at all when switched off."""

from __future__ import annotations

import pytest
import torch

from translate.config import AugmentConfig
from translate.data.augmentation import EnergyAugmentation, content_augmentation

STRENGTHS = [
    name
    for name, field in AugmentConfig.model_fields.items()
    if not name.endswith("_share") and field.annotation is not bool and name != "memorized"
]
OFF = dict.fromkeys(STRENGTHS, 0.0)
EACH = [{**OFF, name: 0.5} for name in STRENGTHS]


def apply(settings: dict[str, float], x: torch.Tensor, share: float = 1.0) -> torch.Tensor:
    config = AugmentConfig.model_validate(settings)
    return EnergyAugmentation(config)(content_augmentation(config, share)(x))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", EACH, ids=STRENGTHS)
def test_each_changes_images_repeatably_within_range(
    settings: dict[str, float], channels: int
) -> None:
    x = torch.rand(16, channels, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.manual_seed(1)
    first = apply(settings, x)
    if channels == 1 and settings["content_hue"]:
        assert torch.equal(first, x)  # gray has no hue
        return
    torch.manual_seed(1)
    second = apply(settings, x)
    third = apply(settings, x)
    assert torch.equal(first, second)
    assert first.shape == x.shape
    assert first.dtype == torch.float32
    assert first.abs().max() <= 1
    changed = (first - x).abs().flatten(1).amax(1) > 1e-3
    assert changed.any()
    assert not torch.equal(first, third)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_images_gives_content_from_a_changed_copy(share: float) -> None:
    x = torch.rand(200, 1, 16, 16) * 2 - 1
    torch.manual_seed(0)
    changed = (apply({**OFF, "content_affine": 1.0}, x, share) != x).flatten(1).any(1)
    assert abs(changed.float().mean().item() - share) < 0.1


def test_switched_off_changes_nothing() -> None:
    x = torch.rand(2, 1, 8, 8)
    assert apply(OFF, x) is x


def test_white_ground_stays_white() -> None:
    """What moves in from outside continues the image: no frame shows which were changed."""
    white = torch.ones(8, 1, 16, 16)
    settings = {**OFF, "content_affine": 1.0, "content_warp": 1.0, "energy_shift": 0.2}
    torch.testing.assert_close(apply(settings, white), white)


def test_gradients_pass_to_fakes_before_the_energy() -> None:
    x = (torch.rand(4, 3, 16, 16) * 1.8 - 0.9).requires_grad_()
    augment = EnergyAugmentation(
        AugmentConfig.model_validate({**OFF, "energy_shift": 0.1, "energy_cutout": 1.0})
    )
    augment(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).any()


def test_half_precision_regions_compute_in_float32() -> None:
    x = torch.rand(2, 1, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert apply({**OFF, "content_affine": 1.0}, x).dtype == torch.float32


def test_hue_turns_all_the_way_around_and_gray_stays() -> None:
    """A pure red becomes any pure colour: its brightest channel stays full, its darkest empty."""
    red = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(200, 3, 8, 8)
    torch.manual_seed(0)
    turned = apply({**OFF, "content_hue": 1.0}, red)[:, :, 0, 0]
    torch.testing.assert_close(turned.amax(1), torch.ones(200), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned.amin(1), -torch.ones(200), atol=1e-4, rtol=0)
    counts = turned.argmax(1).bincount(minlength=3)
    assert counts.min() > 40
    gray = torch.full((4, 3, 8, 8), 0.3)
    torch.testing.assert_close(apply({**OFF, "content_hue": 1.0}, gray), gray, atol=1e-4, rtol=0)


def test_a_share_is_mirrored_before_the_energy() -> None:
    x = torch.rand(400, 1, 8, 8) * 2 - 1
    torch.manual_seed(0)
    made = EnergyAugmentation(AugmentConfig.model_validate({**OFF, "energy_flip": 0.3}))(x)
    mirrored = torch.isclose(made, x.flip(3), atol=1e-5).flatten(1).all(1)
    same = torch.isclose(made, x, atol=1e-5).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert abs(mirrored.float().mean().item() - 0.3) < 0.07


@pytest.mark.parametrize("channels", [1, 3])
def test_a_share_of_the_images_is_changed_more_before_the_energy(channels: int) -> None:
    """Place and colours independently, so that 1 - (1 - share)^2 are changed; 0 draws nothing."""
    x = torch.rand(300, channels, 16, 16) * 2 - 1
    augment = EnergyAugmentation(AugmentConfig.model_validate(OFF))
    before = torch.get_rng_state()
    assert augment(x) is x
    assert torch.equal(torch.get_rng_state(), before)

    augment.share = 0.4
    made = augment(x)
    changed = (made - x).flatten(1).abs().amax(1) > 1e-5
    assert made.abs().max() <= 1
    # of the colours' changes, kornia's leaves a fifth out
    expected = 1 - 0.6 * (1 - 0.4 * 0.8)
    assert abs(changed.float().mean().item() - expected) < 0.1


def test_images_are_shifted_by_whole_pixels_before_the_energy() -> None:
    """Their values are not mixed, and each place of an image comes from one shift, its own."""
    height, width, share = 16, 24, 0.25
    x = (torch.arange(height)[:, None] * width + torch.arange(width)).float() / (height * width)
    torch.manual_seed(0)
    settings = {**OFF, "energy_shift": share, "energy_whole_pixels": True}
    augment = EnergyAugmentation(AugmentConfig.model_validate(settings))
    made = augment(x.expand(300, 2, -1, -1) * 2 - 1)
    places = ((made + 1) / 2 * height * width).round().long()
    torch.testing.assert_close(places / (height * width) * 2 - 1, made, atol=1e-5, rtol=0)
    assert torch.equal(places[:, 0], places[:, 1])
    rows, columns = places[:, 0] // width, places[:, 0] % width
    down = rows[:, height // 2, width // 2] - height // 2
    right = columns[:, height // 2, width // 2] - width // 2
    expected_rows = (torch.arange(height) + down[:, None]).clamp(0, height - 1)
    expected_columns = (torch.arange(width) + right[:, None]).clamp(0, width - 1)
    assert torch.equal(rows, expected_rows[:, :, None].expand_as(rows))
    assert torch.equal(columns, expected_columns[:, None].expand_as(columns))
    assert set(down.tolist()) == set(range(-4, 5))
    assert set(right.tolist()) == set(range(-6, 7))
