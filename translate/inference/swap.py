"""Every content in every style: the figure of the paper. First row: contents; first column: styles.

Legend: n contents, m styles, H, W, C height, width, channels; pixels are uint8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from translate.config import DataConfig
from translate.data.dataset import load_square, to_batch
from translate.io.files import evenly_spaced
from translate.io.images import ImageError, UInt8, list_images, to_uint8
from translate.models.networks import Model
from translate.viz.grids import image_grid


@torch.inference_mode()
def swap(model: Model, contents: UInt8, styles: UInt8, source: int, to: int) -> UInt8:
    """D(c(content), s(style), to) from the posterior means, on the model's device.

    Shape: contents (n, H, W, C) of domain `source`, styles (m, H, W, C) of domain `to` -> (m, n,
    H, W, C).
    """
    device = next(model.parameters()).device
    x, exemplars = (to_batch(stack, device) for stack in (contents, styles))
    z_s = model.encoder.style(exemplars, torch.full((len(exemplars),), to, device=device)).mu
    y = torch.full((len(x),), source, device=device)
    content = model.encoder.content(x, y).mu
    rows = (model.decoder(content, z.expand(len(x), -1), torch.full_like(y, to), y) for z in z_s)
    return np.stack([to_uint8(row.cpu().numpy()) for row in rows])


def swap_figure(model: Model, contents: UInt8, styles: UInt8, source: int, to: int) -> UInt8:
    """`swap` as a picture (H', W', 3), with the contents above it and the styles to its left."""
    made = swap(model, contents, styles, source, to)
    blank = np.full_like(contents[0], 255)
    rows = [[blank, *contents], *([style, *row] for style, row in zip(styles, made, strict=True))]
    return image_grid(rows)


def spread_of(folder: Path, count: int, config: DataConfig) -> UInt8:
    """At most `count` pictures of a folder, evenly spaced by name, as the model takes them. Shape:
    (n, S, S, C).

    Raises ValueError for a folder without pictures and for a picture that cannot be read.
    """
    paths = list_images(folder)
    if not paths:
        raise ValueError(f"{folder}: no pictures; name another folder")
    pictures = []
    for path in (folder / path for path in evenly_spaced(paths, count)):
        try:
            pictures.append(load_square(path, config))
        except ImageError as error:
            raise ValueError(f"{path}: {error}; mend it or take it out of the folder") from None
    return np.stack(pictures)
