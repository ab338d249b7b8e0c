"""Folder translation: every file accounted for, nothing outside OUT, the same bytes in whatever company."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import build, draw, files, manifest, opened, pixels
from PIL import Image

from translate import files as writing
from translate import folder as module
from translate import images
from translate.folder import Result, ahead
from translate.manifest import Entry, plan_outputs
from translate.translator import Translator


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return build(tmp_path_factory.mktemp("model"))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Good and bad files of many kinds, 14 good."""
    root = tmp_path / "in"
    for i, size in enumerate([(1, 1), (200, 50), (50, 200), (16, 16), (17, 16), (16, 16), (33, 20)]):
        draw(root / f"{i}.png", *size, seed=i)
    draw(root / "sub" / "deep er" / "ünï 図.png", 20, 20)
    draw(root / "sub" / "photo.JPG", 30, 20)
    draw(root / "sub" / "web.webp", 20, 31, "RGBA")
    draw(root / "gray.tif", 16, 16, "L")
    draw(root / "cmyk.jpeg", 16, 16, "CMYK")
    draw(root / "no suffix", 16, 16)
    draw(root / "page.gif", 16, 16, "P")
    (root / "empty.png").touch()
    (root / "notes.txt").write_text("hello")
    (root / "cut.png").write_bytes(draw(tmp_path / "whole.png", 40, 40).read_bytes()[:900])
    return root


# -- every file has its line -------------------------------------------------------------------------------------------


