"""Do domains overlap, or do they lie apart? Whether pictures can stay nearly as they are.

Legend: n pictures of a domain, S side of thumbnails in pixels; pixels are uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch

from translate.io.images import UInt8
from translate.io.tensors import images_from_pixels
from translate.metrics.distribution import KernelDistance
from translate.metrics.random_features import RandomFeatures, standardized_distance

# Domains lie apart that are further from each other than this, in units of their own variety, by
# more than chance. Samples of 24 pictures of each had a lower end of at most 0.1 where they were
# photographs or emoji of two artists, and of at least 12 where they were typefaces, label maps
# and photographs, scans of two kinds, or renderings of two cars (docs/experiments.md).
APART = 7.0
CHANCE = 2.0  # standard errors


def domain_gap(domains: Sequence[UInt8]) -> KernelDistance:
    """Measure how far apart domains are, in units of how much their own pictures vary.

    Where domains overlap, a picture has hardly to be changed to belong to the other one, and what
    an autoencoder loses of it is worse than what is won. Where they are far apart, it has to be
    drawn anew.

    Args:
        domains: thumbnails of each, (n, S, S, 3), at least two of at least two domains.

    Returns:
        The kernel distance on random features, to the nearer of both; of several pairs the
        largest. Near 0 for two samples of one domain.
    """
    model = RandomFeatures(3)
    with torch.no_grad():
        features = [model(images_from_pixels(thumbnails)) for thumbnails in domains]
    gaps = [
        min(standardized_distance(x, y), standardized_distance(y, x), key=lambda gap: gap.value)
        for x, y in combinations(features, 2)
    ]
    return max(gaps, key=lambda gap: gap.value)


def lie_apart(domains: Sequence[UInt8]) -> bool:
    """Whether domains are so far apart that no picture can stay as it is, by more than chance.

    Args:
        domains: thumbnails of each, (n, S, S, 3); of a single one no distance is known.
    """
    if any(len(thumbnails) < 2 for thumbnails in domains):
        return False
    gap = domain_gap(domains)
    return gap.value - CHANCE * gap.error > APART
