"""Images that no picture has been: samples of a domain, and what lies between two images.

Legend: B batch, Cc content channels, h w content map, Ds style dimensions, S training size, C
channels; images are uint8 (S, S, C).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate.config import Config
from translate.data.dataset import load_square
from translate.inference.predictor import Predictor
from translate.inference.styles import generator
from translate.io.files import PathLike
from translate.io.images import ImageError, UInt8, list_images
from translate.io.tensors import images_from_pixels, pixels_from_images

TRAINING = "training"
PRIOR = "prior"
BATCH = 16  # always as many at once, so that no image depends on how many there are
KEPT = 1024  # pictures that are not read again


def sample(
    predictor: Predictor, domain: str, count: int, seed: int = 0, content: PathLike = TRAINING
) -> Iterator[UInt8]:
    """Draw images of a domain; image i follows from seed and i alone.

    Style is drawn from its prior N(0, I). Content is that of pictures of the domain: one of them
    at random, then from its posterior q(c | x). It can be drawn from its prior as well, but a
    content map of hundreds of nats is far from that: such images are texture. Where a model has
    one latent, that is drawn from its prior.

    Args:
        predictor: the model.
        domain: whose images to draw.
        count: how many.
        seed: of all that is random.
        content: "training", the pictures that the model was trained on; a folder of others; or
            "prior".

    Returns:
        An iterator that makes images (S, S, C) as they are asked for; it raises ValueError for a
        picture that cannot be read.

    Raises:
        ValueError: for a count below 1, an unknown domain and a folder without pictures.
    """
    if count < 1:
        raise ValueError(f"--count {count}: must be at least 1")
    index = predictor.domain(domain)
    folder = content_folder(predictor.config, domain, content)
    pictures = None if folder is None else _Pictures(folder, predictor)
    return _samples(predictor, index, count, seed, pictures)


def content_folder(config: Config, domain: str, content: PathLike = TRAINING) -> Path | None:
    """Return the folder whose pictures give samples their content; see `sample`.

    Returns:
        None where content comes from the prior, or the model has none.

    Raises:
        ValueError: for a folder with a model of one latent, and where the pictures of the training
            are not there.
    """
    if config.model.one_latent:
        if content not in (TRAINING, PRIOR):
            raise ValueError(
                "--content: a model of one domain has no content but its one latent; leave it out"
            )
        return None
    if content == PRIOR:
        return None
    if content != TRAINING:
        return Path(content)
    folder = config.data.folder(domain)
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: the pictures of {domain} that the model was trained on are not there; "
            f"name a folder of such pictures with --content"
        )
    return folder


def _samples(
    predictor: Predictor, domain: int, count: int, seed: int, pictures: _Pictures | None
) -> Iterator[UInt8]:
    model = predictor.model
    config = predictor.config
    for first in range(0, count, BATCH):
        numbers = [min(i, count - 1) for i in range(first, first + BATCH)]

        def draw(what: str, *shape: int, numbers: list[int] = numbers) -> Tensor:
            draws = [torch.randn(shape, generator=generator(seed, what, i)) for i in numbers]
            return torch.stack(draws).to(predictor.device)

        with torch.inference_mode():
            z_c = draw("content", *config.model.content_shape(config.data.size))
            z_s = draw("style", config.model.style_dim)
            if pictures is not None:
                chosen = [generator(seed, "picture", i).initial_seed() for i in numbers]
                x = images_from_pixels(np.stack([pictures[i] for i in chosen]), predictor.device)
                z_c = model.encode_content(x, domain).at(z_c)
            images = pixels_from_images(model.decode(z_c, z_s, domain, domain))
        yield from images[: count - first]


class _Pictures:
    """Pictures below a folder as the model takes them, by any number, cyclically."""

    def __init__(self, folder: Path, predictor: Predictor) -> None:
        self.paths = [folder / path for path in list_images(folder)]
        if not self.paths:
            raise ValueError(f"{folder}: no pictures; name another folder with --content")
        self._load = lru_cache(maxsize=KEPT)(lambda path: read_square(path, predictor))

    def __getitem__(self, number: int) -> UInt8:
        return self._load(self.paths[number % len(self.paths)])


def read_square(path: Path, predictor: Predictor) -> UInt8:
    """Return the middle of a picture as the model takes it, (S, S, C).

    Raises:
        ValueError: with the remedy, for one that cannot be read.
    """
    config = predictor.config.data.model_copy(update={"load_size": None})
    try:
        return load_square(path, config)
    except ImageError as error:
        raise ValueError(f"{path}: {error}; fix the file or name another") from None


@torch.inference_mode()
def interpolate(
    predictor: Predictor,
    first: UInt8,
    second: UInt8,
    domain: str,
    to: str | None = None,
    steps: int = 8,
    seed: int = 0,
) -> UInt8:
    """Draw what lies between two images of a domain.

    There are three rows: content moves and style is the first's, style moves and content is the
    first's, both move. Where the model has no content, style alone moves.

    It goes along straight lines between posterior means: they lie near one another and the
    prior's mean, not on a sphere about it, as draws do. In another domain, where the two have no
    style, it goes between two draws of the prior.

    Args:
        predictor: the model.
        first: (S, S, C).
        second: (S, S, C).
        domain: of the two.
        to: the domain to draw in, default their own.
        steps: images in a row.
        seed: of the draws.

    Returns:
        (3 or 1, steps, S, S, C).

    Raises:
        ValueError: for unknown domains and fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"--steps {steps}: must be at least 2, the ends")
    source = predictor.domain(domain)
    target = predictor.domain(to or domain)
    model = predictor.model
    x = images_from_pixels(np.stack([first, second]), predictor.device)
    content = model.encode_content(x, source).mu
    if source == target:
        style = model.encode_style(x, source).mu
    else:
        draws = [
            torch.randn(model.style_dim, generator=generator(seed, "style", i)) for i in (0, 1)
        ]
        style = torch.stack(draws).to(predictor.device)

    t = torch.linspace(0, 1, steps, device=predictor.device)
    still = torch.zeros_like(t)
    moves = [(t, still), (still, t), (t, t)] if content.shape[1] > 0 else [(still, t)]
    places = [1] * (content.ndim - 1)  # of a map
    rows = []
    for t_c, t_s in moves:
        z_c = content[0].lerp(content[1], t_c.reshape(-1, *places))
        z_s = style[0].lerp(style[1], t_s[:, None])
        rows.append(pixels_from_images(model.decode(z_c, z_s, source, target)))
    return np.stack(rows)
