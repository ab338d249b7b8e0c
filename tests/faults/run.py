"""Disturbs translations and trainings, and checks what they leave behind.

python -m tests.faults.run kill translate --times 100

kill: SIGKILL at a random moment. full: a disk that is full after a random number of bytes. power:
a file system that stops at a random moment, without what was not synced yet. The last two mount
file systems, for which they need to be root on Linux. After each disturbance, what the manifest
vouches for must be as it says; then the work goes on, and what it ends with must be the same bytes
as without a disturbance.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeAlias

import torch

from tests._helpers.folders import draw
from tests._helpers.shards import contents, pack, samples
from tests._helpers.small_model import save
from tests._helpers.trainings import run, settings
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import MANIFEST
from translate.inference.translator import Translator
from translate.io.files import unfinished
from translate.models.checkpoint import load_tensors

Contents: TypeAlias = dict[str, bytes]


class Work(Protocol):
    """What is disturbed."""

    def attempt(self, out: Path) -> None:
        """Begin, or go on."""

    def contents(self, out: Path) -> Contents:
        """Return what has to be the same in the end."""

    def lost(self, out: Path) -> list[str]:
        """Name what is said to be there and is not."""


PICTURES = 150
SHARDS = 15
STEPS = 30
SHUTDOWN = 0x8004587D  # the ioctl of ext4 and xfs
WITHOUT_LOG = struct.pack("I", 2)  # what is in memory is lost, the journal's as well
MEGABYTES = 48  # of a file system that loses its power


class Translation:
    """A folder translation, in any number of attempts."""

    def __init__(self, folder: Path) -> None:
        self.translator = Translator.load(save(folder), "cpu")
        self.inputs = folder / "in"
        for i in range(PICTURES):
            draw(self.inputs / f"{i % 3}" / f"{i:03}.png", 16 + i % 5, 16, seed=i)

    def attempt(self, out: Path) -> None:
        """Do all, or what is missing."""
        self.translator.translate_folder(
            self.inputs, out, "B", FolderOptions(skip_existing=True, workers=2)
        )

    def contents(self, out: Path) -> Contents:
        """Return the outputs."""
        return outputs(out)

    def lost(self, out: Path) -> list[str]:
        """Name what the manifest vouches for and is not as it says."""
        return not_as_said(out, outputs(out))


class ShardTranslation:
    """A translation of WebDataset shards, in any number of attempts."""

    def __init__(self, folder: Path) -> None:
        self.translator = Translator.load(save(folder), "cpu")
        self.inputs = folder / "in"
        for i in range(SHARDS):
            count = PICTURES // SHARDS
            pack(self.inputs / f"{i:02}.tar", samples(folder, count, count * i))

    def attempt(self, out: Path) -> None:
        """Do all, or what is missing."""
        self.translator.translate_shards(
            self.inputs, out, "B", FolderOptions(skip_existing=True, workers=2)
        )

    def contents(self, out: Path) -> Contents:
        """Return the outputs, and the manifest, which has the order of the shards."""
        return outputs(out) | {MANIFEST: (out / MANIFEST).read_bytes()}

    def lost(self, out: Path) -> list[str]:
        """Name shards, and pictures in them, that the manifest vouches for and misstates."""
        found = outputs(out)
        for path in out.glob("*.tar"):
            with suppress(tarfile.TarError):
                inside = contents(path)
                found |= {f"{path.name}/{name}": data for name, data in inside.items()}
        return not_as_said(out, found)


def outputs(out: Path) -> Contents:
    """Return the files of a folder but its manifest."""
    found = [path for path in out.rglob("*") if path.is_file() and path.name != MANIFEST]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def not_as_said(out: Path, found: Contents) -> list[str]:
    """Name what a manifest says of and was not found, or is other than it says."""
    if not (out / MANIFEST).exists():
        return []
    lost = []
    for text in (out / MANIFEST).read_bytes().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # cut off; the work is done again
        name = line["output"]
        if name is not None:
            digest = hashlib.sha256(found.get(name, b"")).hexdigest()
            if name not in found or digest != line["output_sha256"]:
                lost.append(name)
    return lost


class Training:
    """A small training, in any number of attempts."""

    def __init__(self, folder: Path) -> None:
        every = {"checkpoint_every": 3, "score_every": 7, "log_every": 5}
        self.config = settings(train={"steps": STEPS, **every})

    def attempt(self, out: Path) -> None:
        """Begin, or go on."""
        torch.set_num_threads(1)
        run(self.config, out, resume=any((out / "state").glob("step_*")))

    def contents(self, out: Path) -> Contents:
        """Return the weights, of which the files also say how long the training took."""
        found: Contents = {}
        for name in ("model.safetensors", "last.safetensors"):
            for key, tensor in load_tensors(out / name)[0].items():
                found[f"{name} {key}"] = tensor.numpy().tobytes()
        return found

    def lost(self, out: Path) -> list[str]:
        """Name the state where there are some and the newest cannot be read."""
        states = sorted((out / "state").glob("step_*.safetensors"))
        if not states:
            return []
        try:
            load_tensors(states[-1])
        except ValueError as error:
            return [str(error)]
        return []


WORK = {"translate": Translation, "shards": ShardTranslation, "train": Training}


def fork(work: Callable[[Path], None], out: Path) -> int:
    """Do work in a child of this process, which has all modules already; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        work(out)
        code = 0
    finally:
        os._exit(code)


