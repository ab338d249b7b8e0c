"""Images from the latents alone: samples of a domain, and what lies between two images.

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

from translate.data.dataset import load_square, to_batch
from translate.inference.predictor import Predictor
from translate.inference.translator import generator
from translate.io.files import PathLike
from translate.io.images import ImageError, UInt8, list_images, to_uint8

PRIOR = "prior"
BATCH = 16  # always as many at once, so that no image feels how many there are
KEPT = 1024  # pictures that are not read again


def sample(
    predictor: Predictor, domain: str, count: int, seed: int = 0, content: PathLike = PRIOR
) -> Iterator[UInt8]:
    """`count` images of a domain; image i follows from seed and i alone. They are made as they are
    asked for.

    Style is drawn from its prior N(0, I). Content is as well, or, where a folder of pictures of
    the domain is named, drawn from what they are encoded as: one of them at random, then from
    its posterior q(c | x). (A content map of hundreds of nats is far from its prior: images made
    of that are texture.)

    Raises ValueError for a count below 1, an unknown domain, a folder without pictures and, once
    it is drawn, a picture that cannot be read.
    """
    if count < 1:
        raise ValueError(f"--count {count}: must be at least 1")
    d = predictor.domain(domain)
    if content != PRIOR and predictor.config.model.one_latent:
        raise ValueError(
            "--content: a model of one domain has no content but its one latent; leave it out"
        )
    read = None if content == PRIOR else _Pictures(Path(content), predictor)
    return _samples(predictor, d, count, seed, read)


def _samples(
    predictor: Predictor, d: int, count: int, seed: int, read: _Pictures | None
) -> Iterator[UInt8]:
    model = predictor.model
    config = predictor.config
    y = torch.full((BATCH,), d, device=predictor.device)
    side = config.data.size // config.model.fold
    for first in range(0, count, BATCH):
        numbers = [min(i, count - 1) for i in range(first, first + BATCH)]

        def draw(what: str, *shape: int, numbers: list[int] = numbers) -> Tensor:
            draws = [torch.randn(shape, generator=generator(seed, what, i)) for i in numbers]
            return torch.stack(draws).to(predictor.device)

        with torch.inference_mode():
            z_c = draw("content", config.model.content_channels, side, side)
            if read is not None:
                pictures = [read(generator(seed, "picture", i).initial_seed()) for i in numbers]
                q_c = model.encoder.content(to_batch(np.stack(pictures), predictor.device), y)
                z_c = q_c.at(z_c)
            made = to_uint8(
                model.decoder(z_c, draw("style", config.model.style_dim), y, y).cpu().numpy()
            )
        yield from made[: count - first]


class _Pictures:
    """Pictures below a folder as the model takes them, by any number, round and round."""

    def __init__(self, folder: Path, predictor: Predictor) -> None:
        self.paths = [folder / path for path in list_images(folder)]
        if not self.paths:
            raise ValueError(f"{folder}: no pictures; use prior or name another folder")
        self._load = lru_cache(maxsize=KEPT)(lambda path: read_square(path, predictor))

    def __call__(self, number: int) -> UInt8:
        return self._load(self.paths[number % len(self.paths)])


def read_square(path: Path, predictor: Predictor) -> UInt8:
    """The middle of a picture as the model takes it. Raises ValueError with the remedy for one
    that cannot be read.
    """
    config = predictor.config.data.model_copy(update={"load_size": None})
    try:
        return load_square(path, config)
    except ImageError as error:
        raise ValueError(f"{path}: {error}; mend it or take another") from None


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
    """What lies between two images of a domain: content moved and style held as the first's, style
    moved and content held, both moved. Shape: (3, steps, S, S, C); (1, steps, S, S, C), style
    moved, where the model has no content.

    Between posterior means, on straight lines: they lie near one another and the prior's mean,
    not on a sphere about it, as draws do. Drawn in another domain, `to`, where they have no
    style, it is two draws of the prior by `seed`.

    Raises ValueError for unknown domains and fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"--steps {steps}: must be at least 2, the ends")
    a = predictor.domain(domain)
    b = predictor.domain(to or domain)
    encoder = predictor.model.encoder
    x = to_batch(np.stack([first, second]), predictor.device)
    y = torch.full((2,), a, device=predictor.device)
    c = encoder.content(x, y).mu
    if a == b:
        s = encoder.style(x, y).mu
    else:
        draws = [
            torch.randn(predictor.model.style_dim, generator=generator(seed, "style", i))
            for i in range(2)
        ]
        s = torch.stack(draws).to(predictor.device)
    t = torch.linspace(0, 1, steps, device=predictor.device)
    held = torch.zeros_like(t)
    rows = []
    for t_c, t_s in ((t, held), (held, t), (t, t)) if c.shape[1] > 0 else ((held, t),):
        z_c = c[0].lerp(c[1], t_c[:, None, None, None])
        z_s = s[0].lerp(s[1], t_s[:, None])
        places = torch.full((steps,), b, device=predictor.device)
        rows.append(
            to_uint8(
                predictor.model.decoder(z_c, z_s, places, torch.full_like(places, a)).cpu().numpy()
            )
        )
    return np.stack(rows)
