"""Makes the golden files: what the code of version 0.1.0, before it was moved into rooms, wrote
and computed.

They are not made anew: a later version must still read them and give the same pictures
(`test_golden.py`). The script is kept to show what they are; it ran at commit cefaf85 as
`PYTHONPATH=tests python tests/golden/make.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import small_model
import torch
from PIL import Image
from trainings import run, settings

from translate.images import write_image
from translate.inference.predictor_options import PredictorOptions
from translate.sampling import sample
from translate.translator import Translator

HERE = Path(__file__).parent
PICTURES = ((16, 16), (40, 24), (23, 31))
STEPS = 4
NET = {"width": 8, "style_dim": 4, "condition": 8}


def main() -> None:
    torch.set_num_threads(1)
    for i, size in enumerate(PICTURES):
        coarse = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8)
        picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        (HERE / "inputs").mkdir(exist_ok=True)
        picture.save(HERE / "inputs" / f"{i}.png")
    two, one = (HERE / f"{name}.safetensors" for name in ("two_domains", "one_domain"))
    shutil.move(small_model.save(HERE), two)
    shutil.move(small_model.save(HERE, domains=("A",)), one)
    translator = Translator.load(two, "cpu", PredictorOptions(tile=16))
    for style in ("mean", "random"):
        translator.translate_folder(
            HERE / "inputs", HERE / "two_domains" / style, "B", style=style, seed=5
        )
    single = Translator.load(one, "cpu")
    (HERE / "one_domain" / "samples").mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(sample(single, "A", 3, seed=5)):
        write_image(HERE / "one_domain" / "samples" / f"{i}.png", pixels)
    single.translate_folder(
        HERE / "inputs", HERE / "one_domain" / "reconstructions", "A", style="own"
    )
    config = settings(train={"steps": 2 * STEPS, "warmup": 0.25, "checkpoint_every": STEPS})
    trainer = run(config, HERE / "run")
    shutil.copy(trainer.out / "last.safetensors", HERE / "last.safetensors")
    for path in [*trainer.out.iterdir()]:
        if path.name not in ("state", "config.yaml"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (trainer.out / "state" / f"step_{2 * STEPS:07d}.safetensors").unlink()


main()
