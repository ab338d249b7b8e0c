"""One picture to one file or to standard output."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.commands import call
from tests._helpers.folders import draw, files
from tests._helpers.small_model import save
from translate.inference.folder_options import FolderOptions
from translate.inference.single import translate_picture
from translate.inference.translator import Translator
from translate.io.images import ImageError, read_image


@pytest.mark.parametrize("options", [{}, {"style": "random", "seed": 4}])
def test_the_pixels_are_those_of_a_folder(
    translator: Translator, tmp_path: Path, options: dict[str, object]
) -> None:
    path = draw(tmp_path / "in" / "a.png", 40, 20, "RGBA")
    chosen = FolderOptions(**options)  # type: ignore[arg-type]
    translator.translate_folder(path, tmp_path / "out", "B", chosen)
    made = translate_picture(translator.predictor, path, "b", chosen)
    in_folder = read_image(tmp_path / "out" / "a.png")
    assert np.array_equal(made.pixels, in_folder.pixels)
    assert made.alpha is not None
    assert in_folder.alpha is not None
    assert np.array_equal(made.alpha, in_folder.alpha)
    assert (made.source, made.to) == ("A", "B")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples", 2),
        ("suffix", "_B"),
        ("skip_existing", True),
        ("preview", True),
        ("shard", (1, 2)),
    ],
)
def test_what_is_about_folders_is_refused(
    translator: Translator, tmp_path: Path, name: str, value: object
) -> None:
    path = draw(tmp_path / "a.png")
    options = FolderOptions(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')}: .*folder"):
        translate_picture(translator.predictor, path, "B", options)


def test_a_broken_picture_is_an_error_of_its_own(translator: Translator, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(ImageError):
        translate_picture(translator.predictor, tmp_path / "a.png", "B")


def test_the_command_writes_one_file_and_no_other(tmp_path: Path) -> None:
    model = save(tmp_path)
    picture = draw(tmp_path / "in" / "a.png", 40, 20)
    out = tmp_path / "new" / "b.jpg"
    words = ("translate", model, picture, out, "--to", "B")
    code, stdout, stderr = call(*words, "--json")
    assert code == 0, stderr
    said = json.loads(stdout)
    assert (said["out"], said["to"], said["width"], said["height"]) == (str(out), "B", 40, 20)
    assert files(tmp_path / "new").keys() == {"b.jpg"}
    assert not (tmp_path / "new" / "manifest.jsonl").exists()
    assert read_image(out).format == "JPEG"

    code, _, stderr = call(*words)
    assert code == 2
    assert "--overwrite" in stderr
    assert call(*words, "--overwrite", "--quality", 10)[0] == 0

    (tmp_path / "in" / "cut.png").write_bytes(picture.read_bytes()[:70])
    code, _, stderr = call("translate", model, tmp_path / "in" / "cut.png", tmp_path / "c.png")
    assert code == 1
    assert "cut.png" in stderr
    assert not (tmp_path / "c.png").exists()


def test_the_command_writes_to_standard_output(tmp_path: Path) -> None:
    model = save(tmp_path)
    picture = draw(tmp_path / "a.webp", 40, 20)
    words = ["translate", str(model), str(picture), "-", "--to", "B"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout_bytes)) as image:
        assert (image.format, image.size) == ("WEBP", (40, 20))
    done = CliRunner().invoke(app, [*words, "--format", "png"])
    assert done.stdout_bytes.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("inputs", "out", "options", "named"),
    [
        (["a.png"], "o.xyz", [], ".xyz"),
        (["a.png"], "a.png", ["--overwrite"], "is the input"),
        (["a.png", "b.png"], "o.png", [], "o.png: takes one picture"),
        (["a.png", "b.png"], "-", [], "-: takes one picture"),
        (["."], "-", [], "-: takes one picture"),
        (["a.png"], "-", ["--json"], "--json"),
        (["a.png"], "o.png", ["--format", "jpg"], "--format jpg"),
        (["a.png"], "o.png", ["--samples", "2"], "--samples"),
        (["a.png", "-"], "o", [], "-: "),
        (["a.png", "sub"], "o", [], "sub: a folder"),
        (["a.png"], "o", ["-0"], "--null"),
    ],
)
def test_the_command_refuses_what_cannot_be_meant(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: list[str],
    out: str,
    options: list[str],
    named: str,
) -> None:
    model = save(tmp_path)
    for name in ("a.png", "b.png", "sub/c.png"):
        draw(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path / "in")
    before = files(tmp_path)
    code, _, stderr = call("translate", model, *inputs, out, "--to", "B", *options)
    assert code == 2
    assert named in stderr
    assert files(tmp_path) == before
