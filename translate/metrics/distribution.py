"""Distances between two sets of images, of their features (N, D): kernel distance, KID and FID."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# As in the paper and torch-fidelity.
KID_SUBSETS = 100
KID_LARGEST = 1000  # images of a subset, at most
FID_HALVES = 10  # whose standard deviation gives FID's interval
# Images; with fewer, FID depends more on their number than on their similarity.
FID_HEADLINE = 2048


def _check_features(fx: Tensor, fy: Tensor, least: int) -> None:
    """Refuse features that are not (N, D) and (M, D) with N and M at least `least`."""
    if fx.ndim != 2 or fy.ndim != 2 or fx.shape[1] != fy.shape[1]:
        raise ValueError(
            f"expected features (N, D) and (M, D), got {tuple(fx.shape)} and {tuple(fy.shape)}"
        )
    if min(len(fx), len(fy)) < least:
        raise ValueError(
            f"at least {least} images are needed on each side, got {len(fx)} and {len(fy)}"
        )


def scaled(fx: Tensor, fy: Tensor) -> tuple[Tensor, Tensor]:
    """Divide two sets of features by the standard deviation of all of the target's.

    For features that have no scale of their own, as those of LPIPS networks: KID's kernel is
    made for one near 1.

    Args:
        fx: (N, D), the measured set.
        fy: (M, D), the target set.

    Returns:
        The same in float64.

    Raises:
        ValueError: other shapes, fewer than two rows, or a target without variance.
    """
    _check_features(fx, fy, 2)
    std = fy.double().std()
    if not std > 0:
        raise ValueError(
            "the features of the target set have no variance: are all its images the same?"
        )
    return fx.double() / std, fy.double() / std


def kernel_distance(fx: Tensor, fy: Tensor) -> float:
    """Compute KID's unbiased squared MMD of all rows at once, for sets of a few hundred images.

    Unlike torch-fidelity's, for sets of unequal size. 0 on average for two sets of one
    distribution, may be slightly negative; not to be compared across features or target sets.

    Args:
        fx: (N, D), the measured set, of a scale near 1.
        fy: (M, D), the target set.

    Raises:
        ValueError: other shapes, or fewer than two rows.
    """
    return estimate_kernel_distance(fx, fy).value


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance with what each image contributes to its error.

    Attributes:
        value: the distance, without unit.
        influence_x: (N,) float64, by how much leaving out an image of the measured set lowers the
            distance, times N - 1.
        influence_y: (M,) float64, the same for the target set.
    """

    value: float
    influence_x: Tensor
    influence_y: Tensor

    @property
    def error(self) -> float:
        """Standard error of the distance."""
        return jackknife_error([self.influence_x, self.influence_y])


def jackknife_error(influences: Sequence[Tensor]) -> float:
    """Compute the jackknife's standard error (Arvesen 1969, "Jackknifing U-statistics").

    It is biased upwards (Efron & Stein 1981), most where both sets are of one distribution: there
    the first-order variance is 0 (Gretton et al. 2012, section 5) and the jackknife takes up to
    twice the variance that is left. So it stays above 0 there.

    Args:
        influences: for each of the independent sets, (n,) with n at least 2: what its images
            contribute, up to a constant.
    """
    return math.sqrt(sum(x.var() / len(x) for x in influences))


def estimate_kernel_distance(fx: Tensor, fy: Tensor) -> KernelDistance:
    """Compute the kernel distance as `kernel_distance` does, with its error.

    The influences of two distances to the same images subtract to those of their difference, whose
    error is smaller by what both have in common (Bounliphone et al. 2016).

    Args:
        fx: (N, D), the measured set, of a scale near 1.
        fy: (M, D), the target set.

    Raises:
        ValueError: other shapes, or fewer than two rows.
    """
    _check_features(fx, fy, 2)
    fx = fx.double()
    fy = fy.double()
    n = len(fx)
    m = len(fy)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    k_xx = kernel(fx, fx)
    k_yy = kernel(fy, fy)
    k_xy = kernel(fx, fy)
    within_x = (k_xx.sum() - k_xx.trace()) / (n * (n - 1))
    within_y = (k_yy.sum() - k_yy.trace()) / (m * (m - 1))
    distance = float(within_x + within_y - 2 * k_xy.mean())

    # Of two rows none has a pair left within its set: both have the same influence there.
    influence_x = 2 * ((k_xx.sum(1) - k_xx.diagonal()) / max(n - 2, 1) - k_xy.mean(1))
    influence_y = 2 * ((k_yy.sum(1) - k_yy.diagonal()) / max(m - 2, 1) - k_xy.mean(0))
    return KernelDistance(distance, influence_x, influence_y)


