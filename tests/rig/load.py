"""Clients that ask a server of OpenAI's API one chat after the other, and what became of each."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter

PATIENCE = 120.0  # seconds for an answer


class Load:
    """`with Load(port, model) as load:` asks until the block ends, streams and plain chats in turn.

    `outcomes` counts what became of them: "stream ok", "plain ok", or what was wrong.
    """

    def __init__(
        self, port: int, model: str, *, clients: int, tokens: int, pieces: int | None = None
    ) -> None:
        """`tokens` of each answer; `pieces` of a whole stream, None where nobody knows."""
        self.port, self.model, self.tokens, self.pieces = port, model, tokens, pieces
        self.outcomes: Counter[str] = Counter()
        self.stop = threading.Event()
        kinds = ("stream", "plain")
        self.threads = [
            threading.Thread(target=self._ask_on, args=(kinds[at % 2],), daemon=True)
            for at in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE + 30)

    @property
    def lost(self) -> dict[str, int]:
        """Those that were not answered whole."""
        return {what: times for what, times in self.outcomes.items() if not what.endswith(" ok")}

    def _ask_on(self, kind: str) -> None:
        while not self.stop.is_set():
            self.outcomes[f"{kind} {self._ask(kind)}"] += 1

    def _ask(self, kind: str) -> str:
        question = [{"role": "user", "content": "Say slowly who you are."}]
        body = {"model": self.model, "messages": question, "stream": kind == "stream"}
        body |= {"max_tokens": self.tokens, "ignore_eos": True}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
        if answer.status != 200:
            return f"HTTP {answer.status}: {text[:100]}"
        if '"error"' in text:
            return "error, then [DONE]" if text.rstrip().endswith("[DONE]") else "error"
        return "ok" if self._is_whole(kind, text) else "cut"

    def _is_whole(self, kind: str, text: str) -> bool:
        if kind == "plain":
            return '"choices"' in text
        return "[DONE]" in text and self.pieces in (None, text.count('"delta"'))
