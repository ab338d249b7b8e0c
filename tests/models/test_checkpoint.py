"""Model files and training states: round trips, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from translate.config import Config, from_dict
from translate.models.checkpoint import load_model, save_model
from translate.models.metadata import FORMAT, KEY, read_info
from translate.models.networks import Model
from translate.training.checkpoint import load_state, save_state

CONFIG = from_dict({"data": {"size": 16, "channels": 1}, "model": {"width": 8}})
LARGE = from_dict({"data": {"size": 16}, "model": {"width": 1024, "levels": 2}})


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Model]:
    torch.manual_seed(0)
    model = Model(CONFIG).eval()
    save_model(tmp_path / "model.safetensors", model, CONFIG, {"step": 3})
    return tmp_path / "model.safetensors", model


def test_a_model_is_rebuilt_from_its_file_alone(saved: tuple[Path, Model], tmp_path: Path) -> None:
    path, model = saved
    moved = tmp_path / "elsewhere" / "copy.safetensors"
    moved.parent.mkdir()
    shutil.copy(path, moved)
    file = load_model(moved)
    folders = {"root": CONFIG.data.root}  # the file's are relative to it, and it has moved
    data = file.config.data.model_copy(update=folders)
    assert file.config.model_copy(update={"data": data}) == CONFIG
    assert file.summary == {"step": 3}
    x = torch.rand(2, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.equal(file.model.translate(x, 0, 1), model.translate(x, 0, 1))
        assert torch.equal(file.model.reconstruct(x, 1), model.reconstruct(x, 1))
    assert not any(parameter.requires_grad for parameter in file.model.parameters())


def test_a_run_folder_stands_for_its_model(saved: tuple[Path, Model], tmp_path: Path) -> None:
    path, _ = saved
    assert load_model(path.parent).sha256 == load_model(path).sha256
    assert read_info(path.parent).summary == {"step": 3}
    (tmp_path / "empty").mkdir()
    for read in (load_model, read_info):
        with pytest.raises(ValueError, match=r"empty: no model\.safetensors"):
            read(tmp_path / "empty")


def test_the_bytes_hold_no_pickle(saved: tuple[Path, Model]) -> None:
    data = saved[0].read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    spans = sorted(
        tuple(value["data_offsets"]) for name, value in header.items() if name != "__metadata__"
    )
    assert spans[0][0] == 0
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert 8 + int.from_bytes(data[:8], "little") + spans[-1][1] == len(data), (
        "header, tensors, nothing else"
    )


def test_equal_models_are_equal_files(saved: tuple[Path, Model], tmp_path: Path) -> None:
    path, model = saved
    for _ in range(5):
        save_model(tmp_path / "again.safetensors", model, CONFIG, {"step": 3})
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


class LargestStorage(TorchDispatchMode):
    """Notes the bytes of the largest tensor in memory that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.device.type != "meta":
            self.bytes = max(self.bytes, made.untyped_storage().nbytes())
        return made


def change(path: Path, tensors: dict[str, torch.Tensor] | None = None, **changed: Any) -> None:
    about = {"format": FORMAT, "config": CONFIG.model_dump(mode="json"), "summary": {}, **changed}
    save_file(load_file(path) if tensors is None else tensors, path, {KEY: json.dumps(about)})