def error_of_difference(fx: Tensor, fz: Tensor, fy: Tensor) -> float:
    """Compute the standard error of the difference of two kernel distances to one target set.

    Args:
        fx: (N, D), a measured set, of a scale near 1.
        fz: (N, D), another one; where row i of both belongs to one image, such as before and after
            its translation, what is easy or hard about it cancels out.
        fy: (M, D), the target set.

    Raises:
        ValueError: other shapes, or fewer than two rows.
    """
    one = estimate_kernel_distance(fx, fy)
    other = estimate_kernel_distance(fz, fy)
    return jackknife_error(
        [one.influence_x - other.influence_x, one.influence_y - other.influence_y]
    )


@dataclass(frozen=True)
class SetDistance:
    """A distance of two sets of images with its 95 % interval.

    Attributes:
        value: the distance, without unit.
        low: lower end of the interval.
        high: upper end of the interval.
        subset: how many images of each set were taken at a time, for the interval.
    """

    value: float
    low: float
    high: float
    subset: int

    @classmethod
    def of(cls, value: float, std: float, subset: int, smallest: int) -> SetDistance:
        """Make the interval from the distances of subsets.

        Subsets instead of bootstrap samples (Politis & Romano 1994), as an image drawn twice would
        look like a close pair: half a set varies as much as a bootstrap sample does, a smaller
        part more, by what the root takes back.

        Args:
            value: the distance.
            std: standard deviation of the distances of subsets.
            subset: images of each set in a subset.
            smallest: images of the smaller set.
        """
        margin = 1.96 * std * (subset / (smallest - subset)) ** 0.5
        return cls(value, value - margin, value + margin, subset)


def kid(fx: Tensor, fy: Tensor, seed: int = 0) -> SetDistance:
    """Compute KID (Binkowski et al. 2018, section 4) by torch-fidelity.

    The mean, over KID_SUBSETS draws, of the unbiased squared MMD with the kernel
    (<a, b> / D + 1)^3 between subsets of the two sets: half as many images as the smaller set has,
    at most KID_LARGEST, so that memory does not grow with the sets. It is not multiplied by 1000,
    is 0 on average for two sets of one distribution, and may be slightly negative.

    Args:
        fx: (N, D), the measured set.
        fy: (M, D), the target set.
        seed: of the draws.

    Raises:
        ValueError: other shapes, or fewer than 4 rows.
    """
    # here, as it imports torchvision and training does not need it
    from torch_fidelity.metric_kid import kid_features_to_metric

    _check_features(fx, fy, 4)
    smallest = min(len(fx), len(fy))
    subset = min(smallest // 2, KID_LARGEST)
    found = kid_features_to_metric(
        fx.double(),
        fy.double(),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=subset,
        rng_seed=seed,
        verbose=False,
    )
    mean = found["kernel_inception_distance_mean"]
    std = found["kernel_inception_distance_std"]
    return SetDistance.of(mean, std, subset, smallest)


def fid(fx: Tensor, fy: Tensor, seed: int = 0) -> SetDistance:
    """Compute the Frechet distance (Heusel et al. 2017) of all images by torch-fidelity.

    It is biased upwards, the more the fewer images there are: compare only where N and M are the
    same, and quote none under FID_HEADLINE. The interval comes from the spread of FID_HALVES
    halves about their own mean, not from their size: it leaves that bias out.

    Args:
        fx: (N, D), the measured set.
        fy: (M, D), the target set.
        seed: of the draws of the halves.

    Raises:
        ValueError: other shapes, or fewer than 4 rows.
    """
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    _check_features(fx, fy, 4)
    generator = torch.Generator().manual_seed(seed)

    def distance(x: Tensor, y: Tensor) -> float:
        x_statistics, y_statistics = (fid_features_to_statistics(f.double()) for f in (x, y))
        found = fid_statistics_to_metric(x_statistics, y_statistics, verbose=False)
        return float(found["frechet_inception_distance"])

    def half(features: Tensor) -> Tensor:
        order = torch.randperm(len(features), generator=generator)
        return features[order[: len(features) // 2]]

    distances = [distance(half(fx), half(fy)) for _ in range(FID_HALVES)]
    std = torch.tensor(distances).std().item()
    smallest = min(len(fx), len(fy))
    return SetDistance.of(distance(fx, fy), std, smallest // 2, smallest)
