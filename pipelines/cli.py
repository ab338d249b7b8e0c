"""The `introshift` command. Heavy imports stay inside the commands, so that --help answers at
once.
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


class OneLineErrors(TyperGroup):
    """Ends every user's mistake with one line on stderr and exit code 2; a traceback only with
    --debug.

    --debug is an option of this group and of every command below it, so that the parser tells it
    from the same word as another option's value or after --.
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
    code = getattr(error, "exit_code", 2 if isinstance(error, (ValueError, OSError)) else 1)
    if hasattr(error, "format_message"):  # a usage error of the command line parser
        text = error.format_message()
    elif isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {str(error.strerror).lower()}; give another path or mend its permissions"
    elif isinstance(error, (ValueError, OSError)) or hasattr(error, "exit_code"):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error} (this should not happen; --debug shows where)"
    for line in text.splitlines() or ["interrupted"]:
        print(f"introshift: {line}", file=sys.stderr, flush=True)
    return int(code)


app = typer.Typer(
    cls=OneLineErrors,
    name="introshift",
    help="Unsupervised image translation: make the pictures of folder A look like those of folder B.",
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
    """Options before the command."""


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
