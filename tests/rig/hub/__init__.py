"""A stand-in for the hub's HTTP interface: one repository, its files with digests, ranges, and
faults to order.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it has and what it shall do; `asked` are the requests for data with their ranges."""

    repository: str
    files: dict[str, bytes]
    status: int = 200  # of everything
    error: str = ""  # the code that goes with it
    etag: str | None = None  # instead of the digests
    oid: str | None = None  # the same, where it lists files
    commit: str = COMMIT
    unlisted: dict[str, bytes] = field(default_factory=dict)  # files that only a second look shows
    cut_after: int | None = None  # bytes of a file, then the connection is closed
    claimed: int | None = None  # the size that it tells of each file, instead of the true one
    flood: int = 0  # bytes that it sends beyond the end of a file, without announcing any length
    poured: int = 0  # bytes of that
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        hub, path = self.hub, unquote(self.path.partition("?")[0])
        if hub.status != 200:
            self.say(hub.status, b"{}", {"X-Error-Code": hub.error}, body=body)
        elif found := re.fullmatch(rf"/api/models/{hub.repository}(?:/revision/(.+))?", path):
            known = found[1] in (None, "main", COMMIT)
            self.say(
                200 if known else 404,
                self.info(),
                {} if known else {"X-Error-Code": "RevisionNotFound"},
                body=body,
            )
        elif found := re.fullmatch(rf"/api/models/{hub.repository}/tree/[^/]+", path):
            self.say(
                200,
                json.dumps([self.entry(name) for name in {**hub.files, **hub.unlisted}]).encode(),
                {},
                body=body,
            )
        elif (found := re.fullmatch(rf"/{hub.repository}/resolve/[^/]+/(.+)", path)) and found[
            1
        ] in {
            **hub.files,
            **hub.unlisted,
        }:
            self.file(found[1], body=body)
        else:
            self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)

    def info(self) -> bytes:
        siblings = [{"rfilename": name, **self.entry(name)} for name in self.hub.files]
        return json.dumps(
            {"id": self.hub.repository, "sha": self.hub.commit, "siblings": siblings}
        ).encode()

    def entry(self, name: str) -> dict[str, object]:
        data = self.hub.files.get(name) or self.hub.unlisted[name]
        size = self.hub.claimed or len(data)
        oid = self.hub.oid or git_digest(data)
        told: dict[str, object] = {"type": "file", "path": name, "size": size, "oid": oid}
        if name.endswith(".safetensors"):
            told["lfs"] = {
                "sha256": hashlib.sha256(data).hexdigest(),
                "oid": hashlib.sha256(data).hexdigest(),
                "size": size,
                "pointerSize": 134,
            }
        return told

    def file(self, name: str, *, body: bool) -> None:
        data, asked = self.hub.files.get(name) or self.hub.unlisted[name], self.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        digest = (
            hashlib.sha256(data).hexdigest() if name.endswith(".safetensors") else git_digest(data)
        )
        headers = {
            "ETag": f'"{self.hub.etag or digest}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        if asked:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        if body:
            self.hub.asked.append((name, asked))
        cut = self.hub.cut_after if body and name.endswith(".safetensors") else None
        if body and self.hub.flood:
            self.pour(data, headers)
        else:
            self.say(206 if asked else 200, data[begin:], headers, body=body, cut=cut)

    def pour(self, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):  # the other side has enough
            self.wfile.write(data)
            for _ in range(self.hub.flood >> 20):
                self.wfile.write(bytes(1 << 20))
                self.hub.poured += 1 << 20

    def say(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str],
        *,
        body: bool,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data if cut is None else data[:cut])
        if cut is not None:
            self.close_connection = True


def git_digest(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub, answering at `hub.url` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Of", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
