"""README and docs/: their commands exist, their links lead somewhere, and the site builds."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from playwright.sync_api import Page

from pipelines.cli import app
from tests._helpers.browser import fits
from tests._helpers.website import website
from translate.config import Config

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "translate" / "zoo").rglob("*.md")),
]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
GENERATED = {"cli.md", "configuration.md"}
MAX_README_WORDS = 900
MAX_PICTURE = 250_000  # bytes


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def shown_commands() -> Iterator[tuple[str, str]]:
    """Pages and what they show at a prompt, without comments and what a pipe leads to it."""
    for page in PAGES:
        for language, block in FENCED.findall(text_of(page)):
            if language != "console":
                continue
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.removeprefix("$ ").split(" | "):
                    if part.startswith("introshift "):
                        yield name_of(page), part


def mentioned_commands() -> Iterator[tuple[str, str]]:
    """Pages and the commands that their sentences name, which may leave things out."""
    for page in PAGES:
        prose = FENCED.sub("", text_of(page))
        for code in re.findall(r"`(introshift [^`]+)`", prose):
            yield name_of(page), " ".join(code.split())


def parse(words: list[str], complete: bool) -> None:
    """Let the real parser read a command's words; nothing is run."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        word = words.pop(0)
        if word.startswith("-"):
            assert any(word in param.opts for param in command.params), f"No such option {word}"
            continue
        assert word in command.commands, f"No such command {word}"
        command = command.commands[word]
    if hasattr(command, "commands"):
        return
    for param in command.params:
        param.callback = None
        param.required = param.required and complete
    command.make_context("introshift", words)


@pytest.mark.parametrize(("where", "line"), sorted(set(shown_commands())))
def test_a_command_at_a_prompt_is_whole(where: str, line: str) -> None:
    parse(shlex.split(line, comments=True)[1:], complete=True)


@pytest.mark.parametrize(("where", "line"), sorted(set(mentioned_commands())))
def test_a_command_in_a_sentence_exists_with_its_options(where: str, line: str) -> None:
    parse([word for word in shlex.split(line)[1:] if word not in ("...", "…")], complete=False)


@pytest.mark.parametrize("line", ["introshift trian x", "introshift info --nothing x"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(Exception, match="No such"):
        parse(line.split()[1:], complete=False)


def test_the_readme_is_short() -> None:
    assert len(text_of(README).split()) <= MAX_README_WORDS


@pytest.mark.parametrize("source", PAGES, ids=name_of)
def test_every_link_leads_somewhere(source: Path) -> None:
    for link in LINK.findall(FENCED.sub("", text_of(source))):
        if Path(link).name not in GENERATED:
            assert (source.parent / link).exists(), link


@pytest.mark.parametrize("source", PAGES, ids=name_of)
def test_the_python_of_a_page_compiles(source: Path) -> None:
    for language, block in FENCED.findall(text_of(source)):
        if language == "python":
            compile(block, name_of(source), "exec")


def test_the_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    folders = ("translate", "pipelines")
    code = "".join(text_of(path) for name in folders for path in (ROOT / name).rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # texts that go on in the next line
    page = text_of(ROOT / "docs" / "troubleshooting.md")
    tables = re.findall(r"^\| message .*\n\|[-|]+\n((?:\|.*\n)+)", page, re.M)
    messages = re.findall(r"^\| `([^`]+)`", "".join(tables), re.M)
    assert len(messages) > 20
    parts = [part.strip() for message in messages for part in message.split("…")]
    assert [part for part in parts if part not in code] == []


def test_every_picture_is_shown_and_small() -> None:
    shown = {
        (page.parent / link).resolve() for page in PAGES for link in LINK.findall(text_of(page))
    }
    for picture in (ROOT / "docs").rglob("*.*"):
        if picture.suffix in (".png", ".jpg", ".svg"):
            assert picture in shown, picture
            assert picture.stat().st_size <= MAX_PICTURE, picture
        if picture.suffix == ".svg":
            ElementTree.parse(picture)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages that zensical reads, those that the code writes among them."""
    folder = tmp_path_factory.mktemp("site") / "build" / "docs"
    generate = [sys.executable, str(ROOT / "docs" / "generate.py"), str(folder)]
    done = subprocess.run(generate, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_reference_has_every_command_and_option(staged: Path) -> None:
    page = text_of(staged / "reference" / "cli.md")
    waiting: list[tuple[str, Any]] = [("introshift", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        options = [opt for param in command.params for opt in param.opts if opt.startswith("--")]
        section = re.split(rf"^#+ `{name}`$", page, flags=re.M)[-1] if " " in name else page
        for option in options:
            assert option in section, (name, option)
        waiting += [(f"{name} {key}", inner) for key, inner in _inner(command)]


def _inner(command: Any) -> list[tuple[str, Any]]:
    return list(getattr(command, "commands", {}).items())


def test_the_reference_has_every_setting_with_its_meaning(staged: Path) -> None:
    page = text_of(staged / "reference" / "configuration.md").split("## Presets")[0]
    for section, field in Config.model_fields.items():
        settings: Any = field.annotation
        for key in settings.model_fields:
            [row] = re.findall(rf"^\| `{section}\.{key}` \|.*$", page, re.M)
            cells = re.split(r"(?<!\\)\|", row)
            assert cells[2].strip(), f"{row}: no type"
            assert cells[4].strip(), f"{row}: no meaning"


def test_every_page_is_in_the_navigation(staged: Path) -> None:
    navigation = re.findall(r'"([\w/-]+\.md)"', text_of(ROOT / "zensical.toml"))
    assert len(navigation) == len(set(navigation))
    pages = {path.relative_to(staged).as_posix() for path in staged.rglob("*.md")}
    assert set(navigation) == {page for page in pages if not page.startswith("reference/code/")}


@pytest.fixture(scope="module")
def site(staged: Path) -> Path:
    """The site, built as strictly as `make docs` does."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical, which needs Python 3.11, is not installed")
    root = staged.parents[1]
    config = text_of(ROOT / "zensical.toml").replace('paths = ["."]', f'paths = ["{ROOT}"]')
    (root / "zensical.toml").write_text(config, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "build" / "site"


def test_no_page_names_a_file_of_another_machine(site: Path) -> None:
    loaded = r"<(?:script|img|iframe)[^>]+src=\"?https?://|<link[^>]+href=\"?https?://|@import"
    for page in site.rglob("*.html"):
        assert not re.findall(loaded, text_of(page)), page


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a server of this machine."""
    with website(site) as (served, _):
        yield f"{served}/"


@pytest.mark.browser
@pytest.mark.parametrize("name", ["index", "results", "mathematics", "reference/python"])
def test_a_page_asks_for_nothing_elsewhere_and_fits(page: Page, address: str, name: str) -> None:
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address}{name}.html", wait_until="networkidle")
    assert [url for url in requests if not url.startswith((address, "data:"))] == []
    assert complaints == []
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert fits(page), width
