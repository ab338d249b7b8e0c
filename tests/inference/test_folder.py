"""Folder translation: a manifest line and a name for every file, and what is skipped."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests._helpers.folders import build, draw, files, manifest, opened, pixels
from translate.inference import task as module
from translate.inference.folder_options import FolderOptions, FolderSummary
from translate.inference.planning import plan_outputs
from translate.inference.translator import Translator
from translate.io import images

# -- the manifest's lines --


def test_every_file_has_its_line_and_every_good_one_its_output(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    before = files(inputs)
    out = tmp_path / "out"
    calls = []
    result = translator.translate_folder(
        inputs, out, "B", progress=lambda done, total: calls.append((done, total))
    )
    lines = manifest(out)
    assert lines.keys() == before.keys()
    assert (result.ok, result.skipped, result.failed) == (14, 1, 2)
    assert result.reasons == {"no picture": 1}
    assert (result.source, result.to) == ("A", "B")
    assert result.seconds > 0
    assert [name for name, _ in result.failures] == ["cut.png", "empty.png"]
    assert dict(result.failures) == {name: lines[name]["reason"] for name, _ in result.failures}
    assert lines["empty.png"]["reason"] == "empty file"
    assert calls == [(i, 17) for i in range(1, 18)]
    assert files(out).keys() == {
        line["output"] for line in lines.values() if line["status"] == "ok"
    }
    for name, line in lines.items():
        assert list(line) == [
            "source",
            "output",
            "status",
            "reason",
            "width",
            "height",
            "warnings",
            "key",
            "output_bytes",
            "output_sha256",
        ]
        if line["status"] == "ok":
            size = (line["width"], line["height"])
            assert opened(inputs / name).size == opened(out / line["output"]).size == size
            assert line["reason"] is None
            assert line["key"]
        else:
            assert line["output"] is None
            assert line["key"] is None
            assert line["reason"]
    assert lines["sub/deep er/ünï 図.png"]["output"] == "sub/deep er/ünï 図.png"
    assert lines["no suffix"]["output"] == "no suffix.png"
    assert files(inputs) == before


def test_a_file_is_translated_as_in_memory(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    translator.translate_folder(inputs, tmp_path / "out", "B")
    for name in ("1.png", "4.png", "0.png"):
        (expected,) = translator.translate([opened(inputs / name).convert("RGB")], "B")
        difference = pixels(tmp_path / "out" / name)[..., :3].astype(int) - np.asarray(expected)
        assert np.abs(difference).max() <= 1


def test_links_and_special_files_are_listed_and_not_followed(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "in"
    outside = draw(tmp_path / "elsewhere" / "secret.png")
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
    assert result.failures == [
        ("closed", "cannot be listed: permission denied"),
        ("gone.png", "permission denied"),
    ]
    assert result.ok == 1
    (tmp_path / "shut").mkdir()
    with pytest.raises(ValueError, match="shut: cannot be listed"):
        translator.translate_folder(tmp_path / "shut", tmp_path / "out2", "B")


def test_unusual_file_names(translator: Translator, tmp_path: Path) -> None:
    names = [
        "new\nline.png",
        " .png",
        "ls\u2028.png",
        "-rf.png",
        "'\"%s.png",
        ".hidden.png",
        ".introshift-x.part",
    ]
    for name in names:
        draw(tmp_path / "in" / name)
    with open(os.fsencode(tmp_path / "in") + b"/b\xff.png", "wb") as file:
        file.write((tmp_path / "in" / names[0]).read_bytes())
    result = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(style="random", strict=True)
    )
    assert (result.ok, result.failed) == (len(names) + 1, 0)
    assert {*names[:-1], "b\udcff.png", ".introshift-x.png"} == files(tmp_path / "out").keys()


def test_one_file_alone(translator: Translator, tmp_path: Path) -> None:
    path = draw(tmp_path / "in" / "a.png", 40, 20)
    draw(tmp_path / "in" / "b.png")
    (tmp_path / "link.png").symlink_to(path)
    assert translator.translate_folder(path, tmp_path / "out", "B").ok == 1
    assert files(tmp_path / "out").keys() == manifest(tmp_path / "out").keys() == {"a.png"}
    assert translator.translate_folder(tmp_path / "link.png", tmp_path / "out2", "B").ok == 1
    assert (tmp_path / "out2" / "link.png").read_bytes() == (
        tmp_path / "out" / "a.png"
    ).read_bytes()


def test_warnings_are_kept(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "line.png", 600, 2)
    (tmp_path / "in" / "misnamed.png").write_bytes(draw(tmp_path / "x.jpg", 20, 20).read_bytes())
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    lines = manifest(tmp_path / "out")
    assert "squeezed" in lines["line.png"]["warnings"][0]
    assert "JPEG" in lines["misnamed.png"]["warnings"][0]
    assert opened(tmp_path / "out" / "misnamed.png").format == "PNG"


def test_too_many_pixels(translator: Translator, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", 20, 20)
    draw(tmp_path / "in" / "b.png", 20, 21)
    result = translator.translate_folder(
        tmp_path / "in", tmp_path / "out", "B", FolderOptions(max_pixels=400)
    )
    assert result.ok == 1
    assert result.failures[0][0] == "b.png"
    assert "max-pixels" in result.failures[0][1]


# -- names --


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
def test_planned_outputs_never_clash(
    sources: list[str], options: tuple[str, str, int], expected: list[str]
) -> None:
    for order in itertools.permutations(sources):
        plan = plan_outputs(order, *options)
        assert [" ".join(plan[source]) for source in sources] == expected


def test_clashing_outputs_are_renamed_even_if_one_input_fails(
    translator: Translator, tmp_path: Path
) -> None:
    draw(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "a.png").write_text("broken")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", FolderOptions(format="png"))
    assert files(tmp_path / "out").keys() == {"a.jpg.png"}


@pytest.mark.parametrize(("format", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_formats_and_suffix(
    translator: Translator, inputs: Path, tmp_path: Path, format: str, kind: str
) -> None:
    translator.translate_folder(
        inputs, tmp_path / "out", "B", FolderOptions(format=format, suffix="_B")
    )
    written = [line["output"] for line in manifest(tmp_path / "out").values() if line["output"]]
    assert len(written) == 14
    assert all(name.endswith(f"_B.{format}") for name in written)
    assert {opened(tmp_path / "out" / name).format for name in written} == {kind}


@pytest.mark.parametrize("suffix", sorted(images.SUFFIXES))
def test_format_keep_writes_the_format_of_the_suffix(
    translator: Translator, tmp_path: Path, suffix: str
) -> None:
    draw(tmp_path / "in" / f"a{suffix}", mode="L")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B")
    assert opened(tmp_path / "out" / f"a{suffix}").format == images.SUFFIXES[suffix]


def test_samples_are_numbered_and_differ(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    result = translator.translate_folder(
        inputs, tmp_path / "out", "B", FolderOptions(style="random", samples=3, suffix="-")
    )
    line = manifest(tmp_path / "out")["1.png"]
    assert result.ok == 14
    assert line["output"] == ["1-_1.png", "1-_2.png", "1-_3.png"]
    written = files(tmp_path / "out")
    assert len(written) == 42
    assert len({written[name] for name in line["output"]}) == 3


# -- skip_existing --


def test_skip_existing_does_only_what_is_missing(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def translate(model: Translator = translator, **options: Any) -> FolderSummary:
        return model.translate_folder(
            inputs, out, "B", FolderOptions(skip_existing=True, **options)
        )

    def redone(result: FolderSummary) -> set[str]:
        assert result.failed == 2
        assert result.ok + result.skipped == 15
        return {name for name, line in manifest(out).items() if line["status"] == "ok"}

    assert translate().ok == 14
    first = files(out)
    lines = manifest(out)
    stamps = {name: (out / name).stat().st_mtime_ns for name in first}
    for _ in range(2):
        assert redone(translate()) == set()
    assert {name: (out / name).stat().st_mtime_ns for name in first} == stamps
    for name, line in manifest(out).items():
        if line["reason"] == "up to date":
            assert line == lines[name] | {"status": "skipped", "reason": "up to date"}
    (out / "3.png").unlink()
    os.utime(inputs / "4.png", ns=(0, 0))
    draw(inputs / "5.png", 16, 18)
    assert redone(translate()) == {"3.png", "4.png", "5.png"}
    assert redone(translate(seed=9)) == set()  # the mean style does not depend on it
    assert redone(translate(batch_size=3)) == set()
    assert len(redone(translate(style="random"))) == 14
    assert len(redone(translate(style="random", seed=9))) == 14
    assert len(redone(translate(style="random", seed=9, suffix="-"))) == 14
    assert len(redone(translate(build(tmp_path, seed=4), style="random", seed=9, suffix="-"))) == 14
    assert len(redone(translate())) == 14
    assert len(redone(translate(samples=2))) == 14
    (out / "3_2.png").unlink()
    assert redone(translate(samples=2)) == {"3.png"}


def test_another_version_of_the_translation_does_everything_again(
    translator: Translator, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert translator.translate_folder(inputs, out, "B").ok == 14
    assert translator.translate_folder(inputs, out, "B", FolderOptions(skip_existing=True)).ok == 0
    monkeypatch.setattr(module, "TRANSLATION_VERSION", module.TRANSLATION_VERSION + 1)
    assert translator.translate_folder(inputs, out, "B", FolderOptions(skip_existing=True)).ok == 14
    assert translator.translate_folder(inputs, out, "B", FolderOptions(skip_existing=True)).ok == 0


def test_outputs_without_a_valid_manifest_line_are_made_again(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_folder(inputs, out, "B")
    for text in ("", "{}\n", "[1]\n", '{"source": "3.png"}\n', "null\n", "\xff"):
        (out / "manifest.jsonl").write_bytes(text.encode("latin-1"))
        assert (
            translator.translate_folder(inputs, out, "B", FolderOptions(skip_existing=True)).ok
            == 14
        )


def test_a_used_folder_needs_to_be_told_what_to_do(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator.translate_folder(inputs, out, "B")
    before = files(out)
    with pytest.raises(ValueError, match=r"out: .*--skip-existing.*--overwrite"):
        translator.translate_folder(inputs, out, "A")
    assert files(out) == before
    assert translator.translate_folder(inputs, out, "B", FolderOptions(overwrite=True)).ok == 14

    (out / "manifest.jsonl").unlink()
    for skip in (False, True):
        with pytest.raises(ValueError, match=r"out: .*0\.png.*manifest.*--overwrite"):
            translator.translate_folder(inputs, out, "B", FolderOptions(skip_existing=skip))
    assert files(out) == before

    foreign = tmp_path / "foreign"
    draw(foreign / "holiday.png")
    assert translator.translate_folder(inputs, foreign, "B").ok == 14


def test_shards_into_one_folder_are_no_earlier_run_of_each_other(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    shards = [FolderOptions(shard=(i, 3)) for i in (1, 2, 3)]
    out = tmp_path / "out"
    assert sum(translator.translate_folder(inputs, out, "B", shard).ok for shard in shards) == 14
    with pytest.raises(ValueError, match="--skip-existing"):
        translator.translate_folder(inputs, out, "B", shards[1])


# -- what is no picture --


def test_what_is_no_picture_is_skipped_unless_strict(
    translator: Translator, tmp_path: Path
) -> None:
    root = tmp_path / "in"
    draw(root / "a.png")
    draw(root / "b.dat")
    draw(root / "._a.png")
    draw(root / ".thumbnails" / "a.png")
    (root / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (root / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (root / "desktop.ini").write_text("[.ShellClassInfo]\n")
    (root / "raw.heic").write_bytes(b"unread")
    done = translator.translate_folder(root, tmp_path / "out", "B")
    assert (done.ok, done.skipped) == (2, 5)
    assert done.reasons == {"no picture": 2, "hidden": 3}
    assert [name for name, _ in done.failures] == ["raw.heic"]
    assert {"a.png", "b.png"} == files(tmp_path / "out").keys()
    assert {".DS_Store", ".thumbnails", "._a.png"} < manifest(tmp_path / "out").keys()

    strict = translator.translate_folder(root, tmp_path / "strict", "B", FolderOptions(strict=True))
    assert (strict.ok, strict.skipped, strict.failed) == (4, 0, 4)


def test_files_alone_that_are_no_pictures(translator: Translator, tmp_path: Path) -> None:
    notes = tmp_path / "in" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("hello")
    for inputs in (notes.parent, [notes]):
        with pytest.raises(ValueError, match=r"no pictures .*notes\.txt"):
            translator.translate_folder(inputs, tmp_path / "out", "B")
    assert translator.translate_folder(notes, tmp_path / "out", "B").failed == 1  # asked for


def test_a_pattern_of_names(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.jpg", "deep/c.png", "x[1].png"):
        draw(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path / "in")
    found = {}
    for number, pattern in enumerate(("*.png", "**/*.png", tmp_path / "in" / "?.*", "x[1].png")):
        out = tmp_path / f"out{number}"
        translator.translate_folder(pattern, out, "B")
        found[number] = sorted(files(out))
    assert found == {
        0: ["a.png", "x[1].png"],
        1: ["a.png", "deep/c.png", "x[1].png"],
        2: ["a.png", "b.jpg"],
        3: ["x[1].png"],
    }
    with pytest.raises(ValueError, match=r"\*\.gif: no files match"):
        translator.translate_folder("*.gif", tmp_path / "out", "B")
    assert translator.translate_folder("*.png", "out", "B").ok == 2, "out is not among the inputs"
    with pytest.raises(ValueError, match="output folder"):
        translator.translate_folder("**/*.png", "out", "B", FolderOptions(overwrite=True))
