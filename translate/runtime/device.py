"""Which device computes, and in which precision."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from translate.runtime.precision import PRECISIONS, normalize_precision

ACCELERATORS = ("cuda", "mps")  # the kinds that are tried; others compute on the CPU

# Parameters of glibc's mallopt.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> None:
    """Have this process keep the memory that it frees, where the C library is glibc.

    Every training step asks for as much memory again, and memory from the system comes page by
    page, cleared. A training on a CPU calls this once; it saves a quarter of the time of small
    networks and a few percent of that of large ones.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**30)
        mallopt(M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes


def choose_device(name: str) -> torch.device:
    """Choose the device that computes.

    Args:
        name: cpu, cuda, cuda:1 and so on, mps, or auto: the accelerator, where there is one.

    Raises:
        ValueError: this machine has no such device.
    """
    kinds = ["cpu"]
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        if accelerator is not None and accelerator.type in ACCELERATORS:
            kinds.insert(0, accelerator.type)

    if name == "auto":
        return torch.device(kinds[0])
    if name.split(":")[0] not in kinds:
        raise ValueError(
            f"--device {name}: not available here; use one of {', '.join(['auto', *kinds])}"
        )
    return torch.device(name)


def free_memory(device: torch.device) -> int:
    """Return the bytes free on a GPU; 0 for other devices, which have no memory of their own."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def total_memory(device: torch.device) -> int | None:
    """Return the bytes of a GPU's memory, or of the machine's; None where they are not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):  # Windows
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Choose the type that autocast computes in.

    Args:
        name: one of PRECISIONS, or 32, the older name of fp32; auto: bf16 where the device
            computes it, on CPUs with AVX512-BF16 instructions.
        device: what computes.

    Returns:
        torch.bfloat16 or torch.float32.

    Raises:
        ValueError: an unknown name.
    """
    precision = known_precision(name)
    if precision == "auto":
        precision = "bf16" if _computes_bf16(device) else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def known_precision(name: str) -> object:
    """Return one of PRECISIONS; raise ValueError for an unknown name."""
    precision = normalize_precision(name)
    if precision not in PRECISIONS:
        *others, last = PRECISIONS
        raise ValueError(f"--precision {name}: unknown; use {', '.join(others)} or {last}")
    return precision


def _computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16."""
    if device.type == "cpu":
        # older versions of PyTorch have no get_capabilities
        get_capabilities = getattr(torch.cpu, "get_capabilities", dict)
        capabilities: dict[str, bool] = get_capabilities()
        return capabilities.get("avx512_bf16", False)
    return device.type == "cuda" and torch.cuda.is_bf16_supported()
