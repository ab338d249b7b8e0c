"""What an evaluation found, as plain data: a metric's value, a direction's metrics, all of it.

The names of the fields are the keys of metrics.json.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from translate.io.images import UInt8
from translate.metrics.registry import Direction


@dataclass(frozen=True)
class Difference:
    """A metric's value minus that of the untranslated input, with its 95 % interval.

    Both are measured on the same images, so that what is easy or hard about these cancels out: the
    interval tells whether the two differ, even where their own intervals overlap.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class MetricValue:
    """A metric's value with its 95 % interval over `n` images, in the metric's own unit.

    Attributes:
        value: the mean over images, or the distance of two sets.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of images.
        better: whether a lower or a higher value is better; None where neither is.
        identity: the same of the untranslated input as the answer; None where it means nothing.
        subset: images of each set that are taken at a time, where sets are compared.
        warning: why the value must not be quoted; None where it may be.
        difference: the value minus that of `identity`; None without it, and where one of them is
            not finite.
    """

    value: float
    low: float
    high: float
    n: int
    better: Direction | None
    identity: MetricValue | None = None
    subset: int | None = None
    warning: str | None = None
    difference: Difference | None = None

    def is_finite(self) -> bool:
        """Return whether the value and both ends of its interval are numbers."""
        return all(math.isfinite(number) for number in (self.value, self.low, self.high))


@dataclass
class DirectionMetrics:
    """The metrics of one direction, and the pictures of it that a report shows.

    `shown` and `swap` are no fields, so that `asdict` leaves the pictures out.

    Attributes:
        name: source and target, as in "A-B".
        source: name of the domain that is translated from.
        to: name of the domain that is translated to.
        metrics: values by the metric's name; what could not be measured is not in it.
        per_image: one row an image: its `name`, and a number for each column measured on it.
        sizes: number of images measured at each size, by "width x height" in pixels.
        shown: pictures of evenly spaced images, by image name and by what they show: uint8
            (H, W, C), the styles (K, H, W, C).
        swap: uint8 (H, W, 3), contents along the top and styles down the left; None without it.
    """

    name: str
    source: str
    to: str
    metrics: dict[str, MetricValue]
    per_image: list[dict[str, str | float]]
    sizes: dict[str, int]

    def __post_init__(self) -> None:
        self.shown: dict[str, dict[str, UInt8]] = {}
        self.swap: UInt8 | None = None

    def ordered(self) -> list[tuple[str, MetricValue]]:
        """Return the metrics in the order of their weight for a reader.

        First those that compare with the input and may be quoted, last those that may not.
        """
        return sorted(
            self.metrics.items(),
            key=lambda item: (item[1].warning is not None, item[1].identity is None),
        )


@dataclass(frozen=True)
class Evaluation:
    """All that was measured and what it depends on; `asdict` gives plain data.

    Attributes:
        versions: of the packages that the numbers depend on.
        model_sha256: of the model file; None where folders are compared.
        weights_sha256: of the LPIPS network's weights; None without them.
        inception_sha256: of Inception's weights; None without them.
        net: name of the LPIPS network.
        seed: of the bootstrap, the subsets and the random styles.
        size: side of the images, in pixels; None where each pair has its own.
        resize: how pictures were brought to their size, in words.
        notes: what a reader must know, such as metrics that were left out.
        broken: files that could not be read, each with the reason.
        directions: the metrics, one entry a direction.
    """

    versions: dict[str, str]
    model_sha256: str | None
    weights_sha256: str | None
    inception_sha256: str | None
    net: str
    seed: int
    size: int | None
    resize: str
    notes: list[str]
    broken: list[str]
    directions: list[DirectionMetrics]
