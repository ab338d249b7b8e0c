"""Inception's features for KID and FID as published, where its weights are already on the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)

from translate.io.files import sha256
from translate.metrics.image import check_images

ENVIRONMENT = "INTROSHIFT_INCEPTION_WEIGHTS"
BATCH = 32


@dataclass(frozen=True, eq=False)
class Inception:
    """InceptionV3 of 2015-12-05 by torch-fidelity, which resizes as the original does.

    Make one with `find`.

    Attributes:
        weights_sha256: of the weights file.
        module: torch-fidelity's feature extractor.
        device: where it computes.
    """

    weights_sha256: str
    module: nn.Module = field(repr=False)
    device: torch.device

    @classmethod
    def find(cls, device: str | torch.device = "cpu") -> Inception | None:
        """Load the weights that INTROSHIFT_INCEPTION_WEIGHTS names, or those in torch.hub's cache.

        Nothing is downloaded.

        Returns:
            The network, or None where no file is named and none is in the cache.

        Raises:
            ValueError: the named file is missing, or a file holds something else.
        """
        named = os.environ.get(ENVIRONMENT)
        cached = Path(torch.hub.get_dir(), "checkpoints", Path(URL_INCEPTION_V3).name)
        path = Path(named or cached)
        if not named and not path.exists():
            return None

        try:
            # torch-fidelity itself would run any pickle
            torch.load(path, map_location="cpu", weights_only=True)
            module = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=path
            )
        except Exception as error:  # damaged pickles make torch raise anything
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{path}: not torch-fidelity's Inception weights ({reason}); unset {ENVIRONMENT}"
            ) from None
        return cls(sha256(path), module.to(device), torch.device(device))

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Compute the pooled layer.

        Args:
            x: uint8 (N, H, W, C), C 1 or 3.

        Returns:
            float32 (N, 2048) on the CPU.

        Raises:
            ValueError: for anything else.
        """
        check_images(x)
        parts = (
            part.permute(0, 3, 1, 2).expand(-1, 3, -1, -1).to(self.device)
            for part in torch.split(x, BATCH)
        )
        return torch.cat([self.module(part)[0].cpu() for part in parts])
