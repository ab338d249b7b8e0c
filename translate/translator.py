"""Content times style -> images: one loaded model and its Python API.

Legend: N images, K samples of each, B rows of a batch, C channels, H W pixels on the model's side, Ds style dimensions;
`size` is (width, height); pixels are uint8 (H, W, C).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal, TypeAlias, TypeVar, cast, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from translate.checkpoint import ModelFile, load_model
from translate.data import shorter_side
from translate.folder import translate_folder as _translate_folder
from translate.images import PathLike, Picture, UInt8, flatten, resize, to_channels, to_float, to_uint8
from translate.trainer import choose_device, choose_precision

Exemplar: TypeAlias = Image.Image | UInt8
Style: TypeAlias = Literal["mean", "random"] | Exemplar | Iterable[Exemplar]
# (an image's relative path, or its place in a list; sample number) -> z_s (Ds,): never the order of the work.
Styles: TypeAlias = Callable[[str | int, int], Tensor]
ImageT = TypeVar("ImageT", Image.Image, UInt8)

ASPECT_BOUND = 16  # longer over shorter side on the model's side; beyond it an image is squeezed, as memory is finite
BATCH_SIZE = {"cpu": 8, "cuda": 32, "mps": 16}  # on a CPU larger batches gain nothing
MODEL_THREADS = 16  # at most so many batches at once on a CPU


class RowLinear(nn.Linear):
    """A linear layer whose rows do not know each other: in BLAS a row's last bit depends on its place in the batch."""

    def forward(self, input: Tensor) -> Tensor:
        """input (B, inputs) -> (B, outputs)."""
        return (input[:, None] * self.weight).sum(-1) + self.bias


