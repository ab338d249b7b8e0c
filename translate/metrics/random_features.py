"""Distances of sets of images on random features, for images of any kind and without weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.metrics.distribution import KernelDistance, estimate_kernel_distance

# Least deviation of a feature, as a share of the mean one: a feature that hardly varies must not
# decide alone.
MIN_FEATURE_STD = 0.1
MIN_STD = 1e-3  # the same where the images of a set are all alike


class RandomFeatures(nn.Module):
    """Means and deviations of three random convolution layers.

    They need no training, are the same for every run and do not move with the model, so that the
    scores of one run can be compared (as in Saxe et al. 2011).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        layers = ((channels, 64, 5), (64, 128, 3), (128, 128, 3))
        for i, (inputs, outputs, size) in enumerate(layers):
            scale = (2 / (inputs * size**2)) ** 0.5
            weight = torch.randn(outputs, inputs, size, size, generator=generator)
            self.register_buffer(f"w{i}", scale * weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (n, 640) of images (n, C, S, S)."""
        found = []
        for weight in self.buffers():
            x = F.relu(F.conv2d(x, weight, stride=2, padding=weight.shape[-1] // 2))
            found += [x.mean((2, 3)), x.std((2, 3))]
        return torch.cat(found, dim=1)


def center_and_std(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (D,) of a set's features (m, D), the units of distances to it."""
    std = target.std(0)
    return target.mean(0), std.clamp_min(max(MIN_FEATURE_STD * std.mean().item(), MIN_STD))


def standardized_distance(features: Tensor, target: Tensor) -> KernelDistance:
    """Estimate the kernel distance of two sets in units of how much the target itself varies.

    Args:
        features: (n, D), n at least 2.
        target: (m, D), m at least 2.
    """
    center, std = center_and_std(target)
    return estimate_kernel_distance((features - center) / std, (target - center) / std)
