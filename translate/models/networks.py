"""The encoder q(c, s | x, y) and the decoder D(c, s, y), fully convolutional.

Legend: B batch, C image channels, H W image pixels, h w content map (H / `fold`), Cc content
channels, Ds style dimensions, y (B,) int64 domain index, W width of the first level.
"""

from __future__ import annotations

from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.config import Config, ModelConfig
from translate.models.alignment import UNIFORM_AFFINE, relative_affine
from translate.models.detail import ColourMaps, clipped, fit_colour_maps
from translate.models.distributions import Gaussian
from translate.models.layers import AdaGroupNorm, Block, Warp, icnr_

# an index for all images, or one for each, (B,) int64
Domain: TypeAlias = int | Tensor

CANVAS = 16  # channels of the map that a vector becomes, where no map of content is given


class UNet(nn.Module):
    """Blocks down `levels` halvings and, with `decode`, up again with skips.

    U-Net (Ronneberger et al. 2015), except that skips are added: context comes from the lower
    resolutions, detail from the skips. With a `max_displacement` above 0, the lowest features and
    all skips are warped before decoding.
    """

    def __init__(
        self,
        inputs: int,
        model: ModelConfig,
        middle: int,
        decode: bool,
        max_displacement: float = 0.0,
    ) -> None:
        super().__init__()
        width = model.width
        condition = model.condition
        widths = [width << level for level in range(model.levels + 1)]
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.encoder_blocks = nn.ModuleList(
            nn.ModuleList(Block(w, w, condition) for _ in range(model.blocks - 1))
            for w in widths[:-1]
        )
        self.down = nn.ModuleList(Block(w, 2 * w, condition, 0.5) for w in widths[:-1])
        self.middle = nn.ModuleList(Block(widths[-1], widths[-1], condition) for _ in range(middle))
        self.warp = Warp(widths[-1], condition, max_displacement) if max_displacement > 0 else None
        self.up = nn.ModuleList(
            Block(2 * w, w, condition, 2.0) for w in reversed(widths[:-1]) if decode
        )

    def forward(self, x: Tensor, condition: Tensor, theta: Tensor | None = None) -> Tensor:
        """Compute features.

        Args:
            x: Input map (B, inputs, h, w); h and w are multiples of 2^levels.
            condition: (B, K), K = `model.condition`.
            theta: Affines (B, 2, 3) by which a network with a warp samples, see alignment.py;
                without them it warps nothing.

        Returns:
            Features (B, W, h, w) or, without `decode`, the lowest ones,
            (B, W * 2^levels, h / 2^levels, w / 2^levels).
        """
        h = self.first(x)
        skips = []
        for blocks, down in zip(self.encoder_blocks, self.down, strict=True):
            for block in cast(nn.ModuleList, blocks):
                h = block(h, condition)
            skips.append(h)
            h = down(h, condition)
        for block in self.middle:
            h = block(h, condition)

        if self.warp is not None and theta is not None:
            flow = self.warp(h, condition)
            h = Warp.warp_subpixel(h, flow, theta)
            skips = [Warp.warp_subpixel(skip, flow, theta) for skip in skips]

        for up in self.up:
            h = up(h, condition) + skips.pop()
        return cast(Tensor, h)


