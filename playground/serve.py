"""Serve a folder on loopback, as a static host would: `playground/serve.py FOLDER [PORT]`."""

from __future__ import annotations

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Handler(SimpleHTTPRequestHandler):
    """Files with the types that browsers want of modules and WebAssembly."""

    protocol_version = "HTTP/1.1"
    extensions_map = {  # noqa: RUF012  as http.server has it
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".whl": "application/octet-stream",
    }

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


def server(folder: str, port: int = 0) -> ThreadingHTTPServer:
    """A server of a folder, on a free port where none is said; not yet serving."""
    handler = functools.partial(Handler, directory=folder)
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


if __name__ == "__main__":
    made = server(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 8765)
    print(f"http://127.0.0.1:{made.server_port}/  (Ctrl-C ends it)", flush=True)
    try:
        made.serve_forever()
    except KeyboardInterrupt:
        print()
