"""Which folders are understood as domains, and how a config names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from translate.config import from_dict, load_config
from translate.data.layout import Layout, find_domains


def pictures(folder: Path, *names: str) -> Path:
    """Make a folder with a picture in each of its sub-folders NAMES, or in itself."""
    for name in names or ("",):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(folder / name / "0.png")
    return folder


def relative(folders: dict[str, Path], root: Path) -> dict[str, str]:
    return {name: path.relative_to(root).as_posix() for name, path in folders.items()}


@pytest.mark.parametrize(
    ("made", "domains", "tests"),
    [
        (("trainA", "trainB"), {"A": "trainA", "B": "trainB"}, {}),
        (
            ("trainA", "trainB", "testA", "testB"),
            {"A": "trainA", "B": "trainB"},
            {"A": "testA", "B": "testB"},
        ),
        (("trainA", "trainB", "testA"), {"A": "trainA", "B": "trainB"}, {}),
        (("train_cat", "train-dog"), {"dog": "train-dog", "cat": "train_cat"}, {}),
        (("A", "B"), {"A": "A", "B": "B"}, {}),
        (
            ("cats/2023", "cats/2024", "dogs", "test/cats", "test/dogs"),
            {"cats": "cats", "dogs": "dogs"},
            {"cats": "test/cats", "dogs": "test/dogs"},
        ),
        (
            ("train/cat", "train/dog", "val/cat", "val/dog"),
            {"cat": "train/cat", "dog": "train/dog"},
            {"cat": "val/cat", "dog": "val/dog"},
        ),
        (("trains", "planes", "training"), {n: n for n in ("planes", "training", "trains")}, {}),
        (("2024",), {"data": ""}, {}),
        (("", "2023", "2024"), {"data": ""}, {}),
        (("", "trainA", "trainB"), {"A": "trainA", "B": "trainB"}, {}),
        (("train", "test"), {"data": "train"}, {"data": "test"}),
        ((".hidden", "__MACOSX", "x", "y"), {"x": "x", "y": "y"}, {}),
    ],
)
def test_a_folder_alone_is_read_by_where_its_pictures_lie(
    made: tuple[str, ...], domains: dict[str, str], tests: dict[str, str], tmp_path: Path
) -> None:
    data = pictures(tmp_path / "data", *made)
    layout = find_domains([str(data)])
    assert relative(layout.domains, data) == {n: path or "." for n, path in domains.items()}
    assert relative(layout.tests, data) == tests
    assert str(data) in layout.understood


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", "trainA", "trainB", "drafts")
    assert "left out: drafts" in find_domains([str(data)]).understood


def test_a_name_makes_one_domain_of_sub_folders(tmp_path: Path) -> None:
    data = pictures(tmp_path / "photos", "2023", "2024")
    assert set(find_domains([str(data)]).domains) == {"2023", "2024"}
    assert find_domains([f"mine={data}"]).domains == {"mine": data}
    odd = pictures(tmp_path / "a=b")
    assert find_domains([str(odd), str(data)]).domains == {"a=b": odd, "photos": data}


def test_domains_are_named_after_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("photos", "trainA", "summer/train", "winter/train", "other"):
        pictures(tmp_path / name)
    monkeypatch.chdir(tmp_path / "photos")
    folders = [".", "../trainA", "../summer/train", "../winter/train", "Z=../trainA/../other"]
    found = find_domains(folders)
    assert list(found.domains) == ["photos", "A", "summer", "winter", "Z"]


@pytest.mark.parametrize("second", ["a", "./a", "link", "a/inner", ".", "missing"])
def test_folders_that_share_pictures_are_refused(
    second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(Path("a"), "", "inner")
    Path("link").symlink_to("a", target_is_directory=True)
    with pytest.raises(ValueError, match=Path(second).name or "a") as caught:
        find_domains(["a", second])
    assert len(str(caught.value).splitlines()) == 1


def test_sub_folders_that_are_one_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "data" / "A")
    (tmp_path / "data" / "B").symlink_to("A", target_is_directory=True)
    with pytest.raises(ValueError, match="same folder"):
        find_domains([str(tmp_path / "data")])


@pytest.mark.parametrize("name", ["-x", "a\nb", "x" * 61, " a"])
def test_names_that_no_option_could_give_are_refused(name: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path / name)
    with pytest.raises(ValueError, match="NAME=FOLDER"):
        find_domains([str(folder), str(pictures(tmp_path / "b"))])


def test_equal_names_are_refused_unless_the_folders_above_differ(tmp_path: Path) -> None:
    folders = [str(pictures(tmp_path / name)) for name in ("x/pics", "y/Pics", "x/pics2")]
    assert list(find_domains(folders).domains) == ["x", "y", "pics2"]
    with pytest.raises(ValueError, match="NAME=FOLDER"):
        find_domains([f"x={folders[0]}", f"X={folders[1]}"])


@pytest.mark.parametrize(
    ("base", "root"),
    [
        ("project", "data"),
        ("project/data", None),
        ("project/conf", "../data"),
        ("project/conf/deep", "/project/data"),
        ("other", "../project/data"),
        ("other/deep", "/project/data"),
    ],
)
def test_a_config_names_near_folders_relatively_and_is_read_from_anywhere(
    base: str, root: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pictures(tmp_path / "project" / "data", "trainA", "trainB")
    (tmp_path / base).mkdir(parents=True, exist_ok=True)
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path)
    named = find_domains(["project/data"]).settings(Path(base))
    expected = root and (str(tmp_path) + root if root.startswith("/") else root)
    assert named.get("root") == expected
    assert named["domains"] == {"A": "trainA", "B": "trainB"}

    path = Path(base, "my.yaml")
    path.write_text(from_dict({"data": named}).to_yaml())
    monkeypatch.chdir(tmp_path / "away")
    assert load_config(Path("..") / path).data.folder("A").resolve() == data / "trainA"


def test_folders_with_nothing_in_common_are_named_absolutely() -> None:
    found = Layout({"A": Path("/some/where"), "B": Path("/else")}).settings(Path("/conf"))
    assert found == {
        "domains": {n: str(Path(p)) for n, p in (("A", "/some/where"), ("B", "/else"))}
    }
