"""Folder translation: batch-invariant outputs, styles, and bounded look-ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests._helpers.folders import build, draw, files, opened, pixels
from translate.inference.folder_options import FolderOptions
from translate.inference.folder_work import FolderWork
from translate.inference.translator import Translator
from translate.io import images

# -- pixels --


@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_kept_where_it_can_be(tmp_path: Path, channels: int) -> None:
    translator = build(tmp_path, channels, background=(200, 30, 30))
    for suffix in ("png", "webp", "tif", "jpg"):
        path = draw(tmp_path / "in" / f"{suffix}.png", 19, 33, "RGBA")
        translator.translate_folder(
            path,
            tmp_path / suffix,
            "B",
            FolderOptions(format="keep" if suffix == "tif" else suffix),
        )
        (name,) = files(tmp_path / suffix)
        image = opened(tmp_path / suffix / name)
        gray = channels == 1
        assert image.size == (19, 33)
        if suffix == "jpg":
            assert image.mode == ("L" if gray else "RGB")
            (opaque,) = translator.translate([opened(path)], "B")
            flat = np.asarray(opaque.convert("RGBA"))[..., :3].astype(int)
            assert np.abs(flat - np.asarray(image.convert("RGB"))).mean() < 6
        else:
            assert image.mode == ("RGBA" if not gray or suffix == "webp" else "LA")
            assert image.getchannel("A").tobytes() == opened(path).getchannel("A").tobytes()


def test_a_gray_model_writes_gray(tmp_path: Path) -> None:
    translator = build(tmp_path, 1)
    draw(tmp_path / "in" / "a.png", 30, 20)
    draw(tmp_path / "in" / "b.jpg", 30, 20)
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert [opened(tmp_path / "out" / name).mode for name in ("a.png", "b.jpg")] == ["L", "L"]


def test_batch_sizes_change_no_pixel_by_more_than_1(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    for batch_size in (1, 3, 7):
        options: Any = {"batch_size": batch_size, "format": "png", "style": "random"}
        translator.translate_folder(
            inputs, tmp_path / f"{batch_size}", "B", FolderOptions(**options)
        )
    for name in files(tmp_path / "1"):
        one, three, seven = (pixels(tmp_path / number / name).astype(int) for number in "137")
        assert max(np.abs(one - three).max(), np.abs(one - seven).max()) <= 1


@pytest.mark.parametrize("style", ["mean", "random"])
def test_outputs_do_not_depend_on_other_inputs_or_workers(
    translator: Translator, inputs: Path, tmp_path: Path, style: str
) -> None:
    options: Any = {"style": style, "seed": 5, "samples": 2}
    translator.translate_folder(inputs, tmp_path / "all", "B", FolderOptions(**options, workers=1))
    translator.translate_folder(inputs, tmp_path / "four", "B", FolderOptions(**options, workers=4))
    assert files(tmp_path / "all") == files(tmp_path / "four")
    for name in ("3.png", "5.png", "sub/photo.JPG"):
        alone = tmp_path / f"alone {Path(name).stem}"
        (alone / name).parent.mkdir(parents=True)
        (alone / name).write_bytes((inputs / name).read_bytes())
        translator.translate_folder(
            alone, tmp_path / f"out {Path(name).stem}", "B", FolderOptions(**options)
        )
        for output, data in files(tmp_path / f"out {Path(name).stem}").items():
            assert files(tmp_path / "all")[output] == data


# -- styles --


def test_random_styles_differ_by_path_seed_and_sample(
    translator: Translator, tmp_path: Path
) -> None:
    for name in ("a.png", "b.png", "s/a.png"):
        draw(tmp_path / "in" / name)
    seen: set[bytes] = set()
    for seed in (0, 1):
        out = tmp_path / f"{seed}"
        translator.translate_folder(
            tmp_path / "in", out, "B", FolderOptions(style="random", seed=seed, samples=2)
        )
        seen |= set(files(out).values())
    assert len(seen) == 12
    translator.translate_folder(tmp_path / "in", tmp_path / "mean", "B")
    assert len(set(files(tmp_path / "mean").values())) == 1


def test_an_input_takes_its_exemplars_by_name(translator: Translator, tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(12)]
    for name in names:
        draw(tmp_path / "in" / name)
    exemplars = [
        draw(tmp_path / "style" / "sub" / f"{i}.png", 20 + i, 30, seed=i) for i in range(3)
    ]
    singly = []
    for i, exemplar in enumerate(exemplars):
        translator.translate_folder(
            tmp_path / "in", tmp_path / f"s{i}", "B", FolderOptions(style=exemplar)
        )
        singly.append(set(files(tmp_path / f"s{i}").values()))
        assert len(singly[-1]) == 1
    kinds = [next(iter(kind)) for kind in singly]
    assert len(set(kinds)) == 3
    translator.translate_folder(
        tmp_path / "in",
        tmp_path / "all",
        "B",
        FolderOptions(style=str(tmp_path / "style"), samples=3),
    )
    written = files(tmp_path / "all")
    first = []
    for name in names:
        taken = [kinds.index(written[f"{Path(name).stem}_{k}.png"]) for k in (1, 2, 3)]
        assert sorted(taken) == [0, 1, 2]
        first.append(taken[0])
    assert len(set(first)) == 3
    (tmp_path / "in" / "0.png").unlink()
    translator.translate_folder(
        tmp_path / "in", tmp_path / "fewer", "B", FolderOptions(style=tmp_path / "style", samples=3)
    )
    assert files(tmp_path / "fewer").items() < written.items()


# -- stages --


def test_few_images_wait_at_any_time(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(150):
        draw(tmp_path / "in" / f"{i}.png", 16 + 4 * i, 16)
    alive = 0
    most = 0
    lock = threading.Lock()

    def counting(function: Callable[..., Any], step: int) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            nonlocal alive, most
            with lock:
                alive += step
                most = max(most, alive)
            return function(*arguments)

        return counted

    monkeypatch.setattr(FolderWork, "_read", counting(FolderWork._read, 1))
    monkeypatch.setattr(images, "write_image", counting(images.write_image, -1))
    result = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(batch_size=2, workers=2)
    )
    assert result.ok == 150
    assert alive == 0
    assert most <= 50
