"""The timer of the benchmarks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.benchmark import Timer


def benchmark_timer(statement: str, **names: Any) -> Timer:
    """Make a timer of a statement about `names`, on as many threads as torch has now."""
    import torch

    # it looks for a CUDA compiler when imported, and complains of one without a GPU
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils.benchmark import Timer

    return Timer(statement, globals=names, num_threads=torch.get_num_threads())
