"""What a model does to a few images, in columns that a person can read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from translate.data.dataset import to_floats
from translate.io.images import UInt8, to_uint8
from translate.models.networks import Model

GRID_IMAGES = 8


class PreviewGrid:
    """`images`: of each domain the same number, (n, C, S, S) uint8."""

    def __init__(self, names: Sequence[str], images: list[Tensor]) -> None:
        self.names = names
        self.images = images

    @torch.no_grad()
    def columns(self, model: Model) -> tuple[list[list[UInt8]], list[str]]:
        """For each domain source, reconstruction and translation to the next one in random styles
        or, where there is one alone, samples; and the columns' labels.
        """
        columns = []
        labels = []
        device = next(model.parameters()).device
        for d, (name, x) in enumerate(zip(self.names, self.images, strict=True)):
            to = (d + 1) % len(self.names)
            alone = len(self.names) == 1
            floats = to_floats(x, device)
            drawn = torch.randn(
                len(x), model.style_dim, generator=torch.Generator().manual_seed(0)
            ).to(device)
            made = (floats, model.reconstruct(floats, d), model.translate(floats, d, to, drawn))
            columns += [list(to_uint8(y.cpu().numpy())) for y in made]
            labels += [
                name,
                f"{name} again",
                f"{name} drawn" if alone else f"{name} to {self.names[to]}",
            ]
        return columns, labels
