"""`introshift translate` with WebDataset shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests._helpers.commands import call
from tests._helpers.folders import files
from tests._helpers.s3 import contents as stored
from tests._helpers.s3 import upload
from tests._helpers.shards import contents, pack, read, samples
from translate.io.storage import StoredFolder


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Three shards, x-08.tar to x-10.tar, of two samples each."""
    for i in (8, 9, 10):
        pack(tmp_path / "in" / f"x-{i:02}.tar", samples(tmp_path, 2, 2 * i))
    return tmp_path / "in"


def test_folders_patterns_braces_and_lists_of_shards(
    model: Path, inputs: Path, tmp_path: Path
) -> None:
    both = [inputs / "x-08.tar", inputs / "x-09.tar"]
    cases = {
        "folder": [inputs],
        "pattern": [inputs / "x-*.tar"],
        "braces": [inputs / "x-{08..09}.tar"],
        "list": both,
        "one": both[:1],
        "standard input": ["-"],
    }
    whole = None
    for name, given in cases.items():
        out = tmp_path / name
        stdin = "\n".join(map(str, both)) if given == ["-"] else None
        code, text, err = call("translate", model, *given, out, "--to", "B", "--json", stdin=stdin)
        assert code == 0, err
        found = sorted(path.name for path in out.glob("*.tar"))
        assert json.loads(text)["ok"] == 2 * len(found)
        assert "shards" not in text
        whole = whole or (out / "x-08.tar").read_bytes()
        assert (out / "x-08.tar").read_bytes() == whole
        assert len(found) == {"folder": 3, "pattern": 3, "one": 1}.get(name, 2)
    assert [sample["__key__"] for sample in read(out / "x-09.tar")] == ["0018", "0019"]


def test_a_shard_that_fails_is_named_with_exit_1(model: Path, inputs: Path, tmp_path: Path) -> None:
    (inputs / "x-09.tar").write_bytes(b"")
    out = tmp_path / "out"
    code, text, err = call("translate", model, inputs, out, "--to", "B")
    assert code == 1
    assert "x-09.tar: is empty" in err
    assert "translating: 3 of 3" in err
    assert "4 translated to B, 0 skipped, 1 failed" in text
    code, text, _ = call("translate", model, inputs, out, "--to", "B", "--skip-existing")
    assert code == 1
    assert "0 translated to B, 4 skipped (up to date: 4), 1 failed" in text


def test_members_are_chosen_and_named_in_errors(model: Path, inputs: Path, tmp_path: Path) -> None:
    members = samples(tmp_path, 1)
    members["0000.mask.png"] = members["0000.png"]
    shard = pack(tmp_path / "y.tar", members)
    code, _, err = call("translate", model, shard, tmp_path / "o", "--to", "B", "--members", "png")
    assert code == 0, err
    made = contents(tmp_path / "o" / "y.tar")
    assert made["0000.mask.png"] == members["0000.mask.png"]
    assert made["0000.png"] != members["0000.png"]

    for given, option in [(shard, "txt"), (model, "png")]:
        code, _, err = call("translate", model, given, tmp_path / "p", "--members", option)
        assert code == 2
        assert "--members" in err


@pytest.mark.parametrize("out", ["one.tar", "one.png", "-"])
def test_shards_go_into_a_folder(
    model: Path, inputs: Path, memory: str, tmp_path: Path, out: str
) -> None:
    address = upload(inputs, f"{memory}in")
    for given in (inputs / "x-08.tar", f"{address}/x-08.tar", f"{address}/x-{{08..09}}.tar"):
        for above in (f"{tmp_path}/", f"{memory}out/"):
            place = out if out == "-" else f"{above}{out}"
            code, _, err = call("translate", model, given, place, "--to", "B")
            assert code == 2
            assert f"{place}: " in err
            assert "name a folder to write into" in err
    assert not (tmp_path / out).exists()
    assert stored(f"{memory}out") == {}


def test_a_folder_may_be_named_like_a_picture(model: Path, inputs: Path, tmp_path: Path) -> None:
    code, _, err = call("translate", model, inputs / "x-08.tar", f"{tmp_path}/o.png/", "--to", "B")
    assert code == 0, err
    assert files(tmp_path / "o.png").keys() == {"x-08.tar"}


def test_a_member_of_a_shard_may_be_one_picture(
    model: Path, inputs: Path, memory: str, tmp_path: Path
) -> None:
    member = f"tar://0016.png::{upload(inputs, f'{memory}in')}/x-08.tar"
    code, _, err = call("translate", model, member, tmp_path / "one.png", "--to", "B")
    assert code == 0, err
    assert files(tmp_path).keys() >= {"one.png"}


def test_ray_is_for_pictures(model: Path, inputs: Path, tmp_path: Path) -> None:
    options = ("--to", "B", "--engine", "ray")
    code, _, err = call("translate", model, inputs, tmp_path / "o", *options)
    assert code == 2
    assert "--shard I/N" in err


def test_shards_at_an_address_are_listed_once(
    model: Path, inputs: Path, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = StoredFolder.find
    listed = []

    def count(self: StoredFolder) -> Any:
        listed.append(self.address)
        return find(self)

    monkeypatch.setattr(StoredFolder, "find", count)
    address = upload(inputs, f"{memory}in")
    code, _, err = call("translate", model, f"{address}/x-*.tar", tmp_path / "out", "--to", "B")
    assert code == 0, err
    assert listed == [address]


def test_shards_go_from_address_to_address(
    model: Path, inputs: Path, bucket: str, tmp_path: Path
) -> None:
    code, _, err = call("translate", model, inputs, tmp_path / "out", "--to", "B")
    assert code == 0, err
    address = upload(inputs, f"{bucket}/in")
    command = ("translate", model, f"{address}/x-{{08..10}}.tar", f"{bucket}/out", "--to", "B")
    code, out, err = call(*command)
    assert code == 0, err
    assert f"{bucket}/out: 6 translated to B" in out
    found = stored(f"{bucket}/out")
    assert {name: found[name] for name in files(tmp_path / "out")} == files(tmp_path / "out")
    assert found.keys() == {*files(tmp_path / "out"), "manifest.jsonl"}
    code, out, err = call(*command, "--skip-existing", "--json")
    assert code == 0, err
    assert json.loads(out)["reasons"] == {"up to date": 6}
    code, out, err = call("status", f"{bucket}/out")
    assert code == 0, err
    assert f"{bucket}/out: 3 of 3 translated (100%)" in out
