"""The Python API of one loaded model: images in memory, tensors and folders.

Legend: N images, K variants of each, C channels, H W pixels; pixels are uint8 (H, W, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from translate.config import Config
from translate.inference.domains import Direction
from translate.inference.folder import Engine, FolderJob
from translate.inference.folder_options import (
    DEFAULTS,
    FolderOptions,
    FolderSummary,
    Progress,
    no_progress,
)
from translate.inference.folder_work import FolderWork
from translate.inference.planning import Inputs
from translate.inference.predictor import Prediction, Predictor
from translate.inference.predictor_options import DEFAULTS as AS_TRAINED
from translate.inference.predictor_options import PredictorOptions
from translate.inference.shards import FoundShards, ShardJob
from translate.inference.styles import Style, StyleSource, resolve_direction, style_source
from translate.inference.tensors import translate_tensor
from translate.io.depth import Levels
from translate.io.files import PathLike
from translate.io.images import Picture, UInt8
from translate.io.memory import InMemory, in_the_form_of, picture_from

if TYPE_CHECKING:
    from typing_extensions import Self

ImageT = TypeVar("ImageT", Image.Image, UInt8)


class Translator:
    """A model file ready for work on images in memory and on folders.

    It can be pickled, for worker processes: the file's path and the options travel, the weights
    are read once in each process, and a file that has changed since is refused.

    Args:
        predictor: the model on a device, with its options.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    @classmethod
    def load(
        cls, path: PathLike, device: str = "auto", options: PredictorOptions = AS_TRAINED
    ) -> Self:
        """Load a model.

        Args:
            path: a model file, or the run folder that holds one.
            device: auto, cpu, cuda or mps.
            options: precision, scale and the like.

        Raises:
            ValueError: in one line, for a file that is no model, a missing device or a wrong
                option.
        """
        return cls(Predictor.load(path, device, options))

    @property
    def config(self) -> Config:
        """The config that the model was trained with."""
        return self.predictor.config

    @overload
    def translate(
        self,
        images: Tensor,
        to: str,
        source: str | None = None,
        style: Style = "auto",
        seed: int = 0,
        samples: int = 1,
    ) -> Tensor: ...

    @overload
    def translate(
        self,
        images: Sequence[ImageT],
        to: str,
        source: str | None = None,
        style: Style = "auto",
        seed: int = 0,
        samples: int = 1,
    ) -> list[ImageT]: ...

    def translate(
        self,
        images: Tensor | Sequence[InMemory],
        to: str,
        source: str | None = None,
        style: Style = "auto",
        seed: int = 0,
        samples: int = 1,
    ) -> Tensor | list[Any]:
        """Translate images, each in its own size and the same to the bit whatever the others are.

        Args:
            images: PIL images or uint8 arrays (H, W) or (H, W, 1 to 4), the last channel of 2 or
                4 being alpha; or a float tensor (N, C, H, W) in [-1, 1].
            to: the target domain.
            source: the domain of the images; may be left out where the model has two.
            style: "mean", the prior's; "random", a draw of its own for each (seed, place,
                variant); "keep", each image's own, taken along; "auto", what the training found
                best of these three; or exemplars of `to`: variant k of image i takes the one at
                i + k, cyclically. "own", with which `source` is `to`, reconstructs: each image's
                own content in its own style, by the posterior means.
            seed: of random styles.
            samples: K, the variants of each image.

        Returns:
            What was given, in a list or a tensor; variant k of image i is at i * K + k. Gray from
            a gray model.

        Raises:
            ValueError: for images, domains or styles that cannot be used, values of a tensor
                that are not finite, and an output that is not finite in float32 either; it names
                the image's place.
        """
        if samples < 1:
            raise ValueError(f"samples must be at least 1, not {samples}")
        direction = resolve_direction(self.config.data.names, to, source, style)
        style_of = style_source(self.predictor, style, to, seed, samples)

        if isinstance(images, Tensor):
            return translate_tensor(self.predictor, images, direction, style_of)
        if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
            raise ValueError("one image was given: put it in a list")
        pictures = [picture_from(image) for image in images]
        predicted = self._predict(pictures, direction, style_of)
        variants = [
            [in_the_form_of(image, pixels, picture.alpha) for pixels in made]
            for image, picture, made in zip(images, pictures, predicted, strict=True)
        ]
        return list(chain.from_iterable(variants))

    def _predict(
        self, pictures: Sequence[Picture], direction: Direction, style_of: StyleSource
    ) -> list[list[UInt8]]:
        """Translate pictures of 8 bits a channel. Shape: for each, K times (H, W, C)."""
        predictor = self.predictor

        def work(places: Sequence[int], pixels: Sequence[UInt8]) -> list[Prediction]:
            z_s = torch.stack([style_of(i) for i in places], dim=1)
            return list(predictor.predict_batch(pixels, direction, z_s))

        # On a CPU one image fills the cores, as with tensors.
        batching = predictor.batching(1 if predictor.device.type == "cpu" else None)
        made: dict[int, list[UInt8]] = {}
        for batch in batching.group(enumerate(map(predictor.preprocess, pictures))):
            results = batching.run(batch, work)
            for (i, _), prediction in zip(batch, results, strict=True):
                picture = pictures[i]
                outputs = predictor.outputs(
                    prediction, picture.size, partial(pictures.__getitem__, i)
                )
                made[i] = [pixels for pixels in outputs if not isinstance(pixels, Levels)]
        return [made[i] for i in range(len(pictures))]

    def translate_folder(
        self,
        inputs: Inputs,
        out: PathLike,
        to: str | None = None,
        options: FolderOptions = DEFAULTS,
        progress: Progress = no_progress,
        engine: Engine = FolderWork.run,
    ) -> FolderSummary:
        """Translate a file, a folder, a pattern or a list of files into the folder `out`.

        The arguments and what is raised are those of `FolderJob`; OUT/manifest.jsonl has a line
        for every input.
        """
        job = FolderJob(self.predictor, inputs, out, to, options, progress, engine)
        return job.translate()

    def translate_shards(
        self,
        inputs: Inputs | FoundShards,
        out: PathLike,
        to: str | None = None,
        options: FolderOptions = DEFAULTS,
        members: Sequence[str] = (),
        progress: Progress = no_progress,
    ) -> FolderSummary:
        """Translate WebDataset shards into shards of the same names in `out`.

        The arguments and what is raised are those of `ShardJob`; OUT/manifest.jsonl has a line
        for every picture.
        """
        job = ShardJob(self.predictor, inputs, out, to, options, members, progress)
        return job.translate()
