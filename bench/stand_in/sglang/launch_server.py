"""Answers /ping, /health and /generate on --port, and sleeps."""

import http.server
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    """200 to everything, with one token in it."""

    def do_GET(self) -> None:
        body = b'{"meta_info": {"completion_tokens": 1}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        pass


port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
