"""Whether requests may come, said over HTTP to whoever asks, a load balancer or a kubelet."""

from __future__ import annotations

import threading
import time
from http import HTTPStatus

from launcher.errors import UserError
from launcher.host import port
from launcher.serve.service import Service
from launcher.serve.states import Ready
from launcher.serve.webserver import Access, Page, WebServer

LIVES = 60.0  # seconds without a turn of its loop after which a launcher is stuck


class Readiness:
    """The pages /ready and /live."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turned_at = time.monotonic()

    def listen(self) -> None:
        """Answer, where the plan wants that, from a thread. Raises UserError."""
        if not (place := self._service.plan.health_listen):
            return
        host, _, number = place.rpartition(":")
        pages = {"/ready": self._ready, "/live": self._live}
        try:
            web = WebServer((host.strip("[]"), int(number)), pages, Access(None))
        except OSError as error:
            told, apart = (host.strip("[]"), int(number)), (self._service.plan.port,)
            fix = f"choose another address: {port.another('--health-listen', *told, apart)}"
            raise UserError(port.refusal(*told, error), fix=fix) from None
        threading.Thread(target=web.serve_forever, daemon=True).start()

    def turned(self) -> None:
        """The loop turns."""
        self._turned_at = time.monotonic()

    def _ready(self) -> Page:
        """200 while it is ready, 503 before a drain begins."""
        state = self._service.state
        is_ready = isinstance(state, Ready)
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Page(f"{state.name}\n".encode(), status)

    def _live(self) -> Page:
        """Whether this launcher turns: a server that is down is its affair."""
        turns = time.monotonic() - self._turned_at < LIVES
        status = HTTPStatus.OK if turns else HTTPStatus.SERVICE_UNAVAILABLE
        return Page(b"alive\n" if turns else b"stuck\n", status)
