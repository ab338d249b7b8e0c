"""The `introshift` command.

Commands import heavy modules inside their functions, so that --help answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipelines import (
    bench,
    compare,
    demo,
    evaluate,
    export,
    glyphs,
    info,
    init,
    interpolate,
    plot,
    reconstruct,
    sample,
    score,
    swap,
    toy2d,
    train,
    translate_folder,
)
from pipelines._console import EXIT_FAILED, EXIT_MISTAKE, log


class OneLineErrors(TyperGroup):
    """A group of commands that ends users' mistakes with one line on stderr and exit code 2.

    With --debug, it shows the traceback. --debug is an option of this group and of every command
    below it, so that the parser does not mistake an equal value of another option for it.
    """

    debug = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        option = next(param for param in self.params if param.name == "debug")
        for command in self.commands.values():
            _add_option(command, option)

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
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except Exception as error:
            if self.debug:
                raise
            code = _report(error)
        sys.exit(code if isinstance(code, int) else 0)


def _add_option(command: Any, option: Any) -> None:
    """Give a command and all below it an option; typer has no public types for these."""
    command.params.append(option)
    for inner in getattr(command, "commands", {}).values():
        _add_option(inner, option)


def _report(error: Exception) -> int:
    """Print an error as lines on stderr; return the exit code."""
    is_mistake = isinstance(error, (ValueError, OSError))
    for line in _message(error, is_mistake).splitlines() or ["interrupted"]:
        log(f"introshift: {line}")
    return int(getattr(error, "exit_code", EXIT_MISTAKE if is_mistake else EXIT_FAILED))


def _message(error: Exception, is_mistake: bool) -> str:
    if hasattr(error, "format_message"):  # a usage error of the command line parser
        return str(error.format_message())
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
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options before the command."""


data = typer.Typer(help="Data sets that come with introshift.", no_args_is_help=True)
data.command("glyphs")(glyphs.command)

app.command("demo")(demo.command)
app.add_typer(data, name="data")
app.command("init")(init.command)
app.command("train")(train.command)
app.command("translate")(translate_folder.command)
app.command("evaluate")(evaluate.command)
app.command("compare")(compare.command)
app.command("swap")(swap.command)
app.command("reconstruct")(reconstruct.command)
app.command("sample")(sample.command)
app.command("interpolate")(interpolate.command)
app.command("score")(score.command)
app.command("plot")(plot.command)
app.command("toy2d")(toy2d.command)
app.command("info")(info.command)
app.command("export")(export.command)
app.add_typer(bench.app, name="bench")

if __name__ == "__main__":
    app()
