"""Stage the documentation in a folder for zensical: `python docs/generate.py FOLDER`.

FOLDER gets the pages of docs/, the changelog and its like from the root of the checkout, and the
reference, which the code itself writes: commands, settings, and a page for every module that a
page links to. Links between files of the checkout become links between pages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click
from typer.testing import CliRunner

from pipelines.cli import app
from translate.config import Config
from translate.presets import ONE_DOMAIN, PRESETS, in_place

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {  # pages that are not in docs/ -> where they are staged
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "translate/zoo/typefaces/README.md": "models/typefaces.md",
    "translate/zoo/emoji/README.md": "models/emoji.md",
}
# [text](target#anchor), of text without brackets; not a link to another machine
LINK = re.compile(r"(\[(?P<text>[^\]]*)\])\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
SHORTENED = re.compile(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n")  # lists of cut-off texts
FENCED = re.compile(r"(^```.*?^```$)", re.M | re.S)


@dataclass
class Site:
    """The staged pages.

    Attributes:
        folder: where they are written.
        modules: modules that a page links to, each of which gets a page of its own.
    """

    folder: Path
    modules: set[str]

    def build(self) -> None:
        """Write every page into the folder, which is emptied first."""
        shutil.rmtree(self.folder, ignore_errors=True)
        ignore = shutil.ignore_patterns("*.py", "__pycache__")
        shutil.copytree(ROOT / "docs", self.folder, ignore=ignore)
        for page in self._pages():
            text = (ROOT / page).read_text("utf-8")
            self._write(_staged(page), self._with_links(text, page))
        for module in sorted(self.modules):
            self._write(Path("reference", "code", f"{module}.md"), _module_page(module))
        self._write(Path("reference", "cli.md"), _commands())
        self._write(Path("reference", "configuration.md"), _settings())

    def _pages(self) -> Iterator[Path]:
        for path in sorted((ROOT / "docs").rglob("*.md")):
            yield path.relative_to(ROOT)
        yield from map(Path, ELSEWHERE)

    def _write(self, staged: Path, text: str) -> None:
        path = self.folder / staged
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def _with_links(self, text: str, page: Path) -> str:
        """Let the links of a page lead to staged pages; those in blocks of code stay."""
        parts = FENCED.split(text)
        parts[::2] = [LINK.sub(lambda link: self._link(link, page), part) for part in parts[::2]]
        return "".join(parts)

    def _link(self, link: re.Match[str], page: Path) -> str:
        target = Path(os.path.normpath(page.parent / link["target"]))
        generated = target.parent == Path("docs/reference")
        if not generated and not (ROOT / target).exists():
            raise SystemExit(f"{page}: {link['target']} does not exist")
        anchor = link["anchor"] or ""
        if target.suffix == ".py":
            module = ".".join(target.with_suffix("").parts)
            self.modules.add(module)
            name = link["text"].strip("`")
            anchor = f"#{module}.{name}" if re.fullmatch(r"[\w.]+", name) else ""
        way = os.path.relpath(_staged(target), _staged(page).parent)
        return f"{link[1]}({Path(way).as_posix()}{anchor})"


def _staged(path: Path) -> Path:
    """Return where a file of the checkout is below the folder of pages.

    Args:
        path: relative to the root of the checkout.
    """
    if path.parts[0] == "docs":
        return path.relative_to("docs")
    if path.suffix == ".py":
        return Path("reference", "code", ".".join(path.with_suffix("").parts) + ".md")
    if path.as_posix() in ELSEWHERE:
        return Path(ELSEWHERE[path.as_posix()])
    if path == Path("README.md"):
        return Path("index.md")
    raise SystemExit(f"{path} has no page; do not link to it from docs/")


def _module_page(module: str) -> str:
    return (
        f"# {module}\n\n::: {module}\n"
        "    options:\n"
        "      filters: []\n"
        "      show_source: true\n"
        "      show_root_heading: false\n"
        "      heading_level: 2\n"
        "      show_if_no_docstring: true\n"
    )


def _commands() -> str:
    """Return the page of commands, as typer writes it."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="introshift")
    page = get_docs_for_click(obj=command, ctx=context, name="introshift", title="Commands")
    return SHORTENED.sub("", page)


def _settings() -> str:
    """Return the page of settings, from the fields of the config and their docstrings."""
    lines = [
        "# Configuration",
        "",
        "A config is a YAML file of sections. What it leaves out has the default below. Change",
        "single settings with `introshift train CONFIG --set SECTION.KEY=VALUE`; a wrong key or",
        "value is refused, with the nearest valid name. `introshift settings` lists the same in",
        "the terminal; `introshift settings --schema` prints a JSON schema, with which editors",
        "complete and check configs.",
        "",
    ]
    for name, settings in _listed_settings().items():
        lines += [f"## {name}", "", Config.model_fields[name].annotation.__doc__ or "", ""]
        lines += _table(
            ("key", "type", "default", "meaning"),
            [
                (f"`{name}.{key}`", about["type"], _default(about), about["meaning"])
                for key, about in settings.items()
            ],
        )
    lines += [
        "## Presets",
        "",
        "What `model.preset` stands for; a setting that is given beside it wins.",
        "",
        *_table(
            ("setting", *PRESETS),
            [
                (f"`model.{key}`", *(str(sizes[key]) for sizes in PRESETS.values()))
                for key in PRESETS["tiny"]
            ],
        ),
        "## One domain",
        "",
        "Defaults where `data.domains` names one folder alone: a plain image Soft-IntroVAE.",
        "",
        *_nested(ONE_DOMAIN),
        "## Photographs",
        "",
        "What `introshift init` writes for photographs and coloured pictures, here at 64 px, where "
        "the domains overlap. Where they lie apart, `model.detail` is off and training is longer.",
        "",
        *_nested(in_place(64, 3, detail=True)),
    ]
    return "\n".join(lines)


def _listed_settings() -> dict[str, dict[str, Any]]:
    """Return section -> key -> type, default and meaning, as `introshift settings` lists them."""
    listed: dict[str, dict[str, Any]] = json.loads(_output("settings", "--json"))
    return listed


def _output(*words: str) -> str:
    """Return what a command prints on stdout."""
    done = CliRunner().invoke(app, words)
    if done.exit_code:
        raise SystemExit(done.output)
    return done.stdout


def _default(about: dict[str, Any]) -> str:
    if "default" not in about:
        return "of the preset"
    return "" if about["default"] is None else _code(about["default"])


def _code(value: object) -> str:
    """Return a value as YAML has it."""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _nested(sections: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        (f"`{section}.{key}`", _code(value))
        for section, settings in sections.items()
        for key, value in settings.items()
    ]
    return _table(("key", "value"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return a table in Markdown, and an empty line."""
    cells = [head, ("---",) * len(head), *rows]
    return [f"| {' | '.join(_one_line(cell) for cell in row)} |" for row in cells] + [""]


def _one_line(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/generate.py FOLDER")
    Site(Path(sys.argv[1]), set()).build()
