"""A model's reconstructions and translations of a few images, as labelled columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from translate.io.images import UInt8
from translate.io.tensors import pixels_from_images, to_float
from translate.models.networks import Model

GRID_IMAGES = 8


class PreviewGrid:
    """The images that a run's previews show.

    Args:
        names: Of the domains.
        images: Of each domain the same number, (n, C, S, S) uint8.
    """

    def __init__(self, names: Sequence[str], images: list[Tensor]) -> None:
        self.names = names
        self.images = images

    @torch.no_grad()
    def columns(self, model: Model) -> tuple[list[list[UInt8]], list[str]]:
        """Make three columns for each domain: inputs, reconstructions, translations.

        Translations are to the next domain in random styles. Where there is one domain alone,
        images decoded from the prior replace them.

        Returns:
            Columns of n images (S, S, C) uint8, and a label for each column.
        """
        columns: list[list[UInt8]] = []
        labels: list[str] = []
        device = next(model.parameters()).device
        for d, (name, images) in enumerate(zip(self.names, self.images, strict=True)):
            to = (d + 1) % len(self.names)
            alone = len(self.names) == 1
            x = to_float(images, device)
            draw = torch.Generator().manual_seed(0)
            styles = torch.randn(len(images), model.style_dim, generator=draw).to(device)

            for made in (x, model.reconstruct(x, d), model.translate(x, d, to, styles)):
                columns.append(list(pixels_from_images(made)))
            labels.append(name)
            labels.append(f"{name} again")
            labels.append(f"{name} drawn" if alone else f"{name} to {self.names[to]}")
        return columns, labels
