"""`introshift doctor`: check what introshift needs of a machine; say what to do where it lacks."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

import typer

from pipelines._console import EXIT_FAILED, result
from pipelines._options import Device, Json
from translate.io.files import is_writable
from translate.zoo import SHIPPED, ShippedModel

Status: TypeAlias = Literal["ok", "note", "problem"]

GIB = 2**30
FREE_MEMORY = (1 * GIB, 4 * GIB)  # below the first a problem, below the second a note
FREE_DISK = (GIB // 4, 2 * GIB)
MEASURED = 1.0  # s of translation
SLACK = 2  # levels by which processors differ
DEVELOPERS = ("dev", "docs")  # extras for work on introshift itself
SHOWN = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: what was looked at.
        found: what is there.
        status: "ok"; "note", with which everything works, but less well or not all; "problem".
        remedy: what to do, unless all is well.
    """

    name: str
    found: str
    status: Status = "ok"
    remedy: str = ""


def command(device: Device = "auto", as_json: Json = False) -> None:
    """Check this machine: versions, device and its speed, memory, disk, extras, shipped models.

    Exits with 1 where something is wrong; each such line names the remedy.
    """
    findings: list[Finding] = []
    for check in CHECKS:
        for finding in _findings(check, device):
            findings.append(finding)
            if not as_json:
                _show(finding)

    problems = sum(finding.status == "problem" for finding in findings)
    notes = sum(finding.status == "note" for finding in findings)
    text = f"{problems} problems, {notes} notes" if problems else f"all is well, {notes} notes"
    data = {"problems": problems, "notes": notes, "checks": [asdict(item) for item in findings]}
    result(data, text, as_json)
    if problems:
        raise typer.Exit(EXIT_FAILED)


def _show(finding: Finding) -> None:
    print(f"{SHOWN[finding.status]}  {finding.name}: {finding.found}", flush=True)
    if finding.remedy:
        print(f"         -> {finding.remedy}", flush=True)


Check: TypeAlias = Callable[[str], Iterator[Finding]]


def _findings(check: Check, device: str) -> Iterator[Finding]:
    """Yield what a check finds; its own failure is a problem, not the end."""
    try:
        yield from check(device)
    except Exception as error:
        what = check.__name__.strip("_").replace("_", " ")
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        yield Finding(what, reason, "problem", "install introshift and its dependencies anew")


def _versions(device: str) -> Iterator[Finding]:
    yield Finding("introshift", f"{metadata.version('introshift')}, {Path(__file__).parents[1]}")
    yield Finding("python", f"{platform.python_version()}, {sys.executable}")
    import torch
    import torchvision

    built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs"
    if torch.backends.mps.is_built():
        built = "for Apple silicon"
    yield Finding("torch", f"{torch.__version__} {built}, torchvision {torchvision.__version__}")


def _device_and_its_speed(device: str) -> Iterator[Finding]:
    import numpy as np
    import torch

    from translate.inference.translator import Translator

    translator = Translator.load(SHIPPED["typefaces"].file, device)
    chosen = translator.predictor.device
    size = translator.config.data.size
    to = translator.config.data.names[-1]
    images = [np.full((size, size), i, np.uint8) for i in range(32)]
    translator.translate(images, to)  # warm

    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < MEASURED:
        count += len(translator.translate(images, to))
    rate = count / (time.perf_counter() - start)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else platform.processor()
    found = f"{chosen} {name}".strip() + f", {rate:.0f} pictures/s of {size} px"
    if chosen.type == "cpu" and shutil.which("nvidia-smi"):
        remedy = "install torch for CUDA as pytorch.org says for this driver"
        yield Finding("device", f"{found}, although there is an NVIDIA GPU", "note", remedy)
    elif chosen.type == "cpu":
        remedy = "small sizes train in minutes to hours; take a GPU for 128 px and more"
        yield Finding("device", found, "note", remedy)
    else:
        yield Finding("device", found)


def _cores_and_threads(device: str) -> Iterator[Finding]:
    import torch

    from translate.inference.styles import default_workers
    from translate.runtime.affinity import usable_cores

    cores = usable_cores()
    threads = torch.get_num_threads()
    found = f"{cores} cores, {threads} threads for the model, {default_workers()} for pictures"
    if threads < cores // 2:
        given = "OMP_NUM_THREADS" if "OMP_NUM_THREADS" in os.environ else "torch"
        remedy = f"{given} keeps it to {threads}; unset it or set OMP_NUM_THREADS={cores}"
        yield Finding("processor", found, "note", remedy)
    else:
        yield Finding("processor", found)


