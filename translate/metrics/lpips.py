"""LPIPS (Zhang et al. 2018, arXiv 1801.03924) and pooled features, both from one ImageNet network.

Images are uint8 (N, H, W, C), C 1 or 3. The only file read is the network's weights: the one
given, else the one that INTROSHIFT_LPIPS_WEIGHTS names, else torchvision's own from its cache or
its server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from translate.io.tensors import to_float
from translate.metrics.image import BATCH, check_images
from translate.runtime.process_state import PROCESS_STATE

Net: TypeAlias = Literal["alex", "vgg", "squeeze"]

ENVIRONMENT = "INTROSHIFT_LPIPS_WEIGHTS"
SMALLEST = 64  # px; below that the last layers see next to nothing
GRID = 4  # px, the stride of AlexNet's first convolution
TIMEOUT = 5.0  # s without an answer from the download server
TORCHVISION: dict[Net, str] = {
    "alex": "AlexNet_Weights.IMAGENET1K_V1",
    "vgg": "VGG16_Weights.IMAGENET1K_V1",
    "squeeze": "SqueezeNet1_1_Weights.IMAGENET1K_V1",
}


class WeightsUnavailableError(RuntimeError):
    """No weights for the network: none were given and torchvision's could not be fetched.

    The message is one line, with the remedy.
    """


@dataclass(frozen=True, eq=False)
class Perceptual:
    """The LPIPS network with its weights; make one with `Perceptual.load`.

    Attributes:
        net: the network's name.
        weights_sha256: of the weights file; for torchvision's own, of their features.* tensors
            saved as such a file.
        version: of the lpips package, whose linear layers weigh the network's features.
        module: the lpips package's network.
        device: where it computes.
    """

    net: Net
    weights_sha256: str
    version: str
    module: nn.Module = field(repr=False)
    device: torch.device

    @classmethod
    def load(
        cls, net: Net = "alex", weights: Path | None = None, device: str | torch.device = "cpu"
    ) -> Perceptual:
        """Build the network and fill every one of its tensors.

        Args:
            net: AlexNet, VGG-16 or SqueezeNet 1.1, by its name of Net.
            weights: a safetensors file with torchvision's `features.*` tensors of that network.
            device: where it computes.

        Raises:
            WeightsUnavailableError: no file is given and torchvision's weights cannot be fetched.
            ValueError: an unknown net, or a file that is missing, is not safetensors or belongs
                to another network.
        """
        if net not in get_args(Net):
            raise ValueError(
                f"unknown LPIPS network {net!r}, expected one of {', '.join(get_args(Net))}"
            )

        named = weights or os.environ.get(ENVIRONMENT)
        with PROCESS_STATE:
            features, digest = _from_file(Path(named)) if named else _from_torchvision(net)
            module = _build(net, features, str(named or f"torchvision's {TORCHVISION[net]}"))
        return cls(net, digest, version("lpips"), module.to(device), torch.device(device))

    @classmethod
    def for_training(cls, net: Net, device: torch.device) -> Perceptual:
        """Load the network for a term of the loss, with the environment's or torchvision's weights.

        Raises:
            ValueError: As `load` does, and where there are no weights.
        """
        try:
            return cls.load(net, device=device)
        except WeightsUnavailableError:
            raise ValueError(
                f"objective.lambda_lpips: no weights for the LPIPS network {net}; set "
                f"{ENVIRONMENT}=FILE, a safetensors file with torchvision's features.* tensors, or "
                "lambda_lpips to 0"
            ) from None

    def differentiable(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute LPIPS v0.1 of each pair of images, for training; in autocast's precision.

        Both are cut by a random number of pixels, of torch's generator, above and at the left: the
        networks look at every fourth pixel first (AlexNet) or halve what they see, and their
        gradients draw that grid into images that are always in the same place.

        Args:
            x: (N, C, H, W) in [-1, 1], C 1 or 3.
            y: as `x`.

        Returns:
            float32 (N,), with gradients to both.
        """
        top, left = torch.randint(GRID, (2,)).tolist()
        x, y = x[:, :, top:, left:], y[:, :, top:, left:]
        a, b = (_enlarged(z.float().expand(-1, 3, -1, -1)) for z in (x, y))
        distances: Tensor = self.module(a, b)
        return distances.flatten().float()

    @torch.no_grad()
    def distance(self, x: Tensor, y: Tensor, batch: int = BATCH) -> Tensor:
        """Compute LPIPS v0.1 of each pair of images.

        Images whose shorter side is under 64 px are enlarged to 64.

        Args:
            x: uint8 (N, H, W, C).
            y: as `x`.
            batch: pairs in the network at a time.

        Returns:
            float32 (N,) on the CPU, 0 for equal images to about 1.

        Raises:
            ValueError: for anything else.
        """
        check_images(x, y)
        pairs = zip(self._inputs(x, batch), self._inputs(y, batch), strict=True)
        return torch.cat([self.module(a, b).flatten().cpu() for a, b in pairs])

    @torch.no_grad()
    def features(self, x: Tensor, batch: int = BATCH) -> Tensor:
        """Compute the features for KID and FID: the last layer that LPIPS uses, mean over places.

        It is AlexNet's conv5 and VGG's conv5_3.

        Args:
            x: uint8 (N, H, W, C).
            batch: images in the network at a time.

        Returns:
            float32 (N, D) on the CPU, D 256 (alex) or 512.

        Raises:
            ValueError: for anything else.
        """
        check_images(x)
        backbone = self.module.get_submodule("net")
        scaling = self.module.get_submodule("scaling_layer")
        maps = (backbone(scaling(part))[-1] for part in self._inputs(x, batch))
        return torch.cat([part.mean((2, 3)).cpu() for part in maps])

    def _inputs(self, x: Tensor, batch: int) -> Iterator[Tensor]:
        """Yield what the network takes, from uint8 (N, H, W, C), in batches.

        float32 (<= batch, 3, H', W') in [-1, 1] on the device, both sides at least 64 px.
        """
        for part in torch.split(x, batch):
            z = to_float(part, self.device).permute(0, 3, 1, 2)
            yield _enlarged(z.expand(-1, 3, -1, -1).contiguous())


