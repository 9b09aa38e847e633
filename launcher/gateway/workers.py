"""What a running gateway says of its workers, and whether one of them is still among them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.engines.http import ForeignError, UnaskedError
from launcher.engines.server import NO_ANSWER, Server, talk

ASKED_WITHIN = 5.0  # seconds


@dataclass(frozen=True)
class Seen:
    """A worker as the gateway has it: whether it sends requests there, and how many are under
    way.
    """

    url: str
    is_ready: bool
    running: int


def seen(server: Server) -> tuple[Seen, ...] | None:
    """The workers of a gateway; None where it cannot be told."""
    try:
        status, body = talk(server, "GET", "/workers", None, ASKED_WITHIN)
        told = json.loads(body)["workers"] if status == 200 else None
        return None if told is None else tuple(map(_seen, told))
    except (OSError, http.client.HTTPException, UnaskedError, ForeignError, *NO_ANSWER):
        return None


def _seen(told: dict[str, object]) -> Seen:
    load = told.get("load")
    is_ready = told.get("status") == "ready" and told.get("is_healthy") is True
    return Seen(str(told["url"]), is_ready, load if isinstance(load, int) else 0)


def routed(url: str, workers: Sequence[Seen] | None) -> bool:
    """Whether the gateway sends requests to a server."""
    return any(one.url == url and one.is_ready for one in workers or ())
