"""What surrounds the code: workflows, forms and citation parse, and name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import translate
from tests._helpers.wheel import SHIPPED

ROOT = Path(__file__).parents[1]
YAML = [
    ".github/workflows/ci.yml",
    ".github/ISSUE_TEMPLATE/bug.yml",
    ".github/ISSUE_TEMPLATE/feature.yml",
    ".github/workflows/images.yml",
    ".pre-commit-config.yaml",
    "CITATION.cff",
]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


@pytest.mark.parametrize("name", YAML)
def test_a_yaml_file_is_a_mapping(name: str) -> None:
    assert isinstance(load(name), dict)


def test_the_workflow_runs_the_oldest_and_the_newest_python_on_three_systems() -> None:
    matrix = load(YAML[0])["jobs"]["test"]["strategy"]["matrix"]
    versions = re.findall(r"Python :: (3\.\d+)", PYPROJECT)
    assert matrix["python"] == [versions[0], versions[-1]]
    assert {system.split("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_the_workflow_installs_the_torch_that_the_project_asks_for() -> None:
    install = " ".join(step.get("run", "") for step in load(YAML[0])["jobs"]["test"]["steps"])
    for expected in re.findall(r'"(torch(?:vision)?[>=][^"]+)"', PYPROJECT):
        assert f'"{expected}"' in install


def test_the_image_installs_the_torch_that_the_project_asks_for() -> None:
    for expected in re.findall(r'"(torch(?:vision)?[>=][^"]+)"', PYPROJECT):
        assert f'"{expected}"' in DOCKERFILE


def test_the_image_is_made_of_what_the_package_is_and_is_not_run_as_root() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
    sources = [source for line in copied for source in line.split()]
    assert sorted(sources) == sorted(SHIPPED)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    assert [line.removeprefix("!") for line in ignored if line.startswith("!")] == sources
    assert all((ROOT / source).exists() for source in sources)

    [extras] = re.findall(r"^ARG EXTRAS=(.+)$", DOCKERFILE, re.M)
    assert all(re.search(rf"^{extra} = \[", PYPROJECT, re.M) for extra in extras.split(","))
    [python] = re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE, re.M)
    assert f"Python :: {python}" in PYPROJECT
    [command] = re.findall(r'^ENTRYPOINT \["(.+)"\]$', DOCKERFILE, re.M)
    assert f"\n{command} = " in PYPROJECT
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.M)[-1] not in ("root", "0", "0:0")


@pytest.mark.parametrize("name", YAML[1:3])
def test_an_issue_form_has_unique_fields_that_are_labelled(name: str) -> None:
    form = load(name)
    assert {"name", "description", "body"} <= form.keys()
    fields = [item for item in form["body"] if item["type"] != "markdown"]
    assert all(item["attributes"]["label"] for item in fields)
    assert len({item["id"] for item in fields}) == len(fields)


def test_the_hooks_are_the_linters_of_make() -> None:
    hooks = load(".pre-commit-config.yaml")["repos"][0]["hooks"]
    recipe = (ROOT / "Makefile").read_text("utf-8").split("\nlint:")[1].split("\n\n")[0]
    assert [hook["name"] for hook in hooks] == [
        re.sub(r" (--check )?\.$", "", command) for command in re.findall(r"/(.+)", recipe)[1:]
    ]
    assert {hook["language"] for hook in hooks} == {"system"}


def test_the_citation_has_the_version() -> None:
    assert load("CITATION.cff")["version"] == translate.__version__


def test_the_map_names_every_room() -> None:
    rooms = {
        f"translate/{path.name}/" if path.is_dir() else f"translate/{path.name}"
        for path in (ROOT / "translate").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    mapped = set(re.findall(r"^\| `(translate/[^`]+)`", CONTRIBUTING, re.M))
    assert mapped == rooms - {"translate/__init__.py"}


def test_names_of_the_glossary_are_in_the_code() -> None:
    folders = ("translate", "pipelines")
    code = "".join(p.read_text("utf-8") for f in folders for p in (ROOT / f).rglob("*.py"))
    rows = re.findall(r"^\|[^|]+\|[^|]*\|([^|]+)\|[^|]+\|$", GLOSSARY, re.M)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(names) > 40
    words = [re.escape(name.strip("/-")) for name in names]
    missing = [word for word in words if not re.search(rf"(?<!\w){word}(?!\w)", code)]
    assert not missing