def test_every_file_has_its_line_and_every_good_one_its_output(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    before, out, calls = files(inputs), tmp_path / "out", []
    result = translator.translate_folder(inputs, out, "B", progress=lambda done, total: calls.append((done, total)))
    lines = manifest(out)
    assert lines.keys() == before.keys()
    assert (result.ok, result.skipped, result.failed) == (14, 0, 3) and result.seconds > 0
    assert [name for name, _ in result.failures] == ["cut.png", "empty.png", "notes.txt"]
    assert dict(result.failures) == {name: lines[name]["reason"] for name, _ in result.failures}
    assert lines["empty.png"]["reason"] == "empty file"
    assert calls == [(i, 17) for i in range(18)]
    assert files(out).keys() == {line["output"] for line in lines.values() if line["status"] == "ok"}
    for name, line in lines.items():
        assert list(line) == ["source", "output", "status", "reason", "width", "height", "warnings", "key"]
        if line["status"] == "ok":
            size = (line["width"], line["height"])
            assert opened(inputs / name).size == opened(out / line["output"]).size == size
            assert line["reason"] is None and line["key"]
        else:
            assert line["output"] is None and line["key"] is None and line["reason"]
    assert lines["sub/deep er/ünï 図.png"]["output"] == "sub/deep er/ünï 図.png"
    assert lines["no suffix"]["output"] == "no suffix.png"
    assert files(inputs) == before


def test_a_file_is_translated_as_in_memory(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    translator.translate_folder(inputs, tmp_path / "out", "B")
    for name in ("1.png", "4.png", "0.png"):
        (expected,) = translator.translate([opened(inputs / name).convert("RGB")], "B")
        difference = pixels(tmp_path / "out" / name)[..., :3].astype(int) - np.asarray(expected)
        assert np.abs(difference).max() <= 1


def test_links_and_other_things_are_told_and_not_followed(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tmp_path / "in", draw(tmp_path / "elsewhere" / "secret.png")
    draw(root / "a.png")
    (root / "link.png").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    (root / "nowhere.png").symlink_to("missing")
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe.png")
    result = translator.translate_folder(root, tmp_path / "out", "B")
    lines = manifest(tmp_path / "out")
    assert lines.keys() == {"a.png", "link.png", "folder", "nowhere.png", "circle", "pipe.png"}
    assert [line["status"] for line in lines.values()].count("skipped") == result.skipped == 5
    assert lines["link.png"]["reason"] == lines["folder"]["reason"] == "symbolic link"
    assert lines["pipe.png"]["reason"] == "not a regular file"
    assert files(tmp_path / "out").keys() == {"a.png"}


def test_a_folder_that_cannot_be_listed_is_a_failure(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in" / "closed" / "b.png")
    scandir = os.scandir

    def closed(path: str) -> Any:
        if os.fspath(path).endswith(("closed", "shut")):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    lstat = Path.lstat

    def denied(path: Path) -> os.stat_result:
        if path.name == "gone.png":
            raise PermissionError(13, "Permission denied")
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", denied)
    (tmp_path / "in" / "gone.png").touch()
    result = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert result.failures == [("closed", "cannot be listed: permission denied"), ("gone.png", "empty file")]
    assert result.ok == 1
    (tmp_path / "shut").mkdir()
    with pytest.raises(ValueError, match="shut: cannot be listed"):
        translator.translate_folder(tmp_path / "shut", tmp_path / "out2", "B")


def test_odd_names(translator: Translator, tmp_path: Path) -> None:
    names = ["new\nline.png", " .png", "ls\u2028.png", "-rf.png", "'\"%s.png", ".hidden.png", ".introshift-x.part"]
    for name in names:
        draw(tmp_path / "in" / name)
    with open(os.fsencode(tmp_path / "in") + b"/b\xff.png", "wb") as file:
        file.write((tmp_path / "in" / names[0]).read_bytes())
    result = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", style="random")
    assert (result.ok, result.failed) == (len(names) + 1, 0)
    assert {*names[:-1], "b\udcff.png", ".introshift-x.png"} == files(tmp_path / "out").keys()


def test_one_file_alone(translator: Translator, tmp_path: Path) -> None:
    path = draw(tmp_path / "in" / "a.png", 40, 20)
    draw(tmp_path / "in" / "b.png")
    (tmp_path / "link.png").symlink_to(path)
    assert translator.translate_folder(path, tmp_path / "out", "B").ok == 1
    assert files(tmp_path / "out").keys() == manifest(tmp_path / "out").keys() == {"a.png"}
    assert translator.translate_folder(tmp_path / "link.png", tmp_path / "out2", "B").ok == 1
    assert (tmp_path / "out2" / "link.png").read_bytes() == (tmp_path / "out" / "a.png").read_bytes()


def test_warnings_are_kept(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "line.png", 600, 2)
    (tmp_path / "in" / "misnamed.png").write_bytes(draw(tmp_path / "x.jpg", 20, 20).read_bytes())
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    lines = manifest(tmp_path / "out")
    assert "squeezed" in lines["line.png"]["warnings"][0] and "JPEG" in lines["misnamed.png"]["warnings"][0]
    assert opened(tmp_path / "out" / "misnamed.png").format == "PNG"


def test_too_many_pixels(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", 20, 20)
    draw(tmp_path / "in" / "b.png", 20, 21)
    result = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", max_pixels=400)
    assert result.ok == 1 and result.failures[0][0] == "b.png" and "max-pixels" in result.failures[0][1]


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "options", "expected"),
    [
        (["a.jpg", "a.png"], (".png", "", 1), ["a.jpg.png", "a.png"]),
        (["a.bmp", "a.jpg"], (".png", "", 1), ["a.png", "a.jpg.png"]),
        (["a.jpg", "a.jpg.png", "a.png"], (".png", "", 1), ["a.jpg-2.png", "a.jpg.png", "a.png"]),
        (["A.png", "a.png"], ("", "", 1), ["A.png", "a.png.png"]),
        (["X/a.png", "x/a.png"], ("", "", 1), ["X/a.png", "x/a.png.png"]),
        (["\u00fc.png", "u\u0308.png"], ("", "", 1), ["\u00fc.png.png", "u\u0308.png"]),
        (["a.JPG", "b.txt", "c", "d.jfif"], ("", "", 1), ["a.JPG", "b.png", "c.png", "d.jfif"]),
        (["s/a.jpg", "s/a.png"], (".webp", "_B", 1), ["s/a_B.webp", "s/a.png_B.webp"]),
        (["a.png"], ("", "_B", 2), ["a_B_1.png a_B_2.png"]),
        (["a.png", "a_1.png"], ("", "", 2), ["a_1.png a_2.png", "a_1_1.png a_1_2.png"]),
        (["a.jpg", "a.png"], (".png", "", 2), ["a.jpg_1.png a.jpg_2.png", "a_1.png a_2.png"]),
        (["a", "a.png/b.jpg"], ("", "", 1), ["a-2.png", "a.png/b.jpg"]),
        ([".png", "..png"], ("", "", 1), [".png.png", "..png"]),
    ],
)
def test_outputs_never_meet(sources: list[str], options: tuple[str, str, int], expected: list[str]) -> None:
    for order in itertools.permutations(sources):
        plan = plan_outputs(order, *options)
        assert [" ".join(plan[source]) for source in sources] == expected


def test_clashing_inputs_are_told_apart_even_if_one_fails(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "a.png").write_text("broken")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", format="png")
    assert files(tmp_path / "out").keys() == {"a.jpg.png"}


@pytest.mark.parametrize(("format", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_formats_and_suffix(translator: Translator, inputs: Path, tmp_path: Path, format: str, kind: str) -> None:
    translator.translate_folder(inputs, tmp_path / "out", "B", format=format, suffix="_B")
    written = [line["output"] for line in manifest(tmp_path / "out").values() if line["output"]]
    assert len(written) == 14 and all(name.endswith(f"_B.{format}") for name in written)
    assert {opened(tmp_path / "out" / name).format for name in written} == {kind}


@pytest.mark.parametrize("suffix", sorted(images.SUFFIXES))
def test_keep_writes_what_the_name_says(translator: Translator, tmp_path: Path, suffix: str) -> None:
    draw(tmp_path / "in" / f"a{suffix}", mode="L")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert opened(tmp_path / "out" / f"a{suffix}").format == images.SUFFIXES[suffix]


def test_samples(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    result = translator.translate_folder(inputs, tmp_path / "out", "B", style="random", samples=3, suffix="-")
    line = manifest(tmp_path / "out")["1.png"]
    assert result.ok == 14 and line["output"] == ["1-_1.png", "1-_2.png", "1-_3.png"]
    written = files(tmp_path / "out")
    assert len(written) == 42 and len({written[name] for name in line["output"]}) == 3


# -- pixels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_kept_where_it_can_be(tmp_path: Path, channels: int) -> None:
    translator = build(tmp_path, channels, background=(200, 30, 30))
    for suffix in ("png", "webp", "tif", "jpg"):
        path = draw(tmp_path / "in" / f"{suffix}.png", 19, 33, "RGBA")
        translator.translate_folder(path, tmp_path / suffix, "B", format="keep" if suffix == "tif" else suffix)
        (name,) = files(tmp_path / suffix)
        image, gray = opened(tmp_path / suffix / name), channels == 1
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


def test_batch_sizes_agree(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    for batch_size in (1, 3, 7):
        options: Any = {"batch_size": batch_size, "format": "png", "style": "random"}
        translator.translate_folder(inputs, tmp_path / f"{batch_size}", "B", **options)
    for name in files(tmp_path / "1"):
        one, three, seven = (pixels(tmp_path / number / name).astype(int) for number in "137")
        assert max(np.abs(one - three).max(), np.abs(one - seven).max()) <= 1


@pytest.mark.parametrize("style", ["mean", "random"])
def test_the_same_bytes_in_whatever_company(translator: Translator, inputs: Path, tmp_path: Path, style: str) -> None:
    options: Any = {"style": style, "seed": 5, "samples": 2}
    translator.translate_folder(inputs, tmp_path / "all", "B", **options, workers=1)
    translator.translate_folder(inputs, tmp_path / "four", "B", **options, workers=4)
    assert files(tmp_path / "all") == files(tmp_path / "four")
    for name in ("3.png", "5.png", "sub/photo.JPG"):
        alone = tmp_path / f"alone {Path(name).stem}"
        (alone / name).parent.mkdir(parents=True)
        (alone / name).write_bytes((inputs / name).read_bytes())
        translator.translate_folder(alone, tmp_path / f"out {Path(name).stem}", "B", **options)
        for output, data in files(tmp_path / f"out {Path(name).stem}").items():
            assert files(tmp_path / "all")[output] == data


# -- styles ------------------------------------------------------------------------------------------------------------


def test_random_styles_differ_by_path_seed_and_sample(translator: Translator, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "s/a.png"):
        draw(tmp_path / "in" / name)
    seen: set[bytes] = set()
    for seed in (0, 1):
        out = tmp_path / f"{seed}"
        translator.translate_folder(tmp_path / "in", out, "B", style="random", seed=seed, samples=2)
        seen |= set(files(out).values())
    assert len(seen) == 12
    translator.translate_folder(tmp_path / "in", tmp_path / "mean", "B")
    assert len(set(files(tmp_path / "mean").values())) == 1


def test_exemplars(translator: Translator, tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(12)]
    for name in names:
        draw(tmp_path / "in" / name)
    exemplars = [draw(tmp_path / "style" / "sub" / f"{i}.png", 20 + i, 30, seed=i) for i in range(3)]
    singly = []
    for i, exemplar in enumerate(exemplars):
        translator.translate_folder(tmp_path / "in", tmp_path / f"s{i}", "B", style=exemplar)
        singly.append(set(files(tmp_path / f"s{i}").values()))
        assert len(singly[-1]) == 1
    kinds = [next(iter(kind)) for kind in singly]
    assert len(set(kinds)) == 3
    translator.translate_folder(tmp_path / "in", tmp_path / "all", "B", style=str(tmp_path / "style"), samples=3)
    written, first = files(tmp_path / "all"), []
    for name in names:
        taken = [kinds.index(written[f"{Path(name).stem}_{k}.png"]) for k in (1, 2, 3)]
        assert sorted(taken) == [0, 1, 2]
        first.append(taken[0])
    assert len(set(first)) == 3
    (tmp_path / "in" / "0.png").unlink()
    translator.translate_folder(tmp_path / "in", tmp_path / "fewer", "B", style=tmp_path / "style", samples=3)
    assert files(tmp_path / "fewer").items() < written.items()


# -- refusals before any work ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"to": "C"}, "A, B"),
        ({"source": "B"}, "both B"),
        ({"format": "tga"}, "format tga"),
        ({"on_error": "cry"}, "on_error cry"),
        ({"suffix": "/../x"}, "suffix"),
        ({"samples": 0}, "samples 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"workers": 0}, "workers 0"),
        ({"style": "nice"}, "style nice"),
        ({"style": "{tmp}/broken"}, "broken.png"),
        ({"style": "{tmp}/broken/broken.png"}, "broken.png"),
        ({"style": "{tmp}/nothing"}, "no exemplars"),
        ({"inputs": "{tmp}/missing"}, "missing: no such file or folder"),
        ({"inputs": "{tmp}/nothing"}, "nothing: no files"),
        ({"inputs": "/dev/null"}, "neither a file nor a folder"),
        ({"out": "{tmp}/in"}, "in: outputs"),
        ({"out": "{tmp}/in/new/deep"}, "deep: outputs"),
        ({"out": "{tmp}/link/new"}, "new: outputs"),
        ({"out": "{tmp}"}, "outputs"),
        ({"inputs": "{tmp}/in/a.png", "out": "{tmp}/in"}, "outputs"),
        ({"inputs": "{tmp}/in/a.png", "out": "{tmp}/in/a.png"}, "outputs"),
        ({"inputs": "{tmp}/bare/link.png", "out": "{tmp}/bare"}, "outputs"),
        ({"inputs": "{tmp}/link", "out": "{tmp}/in"}, "outputs"),
        ({"out": "{tmp}/file"}, "file: cannot be written"),
        ({"out": "{tmp}/file/out"}, "out: cannot be written"),
        ({"out": "{tmp}/circle"}, "circle: cannot be written"),
        ({"out": "{tmp}/taken"}, "taken: cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    translator: Translator, tmp_path: Path, options: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "broken" / "good.png")
    (tmp_path / "broken" / "broken.png").write_text("no image")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "link.png").symlink_to(tmp_path / "in" / "a.png")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "taken" / "manifest.jsonl").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    options = {"inputs": "{tmp}/in", "out": "{tmp}/out", "to": "B"} | options
    options = {k: v.format(tmp=tmp_path) if isinstance(v, str) else v for k, v in options.items()}
    with pytest.raises(ValueError, match=named) as caught:
        translator.translate_folder(**options)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_folder_without_permission_is_refused(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in" / "a.png")

    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(writing, "write_text", denied)
    with pytest.raises(ValueError, match="out: cannot be written .Permission denied"):
        translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")


def test_nothing_is_written_through_links_inside_out(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "sub" / "deep" / "a.png")
    draw(tmp_path / "in" / "b.png")
    kept = draw(tmp_path / "elsewhere" / "kept.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(kept.parent)
    (tmp_path / "out" / "b.png").symlink_to(kept)
    before = files(kept.parent)
    result = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert result.ok == 1 and result.failures[0][0] == "sub/deep/a.png" and "symbolic link" in result.failures[0][1]
    assert files(kept.parent) == before and not (tmp_path / "out" / "b.png").is_symlink()


def test_out_may_be_a_link_itself(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "s" / "a.png")
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert translator.translate_folder(tmp_path / "in", tmp_path / "out", "B").ok == 1
    assert files(tmp_path / "real").keys() == {"s/a.png"}


# -- what goes wrong on the way ----------------------------------------------------------------------------------------


def test_an_output_that_cannot_be_written_fails_alone(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "c.png", "d/x.png", "e.webp"):
        draw(tmp_path / "in" / name)
    draw(tmp_path / "long.png", 17000, 1).rename(tmp_path / "in" / "long.webp")
    (tmp_path / "out" / "b.png").mkdir(parents=True)
    (tmp_path / "out" / "d").touch()
    write = images.write_image

    def full(path: Path, *rest: Any) -> None:
        if path.name == "c.png":
            raise OSError(5, "Input/output error")
        write(path, *rest)

    monkeypatch.setattr(images, "write_image", full)
    result = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    reasons = dict(result.failures)
    assert reasons.keys() == {"b.png", "c.png", "d/x.png", "long.webp"} and result.ok == 2
    assert reasons["c.png"] == "cannot be written: input/output error"
    assert not [name for name in files(tmp_path / "out") if name.endswith(".part")]


def test_values_that_are_not_finite_fail_alone(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(inputs / "black.png").write_bytes(draw(tmp_path / "x.png").read_bytes())
    Image.new("RGB", (16, 16)).save(inputs / "black.png")
    run = Translator.run

    def burst(self: Translator, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        return run(self, x, *rest).masked_fill((x.mean((1, 2, 3)) == -1)[None, :, None, None, None], float("nan"))

    monkeypatch.setattr(Translator, "run", burst)
    result = translator.translate_folder(inputs, tmp_path / "out", "B")
    assert result.ok == 14 and "finite" in dict(result.failures)["black.png"]
    assert "black.png" not in files(tmp_path / "out")


def test_a_model_out_of_memory_fails_that_size_alone(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Translator.run

    def small(self: Translator, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        if max(x.shape[2:]) > 60:
            raise torch.OutOfMemoryError("out of memory, tried to allocate much")
        return run(self, x, *rest)

    monkeypatch.setattr(Translator, "run", small)
    result = translator.translate_folder(inputs, tmp_path / "out", "B")
    assert {"1.png", "2.png"} < dict(result.failures).keys() and result.ok == 12
    assert manifest(tmp_path / "out")["1.png"]["reason"].startswith("out of memory")


def test_on_error_stop_finishes_what_came_before(translator: Translator, tmp_path: Path) -> None:
    for i in range(40):
        draw(tmp_path / "in" / f"{i:02}.png", 16 + i % 3 * 8, 16)
    (tmp_path / "in" / "07.png").write_text("broken")
    for workers in (1, 4):
        out = tmp_path / f"out{workers}"
        result = translator.translate_folder(tmp_path / "in", out, "B", on_error="stop", batch_size=4, workers=workers)
        assert (result.ok, result.failed, result.skipped) == (7, 1, 32)
        assert files(out).keys() == {f"{i:02}.png" for i in range(7)}
        assert "stopped" in manifest(out)["08.png"]["reason"]


def test_an_interrupt_leaves_a_valid_out(translator: Translator, tmp_path: Path) -> None:
    for i in range(60):
        draw(tmp_path / "in" / f"{i:02}.png", 16 + i % 3 * 8, 16)

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    threads = threading.active_count(), torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", batch_size=2, workers=2, progress=interrupt)
    assert (threading.active_count(), torch.get_num_threads()) == threads
    lines = manifest(tmp_path / "out")
    ok = {name for name, line in lines.items() if line["status"] == "ok"}
    assert len(lines) == 60 and 5 <= len(ok) < 60 and files(tmp_path / "out").keys() == ok
    assert {line["reason"] for name, line in lines.items() if name not in ok} == {"interrupted"}
    again = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", batch_size=2, skip_existing=True)
    assert (again.ok, again.skipped) == (60 - len(ok), len(ok))


def test_a_killed_run_leaves_no_word_of_what_it_may_have_replaced(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in" / "a.png")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    written: list[dict[str, Any]] = []

    def killed(*_: Any, **__: Any) -> None:
        written.append(manifest(tmp_path / "out")["a.png"])

    monkeypatch.setattr(module, "_work", killed)
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", style="random")
    assert written[0]["status"] == "skipped" and written[0]["key"] is None


def test_unfinished_files_of_a_killed_run_are_removed(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    stale = [tmp_path / "out" / name for name in (".introshift-0.part", "old/.introshift-1.part")]
    kept = [tmp_path / "out" / name for name in ("my.part", "old/.introshift-notes")]
    for path in stale + kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert not any(path.exists() for path in stale) and all(path.exists() for path in kept)


# -- skipping what is done ---------------------------------------------------------------------------------------------


def test_skip_existing_does_only_what_is_missing(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def run(model: Translator = translator, **options: Any) -> Result:
        return model.translate_folder(inputs, out, "B", skip_existing=True, **options)

    def redone(result: Result) -> set[str]:
        assert result.failed == 3 and result.ok + result.skipped == 14
        return {name for name, line in manifest(out).items() if line["status"] == "ok"}

    assert run().ok == 14
    first, lines = files(out), manifest(out)
    stamps = {name: (out / name).stat().st_mtime_ns for name in first}
    for _ in range(2):
        assert redone(run()) == set()
    assert {name: (out / name).stat().st_mtime_ns for name in first} == stamps
    for name, line in manifest(out).items():
        if line["status"] == "skipped":
            assert line == lines[name] | {"status": "skipped", "reason": "up to date"}
    (out / "3.png").unlink()
    os.utime(inputs / "4.png", ns=(0, 0))
    draw(inputs / "5.png", 16, 18)
    assert redone(run()) == {"3.png", "4.png", "5.png"}
    assert redone(run(seed=9)) == set()  # the mean style knows no seed
    assert redone(run(batch_size=3)) == set()
    assert len(redone(run(style="random"))) == 14
    assert len(redone(run(style="random", seed=9))) == 14
    assert len(redone(run(style="random", seed=9, suffix="-"))) == 14
    assert len(redone(run(build(tmp_path, seed=4), style="random", seed=9, suffix="-"))) == 14
    assert len(redone(run())) == 14
    assert len(redone(run(samples=2))) == 14
    (out / "3_2.png").unlink()
    assert redone(run(samples=2)) == {"3.png"}


def test_existing_files_alone_prove_nothing(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    translator.translate_folder(inputs, out, "B")
    for text in (None, "", "{}\n", "[1]\n", '{"source": "3.png"}\n', "null\n", "\xff"):
        if text is None:
            (out / "manifest.jsonl").unlink()
        else:
            (out / "manifest.jsonl").write_bytes(text.encode("latin-1"))
        assert translator.translate_folder(inputs, out, "B", skip_existing=True).ok == 14


def test_without_skip_existing_all_is_done_again(translator: Translator, inputs: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert translator.translate_folder(inputs, tmp_path / "out", "B").ok == 14


# -- stages ------------------------------------------------------------------------------------------------------------


def test_few_images_wait_at_any_time(translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(150):
        draw(tmp_path / "in" / f"{i}.png", 16 + 4 * i, 16)
    alive, most, lock = 0, 0, threading.Lock()

    def counting(function: Callable[..., Any], step: int) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            nonlocal alive, most
            with lock:
                alive += step
                most = max(most, alive)
            return function(*arguments)

        return counted

    monkeypatch.setattr(images, "read_image", counting(images.read_image, 1))
    monkeypatch.setattr(images, "write_image", counting(images.write_image, -1))
    result = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", batch_size=2, workers=2)
    assert result.ok == 150 and alive == 0 and most <= 50


def test_ahead_keeps_order_and_distance() -> None:
    begun = []

    def work(i: int) -> int:
        begun.append(i)
        time.sleep(0.001 * (i % 3))
        return -i

    with ThreadPoolExecutor(4) as pool:
        for n, (i, future) in enumerate(ahead(pool, work, range(20), 5)):
            assert (i, future.result()) == (n, -n) and len(begun) <= n + 6
    assert len(begun) == 20


def test_a_line_without_output_has_no_key() -> None:
    line = json.loads(Entry("a.png", outputs=("a.png",), key="k").line())
    assert line["output"] is None and line["key"] is None