class Encoder(nn.Module):
    """q(c, s | x, y): a spatial Gaussian for content and a pooled one for style.

    Each has its own trunk, so that a pass whose output is not used is not run. Pixels are folded
    into channels first, as full resolution is expensive.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        model = config.model
        domains = len(config.data.names)
        inputs = config.data.channels * model.fold**2
        width = model.width
        deep = model.width << model.levels
        positions = (config.data.size // model.stride) ** 2
        self.fold = model.fold
        self.patch = model.style_patch
        self.activation = nn.SiLU()
        self.domain = nn.Embedding(domains, model.condition)
        self.one_latent = model.one_latent
        self.content_is_vector = model.content == "vector"
        self.content_head: nn.Module
        if not self.one_latent:
            self.content_trunk = UNet(
                inputs, model, model.blocks, decode=not self.content_is_vector
            )
            if self.content_is_vector:  # it says where things are: its head sees every position
                self.content_norm = AdaGroupNorm(deep, model.condition)
                self.content_head = nn.Linear(deep * positions, 2 * model.content_channels)
            else:
                self.content_norm = AdaGroupNorm(width, model.condition)
                self.content_head = nn.Conv2d(width, 2 * model.content_channels, 1)
        self.style_trunk = UNet(inputs, model, model.blocks, decode=False)
        self.style_norm = AdaGroupNorm(deep, model.condition)
        self.dropout = nn.Dropout(model.style_dropout)
        # One head a domain: "is it a B?" and "which B?" are questions to B's own posterior (as in
        # StarGAN v2). One latent also encodes where things are: its head sees every position, and
        # is tied to the training size.
        features = deep * positions if self.one_latent else 2 * deep
        self.style_head = nn.Linear(features, domains * 2 * model.style_dim)
        nn.init.normal_(self.style_head.weight, std=0.02)

    def content(self, x: Tensor, y: Tensor) -> Gaussian:
        """Return the posterior of the content.

        Args:
            x: Images (B, C, H, W) in [-1, 1].
            y: Their domains (B,), int64.

        Returns:
            q(c | x, y), parameters (B, Cc, h, w), of a vector (B, Cc); Cc is 0 where there is one
            latent.
        """
        if self.one_latent:
            empty = x.new_zeros(len(x), 0, x.shape[2] // self.fold, x.shape[3] // self.fold)
            return Gaussian(empty, empty)
        condition = self.domain(y)
        h = self.content_trunk(F.pixel_unshuffle(x, self.fold), condition)
        h = self.activation(self.content_norm(h, condition))
        if self.content_is_vector:
            h = h.flatten(1)
        return Gaussian.from_parameters(self.content_head(h))

    def style(self, x: Tensor, y: Tensor) -> Gaussian:
        """Return the posterior of the style, or of the one latent.

        Args:
            x: Images (B, C, H, W) in [-1, 1].
            y: Their domains (B,), int64.

        Returns:
            q(s | x, y), parameters (B, Ds).
        """
        features = self._style_features(x, y)
        heads = self.style_head(self.dropout(features))
        heads = heads.unflatten(1, (self.domain.num_embeddings, -1))  # (B, domains, 2 Ds)
        return Gaussian.from_parameters(heads[torch.arange(y.shape[0], device=y.device), y])

    def _style_features(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what the heads of the style see (B, features), pooled but for one latent."""
        patches = 1  # of an image
        if self.patch:
            x = x.unfold(2, self.patch, self.patch).unfold(3, self.patch, self.patch)
            patches = x.shape[2] * x.shape[3]
            x = x.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
            y = y.repeat_interleave(patches)
        condition = self.domain(y)
        h = self.style_trunk(F.pixel_unshuffle(x, self.fold), condition)
        h = self.activation(self.style_norm(h, condition))
        if self.one_latent:
            return cast(Tensor, h.flatten(1))
        mean = h.mean((2, 3))
        largest = h.amax((2, 3))
        if self.patch:
            mean = mean.unflatten(0, (-1, patches)).mean(1)
            largest = largest.unflatten(0, (-1, patches)).amax(1)
        return torch.cat([mean, largest], dim=1)