def test_damaged_and_foreign_files_are_refused_in_one_line(saved: tuple[Path, Model]) -> None:
    path, _ = saved
    good = path.read_bytes()

    def refused(reason: str) -> None:
        with pytest.raises(ValueError, match=reason) as caught:
            load_model(path)
        assert len(str(caught.value).splitlines()) == 1
        assert str(path) in str(caught.value)
        path.write_bytes(good)

    for content in (good[: len(good) // 2], pickle.dumps({"weights": 1}), b""):
        path.write_bytes(content)
        refused("safetensors")
    change(path, {"features.0.weight": torch.zeros(1)}, format="something")
    refused("not an introshift model")
    for config in ({"model": {"width": "wide"}}, [], 3):
        change(path, config=config)
        refused("damaged model metadata")
    for text in ("{", "[]", "3", "null"):
        save_file(load_file(path), path, {KEY: text})
        refused("damaged model metadata")
    change(path, config=LARGE.model_dump(mode="json"))
    refused("do not fit")
    tensors = load_file(path)
    change(path, {**tensors, "decoder.last.bias": tensors["decoder.last.bias"] * float("nan")})
    refused("not finite")
    change(path, {name: tensor.half() for name, tensor in tensors.items()})
    refused("do not fit")
    path.unlink()
    refused("no such file")


def test_a_changed_bit_anywhere_is_refused(saved: tuple[Path, Model]) -> None:
    path, _ = saved
    good = path.read_bytes()
    load_model(path)
    header = 8 + int.from_bytes(good[:8], "little")
    rng = random.Random(0)
    places = [*rng.sample(range(header), 60), *rng.sample(range(header, len(good)), 60), header]
    for place in places:
        content = bytearray(good)
        content[place] ^= 1 << rng.randrange(8)
        if b"sha256" not in content:  # the name of the hash itself
            continue
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            load_model(path)
        assert len(str(caught.value).splitlines()) == 1
    assert "SHA-256" in str(caught.value)


def test_a_model_file_without_a_hash_is_read(saved: tuple[Path, Model]) -> None:
    path, model = saved
    change(path)
    read = load_model(path).model
    assert torch.equal(read.decoder.last.bias, model.decoder.last.bias)


def test_sizes_that_do_not_fit_the_tensors_take_no_memory(saved: tuple[Path, Model]) -> None:
    path, _ = saved
    change(path, config=LARGE.model_dump(mode="json"))
    with LargestStorage() as largest, pytest.raises(ValueError, match="do not fit"):
        load_model(path)
    assert 0 < largest.bytes <= path.stat().st_size


def trained(config: Config = CONFIG) -> tuple[Model, Model, list[torch.optim.Optimizer]]:
    torch.manual_seed(1)
    model = Model(config)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Adam(p.parameters()) for p in (model.encoder, model.decoder)
    ]
    model.reconstruct(torch.rand(2, 1, 16, 16), 0).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    return model, copy.deepcopy(model), optimizers


def test_a_state_restores_everything_and_two_are_kept(tmp_path: Path) -> None:
    model, ema, optimizers = trained()
    for step in (1, 2, 3):
        save_state(tmp_path, model, ema, optimizers, {"step": step, "seconds": 0.5})
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "step_0000002.safetensors",
        "step_0000003.safetensors",
    ]
    torch.manual_seed(9)
    other = Model(CONFIG)
    fresh = [torch.optim.Adam(p.parameters()) for p in (other.encoder, other.decoder)]
    state, complaints = load_state(tmp_path, other, copy.deepcopy(other), fresh)
    assert state == {"step": 3, "seconds": 0.5}
    assert not complaints
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    )
    for old, new in zip(optimizers, fresh, strict=True):
        before = old.state_dict()["state"]
        after = new.state_dict()["state"]
        assert before.keys() == after.keys()
        assert all(torch.equal(before[i][k], after[i][k]) for i in before for k in before[i])


def test_a_damaged_newest_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    parts = trained()
    save_state(tmp_path, *parts, {"step": 1})
    save_state(tmp_path, *parts, {"step": 2})
    (tmp_path / "step_0000002.safetensors").write_bytes(b"torn")
    state, complaints = load_state(tmp_path, *parts)
    assert state == {"step": 1}
    assert "step_0000002.safetensors" in complaints[0]
    (tmp_path / "step_0000001.safetensors").unlink()
    with pytest.raises(ValueError, match="no training state"):
        load_state(tmp_path, *parts)


def test_a_state_of_other_sizes_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, *trained(), {"step": 1})
    other = from_dict({"data": {"size": 16, "channels": 1}, "model": {"width": 16}})
    with pytest.raises(ValueError, match="another model config"):
        load_state(tmp_path, *trained(other))
