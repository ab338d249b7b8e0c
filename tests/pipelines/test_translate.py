"""`introshift translate`: folders, lists, shards, styles, and what fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests._helpers.commands import call, fill
from translate.io.images import read_image


def test_names_and_sizes_are_kept(model: Path, tmp_path: Path) -> None:
    fill(tmp_path / "in" / "deep", size=40)
    for to in "BA":
        code, out, _ = call(
            "translate", model, tmp_path / "in", tmp_path / to, "--to", to, "--json"
        )
        assert code == 0
        assert json.loads(out)["ok"] == 4
        assert read_image(tmp_path / to / "deep" / "3.png").size == (40, 40)
        lines = (tmp_path / to / "manifest.jsonl").read_text().splitlines()
        assert [json.loads(line)["source"] for line in lines] == [f"deep/{i}.png" for i in range(4)]


def test_a_broken_file_is_listed_and_the_rest_translated(model: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = call("translate", model, folder, tmp_path / "out", "--to", "B", "--json")
    assert code == 1
    counts = json.loads(out)
    assert (counts["ok"], counts["skipped"], counts["failed"]) == (4, 0, 1)
    assert "broken.png" in err


def test_exemplar_styles_and_samples(model: Path, trained: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 2)
    styles = trained / "data" / "testB"
    options = ("--to", "B", "--style", styles, "--samples", 2)
    code, _, err = call("translate", model, folder, tmp_path / "o", *options)
    assert code == 0, err
    assert len(list((tmp_path / "o").glob("*.png"))) == 4


def test_a_list_on_standard_input_with_a_background(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fill(tmp_path / "in", 4))
    out = tmp_path / "o"
    options = ("--to", "B", "--background", "tomato")
    names = "0.png\n\nsub/../1.png\nnone.png\n"
    code, _, err = call("translate", model, "-", out, *options, stdin=names)
    assert code == 1
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "manifest.jsonl"]
    assert "none.png" in err


def test_torchrun_s_variables_share_the_pictures_unless_a_shard_is_given(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("translate", model, fill(tmp_path / "in", 4))
    options = ("--to", "B", "--scale", "native", "--json")
    counts = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        code, out, _ = call(*arguments, tmp_path / "s", *options)
        assert code == 0
        counts.append(json.loads(out)["ok"])
    assert sum(counts) == 4
    assert max(counts) < 4

    code, out, _ = call(*arguments, tmp_path / "t", *options, "--shard", "1/1")
    assert code == 0
    assert json.loads(out)["ok"] == 4


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "4"},
        {"RANK": "1"},
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"RANK": "", "WORLD_SIZE": "4"},
    ],
)
def test_half_of_torchrun_s_variables_are_refused(
    variables: dict[str, str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    arguments = ("translate", model, fill(tmp_path / "in", 1), tmp_path / "o", "--to", "B")
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    for name, value in variables.items():
        assert f"{name}={value}" in err
    for name in ("RANK", "WORLD_SIZE", "--shard", "torchrun"):
        assert name in err
    assert not (tmp_path / "o").exists()

    code, _, err = call(*arguments, "--shard", "1/1")
    assert code == 0, err


def test_a_full_disk_is_one_line_and_exit_1(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("translate.io.images.write_image", full)
    folder = fill(tmp_path / "in")
    code, out, err = call("translate", model, folder, tmp_path / "o", "--to", "B")
    assert (code, out) == (1, "")
    [line] = [line for line in err.splitlines() if line.startswith("introshift: ")]
    assert str(tmp_path / "o") in line
    assert "no space" in line


@pytest.mark.parametrize("name", ["auto", "fp32", "32", "bf16"])
def test_precisions_by_name(name: str, model: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 1)
    code, _, err = call(
        "translate", model, folder, tmp_path / "o", "--to", "B", "--precision", name
    )
    assert code == 0, err


def test_an_unknown_precision_is_refused(model: Path, trained: Path, tmp_path: Path) -> None:
    folder = trained / "data" / "testA"
    code, _, err = call(
        "translate", model, folder, tmp_path / "o", "--to", "B", "--precision", "fp16"
    )
    assert code == 2
    assert "--precision fp16" in err
    assert "fp32" in err


def test_several_pictures_patterns_and_lists_by_nul(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fill(tmp_path / "in", 4))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    to = ("--to", "b")
    inputs: dict[str, tuple[str, ...]] = {
        "several": ("0.png", "1.png", "notes.txt"),
        "pattern": ("[01].*",),
        "patterns": ("0.*", "1.*"),
    }
    for name, words in inputs.items():
        code, _, err = call("translate", model, *words, tmp_path / name, *to)
        assert code == 0, err
        found = sorted(path.name for path in (tmp_path / name).iterdir())
        assert found == ["0.png", "1.png", "manifest.jsonl"]
    code, _, err = call("translate", model, "-", "out", *to, "-0", stdin="0.png\0n\nl.png\0")
    assert code == 1
    assert "n l.png" in err.replace("\n", " ")


def test_what_is_skipped_is_counted_and_a_used_folder_refused(model: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 2)
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / name).write_bytes(b"no picture")
    words = ("translate", model, folder, tmp_path / "o", "--from", "A")
    code, out, err = call(*words)
    assert code == 0, err
    assert "no picture: 2" in out
    assert "to B" in out
    code, _, err = call(*words)
    assert code == 2
    assert "--overwrite" in err
    code, out, _ = call(*words, "--overwrite", "--strict", "--json")
    assert code == 1
    assert json.loads(out)["failed"] == 3
