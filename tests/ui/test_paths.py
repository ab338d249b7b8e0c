"""Names from the page mean nothing outside of the served folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.ui.paths import confined, first_picture, picture_folders, some_pictures
from tests._helpers.folders import draw


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path.resolve() / "served"
    (inside / "below").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    return inside


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "below/../../secret.png", "../../etc/passwd", "/etc/passwd", "..", "a\0b"],
)
def test_what_leads_out_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name a place below"):
        confined(folder, name)


@pytest.mark.parametrize("link", ["out", "below/out"])
def test_a_link_that_leads_out_is_refused(folder: Path, link: str) -> None:
    (folder / link).symlink_to(folder.parent)
    with pytest.raises(ValueError, match="leads out of"):
        confined(folder, f"{link}/secret.png")
    with pytest.raises(ValueError, match="leads out of"):
        confined(folder, f"{link}/not-there-yet")


def test_what_lies_below_is_found(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "below")
    assert confined(folder, "below/new") == folder / "below" / "new"
    assert confined(folder, str(folder / "below")) == folder / "below"
    assert confined(folder, "link/a") == folder / "below" / "a"
    assert confined(folder, ".") == folder


def test_folders_with_pictures_are_offered(folder: Path) -> None:
    for place in (".", "below", "below/deep", ".hidden", "elsewhere"):
        (folder / place).mkdir(exist_ok=True, parents=True)
        draw(folder / place / "one.png")
    draw(folder / "below" / "two.png")
    (folder / "below" / "note.txt").write_text("no picture")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to(folder.parent, target_is_directory=True)
    assert picture_folders(folder) == {".": 1, "below": 2, "below/deep": 1, "elsewhere": 1}


def test_some_pictures_are_evenly_spaced(folder: Path) -> None:
    for i in range(9):
        draw(folder / f"{i}.png")
    assert [path.name for path in some_pictures(folder, 3)] == ["0.png", "4.png", "8.png"]
    assert first_picture(folder) == folder / "0.png"
    assert first_picture(folder / "below") is None
