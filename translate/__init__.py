"""introshift: unsupervised image translation with a two-latent Soft-IntroVAE.

The public names below are imported when they are first asked for (PEP 562), so that
`import translate`, and with it every `--help`, waits for no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names once more, for type checkers and editors
    from translate.config import Config, load_config
    from translate.evaluation.options import EvaluationOptions
    from translate.evaluation.protocols import compare, evaluate
    from translate.inference.folder_options import FolderOptions
    from translate.inference.predictor_options import PredictorOptions
    from translate.inference.translator import Translator
    from translate.models.checkpoint import load_model
    from translate.training.trainer import Trainer

__version__ = "0.1.0"  # a literal: the build reads it without importing the package

__all__ = [
    "Config",
    "EvaluationOptions",
    "FolderOptions",
    "PredictorOptions",
    "Trainer",
    "Translator",
    "__version__",
    "compare",
    "evaluate",
    "load_config",
    "load_model",
]

_MODULES = {
    "Config": "translate.config",
    "EvaluationOptions": "translate.evaluation.options",
    "FolderOptions": "translate.inference.folder_options",
    "PredictorOptions": "translate.inference.predictor_options",
    "Trainer": "translate.training.trainer",
    "Translator": "translate.inference.translator",
    "compare": "translate.evaluation.protocols",
    "evaluate": "translate.evaluation.protocols",
    "load_config": "translate.config",
    "load_model": "translate.models.checkpoint",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value  # from now on an ordinary attribute
    return value


def __dir__() -> list[str]:
    """List the public names too, whether or not they have been imported yet."""
    return sorted({*globals(), *__all__})
