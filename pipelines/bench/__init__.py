"""`introshift bench`: how fast this machine is, against what its parts allow."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines._console import Device, Json, count_progress, result
from pipelines.bench import train as bench_train

if TYPE_CHECKING:
    from translate.inference.predictor import Prediction
    from translate.inference.translator import Translator
    from translate.io.images import UInt8

app = typer.Typer(help="Measure speed.", no_args_is_help=True)
app.command("train")(bench_train.command)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PHOTO = (1024, 768)


@app.command("translate")
def translate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors.")],
    images: Annotated[int, typer.Option(min=1, help="Square PNGs to translate.")] = 2000,
    size: Annotated[int, typer.Option(min=1, metavar="PX", help="Their side.")] = 64,
    photos: Annotated[int, typer.Option(min=1, help="JPEGs of 1024x768 to translate.")] = 100,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, 32 or bf16.")] = "32",
    as_json: Json = False,
) -> None:
    """Compare folder translation with the bare model, and with the sum of its parts."""
    from translate.inference.translator import Translator
    from translate.runtime.device import usable_cores

    translator = Translator.load(model, device, precision)
    with TemporaryDirectory() as folder, count_progress("drawing") as progress:
        made: dict[str, Any] = {
            "model": str(model),
            "device": str(translator.device),
            "cores": usable_cores(),
        }
        total = images + photos
        root = Path(folder)
        for i in range(total):
            small = i < images
            _draw(root / ("png" if small else "jpg"), i, (size, size) if small else PHOTO)
            progress(i + 1, total)
        made["png"] = _against_the_model(translator, root / "png", size)
        made["jpeg"] = _against_its_parts(translator, root / "jpg")
    png = made["png"]
    jpeg = made["jpeg"]
    text = (
        f"{images} PNGs of {size} px: {png['images_per_second']:.0f} images/s, the bare model "
        f"{png['model_images_per_second']:.0f} (batch {png['model_batch']}): share {png['share']:.2f}\n"
        f"{photos} JPEGs of 1024x768: {jpeg['seconds']:.2f} s; decode {jpeg['decode']:.2f}, resize "
        f"{jpeg['resize']:.2f}, model {jpeg['model']:.2f}, encode {jpeg['encode']:.2f} CPU s on {made['cores']} cores: "
        f"{jpeg['times_its_parts']:.2f} times its parts"
    )
    result(made, text, as_json)


def _draw(folder: Path, seed: int, size: tuple[int, int]) -> None:
    """A smooth picture with some noise, as photographs are."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    noisy = np.asarray(coarse, np.int16) + rng.integers(
        -8, 9, (size[1], size[0], 1), dtype=np.int16
    )
    folder.mkdir(exist_ok=True)
    kind = folder.name
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
        folder / f"{seed:05}.{kind}", quality=90
    )


def _translated(translator: Translator, folder: Path) -> float:
    """Seconds that a folder takes, from looking for files to the manifest, once the code is warm."""
    target = translator.config.data.names[-1]
    source = translator.config.data.names[0]
    first = min(folder.iterdir())
    translator.translate_folder(first, folder.parent / "warm", target, source)
    with count_progress(f"translating {folder.name}") as progress:
        out = folder.parent / f"{folder.name} out"
        return translator.translate_folder(folder, out, target, source, progress=progress).seconds


def _against_the_model(translator: Translator, folder: Path, size: int) -> dict[str, float]:
    import torch

    count = len(list(folder.iterdir()))
    seconds = _translated(translator, folder)
    width, height = translator.model_size(size, size)
    rates = {}
    for batch in BATCHES:
        x = torch.zeros(batch, translator.config.data.channels, height, width)
        z_s = torch.zeros(1, batch, translator.config.model.style_dim)
        rounds = max(1, min(count, 512) // batch)
        translator.run(x, 0, 1, z_s).cpu()
        begun = time.perf_counter()
        for _ in range(rounds):
            translator.run(x, 0, 1, z_s).cpu()
        rates[batch] = rounds * batch / (time.perf_counter() - begun)
    best = max(rates, key=rates.__getitem__)
    return {
        "images_per_second": count / seconds,
        "model_images_per_second": rates[best],
        "model_batch": best,
        "share": count / seconds / rates[best],
    }


def _against_its_parts(translator: Translator, folder: Path) -> dict[str, float]:
    import torch

    from translate.io.images import read_image, write_image
    from translate.runtime.device import usable_cores

    seconds = _translated(translator, folder)
    spent = dict.fromkeys(("decode", "resize", "model", "encode"), 0.0)

    def timed(part: str, work: Callable[[], Any]) -> Any:
        begun = time.process_time()
        made = work()
        spent[part] += time.process_time() - begun
        return made

    def predict_batch(pixels: list[UInt8]) -> list[Prediction]:
        return list(translator.predict_batch(pixels, (0, 1), z_s[:, : len(pixels)]))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    files = sorted(folder.iterdir())
    z_s = torch.zeros(1, translator.batch_size, translator.config.model.style_dim)
    for first in range(0, len(files), translator.batch_size):
        batch = files[first : first + translator.batch_size]
        pictures = [timed("decode", partial(read_image, file)) for file in batch]
        ready = [timed("resize", partial(translator.preprocess, picture)) for picture in pictures]
        made = timed("model", partial(predict_batch, ready))
        for file, (pixels, _) in zip(batch, made, strict=True):
            full = timed("resize", partial(translator.postprocess, pixels[0], PHOTO))
            timed("encode", partial(write_image, folder.parent / file.name, full))
    torch.set_num_threads(threads)
    return {
        "seconds": seconds,
        **spent,
        "times_its_parts": seconds * usable_cores() / sum(spent.values()),
    }
