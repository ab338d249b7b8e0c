"""The config: strictness, messages, round trips."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from translate.config import Config, ConfigError, from_dict, load_config, override, parse_yaml
from translate.presets import PRESETS

CONFIGS = Path(__file__).parents[1] / "configs"


def settings_of(section: str) -> dict[str, FieldInfo]:
    return cast(type[BaseModel], Config.model_fields[section].annotation).model_fields


@pytest.mark.parametrize("section", Config.model_fields)
def test_every_setting_has_its_meaning_in_the_schema(section: str) -> None:
    assert all(field.description for field in settings_of(section).values())


def test_defaults_survive_yaml() -> None:
    config = from_dict({})
    assert from_dict(parse_yaml(config.to_yaml(), "text")) == config


@given(
    steps=st.integers(1, 10**7),
    rate=st.floats(1e-8, 1.0),
    beta_neg=st.one_of(st.just("auto"), st.floats(0.01, 1e4)),
    preset=st.sampled_from(sorted(PRESETS)),
    names=st.lists(
        st.text("abcXYZ 09-_é", min_size=1, max_size=8), min_size=2, max_size=4, unique=True
    ),
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
    ("values", "key", "named"),
    [
        ({"trian": {}}, "trian", "train?"),
        ({"data": {"sise": 3}}, "data.sise", "data.size?"),
        ({"data": {"qqqq": 3}}, "data.qqqq", "background"),
        ({"data": {"size": "x"}}, "data.size", "'x'"),
        ({"data": {"size": 33}}, "data.size", "stride 4; use 32"),
        ({"data": {"size": 32, "load_size": 16}}, "data.load_size", "data.size 32"),
        ({"data": {"background": [1, 2, 300]}}, "data.background", "300"),
        ({"model": {"preset": "huge"}}, "model.preset", "'small'"),
        ({"objective": {"beta_neg": "sometimes"}}, "objective.beta_neg", "'auto'"),
        ({"objective": {"lambda_cyc": -1}}, "objective.lambda_cyc", "-1"),
        ({"train": {"steps": 1.5}}, "train.steps", "1.5"),
        ({"train": {"steps": True}}, "train.steps", "True"),
        ({"train": None}, "train", "None"),
        ({"data": {"domains": {}}}, "data.domains", "at least 1"),
        ({"model": {"content_channels": 0}}, "model.content_channels", "use 1 or more"),
        (
            {"data": {"domains": {"A": "a"}}, "train": {"warmup": 0}},
            "objective.beta_neg",
            "such as 64",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key_and_remedy(values: object, key: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(values)
    lines = [line for line in str(caught.value).splitlines() if line.startswith(f"config: {key}: ")]
    assert any(named in line for line in lines)


def test_what_is_no_mapping_is_refused_with_the_sections() -> None:
    with pytest.raises(ConfigError, match=", ".join(Config.model_fields)):
        from_dict([1])


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict({"data": {"flip": 2}, "train": {"steps": 0, "oops": 1}})
    assert len(str(caught.value).splitlines()) == 3


def test_numbers_without_a_dot_are_numbers() -> None:
    config = from_dict(
        override({}, ["train.learning_rate=1e-4", "data.domains={A: x, B: y, C: z}"])
    )
    assert config.train.learning_rate == 1e-4
    assert config.data.names == ("A", "B", "C")


@pytest.mark.parametrize("values", [{}, {"data": {"domains": None}}])
def test_one_of_the_two_domains_can_be_named_alone(values: dict[str, Any]) -> None:
    data = from_dict(override(values, ["data.domains.A=photos"])).data
    assert (data.names, data.folder("A"), data.folder("B")) == (
        ("A", "B"),
        Path("photos"),
        Path("trainB"),
    )
    assert from_dict(override(values, ["data.domains.a=x", "data.domains.b=y"])).data.names == (
        "a",
        "b",
    )
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


ODD_NAMES = [
    r"C:\new\table",
    "it's",
    'say "hi"',
    "a: b",
    "# 1",
    " spaced ",
    "null",
    "1e3",
    "",
    "[x",
    "{a: 1}",
    "*a",
    "a\nb",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_option_values_arrive_unchanged(name: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("train: {steps: 5}\n")
    config = load_config(path, ["train.steps=7", "data.root=other"], {"data.root": name})
    assert config.data.root == name
    assert config.train.steps == 7


@pytest.mark.parametrize("key", ["steps", "train.", ".steps", ""])
def test_malformed_option_keys_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=r"expected section\.key"):
        override({}, [], {key: 1})


def test_aliases_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 10):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]")
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"bomb\.yaml: line 2: aliases"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {steps: 5}\ndata: {size: 32}\ntrain: {seed: 1}\n",
            "line 3: the key train ",
        ),
        ("train:\n  steps: 5\n  steps: 6\n", "line 3: the key steps "),
        ("[" * 100_000, "line 1: nested more than 20 levels"),
        ("{a: " * 1000, "line 1: nested more than 20 levels"),
        ("train: {steps: " + "9" * 5000 + "}", "cannot be read"),
        ("train: {steps: 2026-13-01}", "cannot be read"),
        (
            "train: {steps: 0x" + "f" * 5000 + "}",
            "train.steps: a number of thousands of digits",
        ),
        ("train: {learning_rate: 0x" + "f" * 5000 + "}", "train.learning_rate: "),
        ("? [a, b]\n: 1\n", "is not valid YAML"),
        ("1: 2\n", "1: "),
        ("train: {1: 2}\n", "train.1: "),
    ],
)
def test_yaml_beyond_what_a_config_needs_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < len(str(path)) + 500


def test_a_huge_value_key_or_number_of_problems_makes_no_huge_message() -> None:
    many = {f"k{i}": i for i in range(10_000)}
    for values in (
        {"train": {"steps": "x" * 10**6}},
        {"train": {"steps": [[[list(range(10**5))]] * 100]}},
        {"train": {"y" * 10**6: 1}},
        {"z" * 10**6: 1},
        {"train": many},
        {"data": {"domains": {"k" * 10**6: 1}}},
    ):
        with pytest.raises(ConfigError) as caught:
            from_dict(values)
        assert len(str(caught.value)) < 30_000
        assert max(map(len, str(caught.value).splitlines())) < 1000


def number_keys() -> list[tuple[str, str]]:
    return [
        (section, key)
        for section in Config.model_fields
        for key, value in settings_of(section).items()
        if any(kind in str(value.annotation) for kind in ("int", "float")) and key != "background"
    ]


@pytest.mark.parametrize(("section", "key"), number_keys())
def test_every_number_has_an_upper_bound_and_is_finite(section: str, key: str) -> None:
    for value in (math.inf, -math.inf, math.nan, 10**19, 1e30):
        with pytest.raises(ConfigError) as caught:
            from_dict({section: {key: value}})
        assert f"config: {section}.{key}: {value!r} " in str(caught.value)


@pytest.mark.parametrize("value", ["fp32", "32", 32])
def test_single_precision_is_named_fp32_and_read_as_32_too(value: object) -> None:
    config = from_dict({"train": {"precision": value}})
    assert config.train.precision == "fp32"
    assert "precision: fp32" in config.to_yaml()


@pytest.mark.parametrize("value", [16, 32.5, True, "16", None])
def test_other_precisions_are_refused_with_the_names(value: object) -> None:
    with pytest.raises(ConfigError, match=r"train\.precision: .*'fp32'"):
        from_dict({"train": {"precision": value}})


def test_a_config_written_before_fp32_had_its_name_is_read() -> None:
    path = Path(__file__).parent / "golden" / "run" / "config.yaml"
    assert "precision: '32'" in path.read_text()
    assert load_config(path).train.precision == "fp32"


def config_in(folder: Path, text: str) -> Path:
    folder.mkdir()
    path = folder / "my.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("{}", "conf/trainA"),
        ("data: {domains: {A: a, B: b}}", "conf/a"),
        ("data: {root: pictures}", "conf/pictures/trainA"),
        ("data: {root: ../pictures, domains: {A: a, B: b}}", "pictures/a"),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_folders_in_a_file_are_relative_to_it(
    text: str, folder: str, absolute: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = config_in(Path("conf"), text)
    data = load_config(path.absolute() if absolute else path).data
    assert data.folder("A") == (tmp_path / folder if absolute else Path(folder))


def test_absolute_folders_stay(tmp_path: Path) -> None:
    path = config_in(tmp_path / "conf", f"data: {{root: {tmp_path / 'here'}, domains: {{A: /a}}}}")
    data = load_config(path).data
    assert data.folder("A") == Path("/a").absolute()
    assert data.folder("A", "test") == tmp_path / "here" / "testA"


def test_folders_in_settings_are_relative_to_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = config_in(Path("conf"), "data: {domains: {A: a, B: b}}")
    (tmp_path / "elsewhere").mkdir()

    replaced = load_config(path, ["data.domains.A=new"]).data
    assert replaced.folder("A").resolve() == tmp_path / "new"
    assert replaced.folder("B") == Path("conf/b")
    mapped = load_config(path, ["data.tests={A: t}"]).data
    assert mapped.folder("A", "test").resolve() == tmp_path / "t"
    assert mapped.folder("B", "test") == Path("conf/testB")
    assert load_config(path, [], {"data.root": "other"}).data.folder("A") == Path("other/a")
    assert load_config(path, ["data.root=o", "data.domains.A=x"]).data.folder("A") == Path("o/x")

    monkeypatch.chdir(tmp_path / "elsewhere")
    again = load_config(Path("../conf/my.yaml"), ["data.domains.A=new"]).data
    assert again.folder("A").resolve() == tmp_path / "elsewhere" / "new"
    assert again.folder("B") == Path("../conf/b")


def test_a_config_that_is_written_to_a_folder_is_read_from_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/one", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    config = from_dict({"data": {"root": "pictures"}})
    stored = config.written_to(Path("runs/one"))
    assert stored.data.root == os.path.join("..", "..", "pictures")
    assert stored.read_from(Path("runs/one")) == config
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = stored.read_from(Path("../runs/one")).data.folder("A")
    assert found == Path("../pictures/trainA")


def test_a_detour_over_a_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "disk" / "runs").mkdir(parents=True)
    (tmp_path / "disk" / "pictures").mkdir()
    link = tmp_path / "runs"
    link.symlink_to(tmp_path / "disk" / "runs", target_is_directory=True)
    data = from_dict({"data": {"root": "../pictures"}}).read_from(link).data
    assert Path(str(data.root)).resolve() == tmp_path / "disk" / "pictures"
