"""WebDataset shards: what is found in them, good and hostile, and what is written."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path

import braceexpand
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext, group_by_keys

from tests._helpers.shards import contents, pack
from translate.io import shards
from translate.io.shards import Member, ShardError, group, read_members, split_name

NAMES = st.text("ab._/A-\nü", min_size=1, max_size=12)
MEMBERS = {"a.jpg": b"picture", "a.json": b"{}", "b.jpg": b"", "b.cls": b"7" * 600}


def found(path: Path) -> list[Member]:
    with open(path, "rb") as file:
        return list(read_members(file))


def reason(path: Path) -> str:
    with pytest.raises(ShardError) as caught:
        found(path)
    return str(caught.value)


# -- names --


@given(NAMES)
@example("./a.b/c.input.PNG")
@example("a/.hidden")
@example("no suffix")
def test_names_are_split_as_webdataset_does(name: str) -> None:
    key, extension = split_name(name)
    if shards.META.match(name):
        assert key is None
        return
    base, rest = base_plus_ext(name)
    assert key == base
    assert extension == (rest or "").lower()


@given(st.lists(NAMES, max_size=8))
def test_samples_are_those_that_webdataset_reads(names: list[str]) -> None:
    names = [name for name in names if not shards.META.match(name)]
    files = [{"fname": name, "data": b"", "__url__": "x.tar"} for name in names]
    try:
        read = list(group_by_keys(files))
    except ValueError:  # an extension twice
        return
    grouped = [
        [split_name(member.name) for member in sample] for sample in group(map(_member, names))
    ]
    ours = [sample for sample in grouped if sample[0][0] is not None]
    assert [sample[0][0] for sample in ours] == [sample["__key__"] for sample in read]
    extensions = [[e for e in sample if e not in ("__key__", "__url__")] for sample in read]
    assert [[extension for _, extension in sample] for sample in ours] == extensions


def _member(name: str) -> Member:
    return Member(name, 0, 0)


def test_metadata_that_webdataset_passes_over_is_in_no_sample(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", {"a.jpg": b"1", "__meta__/x.json": b"2", "a.cls": b"3"})
    assert [[m.name for m in sample] for sample in group(found(path))] == [
        ["a.jpg", "a.cls"],
        ["__meta__/x.json"],
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "x-{000..012}.tar",
        "x-{8..11}.tar",
        "x-{10..08}.tar",
        "{train,test}/x-{0..1}.tar",
        "{a,}.tar",
        "plain.tar",
        "{}.tar",
    ],
)
def test_braces_stand_for_what_webdataset_takes_them_for(pattern: str) -> None:
    assert shards.expand(pattern) == list(braceexpand.braceexpand(pattern))


def test_braces_that_stand_for_too_many_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="smaller range"):
        shards.expand("x-{0..99999999999999999999}.tar")
    with pytest.raises(ValueError, match="smaller range"):
        shards.expand("{1..9999}/x-{1..9999}.tar")


# -- reading --


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_members_of_every_kind_of_tar_are_found(tmp_path: Path, kind: int) -> None:
    names = ["./a.jpg", "ü/" + "n" * 90 + ".jpg", "b.cls"]
    with tarfile.open(tmp_path / "x.tar", "w", format=kind) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(name[0].encode() * 700))
    members = found(tmp_path / "x.tar")
    assert [member.name for member in members] == names
    with open(tmp_path / "x.tar", "rb") as file:
        to = io.BytesIO()
        shards.copy_member(file, members[2], to)
    assert to.getvalue() == b"b" * 700


def test_links_devices_and_folders_are_no_members(tmp_path: Path) -> None:
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for number, kind in enumerate(kinds):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.type = kind
            info.linkname = "/etc/passwd"
            tar.addfile(info)
    members = found(tmp_path / "x.tar")
    assert [member.special for member in members] == [True] * 4
    assert group(members) == []


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "C:\\a.jpg", "..\\a.jpg", "\\\\host\\a.jpg", ""],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    [member] = found(pack(tmp_path / "x.tar", {name: b"1"}))
    assert member.refused is not None
    assert "rename it" in member.refused


def test_long_and_sparse_members_are_refused(tmp_path: Path) -> None:
    [member] = found(pack(tmp_path / "x.tar", {"n" * 5000 + ".jpg": b"1"}))
    assert "5004 characters" in str(member.refused)
    info = tarfile.TarInfo("holes.jpg")
    info.size = 512
    info.pax_headers = {"GNU.sparse.size": "99999999999", "GNU.sparse.map": "0,1,99999999998,1"}
    with tarfile.open(tmp_path / "y.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(bytes(512)))
    [member] = found(tmp_path / "y.tar")
    assert "sparse" in str(member.refused)


def test_no_cut_is_taken_for_a_whole_tar(tmp_path: Path) -> None:
    whole = pack(tmp_path / "x.tar", MEMBERS).read_bytes()
    end = len(whole) - len(whole.rstrip(b"\0"))
    last = (len(whole) - end) // 512 * 512 + 512  # where the mark of the end begins
    for cut in [0, 1, 100, 511, 512, 513, 1024, 1500, 2048, last - 1, last, last + 511]:
        path = tmp_path / "cut.tar"
        path.write_bytes(whole[:cut])
        assert any(word in reason(path) for word in ("cut off", "empty", "no tar")), cut
    path.write_bytes(whole[: last + 1024])
    assert len(found(path)) == len(MEMBERS)


@given(st.binary(max_size=40), st.integers(0, 4000))
def test_damage_is_named_or_changes_no_place(folder: Path, noise: bytes, place: int) -> None:
    whole = pack(folder / "x.tar", MEMBERS).read_bytes()
    damaged = whole[:place] + noise + whole[place + len(noise) :]
    (folder / "x.tar").write_bytes(damaged)
    with suppress(ShardError):
        members = found(folder / "x.tar")
        assert [member.size for member in members] == [len(data) for data in MEMBERS.values()]


def test_what_follows_the_end_is_not_lost_in_silence(tmp_path: Path) -> None:
    whole = pack(tmp_path / "x.tar", MEMBERS).read_bytes()
    (tmp_path / "x.tar").write_bytes(whole + whole)
    assert "goes on after the mark of its end" in reason(tmp_path / "x.tar")


@pytest.mark.parametrize(
    "content", [b"", b"hello", bytes(range(256)) * 8, b"\x1f\x8b" + bytes(600)]
)
def test_no_tar_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    assert reason(tmp_path / "x.tar")


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.type = kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("size", [-512, 2**20 + 1, 2**62])
def test_a_header_that_asks_for_memory_gets_none(tmp_path: Path, kind: bytes, size: int) -> None:
    (tmp_path / "x.tar").write_bytes(_header("x", size, kind) + bytes(2048))
    assert reason(tmp_path / "x.tar")


def test_a_size_that_lies_is_named(tmp_path: Path) -> None:
    for size in (10**12, -1024):
        (tmp_path / "x.tar").write_bytes(_header("a.jpg", size) + bytes(4096))
        assert "cut off" in reason(tmp_path / "x.tar") or "damaged" in reason(tmp_path / "x.tar")


def test_headers_nested_without_end_are_named(tmp_path: Path) -> None:
    nested = (_header("x", 1, tarfile.GNUTYPE_LONGNAME) + b"y".ljust(512, b"\0")) * 3000
    (tmp_path / "x.tar").write_bytes(nested + bytes(1024))
    assert reason(tmp_path / "x.tar")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar")
    opened = shards.opened(tmp_path / "x.tar", tmp_path)
    with pytest.raises(OSError, match="not a regular file"), opened:
        pass


# -- compressed --


@pytest.mark.parametrize("name", ["x.tar.gz", "x.TGZ"])
def test_compressed_ones_are_unpacked(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / name, MEMBERS, "w:gz")
    with shards.opened(path, tmp_path) as file:
        assert [member.name for member in read_members(file)] == list(MEMBERS)
    with shards.streamed(path) as file:
        assert [member.name for member in read_members(file)] == list(MEMBERS)


@pytest.mark.parametrize("cut", [0, 5, 60, -4])
def test_compressed_ones_that_are_cut_off_are_named(tmp_path: Path, cut: int) -> None:
    path = pack(tmp_path / "x.tar.gz", MEMBERS, "w:gz")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ShardError), shards.opened(path, tmp_path) as file:
        list(read_members(file))


# -- writing --


@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_what_is_written_depends_on_names_and_bytes_alone(tmp_path: Path, name: str) -> None:
    members = {**MEMBERS, "ü" * 200 + ".json": b"long", "caf\udce9.txt": b"no UTF-8"}
    made = []
    for i in range(2):
        path = tmp_path / f"{i}" / name
        path.parent.mkdir()
        with shards.written(path, name) as writer:
            for member, data in members.items():
                writer.add(member, len(data), io.BytesIO(data))
        made.append(path.read_bytes())
        os.utime(path, (0, 0))
    assert made[0] == made[1]
    assert contents(path) == members
    with tarfile.open(path) as tar:
        assert {(info.mtime, info.uid, info.gid, info.uname, info.mode) for info in tar} == {
            (0, 0, 0, "", 0o644)
        }
    if name == "x.tgz":
        assert gzip.decompress(made[0])[:3] == b"a.j"


def test_a_member_that_has_become_shorter_is_no_part_of_a_shard(tmp_path: Path) -> None:
    written = shards.written(tmp_path / "x.tar", "x.tar")
    with pytest.raises(OSError, match="end of data"), written as writer:
        writer.add("a.jpg", 9, io.BytesIO(b"short"))