def _memory(device: str) -> Iterator[Finding]:
    total, free = _memory_bytes()
    if total is None:
        yield Finding("memory", "size not known on this system", "note", "have 4 GiB free or more")
    elif free is None:
        yield _amount("memory", total, total, "", "train with a smaller train.batch_size")
    else:
        yield _amount("memory", free, total, " free", "close other programs")
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield _amount("GPU memory", free, total, " free", "end other programs on the GPU")


def _memory_bytes() -> tuple[int | None, int | None]:
    """Return (total, available) bytes of memory, None for what the system does not tell."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return None, None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return total, None
    match = re.search(r"^MemAvailable:\s+(\d+) kB", lines, re.M)
    return total, int(match[1]) * 1024 if match else None


def _amount(name: str, amount: int, total: int, what: str, remedy: str) -> Finding:
    """Judge an amount of memory."""
    few, fair = FREE_MEMORY
    found = f"{amount / GIB:.1f} of {total / GIB:.1f} GiB{what}"
    if amount >= fair:
        return Finding(name, found)
    return Finding(name, found, "note" if amount >= few else "problem", remedy)


def _disk_and_caches(device: str) -> Iterator[Finding]:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    found = f"{free / GIB:.1f} GiB free in {folder}"
    few, fair = FREE_DISK
    if free >= fair:
        yield Finding("temporary files", found)
    else:
        status: Status = "note" if free >= few else "problem"
        yield Finding("temporary files", found, status, "free space or set TMPDIR to another disk")

    import matplotlib
    import torch

    for name, cache in (
        ("cache of weights", torch.hub.get_dir()),
        ("cache of typefaces", matplotlib.get_cachedir()),
    ):
        if is_writable(Path(cache)):
            yield Finding(name, f"{cache}, writable")
        else:
            remedy = "set XDG_CACHE_HOME to a folder of yours"
            yield Finding(name, f"{cache}, not writable", "note", remedy)


def _extras(device: str) -> Iterator[Finding]:
    needed: dict[str, list[str]] = {}
    for requirement in metadata.requires("introshift") or []:
        match = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", requirement)
        if match and match[2] not in DEVELOPERS:
            needed.setdefault(match[2], []).append(match[1])
    for extra, packages in needed.items():
        missing = [package for package in packages if not _is_installed(package)]
        if not missing:
            yield Finding(f"extra {extra}", "installed")
            continue
        remedy = f"pip install 'introshift[{extra}]', if you want it"
        yield Finding(f"extra {extra}", f"without {', '.join(missing)}", "note", remedy)


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _perceptual_weights(device: str) -> Iterator[Finding]:
    from translate.metrics.lpips import ENVIRONMENT, cached_weights

    named = os.environ.get(ENVIRONMENT)
    cached = cached_weights("alex")
    if named and Path(named).is_file():
        yield Finding("LPIPS weights", named)
    elif named:
        remedy = f"let {ENVIRONMENT} name a file, or unset it"
        yield Finding("LPIPS weights", f"{named}: no such file", "problem", remedy)
    elif cached:
        yield Finding("LPIPS weights", str(cached))
    else:
        remedy = (
            "the first introshift evaluate fetches them (233 MB); without a network let "
            f"{ENVIRONMENT} name AlexNet's features.* as safetensors"
        )
        yield Finding(
            "LPIPS weights",
            "none yet: evaluate leaves LPIPS out, init cannot tell what pictures show",
            "note",
            remedy,
        )


def _shipped_models(device: str) -> Iterator[Finding]:
    for model in SHIPPED.values():
        yield _check_shipped(model, device)


def _check_shipped(model: ShippedModel, device: str) -> Finding:
    """Translate its examples and compare them with what they became when it was made."""
    import numpy as np

    from translate.inference.translator import Translator
    from translate.io.files import sha256
    from translate.io.images import list_images, read_image

    name = f"model {model.name}"
    remedy = "install introshift anew: the package is damaged"
    if sha256(model.file) != model.sha256:
        return Finding(name, f"{model.file} is not the file that was shipped", "problem", remedy)

    translator = Translator.load(model.file, device)
    names = translator.config.data.names
    largest = 0
    count = 0
    for source, to in (names, names[::-1]):
        for path in list_images(model.expected(to)):
            picture = read_image(model.examples(source) / path).pixels
            expected = read_image(model.expected(to) / path).pixels.astype(int)
            (made,) = translator.translate([picture], to)
            largest = max(largest, int(np.abs(made - expected).max()))
            count += 1
    found = f"{count} translations differ by {largest} of 255 levels from those expected"
    if largest <= SLACK:
        return Finding(name, found)
    return Finding(name, found, "problem", "try --device cpu; then report a bug with this output")


CHECKS: tuple[Check, ...] = (
    _versions,
    _device_and_its_speed,
    _cores_and_threads,
    _memory,
    _disk_and_caches,
    _extras,
    _perceptual_weights,
    _shipped_models,
)
