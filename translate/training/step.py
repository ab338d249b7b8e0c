"""One step of training: gradients of both players from a batch, then their updates and the
average's.

Legend: n domains, B images of a domain and step (of this process), S size, C channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from translate.config import Config
from translate.data.augmentation import augmentations
from translate.data.dataset import to_floats
from translate.losses.translation import Losses, Objective, backward
from translate.models.networks import Model
from translate.runtime.device import choose_precision
from translate.runtime.distributed import Processes
from translate.training.compiling import compile_networks, uncompile, while_compiled


class TrainStep:
    """The networks, their optimizers and their average; it knows of no files and of no clock.

    frames (n, 2, 3): see alignment.py; without them translations start where their inputs are.
    Weights and noise follow from config.train.seed.
    """

    def __init__(self, config: Config, processes: Processes, frames: Tensor | None = None) -> None:
        self.config = config
        self.processes = processes
        self.device = processes.device
        self.dtype = choose_precision(config.train.precision, self.device)
        self.domains = len(config.data.names)
        per_process, rest = divmod(config.train.batch_size, processes.count)
        if rest:
            raise ValueError(
                f"train.batch_size: {config.train.batch_size} cannot be shared by {processes.count} processes"
            )
        self.y = torch.arange(self.domains, device=self.device).repeat_interleave(per_process)
        torch.manual_seed(config.train.seed)
        self.model = Model(config).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if frames is not None:
            self.model.decoder.domain_affine.copy_(frames)
        self.ema = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.players: tuple[nn.Module, nn.Module] = (self.model.encoder, self.model.decoder)
        train = config.train
        self.optimizers = [
            torch.optim.Adam(
                player.parameters(),
                train.learning_rate,
                (train.beta1, train.beta2),
                fused=self.device.type != "mps",
            )
            for player in self.players
        ]
        self.objective = Objective(config.objective, augmentations(config.augment))
        # whether a step was not finite
        self.found_nonfinite = torch.zeros((), dtype=torch.bool, device=self.device)
        self.compiled = False

    def compile(self, x: Tensor, say: Callable[[str], None]) -> None:
        """Compiles the networks, tried on a batch as of `gradients`; where that fails, says so and
        goes on without.
        """
        self.compiled = True
        compile_networks(self.model)
        try:
            self.gradients(x, 0, None)
        except Exception as error:  # compilers fail in many ways
            uncompile(self.model)
            self.compiled = False
            reason = str(error).strip().splitlines() or [type(error).__name__]
            say(f"train.compile: not possible here ({reason[0]}); training goes on without")

    def gradients(self, x: Tensor, step: int, beta_neg: float | None) -> dict[str, Tensor]:
        """The first half of a step, in which weights stay as they are: a warm-up step without
        `beta_neg`.

        Shape: x (n * B, C, S, S) uint8, domain after domain; returns the terms, (n * B,) each,
        on the device.
        """
        stream = [self.config.train.seed, 1, self.processes.rank, step]  # 1: not the data's
        seed = np.random.SeedSequence(stream)
        torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
        x = to_floats(x, self.device).contiguous(memory_format=torch.channels_last)
        self.model.zero_grad()
        with while_compiled() if self.compiled else nullcontext():
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16
            ):
                losses = self._losses(x, beta_neg)
            backward(losses, self.model)
        self.processes.average_gradients(self.model)
        return losses.terms

    def _losses(self, x: Tensor, beta_neg: float | None) -> Losses:
        if beta_neg is None:
            return self.objective.vae(self.model, x, self.y)
        # Every sample goes to one of the other domains, each as likely.
        shift = (
            torch.randint(1, self.domains, self.y.shape, device=self.device)
            if self.domains > 2
            else 1
        )
        return self.objective.introspective(
            self.model, x, self.y, (self.y + shift) % self.domains, beta_neg
        )

    def update(self, step: int, learning_rate: float) -> None:
        """The second half of a step: both optimizers and the average."""
        for player, optimizer in zip(self.players, self.optimizers, strict=True):
            parameters = list(player.parameters())
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            self.found_nonfinite |= ~norm.isfinite()
            if self.config.train.clip > 0:
                nn.utils.clip_grads_with_norm_(parameters, self.config.train.clip, norm)
            optimizer.param_groups[0]["lr"] = learning_rate
            optimizer.step()
        with torch.no_grad():
            decay = min(self.config.train.ema_decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(
                list(self.ema.parameters()), list(self.model.parameters()), 1 - decay
            )
