"""`introshift ui`: translation, training and models in a browser, and an API for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines._console import library_messages

PORT = 7788


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="[FOLDER]",
            help="Its pictures and runs can be used from the page, and nothing outside of it.",
        ),
    ] = Path(),
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A model file or a run folder, wherever it lies, that is offered first.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = PORT,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Do not open the page in the browser.")
    ] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen at; another needs --auth.")
    ] = "127.0.0.1",
    auth: Annotated[
        str | None,
        typer.Option(metavar="USER:PASSWORD", help="What is asked of whoever opens the page."),
    ] = None,
) -> None:
    """Serve a page to translate pictures, to train and to look at models, on this machine alone."""
    from pipelines.ui.address import Address

    address = Address(host, port, auth)
    try:
        from pipelines.ui.app import build_page
        from pipelines.ui.server import serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "gradio":
            raise
        raise ValueError("introshift ui: needs Gradio; pip install 'introshift[ui]'") from None
    from pipelines.ui.workspace import Workspace

    workspace = Workspace(folder, model)
    try:
        workspace.load_first()
        with library_messages():
            serve(build_page(workspace), address, not no_open)
    finally:
        workspace.close()
