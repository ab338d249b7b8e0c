"""The config: strictness, messages, round trips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate.config import Config, ConfigError, from_dict, load_config, override, parse_yaml
from translate.presets import PRESETS

CONFIGS = Path(__file__).parents[1] / "configs"


def test_defaults_survive_yaml() -> None:
    config = from_dict({})
    assert from_dict(parse_yaml(config.to_yaml(), "text")) == config


@given(
    steps=st.integers(1, 10**7),
    rate=st.floats(1e-8, 1.0),
    beta_neg=st.one_of(st.just("auto"), st.floats(0.01, 1e4)),
    preset=st.sampled_from(sorted(PRESETS)),
    names=st.lists(st.text("abcXYZ 09-_é", min_size=1, max_size=8), min_size=2, max_size=4, unique=True),
)
def test_any_valid_config_survives_yaml(
    steps: int, rate: float, beta_neg: object, preset: str, names: list[str]
) -> None:
    config = from_dict(
        {
            "data": {"size": 256, "domains": {name: f"folder/{name}" for name in names}},
            "model": {"preset": preset},
            "objective": {"beta_neg": beta_neg},
            "train": {"steps": steps, "learning_rate": rate},
        }
    )
    again = from_dict(parse_yaml(config.to_yaml(), "text"))
    assert again == config
    assert again.data.names == tuple(names)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trian": {}}, "trian: unknown key; did you mean train?"),
        ({"data": {"sise": 3}}, "data.sise: unknown key; did you mean data.size?"),
        ({"data": {"size": "x"}}, "data.size: 'x' is not allowed"),
        ({"data": {"size": 33}}, "data.size: 33 is no multiple of the model's stride 4; use 32"),
        ({"data": {"size": 32, "load_size": 16}}, "data.load_size: 16 is below data.size 32"),
        ({"data": {"background": [1, 2, 300]}}, "data.background: 300 is not allowed"),
        ({"model": {"preset": "huge"}}, "model.preset: 'huge' is not allowed"),
        ({"objective": {"beta_neg": "sometimes"}}, "objective.beta_neg: 'sometimes' is not allowed"),
        ({"objective": {"lambda_cyc": -1}}, "objective.lambda_cyc: -1 is not allowed"),
        ({"train": {"steps": 1.5}}, "train.steps: 1.5 is not allowed"),
        ({"train": {"steps": True}}, "train.steps: True is not allowed"),
        ({"train": None}, "train: None is not allowed"),
        (
            {"data": {"domains": {}}},
            "data.domains: {} is not allowed; dictionary should have at least 1 item",
        ),
        ({"model": {"content_channels": 0}}, "model.content_channels: 0 leaves nothing to translate"),
        ([1], "a mapping of sections"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_remedy(values: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(values)
    assert f"config: {message}" in str(caught.value)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict({"data": {"flip": 2}, "train": {"steps": 0, "oops": 1}})
    assert len(str(caught.value).splitlines()) == 3


def test_numbers_without_a_dot_are_numbers() -> None:
    config = from_dict(override({}, ["train.learning_rate=1e-4", "data.domains={A: x, B: y, C: z}"]))
    assert config.train.learning_rate == 1e-4
    assert config.data.names == ("A", "B", "C")


@pytest.mark.parametrize("values", [{}, {"data": {"domains": None}}])
def test_one_of_the_two_domains_can_be_named_alone(values: dict[str, Any]) -> None:
    data = from_dict(override(values, ["data.domains.A=photos"])).data
    assert (data.names, data.folder("A"), data.folder("B")) == (("A", "B"), Path("photos"), Path("trainB"))
    assert from_dict(override(values, ["data.domains.a=x", "data.domains.b=y"])).data.names == ("a", "b")
    assert from_dict(override(values, ["data.domains={A: x}"])).data.names == ("A",)


@pytest.mark.parametrize("item", ["train.steps", "steps=3", "train..steps=3", "train.steps=[1"])
def test_malformed_settings_are_refused(item: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        override({}, [item])


def test_a_setting_replaces_the_file_and_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("train: {steps: 5}\n")
    assert load_config(path, ["train.steps=7"]).train.steps == 7
    path.write_text("train: [\n")
    with pytest.raises(ConfigError, match=r"my.yaml: line \d+ is not valid YAML"):
        load_config(path)
    path.write_text("train: {steps: !!python/object/apply:os.system [ls]}\n")
    with pytest.raises(ConfigError, match="my.yaml"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_presets_fill_what_is_not_given() -> None:
    model = from_dict({"model": {"preset": "base", "width": 16}, "data": {"size": 128}}).model
    assert (model.width, model.fold, model.stride) == (16, PRESETS["base"]["fold"], 16)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_parses(path: Path) -> None:
    assert isinstance(load_config(path), Config)


def test_every_preset_has_a_config() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} >= set(PRESETS)
