"""The page of `introshift ui`, served by a process of its own, and opened in Chromium."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).parents[2]
PATIENCE = 240  # s, for a busy machine
OWN_WORDS = "Method not implemented."  # which Gradio writes to the console of every page


@dataclass(frozen=True)
class Served:
    """A server that runs: its address, folder, process and log."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """`introshift ui FOLDER` until the block ends, when it must end by SIGTERM."""
    if find_spec("gradio") is None:
        pytest.skip("no Gradio: pip install 'introshift[ui]'")
    port = free_port()
    log = folder.parent / f"ui-{port}.log"
    command = [*("-m", "pipelines.cli", "ui", str(folder), "--no-open", "--port", str(port))]
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, *command, *options], stderr=file, cwd=ROOT)
    server = Served(f"http://127.0.0.1:{port}/", folder, process, log)
    try:
        _wait_for_answers(server)
        yield server
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for_answers(server: Served) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.process.poll() is None, server.log.read_text()
        try:
            status(server.url)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(server.log.read_text())


def status(url: str, **headers: str) -> int:
    """The HTTP status of a request."""
    try:
        with urlopen(Request(url, headers=headers), timeout=PATIENCE) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


@contextmanager
def opened_page(page: Page, server: Served) -> Iterator[Page]:
    """The page, which must ask no other server for anything and complain of nothing."""
    requests: set[str] = set()
    complaints: list[str] = []
    page.set_default_timeout(1000 * PATIENCE)
    expect.set_options(timeout=1000 * PATIENCE)
    page.on("request", lambda request: requests.add(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    expect(page.get_by_role("button", name="Translate", exact=True)).to_be_visible()
    yield page
    own = (server.url, "data:", f"blob:{server.url}")
    foreign = [url for url in requests if not url.startswith(own)]
    assert not foreign, foreign
    complaints = [text for text in complaints if text != OWN_WORDS]
    assert not complaints, complaints
