"""The encoder q(c, s | x, y) and the decoder D(c, s, y), fully convolutional.

Legend: B batch, C image channels, H W image pixels, h w content map (H / `fold`), Cc content channels, Ds style
dimensions, y (B,) int64 domain index, W width of the first level.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from translate.config import Config, ModelConfig
from translate.frames import PLAIN, between, displacement
from translate.gaussian import Gaussian

# Channels a GroupNorm group should hold: GroupNorm, never BatchNorm, because one step mixes real and fake batches.
GROUP_CHANNELS = 8
CANVAS = 16  # channels of the map that stands for content where there is one latent


def _icnr_(weight: Tensor, factor: int) -> None:
    """Gives the factor^2 sub-pixels of each output channel one kernel, so that pixel shuffle starts without
    checkerboard (Aitken et al. 2017)."""
    base = torch.empty(weight.shape[0] // factor**2, *weight.shape[1:])
    nn.init.kaiming_normal_(base, nonlinearity="linear")
    with torch.no_grad():
        weight.copy_(base.repeat_interleave(factor**2, dim=0))


class RowLinear(nn.Linear):
    """A linear layer whose rows do not know each other: in BLAS a row's last bit depends on its place in the batch."""

    def forward(self, input: Tensor) -> Tensor:
        """input (B, inputs) -> (B, outputs)."""
        return (input[:, None] * self.weight).sum(-1) + self.bias


class AdaGroupNorm(nn.Module):
    """GroupNorm whose gain and bias are an affine function of a condition vector (AdaIN, Huang & Belongie 2017)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.groups = max(1, channels // GROUP_CHANNELS)
        self.affine = nn.Linear(condition, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.02)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, W, h, w), condition (B, K) -> (B, W, h, w)."""
        gain, bias = self.affine(condition).float()[:, :, None, None].chunk(2, dim=1)
        h = F.group_norm(x.float(), self.groups)  # as autocast has it on GPUs; on CPUs bf16 takes twice the time here
        return cast(Tensor, h * (1 + gain) + bias)