class Decoder(nn.Module):
    """D(c, s, y): the content map rendered in the style s of domain y.

    The domain that the content comes from decides, with y, by which affine it is displaced.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        model = config.model
        width = config.model.width
        condition = config.model.condition
        self.fold = model.fold
        domains = len(config.data.names)
        self.domain = nn.Embedding(domains, condition)
        self.domain_affine: Tensor  # (domains, 2, 3), set from the data
        self.register_buffer("domain_affine", torch.tensor([UNIFORM_AFFINE] * domains))
        self.style = nn.Sequential(
            nn.Linear(model.style_dim + condition, condition),
            nn.SiLU(),
            nn.Linear(condition, condition),
            nn.SiLU(),
        )
        max_displacement = model.warp * config.data.size / (2 * model.stride)
        # One latent, and a vector of content, is first expanded into a map of the training size.
        self.side = config.data.size // model.fold
        self.one_latent = model.one_latent
        self.canvas = None
        if model.one_size:
            length = model.style_dim if model.one_latent else model.content_channels
            self.canvas = nn.Linear(length, CANVAS * self.side**2)
        self.trunk = UNet(
            CANVAS if model.one_size else model.content_channels,
            model,
            model.bottleneck,
            decode=True,
            max_displacement=max_displacement,
        )
        self.top = nn.ModuleList(Block(width, width, condition) for _ in range(model.blocks))
        self.norm = AdaGroupNorm(width, condition)
        self.activation = nn.SiLU()
        channels = config.data.channels
        unfolded = model.pixel_channels or channels
        self.last = nn.Conv2d(width, unfolded * model.fold**2, 3, padding=1)
        icnr_(self.last.weight, model.fold)
        nn.init.constant_(cast(Tensor, self.last.bias), 0.0)
        # across the borders of what was folded, where else a grid of them shows
        self.pixels = None
        if model.pixel_channels:
            self.pixels = nn.Conv2d(unfolded, channels, 3, padding=1)

    def forward(self, z_c: Tensor, z_s: Tensor, y: Tensor, source: Tensor) -> Tensor:
        """Make images of a content in a style.

        Args:
            z_c: Content (B, Cc, h, w) or, where it is a vector, (B, Cc); with one latent it is
                ignored.
            z_s: Style (B, Ds), or the one latent.
            y: Domains of the images to make (B,), int64.
            source: Domains that the content comes from (B,), int64.

        Returns:
            Images (B, C, H, W) in [-1, 1], float32.
        """
        condition = self.style(torch.cat([z_s, self.domain(y)], dim=1))
        theta = relative_affine(self.domain_affine[source], self.domain_affine[y])
        if self.canvas is not None:
            latent = z_s if self.one_latent else z_c
            z_c = self.canvas(latent).unflatten(1, (CANVAS, self.side, self.side))

        h = self.trunk(z_c, condition, theta)
        for block in self.top:
            h = block(h, condition)
        h = self.last(self.activation(self.norm(h, condition)))
        h = F.pixel_shuffle(h, self.fold)
        if self.pixels is not None:
            h = self.pixels(self.activation(h))
        return torch.tanh(h.float())


class Model(nn.Module):
    """Encoder and decoder together: what a model file holds.

    Whoever translates does it in these three steps: `encode_content`, `encode_style`, `decode`.
    A domain is an index, for all images alike or one for each, (B,).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.style_dim = config.model.style_dim
        self.detail = config.model.detail
        self.detail_ridge = config.model.detail_ridge

    def encode_content(self, x: Tensor, domain: Domain) -> Gaussian:
        """Return the posterior of the content.

        Args:
            x: images (B, C, H, W) in [-1, 1].
            domain: what they are images of.

        Returns:
            q(c | x, y), parameters (B, Cc, h, w), of a vector (B, Cc); Cc is 0 where there is one
            latent.
        """
        return self.encoder.content(x, self._indices(domain, x.shape[0]))

    def encode_style(self, x: Tensor, domain: Domain) -> Gaussian:
        """Return the posterior of the style.

        Args:
            x: images (B, C, H, W) in [-1, 1].
            domain: what they are images of.

        Returns:
            q(s | x, y), parameters (B, Ds).
        """
        return self.encoder.style(x, self._indices(domain, x.shape[0]))

    def decode(self, content: Tensor, style: Tensor, source: Domain, target: Domain) -> Tensor:
        """Make images of a content in a style.

        Args:
            content: (B, Cc, h, w), of a vector (B, Cc).
            style: (B, Ds), a style of the target domain.
            source: the domain that the content comes from.
            target: the domain of the images.

        Returns:
            Images (B, C, H, W) in [-1, 1], float32.
        """
        y = self._indices(target, style.shape[0])
        images: Tensor = self.decoder(content, style, y, self._indices(source, style.shape[0]))
        return images

    def translate(
        self, x: Tensor, source: Domain, target: Domain, style: Tensor | None = None
    ) -> Tensor:
        """Translate images by the mean of their content's posterior.

        Args:
            x: images (B, C, H, W) of the source domain, in [-1, 1].
            source: the domain translated from.
            target: the domain translated to.
            style: (B, Ds); default the mean of the prior, 0.

        Returns:
            Images like `x`.
        """
        if style is None:
            style = x.new_zeros(len(x), self.style_dim)
        content = self.encode_content(x, source).mu
        translation = self.decode(content, style, source, target)
        if not self.detail:
            return translation
        reconstruction = self.decode(content, self.encode_style(x, source).mu, source, source)
        return self.keep_detail(x, reconstruction, translation)

    def keep_detail(self, x: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """Return what stands for a translation: t, or x mapped from r to t where detail is kept.

        Args:
            x: images (B, C, H, W) in [-1, 1].
            r: their reconstructions.
            t: their decoded translations.
        """
        return clipped(self.fit_maps(r, t).apply(x)) if self.detail else t

    def fit_maps(self, r: Tensor, t: Tensor) -> ColourMaps:
        """Fit the colour maps that take reconstructions r to translations t (B, C, H, W)."""
        return fit_colour_maps(r, t, self.detail_ridge)

    def reconstruct(self, x: Tensor, domain: Domain) -> Tensor:
        """Return D(E(x)) by the posterior means, like `x`."""
        content = self.encode_content(x, domain).mu
        return self.decode(content, self.encode_style(x, domain).mu, domain, domain)

    def _indices(self, domain: Domain, rows: int) -> Tensor:
        """Give every row of a batch its domain's index. Shape: (B,), int64."""
        if isinstance(domain, Tensor):
            return domain
        device = self.decoder.domain_affine.device
        return torch.full((rows,), domain, dtype=torch.int64, device=device)