def cached_weights(net: Net) -> Path | None:
    """Return torchvision's file of weights in torch.hub's cache, where it is there."""
    from torchvision.models import get_weight

    path = Path(torch.hub.get_dir(), "checkpoints", Path(get_weight(TORCHVISION[net]).url).name)
    return path if path.is_file() else None


def weights_at_hand(net: Net) -> bool:
    """Whether a file of weights is named, or torchvision's is in the cache."""
    return bool(os.environ.get(ENVIRONMENT)) or cached_weights(net) is not None


def _enlarged(x: Tensor) -> Tensor:
    """Enlarge images (B, 3, H, W) whose shorter side is under SMALLEST to that."""
    height, width = x.shape[2:]
    scale = SMALLEST / min(height, width)
    if scale <= 1:
        return x
    size = [round(height * scale), round(width * scale)]
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _from_file(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read the tensors of a safetensors file, and the SHA-256 of its bytes."""
    try:
        content = path.read_bytes()
        return safetensors.torch.load(content), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise ValueError(f"LPIPS weights {path}: cannot be read ({error.strerror})") from error
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"LPIPS weights {path}: not a safetensors file ({_one_line(error)})"
        ) from error


def _from_torchvision(net: Net) -> tuple[dict[str, Tensor], str]:
    """Load torchvision's features.* tensors, from its cache or its server, and their SHA-256."""
    timeout_before = socket.getdefaulttimeout()
    try:
        from torchvision.models import get_weight

        socket.setdefaulttimeout(TIMEOUT)  # torch.hub offers none of its own
        # where it says "Downloading"; stdout is for results
        with contextlib.redirect_stdout(sys.stderr):
            state = torch.hub.load_state_dict_from_url(
                get_weight(TORCHVISION[net]).url,
                map_location="cpu",
                progress=sys.stderr.isatty(),
                check_hash=True,
                weights_only=True,
            )
    except Exception as error:
        # the network, a proxy, the disk, a damaged cache: all have the same remedy
        raise WeightsUnavailableError(
            f"no weights for the LPIPS network {net}: torchvision's could not be fetched "
            f"({_one_line(error)}); give --lpips-weights FILE or set {ENVIRONMENT}=FILE, "
            "a safetensors file with torchvision's features.* tensors"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout_before)

    features = {
        name: tensor.contiguous() for name, tensor in state.items() if name.startswith("features.")
    }
    return features, hashlib.sha256(safetensors.torch.save(features)).hexdigest()


def _build(net: Net, features: Mapping[str, Tensor], origin: str) -> nn.Module:
    """Make the lpips module of torchvision's features and the package's own linear layers.

    It is laid out on the meta device: no random start (the caller's random state is not
    touched), and a tensor that nothing was loaded into shows.

    Args:
        net: the network.
        features: torchvision's features.* tensors.
        origin: where they come from, for messages.

    Raises:
        ValueError: the features are not those of `net`.
        RuntimeError: the lpips package has other tensors than expected.
    """
    with warnings.catch_warnings():
        # torchvision deprecates the `pretrained=` that lpips passes
        warnings.simplefilter("ignore")
        import lpips

        with torch.device("meta"):
            module: nn.Module = lpips.LPIPS(
                net=net, pretrained=False, pnet_rand=True, verbose=False
            )

    backbone = _backbone(net, module, features, origin)
    linear = torch.load(
        Path(lpips.__file__).parent / f"weights/v0.1/{net}.pth",
        map_location="cpu",
        weights_only=True,
    )
    module.load_state_dict(backbone | linear, strict=False, assign=True)
    empty = [name for name, tensor in module.state_dict().items() if tensor.is_meta]
    if empty:
        raise RuntimeError(
            f"lpips {version('lpips')} left {', '.join(empty)} of {net} without weights"
        )
    return module.requires_grad_(False).eval()


def _backbone(
    net: Net, module: nn.Module, features: Mapping[str, Tensor], origin: str
) -> dict[str, Tensor]:
    """Name torchvision's features as the lpips module does; ValueError where they do not fit it."""
    backbone: dict[str, Tensor] = {}
    problems: list[str] = []
    for name, expected in module.state_dict().items():
        if not name.startswith("net."):
            continue

        # net.slice2.3.weight is torchvision's features.3.weight
        feature = "features." + name.split(".", 2)[2]
        tensor = features.get(feature)
        if tensor is None:
            problems.append(f"{feature} {tuple(expected.shape)} is missing")
        elif tensor.shape != expected.shape:
            problems.append(f"{feature} is {tuple(tensor.shape)}, not {tuple(expected.shape)}")
        elif not tensor.isfinite().all() or not tensor.any():
            problems.append(f"{feature} is all zeros or not finite")
        else:
            backbone[name] = tensor.float()

    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ValueError(f"LPIPS weights {origin}: not those of {net}: {problems[0]}{more}")
    return backbone


def _one_line(error: Exception) -> str:
    """Return an error's type and the beginning of its message, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
