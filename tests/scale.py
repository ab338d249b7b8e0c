"""Measures what docs/scale.md reckons with: CPU seconds and memory of an input, and of a picture.

python -m tests.scale names 1000000 FOLDER       of a folder job's steps that know all inputs
python -m tests.scale pictures PHOTO FOLDER      of a whole translation, in one process and thread

FOLDER is made; a file system in memory, such as /dev/shm, leaves the disk out.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image

from translate.config import from_dict
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import (
    MANIFEST,
    UP_TO_DATE,
    Entry,
    mark_up_to_date,
    write_manifest,
)
from translate.inference.planning import plan_outputs, scan
from translate.inference.translator import Translator
from translate.io.files import Stamp
from translate.io.folders import LocalFolder
from translate.models.checkpoint import save_model
from translate.models.networks import Model

IN_A_FOLDER = 1000
LOOKED_AT = 8  # pictures that a run looks at before the work; they are not counted
SIZES = {32: 128, 64: 128, 256: 64, 1024: 8}  # px a side -> pictures that are
BATCH = 8
MODELS = {
    "tiny": {"data": {"size": 32}, "model": {"preset": "tiny"}},
    "small": {"data": {"size": 64}, "model": {"preset": "small"}},
    "small, detail": {"data": {"size": 64}, "model": {"preset": "small", "detail": True}},
}


def _peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _measured(step: str, base: int, count: int) -> Iterator[None]:
    before = time.process_time()
    yield
    seconds = time.process_time() - before
    print(f"{step:30} {seconds:8.2f} CPU s, at most {(_peak() - base) / count:6.0f} B an input")


def names(count: int, folder: Path) -> None:
    """Measure the steps that know all inputs, with files of no content but a picture's name."""
    for i in range(count):
        path = folder / "in" / f"{i // IN_A_FOLDER:05}" / f"picture_{i:09}.png"
        if i % IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.touch()
    out = folder / "out"
    base = _peak()
    with _measured("found", base, count):
        _, entries = scan(folder / "in")
    with _measured("outputs named", base, count):
        outputs = plan_outputs([entry.path for entry in entries], "", "", 1)
        for entry in entries:
            entry.outputs = outputs[entry.path]
            entry.key = hashlib.sha256(entry.path.encode()).hexdigest()
        del outputs
    with _measured("first manifest", base, count):
        write_manifest(LocalFolder(out), entries)
    for entry in entries:
        entry.status, entry.reason, entry.size = "ok", None, (64, 64)
        entry.stamps = (Stamp(0, hashlib.sha256(str(entry.key).encode()).hexdigest()),)
    with _measured("last manifest", base, count):
        write_manifest(LocalFolder(out), entries)
    print(f"{(out / MANIFEST).stat().st_size / count:.0f} B a line")

    shutil.copytree(folder / "in", out, dirs_exist_ok=True)  # outputs of 0 bytes, as stamped
    entries = [Entry(entry.path, outputs=entry.outputs, key=entry.key) for entry in entries]
    with _measured("--skip-existing", base, count):
        mark_up_to_date(LocalFolder(out), entries)
    assert all(entry.reason == UP_TO_DATE for entry in entries)


def pictures(photo: Path, folder: Path) -> None:
    """Measure translations of a photograph's squares, by models with random weights."""
    torch.set_num_threads(1)
    whole = Image.open(photo).convert("RGB")
    side = min(whole.size) - 20
    for size, count in SIZES.items():
        for format in ("png", "jpg"):
            inputs = folder / f"{size}{format}"
            inputs.mkdir(parents=True)
            for i in range(LOOKED_AT + count):
                square = whole.crop((i % 20, i % 17, side + i % 20, side + i % 17))
                resized = square.resize((size, size), Image.Resampling.LANCZOS)
                resized.save(inputs / f"{i:03}.{format}", quality=90)
            for name in MODELS:
                if "detail" not in name or size > 64:
                    _translate(name, inputs, folder)


def _translate(name: str, inputs: Path, folder: Path) -> None:
    torch.manual_seed(0)
    config = from_dict(MODELS[name])
    save_model(folder / "model.safetensors", Model(config), config, {"step": 1})
    translator = Translator.load(folder / "model.safetensors", "cpu")
    options = FolderOptions(workers=1, batch_size=BATCH, overwrite=True)

    def seconds(paths: list[Path]) -> float:
        before = time.process_time()
        assert translator.translate_folder(paths, folder / "out", "B", options).ok == len(paths)
        return time.process_time() - before

    paths = sorted(inputs.iterdir())
    seconds(paths[:LOOKED_AT])  # the first run is slower
    counted = seconds(paths) - seconds(paths[:LOOKED_AT])
    shutil.rmtree(folder / "out")
    each = 1000 * counted / (len(paths) - LOOKED_AT)
    print(f"{inputs.name:10} {name:14} {each:7.1f} CPU ms a picture", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_names = commands.add_parser("names")
    of_names.add_argument("count", type=int)
    of_names.add_argument("folder", type=Path)
    of_pictures = commands.add_parser("pictures")
    of_pictures.add_argument("photo", type=Path)
    of_pictures.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.command == "names":
        names(given.count, given.folder)
    else:
        pictures(given.photo, given.folder)
