"""Do domains overlap, or do they lie apart? Whether pictures can stay nearly as they are.

Legend: n pictures of a domain, S side of thumbnails in pixels, D features; pixels are uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from translate.io.files import evenly_spaced
from translate.io.images import UInt8, to_channels
from translate.io.tensors import images_from_pixels
from translate.metrics.distribution import KernelDistance
from translate.metrics.lpips import Perceptual
from translate.metrics.random_features import RandomFeatures, standardized_distance

# Domains lie apart that are further from each other than this, in units of their own variety, by
# more than chance. Samples of 24 pictures of each had a lower end of at most 0.1 where they were
# photographs or emoji of two artists, and of at least 12 where they were typefaces, label maps
# and photographs, scans of two kinds, or renderings of two cars (docs/experiments.md).
APART = 7.0
CHANCE = 2.0  # standard errors
# Domains show things of another kind where more of their pictures than this have their nearest
# neighbour in their own domain. Of 128 photographs or emoji of each, 0.49 to 0.64 had, where they
# showed the same things; 0.82 of cats and dogs (docs/experiments.md).
OWN = 0.75


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

    Not where colours alone lie apart, as of night and day or of two stains: those can change while
    everything else stays.

    Args:
        domains: thumbnails of each, (n, S, S, 3); of a single one no distance is known.
    """
    if any(len(thumbnails) < 2 for thumbnails in domains):
        return False
    return _exceeds(domain_gap(domains), APART) and _exceeds(domain_gap(match_colours(domains)), 0)


def _exceeds(gap: KernelDistance, bound: float) -> bool:
    """Whether a distance is above a bound by more than chance."""
    return gap.value - CHANCE * gap.error > bound


def differ_in_kind(domains: Sequence[UInt8], perceptual: Perceptual) -> bool:
    """Whether domains that overlap in their pixels show things of another kind, as cats and dogs.

    Then shapes have to change, which colours alone cannot do. So it is asked of the pictures in
    gray, at one brightness and contrast.

    Args:
        domains: thumbnails of each, (n, S, S, 3), of at least two domains; some 100 of each tell.
        perceptual: the network whose features tell things apart.
    """
    grays = [
        np.stack([to_channels(thumbnail, 1) for thumbnail in thumbnails]) for thumbnails in domains
    ]
    features = [perceptual.features(torch.from_numpy(gray)) for gray in match_colours(grays)]
    return max(own_neighbours(x, y) for x, y in combinations(features, 2)) > OWN


def match_colours(domains: Sequence[UInt8]) -> list[UInt8]:
    """Give all domains the same mean and deviation of each channel, which are their averages.

    One affine change of colours for all pictures of a domain (Reinhard et al., 2001, in RGB).

    Args:
        domains: thumbnails of each, (n, S, S, 1 or 3).
    """
    means = [thumbnails.mean((0, 1, 2)) for thumbnails in domains]
    deviations = [thumbnails.std((0, 1, 2)) for thumbnails in domains]
    mean = np.mean(means, axis=0)
    deviation = np.mean(deviations, axis=0)
    return [
        ((thumbnails - m) / np.maximum(s, 1) * deviation + mean)
        .round()
        .clip(0, 255)
        .astype(np.uint8)
        for thumbnails, m, s in zip(domains, means, deviations, strict=True)
    ]


def own_neighbours(x: Tensor, y: Tensor) -> float:
    """Return the share of pictures whose nearest neighbour is of their own domain.

    It is 1/2 in the mean where both are samples of one domain, and 1 where they never mix: the
    accuracy of the nearest neighbour, left out one by one (Lopez-Paz and Oquab, ICLR 2017). As
    many of each are taken, and directions are compared, not lengths.

    Args:
        x: (n, D) features of one domain.
        y: (m, D) of another one.
    """
    count = min(len(x), len(y))
    some = [features[evenly_spaced(range(len(features)), count)] for features in (x, y)]
    both = F.normalize(torch.cat(some), dim=1)
    label = torch.arange(2).repeat_interleave(count)
    likeness = (both @ both.T).fill_diagonal_(-torch.inf)
    return float((label[likeness.argmax(1)] == label).float().mean())
