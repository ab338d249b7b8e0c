"""`introshift settings`: what it lists is what the config has, and so is its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from tests._helpers.commands import call
from translate.config import Config, from_dict

CONFIGS = Path(__file__).parents[2] / "configs"


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    code, out, err = call("settings", *arguments, "--json")
    assert code == 0, err
    found: dict[str, dict[str, Any]] = json.loads(out)
    return found


def test_every_setting_is_listed_with_default_type_and_meaning() -> None:
    found = listed()
    defaults = from_dict({}).model_dump(mode="json")
    assert {name: set(keys) for name, keys in found.items()} == {
        name: set(keys) for name, keys in defaults.items()
    }
    for name, settings in found.items():
        section = Config.model_fields[name].annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        for key, about in settings.items():
            meaning = section.model_fields[key].description
            assert about["meaning"].split() == str(meaning).split()
            assert about["type"]
            if "default" in about:
                assert about["default"] == defaults[name][key]
    assert "default" not in found["model"]["width"]


def test_the_text_has_a_line_for_each_setting_at_80_columns() -> None:
    code, out, _ = call("settings", "train")
    assert code == 0
    lines = out.splitlines()
    assert any(
        line.startswith("  train.steps: 20000  (whole number, at least 1,") for line in lines
    )
    assert any(line.startswith("  train.precision: auto  (auto, fp32 or bf16)") for line in lines)
    assert "data.size" not in out
    assert max(map(len, lines)) <= 100


def test_one_setting() -> None:
    assert list(listed("data.size")["data"]) == ["size"]


@pytest.mark.parametrize("name", ["dada", "data.sise"])
def test_what_is_no_setting_is_refused_with_what_is(name: str) -> None:
    code, out, err = call("settings", name)
    assert (code, out) == (2, "")
    assert name in err
    assert "data" in err


def test_the_schema_knows_every_key_and_requires_none() -> None:
    code, out, _ = call("settings", "--schema")
    assert code == 0
    schema = json.loads(out)
    sections = {
        name: schema["$defs"][field["$ref"].rpartition("/")[2]]
        for name, field in schema["properties"].items()
    }
    assert set(sections) == set(Config.model_fields)
    for section in (schema, *sections.values()):
        assert "required" not in section
        assert section["additionalProperties"] is False
    for path in CONFIGS.glob("*.yaml"):
        for name, settings in yaml.safe_load(path.read_text()).items():
            assert set(settings) <= set(sections[name]["properties"])


def test_the_schema_is_of_the_whole_config() -> None:
    code, _, err = call("settings", "data", "--schema")
    assert code == 2
    assert "--schema" in err
