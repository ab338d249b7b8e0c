"""The header of a model file is read alone, and bad ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests._helpers.small_model import save
from translate.models.checkpoint import load_model
from translate.models.metadata import read_info


@pytest.mark.parametrize(
    "options", [{}, {"domains": ("A",), "content_channels": 0, "style_dim": 4}]
)
def test_the_header_says_what_the_model_is(tmp_path: Path, options: dict[str, Any]) -> None:
    path = save(tmp_path, **options)
    file = load_model(path)
    info = read_info(path)
    assert (info.config, info.summary) == (file.config, file.summary)
    assert info.parameters == sum(parameter.numel() for parameter in file.model.parameters())
    assert info.shapes == {
        name: tuple(tensor.shape) for name, tensor in file.model.state_dict().items()
    }


def header_of(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


BAD_HEADERS = {
    "empty": b"",
    "shorter than a length": b"\x05\0",
    "a length beyond the file": (2**63).to_bytes(8, "little") + b"{}",
    "no length": bytes(8) + b"{}",
    "no JSON": (3).to_bytes(8, "little") + b"{a}",
    "no text": (2).to_bytes(8, "little") + b"\xff\xfe",
    "deep": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "no object": header_of([1]),
    "no tensor": header_of({"a": 3}),
    "no shape": header_of({"a": {"dtype": "F32", "data_offsets": [0, 0]}}),
    "a negative shape": header_of({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}),
    "one offset": header_of({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0]}}),
    "cut short": header_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
    "metadata that are no strings": header_of({"__metadata__": {"introshift": 3}}),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_bad_header_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(BAD_HEADERS[case])
    with pytest.raises(ValueError, match="not a readable safetensors file") as caught:
        read_info(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut short"):
        read_info(path)
    path.write_bytes(header_of({}))
    with pytest.raises(ValueError, match="not an introshift model"):
        read_info(path)
    path.write_bytes(header_of({"__metadata__": {"introshift": "{"}}))
    with pytest.raises(ValueError, match="damaged model metadata"):
        read_info(path)
    with pytest.raises(ValueError, match="no such file"):
        read_info(tmp_path / "none")


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    path = save(tmp_path)
    before = torch.get_rng_state()
    load_model(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_folders_of_the_config_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    path = save(Path("run"))
    assert read_info(path).config.data.folder("B") == Path("B")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read_info(Path("../run") / path.name).config.data.folder("B") == Path("../B")
    assert str(tmp_path.parent).encode() not in (tmp_path / "run" / path.name).read_bytes()


def test_folders_of_an_earlier_version_s_file_are_relative_to_the_current_one() -> None:
    golden = Path(__file__).parents[1] / "golden" / "two_domains.safetensors"
    assert not Path(read_info(golden).config.data.folder("A")).is_absolute()
    assert "golden" not in str(read_info(golden).config.data.folder("A"))
