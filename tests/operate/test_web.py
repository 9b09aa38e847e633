"""Commands ask by requests, and are as hard to hold up or to lead away as the supervisor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import until
from rig.listening import bounded, listening

from launcher.engines.http import ForeignError
from launcher.engines.server import Server, talk
from launcher.host.peer import Peer
from launcher.operate import web
from launcher.serve import smoke

ENDLESS = "chunks body events continue status header headers trailers".split()
TOO_MUCH = ["terabyte", "too much", "long headers"]
SLOW = ["drip", "drip of chunks", "drip of headers", "silent"]
NONE = ["cut", "cut chunks", "cut header", "no http", "closes", "deep", "digits", "list", "nothing"]
QUESTIONS = {"questions": [{"ask": "x", "expect": "y"}], "thinking": ""}


def asked(port: int, within: float = 30.0) -> smoke.Result:
    words = QUESTIONS | {"within": within}
    work = lambda: smoke.examine(Server("127.0.0.1", port), "m", words, frozenset(), talk=web.talk)
    result: smoke.Result = bounded(work)
    return result


@pytest.mark.parametrize("kind", [*ENDLESS, *TOO_MUCH])
def test_an_answer_without_an_end_is_a_no(tmp_path: Path, kind: str) -> None:
    with listening(tmp_path, kind) as server:
        result = asked(server.port)

    assert (result.ok, result.silent, result.unknown) == (False, False, False)
    assert result.detail.startswith("an answer that is none: "), result.detail


@pytest.mark.parametrize("kind", SLOW)
def test_one_deadline_is_for_all_of_an_answer(tmp_path: Path, kind: str) -> None:
    with listening(tmp_path, kind) as server:
        result = asked(server.port, 0.5)

    assert (result.ok, result.silent, result.detail) == (False, True, "no answer within 0.5 s")


@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_answer_is_a_no_with_a_reason(tmp_path: Path, kind: str) -> None:
    with listening(tmp_path, kind) as server:
        result = asked(server.port)

    assert (result.ok, result.silent, result.unknown) == (False, False, False)
    assert result.detail


def test_a_sane_answer_is_the_same_by_both_ways(tmp_path: Path) -> None:
    with listening(tmp_path) as server:
        where = Server("127.0.0.1", server.port, "key")
        ways: list[Any] = [
            bounded(lambda talk=talk: talk(where, "POST", "/generate", "{}", 30.0))
            for talk in (talk, web.talk)
        ]
        until(lambda: server.said.count(b"Authorization: Bearer key") == 2, "both had the key")

    assert ways[0] == ways[1]
    assert ways[0][0] == 200


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with listening(tmp_path, "redirect") as server:
        where = Server("127.0.0.1", server.port)
        assert bounded(lambda: web.talk(where, "GET", "/x", None, 30.0)) == (307, b"")
        assert b"elsewhere" not in server.said


def test_who_only_holds_the_port_gets_nothing(tmp_path: Path) -> None:
    with listening(tmp_path) as ours, listening(tmp_path) as stranger:
        where = Server("127.0.0.1", stranger.port, "key", Peer(lambda: [ours.pid]))
        with pytest.raises(ForeignError):
            web.talk(where, "GET", "/", None, 30.0)
        assert stranger.said == b""


def test_a_proxy_of_the_environment_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(tmp_path) as server, listening(tmp_path) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        where = Server("127.0.0.1", server.port)
        assert bounded(lambda: web.talk(where, "GET", "/", None, 30.0))[0] == 200
        assert proxy.said == b""


def test_a_port_where_nobody_listens_refuses() -> None:
    with pytest.raises(ConnectionRefusedError):
        web.talk(Server("127.0.0.1", 1), "GET", "/", None, 30.0)
