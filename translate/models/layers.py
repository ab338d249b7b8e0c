"""The layers that encoder and decoder are made of.

Legend: B batch, h w a feature map, W its channels, K length of the condition vector.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from translate.models.alignment import affine_flow

# Channels a GroupNorm group should hold: GroupNorm, never BatchNorm, because one step mixes real
# and fake batches.
GROUP_CHANNELS = 8

# Numbers in the largest temporary of BatchInvariantLinear, 8 MiB of float32: it stays in the cache.
MAX_PRODUCTS = 2**21
MIN_CHUNK = 4  # outputs; torch sums a product for one output alone in another order
VECTOR = 64  # numbers that torch's kernels take at once at most: two registers of 512 bits of bf16

M = TypeVar("M", bound=nn.Module)


def icnr_(weight: Tensor, factor: int) -> None:
    """Initialize a convolution before a pixel shuffle so that it starts without checkerboard.

    ICNR (Aitken et al. 2017): the factor^2 sub-pixels of each output channel get one kernel.

    Args:
        weight: The convolution's weight (channels * factor^2, inputs, ...), changed in place.
        factor: The factor by which the pixel shuffle enlarges.
    """
    base = torch.empty(weight.shape[0] // factor**2, *weight.shape[1:])
    nn.init.kaiming_normal_(base, nonlinearity="linear")
    with torch.no_grad():
        weight.copy_(base.repeat_interleave(factor**2, dim=0))


class BatchInvariantLinear(nn.Linear):
    """A linear layer for inference that gives a row the same bits in any batch.

    With BLAS they depend on the row's position in its batch. This layer sums the products of one
    chunk of rows and outputs at a time. A chunk changes no bit, and holds at most MAX_PRODUCTS
    products, or those of one row and MIN_CHUNK outputs where these are more.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            input: (B, inputs), B may be 0.

        Returns:
            (B, outputs).
        """
        rows = max(1, MAX_PRODUCTS // (MIN_CHUNK * self.in_features))
        chunks = max(1, -(-len(input) // rows))
        parts = [self._sum_products(part) for part in input.tensor_split(chunks)]
        summed = parts[0] if len(parts) == 1 else torch.cat(parts)
        return summed + self.bias

    def _sum_products(self, input: Tensor) -> Tensor:
        """Return input (rows, inputs) times the weight, without the bias: (rows, outputs)."""
        step = max(MIN_CHUNK, MAX_PRODUCTS // max(1, input.numel()))
        # of nearly equal size, so that none is one output alone
        chunks = -(-self.out_features // step)
        weights = self.weight.tensor_split(chunks) if chunks > 1 else (self.weight,)
        parts = [(input[:, None] * weight).sum(-1) for weight in weights]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class BatchInvariantSiLU(nn.SiLU):
    """SiLU for inference that gives a row the same bits in any batch.

    On CPUs torch computes the last numbers of a tensor, those that fill no vector, by another
    formula. This layer adds rows where there are such numbers.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to (B, ...), B may be 0."""
        # Feature maps that are read in strips (tiling.py) have their own implementation.
        if has_torch_function((input,)) or len(input) == 0:
            return F.silu(input)
        count = len(input)
        missing = -count % (VECTOR // math.gcd(VECTOR, input[0].numel()))
        if missing == 0:
            return F.silu(input)
        copies = 1 + math.ceil(missing / count)
        filled_up = torch.cat([input] * copies)[: count + missing]
        return F.silu(filled_up)[:count]


PLAIN: Mapping[type[nn.Module], type[nn.Module]] = {nn.Linear: nn.Linear, nn.SiLU: nn.SiLU}
BATCH_INVARIANT: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: BatchInvariantLinear,
    nn.SiLU: BatchInvariantSiLU,
}


def with_layers(model: M, classes: Mapping[type[nn.Module], type[nn.Module]]) -> M:
    """Copy a model's modules, with layers of other classes; leave the model as it is.

    Args:
        model: Any module.
        classes: The class that layers of a class and its subclasses get; of the same parameters.

    Returns:
        The copy. It shares the memory of parameters and buffers, until one of the two is moved
        elsewhere.
    """
    shared: dict[int, object] = {id(buffer): buffer.detach() for buffer in model.buffers()}
    for parameter in model.parameters():
        shared[id(parameter)] = nn.Parameter(parameter.detach(), parameter.requires_grad)
    copied = copy.deepcopy(model, shared)
    for module in copied.modules():
        for layer, other in classes.items():
            if isinstance(module, layer):
                module.__class__ = other
    return copied


class AdaGroupNorm(nn.Module):
    """GroupNorm whose gain and bias are an affine function of a condition vector.

    After AdaIN (Huang & Belongie 2017).
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.groups = max(1, channels // GROUP_CHANNELS)
        self.affine = nn.Linear(condition, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.02)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalize features, then scale and shift them.

        Args:
            x: Features (B, W, h, w).
            condition: (B, K).

        Returns:
            Features like `x`, in float32.
        """
        gain, bias = self.affine(condition).float()[:, :, None, None].chunk(2, dim=1)
        # in float32, as under autocast on GPUs; on CPUs bf16 takes twice the time here
        h = F.group_norm(x.float(), self.groups)
        return cast(Tensor, h * (1 + gain) + bias)


class Block(nn.Module):
    """Pre-activation residual block, conditioned, optionally halving or doubling the resolution."""

    def __init__(self, inputs: int, outputs: int, condition: int, resample: float = 1.0) -> None:
        super().__init__()
        self.resample = resample
        self.activation = nn.SiLU()
        self.norm1 = AdaGroupNorm(inputs, condition)
        self.norm2 = AdaGroupNorm(outputs, condition)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = (
            nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        )
        nn.init.constant_(cast(Tensor, self.conv2.bias), 0.0)
        with torch.no_grad():
            self.conv2.weight.mul_(0.3)  # the block starts close to its skip path

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: Features (B, inputs, h, w).
            condition: (B, K).

        Returns:
            Features (B, outputs, h * resample, w * resample).
        """
        h = self.activation(self.norm1(x, condition))
        # A 1x1 skip commutes with nearest upsampling: do it at the lower resolution.
        if self.resample > 1:
            x = F.interpolate(self.skip(x), scale_factor=2.0)
            h = F.interpolate(h, scale_factor=2.0)
        elif self.resample < 1:
            x = self.skip(F.avg_pool2d(x, 2))
            h = F.avg_pool2d(h, 2)
        else:
            x = self.skip(x)
        h = self.conv2(self.activation(self.norm2(self.conv1(h), condition)))
        return cast(Tensor, x + h)


class Warp(nn.Module):
    """A smooth flow, predicted from features and condition, and the warping of features by it.

    After Jaderberg et al. 2015. Domains often differ in layout: a decoder that could not move
    strokes would lower its loss by inventing some. The flow is in pixels, so that it means
    the same in images of any size, and adds to the affine between the two domains (alignment.py).
    """

    def __init__(self, channels: int, condition: int, max_displacement: float) -> None:
        super().__init__()
        self.max_displacement = max_displacement  # pixels of the flow's own map
        self.norm = AdaGroupNorm(channels, condition)
        self.activation = nn.SiLU()
        self.flow = nn.Conv2d(channels, 2, 3, padding=1)
        nn.init.zeros_(self.flow.weight)  # starts as no displacement
        nn.init.constant_(cast(Tensor, self.flow.bias), 0.0)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Predict the flow.

        Args:
            h: Features (B, W, h, w).
            condition: (B, K).

        Returns:
            Displacements (B, 2, h, w), x before y, in pixels of this map, each at most
            `max_displacement` in magnitude; float32.
        """
        raw = self.flow(self.activation(self.norm(h, condition))).float()
        return self.max_displacement * torch.tanh(raw)

    @staticmethod
    def warp_subpixel(h: Tensor, flow: Tensor, theta: Tensor) -> Tensor:
        """Warp features at twice their resolution.

        A position holds 2 x 2 pixels in its channels: displaced by half a position, a pixel is
        another one of the four, which a mean of neighbouring positions does not express.

        Args:
            h: Features (B, W, h, w), W a multiple of 4.
            flow: Displacements as for `warp`.
            theta: Affines as for `warp`.

        Returns:
            Features like `h`.
        """
        warped = F.pixel_unshuffle(Warp.warp(F.pixel_shuffle(h, 2), flow, theta), 2)
        # Sampling drops the memory format, which convolutions need to be fast.
        return warped.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def warp(h: Tensor, flow: Tensor, theta: Tensor) -> Tensor:
        """Sample features at positions displaced by an affine and a flow, bilinearly.

        Args:
            h: Features (B, W, H', W').
            flow: Displacements (B, 2, h, w), x before y, in pixels of their own map, which may be
                smaller than `h`.
            theta: Affines (B, 2, 3) of positions, see alignment.py.

        Returns:
            Features like `h`, in float32; what lies beyond the border repeats it.
        """
        # Feature maps that are read in strips (tiling.py) have their own implementation.
        if has_torch_function((h, flow)):
            return handle_torch_function(Warp.warp, (h, flow), h, flow, theta)

        height, width = h.shape[-2:]
        factor = height / flow.shape[-2]  # a pixel of the flow's map in pixels of h
        flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False) * factor
        flow = flow + affine_flow(theta, height, width)

        columns = torch.arange(width, device=h.device) + 0.5
        rows = torch.arange(height, device=h.device) + 0.5
        x = (columns + flow[:, 0]) * (2 / width) - 1
        y = (rows[:, None] + flow[:, 1]) * (2 / height) - 1
        grid = torch.stack([x, y], dim=-1)
        # PyTorch's CPU kernel crashes on the gradient of a NaN position; h still carries the NaN.
        grid = grid.nan_to_num()
        return F.grid_sample(h.float(), grid, padding_mode="border", align_corners=False)
