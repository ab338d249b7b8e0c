"""Which device computes, and in which precision."""

from __future__ import annotations

import ctypes
import os
import sys

import torch


def usable_cores() -> int:
    """The CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Has this process keep the memory that it frees, with glibc: every step of a training asks
    for as much again, and memory from the system comes page by page, cleared. A training on a
    CPU calls it once; a quarter of the time of small networks is saved, a few percent of that
    of large ones.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, the most that glibc takes


def choose_device(name: str) -> torch.device:
    """auto: cuda, then mps, then cpu. Raises ValueError for a device this machine lacks."""
    found = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in found.items() if there))
    if not found.get(name.split(":")[0], False):
        raise ValueError(
            f"--device {name}: not available here; use one of auto, {', '.join(k for k, t in found.items() if t)}"
        )
    return torch.device(name)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a GPU; 0 for other devices, which have no memory of their own."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Choose the type that autocast computes in.

    Args:
        name: fp32 (or 32, its name in older versions), bf16, or auto: bf16 where the device
            computes it, on CPUs with AVX512-BF16 instructions.
        device: what computes.

    Returns:
        torch.bfloat16 or torch.float32.

    Raises:
        ValueError: an unknown name.
    """
    if name not in ("auto", "fp32", "32", "bf16"):
        raise ValueError(f"--precision {name}: unknown; use auto, fp32 or bf16")
    if device.type == "cpu":
        capabilities: dict[str, bool] = getattr(
            torch.cpu, "get_capabilities", dict
        )()  # not there in older versions of PyTorch
        fast = capabilities.get("avx512_bf16", False)
    else:
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if name == "bf16" or (name == "auto" and fast) else torch.float32