class Translator:
    """A model file ready for work; `config`, `sha256` and `summary` are the file's."""

    def __init__(self, file: ModelFile, device: str = "auto", precision: str = "32") -> None:
        if precision not in ("auto", "32", "bf16"):
            raise ValueError(f"--precision {precision}: unknown; use auto, 32 or bf16")
        self.config, self.sha256, self.summary = file.config, file.sha256, file.summary
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        self.parallel = min(torch.get_num_threads(), MODEL_THREADS) if self.device.type == "cpu" else 1
        self.batch_size = BATCH_SIZE.get(self.device.type, 8)
        self.background = cast(tuple[int, int, int], tuple(self.config.data.background))
        self.model = file.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.model.modules():
            if isinstance(module, nn.Linear):
                module.__class__ = RowLinear

    @classmethod
    def load(cls, path: PathLike, device: str = "auto", precision: str = "32") -> Translator:
        """Loads a model file. Raises ValueError in one line for another file, a missing device or a wrong precision."""
        return cls(load_model(path), device, precision)  # type: ignore[arg-type]

    # -- the interface for pictures in memory and in folders -------------------------------------------------------------

    @overload
    def translate(
        self, images: Tensor, to: str, source: str | None = None, style: Style = "mean", seed: int = 0, samples: int = 1
    ) -> Tensor: ...

    @overload
    def translate(
        self,
        images: Sequence[ImageT],
        to: str,
        source: str | None = None,
        style: Style = "mean",
        seed: int = 0,
        samples: int = 1,
    ) -> list[ImageT]: ...

    def translate(
        self,
        images: Tensor | Sequence[Exemplar],
        to: str,
        source: str | None = None,
        style: Style = "mean",
        seed: int = 0,
        samples: int = 1,
    ) -> Tensor | list[Image.Image] | list[UInt8]:
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
        styles = self.styles(style, to, seed)

        def run(x: Tensor, places: Sequence[int]) -> Tensor:  # -> (B, K, C, H, W)
            z_s = [torch.stack([styles(place, k) for place in places]) for k in range(samples)]
            return self.run(x, *domains, torch.stack(z_s)).transpose(0, 1)

        if isinstance(images, Tensor):
            return self._translate_tensor(images, run)
        if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
            raise ValueError("one image was given: put it in a list")
        pictures = [_to_picture(image) for image in images]
        small = [self.prepare(flatten(picture, self.background)) for picture in pictures]
        classes: dict[tuple[int, ...], list[int]] = {}
        for i, pixels in enumerate(small):
            classes.setdefault(pixels.shape, []).append(i)
        results: dict[int, list[Exemplar]] = {}
        for shape, members in classes.items():
            rows = self.rows((shape[1], shape[0]))
            for places in (members[i : i + rows] for i in range(0, len(members), rows)):
                y = run(torch.from_numpy(to_float(np.stack([small[i] for i in places]))), places).numpy()
                for i, kinds in zip(places, y, strict=True):
                    full = [resize(to_uint8(x), pictures[i].size) for x in kinds]
                    results[i] = [_like(images[i], pixels, pictures[i].alpha) for pixels in full]
        return cast("list[Image.Image] | list[UInt8]", [image for i in range(len(images)) for image in results[i]])

    def _translate_tensor(self, images: Tensor, run: Callable[[Tensor, Sequence[int]], Tensor]) -> Tensor:
        channels = self.config.data.channels
        if not images.is_floating_point() or images.ndim != 4 or images.shape[1] != channels:
            raise ValueError(
                f"a float tensor (N, {channels}, H, W) is expected, not {images.dtype} {tuple(images.shape)}"
            )
        height, width = images.shape[2:]
        size = self.model_size(width, height)
        parts = []
        for first in range(0, len(images), rows := self.rows(size)):
            x = _resize(images[first : first + rows].float().cpu(), size)
            y = run(x, range(first, first + len(x))).flatten(0, 1)
            parts.append(_resize(y, (width, height)))
        return torch.cat(parts).to(images) if parts else images.clone()

    translate_folder = _translate_folder

    # -- the pieces that both are made of ----------------------------------------------------------------------------------

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

    def styles(self, style: Style, to: str, seed: int = 0) -> Styles:
        """Where the styles of domain `to` come from; exemplars are read one at a time and may be a generator."""
        size = self.config.model.style_dim
        if isinstance(style, str):
            if style == "mean":
                return lambda name, sample: torch.zeros(size)
            if style == "random":
                return lambda name, sample: torch.randn(
                    size, generator=torch.Generator().manual_seed(_number(seed, name, sample))
                )
            raise ValueError(f"{style}: no style; use mean, random or exemplars")
        if isinstance(style, Tensor):
            raise ValueError("exemplars are PIL images or uint8 arrays, not tensors")
        y = self.config.data.names.index(to)
        means = [
            self._style_mean(one, y) for one in ([style] if isinstance(style, Image.Image | np.ndarray) else style)
        ]
        if not means:
            raise ValueError("no exemplars were given")

        def pick(name: str | int, sample: int) -> Tensor:
            first = name if isinstance(name, int) else _number(seed, name)
            return means[(first + sample) % len(means)]

        return pick

    def _style_mean(self, exemplar: Exemplar, domain: int) -> Tensor:
        """mu_s of one exemplar. Shape: (Ds,)."""
        pixels = self.prepare(flatten(_to_picture(exemplar), self.background))
        x = torch.from_numpy(to_float(pixels))[None].to(self.device)
        with torch.inference_mode():
            return self.model.encoder.style(x, torch.tensor([domain], device=self.device)).mu[0].cpu()

    def model_size(self, width: int, height: int) -> tuple[int, int]:
        """The size that the model sees: shorter side `data.size`, both multiples of the stride, bounded in aspect."""
        side, stride = self.config.data.size, self.config.model.stride
        longest = ASPECT_BOUND * side
        wide, high = (min(round(s / stride) * stride, longest) for s in shorter_side(width, height, side))
        return wide, high

    def prepare(self, pixels: UInt8) -> UInt8:
        """Any pixels (height, width, 1 or 3) -> pixels (H, W, C) as the model takes them."""
        return resize(to_channels(pixels, self.config.data.channels), self.model_size(pixels.shape[1], pixels.shape[0]))

    def rows(self, size: tuple[int, int], batch_size: int | None = None) -> int:
        """Images of `size` in one batch: `batch_size` squares, or fewer images that have as many pixels together."""
        return max(1, (batch_size or self.batch_size) * self.config.data.size**2 // (size[0] * size[1]))

    def run(self, x: Tensor, source: int, to: int, z_s: Tensor) -> Tensor:
        """x (B, C, H, W) in [-1, 1], z_s (K, B, Ds) -> (K, B, C, H, W), float32 on the CPU: content is encoded once."""
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16),
        ):
            x = x.to(self.device).contiguous(memory_format=torch.channels_last)
            y = torch.full((len(x),), source, device=self.device)
            content = self.model.encoder.content(x, y).mu
            samples = [self.model.decoder(content, z, torch.full_like(y, to)) for z in z_s.to(self.device)]
            return torch.stack(samples).float().cpu().contiguous()

    @contextmanager
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """Threads in which `run` computes a row to the same bits wherever it stands in a batch of one shape.

        On a CPU that is one core a batch, and several batches at once: a kernel that splits a batch among cores rounds
        differently where it cuts. Torch's number of threads is changed meanwhile, in the whole process.
        """
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(self.parallel, "model", torch.set_num_threads, (1,)) as pool:
                yield pool
        finally:
            torch.set_num_threads(before)


def _number(*parts: str | int) -> int:
    """A number that follows from the parts alone, in [0, 2^63)."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


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
