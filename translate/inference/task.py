"""How pictures are translated, wherever they come from and go to.

Legend: K variants of a picture, C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from translate.inference.animation import FrameOptions, translate_frames
from translate.inference.domains import Direction, listed_domains
from translate.inference.folder_options import DEFAULTS, TRANSLATION_VERSION, FolderOptions
from translate.inference.likeness import find_direction, is_open
from translate.inference.manifest import ALL
from translate.inference.planning import check
from translate.inference.predictor import Prediction, Predictor
from translate.inference.styles import StyleSource, resolve_direction, style_source
from translate.io.address import Facts
from translate.io.depth import Levels, lost_depth
from translate.io.frames import FrameSequence
from translate.io.images import DEFAULT_QUALITY, Picture, UInt8
from translate.io.lost import layout_of, lost_of_picture, profile_space
from translate.io.metadata.record import NONE, Metadata
from translate.losses.energy import RejectionThreshold

T = TypeVar("T")


class Fitted(NamedTuple):
    """What a picture has become, as the format of its outputs holds it.

    Attributes:
        variants: K times (H, W, C), or levels.
        metadata: of the picture, for all of them.
        lost: what the format does not hold, a phrase each.
    """

    variants: list[UInt8 | Levels]
    metadata: Metadata
    lost: tuple[str, ...]


def check_task(predictor: Predictor, to: str | None, options: FolderOptions) -> Direction:
    """Refuse what cannot be done before any work.

    Args:
        predictor: the model.
        to: the target domain; of two it may be left out.
        options: of the translation.

    Returns:
        From which domain to which, where it is not for the pictures to decide.

    Raises:
        ValueError: for domains and a quantile that do not fit.
    """
    names = predictor.config.data.names
    undecided = is_open(names, to, options.source)
    check(
        not undecided or options.shard == ALL,
        f"--to: must be given where several shares are translated; this model has "
        f"{listed_domains(names)}",
    )
    direction = resolve_direction(
        names, names[-1] if undecided else to, options.source, options.style
    )
    if options.reject is not None:
        predictor.rejection_threshold(direction[0], options.reject, options.reject_skip)
    return direction


@dataclass(frozen=True)
class Task:
    """How each of some pictures is translated.

    Attributes:
        predictor: the model.
        options: those that are about each picture.
        direction: from which domain to which.
        style_of: gives a picture's name its styles.
        threshold: of energies of the source domain.
    """

    predictor: Predictor
    options: FolderOptions
    direction: Direction
    style_of: StyleSource
    threshold: RejectionThreshold | None

    @classmethod
    def find(
        cls,
        predictor: Predictor,
        pictures: Sequence[T],
        to: str | None,
        options: FolderOptions,
        at_hand: Callable[[T], AbstractContextManager[Path]],
    ) -> Task:
        """Find out what pictures are to become.

        Args:
            predictor: the model.
            pictures: of which a few may decide the direction.
            to: the target domain; see `find_direction`.
            options: of the translation.
            at_hand: gives the file of a picture for a block.

        Raises:
            ValueError: for domains, a quantile and a style that do not fit.
        """
        source, target = direction = find_direction(
            predictor, pictures, to, options.source, options.style, options.max_pixels, at_hand
        )
        threshold = None
        if options.reject is not None:
            threshold = predictor.rejection_threshold(source, options.reject, options.reject_skip)
        name = predictor.config.data.names[target]
        style_of = style_source(predictor, options.style, name, options.seed, options.samples)
        return cls(predictor, options, direction, style_of, threshold)

    def key(self, name: str, facts: Facts, outputs: Sequence[str]) -> str:
        """Return the hash of all that a picture's outputs depend on.

        Args:
            name: by which it is given its styles.
            facts: of its file.
            outputs: their names.
        """
        known: list[object] = [
            TRANSLATION_VERSION,
            self.predictor.cache_key,
            self.direction,
            facts.size,
            facts.version,
            outputs,
        ]
        if self.threshold is not None:
            known.append(self.threshold)
        if self.options.quality != DEFAULT_QUALITY:
            known.append({"quality": self.options.quality})
        if self.options.frames != DEFAULTS.frames:
            known.append({"frames": self.options.frames})
        known += [{name: True} for name in ("strip", "keep_profile") if getattr(self.options, name)]
        styles = self.style_of(name).numpy().tobytes()
        return hashlib.sha256(json.dumps(known).encode() + styles).hexdigest()

    @property
    def names(self) -> tuple[str, str]:
        """Names of the domains translated from and to."""
        names = self.predictor.config.data.names
        source, to = self.direction
        return names[source], names[to]

    def read(self, path: Path, kind: str) -> Picture:
        """Decode a picture whose outputs are of a kind."""
        space = None
        if self.options.keep_profile:
            space = profile_space(kind, self.predictor.config.data.channels)
        return self.predictor.read(path, self.options.max_pixels, space)

    def metadata(self, picture: Picture) -> Metadata:
        """Return what is to be kept of a picture's metadata, if the format holds it."""
        return NONE if self.options.strip else picture.metadata

    def warnings(self, picture: Picture, kind: str) -> tuple[str, ...]:
        """Return what was tolerated in a picture, and what outputs of a kind cannot hold of it."""
        lost = lost_of_picture(picture, kind, self.predictor.config.data.channels)
        return (*picture.warnings, *lost)

    def fit(
        self,
        prediction: Prediction,
        kind: str,
        size: tuple[int, int],
        bits: int,
        metadata: Metadata,
        load: Callable[[], Picture],
    ) -> Fitted:
        """Return what a prediction makes of its picture.

        Args:
            prediction: of the preprocessed picture.
            kind: format of the outputs.
            size: the picture's (width, height).
            bits: its bits a channel.
            metadata: what is to be kept of it.
            load: gives the picture itself, at the depth that the format holds.

        Raises:
            Exception: the prediction's, if there is one in place of pixels.
        """
        variants = self.predictor.outputs(prediction, size, load)
        kept = metadata.fitting(kind, layout_of(variants[0]))
        return Fitted(variants, kept, (*kept.lost, *lost_depth(bits, variants[0], kind)))

    def translate_frames(
        self,
        path: Path,
        name: str,
        sequence: FrameSequence,
        outputs: tuple[Sequence[BinaryIO], str],
        progress: Callable[[float], None],
    ) -> tuple[str, ...]:
        """Translate all frames of a file; see `animation.translate_frames`.

        Args:
            path: the file.
            name: by which it is given its styles.
            sequence: its frames.
            outputs: K files, empty, open for reading and writing, and their format.
            progress: called with the share that is done; what it raises ends the work.
        """
        files, kind = outputs
        options = FrameOptions(
            self.direction,
            self.style_of(name),
            kind,
            self.options.batch_size,
            self.threshold,
            self.options.quality,
            self.options.workers,
            self.options.strip,
            self.options.keep_profile,
        )
        return translate_frames(self.predictor, path, sequence, files, options, progress)
