"""Options that `evaluate` and `compare` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from translate.io.ranges import FILE, fixed_range
from translate.metrics.lpips import Net


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation, checked when they are made.

    Attributes:
        net: LPIPS network; None takes the config's for `evaluate`, alex for `compare`.
        weights: its weights, a safetensors file; None takes those of the environment, else
            torchvision's.
        device: auto, cpu, cuda or mps; checked when it is used, as machines differ.
        seed: of the bootstrap, the subsets of KID and FID and the random styles; 0 or more.
        styles: random styles of each image, for the diversity, which takes two or more;
            `compare`, which has no model, draws none.
        allow_missing: whether files without a partner, and for `compare` broken files, are left
            out and noted rather than refused.
        value_range: what is black and white in files of more than 8 bits a channel, for `compare`;
            `evaluate` takes the config's `data.range`.

    Raises:
        ValueError: for an unknown network or range, a negative seed, or no style.
    """

    net: Net | None = None
    weights: Path | None = None
    device: str = "auto"
    seed: int = 0
    styles: int = 4
    allow_missing: bool = False
    value_range: str = FILE

    def __post_init__(self) -> None:
        networks = get_args(Net)
        if self.net is not None and self.net not in networks:
            raise ValueError(f"--lpips-net {self.net}: unknown; give one of {', '.join(networks)}")
        if self.seed < 0:
            raise ValueError(f"--seed {self.seed}: must be 0 or more")
        if self.styles < 1:
            raise ValueError(f"--styles {self.styles}: must be 1 or more")
        fixed_range(self.value_range, "--range")
