"""Results never take the place of what they are made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests._helpers.commands import call
from translate.io.outputs import prepare_output


@pytest.mark.parametrize(
    "words",
    [
        "swap M c s c/one.png",
        "swap M c s here/s/one.png",
        "swap M c/one.png s c/one.png",
        "swap M c s link/one.png",
        "interpolate M c/one.png c/two.png c/two.png --domain A",
        "interpolate M c/one.gif c/two.png out.png --domain A --gif c/one.gif",
        "reconstruct M c out --domain A --grid c/one.png",
        "reconstruct M c/one.png out --domain A --grid c/one.png",
        "score M c --domain A --out M",
        "score M c --domain A --reference s --out s/one.png",
        "score M c --domain A --against s/one.png --out s/one.png",
        "export M --format onnx -o M",
        "init c s -o c/one.png --force",
        "translate M c/one.png c/one.png --to B",
        "translate M c/one.png c/one.png --to B --overwrite",
    ],
)
def test_an_input_is_never_replaced(
    model_file: Callable[..., Path],
    pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
) -> None:
    model = model_file()
    for folder in "cs":
        pictures(tmp_path / folder, ["one.png", "two.png", "one.gif"])
    (tmp_path / "here").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "c")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    monkeypatch.chdir(tmp_path)
    code, _, error = call(*[model.name if word == "M" else word for word in words.split()])
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert "input" in error or "there already" in error
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}


def test_what_is_no_input_may_be_written_and_written_again(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    table = tmp_path / "c" / "scores.csv"
    prepare_output(table, tmp_path / "c", None, tmp_path / "missing")
    table.touch()
    prepare_output(table, tmp_path / "c")
    prepare_output(tmp_path / "new" / "sheet.png", tmp_path / "c")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(ValueError, match="is a folder"):
        prepare_output(tmp_path / "c")


def test_a_run_folder_among_training_pictures_is_refused(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    for name in "AB":
        pictures(tmp_path / f"train{name}", [f"{i}.png" for i in range(4)])
    (tmp_path / "c.yaml").write_text("data: {root: .}\n")
    code, _, error = call("train", tmp_path / "c.yaml", "--out", tmp_path / "trainA" / "run")
    assert code == 2
    assert "trainA" in error
    assert "--out" in error
    assert not (tmp_path / "trainA" / "run").exists()
