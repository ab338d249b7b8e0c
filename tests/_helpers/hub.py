"""A hub on this machine: as much of the Hugging Face Hub's protocol as push and fetch take."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_ofthetest"


class Hub(ThreadingHTTPServer):
    """Repositories in memory, written by whoever has TOKEN, read by all."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.requests: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, name: str) -> str:
        contents = self.repositories[name]
        listed = json.dumps([(file, hashlib.sha1(contents[file]).hexdigest()) for file in contents])
        return hashlib.sha1(listed.encode()).hexdigest()


class _Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid token"})
        parts = self.path.split("?")[0].strip("/").split("/")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else ""
            name = name or asked["name"]
            self.server.repositories.setdefault(name, {})
            self.server.private[name] = asked.get("visibility", "") == "private" or asked.get(
                "private", False
            )
            return self.answer(200, {"url": f"{self.server.endpoint}/{name}", "id": name})
        if self.path == "/api/validate-yaml":  # of the card
            return self.answer(200, {"errors": [], "warnings": []})
        name = "/".join(parts[2:4])
        if len(parts) < 5:
            return self.answer(404, {"error": f"unknown {self.path}"})
        if parts[4] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        if parts[4] == "commit":
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    content = base64.b64decode(value["content"])
                    self.server.repositories[name][value["path"]] = content
            commit = self.server.commit(name)
            url = f"{self.server.endpoint}/{name}/commit/{commit}"
            return self.answer(200, {"commitUrl": url, "commitOid": commit, "hookOutput": ""})
        return self.answer(404, {"error": f"unknown {self.path}"})

    def do_HEAD(self) -> None:
        self.read(False)

    def do_GET(self) -> None:
        self.read(True)

    def read(self, whole: bool) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        parts = self.path.split("?")[0].strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return self.answer(404, {"error": "unknown"})
        name = "/".join(parts[:2])
        contents = self.server.repositories.get(name)
        if contents is None:
            return self.answer(404, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
        if parts[3] not in ("main", self.server.commit(name)):
            return self.answer(404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
        content = contents.get("/".join(parts[4:]))
        if content is None:
            commit = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.server.commit(name)}
            return self.answer(404, {"error": "no"}, commit)
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": self.server.commit(name),
            "Accept-Ranges": "bytes",
        }
        return self.send(200, content, headers, whole)

    def answer(self, code: int, data: Any, headers: dict[str, str] | None = None) -> None:
        self.send(code, json.dumps(data).encode(), headers or {}, self.command != "HEAD")

    def send(self, code: int, content: bytes, headers: dict[str, str], whole: bool) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if whole:
            self.wfile.write(content)


@contextmanager
def hub() -> Iterator[Hub]:
    """Serve a hub until the end of the block."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
