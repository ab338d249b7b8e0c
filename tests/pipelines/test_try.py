"""`introshift try`: examples, one's own pictures, and what it leaves in the folder."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page

from pipelines.try_out import LARGEST, MOST
from tests._helpers.browser import fits, opened
from tests._helpers.commands import call, fill
from translate.io.images import list_images
from translate.zoo import SHIPPED


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default folder for results, in a current folder that is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "introshift-try"


def coloured(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 40, 40)).save(path)
    return path


def test_the_examples_of_both_models_are_translated_both_ways(out: Path) -> None:
    code, stdout, err = call("try", "--json")
    assert code == 0, err
    done = json.loads(stdout)
    examples = [len(list_images(model.folder / "examples")) for model in SHIPPED.values()]
    assert done["translations"] == sum(examples) >= 20
    assert list(done["models"]) == list(SHIPPED)
    assert sorted(path.name for path in out.iterdir()) == ["preview.html", "preview.png"]


def test_it_says_what_comes_next(out: Path) -> None:
    code, stdout, _ = call("try", "--model", "typefaces")
    assert code == 0
    assert str(out.name) in stdout
    for command in ("try", "translate typefaces", "init", "train"):
        assert f"introshift {command} " in stdout


@pytest.mark.parametrize(("gray", "model"), [(True, "typefaces"), (False, "emoji")])
def test_a_picture_of_one_s_own_chooses_the_model(gray: bool, model: str, out: Path) -> None:
    path = coloured(Path("my picture.png"), (2 * LARGEST, LARGEST))
    if gray:
        Image.open(path).convert("L").save(path)
    code, stdout, err = call("try", path, "--json")
    assert code == 0, err
    assert list(json.loads(stdout)["models"]) == [model]
    assert json.loads(stdout)["translations"] == 2, "to each of the two domains"
    other = next(name for name in SHIPPED if name != model)
    code, stdout, err = call("try", path, "--model", other)
    assert code == 0, err
    assert "'my picture.png'" in stdout, "the next command is quoted"


def test_of_a_folder_some_pictures_are_taken_and_broken_ones_named(out: Path) -> None:
    for i in range(MOST + 5):
        coloured(Path("in", f"{i:02}.png"))
    Path("in", "00.png").write_bytes(b"")
    code, stdout, err = call("try", "in", "--json")
    assert code == 0, err
    assert json.loads(stdout)["translations"] == 2 * (MOST - 1)
    assert "00.png: empty file" in err
    assert f"{MOST} of {MOST + 5}" in err


def test_mistakes(out: Path) -> None:
    fill(Path("full"), 1)
    Path("none").mkdir()
    Path("broken.png").write_bytes(b"x")
    for words, named in (
        (["nowhere"], "nowhere: "),
        (["none"], "none: "),
        (["broken.png"], "broken.png: "),
        (["--out", "full"], "full: "),
        (["--model", "emojis"], "--model"),
    ):
        code, stdout, err = call("try", *words)
        assert (code, stdout) == (2, ""), words
        assert named in err
    assert not out.exists()


def test_the_page_is_opened_where_asked(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []
    monkeypatch.setattr(webbrowser, "open", pages.append)
    for words in ([], ["--open"]):
        code, _, err = call("try", "--model", "typefaces", *words)
        assert code == 0, err
    assert pages == [(out / "preview.html").as_uri()]


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_fits_and_asks_for_nothing(page: Page, width: int, out: Path) -> None:
    code, _, err = call("try", "--model", "typefaces")
    assert code == 0, err
    page.set_viewport_size({"width": width, "height": 800})
    with opened(page, out / "preview.html"):
        assert fits(page)
