"""Metrics that need no network: L1, SSIM, KID and FID of features, intervals, and what each figure means.

Images are uint8 (N, H, W, C), C 1 or 3, so that nobody can pass the wrong range; the answers are plain numbers. No
files. Legend: N, M images; H, W, C height, width, channels; D features. LPIPS and all features: `perceptual.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Direction = Literal["lower", "higher"]

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
BATCH = 64  # images in float at a time, so that memory does not grow with N
KID_SUBSETS, KID_LARGEST = 100, 1000  # as in the paper and torch-fidelity; at most so many images a subset
FID_HALVES = 10  # whose spread gives FID's interval
FID_HEADLINE = 2048  # images; with fewer, FID says more about their number than about their likeness


@dataclass(frozen=True)
class Metric:
    """How to read one figure: which way is better, its range, and what it says in one line."""

    better: Direction
    range: str
    meaning: str


METRICS: dict[str, Metric] = {
    "lpips_paired": Metric("lower", "0 to about 1", "LPIPS between a translation and its pair in the target domain"),
    "l1": Metric("lower", "0 to 1", "mean absolute difference between a translation and its pair"),
    "ssim": Metric("higher", "-1 to 1", "structural similarity between a translation and its pair"),
    "lpips_source": Metric("lower", "0 to about 1", "LPIPS between a translation and its input; 0 is a mere copy"),
    "lpips_reconstruction": Metric("lower", "0 to about 1", "LPIPS between an image and its reconstruction"),
    "lpips_cycle": Metric("lower", "0 to about 1", "LPIPS between an image and its translation there and back"),
    "lpips_diversity": Metric("higher", "0 to about 1", "mean LPIPS between an input's translations in several styles"),
    "reconstruction_l1": Metric("lower", "0 to 1", "l1 between an image and its reconstruction"),
}
# Sets against sets. The name tells the features: kid and fid are Inception's, as published; the others are no such
# figures, and must be compared neither with them nor with one another.
for _suffix, _network in {"": "Inception", "_alex": "AlexNet", "_vgg": "VGG-16", "_squeeze": "SqueezeNet"}.items():
    METRICS["kid" + _suffix] = Metric(
        "lower", "about 0 upwards", f"kernel distance of {_network} features to the target"
    )
    METRICS["fid" + _suffix] = Metric("lower", "0 upwards", f"Frechet distance of {_network} features to the target")
DIRECTION: dict[str, Direction] = {name: metric.better for name, metric in METRICS.items()}


def check_images(*stacks: Tensor) -> None:
    """Raises ValueError unless every stack is uint8 (N, H, W, C), C 1 or 3, not empty, and all have one shape."""
    for x in stacks:
        good = isinstance(x, Tensor) and x.dtype == torch.uint8 and x.ndim == 4 and x.shape[3] in (1, 3) and x.numel()
        if not good:
            got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ValueError(f"expected a torch.uint8 tensor (N, H, W, C) of N >= 1 images with C 1 or 3, got {got}")
    if len({x.shape for x in stacks}) > 1:
        raise ValueError("expected stacks of one shape, got " + " and ".join(str(tuple(x.shape)) for x in stacks))


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of two stacks of images, pixel range [0, 1].

    Shape: x, y uint8 (N, H, W, C) -> float32 (N,) on the CPU, each in [0, 1]. Raises ValueError for anything else.
    """
    check_images(x, y)
    return _batched(lambda a, b: (a.float() - b.float()).abs().flatten(1).mean(1) / 255, x, y)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of the luma, taken as the mean of the channels in [0, 1].

    Their constants: Gaussian window 11 px, sigma 1.5, K1 0.01, K2 0.03, biased variances; windows lie inside the image.

    Shape: x, y uint8 (N, H, W, C) -> float32 (N,) on the CPU, each in [-1, 1]; equal images give 1.
    Raises ValueError for anything else, and for images under 11 px.
    """
    check_images(x, y)
    if min(x.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs images of at least {SSIM_WINDOW} px a side, got {x.shape[1]} x {x.shape[2]}")
    return _batched(_ssim, x, y)


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    # float64: a variance is a small difference of large means, in float32 some 1e-4 of SSIM where images are flat
    offset = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    window = torch.exp(-(offset**2) / (2 * SSIM_SIGMA**2))
    window = window / window.sum()

    def mean(z: Tensor) -> Tensor:  # Gaussian-weighted, (N, 1, H, W) -> (N, 1, H - 10, W - 10)
        return F.conv2d(F.conv2d(z, window[None, None, None, :]), window[None, None, :, None])

    x, y = ((z.double() / 255).mean(3)[:, None] for z in (x, y))
    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y, cov = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + SSIM_C1) / (mu_x**2 + mu_y**2 + SSIM_C1)
    structure = (2 * cov + SSIM_C2) / (var_x + var_y + SSIM_C2)
    return (luminance * structure).flatten(1).mean(1).float()


def _check_features(fx: Tensor, fy: Tensor, least: int) -> None:
    if fx.ndim != 2 or fy.ndim != 2 or fx.shape[1] != fy.shape[1]:
        raise ValueError(f"expected features (N, D) and (M, D), got {tuple(fx.shape)} and {tuple(fy.shape)}")
    if min(len(fx), len(fy)) < least:
        raise ValueError(f"at least {least} images are needed on each side, got {len(fx)} and {len(fy)}")


def scaled(fx: Tensor, fy: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets of features in units of the deviation of all of fy, float64.

    For features that have no scale of their own, as those of LPIPS networks: KID's kernel is made for one near 1.

    Shape: fx (N, D) measured set, fy (M, D) target set -> the same. Raises ValueError for other shapes, fewer than two
    rows and a target without spread.
    """
    _check_features(fx, fy, 2)
    spread = fy.double().std()
    if not spread > 0:
        raise ValueError("the features of the target set have no spread: are all its images the same?")
    return fx.double() / spread, fy.double() / spread


