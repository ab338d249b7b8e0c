"""The page served by uvicorn, to its own visitors alone."""

from __future__ import annotations

import webbrowser
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.responses import PlainTextResponse

from pipelines._console import log
from pipelines.ui.address import Address, refusal
from pipelines.ui.app import CSS, theme
from translate.runtime.signals import terminable

Asgi: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

MAX_UPLOAD = "200mb"  # of one file
SECONDS_TO_END = 2  # for answers under way; the page keeps a connection open


class OwnVisitors:
    """Middleware that refuses requests to another name and from pages of other servers.

    Args:
        app: what answers the others.
        address: this server's.
    """

    def __init__(self, app: Asgi, address: Address) -> None:
        self.app = app
        self.address = address

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; the arguments are those of ASGI."""
        reason = None
        if scope["type"] in ("http", "websocket"):
            reason = refusal(self.address, scope["headers"])
        if reason is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)


def web_app(page: gr.Blocks, address: Address) -> FastAPI:
    """Return the page as an application that answers the requests of its own visitors."""
    app = FastAPI(openapi_url=None)
    gr.mount_gradio_app(
        app,
        page,
        path="",
        server_name=address.host,
        server_port=address.port,
        auth=address.credentials,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        run_history=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        footer_links=["api"],
        theme=theme(),
        css=CSS,
    )
    # Gradio checks that a file named in a request was uploaded only where the page says that it
    # runs, which it does when it is launched and not when it is mounted.
    page.has_launched = True
    page.is_running = True
    app.add_middleware(OwnVisitors, address=address)
    return app


def serve(page: gr.Blocks, address: Address, open_page: bool) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        page: what to serve.
        address: where, and to whom.
        open_page: whether to open it in the browser.

    Raises:
        ValueError: for an address at which this cannot be done.
    """
    with address.listen() as listener:
        app = web_app(page, address)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SECONDS_TO_END)
        server = uvicorn.Server(config)
        log(f"introshift ui: {address.url} (Ctrl-C ends it)")
        if open_page:  # the socket listens: the browser waits until it is answered
            webbrowser.open(address.url)
        try:
            with terminable():
                server.run(sockets=[listener])
        except KeyboardInterrupt:  # by which uvicorn passes on the signal that ended it
            log("introshift ui: ended")
