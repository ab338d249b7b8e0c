"""A web server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Quiet(SimpleHTTPRequestHandler):
    """Prints nothing, and notes what it is asked for."""

    def __init__(self, *arguments: Any, requests: list[str], directory: str) -> None:
        self.requests = requests
        super().__init__(*arguments, directory=directory)

    def log_message(self, format: str, *args: object) -> None:
        self.requests.append(f"{self.command} {self.path}")


@contextmanager
def website(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server of a folder's files, and the requests that it gets."""
    requests: list[str] = []
    handler: Any = partial(Quiet, requests=requests, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()
