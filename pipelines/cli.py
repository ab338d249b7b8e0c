"""The `introshift` command.

Commands import heavy modules inside their functions, so that --help answers at once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipelines import (
    bench,
    compare,
    demo,
    doctor,
    evaluate,
    export,
    glyphs,
    info,
    init,
    interpolate,
    plot,
    push,
    reconstruct,
    sample,
    score,
    settings,
    status,
    swap,
    toy2d,
    train,
    translate_folder,
    try_out,
    ui,
)
from pipelines._console import EXIT_FAILED, EXIT_MISTAKE, log

MARKUP = re.compile(r"(?<!\\)\[(?=[a-z#/@])")  # what rich takes for the start of a tag


class HelpfulGroup(TyperGroup):
    """A group of commands that prints its help where no command is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments before the command's name; see `click.Command.parse_args`."""
        return super().parse_args(ctx, args or ["--help"])


class OneLineErrors(HelpfulGroup):
    """The group that ends users' mistakes with one line on stderr and exit code 2.

    With --debug, it shows the traceback. --debug is an option of this group and of every command
    below it, so that the parser does not mistake an equal value of another option for it.
    """

    debug = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        option = next(param for param in self.params if param.name == "debug")
        for command in _below(self):
            command.params.append(option)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit; the arguments are those of `click.Command.main`."""
        self.debug = False
        prog_name = prog_name or self.name  # not `python -m pipelines.cli`
        for command in (self, *_below(self)):
            _take_help_literally(command)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except Exception as error:
            if self.debug:
                raise
            code = _report(error)
        sys.exit(code if isinstance(code, int) else 0)


def _below(group: Any) -> Iterator[Any]:
    """Yield all commands below a group; typer has no public types for these."""
    for command in getattr(group, "commands", {}).values():
        yield command
        yield from _below(command)


def _take_help_literally(command: Any) -> None:
    """Escape brackets in the help of a command and its options: rich would take them for tags."""
    for holder in (command, *command.params):
        text = getattr(holder, "help", None)
        if text:
            holder.help = MARKUP.sub(r"\[", text)


def _report(error: Exception) -> int:
    """Print an error as lines on stderr; return the exit code."""
    is_mistake = isinstance(error, (ValueError, OSError))
    for line in _message(error, is_mistake).splitlines() or ["interrupted"]:
        log(f"introshift: {line}")
    return int(getattr(error, "exit_code", EXIT_MISTAKE if is_mistake else EXIT_FAILED))


def _message(error: Exception, is_mistake: bool) -> str:
    if hasattr(error, "format_message"):  # a usage error of the command line parser
        context = getattr(error, "ctx", None)
        where = "" if context is None else f"; see {context.command_path} --help"
        return f"{str(error.format_message()).rstrip('.')}{where}"
    if isinstance(error, OSError) and error.filename is not None:
        problem = str(error.strerror).lower()
        return f"{error.filename}: {problem}; give another path or fix its permissions"
    if is_mistake or hasattr(error, "exit_code"):
        return str(error)
    return f"{type(error).__name__}: {error} (this should not happen; --debug shows where)"


app = typer.Typer(
    cls=OneLineErrors,
    name="introshift",
    help="Unsupervised image translation: "
    "make the pictures of folder A look like those of folder B.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(value: bool) -> None:
    if value:
        from translate import __version__

        print(__version__)
        raise typer.Exit


def _debug(context: typer.Context, value: bool) -> None:
    if value:
        group = context.find_root().command
        assert isinstance(group, OneLineErrors)
        group.debug = True


def _offline(value: bool) -> None:
    if value:
        from translate.io.hub import work_offline

        work_offline()


@app.callback()
def options(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            callback=_debug,
            expose_value=False,  # the commands that get it do not declare it
            is_eager=True,  # before the value of another option is refused
            help="Show tracebacks.",
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            callback=_offline,
            is_eager=True,
            help="Take models of a hub from the cache alone; ask no other machine.",
        ),
    ] = False,
) -> None:
    """Take the options before the command."""


data = typer.Typer(cls=HelpfulGroup, help="Data sets that come with introshift.")
data.command("glyphs")(glyphs.command)

# in the order in which a newcomer needs them
START = "Start"
app.command("try", rich_help_panel=START)(try_out.command)
app.command("demo", rich_help_panel=START)(demo.command)
app.command("doctor", rich_help_panel=START)(doctor.command)
app.command("ui", rich_help_panel=START)(ui.command)

WORK = "Translate your own pictures"
app.command("init", rich_help_panel=WORK)(init.command)
app.command("settings", rich_help_panel=WORK)(settings.command)
app.command("train", rich_help_panel=WORK)(train.command)
app.command("translate", rich_help_panel=WORK)(translate_folder.command)
app.command("status", rich_help_panel=WORK)(status.command)
app.command("evaluate", rich_help_panel=WORK)(evaluate.command)

LOOK = "See what a model does"
app.command("info", rich_help_panel=LOOK)(info.command)
app.command("plot", rich_help_panel=LOOK)(plot.command)
app.command("swap", rich_help_panel=LOOK)(swap.command)
app.command("reconstruct", rich_help_panel=LOOK)(reconstruct.command)
app.command("interpolate", rich_help_panel=LOOK)(interpolate.command)
app.command("sample", rich_help_panel=LOOK)(sample.command)

MORE = "More"
app.command("compare", rich_help_panel=MORE)(compare.command)
app.command("score", rich_help_panel=MORE)(score.command)
app.command("export", rich_help_panel=MORE)(export.command)
app.command("push", rich_help_panel=MORE)(push.command)
app.command("toy2d", rich_help_panel=MORE)(toy2d.command)
app.add_typer(data, name="data", rich_help_panel=MORE)
app.add_typer(bench.app, name="bench", cls=HelpfulGroup, rich_help_panel=MORE)

if __name__ == "__main__":
    app()
