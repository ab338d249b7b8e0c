"""Every content in every style: the figure of the paper. First row: contents; first column: styles.

Legend: n contents, m styles, H, W, C height, width, channels; pixels are uint8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from translate.config import DataConfig
from translate.data.dataset import load_square
from translate.io.files import evenly_spaced
from translate.io.images import ImageError, UInt8, list_images
from translate.io.tensors import images_from_pixels, pixels_from_images
from translate.models.networks import Model
from translate.viz.grids import image_grid


@torch.inference_mode()
def swap(model: Model, contents: UInt8, styles: UInt8, source: int, target: int) -> UInt8:
    """Draw every content in every style, from the posterior means, on the model's device.

    Args:
        model: encoder and decoder.
        contents: (n, H, W, C), of the source domain.
        styles: (m, H, W, C), of the target domain.
        source: index of a domain.
        target: index of a domain.

    Returns:
        (m, n, H, W, C).
    """
    device = next(model.parameters()).device
    z_s = model.encode_style(images_from_pixels(styles, device), target).mu
    x = images_from_pixels(contents, device)
    rows = [model.translate(x, source, target, style.expand(len(x), -1)) for style in z_s]
    return np.stack([pixels_from_images(row) for row in rows])


def swap_figure(model: Model, contents: UInt8, styles: UInt8, source: int, target: int) -> UInt8:
    """Draw `swap` as one picture (H', W', 3): contents along the top, styles down the left."""
    made = swap(model, contents, styles, source, target)
    blank = np.full_like(contents[0], 255)
    rows = [[blank, *contents], *([style, *row] for style, row in zip(styles, made, strict=True))]
    return image_grid(rows)


def spread_of(place: Path, count: int, config: DataConfig) -> UInt8:
    """Read a picture, or at most `count` of a folder, evenly spaced by name, as the model does.

    Returns:
        (n, S, S, C).

    Raises:
        ValueError: for a folder without pictures and for a picture that cannot be read.
    """
    paths = [place] if place.is_file() else [place / path for path in list_images(place)]
    if not paths:
        raise ValueError(f"{place}: no pictures; name another folder, or a picture")
    pictures = []
    for path in evenly_spaced(paths, count):
        try:
            pictures.append(load_square(path, config))
        except ImageError as error:
            raise ValueError(f"{path}: {error}; fix the file or remove it") from None
    return np.stack(pictures)
