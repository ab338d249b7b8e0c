"""An S3 server on this machine: moto's, with objects in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNLUCKY = "unlucky"  # what is put under such a name fails
FAILURE = b"<Error><Code>InternalError</Code><Message>Out of order.</Message></Error>"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "of-the-test",
    "AWS_SECRET_ACCESS_KEY": "of-the-test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def serving() -> Iterator[str]:
    """Yield the endpoint of a server that runs in a thread."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = DomainDispatcherApplication(create_backend_app)

    def failing_at_times(request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if request["REQUEST_METHOD"] == "PUT" and UNLUCKY in request["PATH_INFO"]:
            request["wsgi.input"].read(int(request["CONTENT_LENGTH"]))
            start("500 Internal Server Error", [("Content-Type", "application/xml")])
            return [FAILURE]
        answer: Iterable[bytes] = app(request, start)
        return answer

    server = make_server("127.0.0.1", 0, failing_at_times, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def upload(folder: Path, address: str) -> str:
    """Put the files of a folder to an address; return it."""
    from fsspec.core import url_to_fs

    file_system, root = url_to_fs(address)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            file_system.pipe_file(
                f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes()
            )
    return address


def contents(address: str) -> dict[str, bytes]:
    """The files at an address, by their names relative to it."""
    from fsspec.core import url_to_fs

    file_system, root = url_to_fs(address)
    file_system.invalidate_cache()
    return {
        name.removeprefix(root).removeprefix("/"): file_system.cat_file(name)
        for name in file_system.find(root)
    }
