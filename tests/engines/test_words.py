"""What is said of a server that gives no answer is an operator's word: no name, number or traceback
of Python's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port
from rig.listening import bounded, listening

from launcher.bench.bounds import Asked
from launcher.bench.judge import wrong
from launcher.engines import server as plain
from launcher.engines.engine import runtime
from launcher.engines.figures import Figures
from launcher.engines.generator import Answer, Sample
from launcher.engines.server import SILENCE, Server, ask, unanswered
from launcher.operate import web

PYTHON = re.compile(r"\w+(?:Error|Exception|Read|Disconnected|Line)\b|Errno|urlopen|[<>(\[{']")
WORDS = {
    "silent": "no answer in time",
    "drip": "no answer in time",
    "closes": "it closed the connection without an answer",
    "cut": "its answer breaks off",
    "cut chunks": "its answer breaks off",
    "no chunks": "its answer breaks off",
    "no http": "its answer is not HTTP",
    "too much": "an answer of ",
    "headers": "got more than 100 headers",
}


def said(talk: Any, port: int) -> str:
    """Why there is no answer."""

    def asked() -> str:
        try:
            talk(Server("127.0.0.1", port), "GET", "/x", None, 0.5)
        except SILENCE as error:
            return unanswered(error)
        return "an answer"

    told: str = bounded(asked)
    return told


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("talk", [plain.talk, web.talk])
def test_no_answer_is_told_without_pythons_words(tmp_path: Path, kind: str, talk: Any) -> None:
    with listening(tmp_path, kind) as server:
        told = said(talk, server.port)

    assert told.startswith(WORDS[kind])
    assert not PYTHON.search(told)


@pytest.mark.parametrize("talk", [plain.talk, web.talk])
def test_nobody_listens(talk: Any) -> None:
    assert said(talk, free_port()) == "connection refused"


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
@pytest.mark.parametrize("kind", ["deep", "digits", "list", "null", "bytes", "nothing", "cut"])
def test_figures_that_are_none_are_told_so(tmp_path: Path, kind: str, engine: str) -> None:
    def figures(server: Server, within: float) -> plain.Answer:
        runtime(engine).figures(server, within, whole=True)
        return plain.Answer(True, "")

    with listening(tmp_path, kind) as server:
        told = ask(figures, Server("127.0.0.1", server.port), 20.0)

    assert not PYTHON.search(told.detail)
    assert told.ok or told.detail.startswith("its answer ")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("<urlopen error [Errno 111] Connection refused>", "connection refused"),
        (
            "Traceback (most recent call last):\n  File ...\naiohttp.client_exceptions."
            "ClientConnectorError: Cannot connect to host 127.0.0.1:8000 ssl:default"
            " [Connect call failed ('127.0.0.1', 8000)]",
            "connection refused",
        ),
        ("aiohttp.client_exceptions.ServerDisconnectedError: Server disconnected", "it closed"),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", "it closed"),
        ("<urlopen error timed out>", "no answer in time"),
        ("asyncio.exceptions.TimeoutError", "no answer in time"),
        ("aiohttp.ClientPayloadError: Response payload is not completed", "its answer breaks off"),
        ("Unauthorized", "Unauthorized"),
    ],
)
def test_an_error_of_a_load_generator_is_told_in_the_same_words(theirs: str, ours: str) -> None:
    sample = Sample(1.0, (Answer("", theirs, 1, 0, 0.0, 0.0),))
    [told] = [
        one for one in wrong(sample, Asked(("What?",), 8, 1, 2.0), Figures()) if "failed" in one
    ]

    assert told.startswith(f"1 of 1 requests failed: {ours}")
    assert not PYTHON.search(told)
