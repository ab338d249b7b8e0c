"""A model on a device: pixels and styles in, pixels out, the same for an image in whatever company.

Legend: K samples of each image, B rows of a batch, C channels, H W pixels, Ds style dimensions;
`size` is (width, height); pixels are uint8 (H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from translate.data.dataset import shorter_side, to_batch
from translate.inference.folder import Translated
from translate.inference.tiling import Map
from translate.io.files import PathLike
from translate.io.images import Picture, UInt8, composite, resize, to_channels
from translate.losses.energy import (
    Energies,
    EnergyQuantiles,
    Measured,
    RejectedImageError,
    RejectionThreshold,
    energies,
)
from translate.models.checkpoint import ModelFile, load_model
from translate.models.distributions import Gaussian
from translate.models.layers import BatchInvariantLinear, with_linear_layers
from translate.runtime.device import choose_device, choose_precision
from translate.runtime.prefetch import ahead

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
R = TypeVar("R")
# (K, H, W, C) or why not, and warnings
Prediction: TypeAlias = tuple[UInt8 | Exception, tuple[str, ...]]

OWN = "own"  # the style of which an image is itself the exemplar
BATCH_SIZE = {"cpu": 16, "cuda": 32, "mps": 16}  # larger ones gain little
MODEL_THREADS = 16  # at most so many batches at once on a CPU
ASPECT_BOUND = 16
WAITING = 8  # batches' worth of images that may wait for others of their size


class Predictor:
    """A model file ready for work; `config`, `sha256` and `summary` are the file's.

    Args:
        background: sRGB colour behind transparency, default the config's.
        scale: "model", in which an image passes through the model at the training size and back,
            or "native", at its
            own resolution. With "model", one more than `aspect_bound` times as long as wide is
            squeezed on the way: 16 times, and every one that is no square where the model has
            one latent.
        tile: with "native", side of the square whose features fit in memory; a larger image is
            worked on in strips.
    """

    def __init__(
        self,
        file: ModelFile,
        device: str = "auto",
        precision: str = "32",
        background: tuple[int, int, int] | None = None,
        scale: str = "model",
        tile: int = 512,
    ) -> None:
        if scale not in ("model", "native"):
            raise ValueError(f"--scale {scale}: unknown; use model or native")
        if tile < 1:
            raise ValueError(f"--tile {tile}: must be at least 1")
        self.config = file.config
        self.sha256 = file.sha256
        self.summary = file.summary
        one_latent = self.config.model.one_latent
        if one_latent and scale == "native":
            raise ValueError(
                "--scale native: a model of one domain has one latent and one size; use --scale model"
            )
        self.aspect_bound = 1 if one_latent else ASPECT_BOUND
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        self.scale = scale
        self.tile = tile
        self.batch_size = BATCH_SIZE.get(self.device.type, 8)
        self.background = background or cast(
            tuple[int, int, int], tuple(self.config.data.background)
        )
        # A copy that shares the weights: the caller's ModelFile keeps its layers, device and memory
        # format.
        model = with_linear_layers(file.model, BatchInvariantLinear)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(
        cls,
        path: PathLike,
        device: str = "auto",
        precision: str = "32",
        background: tuple[int, int, int] | None = None,
        scale: str = "model",
        tile: int = 512,
    ) -> Self:
        """Loads a model file. Raises ValueError in one line for another file, a missing device or
        a wrong option.
        """
        return cls(load_model(Path(path)), device, precision, background, scale, tile)

    @property
    def identity(self) -> str:
        """What an image's translation follows from, besides the image, its domains and style."""
        return f"{self.sha256} {self.dtype} {self.background} {self.scale}"

    def domain(self, name: str) -> int:
        """A domain's index. Raises ValueError that names the valid ones."""
        names = self.config.data.names
        if name not in names:
            raise ValueError(f"{name}: no domain of this model, which knows {', '.join(names)}")
        return names.index(name)

    def usual(self, domain: str) -> EnergyQuantiles:
        """What energies are usual in a domain. Raises ValueError for an unknown one and where the
        file says nothing.
        """
        self.domain(domain)
        return EnergyQuantiles.of_training(self.summary, domain)

    def limit(self, domain: int, level: float, skip: bool) -> RejectionThreshold:
        """What is too much for a domain. Raises ValueError as `usual` does, and for a level not in
        (0, 1].
        """
        name = self.config.data.names[domain]
        return RejectionThreshold(self.usual(name).limit(level), level, name, skip)

    def model_size(self, width: int, height: int) -> tuple[int, int]:
        """The size that the model sees: shorter side `data.size`, both multiples of the stride,
        bounded in aspect.
        """
        side = self.config.data.size
        stride = self.config.model.stride
        longest = self.aspect_bound * side
        wide, high = (
            min(round(s / stride) * stride, longest) for s in shorter_side(width, height, side)
        )
        return wide, high

    def squeezes(self, size: tuple[int, int]) -> bool:
        """Whether an image changes its aspect on its way through."""
        return self.scale == "model" and max(size) > self.aspect_bound * min(size)

    def preprocess(self, picture: Picture) -> UInt8:
        """Any picture as the model takes it. Shape: (H, W, C)."""
        pixels = to_channels(composite(picture, self.background), self.config.data.channels)
        if self.scale == "model":
            return resize(pixels, self.model_size(*picture.size))
        rows, columns = (padded(side, self.config.model.stride) for side in pixels.shape[:2])
        return pixels[rows][:, columns]

    def postprocess(self, pixels: UInt8, size: tuple[int, int]) -> UInt8:
        """What the model made of a prepared picture, in the picture's own size."""
        return resize(pixels, size) if self.scale == "model" else pixels[: size[1], : size[0]]

    def rows(self, shape: tuple[int, ...], batch_size: int) -> int:
        """Images (H, W, C) in one batch: `batch_size` squares, or fewer images that have as many
        pixels together.
        """
        return max(1, batch_size * self.config.data.size**2 // (shape[0] * shape[1]))

    def run(
        self,
        x: Tensor,
        source: int,
        to: int,
        z_s: Tensor,
        dtype: torch.dtype | None = None,
        content: Tensor | None = None,
    ) -> Tensor:
        """x (B, C, H, W) in [-1, 1], z_s (K, B, Ds) -> (K, B, C, H, W), float32 on the device.

        z_s (K, B, 0), which has nothing to say, stands for each image's own style, mu_s(x);
        `content` (B, Cc, h, w) is mu_c(x) where that is known.
        """
        with self._computing(dtype):
            x = x.to(self.device).contiguous(memory_format=torch.channels_last)
            return torch.stack(list(self._samples(x, source, to, z_s, content)))

    @contextmanager
    def _computing(self, dtype: torch.dtype | None) -> Iterator[None]:
        bf16 = (dtype or self.dtype) == torch.bfloat16
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            yield

    def _samples(
        self, x: Tensor, source: int, to: int, z_s: Tensor, content: Tensor | None
    ) -> Iterator[Tensor]:
        """A translation (B, C, H, W) for each of z_s (K, B, Ds): content is encoded once."""
        y = torch.full((z_s.shape[1],), source, device=self.device)
        content = self.model.encoder.content(x, y).mu if content is None else content
        if z_s.shape[2] == 0:
            z_s = self.model.encoder.style(x, y).mu.expand(len(z_s), -1, -1)
        return (
            self.model.decoder(content, z, torch.full_like(y, to), y) for z in z_s.to(self.device)
        )

    def predict_batch(
        self,
        pixels: Sequence[UInt8],
        domains: tuple[int, int],
        z_s: Tensor,
        limit: RejectionThreshold | None = None,
    ) -> Iterator[Prediction]:
        """Prepared pixels (H, W, C) of one size, z_s (K, B, Ds) -> for each (K, H, W, C) or why
        not, and warnings.

        What bf16 makes not finite is tried in float32. Beyond the limit of the source domain
        there is a warning or, where it says so, RejectedImageError.
        """
        made, finite, energy = self._paint(np.stack(pixels), domains, z_s, self.dtype, limit)
        for i, image in enumerate(pixels):
            warnings: tuple[str, ...] = ()
            kinds = made[:, i]
            good = bool(finite[i])
            value = energy[i]
            if not good and self.dtype != torch.float32:
                again, fine, values = self._paint(
                    image[None], domains, z_s[:, i : i + 1], torch.float32, limit
                )
                kinds = again[:, 0]
                good = bool(fine[0])
                value = values[0]
                warnings = ("not finite in bf16: made in float32",)
            complaint = limit.complaint(value) if limit else ""
            if not good:
                yield ValueError("the model's output is not finite"), ()
            elif limit and limit.skip and complaint:
                yield RejectedImageError(complaint), ()
            else:
                yield kinds, tuple(filter(None, (*warnings, complaint)))

    def _paint(
        self,
        pixels: UInt8,
        domains: tuple[int, int],
        z_s: Tensor,
        dtype: torch.dtype,
        limit: RejectionThreshold | None,
    ) -> tuple[UInt8, NDArray[np.bool_], list[float]]:
        """Pixels (B, H, W, C), z_s (K, B, Ds) -> (K, B, H, W, C), which of B are finite and, with
        a limit, energies.
        """
        energy = [0.0] * len(pixels)
        content = None
        if limit is not None:
            found, q_c = self._judge(pixels, domains[0], dtype)
            energy = found.energy.tolist()
            content = q_c.mu if self.scale == "model" else None
        if self.scale == "native" and pixels[0].size > self.tile**2 * pixels.shape[3]:
            return (*self._paint_in_strips(pixels, domains, z_s, dtype), energy)
        x = to_batch(pixels, self.device)
        y = self.run(x, *domains, z_s, dtype, content)
        return _to_pixels(y), y.isfinite().flatten(2).all(2).all(0).cpu().numpy(), energy

    def _paint_in_strips(
        self, pixels: UInt8, domains: tuple[int, int], z_s: Tensor, dtype: torch.dtype
    ) -> tuple[UInt8, NDArray[np.bool_]]:
        made = np.empty((len(z_s), *pixels.shape), np.uint8)
        finite = np.ones(len(pixels), np.bool_)
        for i, image in enumerate(pixels):
            with self._computing(dtype):
                x = cast(Tensor, Map.of_image(image, self.tile, self.device))
                for k, y in enumerate(
                    cast(Iterator[Map], self._samples(x, *domains, z_s[:, i : i + 1], None))
                ):
                    for a, b in y.bands():
                        strip = y.read(a, b)
                        made[k, i, a:b] = _to_pixels(strip)[0]
                        finite[i] = finite[i] and bool(strip.isfinite().all())
        return made, finite

    def _batches(
        self, items: Iterable[tuple[T, UInt8]], batch_size: int
    ) -> Iterator[list[tuple[T, UInt8]]]:
        """Images of one size: a batch when full, the longest one when too many images wait, all in
        the end.
        """
        waiting: dict[tuple[int, ...], list[tuple[T, UInt8]]] = {}
        for item in items:
            shape = item[1].shape
            waiting.setdefault(shape, []).append(item)
            if len(waiting[shape]) == self.rows(shape, batch_size):
                yield waiting.pop(shape)
            elif sum(map(len, waiting.values())) >= WAITING * batch_size:
                yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
        yield from waiting.values()

    def predict_stream(
        self,
        items: Iterable[tuple[T, UInt8]],
        domains: tuple[int, int],
        z_s: Callable[[T], Tensor],
        batch_size: int,
        limit: RejectionThreshold | None = None,
    ) -> Generator[Translated[T]]:
        """Prepared pixels (H, W, C) and styles (K, Ds) -> pixels (K, H, W, C), or why not, in no
        certain order.

        No image feels what comes with it: batches of a size have one shape, filled up with their
        last image, and on a CPU each keeps to one core, and several run at once, as kernels that
        split a batch among cores round differently where they cut. Meanwhile torch's number of
        threads is changed for the process.
        """

        def predict_batch(items: Sequence[T], pixels: Sequence[UInt8]) -> Iterator[Prediction]:
            return self.predict_batch(
                pixels, domains, torch.stack([z_s(item) for item in items], dim=1), limit
            )

        for item, painted in self._each(items, predict_batch, batch_size):
            yield item, *((painted, ()) if isinstance(painted, Exception) else painted)

    def measure(
        self, items: Iterable[tuple[T, UInt8]], domain: int, batch_size: int
    ) -> Generator[tuple[T, Measured | Exception]]:
        """Prepared pixels (H, W, C) -> what they cost as images of a domain, or why not, as
        `stream` does it.
        """

        def judge(_: Sequence[T], pixels: Sequence[UInt8]) -> Iterator[Measured]:
            found = self._judge(np.stack(pixels), domain, self.dtype)[0]
            return (Measured(*row) for row in zip(*(part.tolist() for part in found), strict=True))

        yield from self._each(items, judge, batch_size)

    def _judge(self, pixels: UInt8, domain: int, dtype: torch.dtype) -> tuple[Energies, Gaussian]:
        """What pixels (B, H, W, C) cost, always at the training size, and q(c | x, domain) there."""
        size = self.model_size(pixels.shape[2], pixels.shape[1])
        fitting = (
            pixels if self.scale == "model" else np.stack([resize(image, size) for image in pixels])
        )
        with self._computing(dtype):
            x = to_batch(fitting, self.device)
            x = x.contiguous(memory_format=torch.channels_last)
            y = torch.full((len(x),), domain, device=self.device)
            q_c = self.model.encoder.content(x, y)
            return energies(self.model, x, y, self.config.objective, q_c), q_c

    def _each(
        self,
        items: Iterable[tuple[T, UInt8]],
        work: Callable[[Sequence[T], Sequence[UInt8]], Iterator[R]],
        batch_size: int,
    ) -> Generator[tuple[T, R | Exception]]:
        """Items with what `work` makes of their batch, which see `stream`."""

        def forward(batch: list[tuple[T, UInt8]]) -> list[R]:
            full = batch + batch[-1:] * (self.rows(batch[0][1].shape, batch_size) - len(batch))
            return list(
                islice(work([item for item, _ in full], [pixels for _, pixels in full]), len(batch))
            )

        threads = torch.get_num_threads()
        parallel = min(threads, MODEL_THREADS) if self.device.type == "cpu" else 1
        pool = ThreadPoolExecutor(parallel, initializer=torch.set_num_threads, initargs=(1,))
        try:
            for batch, future in ahead(pool, forward, self._batches(items, batch_size), parallel):
                error = future.exception()
                results: Sequence[R | Exception]
                results = [error] * len(batch) if isinstance(error, Exception) else future.result()
                for (item, _), made in zip(batch, results, strict=True):
                    yield item, made
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)


def _to_pixels(y: Tensor) -> UInt8:
    """(..., C, H, W) -> (..., H, W, C) as images.to_uint8 does, on the device: a quarter of the
    bytes to bring home.
    """
    pixels = ((y.nan_to_num().clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8)
    return cast(UInt8, pixels.movedim(-3, -1).contiguous().cpu().numpy())


def padded(side: int, stride: int) -> NDArray[np.int64]:
    """Places 0 to side - 1 and, mirrored, as many more as make a multiple of the stride."""
    return np.pad(np.arange(side), (0, -side % stride), mode="symmetric")
