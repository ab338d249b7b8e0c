"""Content times style -> images: one loaded model and its Python API.

Legend: N images, K samples of each, B rows of a batch, C channels, H W pixels on the model's side, Ds style dimensions;
`size` is (width, height); pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from translate import folder
from translate import images as files
from translate.checkpoint import ModelFile, load_model
from translate.data import shorter_side
from translate.device import choose_device, choose_precision
from translate.folder import Floats, ahead
from translate.images import PathLike, UInt8, flatten, resize, to_channels, to_float, to_uint8

Exemplar: TypeAlias = Image.Image | UInt8
Style: TypeAlias = PathLike | Exemplar | Iterable[Exemplar]  # "mean", "random", a file or folder, or in memory
Styles: TypeAlias = Callable[[str | int], Tensor]  # an image's relative path, or place in a list -> z_s (K, Ds)
T = TypeVar("T")
ImageT = TypeVar("ImageT", Image.Image, UInt8)

BATCH_SIZE = {"cpu": 8, "cuda": 32, "mps": 16}  # on a CPU larger batches gain nothing
MODEL_THREADS = 16  # at most so many batches at once on a CPU
WAITING = 8  # batches' worth of images that may wait for others of their size


class RowLinear(nn.Linear):
    """A linear layer whose rows do not know each other: in BLAS a row's last bit depends on its place in the batch."""

    def forward(self, input: Tensor) -> Tensor:
        """input (B, inputs) -> (B, outputs)."""
        return (input[:, None] * self.weight).sum(-1) + self.bias


