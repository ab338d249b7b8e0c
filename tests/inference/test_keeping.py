"""Metadata on its way through a translation: kept, stripped, and said where it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import AppendingTiffWriter
from typer.testing import CliRunner

from pipelines.cli import app
from tests._helpers.commands import call
from tests._helpers.encoders import matrix_profile
from tests._helpers.folders import build, draw, files, manifest
from tests._helpers.frames import KINDS, animation
from tests._helpers.metadata import (
    FIRST,
    GEOTIFF,
    GPS,
    INNER,
    XMP,
    directory,
    exif_block,
    exif_of,
    opened,
    source,
    stored,
)
from tests._helpers.small_model import save
from translate.inference.folder_options import FolderOptions
from translate.inference.single import translate_picture
from translate.inference.translator import Translator
from translate.io.images import read_image
from translate.io.metadata.record import HELD


def test_a_folder_keeps_metadata_and_names_what_is_lost(
    translator: Translator, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    source(tmp_path / "in" / "a.jpg", "JPEG", 6)
    source(tmp_path / "in" / "b.tif", "TIFF")
    source(tmp_path / "in" / "c.gif", "GIF")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    first, inner, gps = exif_of((tmp_path / "out" / "a.jpg").read_bytes())
    assert {tag: first[tag] for tag in FIRST} == FIRST
    assert (first[274], gps) == (1, GPS)
    assert {tag: inner[tag] for tag in INNER} == INNER
    made = opened((tmp_path / "out" / "a.jpg").read_bytes())
    assert (made.info["xmp"], made.info["comment"]) == (XMP % 1, b"a comment")
    tags = opened((tmp_path / "out" / "b.tif").read_bytes()).tag_v2  # type: ignore[attr-defined]
    assert {tag: tags[tag] for tag in GEOTIFF} == {tag: GEOTIFF[tag][1] for tag in GEOTIFF}
    lines = manifest(tmp_path / "out")
    assert [lines[name]["warnings"] for name in ("a.jpg", "b.tif")] == [[], []]
    assert lines["c.gif"]["warnings"] == ["the colours were reduced to the 256 of a GIF"]

    png = FolderOptions(format="png")
    translator.translate_folder(tmp_path / "in", tmp_path / "png", "B", png)
    said = manifest(tmp_path / "png")["a.jpg"]["warnings"]
    assert said == ["not kept in a PNG: IPTC"]


def test_strip_writes_the_bytes_of_a_picture_without_metadata(
    translator: Translator, tmp_path: Path
) -> None:
    for folder in ("in", "bare"):
        (tmp_path / folder).mkdir()
    for kind, name in (("PNG", "b.png"), ("TIFF", "c.tif")):
        path = source(tmp_path / "in" / name, kind)
        Image.fromarray(read_image(path).pixels).save(tmp_path / "bare" / name)
    strip = FolderOptions(strip=True)
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", strip)
    translator.translate_folder(tmp_path / "bare", tmp_path / "expected", "B")
    assert files(tmp_path / "out") == files(tmp_path / "expected")
    assert all(line["warnings"] == [] for line in manifest(tmp_path / "out").values())


def test_one_picture_keeps_what_a_folder_keeps(tmp_path: Path) -> None:
    model = save(tmp_path)
    path = source(tmp_path / "a.jpg", "JPEG", 6)
    code, _, stderr = call("translate", model, path, tmp_path / "b.jpg", "--to", "B")
    assert code == 0, stderr
    code, _, stderr = call("translate", model, path, tmp_path / "out", "--to", "B")
    assert code == 0, stderr
    assert (tmp_path / "b.jpg").read_bytes() == (tmp_path / "out" / "a.jpg").read_bytes()
    assert exif_of((tmp_path / "b.jpg").read_bytes())[0][271] == FIRST[271]

    code, _, stderr = call("translate", model, path, tmp_path / "b.png", "--to", "B")
    assert "not kept in a PNG: IPTC" in stderr
    words = ("translate", model, path, tmp_path / "c.jpg", "--to", "B", "--strip")
    assert call(*words)[0] == 0
    assert exif_of((tmp_path / "c.jpg").read_bytes())[0] == {}


def test_standard_output_keeps_it(tmp_path: Path) -> None:
    model = save(tmp_path)
    path = source(tmp_path / "a.jpg", "JPEG")
    words = ["translate", str(model), str(path), "-", "--to", "B"]
    done = CliRunner().invoke(app, words)
    assert exif_of(done.stdout_bytes)[0][271] == FIRST[271]


def test_a_profile_is_kept_when_asked(translator: Translator, tmp_path: Path) -> None:
    wide = matrix_profile(1.4, "rbg")
    path = draw(tmp_path / "in" / "a.png")
    with Image.open(path) as image:
        pixels = image.copy()
    pixels.save(path, icc_profile=wide)
    draw(tmp_path / "bare" / "a.png")

    kept = FolderOptions(keep_profile=True)
    translator.translate_folder(tmp_path / "in", tmp_path / "kept", "B", kept)
    translator.translate_folder(tmp_path / "in", tmp_path / "srgb", "B")
    translator.translate_folder(tmp_path / "bare", tmp_path / "out", "B")
    made = opened((tmp_path / "kept" / "a.png").read_bytes())
    assert made.info["icc_profile"] == wide
    # the levels of the file itself were translated
    assert made.tobytes() == opened((tmp_path / "out" / "a.png").read_bytes()).tobytes()
    assert manifest(tmp_path / "kept")["a.png"]["warnings"] == []
    (said,) = manifest(tmp_path / "srgb")["a.png"]["warnings"]
    assert said.startswith("colour profile converted to sRGB")

    # a format without profiles: converted after all
    (tmp_path / "kept" / "a.bmp").unlink(missing_ok=True)
    made_of_bmp = translate_picture(translator.predictor, path, "B", kept, kind="BMP")
    assert any("converted to sRGB" in text for text in made_of_bmp.warnings)


def test_a_gray_model_says_that_colour_is_lost(tmp_path: Path) -> None:
    translator = build(tmp_path, channels=1)
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in" / "b.png", mode="L")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    lines = manifest(tmp_path / "out")
    assert lines["a.png"]["warnings"] == ["a colour picture through a gray model became gray"]
    assert lines["b.png"]["warnings"] == []


@pytest.mark.parametrize("name", ["strip", "keep_profile"])
def test_other_options_are_not_up_to_date(
    translator: Translator, tmp_path: Path, name: str
) -> None:
    draw(tmp_path / "in" / "a.png")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    again = FolderOptions(skip_existing=True)
    changed = FolderOptions(skip_existing=True, **{name: True})  # type: ignore[arg-type]
    translate = translator.translate_folder
    assert translate(tmp_path / "in", tmp_path / "out", "B", again).skipped == 1
    assert translate(tmp_path / "in", tmp_path / "out", "B", changed).skipped == 0


def test_to_strip_and_to_keep_the_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="--keep-profile.*--strip.*one of them"):
        FolderOptions(strip=True, keep_profile=True)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "TIFF"])
@pytest.mark.parametrize("given", [kind for kind in KINDS if kind not in ("TIFF", "AVIF")])
def test_an_animation_keeps_the_metadata_of_its_file(
    translator: Translator, tmp_path: Path, given: str, kind: str
) -> None:
    """Pillow writes metadata into the first frame's file, or the whole file's."""
    path = animation(tmp_path / "in" / f"a.{given.lower()}", given)
    with Image.open(path) as image:
        frames = [frame.copy() for frame in ImageSequence.Iterator(image)]
    options: dict[str, Any] = {"exif": exif_block(), "xmp": XMP % 1, "comment": b"a comment"}
    if given == "PNG":
        chunks = PngInfo()
        chunks.add_text("Comment", "a comment")
        chunks.add_itxt("XML:com.adobe.xmp", options.pop("xmp"))
        options["pnginfo"] = chunks
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **options)
    as_asked = FolderOptions(format=kind.lower())
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", as_asked)
    data = (tmp_path / "out" / f"a.{kind.lower()}").read_bytes()
    made = opened(data)
    assert made.n_frames == 5  # type: ignore[attr-defined]
    if "exif" in HELD[kind] and given != "GIF":
        first, inner, gps = exif_of(data)
        assert {tag: first[tag] for tag in FIRST} == FIRST
        assert gps == GPS
        assert {tag: inner[tag] for tag in INNER} == INNER
        assert made.info["xmp"] == XMP % 1
    if "comment" in HELD[kind] and given in ("GIF", "PNG"):
        assert (made.info["Comment"] if kind == "PNG" else made.info["comment"]) in (
            "a comment",
            b"a comment",
        )
    said = " ".join(manifest(tmp_path / "out")[path.name]["warnings"])
    assert ("EXIF" in said) == (given != "GIF" and "exif" not in HELD[kind])

    strip = FolderOptions(format=kind.lower(), strip=True)
    translator.translate_folder(tmp_path / "in", tmp_path / "bare", "B", strip)
    data = (tmp_path / "bare" / f"a.{kind.lower()}").read_bytes()
    assert b"Camera" not in data
    assert b"a comment" not in data


def test_pages_keep_their_own_tags_and_the_first_its_exif(
    translator: Translator, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    pages = []
    for i in range(3):
        tags = directory()
        tags[270] = f"page {i}"
        pages.append((stored(), tags))
    with (tmp_path / "in" / "a.tif").open("w+b") as file, AppendingTiffWriter(file) as writer:
        for image, tags in pages:
            image.save(writer, "TIFF", tiffinfo=tags)
            writer.newFrame()
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    with Image.open(tmp_path / "out" / "a.tif") as made:
        assert made.n_frames == 3  # type: ignore[attr-defined]
        assert exif_of((tmp_path / "out" / "a.tif").read_bytes())[2] == GPS
        for i in range(3):
            made.seek(i)
            made.load()
            found = made.tag_v2  # type: ignore[attr-defined]
            assert found[270] == f"page {i}"
            assert {tag: found[tag] for tag in GEOTIFF} == {tag: GEOTIFF[tag][1] for tag in GEOTIFF}
            assert (34665 in found) == (i == 0)
    said = manifest(tmp_path / "out")["a.tif"]["warnings"]
    assert said == ["EXIF is kept on the first page alone (of 2 of 3 frames)"]

    png = FolderOptions(format="png")
    translator.translate_folder(tmp_path / "in", tmp_path / "png", "B", png)
    said = manifest(tmp_path / "png")["a.tif"]["warnings"]
    assert "the metadata is that of the first page" in said
    made_of_first = opened((tmp_path / "png" / "a.png").read_bytes())
    assert made_of_first.info["xmp"] == XMP % 1
