"""`introshift bench translate`: compare folder translation with the bare model and its parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines._console import count_progress, result, table
from pipelines._options import Device, Json, ModelFile, Precision
from pipelines.bench._timer import benchmark_timer

if TYPE_CHECKING:
    from translate.inference.predictor import Prediction
    from translate.inference.translator import Translator
    from translate.io.images import UInt8

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MAX_MODEL_IMAGES = 512  # through the bare model, for each batch size
PHOTO = (1024, 768)
PARTS = ("decode", "resize", "model", "encode")


def command(
    model: ModelFile,
    images: Annotated[int, typer.Option(min=1, help="Square PNGs to translate.")] = 2000,
    size: Annotated[int, typer.Option(min=1, metavar="PX", help="Their side.")] = 64,
    photos: Annotated[int, typer.Option(min=1, help="JPEGs of 1024x768 to translate.")] = 100,
    device: Device = "auto",
    precision: Precision = "fp32",
    as_json: Json = False,
) -> None:
    """Compare folder translation with the bare model, and with the sum of its parts."""
    from translate.inference.predictor_options import PredictorOptions
    from translate.inference.translator import Translator
    from translate.runtime.affinity import usable_cores

    translator = Translator.load(model, device, PredictorOptions(precision))
    with TemporaryDirectory() as folder, count_progress("drawing") as progress:
        root = Path(folder)
        total = images + photos
        for i in range(total):
            if i < images:
                _draw(root / "png", i, (size, size))
            else:
                _draw(root / "jpg", i, PHOTO)
            progress(i + 1, total)
        png = _compare_with_the_model(translator, root / "png", size)
        jpeg = _compare_with_the_parts(translator, root / "jpg")

    data = {
        "model": str(model),
        "device": str(translator.predictor.device),
        "cores": usable_cores(),
        "png": png,
        "jpeg": jpeg,
    }
    text = "\n".join(
        [
            _png_table(f"{images} PNGs of {size} px", png),
            "",
            _jpeg_table(f"{photos} JPEGs of {PHOTO[0]}x{PHOTO[1]}", jpeg),
            f"{', '.join(PARTS)}: CPU seconds; there are {data['cores']} cores",
        ]
    )
    result(data, text, as_json)


def _draw(folder: Path, seed: int, size: tuple[int, int]) -> None:
    """Draw a smooth picture with some noise, as photographs have, into FOLDER/SEED.FOLDER."""
    import numpy as np
    from PIL import Image

    width, height = size
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.int16)
    noisy = smooth + rng.integers(-8, 9, (height, width, 1), dtype=np.int16)
    pixels = noisy.clip(0, 255).astype(np.uint8)

    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{seed:05}.{folder.name}", quality=90)


def _seconds_to_translate(translator: Translator, folder: Path) -> float:
    """Time a folder from looking for files to the manifest, after one picture as warm-up."""
    from translate.inference.folder_options import FolderOptions

    options = FolderOptions(source=translator.config.data.names[0], overwrite=True)
    target = translator.config.data.names[-1]
    first = min(folder.iterdir())
    translator.translate_folder(first, folder.parent / "warm", target, options)
    with count_progress(f"translating {folder.name}") as progress:
        out = folder.parent / f"{folder.name} out"
        return translator.translate_folder(folder, out, target, options, progress).seconds


def _compare_with_the_model(translator: Translator, folder: Path, size: int) -> dict[str, float]:
    """Measure images/s of a folder, and of the model alone at its best batch size."""
    count = len(list(folder.iterdir()))
    images_per_second = count / _seconds_to_translate(translator, folder)
    width, height = translator.predictor.model_size(size, size)
    rates = {}
    for batch in BATCHES:
        rounds = max(1, min(count, MAX_MODEL_IMAGES) // batch)
        rates[batch] = _model_rate(translator, batch, (height, width), rounds)

    best = max(rates, key=rates.__getitem__)
    return {
        "images_per_second": images_per_second,
        "model_images_per_second": rates[best],
        "model_batch": best,
        "share": images_per_second / rates[best],
    }


def _model_rate(translator: Translator, batch: int, size: tuple[int, int], rounds: int) -> float:
    """Measure images/s of the model alone, for batches that lie in memory."""
    import torch

    x = torch.zeros(batch, translator.config.data.channels, *size)
    z_s = torch.zeros(1, batch, translator.config.model.style_dim)
    timer = benchmark_timer(
        "forward(x, (0, 1), z_s).images.cpu()", forward=translator.predictor.forward, x=x, z_s=z_s
    )
    return batch / timer.timeit(rounds).mean


def _compare_with_the_parts(translator: Translator, folder: Path) -> dict[str, float]:
    """Measure seconds of a folder, and CPU seconds of each part of the work on one thread.

    Not by torch.utils.benchmark: it repeats one statement, but each part takes what the one before
    made, and every file is to be decoded, and written, once.
    """
    import torch

    from translate.io.images import read_image, write_image
    from translate.runtime.affinity import usable_cores

    seconds = _seconds_to_translate(translator, folder)
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        made = work()
        spent[part] += time.process_time() - start
        return made

    def predict_batch(pixels: list[UInt8]) -> list[Prediction]:
        return list(translator.predictor.predict_batch(pixels, (0, 1), z_s[:, : len(pixels)]))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    files = sorted(folder.iterdir())
    z_s = torch.zeros(1, translator.predictor.batch_size, translator.config.model.style_dim)
    for first in range(0, len(files), translator.predictor.batch_size):
        batch = files[first : first + translator.predictor.batch_size]
        pictures = [timed("decode", partial(read_image, file)) for file in batch]
        inputs = [
            timed("resize", partial(translator.predictor.preprocess, picture))
            for picture in pictures
        ]
        outputs = timed("model", partial(predict_batch, inputs))
        for file, (pixels, *_) in zip(batch, outputs, strict=True):
            full = timed("resize", partial(translator.predictor.postprocess, pixels[0], PHOTO))
            timed("encode", partial(write_image, folder.parent / file.name, full))
    torch.set_num_threads(threads)

    return {
        "seconds": seconds,
        **spent,
        "times_its_parts": seconds * usable_cores() / sum(spent.values()),
    }


def _png_table(name: str, png: dict[str, float]) -> str:
    head = ("", "images/s", "bare model", "batch", "share")
    cells = [
        f"{png['images_per_second']:.0f}",
        f"{png['model_images_per_second']:.0f}",
        str(png["model_batch"]),
        f"{png['share']:.2f}",
    ]
    return table(head, [[name, *cells]])


def _jpeg_table(name: str, jpeg: dict[str, float]) -> str:
    head = ("", "seconds", *PARTS, "times its parts")
    columns = ("seconds", *PARTS, "times_its_parts")
    return table(head, [[name, *(f"{jpeg[column]:.2f}" for column in columns)]])
