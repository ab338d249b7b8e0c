"""`introshift translate` with addresses on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._helpers.commands import call
from tests._helpers.folders import draw, files, manifest
from tests._helpers.s3 import contents, upload
from tests._helpers.small_model import save
from tests._helpers.website import website
from translate.inference.anomaly import measure_folder
from translate.inference.translator import Translator
from translate.io import cached


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cached, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "run").mkdir()
    return save(tmp_path / "run")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a website of the folder `in`."""
    pytest.importorskip("aiohttp")
    with website(tmp_path / "in") as (address, _):
        yield address


def test_model_inputs_and_outputs_may_all_be_in_a_bucket(
    model: Path, bucket: str, tmp_path: Path
) -> None:
    for i in range(3):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    upload(model.parent, f"{bucket}/run")
    upload(tmp_path / "in", f"{bucket}/in")
    code, _, err = call("translate", model, tmp_path / "in", tmp_path / "out", "--to", "B")
    assert code == 0, err
    code, out, err = call(
        "translate", f"{bucket}/run", f"{bucket}/in", f"{bucket}/out", "--to", "B", "--preview"
    )
    assert code == 0, err
    assert f"{bucket}/out: 3 translated to B" in out
    assert f"{bucket}/out/preview.html: the first of them" in out
    found = contents(f"{bucket}/out")
    assert {name: found[name] for name in files(tmp_path / "out")} == files(tmp_path / "out")

    lines = "".join(f"{bucket}/in/{i}.png\n" for i in (0, 2))
    upload_text(f"{bucket}/list.txt", lines)
    code, out, err = call(
        "translate", f"{bucket}/run", f"@{bucket}/list.txt", tmp_path / "listed", "--to", "B"
    )
    assert code == 0, err
    place = bucket.removeprefix("s3://")
    assert files(tmp_path / "listed").keys() == {f"{place}/in/{i}.png" for i in (0, 2)}


def upload_text(address: str, text: str) -> None:
    from translate.io.named import put_whole

    with put_whole(address) as path:
        path.write_text(text)


def test_a_list_may_be_a_file(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    (tmp_path / "list").write_bytes(b"in/0.png\0in/2.png\0")
    code, _, err = call("translate", model, "@list", "out", "--to", "B", "--null")
    assert code == 0, err
    assert files(tmp_path / "out").keys() == {"in/0.png", "in/2.png"}
    draw(tmp_path / "@list.png")
    code, _, err = call("translate", model, "@list.png", "one.png", "--to", "B")
    assert code == 0, err
    code, _, err = call("translate", model, "@none", "out2", "--to", "B")
    assert code == 2
    assert "none" in err
    assert "Traceback" not in err
    code, _, err = call("translate", model, "@list", "in/0.png", "out2", "--to", "B")
    assert code == 2
    assert "@list: is the whole list" in err


def test_one_picture_goes_from_address_to_address(model: Path, memory: str, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    upload(tmp_path / "in", f"{memory}in")
    options = ("--to", "B", "--style", "random")
    code, _, err = call("translate", model, tmp_path / "in", tmp_path / "out", *options)
    assert code == 0, err
    expected = (tmp_path / "out" / "a.png").read_bytes()
    one = tmp_path / "one.png"
    code, _, err = call("translate", model, f"{memory}in/a.png", one, *options)
    assert code == 0, err
    assert one.read_bytes() == expected
    code, out, err = call(
        "translate", model, f"{memory}in/a.png", f"{memory}b/one.png", *options, "--json"
    )
    assert code == 0, err
    assert json.loads(out)["out"] == f"{memory}b/one.png"
    assert contents(f"{memory}b") == {"one.png": expected}
    code, _, err = call("translate", model, f"{memory}in/a.png", f"{memory}b/one.png", *options)
    assert code == 2
    assert "b/one.png: is there already; replace it with --overwrite" in err
    code, _, err = call(
        "translate", model, f"{memory}in/a.png", f"{memory}in/a.png", *options, "--overwrite"
    )
    assert code == 2
    assert "is the input" in err


def test_tokens_in_addresses_are_written_nowhere(model: Path, site: str, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "broken.png").write_text("no picture")
    address = f"{site}/a.png?token=verysecret"
    code, out, err = call("translate", model, address, tmp_path / "out", "--to", "B")
    assert code == 0, err
    assert files(tmp_path / "out").keys() == {"a.png"}
    lines = [f"{site}/{name}.png?token=verysecret" for name in ("a", "broken", "none")]
    code, out2, err2 = call(
        "translate", model, "-", tmp_path / "out2", "--to", "B", stdin="\n".join(lines)
    )
    assert code == 1
    found = manifest(tmp_path / "out2")
    assert found.keys() == {f"{site}/{name}.png" for name in ("a", "broken", "none")}
    assert found[f"{site}/none.png"]["reason"].startswith(f"{site}/none.png: no such file")
    said = out + err + out2 + err2 + (tmp_path / "out" / "manifest.jsonl").read_text()
    assert "verysecret" not in said + (tmp_path / "out2" / "manifest.jsonl").read_text()


def test_reconstructions_go_from_address_to_address(
    model: Path, memory: str, tmp_path: Path
) -> None:
    draw(tmp_path / "in" / "a.png")
    upload(tmp_path / "in", f"{memory}in")
    command = ("reconstruct", model, f"{memory}in", f"{memory}out", "--domain", "A")
    code, _, err = call(*command, "--grid", tmp_path / "grid.png")
    assert code == 2
    assert "--grid: shows pictures of folders of this machine" in err
    code, _, err = call(*command)
    assert code == 0, err
    assert contents(f"{memory}out").keys() == {"a.png", "manifest.jsonl"}


def test_scores_are_of_pictures_in_stores_too(model: Path, memory: str, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "notes").write_text("hello")
    (tmp_path / "in" / "broken.png").write_text("hello")
    translator = Translator.load(model, "cpu")
    here = measure_folder(translator.predictor, tmp_path / "in", "A")
    there = measure_folder(translator.predictor, upload(tmp_path / "in", f"{memory}in"), "A")
    assert there == here
    assert there[0].keys() == {"a.png"}


def test_the_status_of_a_translation_in_a_store(model: Path, memory: str, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "broken.png").write_text("no picture")
    call("translate", model, tmp_path / "in", f"{memory}out", "--to", "B")
    code, out, err = call("status", f"{memory}out", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["out"], found["done"], found["failed"]) == (f"{memory}out", 1, 1)
    assert (found["left"], found["running"]) == (0, 0)


def test_mistakes_are_one_line(model: Path, memory: str, tmp_path: Path) -> None:
    for arguments, said in (
        ((model, f"{memory}none", tmp_path / "out"), "memory://none: no files in it"),
        ((f"{memory}none", tmp_path, tmp_path / "out"), "none/model.safetensors: no such file"),
        ((model, "nonsense://a", tmp_path / "out"), "nonsense:// is none of the schemes"),
        ((model, "sftp://127.0.0.1/a", tmp_path / "out"), "sftp://127.0.0.1/a: "),
    ):
        code, _, err = call("translate", *arguments, "--to", "B")
        assert code == 2
        [line] = err.splitlines()
        assert said in line
