"""torch.compile for the networks, in place and undone as easily.

What is compiled keeps its names in files.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn

from translate.models.networks import Model


def _passes(model: Model) -> list[tuple[nn.Module, str]]:
    """Return the methods that a step calls."""
    return [(model.encoder, "content"), (model.encoder, "style"), (model.decoder, "forward")]


def compile_networks(model: Model) -> None:
    """Replace the passes by ones that are compiled when they are first called."""
    for module, name in _passes(model):
        setattr(module, name, torch.compile(getattr(module, name), dynamic=False))


def uncompile(model: Model) -> None:
    """Put the plain passes back."""
    for module, name in _passes(model):
        vars(module).pop(name, None)


def while_compiled() -> AbstractContextManager[None]:
    """Return what compiled passes must run within.

    Encoder and decoder both go back through one graph, so its buffers must stay.
    """
    import torch._functorch.config

    manager: AbstractContextManager[None] = torch._functorch.config.patch(donated_buffer=False)
    return manager
