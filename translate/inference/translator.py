"""Content times style -> images: the Python API of one loaded model.

Legend: N images, K samples of each, B rows of a batch, C channels, H W pixels on the model's
side, Ds style dimensions; `size` is (width, height); pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from translate.inference import folder
from translate.inference.predictor import OWN, Predictor, padded
from translate.inference.tiling import Map
from translate.io.files import PathLike
from translate.io.images import (
    ImageError,
    Picture,
    UInt8,
    composite,
    list_images,
    read_image,
    to_channels,
    to_float,
)
from translate.models.checkpoint import default_style
from translate.runtime.device import usable_cores
from translate.runtime.prefetch import ahead

Exemplar: TypeAlias = Image.Image | UInt8
# auto, mean, random, own, a file or folder, or in memory
Style: TypeAlias = PathLike | Exemplar | Iterable[Exemplar]
# an image's relative path, or place in a list -> z_s (K, Ds)
Styles: TypeAlias = Callable[[str | int], Tensor]
ImageT = TypeVar("ImageT", Image.Image, UInt8)


class Translator(Predictor):
    """A model file ready for work on images in memory and on folders; see Predictor for its
    options.
    """

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
        images: Tensor | Sequence[Exemplar],
        to: str,
        source: str | None = None,
        style: Style = "auto",
        seed: int = 0,
        samples: int = 1,
    ) -> Tensor | list[Any]:
        """Images of domain `source` in domain `to`, each in its own size.

        Args:
            images: PIL images or uint8 arrays (H, W) or (H, W, 1 to 4), the last channel of 2 or
                4 being alpha; or a
                float tensor (N, C, H, W) in [-1, 1].
            source: may be left out where the model has two domains.
            style: "mean", the prior's; "random", a draw of its own for each (seed, place,
                sample); "auto", what the
                training found better of these two; or exemplars of `to`: sample k of image i
                takes the one at i + k, round and round. "own", with which `source` is `to`,
                reconstructs: each image's own content in its own style, by the posterior means.

        Returns:
            What was given, in a list or a tensor; sample k of image i is at i * samples + k.
            Gray from a gray model. An image of a tensor is translated the same to the bit
            whatever the others are.

        Raises:
            ValueError: for images, domains or styles that cannot be used, values of a tensor
                that are not finite, and
                an output that is not finite in float32 either; it names the image's place.
        """
        if samples < 1:
            raise ValueError(f"samples must be at least 1, not {samples}")
        domains = self.domains(to, source, style)
        styles = self.styles(style, to, seed, samples)

        if isinstance(images, Tensor):
            return self._translate_tensor(images, domains, styles)
        if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
            raise ValueError("one image was given: put it in a list")
        pictures = [_to_picture(image) for image in images]
        results: dict[int, list[Exemplar]] = {}
        for batch in self._batches(enumerate(map(self.preprocess, pictures)), self.batch_size):
            z_s = torch.stack([styles(i) for i, _ in batch], dim=1)
            for (i, _), (made, _) in zip(
                batch, self.predict_batch([x for _, x in batch], domains, z_s), strict=True
            ):
                if isinstance(made, Exception):
                    raise made
                full = [self.postprocess(pixels, pictures[i].size) for pixels in made]
                results[i] = [_like(images[i], pixels, pictures[i].alpha) for pixels in full]
        return [image for i in range(len(images)) for image in results[i]]

    def _translate_tensor(self, images: Tensor, domains: tuple[int, int], styles: Styles) -> Tensor:
        channels = self.config.data.channels
        known = images.is_floating_point() and images.ndim == 4 and images.shape[1] == channels
        if not known or 0 in images.shape[2:]:
            found = f"{images.dtype} {tuple(images.shape)}"
            raise ValueError(f"a float tensor (N, {channels}, H, W) is expected, not {found}")
        finite = images.isfinite().flatten(1).all(1)
        if not finite.all():
            i = finite.tolist().index(False)
            raise ValueError(
                f"image {i} of the tensor holds values that are not finite; replace them or leave it out"
            )

        height, width = images.shape[2:]
        shape = self._to_model(images[:1]).shape[2:] if len(images) else (height, width)
        # On a CPU one image fills the cores; elsewhere batches are filled up with their last image,
        # so that all have one shape. Either way no result depends on the other images.
        group = (
            1
            if self.device.type == "cpu" or self._tiled(shape)
            else self.rows(shape, self.batch_size)
        )
        parts = []
        for first in range(0, len(images), group):
            x = self._to_model(images[first : first + group])
            z_s = torch.stack([styles(i) for i in range(first, first + len(x))], dim=1)
            y = self._run_tensor(x, domains, z_s, group, first)
            y = y[..., :height, :width] if self.scale == "native" else _resize(y, (width, height))
            parts.append(y.to(images))
        return torch.cat(parts) if parts else images.clone()

    def _to_model(self, images: Tensor) -> Tensor:
        """Floats (B, C, H, W) in the size that the model takes, float32 on the device."""
        x = images.detach().to(self.device, torch.float32)
        height, width = x.shape[2:]
        if self.scale == "model":
            return _resize(x, self.model_size(width, height))
        rows, columns = (
            torch.from_numpy(padded(side, self.config.model.stride)) for side in (height, width)
        )
        return x[:, :, rows.to(x.device)][..., columns.to(x.device)]

    def _tiled(self, shape: Sequence[int]) -> bool:
        """Whether an image (H, W) is worked on in strips."""
        return self.scale == "native" and shape[0] * shape[1] > self.tile**2

    def _run_tensor(
        self, x: Tensor, domains: tuple[int, int], z_s: Tensor, group: int, first: int
    ) -> Tensor:
        """x (B, C, H, W), z_s (K, B, Ds) -> (B * K, C, H, W), what bf16 makes not finite in
        float32.

        `group` is the number of images that a forward pass is filled up to, `first` the first
        one's place in the tensor, for messages. Raises ValueError for an output that is not
        finite.
        """

        def run(x: Tensor, z_s: Tensor, dtype: torch.dtype) -> Tensor:
            if self._tiled(x.shape[2:]):
                return self._run_in_strips(x, domains, z_s, dtype)
            places = torch.arange(group).clamp(max=len(x) - 1)
            return self.run(x[places.to(x.device)], *domains, z_s[:, places], dtype)[:, : len(x)]

        # outside of inference mode: it may be written to
        y = run(x, z_s, self.dtype).transpose(0, 1).clone()
        for i in range(len(x)) if not y.isfinite().all() else ():
            if not y[i].isfinite().all() and self.dtype != torch.float32:
                y[i] = run(x[i : i + 1], z_s[:, i : i + 1], torch.float32)[:, 0]
            if not y[i].isfinite().all():
                raise ValueError(
                    f"image {first + i} of the tensor: the model's output is not finite"
                )
        return y.flatten(0, 1)

    def _run_in_strips(
        self, x: Tensor, domains: tuple[int, int], z_s: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """One image x (1, C, H, W), z_s (K, 1, Ds) -> (K, 1, C, H, W)."""
        y = x.new_empty(len(z_s), *x.shape)
        with self._computing(dtype):
            image = Map(
                (x.shape[1], x.shape[2], x.shape[3]),
                lambda a, b: x[:, :, a:b].contiguous(memory_format=torch.channels_last),
                math.ceil(x.shape[2] * x.shape[3] / self.tile**2),
            )
            for k, made in enumerate(
                cast(Iterator[Map], self._samples(cast(Tensor, image), *domains, z_s, None))
            ):
                for a, b in made.bands():
                    y[k, :, :, a:b] = made.read(a, b)
        return y

    translate_folder = folder.translate_folder

    def domains(self, to: str, source: str | None = None, style: Style = "auto") -> tuple[int, int]:
        """Indices of the source and the target domain, equal with style "own". Raises ValueError
        that names the valid ones.
        """
        names = self.config.data.names
        for name in (to, *([] if source is None else [source])):
            self.domain(name)
        if _is(style, OWN):
            if source not in (None, to):
                raise ValueError(
                    f"style own is an image's style in its own domain: the source must be {to} as well"
                )
            return names.index(to), names.index(to)
        others = [name for name in names if name != to]
        if not others:
            raise ValueError(
                f"the model knows {to} alone: there is nothing to translate; reconstruct or sample with it"
            )
        if source is None and len(others) != 1:
            raise ValueError(f"the source domain must be given: one of {', '.join(others)}")
        if source == to:
            raise ValueError(
                f"source and target domain are both {to}; the source may be {', '.join(others)}"
            )
        return names.index(source or others[0]), names.index(to)

    def styles(self, style: Style, to: str, seed: int = 0, samples: int = 1) -> Styles:
        """Where the styles of domain `to` come from. Raises ValueError for an exemplar that cannot
        be used.
        """
        size = self.config.model.style_dim
        if _is(style, OWN):
            return lambda name: torch.zeros(samples, 0)
        if _is(style, "auto"):
            style = default_style(self.summary, to)
        if _is(style, "mean"):
            return lambda name: torch.zeros(samples, size)
        if _is(style, "random"):
            return lambda name: torch.stack(
                [torch.randn(size, generator=generator(seed, name, k)) for k in range(samples)]
            )
        if isinstance(style, str | os.PathLike):
            prepared = self._read(Path(style))
        else:
            exemplars = [style] if isinstance(style, Image.Image | np.ndarray) else style
            prepared = (self.preprocess(_to_picture(exemplar)) for exemplar in exemplars)
        # One by one: in a batch the last bits would depend on its size. Most of the time goes into
        # decoding.
        means = [self._style_mean(pixels, to) for pixels in prepared]
        if not means:
            raise ValueError("style: no exemplars were given")

        def pick(name: str | int) -> Tensor:
            first = name if isinstance(name, int) else generator(seed, name).initial_seed()
            return torch.stack([means[(first + k) % len(means)] for k in range(samples)])

        return pick

    def _read(self, path: Path) -> Iterator[UInt8]:
        """Exemplars from a file or a folder as the model takes them, decoded ahead by threads."""
        if not path.exists():
            raise ValueError(
                f"style {path}: no such file or folder; use auto, mean, random, own or a picture in the wanted style"
            )

        def decode(one: Path) -> UInt8:
            return self.preprocess(_to_picture(composite(read_image(one), self.background)))

        paths = [path / name for name in list_images(path)] if path.is_dir() else [path]
        workers = min(usable_cores(), folder.MOST_WORKERS)
        pool = ThreadPoolExecutor(workers)
        try:
            for one, future in ahead(pool, decode, paths, workers):
                try:
                    yield future.result()
                except ImageError as error:
                    raise ValueError(f"style {one}: {error}") from None
        finally:
            pool.shutdown(cancel_futures=True)

    def _style_mean(self, pixels: UInt8, domain: str) -> Tensor:
        """mu_s of one prepared exemplar (H, W, C). Shape: (Ds,)."""
        x = torch.from_numpy(to_float(pixels))[None].to(self.device)
        y = torch.tensor([self.config.data.names.index(domain)], device=self.device)
        with torch.inference_mode():
            return cast(Tensor, self.model.encoder.style(x, y).mu[0].cpu())


def _is(style: Style, kind: str) -> bool:
    return isinstance(style, str) and style == kind


def generator(*parts: str | int) -> torch.Generator:
    """Random numbers that follow from the parts alone."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return torch.Generator().manual_seed(
        int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    )


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) to `size`, antialiased, within [-1, 1]; the input itself where it has that
    size.
    """
    if x.shape[:1:-1] == size:
        return x
    return F.interpolate(x, (size[1], size[0]), mode="bicubic", antialias=True).clamp(-1, 1)


def _to_picture(image: Exemplar) -> Picture:
    """A picture in memory in the form that a decoded file has."""
    if isinstance(image, Image.Image):
        if image.mode[0] in "IF":
            raise ValueError(
                f"an image of mode {image.mode} has no known range; convert it to 8 bits"
            )
        kind = "RGBA" if image.has_transparency_data else "RGB"
        image = np.array(image.convert(kind))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = (
            f"an array of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        )
        raise ValueError(f"images are PIL images or uint8 arrays, not {found}")
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or 0 in pixels.shape:
        raise ValueError(f"an image's shape is (H, W) or (H, W, 1 to 4), not {image.shape}")
    colours = 3 if pixels.shape[2] >= 3 else 1
    alpha = np.ascontiguousarray(pixels[..., -1]) if pixels.shape[2] in (2, 4) else None
    return Picture(to_channels(np.ascontiguousarray(pixels[..., :colours]), 3), alpha, "", "", ())


def _like(image: Exemplar, pixels: UInt8, alpha: UInt8 | None) -> Exemplar:
    """Pixels (H, W, C) in the form that `image` has."""
    full = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    flat = full[..., 0] if full.shape[2] == 1 else full
    if isinstance(image, Image.Image):
        return Image.fromarray(flat)
    return flat if image.ndim == 2 else full
