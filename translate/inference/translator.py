"""Content times style -> images: the Python API of one loaded model.

Legend: N images, K samples of each, B rows of a batch, C channels, H W pixels on the model's side, Ds style dimensions;
`size` is (width, height); pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from translate.inference import folder
from translate.inference.predictor import OWN, Painter, padded
from translate.io.files import PathLike
from translate.io.images import ImageError, Picture, UInt8, flatten, list_images, read_image, to_channels, to_float
from translate.models.checkpoint import usual_style

Exemplar: TypeAlias = Image.Image | UInt8
Style: TypeAlias = PathLike | Exemplar | Iterable[Exemplar]  # auto, mean, random, own, a file or folder, or in memory
Styles: TypeAlias = Callable[[str | int], Tensor]  # an image's relative path, or place in a list -> z_s (K, Ds)
ImageT = TypeVar("ImageT", Image.Image, UInt8)


class Translator(Painter):
    """A model file ready for work on images in memory and on folders; see Painter for its options."""

    @overload
    def translate(
        self, images: Tensor, to: str, source: str | None = None, style: Style = "auto", seed: int = 0, samples: int = 1
    ) -> Tensor: ...

    @overload
    def translate(
        self, images: Sequence[ImageT], to: str, source: str | None = None, style: Style = "auto", seed: int = 0,
        samples: int = 1,
    ) -> list[ImageT]: ...  # fmt: skip

    def translate(
        self, images: Tensor | Sequence[Exemplar], to: str, source: str | None = None, style: Style = "auto",
        seed: int = 0, samples: int = 1,
    ) -> Tensor | list[Any]:  # fmt: skip
        """Images of domain `source` in domain `to`, each in its own size.

        Args:
            images: PIL images or uint8 arrays (H, W) or (H, W, 1 to 4), the last channel of 2 or 4 being alpha; or a
                float tensor (N, C, H, W) in [-1, 1].
            source: may be left out where the model has two domains.
            style: "mean", the prior's; "random", a draw of its own for each (seed, place, sample); "auto", what the
                training found better of these two; or exemplars of `to`: sample k of image i takes the one at i + k,
                round and round. "own", with which `source` is `to`, reconstructs: each image's own content in its own
                style, by the posterior means.

        Returns:
            What was given, in a list or a tensor; sample k of image i is at i * samples + k. Gray from a gray model.
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
        for batch in self._batches(enumerate(map(self.prepare, pictures)), self.batch_size):
            z_s = torch.stack([styles(i) for i, _ in batch], dim=1)
            for (i, _), (made, _) in zip(batch, self.paint([x for _, x in batch], domains, z_s), strict=True):
                if isinstance(made, Exception):
                    raise made
                full = [self.finish(pixels, pictures[i].size) for pixels in made]
                results[i] = [_like(images[i], pixels, pictures[i].alpha) for pixels in full]
        return [image for i in range(len(images)) for image in results[i]]

    def _translate_tensor(self, images: Tensor, domains: tuple[int, int], styles: Styles) -> Tensor:
        channels, stride = self.config.data.channels, self.config.model.stride
        if not images.is_floating_point() or images.ndim != 4 or images.shape[1] != channels:
            found = f"{images.dtype} {tuple(images.shape)}"
            raise ValueError(f"a float tensor (N, {channels}, H, W) is expected, not {found}")
        height, width = images.shape[2:]
        size, native = self.model_size(width, height), self.scale == "native"
        parts = []
        for first in range(0, len(images), rows := self.rows(images.shape[2:], self.batch_size)):
            x = images[first : first + rows].float().cpu()
            x = x[:, :, padded(height, stride)][..., padded(width, stride)] if native else _resize(x, size)
            z_s = torch.stack([styles(i) for i in range(first, first + len(x))], dim=1)
            y = self.run(x, *domains, z_s).cpu().transpose(0, 1).flatten(0, 1)
            parts.append(y[..., :height, :width] if native else _resize(y, (width, height)))
        return torch.cat(parts).to(images) if parts else images.clone()

    translate_folder = folder.translate_folder

    def domains(self, to: str, source: str | None = None, style: Style = "auto") -> tuple[int, int]:
        """Indices of the source and the target domain, equal with style "own". Raises ValueError that names the valid
        ones."""
        names = self.config.data.names
        for name in (to, *([] if source is None else [source])):
            self.domain(name)
        if _is(style, OWN):
            if source not in (None, to):
                raise ValueError(f"style own is an image's style in its own domain: the source must be {to} as well")
            return names.index(to), names.index(to)
        others = [name for name in names if name != to]
        if not others:
            raise ValueError(
                f"the model knows {to} alone: there is nothing to translate; reconstruct or sample with it"
            )
        if source is None and len(others) != 1:
            raise ValueError(f"the source domain must be given: one of {', '.join(others)}")
        if source == to:
            raise ValueError(f"source and target domain are both {to}; the source may be {', '.join(others)}")
        return names.index(source or others[0]), names.index(to)

    def styles(self, style: Style, to: str, seed: int = 0, samples: int = 1) -> Styles:
        """Where the styles of domain `to` come from. Raises ValueError for an exemplar that cannot be used."""
        size = self.config.model.style_dim
        if _is(style, OWN):
            return lambda name: torch.zeros(samples, 0)
        if _is(style, "auto"):
            style = usual_style(self.summary, to)
        if _is(style, "mean"):
            return lambda name: torch.zeros(samples, size)
        if _is(style, "random"):
            return lambda name: torch.stack(
                [torch.randn(size, generator=generator(seed, name, k)) for k in range(samples)]
            )
        if isinstance(style, str | os.PathLike):
            style = self._read(Path(style))
        exemplars = [style] if isinstance(style, Image.Image | np.ndarray) else style
        means = [self._style_mean(_to_picture(exemplar), to) for exemplar in exemplars]
        if not means:
            raise ValueError("style: no exemplars were given")

        def pick(name: str | int) -> Tensor:
            first = name if isinstance(name, int) else generator(seed, name).initial_seed()
            return torch.stack([means[(first + k) % len(means)] for k in range(samples)])

        return pick

    def _read(self, path: Path) -> Iterator[Exemplar]:
        """Exemplars from a file or a folder, one at a time."""
        if not path.exists():
            raise ValueError(
                f"style {path}: no such file or folder; use auto, mean, random, own or a picture in the wanted style"
            )
        for one in [path / name for name in list_images(path)] if path.is_dir() else [path]:
            try:
                yield flatten(read_image(one), self.background)
            except ImageError as error:
                raise ValueError(f"style {one}: {error}") from None

    def _style_mean(self, exemplar: Picture, domain: str) -> Tensor:
        """mu_s of one exemplar. Shape: (Ds,)."""
        x = torch.from_numpy(to_float(self.prepare(exemplar)))[None].to(self.device)
        y = torch.tensor([self.config.data.names.index(domain)], device=self.device)
        with torch.inference_mode():
            return cast(Tensor, self.model.encoder.style(x, y).mu[0].cpu())


def _is(style: Style, kind: str) -> bool:
    return isinstance(style, str) and style == kind


def generator(*parts: str | int) -> torch.Generator:
    """Random numbers that follow from the parts alone."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) to `size`, antialiased, within [-1, 1]; the input itself where it has that size."""
    if x.shape[:1:-1] == size:
        return x
    return F.interpolate(x, (size[1], size[0]), mode="bicubic", antialias=True).clamp(-1, 1)


def _to_picture(image: Exemplar) -> Picture:
    """A picture in memory in the form that a decoded file has."""
    if isinstance(image, Image.Image):
        if image.mode[0] in "IF":
            raise ValueError(f"an image of mode {image.mode} has no known range; convert it to 8 bits")
        kind = "RGBA" if image.has_transparency_data else "RGB"
        image = np.array(image.convert(kind))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = f"an array of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
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
