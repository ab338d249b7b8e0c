"""Random changes on the device, with kornia: before content is taken, and before the energy.

All run in [0, 1], float32, autocast off (kornia 0.9 returns zeros for some intensity operations
on negative inputs) and draw from torch's default generator, which the trainer seeds at every
step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import kornia.augmentation
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from translate.config import AugmentConfig

Augmentation: TypeAlias = Callable[[Tensor], Tensor]


class WholeShift(nn.Module):
    """A shift of each image by whole pixels, with its border continued (Zhao et al. 2020).

    Shifts by parts of a pixel, as kornia's, blur every image by another amount, and hide from the
    encoder how fine its detail is.
    """

    def __init__(self, share: float) -> None:
        """Prepare shifts.

        Args:
            share: The largest shift, of the side.
        """
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Shift images (B, C, H, W)."""
        batch, _, height, width = x.shape
        down, right = (round(self.share * side) for side in (height, width))
        padded = F.pad(x, (right, right, down, down), mode="replicate")
        top = torch.randint(2 * down + 1, (batch, 1, 1), device=x.device)
        left = torch.randint(2 * right + 1, (batch, 1, 1), device=x.device)
        rows = top + torch.arange(height, device=x.device)[:, None]
        columns = left + torch.arange(width, device=x.device)
        image = torch.arange(batch, device=x.device)[:, None, None]
        return padded.movedim(1, -1)[image, rows, columns].movedim(-1, 1)


class SmoothWarp(nn.Module):
    """A thin-plate-spline warp that fills what comes in from outside with the frame's mean.

    kornia leaves it black.
    """

    def __init__(self, scale: float) -> None:
        """Prepare warps of four images in five.

        Args:
            scale: Largest displacement of the spline's points, of a side of 2.
        """
        super().__init__()
        self.spline = kornia.augmentation.RandomThinPlateSpline(scale=scale, p=0.8)

    def forward(self, x: Tensor) -> Tensor:
        """Warp images (B, C, H, W), each by a displacement of its own."""
        rows = x[:, :, [0, -1]].flatten(2)
        columns = x[:, :, :, [0, -1]].flatten(2)
        frame = torch.cat([rows, columns], dim=2).mean(2)[:, :, None, None]
        return cast(Tensor, self.spline(x - frame)) + frame


class Colour(nn.Module):
    """Changes brightness, contrast, saturation and hue; gray images go through as gray colours."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        a = strength
        self.jiggle = kornia.augmentation.ColorJiggle(
            brightness=0.3 * a, contrast=0.3 * a, saturation=0.5 * a, hue=0.1 * a, p=0.8
        )

    def forward(self, x: Tensor) -> Tensor:
        """Change the colours of images (B, 1 or 3, H, W) in [0, 1]."""
        changed = cast(Tensor, self.jiggle(x.expand(-1, 3, -1, -1)))
        return changed[:, : x.shape[1]]


class Hue(nn.Module):
    """Turns the hue of images; gray ones stay as they are."""

    def __init__(self, strength: float) -> None:
        """Prepare turns by up to `strength` times half the colour circle, to either side."""
        super().__init__()
        self.turn = kornia.augmentation.ColorJiggle(hue=0.5 * strength, p=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Turn the hue of images (B, 1 or 3, H, W) in [0, 1], each by an angle of its own."""
        return cast(Tensor, self.turn(x)) if x.shape[1] == 3 else x


