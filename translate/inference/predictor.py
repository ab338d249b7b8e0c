"""A model on a device: pixels and styles in, pixels out; no folders.

An image's translation is batch-invariant: it is the same to the bit whatever other images come
with it. Legend: K styles of each image, B rows of a batch, C channels, H W pixels, Ds style
dimensions; `size` is (width, height); pixels are uint8 (H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from translate.data.dataset import shorter_side
from translate.inference.batching import Batching
from translate.inference.carrying import carry, carry_levels
from translate.inference.domains import Direction, domain_index
from translate.inference.predictor_options import CARRIED, DEFAULTS, PredictorOptions
from translate.inference.tiling import Count, Map, ignore
from translate.io.depth import Levels
from translate.io.files import PathLike
from translate.io.images import Picture, UInt8, composite, read_image, resize, to_channels
from translate.io.ranges import FILE
from translate.io.tensors import images_from_pixels, pixels_on_host, to_uint8
from translate.losses.energy import (
    Energies,
    EnergyQuantiles,
    Measured,
    RejectedImageError,
    RejectionThreshold,
    energies,
)
from translate.models.checkpoint import ModelFile, load_model
from translate.models.detail import (
    REACH,
    ColourMaps,
    clipped,
    share_not_carried,
)
from translate.models.distributions import Gaussian
from translate.models.layers import BATCH_INVARIANT, with_layers
from translate.models.metadata import model_file
from translate.runtime.device import (
    choose_device,
    choose_precision,
    total_memory,
)

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
OnStrip: TypeAlias = Callable[[int, float], None]  # an image's place, share of its work done

BATCH_SIZE = {"cpu": 16, "cuda": 32, "mps": 16}  # larger ones gain little
# What a batch takes, about: measured on a CPU, for one image and one style.
BYTES_A_PIXEL = 200
BYTES_A_FEATURE = 16  # for each pixel and each of model.width
BATCH_BYTES = 2 * 2**30
ASPECT_BOUND = 16
# Of a change, what colour maps do not reproduce: 0.04 to 0.09 of seasons, 0.3 to 0.6 of characters.
LARGE_SHARE = 0.25
SQUEEZED = "too long for the model: squeezed on its way through"
NOT_CARRIED = "shape changes cannot be carried: use --scale native or model"


class Prediction(NamedTuple):
    """What the model makes of one image.

    Attributes:
        pixels: (K, H, W, C), or why there are none.
        complaints: what is to be said of them; see `Predictor.warnings`.
        maps: the change as colour maps, (K, C, C, h, w) and (K, C, h, w), where it can be
            carried to the picture itself.
        not_carried: the share of the change that these do not reproduce.
    """

    pixels: UInt8 | Exception
    complaints: tuple[str, ...] = ()
    maps: ColourMaps | None = None
    not_carried: float = 0.0


class Translations(NamedTuple):
    """A batch translated.

    Attributes:
        images: (K, B, C, H, W) in [-1, 1], float32 on the device.
        maps: from reconstructions to translations, a set for each of K; None where not asked for.
        not_carried: (K, B), the share of the change that they do not reproduce.
    """

    images: Tensor
    maps: list[ColourMaps] | None = None
    not_carried: Tensor | None = None


class _Batch(NamedTuple):
    """What the model makes of B images.

    Attributes:
        pixels: (K, B, H, W, C).
        finite: (B,), which of them are.
        energy: (B,), 0 without a threshold.
        not_carried: (B,), the largest share of K that maps do not reproduce, 0 without maps.
        maps: (K, C, C, h, w) and (K, C, h, w) for each of B, on the CPU.
    """

    pixels: UInt8
    finite: NDArray[np.bool_]
    energy: list[float]
    not_carried: list[float]
    maps: list[ColourMaps] | None = None

    def row(self, i: int) -> _Batch:
        """Return what was made of one image, as a batch."""
        maps = None if self.maps is None else self.maps[i : i + 1]
        one = slice(i, i + 1)
        return _Batch(
            self.pixels[:, one], self.finite[one], self.energy[one], self.not_carried[one], maps
        )


class Origin(NamedTuple):
    """Where a predictor was loaded from, and how.

    Attributes:
        path: of the model file, absolute.
        device: as it was asked for, so that auto is what each machine has.
        options: how the model works on pictures.
        sha256: of the file.
    """

    path: Path
    device: str
    options: PredictorOptions
    sha256: str


class Predictor:
    """A model file ready for work; `config`, `sha256` and `summary` are the file's.

    It can be pickled where it was loaded from a file: the path and the options travel, and the
    weights are read again, once in each process.

    Args:
        file: the model.
        device: auto, cpu, cuda or mps.
        options: how it works on pictures.

    Raises:
        ValueError: for a missing device, or an option that does not fit the model.
    """

    def __init__(
        self, file: ModelFile, device: str = "auto", options: PredictorOptions = DEFAULTS
    ) -> None:
        scale = options.scale
        self.config = file.config
        self.sha256 = file.sha256
        self.summary = file.summary
        self.origin: Origin | None = None

        one_size = self.config.model.one_size
        if one_size and scale in ("native", "detail"):
            one = "a model of one domain has one latent and one size"
            vector = "a model whose content is a vector has one size"
            reason = one if self.config.model.one_latent else vector
            raise ValueError(f"--scale {scale}: {reason}; use --scale model")
        if scale == "auto" and not self.config.model.detail:
            scale = "model"
        if options.strength != 1 and not (self.config.model.detail or scale == "detail"):
            raise ValueError(
                "--strength: this model draws pictures anew; add --scale detail, which carries its "
                "change of colours to the picture"
            )
        self.aspect_bound = 1 if one_size else ASPECT_BOUND
        self.device = choose_device(device)
        self.dtype = choose_precision(options.precision, self.device)
        self.scale = scale
        self.tile = options.tile
        self.strength = options.strength
        self.batch_size = self._fitting_batch()
        trained = cast(tuple[int, int, int], tuple(self.config.data.background))
        self.background = options.background or trained
        self.value_range = options.value_range or self.config.data.range

        # A copy that shares the weights: the caller's ModelFile keeps its layers, device and
        # memory format.
        model = with_layers(file.model, BATCH_INVARIANT)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(
        cls, path: PathLike, device: str = "auto", options: PredictorOptions = DEFAULTS
    ) -> Self:
        """Load a model file; the arguments are those of the class.

        Raises:
            ValueError: in one line, for a file that is no model, a missing device or a wrong
                option.
        """
        file = load_model(path)
        predictor = cls(file, device, options)
        predictor.origin = Origin(model_file(path).absolute(), device, options, file.sha256)
        return predictor

    def __reduce__(self) -> tuple[Callable[[Origin], Predictor], tuple[Origin]]:
        """Pickle where the model is, without its weights.

        Raises:
            ValueError: for a model that is in memory alone.
        """
        if self.origin is None:
            raise ValueError(
                "a model that is in memory alone cannot be pickled; save it with save_model and "
                "load the file"
            )
        return load_again, (self.origin,)

    def _fitting_batch(self) -> int:
        """Return how many images of the training size a batch has: fewer where these are large."""
        fitting = BATCH_BYTES // self._bytes_for(self.config.data.size**2)
        return max(1, min(BATCH_SIZE.get(self.device.type, 8), fitting))

    def _bytes_for(self, pixels: int) -> int:
        """Return about how much memory the model takes for so many pixels."""
        return pixels * (BYTES_A_PIXEL + self.config.model.width * BYTES_A_FEATURE)

    def _refuse_too_large(self, size: tuple[int, int]) -> None:
        """Raise ValueError for an image (width, height) that takes more memory than there is."""
        needed = self._bytes_for(size[0] * size[1])
        total = total_memory(self.device)
        if total is not None and needed > total:
            raise ValueError(
                f"takes about {needed / 2**30:.0f} GiB in this model (data.size "
                f"{self.config.data.size}), of {total / 2**30:.0f} GiB that there are"
            )

    @property
    def cache_key(self) -> str:
        """What a translation depends on, besides the image, its direction and style."""
        key = f"{self.sha256} {self.dtype} {self.background} {self.scale}"
        if self.strength != 1:
            key += f" strength {self.strength}"
        return key if self.value_range == FILE else f"{key} {self.value_range}"

    def domain(self, name: str) -> int:
        """Return a domain's index; see `domain_index`."""
        return domain_index(self.config.data.names, name)

    def reference(self, domain: str) -> EnergyQuantiles:
        """Return the energies of a domain's training images.

        Raises:
            ValueError: for an unknown domain, and where the model file has none.
        """
        name = self.config.data.names[self.domain(domain)]
        return EnergyQuantiles.of_training(self.summary, name)

    def rejection_threshold(self, domain: int, level: float, skip: bool) -> RejectionThreshold:
        """Return the energy at a quantile of a domain's training images.

        Args:
            domain: its index.
            level: the quantile, in (0, 1].
            skip: whether images above it are left out; else they are warned of.

        Raises:
            ValueError: as `reference` does, and for a level out of range.
        """
        name = self.config.data.names[domain]
        return RejectionThreshold(self.reference(name).limit(level), level, name, skip)

    def model_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size (width, height) in which the model sees an image.

        Its shorter side is `data.size`, both are multiples of the stride, and the aspect is
        bounded.
        """
        side = self.config.data.size
        stride = self.config.model.stride
        longest = self.aspect_bound * side
        wide, high = (
            min(round(s / stride) * stride, longest) for s in shorter_side(width, height, side)
        )
        return wide, high

    def squeezes(self, size: tuple[int, int]) -> bool:
        """Tell whether an image of a size changes its aspect in the model."""
        return self.scale != "native" and max(size) > self.aspect_bound * min(size)

    def carries(self, size: tuple[int, int]) -> bool:
        """Tell whether the change is carried to a picture of a size (width, height)."""
        if self.scale == "auto":
            return min(size) > CARRIED * self.config.data.size
        return self.scale == "detail"

    def read(
        self,
        path: PathLike,
        max_pixels: int = 178_000_000,
        profile_space: str | None = None,
    ) -> Picture:
        """Decode a file, what is black and white being as in training; see `read_image`."""
        return read_image(path, max_pixels, self.value_range, profile_space)

    def preprocess(self, picture: Picture) -> UInt8:
        """Return any picture as the model takes it, (H, W, C)."""
        pixels = to_channels(composite(picture, self.background), self.config.data.channels)
        if self.scale != "native":
            size = self.model_size(*picture.size)
            self._refuse_too_large(size)
            return resize(pixels, size)
        rows, columns = (padded(side, self.config.model.stride) for side in pixels.shape[:2])
        return pixels[rows][:, columns]

    def postprocess(self, pixels: UInt8, size: tuple[int, int]) -> UInt8:
        """Return what the model made of a preprocessed picture in the picture's own size."""
        return pixels[: size[1], : size[0]] if self.scale == "native" else resize(pixels, size)

    def outputs(
        self, prediction: Prediction, size: tuple[int, int], load: Callable[[], Picture]
    ) -> list[UInt8 | Levels]:
        """Return what a prediction makes of its picture.

        Args:
            prediction: of the preprocessed picture.
            size: the picture's (width, height).
            load: gives the picture itself; called where the change is carried to it, at the depth
                that it has then.

        Returns:
            K times (H, W, C).

        Raises:
            Exception: the prediction's, if there is one in place of pixels.
        """
        if isinstance(prediction.pixels, Exception):
            raise prediction.pixels
        if prediction.maps is None or not self.carries(size):
            return [self.postprocess(pixels, size) for pixels in prediction.pixels]
        picture = load()
        channels = self.config.data.channels
        maps = [ColourMaps(*variant) for variant in zip(*prediction.maps, strict=True)]
        if picture.levels is not None:
            return [
                carry_levels(variant, picture.levels, self.background, channels) for variant in maps
            ]
        pixels = to_channels(composite(picture, self.background), channels)
        return [carry(variant, pixels) for variant in maps]

    def warnings(self, prediction: Prediction, size: tuple[int, int]) -> tuple[str, ...]:
        """Return what is to be said of a prediction for a picture of a size (width, height)."""
        squeezed = (SQUEEZED,) if self.squeezes(size) else ()
        carried = prediction.maps is not None and self.carries(size)
        shapes = (NOT_CARRIED,) if carried and prediction.not_carried > LARGE_SHARE else ()
        return (*squeezed, *prediction.complaints, *shapes)

    def batching(self, size: int | None = None) -> Batching:
        """Return how images are put into batches; `size` is by default the device's."""
        return Batching(size or self.batch_size, self.config.data.size**2)

    @contextmanager
    def inference(self, dtype: torch.dtype | None = None) -> Iterator[None]:
        """Run what is inside in inference mode and in a precision, default the predictor's."""
        bf16 = (dtype or self.dtype) == torch.bfloat16
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            yield

    def forward(
        self,
        x: Tensor,
        direction: Direction,
        z_s: Tensor,
        dtype: torch.dtype | None = None,
        content: Tensor | None = None,
        with_maps: bool = True,
    ) -> Translations:
        """Translate one batch.

        Args:
            x: images (B, C, H, W) in [-1, 1].
            direction: from which domain to which.
            z_s: styles (K, B, Ds); (K, B, 0) stands for each image's own style,
                mu_s(x).
            dtype: of the computation, default the predictor's.
            content: mu_c(x), (B, Cc, h, w), where it is known.
            with_maps: whether maps are wanted, where the scale is "detail" or "auto".
        """
        with self.inference(dtype):
            x = x.to(self.device).contiguous(memory_format=torch.channels_last)
            decoded, r = self._decode(x, direction, z_s, content)
            if r is None:
                return Translations(torch.stack(list(decoded)))
            images: list[Tensor] = []
            maps: list[ColourMaps] = []
            shares: list[Tensor] = []
            for t in decoded:
                fitted = self._fit(r, t)
                images.append(clipped(fitted.apply(x)) if self._adds_detail(direction) else t)
                if with_maps and self._fits_maps(direction):
                    maps.append(fitted)
                    shares.append(share_not_carried(fitted, r, r + self.strength * (t - r)))
            if not maps:
                return Translations(torch.stack(images))
            return Translations(torch.stack(images), maps, torch.stack(shares))

    def _fit(self, r: Tensor, t: Tensor) -> ColourMaps:
        """Fit the maps that make as much of the change as is asked for."""
        maps: ColourMaps = self.model.fit_maps(r, t)
        return maps if self.strength == 1 else maps.scaled(self.strength)

    def _adds_detail(self, direction: Direction) -> bool:
        """Tell whether translations keep the detail of their input; reconstructions do not."""
        return self.config.model.detail and direction[0] != direction[1]

    def _fits_maps(self, direction: Direction) -> bool:
        """Tell whether the change is asked for as maps; by itself, of no reconstruction."""
        return self.scale == "detail" or (self.scale == "auto" and self._adds_detail(direction))

    def _decode(
        self, x: Tensor, direction: Direction, z_s: Tensor, content: Tensor | None = None
    ) -> tuple[Iterator[Tensor], Tensor | None]:
        """Decode an image's content in each of the styles z_s (K, B, Ds), within `inference`.

        `x` may be a `Map`, and then all are maps.

        Returns:
            Translations t (B, C, H, W), and the reconstruction r where it is needed.
        """
        source, target = direction
        if content is None:
            content = self.model.encode_content(x, source).mu
        own = z_s.shape[2] == 0
        needs_reconstruction = self._adds_detail(direction) or self._fits_maps(direction)
        if own or needs_reconstruction:
            style = self.model.encode_style(x, source).mu
        if own:
            z_s = style.expand(len(z_s), -1, -1)
        r = self.model.decode(content, style, source, source) if needs_reconstruction else None
        decoded = (self.model.decode(content, z, source, target) for z in z_s.to(self.device))
        return decoded, r

    def translations_in_strips(self, x: Map, direction: Direction, z_s: Tensor) -> Iterator[Map]:
        """Yield a translation of one image for each of the styles z_s (K, 1, Ds), as maps.

        It is called within `inference`.
        """

        def keep_detail(t: Tensor, x: Tensor, r: Tensor) -> Tensor:
            return clipped(self._fit(r, t).apply(x))

        decoded, r = self._decode(cast(Tensor, x), direction, z_s)
        for t in cast(Iterator[Map], decoded):
            if self._adds_detail(direction):
                yield t.nearby(keep_detail, REACH, x, cast(Map, r))
            else:
                yield t

    def predict_batch(
        self,
        pixels: Sequence[UInt8],
        direction: Direction,
        z_s: Tensor,
        threshold: RejectionThreshold | None = None,
        carried: bool = True,
        on_strip: OnStrip | None = None,
    ) -> Iterator[Prediction]:
        """Translate preprocessed pictures of one size.

        What bf16 makes not finite is tried in float32. Above the threshold of the source domain
        there is a warning or, where it says so, RejectedImageError in place of pixels.

        Args:
            pixels: (H, W, C) each.
            direction: from which domain to which.
            z_s: styles (K, B, Ds), see `forward`.
            threshold: of energies of the source domain.
            carried: whether the change may be carried to a picture among them.
            on_strip: called with an image's place and the share of its work that is done, where it
                is worked on in strips; what it raises ends the work.
        """
        translate = partial(
            self._predict, direction=direction, threshold=threshold, with_maps=carried
        )
        batch = translate(np.stack(pixels), z_s=z_s, dtype=self.dtype, on_strip=on_strip)
        for i, image in enumerate(pixels):
            made = batch.row(i)
            warnings: tuple[str, ...] = ()
            if not made.finite[0] and self.dtype != torch.float32:
                made = translate(image[None], z_s=z_s[:, i : i + 1], dtype=torch.float32)
                warnings = ("not finite in bf16: made in float32",)

            complaint = threshold.complaint(made.energy[0]) if threshold else ""
            if not made.finite[0]:
                yield Prediction(ValueError("the model's output is not finite"))
            elif threshold and threshold.skip and complaint:
                yield Prediction(RejectedImageError(complaint))
            else:
                complaints = tuple(filter(None, (*warnings, complaint)))
                maps = None if made.maps is None else made.maps[0]
                yield Prediction(made.pixels[:, 0], complaints, maps, made.not_carried[0])

    def _predict(
        self,
        pixels: UInt8,
        direction: Direction,
        z_s: Tensor,
        dtype: torch.dtype,
        threshold: RejectionThreshold | None,
        with_maps: bool,
        on_strip: OnStrip | None = None,
    ) -> _Batch:
        """Translate pixels (B, H, W, C) in one precision."""
        energy = [0.0] * len(pixels)
        content = None
        if threshold is not None:
            found, q_c = self._energies(pixels, direction[0], dtype)
            energy = found.energy.tolist()
            content = None if self.scale == "native" else q_c.mu
        if self.in_strips(pixels.shape[1:3]):
            made, finite = self._predict_in_strips(pixels, direction, z_s, dtype, on_strip)
            return _Batch(made, finite, energy, [0.0] * len(pixels))

        x = images_from_pixels(pixels, self.device)
        y = self.forward(x, direction, z_s, dtype, content, with_maps)
        finite = y.images.isfinite().flatten(2).all(2).all(0).cpu().numpy()
        maps = None
        not_carried = [0.0] * len(pixels)
        if y.maps is not None and y.not_carried is not None:
            not_carried = y.not_carried.amax(0).tolist()
            matrices = torch.stack([one.matrices for one in y.maps], dim=1).cpu()
            offsets = torch.stack([one.offsets for one in y.maps], dim=1).cpu()
            maps = [ColourMaps(*one) for one in zip(matrices, offsets, strict=True)]
        return _Batch(pixels_on_host(to_uint8(y.images)), finite, energy, not_carried, maps)

    def in_strips(self, shape: Sequence[int]) -> bool:
        """Tell whether an image (H, W) is too large to be worked on as a whole."""
        return self.scale == "native" and shape[0] * shape[1] > self.tile**2

    def _predict_in_strips(
        self,
        pixels: UInt8,
        direction: Direction,
        z_s: Tensor,
        dtype: torch.dtype,
        on_strip: OnStrip | None,
    ) -> tuple[UInt8, NDArray[np.bool_]]:
        """Translate pixels (B, H, W, C), one image after another; see `_predict`."""
        made = np.empty((len(z_s), *pixels.shape), np.uint8)
        finite = np.ones(len(pixels), np.bool_)
        for i, image in enumerate(pixels):
            with self.inference(dtype):
                styles = z_s[:, i : i + 1]
                count = ignore
                if on_strip is not None:
                    total = self._numbers_in_strips(image, direction, styles)
                    count = _Share(total, partial(on_strip, i)).add
                for k, a, b, strip in self._strips(image, direction, styles, count):
                    made[k, i, a:b] = pixels_on_host(to_uint8(strip))[0]
                    finite[i] = finite[i] and bool(strip.isfinite().all())
        return made, finite

    def _strips(
        self, image: UInt8, direction: Direction, z_s: Tensor, count: Count
    ) -> Iterator[tuple[int, int, int, Tensor]]:
        """Yield variants of an image (H, W, C) in strips: k, rows [a, b), (1, C, b - a, W)."""
        x = Map.of_image(image, self.tile, self.device, count)
        for k, y in enumerate(self.translations_in_strips(x, direction, z_s)):
            for a, b in y.bands():
                strip = y.read(a, b)
                yield k, a, b, strip
                count(strip.numel())

    def _numbers_in_strips(self, image: UInt8, direction: Direction, z_s: Tensor) -> float:
        """Return how many numbers all strips of an image have: as many a pixel as a small part."""
        side = 4 * self.config.model.stride
        part = image[:side, :side]
        counted: list[int] = []
        for _ in self._strips(part, direction, z_s, counted.append):
            pass
        return float(sum(counted) * image.size / part.size)

    def predict_stream(
        self,
        items: Iterable[tuple[T, UInt8]],
        direction: Direction,
        style_of: Callable[[T], Tensor],
        batch_size: int | None = None,
        threshold: RejectionThreshold | None = None,
        carried: Callable[[T], bool] = lambda item: True,
        on_strip: Callable[[T, float], None] | None = None,
    ) -> Generator[tuple[T, Prediction]]:
        """Translate preprocessed pictures as they come, in batches; see `Batching.stream`.

        Args:
            items: anything, each with its pixels (H, W, C).
            direction: from which domain to which.
            style_of: the styles (K, Ds) of an item.
            batch_size: images of the training size in a batch, default the device's.
            threshold: of energies of the source domain.
            carried: whether the change may be carried to an item's picture.
            on_strip: called with an item and the share of its work that is done, where it is
                worked on in strips, and in the thread that does it; what it raises ends the work.

        Yields:
            Items, in no particular order, and their predictions.
        """

        def work(batch: Sequence[T], pixels: Sequence[UInt8]) -> Iterator[Prediction]:
            z_s = torch.stack([style_of(item) for item in batch], dim=1)
            told = None if on_strip is None else lambda i, share: on_strip(batch[i], share)
            return self.predict_batch(
                pixels, direction, z_s, threshold, any(map(carried, batch)), told
            )

        batching = self.batching(batch_size)
        for item, found in batching.stream(items, work, self.device):
            yield item, Prediction(found) if isinstance(found, Exception) else found

    def encode_styles(
        self, items: Iterable[tuple[T, UInt8]], domain: int
    ) -> Generator[tuple[T, Tensor | Exception]]:
        """Encode preprocessed pictures of a domain as they come; see `predict_stream`.

        Yields:
            Items, in no particular order, and mu_s (Ds,) on the CPU, or why there is none.
        """

        def work(_: Sequence[T], pixels: Sequence[UInt8]) -> Iterable[Tensor]:
            x = images_from_pixels(np.stack(pixels), self.device)
            with torch.inference_mode():
                means = self.model.encode_style(x, domain).mu.cpu()
            return list(means)

        yield from self.batching().stream(items, work, self.device)

    def measure_energies(
        self, items: Iterable[tuple[T, UInt8]], domain: int
    ) -> Generator[tuple[T, Measured | Exception]]:
        """Measure preprocessed pictures as images of a domain; see `predict_stream`.

        Yields:
            Items, in no particular order, and their energies, or why there are none.
        """

        def work(_: Sequence[T], pixels: Sequence[UInt8]) -> Iterator[Measured]:
            found = self._energies(np.stack(pixels), domain, self.dtype)[0]
            rows = zip(*(part.tolist() for part in found), strict=True)
            return (Measured(*row) for row in rows)

        yield from self.batching().stream(items, work, self.device)

    def _energies(
        self, pixels: UInt8, domain: int, dtype: torch.dtype
    ) -> tuple[Energies, Gaussian]:
        """Return energies of pixels (B, H, W, C) at the training size, and q(c | x, y) there."""
        fitting = pixels
        if self.scale == "native":
            size = self.model_size(pixels.shape[2], pixels.shape[1])
            fitting = np.stack([resize(image, size) for image in pixels])
        with self.inference(dtype):
            x = images_from_pixels(fitting, self.device)
            x = x.contiguous(memory_format=torch.channels_last)
            q_c = self.model.encode_content(x, domain)
            return energies(self.model, x, domain, self.config.objective, q_c), q_c


# The one thing that a process remembers here: a worker is sent the same predictor with each of its
# tasks, and would read the weights, and hold them, as often.
@lru_cache(maxsize=2)
def load_again(origin: Origin) -> Predictor:
    """Load a predictor as it was loaded before, of the same weights.

    Raises:
        ValueError: as `Predictor.load` does, and for a file that has changed.
    """
    predictor = Predictor.load(origin.path, origin.device, origin.options)
    if predictor.sha256 != origin.sha256:
        raise ValueError(
            f"{origin.path}: has changed since the Translator was made that is to be unpickled; "
            "load the new one"
        )
    return predictor


class _Share:
    """Counts numbers that are done, and tells which share of all they are."""

    def __init__(self, total: float, tell: Callable[[float], None]) -> None:
        self.total = total
        self.tell = tell
        self.done = 0

    def add(self, numbers: int) -> None:
        """Count more numbers."""
        self.done += numbers
        self.tell(min(self.done / self.total, 1.0))


def padded(side: int, stride: int) -> NDArray[np.int64]:
    """Return places 0 to side - 1 and, mirrored, as many more as make a multiple of the stride."""
    return np.pad(np.arange(side), (0, -side % stride), mode="symmetric")
