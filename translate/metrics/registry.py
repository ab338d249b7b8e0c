"""The names of the metrics, which direction is better, and what each measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Metric:
    """How to read one metric: which direction is better, its range, its meaning in one line."""

    better: Direction
    range: str
    meaning: str


METRICS: dict[str, Metric] = {
    "lpips_paired": Metric(
        "lower", "0 to about 1", "LPIPS between a translation and its pair in the target domain"
    ),
    "l1": Metric("lower", "0 to 1", "mean absolute difference between a translation and its pair"),
    "ssim": Metric("higher", "-1 to 1", "structural similarity between a translation and its pair"),
    "lpips_source": Metric(
        "lower", "0 to about 1", "LPIPS between a translation and its input; 0 is a mere copy"
    ),
    "lpips_reconstruction": Metric(
        "lower", "0 to about 1", "LPIPS between an image and its reconstruction"
    ),
    "lpips_cycle": Metric(
        "lower", "0 to about 1", "LPIPS between an image and its translation there and back"
    ),
    "lpips_diversity": Metric(
        "higher", "0 to about 1", "mean LPIPS between an input's translations in several styles"
    ),
    "reconstruction_l1": Metric("lower", "0 to 1", "l1 between an image and its reconstruction"),
}

# Sets against sets. The name has the features: kid and fid are Inception's, as published; the
# others are other metrics, to be compared neither with them nor with one another.
for _suffix, _network in {
    "": "Inception",
    "_alex": "AlexNet",
    "_vgg": "VGG-16",
    "_squeeze": "SqueezeNet",
}.items():
    METRICS["kid" + _suffix] = Metric(
        "lower", "about 0 upwards", f"kernel distance of {_network} features to the target"
    )
    METRICS["fid" + _suffix] = Metric(
        "lower", "0 upwards", f"Frechet distance of {_network} features to the target"
    )

DIRECTION: dict[str, Direction] = {name: metric.better for name, metric in METRICS.items()}