def _in_unit_range(transform: nn.Module) -> Augmentation:
    """Wrap a transform of images in [0, 1] to take and return images in [-1, 1], in float32."""

    def apply(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            changed: Tensor = transform((x.float() + 1) / 2)
            return changed.clamp(0, 1) * 2 - 1

    return apply


def _unchanged(x: Tensor) -> Tensor:
    return x


def _of_some(change: Augmentation, share: float, x: Tensor) -> Tensor:
    """Change a share of the images (B, C, H, W)."""
    chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < share
    return torch.where(chosen, change(x), x)


def content_augmentation(config: AugmentConfig, share: float) -> Augmentation:
    """Return the changes before c is taken.

    c then cannot carry what was changed, and the decoder learns to supply the domain's own.

    Args:
        config: Strengths of the changes.
        share: The share of the images that are changed. The decoder cannot know what was changed;
            where all are, it learns to blur.
    """
    a = config.content_affine
    w = config.content_warp
    c = config.content_colour
    hue = config.content_hue
    steps: list[nn.Module] = []
    if a > 0:
        steps.append(
            kornia.augmentation.RandomAffine(
                degrees=10 * a,
                translate=(0.1 * a, 0.1 * a),
                scale=(1 - 0.2 * a, 1 + 0.2 * a),
                shear=(-15 * a, 15 * a, -15 * a, 15 * a),
                padding_mode="border",
                p=1.0,
            )
        )
    if w > 0:
        steps.append(SmoothWarp(0.2 * w))
    if c > 0:
        steps.append(Colour(c))
    if hue > 0:
        steps.append(Hue(hue))
    if not steps or share == 0:
        return _unchanged
    change = _in_unit_range(nn.Sequential(*steps))

    return partial(_of_some, change, share)


class EnergyAugmentation:
    """The changes of real images and fakes alike before the energy.

    They are differentiable (Zhao et al. 2020, DiffAugment).

    Attributes:
        share: Of the images whose place and whose colours are changed, too, each as likely and
            independently (Karras et al. 2020, ADA); a training may steer it.
    """

    def __init__(self, config: AugmentConfig) -> None:
        """Prepare what the config asks for."""
        steps: list[nn.Module] = []
        if config.energy_flip > 0:
            steps.append(kornia.augmentation.RandomHorizontalFlip(p=config.energy_flip))
        if config.energy_shift > 0:
            shift = config.energy_shift
            steps.append(
                WholeShift(shift)
                if config.energy_whole_pixels
                else kornia.augmentation.RandomAffine(
                    degrees=0.0, translate=(shift, shift), padding_mode="border", p=1.0
                )
            )
        if config.energy_cutout > 0:
            cutout = config.energy_cutout
            steps.append(kornia.augmentation.RandomErasing(scale=(0.02, 0.25), value=0.5, p=cutout))
        self.always = _in_unit_range(nn.Sequential(*steps)) if steps else _unchanged
        self.place = _in_unit_range(
            kornia.augmentation.RandomAffine(
                degrees=10.0, scale=(0.8, 1.25), padding_mode="border", p=1.0
            )
        )
        self.colour = _in_unit_range(Colour(1.0))
        self.share = 0.0

    @property
    def changes(self) -> bool:
        """Whether it changes any image."""
        return self.always is not _unchanged or self.share > 0

    def __call__(self, x: Tensor) -> Tensor:
        """Change images (B, C, H, W) in [-1, 1]."""
        if self.share > 0:
            x = _of_some(self.place, self.share, x)
            x = _of_some(self.colour, self.share, x)
        return self.always(x)


class Augmentations(NamedTuple):
    """The augmentations of training, each (B, C, H, W) in [-1, 1] -> the same.

    Attributes:
        warmup: Of images, before their content is taken in warm-up.
        introspective: The same in the introspective phase.
        cycle: Of translations, before their content is taken for the cycle.
        energy: Of real images and fakes alike, before their style is taken.
    """

    warmup: Augmentation
    introspective: Augmentation
    cycle: Augmentation
    energy: EnergyAugmentation


def augmentations(config: AugmentConfig) -> Augmentations:
    """Return those that the config asks for."""
    return Augmentations(
        warmup=content_augmentation(config, config.content_share),
        introspective=content_augmentation(config, config.game_share),
        cycle=content_augmentation(config, config.cycle_share),
        energy=EnergyAugmentation(config),
    )