class Translator:
    """A model file ready for work; `config`, `sha256` and `summary` are the file's.

    An image more than `aspect_bound` times as long as wide is squeezed on its way through the model: memory is finite.
    """

    aspect_bound = 16

    def __init__(self, file: ModelFile, device: str = "auto", precision: str = "32") -> None:
        if precision not in ("auto", "32", "bf16"):
            raise ValueError(f"--precision {precision}: unknown; use auto, 32 or bf16")
        self.config, self.sha256, self.summary = file.config, file.sha256, file.summary
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        self.identity = f"{self.sha256} {self.dtype}"
        self.batch_size = BATCH_SIZE.get(self.device.type, 8)
        self.background = cast(tuple[int, int, int], tuple(self.config.data.background))
        self.model = file.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.model.modules():
            if isinstance(module, nn.Linear):
                module.__class__ = RowLinear

    @classmethod
    def load(cls, path: PathLike, device: str = "auto", precision: str = "32") -> Translator:
        """Loads a model file. Raises ValueError in one line for another file, a missing device or a wrong precision."""
        return cls(load_model(Path(path)), device, precision)

    @overload
    def translate(
        self, images: Tensor, to: str, source: str | None = None, style: Style = "mean", seed: int = 0, samples: int = 1
    ) -> Tensor: ...

    @overload
    def translate(
        self, images: Sequence[ImageT], to: str, source: str | None = None, style: Style = "mean", seed: int = 0,
        samples: int = 1,
    ) -> list[ImageT]: ...  # fmt: skip

    def translate(
        self, images: Tensor | Sequence[Exemplar], to: str, source: str | None = None, style: Style = "mean",
        seed: int = 0, samples: int = 1,
    ) -> Tensor | list[Any]:  # fmt: skip
        """Images of domain `source` in domain `to`, each in its own size.

        Args:
            images: PIL images or uint8 arrays (H, W) or (H, W, 1 to 4), the last channel of 2 or 4 being alpha; or a
                float tensor (N, C, H, W) in [-1, 1].
            source: may be left out where the model has two domains.
            style: the prior's mean, a draw of its own for each (seed, place, sample), or exemplars of `to`: sample k of
                image i takes the one at i + k, round and round.

        Returns:
            What was given, in a list or a tensor; sample k of image i is at i * samples + k. Gray from a gray model.
        """
        if samples < 1:
            raise ValueError(f"samples must be at least 1, not {samples}")
        domains = self.domains(to, source)
        styles = self.styles(style, to, seed, samples)

        def run(x: Tensor, places: Sequence[int]) -> Tensor:  # -> (B, K, C, H, W)
            return self.run(x, *domains, torch.stack([styles(place) for place in places], dim=1)).transpose(0, 1)

        if isinstance(images, Tensor):
            return self._translate_tensor(images, run)
        if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
            raise ValueError("one image was given: put it in a list")
        pictures = [_to_picture(image) for image in images]
        results: dict[int, list[Exemplar]] = {}
        for batch in self._batches(enumerate(map(self.prepare, pictures)), self.batch_size):
            x = torch.from_numpy(to_float(np.stack([pixels for _, pixels in batch])))
            for (i, _), y in zip(batch, run(x, [i for i, _ in batch]).numpy(), strict=True):
                full = [resize(to_uint8(kind), pictures[i].size) for kind in y]
                results[i] = [_like(images[i], pixels, pictures[i].alpha) for pixels in full]
        return [image for i in range(len(images)) for image in results[i]]

    def _translate_tensor(self, images: Tensor, run: Callable[[Tensor, Sequence[int]], Tensor]) -> Tensor:
        channels = self.config.data.channels
        if not images.is_floating_point() or images.ndim != 4 or images.shape[1] != channels:
            found = f"{images.dtype} {tuple(images.shape)}"
            raise ValueError(f"a float tensor (N, {channels}, H, W) is expected, not {found}")
        height, width = images.shape[2:]
        size = self.model_size(width, height)
        parts = []
        for first in range(0, len(images), rows := self.rows(images.shape[2:], self.batch_size)):
            x = _resize(images[first : first + rows].float().cpu(), size)
            y = run(x, range(first, first + len(x))).flatten(0, 1)
            parts.append(_resize(y, (width, height)))
        return torch.cat(parts).to(images) if parts else images.clone()

    translate_folder = folder.translate_folder

    def domains(self, to: str, source: str | None = None) -> tuple[int, int]:
        """Indices of the source and the target domain. Raises ValueError that names the valid ones."""
        names = self.config.data.names
        for name in (to, *([] if source is None else [source])):
            if name not in names:
                raise ValueError(f"{name}: no domain of this model, which knows {', '.join(names)}")
        others = [name for name in names if name != to]
        if source is None and len(others) != 1:
            raise ValueError(f"the source domain must be given: one of {', '.join(others)}")
        if source == to:
            raise ValueError(f"source and target domain are both {to}; the source may be {', '.join(others)}")
        return names.index(source or others[0]), names.index(to)

    def styles(self, style: Style, to: str, seed: int = 0, samples: int = 1) -> Styles:
        """Where the styles of domain `to` come from. Raises ValueError for an exemplar that cannot be used."""
        size = self.config.model.style_dim
        if isinstance(style, str) and style == "mean":
            return lambda name: torch.zeros(samples, size)
        if isinstance(style, str) and style == "random":
            return lambda name: torch.stack(
                [torch.randn(size, generator=_generator(seed, name, k)) for k in range(samples)]
            )
        if isinstance(style, str | os.PathLike):
            style = self._read(Path(style))
        exemplars = [style] if isinstance(style, Image.Image | np.ndarray) else style
        means = [self._style_mean(_to_picture(exemplar), to) for exemplar in exemplars]
        if not means:
            raise ValueError("style: no exemplars were given")

        def pick(name: str | int) -> Tensor:
            first = name if isinstance(name, int) else _generator(seed, name).initial_seed()
            return torch.stack([means[(first + k) % len(means)] for k in range(samples)])

        return pick

    def _read(self, path: Path) -> Iterator[Exemplar]:
        """Exemplars from a file or a folder, one at a time."""
        if not path.exists():
            raise ValueError(f"style {path}: no such file or folder; use mean, random or a picture in the wanted style")
        for one in [path / name for name in files.list_images(path)] if path.is_dir() else [path]:
            try:
                yield flatten(files.read_image(one), self.background)
            except files.ImageError as error:
                raise ValueError(f"style {one}: {error}") from None

    def _style_mean(self, exemplar: files.Picture, domain: str) -> Tensor:
        """mu_s of one exemplar. Shape: (Ds,)."""
        x = torch.from_numpy(to_float(self.prepare(exemplar)))[None].to(self.device)
        y = torch.tensor([self.config.data.names.index(domain)], device=self.device)
        with torch.inference_mode():
            return cast(Tensor, self.model.encoder.style(x, y).mu[0].cpu())

    def model_size(self, width: int, height: int) -> tuple[int, int]:
        """The size that the model sees: shorter side `data.size`, both multiples of the stride, bounded in aspect."""
        side, stride = self.config.data.size, self.config.model.stride
        longest = self.aspect_bound * side
        wide, high = (min(round(s / stride) * stride, longest) for s in shorter_side(width, height, side))
        return wide, high

    def prepare(self, picture: files.Picture) -> UInt8:
        """Any picture as the model takes it. Shape: (H, W, C)."""
        pixels = to_channels(flatten(picture, self.background), self.config.data.channels)
        return resize(pixels, self.model_size(*picture.size))

    def rows(self, shape: tuple[int, ...], batch_size: int) -> int:
        """Images (H, W, C) in one batch: `batch_size` squares, or fewer images that have as many pixels together."""
        return max(1, batch_size * self.config.data.size**2 // (shape[0] * shape[1]))

    def run(self, x: Tensor, source: int, to: int, z_s: Tensor) -> Tensor:
        """x (B, C, H, W) in [-1, 1], z_s (K, B, Ds) -> (K, B, C, H, W), float32 on the CPU: content is encoded once."""
        bf16 = self.dtype == torch.bfloat16
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            x = x.to(self.device).contiguous(memory_format=torch.channels_last)
            y = torch.full((len(x),), source, device=self.device)
            content = self.model.encoder.content(x, y).mu
            samples = [self.model.decoder(content, z, torch.full_like(y, to)) for z in z_s.to(self.device)]
            return torch.stack(samples).float().cpu().contiguous()

    def _batches(self, items: Iterable[tuple[T, UInt8]], batch_size: int) -> Iterator[list[tuple[T, UInt8]]]:
        """Images of one size: a batch when full, the longest one when too many images wait, all in the end."""
        waiting: dict[tuple[int, ...], list[tuple[T, UInt8]]] = {}
        for item in items:
            shape = item[1].shape
            waiting.setdefault(shape, []).append(item)
            if len(waiting[shape]) == self.rows(shape, batch_size):
                yield waiting.pop(shape)
            elif sum(map(len, waiting.values())) >= WAITING * batch_size:
                yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
        yield from waiting.values()

    def stream(
        self, items: Iterable[tuple[T, UInt8]], domains: tuple[int, int], z_s: Callable[[T], Tensor], batch_size: int
    ) -> Generator[tuple[T, Floats | Exception]]:
        """Prepared pixels (H, W, C) and styles (K, Ds) -> (K, C, H, W), or why not, in no certain order.

        No image feels what comes with it: batches of a size have one shape, filled up with their last image, and on a
        CPU each keeps to one core, and several run at once, as kernels that split a batch among cores round differently
        where they cut. Meanwhile torch's number of threads is changed for the process.
        """

        def forward(batch: list[tuple[T, UInt8]]) -> Floats:
            full = batch + batch[-1:] * (self.rows(batch[0][1].shape, batch_size) - len(batch))
            x = torch.from_numpy(to_float(np.stack([pixels for _, pixels in full])))
            return self.run(x, *domains, torch.stack([z_s(item) for item, _ in full], dim=1)).numpy()

        threads = torch.get_num_threads()
        parallel = min(threads, MODEL_THREADS) if self.device.type == "cpu" else 1
        pool = ThreadPoolExecutor(parallel, initializer=torch.set_num_threads, initargs=(1,))
        try:
            for batch, future in ahead(pool, forward, self._batches(items, batch_size), parallel):
                error = future.exception()
                for i, (item, _) in enumerate(batch):
                    yield item, error if isinstance(error, Exception) else future.result()[:, i]
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)


def _generator(*parts: str | int) -> torch.Generator:
    """Random numbers that follow from the parts alone."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) to `size`, antialiased, within [-1, 1]; the input itself where it has that size."""
    if x.shape[:1:-1] == size:
        return x
    return F.interpolate(x, (size[1], size[0]), mode="bicubic", antialias=True).clamp(-1, 1)


def _to_picture(image: Exemplar) -> files.Picture:
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
    return files.Picture(to_channels(np.ascontiguousarray(pixels[..., :colours]), 3), alpha, "", "", ())


def _like(image: Exemplar, pixels: UInt8, alpha: UInt8 | None) -> Exemplar:
    """Pixels (H, W, C) in the form that `image` has."""
    full = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    flat = full[..., 0] if full.shape[2] == 1 else full
    if isinstance(image, Image.Image):
        return Image.fromarray(flat)
    return flat if image.ndim == 2 else full
