"""`introshift settings`: every setting of a config with its default, type and meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pipelines._console import result
from pipelines._options import Json

KINDS = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
}
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
}
WIDTH = 88


def command(
    section: Annotated[
        str | None,
        typer.Argument(metavar="SECTION", help="Such as data, or one setting such as data.size."),
    ] = None,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print a JSON schema of config files, for editors, instead."),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the settings of a config with default, type and meaning."""
    from translate.config import Config

    whole = Config.schema_of_files()
    if schema:
        if section is not None:
            raise ValueError(f"--schema: is of the whole config; leave out {section}")
        print(json.dumps(whole, indent=2, ensure_ascii=False))
        return

    sections = {name: _section(whole, name) for name in Config.model_fields}
    names = _chosen(sections, section)
    found = {name: {key: _setting(sections[name], key) for key in keys} for name, keys in names}
    lines = []
    for name, settings in found.items():
        lines += [f"{name}: {sections[name]['description']}", ""]
        lines += [
            line for key, about in settings.items() for line in _lines(f"{name}.{key}", about)
        ]
    closing = (
        "Change one with introshift train CONFIG --set KEY=VALUE, or write it into the config."
    )
    result(found, "\n".join([*lines, closing]), as_json)


def _section(whole: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the part of the schema that a section's name refers to."""
    reference = whole["properties"][name]["$ref"]
    section: dict[str, Any] = whole["$defs"][reference.rpartition("/")[2]]
    return section


def _chosen(sections: dict[str, dict[str, Any]], given: str | None) -> list[tuple[str, list[str]]]:
    """Return the sections and their settings that are asked for."""
    if given is None:
        return [(name, list(section["properties"])) for name, section in sections.items()]
    name, _, key = given.partition(".")
    if name not in sections:
        raise ValueError(f"{given}: no such section; there are {', '.join(sections)}")
    keys = list(sections[name]["properties"])
    if key and key not in keys:
        raise ValueError(f"{given}: no such setting; {name} has {', '.join(keys)}")
    return [(name, [key] if key else keys)]


def _setting(section: dict[str, Any], key: str) -> dict[str, Any]:
    """Return type, default and meaning of a setting; no default where the preset decides."""
    field = section["properties"][key]
    about = {"type": _type(field), "meaning": " ".join(field["description"].split())}
    return {**about, "default": field["default"]} if "default" in field else about


def _type(schema: dict[str, Any]) -> str:
    """Return what a value may be, in words."""
    if "anyOf" in schema:
        kinds = [part for part in schema["anyOf"] if part != {"type": "null"}]
        return " or ".join(map(_type, kinds))
    if "enum" in schema or "const" in schema:
        *others, last = [str(value) for value in schema.get("enum", [schema.get("const")])]
        return f"{', '.join(others)} or {last}" if others else last
    if schema["type"] == "array":
        return f"list of {schema.get('minItems', 'any length')}: {_type(schema['items'])}"
    if schema["type"] == "object":
        return "{NAME: FOLDER, ...}"
    return ", ".join([KINDS[schema["type"]], *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    for name, words in BOUNDS.items():
        if name in schema:
            yield f"{words} {schema[name]:.12g}"


def _default(about: dict[str, Any]) -> str:
    value = about.get("default", "of the preset")
    if value is None:
        return "not given"
    return value if isinstance(value, str) else json.dumps(value)


def _lines(name: str, about: dict[str, Any]) -> list[str]:
    """Return a setting: a line with its name, default and type, and indented its meaning."""
    import textwrap

    default = _default(about)
    margin = " " * 6
    meaning = textwrap.fill(
        about["meaning"], WIDTH, initial_indent=margin, subsequent_indent=margin
    )
    return [f"  {name}: {default}  ({about['type']})", meaning, ""]
