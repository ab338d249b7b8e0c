"""One step of training: gradients of encoder and decoder from a batch, then their updates.

Legend: n domains, B images of a domain and step (of this process), S size, C channels.
"""

from __future__ import annotations

import copy
import logging
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from translate.config import Config
from translate.data.augmentation import augmentations
from translate.io.tensors import to_float
from translate.losses.translation import Losses, Objective, backward
from translate.metrics.lpips import Perceptual
from translate.models.networks import Model
from translate.runtime.device import choose_precision
from translate.runtime.distributed import Processes
from translate.training.compiling import compile_networks, uncompile, while_compiled

logger = logging.getLogger(__name__)


class TrainStep:
    """The networks, their optimizers and their running average, without files and schedule.

    Weights and noise follow from `config.train.seed`.

    Args:
        config: The whole config.
        processes: Those that share a batch.
        affines: (n, 2, 3), each domain's mean place, size and slant, see alignment.py; without
            them translations start where their inputs are.
    """

    def __init__(self, config: Config, processes: Processes, affines: Tensor | None = None) -> None:
        self.config = config
        self.processes = processes
        self.device = processes.device
        self.dtype = choose_precision(config.train.precision, self.device)
        self.domains = len(config.data.names)

        batch_size = config.train.batch_size
        per_process, rest = divmod(batch_size, processes.count)
        if rest:
            raise ValueError(
                f"train.batch_size: {batch_size} cannot be shared by {processes.count} processes"
            )
        self.y = torch.arange(self.domains, device=self.device).repeat_interleave(per_process)

        torch.manual_seed(config.train.seed)
        self.model = Model(config).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if affines is not None:
            self.model.decoder.domain_affine.copy_(affines)
        self.ema = copy.deepcopy(self.model).requires_grad_(False).eval()

        self.networks: tuple[nn.Module, nn.Module] = (self.model.encoder, self.model.decoder)
        self.optimizers = [self._adam(network) for network in self.networks]
        perceptual = None
        if config.objective.lambda_lpips > 0:
            perceptual = Perceptual.for_training(config.evaluate.lpips_net, self.device)
        augment = augmentations(config.augment)
        self.energy_augmentation = augment.energy
        self.objective = Objective(config.objective, augment, perceptual)
        # whether a step was not finite
        self.found_nonfinite = torch.zeros((), dtype=torch.bool, device=self.device)
        self.compiled = False

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        train = self.config.train
        return torch.optim.Adam(
            network.parameters(),
            train.learning_rate,
            (train.beta1, train.beta2),
            fused=self.device.type != "mps",
        )

    def compile(self, x: Tensor) -> None:
        """Compile the networks; where that fails, log why and leave them as they are.

        Args:
            x: A batch as of `gradients`, to try the compiled networks on.
        """
        self.compiled = True
        compile_networks(self.model)
        try:
            self.gradients(x, 0, None)
        except Exception as error:  # compilers fail in many ways
            uncompile(self.model)
            self.compiled = False
            reason = str(error).strip().splitlines() or [type(error).__name__]
            logger.warning(
                "train.compile: not possible here (%s); training goes on without", reason[0]
            )

    def gradients(self, x: Tensor, step: int, beta_neg: float | None) -> dict[str, Tensor]:
        """Compute the gradients of encoder and decoder, the first half of a step.

        No weights are changed.

        Args:
            x: (n * B, C, S, S) uint8, domain after domain.
            step: The number of the step, which random numbers follow from.
            beta_neg: Weight of the energies of negatives; without it this is a step of warm-up.

        Returns:
            The terms of the objective by name, (n * B,) each, on the device.
        """
        self._seed(step)
        x = to_float(x, self.device).contiguous(memory_format=torch.channels_last)
        self.model.zero_grad()
        bf16 = self.dtype == torch.bfloat16
        with while_compiled() if self.compiled else nullcontext():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                losses = self._losses(x, beta_neg)
            backward(losses, self.model)
        self.processes.average_gradients(self.model)
        return losses.terms

    @torch.no_grad()
    def energy_kl(self, images: list[Tensor], step: int) -> Tensor:
        """Compute the mean KL_s of a few of the images, seen as the encoder does in training.

        Args:
            images: Of each domain (m, C, S, S) uint8, of which as many are taken as a step has.
            step: The number of the step, which the choice and random numbers follow from.

        Returns:
            A scalar on the device, in nats, of this process.
        """
        self._seed(step, stream=2)
        count = len(self.y) // self.domains
        chosen = [x[torch.randint(len(x), (count,))] for x in images]
        x = to_float(torch.cat(chosen), self.device).contiguous(memory_format=torch.channels_last)
        bf16 = self.dtype == torch.bfloat16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            q_s = self.model.encoder.style(self.energy_augmentation(x), self.y)
        kl: Tensor = q_s.kl().mean()
        return kl

    def _seed(self, step: int, stream: int = 1) -> None:
        """Seed torch for a step: stream 1 for its gradients, 2 for what is measured beside."""
        key = [self.config.train.seed, stream, self.processes.rank, step]
        seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(seed >> 1))

    def _losses(self, x: Tensor, beta_neg: float | None) -> Losses:
        if beta_neg is None:
            return self.objective.vae(self.model, x, self.y)
        # Every image goes to one of the other domains, each as likely.
        shift: Tensor | int = 1
        if self.domains > 2:
            shift = torch.randint(1, self.domains, self.y.shape, device=self.device)
        other = (self.y + shift) % self.domains
        return self.objective.introspective(self.model, x, self.y, other, beta_neg)

    def update(self, step: int, learning_rate: float) -> None:
        """Update encoder, decoder and the running average, the second half of a step.

        Args:
            step: The number of the step, which the average's decay follows from.
            learning_rate: Of both optimizers.
        """
        for network, optimizer in zip(self.networks, self.optimizers, strict=True):
            parameters = list(network.parameters())
            gradients = [p.grad for p in parameters if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
            self.found_nonfinite |= ~norm.isfinite()
            if self.config.train.clip > 0:
                nn.utils.clip_grads_with_norm_(parameters, self.config.train.clip, norm)
            optimizer.param_groups[0]["lr"] = learning_rate
            optimizer.step()

        decay = min(self.config.train.ema_decay, (step + 1) / (step + 10))
        averages = list(self.ema.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(averages, list(self.model.parameters()), 1 - decay)
