"""The names of the metrics, which direction is better, and what each measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Metric:
    """How to read one metric.

    Attributes:
        label: its name in reports, in words.
        better: which direction is better; None where neither is.
        range: the values that it takes.
        meaning: what it is, in one line.
    """

    label: str
    better: Direction | None
    range: str
    meaning: str


METRICS: dict[str, Metric] = {
    "lpips_paired": Metric(
        "visible error",
        "lower",
        "0 to about 1",
        "LPIPS between a translation and its pair in the target domain",
    ),
    "l1": Metric(
        "pixel error",
        "lower",
        "0 to 1",
        "mean absolute difference between a translation and its pair",
    ),
    "ssim": Metric(
        "structural likeness",
        "higher",
        "-1 to 1",
        "SSIM, structural similarity between a translation and its pair",
    ),
    "lpips_source": Metric(
        "visible change",
        None,
        "0 to about 1",
        "LPIPS between a translation and its input; 0 is a mere copy, a high value may have lost"
        " the content",
    ),
    "lpips_reconstruction": Metric(
        "reconstruction, visible error",
        "lower",
        "0 to about 1",
        "LPIPS between an image and its reconstruction",
    ),
    "lpips_cycle": Metric(
        "there and back, visible error",
        "lower",
        "0 to about 1",
        "LPIPS between an image and its translation there and back; a mere copy has 0 as well",
    ),
    "lpips_diversity": Metric(
        "variety of styles",
        None,
        "0 to about 1",
        "mean LPIPS between an input's translations in several styles; 0 where all are the same",
    ),
    "reconstruction_l1": Metric(
        "reconstruction, pixel error",
        "lower",
        "0 to 1",
        "mean absolute difference between an image and its reconstruction",
    ),
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
        "distance to the target",
        "lower",
        "about 0 upwards",
        f"KID, kernel distance of {_network} features to the target's pictures",
    )
    METRICS["fid" + _suffix] = Metric(
        "distance to the target (FID)",
        "lower",
        "0 upwards",
        f"FID, Frechet distance of {_network} features to the target's pictures",
    )
