"""What is fuzzed: for each kind of file, how damaged ones are made and what reading them may do.

A target is made in a folder and given hypothesis' data, time and again. It lets ValueError in one
line pass, which is what users are shown, and nothing else: no other error, no change of an input,
no more than SECONDS.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from tests._helpers.folders import manifest as read_manifest
from tests._helpers.small_model import save
from tests.fuzz.damage import changed, damaged
from translate.config import Config, load_config
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import (
    MANIFEST,
    NOT_REACHED,
    Entry,
    mark_up_to_date,
    refuse_used,
    write_manifest,
)
from translate.inference.translator import Translator
from translate.io import images
from translate.io.folders import LocalFolder
from translate.models.checkpoint import content_hash, load_model, load_tensors
from translate.models.metadata import HASH, KEY, read_info
from translate.models.networks import Model
from translate.training.checkpoint import load_state, save_state
from translate.training.state import TrainState

Check: TypeAlias = Callable[[st.DataObject], None]

PICTURES = "INTROSHIFT_FUZZ_PICTURES"  # a folder of more pictures to damage, such as Pillow's tests
MAX_SEED = 200_000  # bytes of a picture from there
MAX_PIXELS = 1_000_000
SECONDS = 60  # on a busy machine, for what takes milliseconds
LINES = 12  # of a config's message: a problem each


@contextmanager
def answered(path: Path, lines: int = 1) -> Iterator[None]:
    """Let users' errors pass if they are short; check that the file stays as it is."""
    before = path.read_bytes()
    start = time.perf_counter()
    try:
        yield
    except ValueError as error:
        message = str(error)
        assert message
        assert len(message.splitlines()) <= lines, message
        assert len(message) < 4000 * lines
    assert path.read_bytes() == before
    assert time.perf_counter() - start < SECONDS


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture_seeds() -> list[bytes]:
    """Small pictures of every format, and those of the folder that PICTURES names."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 13, 4), dtype=np.uint8)
    photo = Image.fromarray(pixels[..., :3])
    seeds = [images.encode(kind, pixels[..., :3].copy()) for kind in images.FORMATS]
    seeds += [images.encode(k, pixels[..., :3].copy(), pixels[..., 3]) for k in ("PNG", "WEBP")]
    exif = Image.Exif()
    exif[0x0112] = 6
    moving: dict[str, Any] = {"save_all": True, "append_images": [photo.rotate(180)]}
    seeds += [
        _encoded(photo, "JPEG", progressive=True, exif=exif),
        _encoded(photo.convert("CMYK"), "JPEG"),
        _encoded(photo.quantize(16), "PNG", transparency=bytes(range(16))),
        _encoded(Image.fromarray(pixels[..., 0].astype(np.uint16) * 200), "PNG"),
        _encoded(Image.fromarray(pixels[..., 0].astype(np.float32)), "TIFF"),
        _encoded(photo, "TIFF", compression="tiff_lzw"),
        _encoded(photo, "TIFF", compression="tiff_adobe_deflate"),
        *(_encoded(photo, kind, **moving) for kind in ("PNG", "GIF", "WEBP", "TIFF")),
    ]
    more = os.environ.get(PICTURES)
    if more:
        found = [path for path in sorted(Path(more).rglob("*")) if path.is_file()]
        seeds += [path.read_bytes() for path in found if path.stat().st_size < MAX_SEED]
    return seeds


def fuzz_pictures(folder: Path) -> Check:
    """Reading: all that opens a picture."""
    seeds = picture_seeds()
    path = folder / "picture.bin"

    def check(data: st.DataObject) -> None:
        path.write_bytes(data.draw(damaged(seeds)))
        with answered(path):
            picture = images.read_image(path, MAX_PIXELS)
            assert picture.pixels.ndim == 3
            assert picture.alpha is None or picture.alpha.shape == picture.pixels.shape[:2]
        with answered(path):
            assert images.read_thumbnail(path, 8, MAX_PIXELS).shape == (8, 8, 3)
        with answered(path):
            images.read_size(path)
        images.looks_like_image(path)
        assert images.count_pixels(path) >= 0

    return check


def fuzz_folders(folder: Path) -> Check:
    """Translation of a folder: a line for each picture, and good ones go through."""
    seeds = picture_seeds()
    translator = Translator.load(save(folder), "cpu")
    inputs = folder / "in"
    inputs.mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(inputs / "good.png")
    options = FolderOptions(overwrite=True, strict=True, max_pixels=MAX_PIXELS, workers=2)
    suffixes = sorted(images.SUFFIXES)

    def check(data: st.DataObject) -> None:
        path = inputs / f"x{data.draw(st.sampled_from(suffixes))}"
        path.write_bytes(data.draw(damaged(seeds)))
        with answered(path):
            done = translator.translate_folder(inputs, folder / "out", "B", options)
            assert done.ok + done.failed == 2
            assert all(len(reason.splitlines()) == 1 for _, reason in done.failures)
        lines = read_manifest(folder / "out")
        assert list(lines) == ["good.png", path.name]
        assert lines["good.png"]["status"] == "ok"
        path.unlink()

    return check


def fuzz_models(folder: Path) -> Check:
    """Model files: of damaged bytes, and of valid files that say something else."""
    path = folder / "model.safetensors"
    small = save(folder, channels=1)
    seed = small.read_bytes()
    tensors = load_file(small)
    about = json.loads(load_tensors(small)[1][KEY])

    def check(data: st.DataObject) -> None:
        if data.draw(st.booleans()):
            path.write_bytes(data.draw(damaged([seed])))
        else:
            other = data.draw(changed(about))
            if isinstance(other, dict):  # a stranger's file has a hash that fits
                other[HASH] = content_hash(tensors, other)
            save_file(tensors, path, {KEY: json.dumps(other)})
        with answered(path, LINES):
            read_info(path)
        with answered(path, LINES):
            load_model(path)

    return check


def fuzz_configs(folder: Path) -> Check:
    """Configs: of damaged text, and of YAML that holds something else."""
    path = folder / "config.yaml"
    seeds = [file.read_bytes() for file in sorted(Path("configs").glob("*.yaml"))]
    defaults = Config().model_dump(mode="json")

    def check(data: st.DataObject) -> None:
        if data.draw(st.booleans()):
            path.write_bytes(data.draw(damaged(seeds)))
        else:
            text = yaml.safe_dump(data.draw(changed(defaults)), allow_unicode=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with answered(path, LINES):
            load_config(path)

    return check


def fuzz_manifests(folder: Path) -> Check:
    """Manifests of an earlier run: of damaged text, and of JSON that holds something else."""
    path = folder / MANIFEST
    place = LocalFolder(folder)
    entries = [
        Entry(f"{name}.png", "ok", None, (f"{name}.png",), f"key {name}", (16, 16))
        for name in "abc"
    ]
    for entry in entries:
        (folder / entry.outputs[0]).write_bytes(b"an output")
    seed = "".join(entry.line() + "\n" for entry in entries).encode()
    lines = [json.loads(line) for line in seed.splitlines()]

    def check(data: st.DataObject) -> None:
        if data.draw(st.booleans()):
            path.write_bytes(data.draw(damaged([seed])))
        else:
            other = data.draw(changed(lines))
            path.write_text("".join(json.dumps(line) + "\n" for line in other))
        jobs = [Entry(e.path, outputs=e.outputs, key=e.key) for e in entries]
        with answered(path):
            mark_up_to_date(place, jobs, verify=data.draw(st.booleans()))
        with answered(path):
            refuse_used(place, jobs, False, (1, 2))
        assert all(job.reason == NOT_REACHED or job.size for job in jobs)
        write_manifest(place, jobs, (1, 2))
        for line in path.read_text(encoding="utf-8").splitlines():
            assert json.loads(line)["source"]

    return check


def fuzz_states(folder: Path) -> Check:
    """Training states: of damaged bytes, and of valid files that say something else."""
    states = folder / "state"
    file = load_model(save(folder, channels=1))
    torch.manual_seed(0)

    def parts() -> tuple[Model, Model, list[torch.optim.Optimizer]]:
        model = Model(file.config)
        halves = (model.encoder, model.decoder)
        return model, Model(file.config), [torch.optim.Adam(half.parameters()) for half in halves]

    model, ema, optimizers = parts()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    save_state(states, model, ema, optimizers, TrainState(file.config.train, 3).values(), {"a": 1})
    (path,) = states.iterdir()
    seed = path.read_bytes()
    tensors, metadata = load_tensors(path)
    facts = {name: json.loads(text) for name, text in metadata.items() if name != HASH}
    target = parts()

    def resume() -> None:
        def known(path: Path, values: dict[str, Any], _: Any) -> list[str]:
            TrainState.check(values, path)
            return []

        values, _ = load_state(states, *target, known)
        state = TrainState(file.config.train, **values)
        assert 0 <= state.progress <= 1
        assert state.learning_rate >= 0

    def check(data: st.DataObject) -> None:
        if data.draw(st.booleans()):
            path.write_bytes(data.draw(damaged([seed])))
        else:
            other = data.draw(changed(facts))
            told = {name: json.dumps(value) for name, value in sorted(other.items())}
            save_file(tensors, path, {**told, HASH: content_hash(tensors, told)})
        with answered(path, LINES):
            resume()

    return check


TARGETS: dict[str, Callable[[Path], Check]] = {
    "pictures": fuzz_pictures,
    "folders": fuzz_folders,
    "models": fuzz_models,
    "configs": fuzz_configs,
    "manifests": fuzz_manifests,
    "states": fuzz_states,
}
