"""Folder translation: refusals before any work, failures of single inputs, ended runs."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from tests._helpers.commands import call
from tests._helpers.folders import draw, files, manifest
from tests._helpers.small_model import SIDE, save
from translate.inference.folder import FolderJob
from translate.inference.folder_options import FolderOptions
from translate.inference.manifest import NOT_REACHED, OUT_OF_MEMORY, STOPPED
from translate.inference.predictor import Predictor, Translations
from translate.inference.predictor_options import PredictorOptions
from translate.inference.translator import Translator
from translate.io import files as writing
from translate.io import images

# -- refusals --


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"to": "C"}, "--to C: .*A and B"),
        ({"source": "B"}, "both B"),
        ({"style": "nice"}, "style nice"),
        ({"style": "{tmp}/broken"}, "broken.png"),
        ({"style": "{tmp}/broken/broken.png"}, "broken.png"),
        ({"style": "{tmp}/nothing"}, "no exemplars"),
        ({"inputs": "{tmp}/missing"}, "missing: no such file or folder"),
        ({"inputs": "{tmp}/nothing"}, "nothing: no files"),
        ({"inputs": "/dev/null"}, "neither a file nor a folder"),
        ({"out": "{tmp}/in"}, "in: the output folder"),
        ({"out": "{tmp}/in/new/deep"}, "deep: the output folder"),
        ({"out": "{tmp}/link/new"}, "new: the output folder"),
        ({"out": "{tmp}"}, "the output folder"),
        ({"inputs": "{tmp}/in/a.png", "out": "{tmp}/in"}, "the output folder"),
        ({"inputs": "{tmp}/in/a.png", "out": "{tmp}/in/a.png"}, "the output folder"),
        ({"inputs": "{tmp}/bare/link.png", "out": "{tmp}/bare"}, "the output folder"),
        ({"inputs": "{tmp}/link", "out": "{tmp}/in"}, "the output folder"),
        ({"out": "{tmp}/file"}, "file: cannot be written"),
        ({"out": "{tmp}/file/out"}, "out: cannot be written"),
        ({"out": "{tmp}/circle"}, "circle: cannot be written"),
        ({"out": "{tmp}/taken"}, "taken: cannot be written"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(
    translator: Translator,
    tmp_path: Path,
    options: dict[str, str],
    named: str,
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
    options = {key: value.format(tmp=tmp_path) for key, value in options.items()}
    arguments = [options.pop(key) for key in ("inputs", "out", "to")]
    with pytest.raises(ValueError, match=named) as caught:
        translator.translate_folder(*arguments, FolderOptions(**options))
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_folder_without_permission_is_refused(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in" / "a.png")

    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(writing, "write_lines", denied)
    with pytest.raises(ValueError, match="out: .*Permission denied"):
        translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")


def test_nothing_is_written_through_links_inside_out(
    translator: Translator, tmp_path: Path
) -> None:
    draw(tmp_path / "in" / "sub" / "deep" / "a.png")
    draw(tmp_path / "in" / "b.png")
    kept = draw(tmp_path / "elsewhere" / "kept.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(kept.parent)
    (tmp_path / "out" / "b.png").symlink_to(kept)
    before = files(kept.parent)
    result = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(overwrite=True)
    )
    assert result.ok == 1
    assert result.failures[0][0] == "sub/deep/a.png"
    assert "symbolic link" in result.failures[0][1]
    assert files(kept.parent) == before
    assert not (tmp_path / "out" / "b.png").is_symlink()


def test_out_may_be_a_link_itself(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "s" / "a.png")
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert translator.translate_folder(tmp_path / "in", tmp_path / "out", "B").ok == 1
    assert files(tmp_path / "real").keys() == {"s/a.png"}


# -- failures of single inputs, and runs that are ended --


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
    result = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(overwrite=True)
    )
    reasons = dict(result.failures)
    assert reasons.keys() == {"b.png", "c.png", "d/x.png", "long.webp"}
    assert result.ok == 2
    assert "input/output error" in reasons["c.png"]
    assert not [name for name in files(tmp_path / "out") if name.endswith(".part")]


def test_an_input_whose_output_is_not_finite_fails_alone(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(inputs / "black.png").write_bytes(draw(tmp_path / "x.png").read_bytes())
    Image.new("RGB", (16, 16)).save(inputs / "black.png")
    forward = Predictor.forward

    def burst(self: Predictor, x: torch.Tensor, *rest: Any) -> Translations:
        black = (x.mean((1, 2, 3)) == -1)[None, :, None, None, None]
        y = forward(self, x, *rest)
        return y._replace(images=y.images.masked_fill(black, float("nan")))

    monkeypatch.setattr(Predictor, "forward", burst)
    result = translator.translate_folder(inputs, tmp_path / "out", "B")
    assert result.ok == 14
    assert "finite" in dict(result.failures)["black.png"]
    assert "black.png" not in files(tmp_path / "out")


def test_a_size_for_which_memory_runs_out_fails_alone(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Predictor.forward

    def small(self: Predictor, x: torch.Tensor, *rest: Any) -> Translations:
        if max(x.shape[2:]) > 60:
            raise torch.OutOfMemoryError("out of memory, tried to allocate much")
        return forward(self, x, *rest)

    monkeypatch.setattr(Predictor, "forward", small)
    result = translator.translate_folder(inputs, tmp_path / "out", "B")
    assert {"1.png", "2.png"} < dict(result.failures).keys()
    assert result.ok == 12
    assert manifest(tmp_path / "out")["1.png"]["reason"].startswith("out of memory")


@pytest.mark.parametrize("stage", ["decode", "translate"])
def test_running_out_of_memory_is_reported_with_its_remedy(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in" / "large.png", 64, 16)
    load = ImageFile.ImageFile.load
    forward = Predictor.forward

    def exhausted_load(self: ImageFile.ImageFile) -> Any:
        if self.width > 60:
            raise MemoryError
        return load(self)

    def exhausted_forward(self: Predictor, x: torch.Tensor, *rest: Any) -> Translations:
        if x.shape[3] > SIDE:
            raise MemoryError
        return forward(self, x, *rest)

    if stage == "decode":
        monkeypatch.setattr(ImageFile.ImageFile, "load", exhausted_load)
    else:
        monkeypatch.setattr(Predictor, "forward", exhausted_forward)
    result = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert result.ok == 1
    assert result.failures == [("large.png", OUT_OF_MEMORY)]

    model = save(tmp_path)
    exit_code, _, stderr = call("translate", model, tmp_path / "in", tmp_path / "o", "--to", "B")
    assert exit_code == 1
    assert f"large.png: {OUT_OF_MEMORY}" in stderr


def test_on_error_stop_finishes_what_came_before(translator: Translator, tmp_path: Path) -> None:
    for i in range(40):
        draw(tmp_path / "in" / f"{i:02}.png", 16 + i % 3 * 8, 16)
    (tmp_path / "in" / "07.png").write_text("broken")
    for workers in (1, 4):
        out = tmp_path / f"out{workers}"
        result = translator.translate_folder(
            tmp_path / "in", out, "B", FolderOptions(on_error="stop", batch_size=4, workers=workers)
        )
        assert (result.ok, result.failed, result.skipped) == (7, 1, 32)
        assert files(out).keys() == {f"{i:02}.png" for i in range(7)}
        assert manifest(out)["08.png"]["reason"] == STOPPED


def test_an_interrupted_run_leaves_a_valid_output_folder(
    translator: Translator, tmp_path: Path
) -> None:
    for i in range(60):
        draw(tmp_path / "in" / f"{i:02}.png", 16 + i % 3 * 8, 16)

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    threads = threading.active_count(), torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        translator.translate_folder(
            tmp_path / "in",
            tmp_path / "out",
            "B",
            FolderOptions(batch_size=2, workers=2),
            progress=interrupt,
        )
    assert (threading.active_count(), torch.get_num_threads()) == threads
    lines = manifest(tmp_path / "out")
    ok = {name for name, line in lines.items() if line["status"] == "ok"}
    assert len(lines) == 60
    assert 5 <= len(ok) < 60
    assert files(tmp_path / "out").keys() == ok
    assert {line["reason"] for name, line in lines.items() if name not in ok} == {NOT_REACHED}
    again = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(batch_size=2, skip_existing=True)
    )
    assert (again.ok, again.skipped) == (60 - len(ok), len(ok))


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_pictures_in_work(
    translator: Translator, tmp_path: Path, kind: signal.Signals
) -> None:
    for i in range(60):
        draw(tmp_path / "in" / f"{i:02}.png", 16, 16)
    counted = []

    def interrupt(done: float, total: int) -> None:
        counted.append(done)
        if done == 3:
            signal.raise_signal(kind)

    handler = signal.getsignal(kind)
    with pytest.raises(KeyboardInterrupt):
        translator.translate_folder(
            tmp_path / "in",
            tmp_path / "out",
            "B",
            FolderOptions(batch_size=2, workers=2),
            progress=interrupt,
        )
    assert signal.getsignal(kind) == handler
    ok = {name for name, line in manifest(tmp_path / "out").items() if line["status"] == "ok"}
    assert files(tmp_path / "out").keys() == ok
    assert 3 < len(ok) == counted[-1] < 60


def test_a_second_ctrl_c_ends_a_large_picture_within_a_strip(tmp_path: Path) -> None:
    save(tmp_path)
    translator = Translator.load(
        tmp_path / "model.safetensors", "cpu", PredictorOptions(scale="native", tile=16)
    )
    draw(tmp_path / "in" / "a.png", 160, 160)
    shares: list[float] = []

    def interrupt(done: float, total: int) -> None:
        shares.append(done)
        if 0.2 < done < 0.3 and len(shares) < 1000:
            os.kill(os.getpid(), signal.SIGINT)  # to the main thread, which waits

    with pytest.raises(KeyboardInterrupt):
        translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", progress=interrupt)
    assert max(shares) < 0.9
    assert not files(tmp_path / "out")
    assert manifest(tmp_path / "out")["a.png"]["reason"] == NOT_REACHED


def test_strips_of_a_large_picture_count(tmp_path: Path) -> None:
    save(tmp_path)
    translator = Translator.load(
        tmp_path / "model.safetensors", "cpu", PredictorOptions(scale="native", tile=16)
    )
    for name in "ab":
        draw(tmp_path / "in" / f"{name}.png", 120, 90)
    shares: list[float] = []
    translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", progress=lambda done, _: shares.append(done)
    )
    assert shares[0] == 0
    assert shares[-1] == 2
    assert len(shares) > 20
    steps = np.diff(shares)
    assert steps.min() > -0.05, "the work is estimated well"
    assert steps.max() < 0.3


def test_a_killed_run_leaves_no_line_about_outputs_it_may_have_replaced(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in" / "a.png")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    written: list[dict[str, Any]] = []

    def killed(*_: Any, **__: Any) -> None:
        written.append(manifest(tmp_path / "out")["a.png"])

    monkeypatch.setattr(FolderJob, "run", killed)
    translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(style="random", overwrite=True)
    )
    assert written[0]["status"] == "skipped"
    assert written[0]["key"] is None


def test_unfinished_files_of_a_killed_run_are_removed(
    translator: Translator, tmp_path: Path
) -> None:
    draw(tmp_path / "in" / "a.png")
    stale = [tmp_path / "out" / name for name in (".introshift-0.part", "old/.introshift-1.part")]
    kept = [tmp_path / "out" / name for name in ("my.part", "old/.introshift-notes")]
    for path in stale + kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert not any(path.exists() for path in stale)
    assert all(path.exists() for path in kept)


def test_what_becomes_a_link_or_a_pipe_after_the_scan_fails_alone(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "link.png", "pipe.png"):
        draw(tmp_path / "in" / name)
    secret = draw(tmp_path / "secret.png", seed=5)
    run = FolderJob.run

    def changed(self: FolderJob) -> None:
        for name in ("link.png", "pipe.png"):
            (tmp_path / "in" / name).unlink()
        (tmp_path / "in" / "link.png").symlink_to(secret)
        os.mkfifo(tmp_path / "in" / "pipe.png")
        run(self)

    monkeypatch.setattr(FolderJob, "run", changed)
    done = translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert done.ok == 1
    reasons = dict(done.failures)
    assert reasons["link.png"] == "has become a symbolic link"
    assert "not a regular file" in reasons["pipe.png"]