class Block(nn.Module):
    """Pre-activation residual block, conditioned, optionally halving or doubling the resolution."""

    def __init__(self, inputs: int, outputs: int, condition: int, resample: float = 1.0) -> None:
        super().__init__()
        self.resample = resample
        self.norm1, self.norm2 = AdaGroupNorm(inputs, condition), AdaGroupNorm(outputs, condition)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        nn.init.constant_(cast(Tensor, self.conv2.bias), 0.0)
        with torch.no_grad():
            self.conv2.weight.mul_(0.3)  # the block starts close to its skip path

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, inputs, h, w) -> (B, outputs, h * resample, w * resample)."""
        h = F.silu(self.norm1(x, condition))
        if self.resample > 1:  # 1x1 skip commutes with nearest upsampling: do it at the lower resolution
            x, h = F.interpolate(self.skip(x), scale_factor=2.0), F.interpolate(h, scale_factor=2.0)
        elif self.resample < 1:
            x, h = self.skip(F.avg_pool2d(x, 2)), F.avg_pool2d(h, 2)
        else:
            x = self.skip(x)
        h = self.conv2(F.silu(self.norm2(self.conv1(h), condition)))
        return cast(Tensor, x + h)


class Warp(nn.Module):
    """Moves features by a smooth flow that content, style and domain decide (after Jaderberg et al. 2015).

    Domains often differ in layout: without a way to move strokes, a decoder pleases the encoder by inventing some. The
    flow is in pixels, so that it means the same in images of any size, and counts from where the domains' frames say.
    """

    def __init__(self, channels: int, condition: int, reach: float) -> None:
        super().__init__()
        self.reach = reach  # pixels of the flow's own map
        self.norm = AdaGroupNorm(channels, condition)
        self.flow = nn.Conv2d(channels, 2, 3, padding=1)
        nn.init.zeros_(self.flow.weight)  # starts as the identity
        nn.init.constant_(cast(Tensor, self.flow.bias), 0.0)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """h (B, W, h, w) -> flow (B, 2, h, w), x before y, in pixels of this map, at most `reach`."""
        return self.reach * torch.tanh(self.flow(F.silu(self.norm(h, condition))).float())

    @staticmethod
    def unfolded(h: Tensor, flow: Tensor, place: Tensor) -> Tensor:
        """`move` at twice the resolution. A place holds 2 x 2 pixels in its channels: moved by half a place, a pixel is
        another one of the four, which a mean of neighbouring places does not say. -> like h."""
        moved = F.pixel_unshuffle(Warp.move(F.pixel_shuffle(h, 2), flow, place), 2)
        return moved.contiguous(memory_format=torch.channels_last)  # forgotten on the way, convolutions want it

    @staticmethod
    def move(h: Tensor, flow: Tensor, place: Tensor) -> Tensor:
        """Samples features h (B, W, H', W') where `place` (B, 2, 3), see frames.py, says and the flow (B, 2, h, w) from
        there, in float32. -> like h."""
        if has_torch_function((h, flow)):  # maps that are read in strips (tiles.py)
            return handle_torch_function(Warp.move, (h, flow), h, flow, place)
        height, width = h.shape[-2:]
        factor = height / flow.shape[-2]  # a pixel of the flow's map in pixels of h
        flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False) * factor
        flow = flow + displacement(place, height, width)
        columns, rows = (torch.arange(n, device=h.device) + 0.5 for n in (width, height))
        x = (columns + flow[:, 0]) * (2 / width) - 1
        y = (rows[:, None] + flow[:, 1]) * (2 / height) - 1
        grid = torch.stack([x, y], dim=-1)
        grid = grid.nan_to_num()  # PyTorch's CPU kernel crashes on the gradient of a NaN place; h still carries the NaN
        return F.grid_sample(h.float(), grid, padding_mode="border", align_corners=False)


class Trunk(nn.Module):
    """Blocks down `levels` halvings and, with `climb`, up again with skips (U-Net, Ronneberger et al. 2015; the skips
    are added): context comes from below, detail from beside. With a `reach` all of them are moved at the turn."""

    def __init__(self, inputs: int, model: ModelConfig, bottom: int, climb: bool, reach: float = 0.0) -> None:
        super().__init__()
        width, condition = model.width, model.condition
        widths = [width << level for level in range(model.levels + 1)]
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.beside = nn.ModuleList(
            nn.ModuleList(Block(w, w, condition) for _ in range(model.blocks - 1)) for w in widths[:-1]
        )
        self.down = nn.ModuleList(Block(w, 2 * w, condition, 0.5) for w in widths[:-1])
        self.bottom = nn.ModuleList(Block(widths[-1], widths[-1], condition) for _ in range(bottom))
        self.warp = Warp(widths[-1], condition, reach) if reach > 0 else None
        self.up = nn.ModuleList(Block(2 * w, w, condition, 2.0) for w in reversed(widths[:-1]) if climb)

    def forward(self, x: Tensor, condition: Tensor, place: Tensor | None = None) -> Tensor:
        """x (B, inputs, h, w), place (B, 2, 3) -> features (B, W, h, w) or, without `climb`, the lowest,
        (B, W * 2^levels, h / 2^levels, w / 2^levels)."""
        h, skips = self.first(x), []
        for beside, down in zip(self.beside, self.down, strict=True):
            for block in cast(nn.ModuleList, beside):
                h = block(h, condition)
            skips.append(h)
            h = down(h, condition)
        for block in self.bottom:
            h = block(h, condition)
        if self.warp is not None and place is not None:
            flow = self.warp(h, condition)
            h, skips = Warp.unfolded(h, flow, place), [Warp.unfolded(skip, flow, place) for skip in skips]
        for up in self.up:
            h = up(h, condition) + skips.pop()
        return cast(Tensor, h)


class Encoder(nn.Module):
    """q(c, s | x, y): a spatial Gaussian for content and a pooled one for style, each with its own trunk, so that a
    pass whose result is not used is not run. Pixels are folded first, as full resolution is dear."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        model, domains = config.model, len(config.data.names)
        inputs, width, deep = config.data.channels * model.fold**2, model.width, model.width << model.levels
        self.fold = model.fold
        self.domain = nn.Embedding(domains, model.condition)
        self.one_latent = model.one_latent
        if not self.one_latent:
            self.content_trunk = Trunk(inputs, model, model.blocks, climb=True)
            self.content_norm = AdaGroupNorm(width, model.condition)
            self.content_head = nn.Conv2d(width, 2 * model.content_channels, 1)
        self.style_trunk = Trunk(inputs, model, model.blocks, climb=False)
        self.style_norm = AdaGroupNorm(deep, model.condition)
        self.dropout = nn.Dropout(model.style_dropout)
        # One head a domain: "is it a B?" and "which B?" are questions to B's own posterior (as in StarGAN v2).
        # One latent says where things are, too: its head sees every place, and is tied to the training size.
        seen = deep * (config.data.size // model.stride) ** 2 if self.one_latent else 2 * deep
        self.style_head = nn.Linear(seen, domains * 2 * model.style_dim)
        nn.init.normal_(self.style_head.weight, std=0.02)

    def content(self, x: Tensor, y: Tensor) -> Gaussian:
        """x (B, C, H, W) in [-1, 1], y (B,) -> q(c | x, y) with parameters (B, Cc, h, w)."""
        if self.one_latent:
            nothing = x.new_zeros(len(x), 0, x.shape[2] // self.fold, x.shape[3] // self.fold)
            return Gaussian(nothing, nothing)
        condition = self.domain(y)
        h = self.content_trunk(F.pixel_unshuffle(x, self.fold), condition)
        return Gaussian.from_parameters(self.content_head(F.silu(self.content_norm(h, condition))))

    def style(self, x: Tensor, y: Tensor) -> Gaussian:
        """x (B, C, H, W) in [-1, 1], y (B,) -> q(s | x, y) with parameters (B, Ds)."""
        condition = self.domain(y)
        h = self.style_trunk(F.pixel_unshuffle(x, self.fold), condition)
        h = F.silu(self.style_norm(h, condition))
        seen = h.flatten(1) if self.one_latent else torch.cat([h.mean((2, 3)), h.amax((2, 3))], dim=1)
        heads = self.style_head(self.dropout(seen)).unflatten(1, (self.domain.num_embeddings, -1))
        return Gaussian.from_parameters(heads[torch.arange(len(y), device=y.device), y])


class Decoder(nn.Module):
    """D(c, s, y): the content map painted in the style s of domain y; where it comes from says how it is moved."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        model, width, condition = config.model, config.model.width, config.model.condition
        self.fold = model.fold
        domains = len(config.data.names)
        self.domain = nn.Embedding(domains, condition)
        self.frames: Tensor
        self.register_buffer("frames", torch.tensor(PLAIN).repeat(domains, 1, 1))  # (domains, 2, 3), set from the data
        self.style = nn.Sequential(
            nn.Linear(model.style_dim + condition, condition), nn.SiLU(), nn.Linear(condition, condition), nn.SiLU()
        )
        reach = model.warp * config.data.size / (2 * model.stride)
        # One latent brings its own content map along, of the training size.
        self.side, self.canvas = config.data.size // model.fold, None
        if model.one_latent:
            self.canvas = nn.Linear(model.style_dim, CANVAS * self.side**2)
        self.trunk = Trunk(model.content_channels or CANVAS, model, model.bottleneck, climb=True, reach=reach)
        self.top = nn.ModuleList(Block(width, width, condition) for _ in range(model.blocks))
        self.norm = AdaGroupNorm(width, condition)
        self.last = nn.Conv2d(width, config.data.channels * model.fold**2, 3, padding=1)
        _icnr_(self.last.weight, model.fold)
        nn.init.constant_(cast(Tensor, self.last.bias), 0.0)

    def forward(self, z_c: Tensor, z_s: Tensor, y: Tensor, source: Tensor) -> Tensor:
        """z_c (B, Cc, h, w) from an image of domain `source` (B,), z_s (B, Ds), y (B,) -> x (B, C, H, W) in [-1, 1],
        float32."""
        condition = self.style(torch.cat([z_s, self.domain(y)], dim=1))
        place = between(self.frames[source], self.frames[y])
        if self.canvas is not None:
            z_c = self.canvas(z_s).unflatten(1, (CANVAS, self.side, self.side))
        h = self.trunk(z_c, condition, place)
        for block in self.top:
            h = block(h, condition)
        h = self.last(F.silu(self.norm(h, condition)))
        return torch.tanh(F.pixel_shuffle(h, self.fold).float())


class Model(nn.Module):
    """Encoder and decoder together: what a model file holds."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.style_dim = config.model.style_dim

    def translate(self, x: Tensor, source: int, to: int, z_s: Tensor | None = None) -> Tensor:
        """x (B, C, H, W) of domain `source` in domain `to`; style z_s (B, Ds), default the prior's mean. -> like x."""
        y = torch.full((len(x),), source, device=x.device)
        z_s = x.new_zeros(len(x), self.style_dim) if z_s is None else z_s
        return cast(Tensor, self.decoder(self.encoder.content(x, y).mu, z_s, torch.full_like(y, to), y))

    def reconstruct(self, x: Tensor, domain: int) -> Tensor:
        """D(E(x)) from the posterior means. -> like x."""
        y = torch.full((len(x),), domain, device=x.device)
        return self.translate(x, domain, domain, self.encoder.style(x, y).mu)
