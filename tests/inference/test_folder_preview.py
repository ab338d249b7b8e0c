"""The page that a folder translation writes when asked: which pictures, and when none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from tests._helpers.folders import draw, files
from translate.inference import folder_preview
from translate.inference.folder_options import FolderOptions
from translate.inference.translator import Translator


def captions(out: Path) -> list[str]:
    """The names on a page, in order."""
    page = (out / "preview.html").read_text(encoding="utf-8")
    return re.findall(r'data-name="([^"]*)"', page)


def test_a_page_of_what_was_translated(
    translator: Translator, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = translator.translate_folder(inputs, out, "B", FolderOptions(preview=True, samples=2))
    assert len(captions(out)) == done.ok == 14
    assert captions(out) == sorted(captions(out))
    page = (out / "preview.html").read_text(encoding="utf-8")
    assert re.findall(r'alt="([^"]*)"', page)[:3] == ["A", "B 1", "B 2"]
    with Image.open(out / "preview.png") as sheet:
        assert sheet.mode == "RGB"


def test_a_list_of_files_has_a_page_too(translator: Translator, tmp_path: Path) -> None:
    names = ["a.png", "b.png"]
    for name in names:
        draw(tmp_path / "in" / name)
    listed = [str(tmp_path / "in" / name) for name in names]
    translator.translate_folder(listed, str(tmp_path / "out"), "B", FolderOptions(preview=True))
    assert [Path(name).name for name in captions(tmp_path / "out")] == names


def test_a_second_run_shows_what_is_up_to_date_and_no_more_than_the_first(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_preview, "SHOWN", 2)
    for name in "abc":
        draw(tmp_path / "in" / f"{name}.png")
    options = FolderOptions(preview=True, skip_existing=True)
    for _ in range(2):
        translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", options)
        assert captions(tmp_path / "out") == ["a.png", "b.png"]
        (tmp_path / "out" / "preview.html").unlink()


def test_names_that_clash_are_refused_before_any_work(
    translator: Translator, tmp_path: Path
) -> None:
    draw(tmp_path / "in" / "preview.png")
    with pytest.raises(ValueError, match=r"--preview: .*preview\.png.*--suffix"):
        translator.translate_folder(
            tmp_path / "in", tmp_path / "out", "B", FolderOptions(preview=True)
        )
    assert not (tmp_path / "out").exists()


def test_no_page_of_nothing(translator: Translator, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no picture")
    translator.translate_folder(tmp_path / "in", tmp_path / "out", "B", FolderOptions(preview=True))
    assert not files(tmp_path / "out")
