"""Which of two domains some pictures look like, by the energies of a few of them.

It decides the direction of a translation where that is left out, and else warns.

An energy is lower in the domain that a picture is of. Of single photographs of two seasons it
tells 6 to 8 of 10; the mean of several is trusted where it is far enough from chance. With
MANY pictures this names the wrong domain less than once in a thousand times, or none.

Legend: N pictures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from translate.inference.domains import Direction
from translate.inference.predictor import Predictor
from translate.inference.styles import OWN, Style, resolve_direction
from translate.io.files import evenly_spaced
from translate.io.images import UInt8, resize

logger = logging.getLogger(__name__)

T = TypeVar("T")
Energies: TypeAlias = NDArray[np.float64]  # (N, 2)

MANY = 16  # pictures looked at where a decision depends on them
SOME = 8  # where a word of warning does
FEW = 8  # fewer have no mean to be trusted
STANDARD_ERRORS = 2.5  # of the mean difference of energies, that it is from 0
USUAL = 0.999  # quantile of the energies in training below which a picture fits a domain


@dataclass(frozen=True)
class Likeness:
    """What pictures look like.

    Attributes:
        count: pictures looked at.
        domain: index of the domain that they look like, None where that is not clear.
        votes: how many of them are nearer to that domain.
        strange: how many are unlike the training pictures of both.
    """

    count: int
    domain: int | None = None
    votes: int = 0
    strange: int = 0


def is_open(names: Sequence[str], to: str | None, source: str | None) -> bool:
    """Tell whether the pictures are to decide from which of two domains to which they go."""
    return to is None and source is None and len(names) == 2


def find_direction(
    predictor: Predictor,
    pictures: Sequence[T],
    to: str | None,
    source: str | None,
    style: Style,
    max_pixels: int,
    at_hand: Callable[[T], AbstractContextManager[Path]],
) -> Direction:
    """Find out from which domain to which pictures are translated; what is odd is logged.

    Args:
        predictor: the model.
        pictures: of which a few are looked at.
        to: the target, else by the source, else the one of two that the pictures do not look
            like, else the second.
        source: the source, where it is given.
        style: with "own", source and target are the same.
        max_pixels: of a picture.
        at_hand: gives the file of a picture for a block.

    Raises:
        ValueError: for names that do not fit.
    """
    names = predictor.config.data.names
    undecided = is_open(names, to, source)
    direction = resolve_direction(names, names[-1] if undecided else to, source, style)
    if len(names) != 2 or style == OWN or not (undecided or len(pictures) >= FEW):
        return direction
    few = evenly_spaced(pictures, MANY if undecided else SOME)
    seen = likeness(predictor, few, max_pixels, at_hand)
    if undecided and seen.domain is not None:
        direction = seen.domain, 1 - seen.domain
    _say(seen, direction, names, undecided)
    return direction


def likeness(
    predictor: Predictor,
    pictures: Iterable[T],
    max_pixels: int,
    at_hand: Callable[[T], AbstractContextManager[Path]],
) -> Likeness:
    """Look at pictures of a model with two domains; those that cannot be read do not count."""
    pixels: list[UInt8] = []
    for each in pictures:
        # it will fail, and say why, when it is translated
        with suppress(Exception), at_hand(each) as path:
            picture = predictor.read(path, max_pixels)
            size = predictor.model_size(*picture.size)
            pixels.append(resize(predictor.preprocess(picture), size))

    energies = np.full((len(pixels), 2), np.nan)
    for domain in (0, 1):
        for i, measured in predictor.measure_energies(enumerate(pixels), domain):
            if not isinstance(measured, Exception):
                energies[i, domain] = measured.energy
    limits = None
    with suppress(ValueError):  # models of short trainings have no quantiles
        names = predictor.config.data.names
        limits = np.array([predictor.reference(name).limit(USUAL) for name in names])
    return judge(energies[np.isfinite(energies).all(axis=1)], limits)


def judge(energies: Energies, limits: NDArray[np.float64] | None = None) -> Likeness:
    """Tell what pictures look like from their energies.

    Args:
        energies: of the pictures, in either domain.
        limits: (2,), the energies above which a picture is unlike those of a domain.
    """
    count = len(energies)
    fits = np.ones_like(energies, bool) if limits is None else energies <= limits
    strange = int((~fits).all(axis=1).sum())
    nearer_to_0 = energies[:, 1] - energies[:, 0]

    domain = None
    if count >= FEW:
        error = nearer_to_0.std(ddof=1) / np.sqrt(count)
        if abs(nearer_to_0.mean()) > STANDARD_ERRORS * error:
            domain = 0 if nearer_to_0.mean() > 0 else 1
    elif count:
        alone = [bool(fits[:, i].all() and not fits[:, 1 - i].any()) for i in (0, 1)]
        domain = alone.index(True) if any(alone) else None
    if 2 * strange > count:
        domain = None
    votes = 0 if domain is None else int((nearer_to_0 > 0).sum())
    return Likeness(count, domain, count - votes if domain == 1 else votes, strange)


def _say(seen: Likeness, direction: Direction, names: Sequence[str], undecided: bool) -> None:
    """Say to which domain inputs are translated where that was left out, and what is odd.

    Args:
        seen: what some inputs look like.
        direction: from which domain to which they are translated.
        names: of the domains.
        undecided: whether the direction was left out.
    """
    source, to = (names[domain] for domain in direction)
    if 2 * seen.strange > seen.count:
        logger.warning(
            "warning: %d of %d pictures looked at are like neither %s nor %s of the training; "
            "a model does little good with others",
            *(seen.strange, seen.count, *names),
        )
    if undecided and seen.domain is None:
        logger.warning(
            "translating to %s: whether the pictures are %s or %s could not be told; "
            "--to %s is the other way",
            *(to, *names, source),
        )
    elif undecided:
        logger.info(
            "translating to %s: %d of %d pictures looked at are nearer to %s",
            *(to, seen.votes, seen.count, source),
        )
    elif seen.domain == direction[1]:
        logger.warning(
            "warning: the pictures look like %s already (%d of %d looked at); --to %s is the "
            "other way",
            *(to, seen.votes, seen.count, source),
        )
