"""How a model works on pictures: precision, scale, strength, and what black and white are."""

from __future__ import annotations

from dataclasses import dataclass

from translate.io.ranges import fixed_range
from translate.runtime.device import known_precision

SCALES = ("auto", "model", "native", "detail")
STRONGEST = 2.0  # times the change that the training found
CARRIED = 1.5  # training sizes: larger pictures are given the change rather than the pixels


@dataclass(frozen=True)
class PredictorOptions:
    """How a model works on pictures.

    Args:
        precision: auto, fp32 or bf16.
        background: sRGB colour behind transparency, default the config's.
        scale: "model", in which an image passes through the model at the training size and back;
            "native", at its own resolution; "detail", in which the change found at the training
            size is carried to the picture; or "auto", which is "detail" for pictures of more than
            CARRIED times the training size where the model keeps detail, else "model". But for
            "native", one more than `aspect_bound` times as long as wide is squeezed on the way:
            16 times, and every one that is no square where the model has one latent.
        value_range: what is black and white in files of more than 8 bits a channel, default the
            config's `data.range`; see there.
        tile: with "native", side in pixels of the square whose features fit in memory; a larger
            image is worked on in strips.
        strength: the share of the change that is made, above 0, up to STRONGEST, of pictures that
            keep their detail.

    Raises:
        ValueError: for an option that cannot be, naming it and the remedy.
    """

    precision: str = "fp32"
    background: tuple[int, int, int] | None = None
    scale: str = "auto"
    tile: int = 512
    value_range: str | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.value_range is not None:
            fixed_range(self.value_range, "--range")
        known_precision(self.precision)
        if self.background is not None and not all(0 <= level <= 255 for level in self.background):
            raise ValueError(f"--background {self.background}: must be 0 to 255 each")
        if self.scale not in SCALES:
            raise ValueError(f"--scale {self.scale}: unknown; use {', '.join(SCALES)}")
        if self.tile < 1:
            raise ValueError(f"--tile {self.tile}: must be at least 1")
        if not 0 < self.strength <= STRONGEST:
            raise ValueError(f"--strength {self.strength}: must be above 0, up to {STRONGEST}")


DEFAULTS = PredictorOptions()