def kernel_distance(fx: Tensor, fy: Tensor) -> float:
    """KID's unbiased squared MMD, of all rows at once: for sets of a few hundred images.

    Unlike torch-fidelity's, for sets of unequal size. 0 on average for two samples of one distribution, may be slightly
    negative; not to be compared across features or target sets.

    Shape: fx (N, D) measured set, fy (M, D) target set, of a scale near 1. Raises ValueError for other shapes and fewer
    than two rows.
    """
    _check_features(fx, fy, 2)
    fx, fy = fx.double(), fy.double()
    n, m = len(fx), len(fy)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    k_xx, k_yy = kernel(fx, fx), kernel(fy, fy)
    within_x = (k_xx.sum() - k_xx.trace()) / (n * (n - 1))
    within_y = (k_yy.sum() - k_yy.trace()) / (m * (m - 1))
    return float(within_x + within_y - 2 * kernel(fx, fy).mean())


def auroc(usual: Sequence[float], foreign: Sequence[float]) -> float:
    """The chance that a foreign value lies above a usual one, ties counting half (Mann & Whitney 1947): 1 tells them
    apart without fault, 0.5 not at all. Raises ValueError where either side is empty."""
    if not usual or not foreign:
        raise ValueError(f"at least one value is needed on each side, got {len(usual)} and {len(foreign)}")
    ranked, values = torch.tensor(usual, dtype=torch.float64).sort().values, torch.tensor(foreign, dtype=torch.float64)
    below, up_to = (torch.searchsorted(ranked, values, right=right) for right in (False, True))
    return float((below + up_to).double().mean() / (2 * len(ranked)))


