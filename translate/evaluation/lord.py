"""A baseline that is told which pictures show the same thing: LORD, as its paper describes it.

Latent Optimization for Representation Disentanglement (Gabbay & Hoshen, ICLR 2020), written from
its description. First a vector of content for each picture, one of style for each thing, and the
decoder are optimized together: what all pictures of a thing share has to be in its style, as noise
and a penalty make content dear. Then encoders learn to find both vectors in a picture.

It has the networks of our own models (`model.content: vector`), so that what is compared is the
way of learning. Different from the paper: the networks are small, and the error of a picture is
that of the config, L_r and LPIPS, in place of one of VGG features.

Legend: N pictures, K things, B pictures of a step; C channels, S side; Cc, Ds length of content
and style.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.config import Config
from translate.io.tensors import to_float
from translate.losses.soft_introvae import reconstruction_error
from translate.metrics.lpips import Perceptual
from translate.models.networks import Model
from translate.training.state import TrainState

START = 0.05  # codes begin uniform in +-START
BETAS = (0.5, 0.999)
LAST_RATE = 0.03  # of a stage's learning rate, as a share of its first one

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LordOptions:
    """Settings of LORD.

    Attributes:
        noise: Standard deviation of the noise that is added to contents.
        decay: Weight of the squared length of contents.
        code_rate: Learning rate of the vectors, as a multiple of that of the decoder.
        code_weight: Weight of the encoders' squared error in the second stage.
        first_stage: Share of the steps, or minutes, that optimize the vectors.
    """

    noise: float = 1.0
    decay: float = 1e-4
    code_rate: float = 10.0
    code_weight: float = 10.0
    first_stage: float = 0.5

    def __post_init__(self) -> None:
        weights = (self.noise, self.decay, self.code_rate, self.code_weight)
        if min(weights) < 0 or not 0 < self.first_stage < 1:
            raise ValueError(
                f"LORD: weights must not be negative and first_stage between 0 and 1: {self}"
            )


DEFAULTS = LordOptions()


class _Codes(nn.Module):
    """The vectors that are optimized: of content (N, Cc) and of style (K, Ds)."""

    def __init__(self, pictures: int, things: int, config: Config) -> None:
        super().__init__()
        self.content = nn.Embedding(pictures, config.model.content_channels)
        self.style = nn.Embedding(things, config.model.style_dim)
        for codes in (self.content, self.style):
            nn.init.uniform_(codes.weight, -START, START)


class Lord:
    """LORD's two stages on labelled pictures.

    Args:
        images: (N, C, S, S) uint8.
        things: (N,) int64, in [0, K): what each picture shows.
        config: Of one domain with a vector of content. Its `train` says how long and how fast;
            the errors of pictures are weighed as by its `objective`.
        device: Where it trains.
        options: Settings of its own.

    Raises:
        ValueError: The config is of other networks.
    """

    def __init__(
        self,
        images: Tensor,
        things: Tensor,
        config: Config,
        device: torch.device,
        options: LordOptions = DEFAULTS,
    ) -> None:
        if config.model.content != "vector" or len(config.data.names) != 1:
            raise ValueError("LORD: needs one domain and model.content: vector")
        self.images = images
        self.things = things
        self.config = config
        self.device = device
        self.options = options
        self.perceptual: Perceptual | None = None
        if config.objective.lambda_lpips > 0:
            self.perceptual = Perceptual.for_training(config.evaluate.lpips_net, device)
        torch.manual_seed(config.train.seed)
        self.model = Model(config).to(device)
        self.codes = _Codes(len(images), int(things.max()) + 1, config).to(device)
        self.state = TrainState(config.train)

    def train(self) -> Model:
        """Train for `train.steps` or `train.max_minutes`.

        Returns:
            A model whose posterior means are LORD's codes; its variances mean nothing.
        """
        rate = self.config.train.learning_rate
        groups = [
            {"params": list(self.model.decoder.parameters()), "lr": rate},
            {"params": list(self.codes.parameters()), "lr": rate * self.options.code_rate},
        ]
        first = self.options.first_stage
        self._stage(groups, self._codes_loss, (0.0, first))
        groups = [{"params": list(self.model.parameters()), "lr": rate}]
        self._stage(groups, self._encoders_loss, (first, 1.0))
        return self.model.eval()

    def _stage(
        self,
        groups: list[dict[str, Any]],
        loss_of: Callable[[Tensor, Tensor], Tensor],
        between: tuple[float, float],
    ) -> None:
        """Minimise a loss of images (B, C, S, S) and their places (B,), from one share to another.

        The learning rates fall as half a period of a cosine does.
        """
        begin, end = between
        optimizer = torch.optim.Adam(groups, betas=BETAS)
        rates = [group["lr"] for group in optimizer.param_groups]
        seconds = self.state.seconds
        started = time.perf_counter()
        while self.state.progress < end:
            share = (self.state.progress - begin) / (end - begin)
            fall = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * fall
            places = self._places()
            optimizer.zero_grad()
            loss = loss_of(to_float(self.images[places], self.device), places)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self.state.step += 1
            self.state.seconds = seconds + time.perf_counter() - started
        logger.info("LORD: %d %% are done after step %d", 100 * end, self.state.step)

    def _places(self) -> Tensor:
        """Return the pictures (B,) of a step: all come once an epoch, in a new order each."""
        count = len(self.images)
        size = self.config.train.batch_size
        seed = self.config.train.seed
        draws = np.arange(self.state.step * size, (self.state.step + 1) * size)
        epochs = set((draws // count).tolist())
        orders = {
            epoch: np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs
        }
        return torch.tensor([int(orders[draw // count][draw % count]) for draw in draws.tolist()])

    def _codes_loss(self, x: Tensor, places: Tensor) -> Tensor:
        """Error of images drawn from noisy contents, and the penalty of the contents."""
        content = self.codes.content(places.to(self.device))
        style = self.codes.style(self.things[places].to(self.device))
        noisy = content + self.options.noise * torch.randn_like(content)
        penalty: Tensor = content.square().sum(1).mean()
        return self._error(x, self.model.decode(noisy, style, 0, 0)) + self.options.decay * penalty

    def _encoders_loss(self, x: Tensor, places: Tensor) -> Tensor:
        """Error of images drawn from what the encoders find, and theirs of the vectors."""
        content = self.model.encode_content(x, 0).mu
        style = self.model.encode_style(x, 0).mu
        with torch.no_grad():
            true_content = self.codes.content(places.to(self.device))
            true_style = self.codes.style(self.things[places].to(self.device))
        wrong: Tensor = F.mse_loss(content, true_content)
        wrong = wrong + F.mse_loss(style, true_style)
        error = self._error(x, self.model.decode(content, style, 0, 0))
        return error + self.options.code_weight * wrong

    def _error(self, x: Tensor, drawn: Tensor) -> Tensor:
        """L_r / n and LPIPS of drawn images, weighed as by the config."""
        weights = self.config.objective
        scale = weights.beta_rec / x[0].numel()
        error: Tensor = scale * reconstruction_error(x, drawn, weights.rec).mean()
        if self.perceptual is None:
            return error
        lpips = self.perceptual.differentiable(x, drawn).mean()
        return error + weights.lambda_lpips * lpips