def succeeded(child: int) -> bool:
    """Wait for the end of a child."""
    return os.waitpid(child, 0)[1] == 0


def check(work: Work, out: Path, counts: Counter[str]) -> None:
    """Count what is lost after a disturbance."""
    lost = work.lost(out)
    counts["lost"] += len(lost)
    if lost:
        print(f"lost: {lost[:5]}", flush=True)


def compare(work: Work, out: Path, whole: Contents, counts: Counter[str]) -> None:
    """Count an end that is not as without disturbance."""
    counts["ended"] += 1
    if work.contents(out) != whole or unfinished(out):
        counts["other"] += 1
        print("ended with other bytes", flush=True)


def kill(work: Work, folder: Path, times: int, seconds: float, counts: Counter[str]) -> None:
    """Kill the work at random moments, within as many seconds as it takes."""
    whole = work.contents(folder / "whole")
    out = folder / "out"
    while counts["disturbed"] < times or counts["ended"] == 0:
        child = fork(work.attempt, out)
        if counts["disturbed"] < times:
            time.sleep(random.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        if not succeeded(child):
            assert counts["disturbed"] < times, "the work fails by itself"
            counts["disturbed"] += 1
            check(work, out, counts)
            continue
        compare(work, out, whole, counts)
        shutil.rmtree(out)


@contextmanager
def mounted(where: Path, *options: str) -> Iterator[None]:
    """Mount a file system for a block."""
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)


def full(work: Work, folder: Path, times: int, _: float, counts: Counter[str]) -> None:
    """Do the work on disks of random sizes; then make room and go on."""
    whole = work.contents(folder / "whole")
    used = sum(path.stat().st_blocks * 512 for path in (folder / "whole").rglob("*"))
    disk = folder / "disk"
    for _ in range(times):
        room = random.randrange(8192, int(1.1 * used))
        with mounted(disk, "-t", "tmpfs", "-o", f"size={room}", "tmpfs"):
            out = disk / "out"
            ended = succeeded(fork(work.attempt, out))
            if not ended:
                counts["disturbed"] += 1
                check(work, out, counts)
                subprocess.run(["mount", "-o", "remount,size=512m", str(disk)], check=True)
                assert succeeded(fork(work.attempt, out)), "the work fails by itself"
            compare(work, out, whole, counts)


def power(work: Work, folder: Path, times: int, seconds: float, counts: Counter[str]) -> None:
    """Stop the file system at random moments, as a power cut does; also when all is done."""
    whole = work.contents(folder / "whole")
    image = folder / "image"
    disk = folder / "disk"
    for _ in range(times):
        with open(image, "wb") as file:
            file.truncate(MEGABYTES * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        out = disk / "out"
        with mounted(disk, "-o", "loop", str(image)):
            child = fork(work.attempt, out)
            time.sleep(random.uniform(0, 1.2 * seconds))
            counts["done before"] += os.waitpid(child, os.WNOHANG)[0] != 0
            descriptor = os.open(disk, os.O_RDONLY)
            fcntl.ioctl(descriptor, SHUTDOWN, WITHOUT_LOG)
            os.close(descriptor)
            try:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            except (ChildProcessError, ProcessLookupError):
                pass  # it was done
        counts["disturbed"] += 1
        with mounted(disk, "-o", "loop", str(image)):
            check(work, out, counts)
            assert succeeded(fork(work.attempt, out)), "the work fails by itself"
            compare(work, out, whole, counts)


FAULTS = {"kill": kill, "full": full, "power": power}


def main() -> None:
    """Print what was disturbed how often, what was lost, and what ended with other bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("work", choices=WORK)
    parser.add_argument("--times", type=int, default=100, help="ends early at Ctrl-C")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    counts: Counter[str] = Counter()
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work: Work = WORK[arguments.work](folder)
        start = time.perf_counter()
        assert succeeded(fork(work.attempt, folder / "whole")), "the work fails by itself"
        seconds = time.perf_counter() - start
        FAULTS[arguments.fault](work, folder, arguments.times, seconds, counts)
    print(
        f"{arguments.fault} {arguments.work}: {counts['disturbed']} times, {counts['ended']} ends "
        f"compared; {counts['lost']} lost, {counts['other']} ended with other bytes",
        flush=True,
    )
    sys.exit(bool(counts["lost"] or counts["other"]))


if __name__ == "__main__":
    main()