@dataclass(frozen=True)
class SetDistance:
    """A distance of two sets of images with its 95 % interval; `subset` images of each set were taken at a time."""

    value: float
    low: float
    high: float
    subset: int

    @classmethod
    def of(cls, value: float, spread: float, subset: int, smallest: int) -> SetDistance:
        """`spread` is the deviation over subsets of the sets, of which the smaller has `smallest` images.

        Subsets instead of bootstrap samples (Politis & Romano 1994), as an image drawn twice would look like a close
        pair: half a set varies as much as a bootstrap sample does, a smaller part more, by what the root takes back.
        """
        margin = 1.96 * spread * (subset / (smallest - subset)) ** 0.5
        return cls(value, value - margin, value + margin, subset)


def kid(fx: Tensor, fy: Tensor, seed: int = 0) -> SetDistance:
    """Kernel distance of two sets of features (Binkowski et al. 2018, section 4), by torch-fidelity.

    The mean, over KID_SUBSETS draws, of the unbiased squared MMD with the kernel (<a, b> / D + 1)^3 between so many
    images of each set as are half of the smaller one, at most KID_LARGEST: memory does not grow with the sets. It is
    not multiplied by 1000, is 0 on average for two samples of one distribution, and may be slightly negative.

    Shape: fx (N, D) measured set, fy (M, D) target set. Raises ValueError for other shapes and under 4 rows.
    """
    from torch_fidelity.metric_kid import kid_features_to_metric  # brings torchvision: no matter for training

    _check_features(fx, fy, 4)
    smallest = min(len(fx), len(fy))
    subset = min(smallest // 2, KID_LARGEST)
    options = {"kid_subsets": KID_SUBSETS, "kid_subset_size": subset, "rng_seed": seed, "verbose": False}
    found = kid_features_to_metric(fx.double(), fy.double(), **options)
    mean, spread = (found[f"kernel_inception_distance_{part}"] for part in ("mean", "std"))
    return SetDistance.of(mean, spread, subset, smallest)


def fid(fx: Tensor, fy: Tensor, seed: int = 0) -> SetDistance:
    """Frechet distance of two sets of features (Heusel et al. 2017), by torch-fidelity, of all images.

    It is biased upwards, the more the fewer images there are: compare only where N and M are the same, and quote none
    under FID_HEADLINE. The interval comes from the spread of FID_HALVES halves about their own mean, not from their
    size: it leaves that bias out.

    Shape: fx (N, D) measured set, fy (M, D) target set. Raises ValueError for other shapes and under 4 rows.
    """
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    _check_features(fx, fy, 4)
    generator = torch.Generator().manual_seed(seed)

    def distance(*sets: Tensor) -> float:
        found = fid_statistics_to_metric(*(fid_features_to_statistics(f.double()) for f in sets), verbose=False)
        return float(found["frechet_inception_distance"])

    def halves() -> list[Tensor]:
        return [f[torch.randperm(len(f), generator=generator)[: len(f) // 2]] for f in (fx, fy)]

    spread = torch.tensor([distance(*halves()) for _ in range(FID_HALVES)]).std().item()
    smallest = min(len(fx), len(fy))
    return SetDistance.of(distance(fx, fy), spread, smallest // 2, smallest)


def bootstrap_interval(
    values: Tensor, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979): how far it could have moved with other images.

    The same values, in the same order, and the same seed give the same interval. One value v gives (v, v).

    Shape: values (N,), any unit -> (low, high) in that unit.
    Raises ValueError without values, for another shape, a level outside (0, 1) or no resamples.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected values (N,) with N >= 1, got {tuple(values.shape)}")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"expected a level between 0 and 1 and at least 1 resample, got {level} and {resamples}")
    values = values.detach().cpu().double()
    generator = torch.Generator().manual_seed(seed)
    draws = (torch.randint(len(values), (len(values),), generator=generator) for _ in range(resamples))  # one at a time
    means = torch.stack([values[draw].mean() for draw in draws])
    tail = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = means.quantile(tail).tolist()
    return low, high


def _batched(measure: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    return torch.cat(
        [measure(a.cpu(), b.cpu()) for a, b in zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True)]
    )
