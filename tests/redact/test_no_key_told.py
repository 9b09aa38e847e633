"""What a server, its engine or its load generator says is told without the key, wherever it is
told: in any spelling, wherever the text is cut, and whatever our own words are.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from launcher.bench import judge
from launcher.bench.bounds import Asked
from launcher.engines.figures import Figures
from launcher.engines.generator import Answer, Sample
from launcher.engines.server import Server, ask
from launcher.engines.sglang import api as sglang
from launcher.engines.vllm import api as vllm
from launcher.operate import bench_run
from launcher.redact.told import WORDS, hide_words
from launcher.serve import canary_ask, smoke
from launcher.statedir.state import Canary, Pids, Smoke, StateRecord

KEY = "k3y/Of+the~Server.0123456789-abcdefXYZ"
SERVER = Server("127.0.0.1", 1, KEY)
QUESTION = {"ask": "What is 17 + 25?", "expect": "42"}
SPELLED: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a URL": lambda key: quote(key, safe=""),
    "in JSON": lambda key: json.dumps({"key": key}).replace("/", "\\/"),
    "in base64": lambda key: b64encode(f"u:{key}".encode()).decode(),
    "in hexadecimal digits": lambda key: key.encode().hex(),
}
PIECE = 8  # characters of a spelling that nobody sees


def parts(spelled: str) -> set[str]:
    """What may stand nowhere: pieces of the key, and of its spelling."""
    inner = spelled.removeprefix('{"key": "').removesuffix('"}')
    core = inner[6:-4] if inner not in (KEY,) else inner  # base64 ends in what is beside it, too
    return {text[at : at + PIECE] for text in (KEY, core) for at in range(len(text) - PIECE + 1)}


def chat(*, pieces: list[str], **message: Any) -> bytes:
    """What chat answers: whole, and as a stream."""
    choice = {"message": message, "delta": {"content": ""}, "finish_reason": "stop"}
    whole = json.dumps({"choices": [choice], "usage": {"completion_tokens": 3}})
    stream = [json.dumps({"choices": [{"delta": {"content": one}}]}) for one in pieces]
    return "\n".join([whole, *(f"data: {one}" for one in stream)]).encode()


def failures(body: bytes, status: int = 200) -> Iterator[str]:
    """What the smoke test and the canary find wrong with an answer to each of their questions."""
    answers = {"whole": body.partition(b"\n")[0], "stream": body.partition(b"\n")[2]}

    def talk(*words: Any) -> tuple[int, bytes]:
        return status, answers["stream" if json.loads(words[3]).get("stream") else "whole"]

    how = {"within": 5.0, "questions": [QUESTION], "thinking": "no"}
    client = smoke.Client(SERVER, "m", how, is_parsed=True, talk=talk)
    asks: list[Callable[[], object]] = [
        lambda: smoke.fact(client, QUESTION),
        lambda: smoke.reasoned(client, QUESTION),
        lambda: smoke.tool_call(client),
        lambda: smoke._streamed(client, "What?", "42"),
        lambda: canary_ask._copied(client, 0),  # type: ignore[arg-type]
    ]
    for put in asks:
        try:
            put()
        except Exception as error:
            yield smoke.failed(error, how).detail


def engines(said: str) -> Iterator[str]:
    """What is told of an engine that says so when it is asked for a token, or for its health."""
    counted = json.dumps({"meta_info": {"completion_tokens": said}, "usage": said})
    for api in (sglang, vllm):
        for status, body in ((200, counted), (200, said), (401, said), (500, said)):
            for of_all in (True, False):

                def talk(
                    *words: Any, status: int = status, body: str = body, of_all: bool = of_all
                ) -> tuple[int, bytes]:
                    is_told = of_all or words[1] == "POST"
                    return (status, body.encode()) if is_told else (200, b"")

                with pytest.MonkeyPatch.context() as patched:
                    patched.setattr(api, "talk", talk)
                    for question in (api.first_token, api.alive):
                        yield ask(question, SERVER, 5.0).detail


def generators(said: str) -> Iterator[str]:
    """What `bench` tells of a load generator, and of the answers that this one got."""
    yield bench_run._end(said.encode(), SERVER)
    yield bench_run._end(f"one\n{said}\n\n".encode(), SERVER)
    for answer in (
        Answer("", said, 1, 1, 0.1, 0.1),
        Answer("", f"Traceback (most\n x\nOSError: {said}", 1, 1, 0.1, 0.1),
        Answer(said, "", 1, 1, 0.1, 0.1),
    ):
        asked = Asked(("What?",), 9, 1, 2.0, ("paris",))
        yield from judge.wrong(Sample(1.0, (answer,)), asked, Figures(), SERVER.words)


def written(said: str) -> Iterator[str]:
    """What the launcher writes of words that stand wherever it has words."""
    state = StateRecord(
        "p",
        "ready",
        reason=said,
        last_error=said,
        pids=Pids(7),
        smoke=Smoke(False, said, 1.0, "t"),
        canary=Canary(60.0, degraded=True, reason=said, last=said),
    )
    yield json.dumps(hide_words(state.to_json(), KEY))
    yield json.dumps(hide_words(dict.fromkeys(WORDS, said) | {"evidence": [said]}, KEY))
    yield json.dumps(hide_words({"starts": [{"reason": said}]}, KEY))


@pytest.mark.parametrize("spelling", SPELLED)
@given(before=st.integers(0, 300), after=st.integers(0, 9))
def test_no_words_of_others_are_told_with_the_key(spelling: str, before: int, after: int) -> None:
    """At every place of a text, whatever is cut before it or behind."""
    spelled = SPELLED[spelling](KEY)
    said = f"{'x ' * (before // 2)}bad key {spelled}{' y' * after}"
    call = [{"function": {"name": said, "arguments": json.dumps({"city": said})}}]
    told = [
        *failures(chat(content=said, reasoning=said, tool_calls=[], pieces=[said])),
        *failures(chat(content=said, tool_calls=call, pieces=[said[:9], said[9:]])),
        *failures(said.encode(), 401),
        *engines(said),
        *generators(said),
        *written(said),
    ]

    assert len(told) > 30
    shown = "\n".join(told)
    assert not [part for part in parts(spelled) if part in shown]


@pytest.mark.parametrize("cut", range(0, len(KEY) + 40, 3))
def test_half_a_key_at_the_beginning_of_what_is_kept_is_not_told(cut: int) -> None:
    """A generator may say more than is kept: what is left of a line's first word may be of it."""
    said = f"bad key {KEY} was refused ".ljust(bench_run.KEPT + cut, "z").encode()
    told = bench_run._end(said[-bench_run.KEPT :], SERVER)

    assert not [part for part in parts(KEY) if part in told]
    whole = f"first\n{'z' * bench_run.KEPT}\nOSError: no space".encode()
    assert bench_run._end(whole[-bench_run.KEPT :], SERVER) == "OSError: no space"


def test_without_a_key_and_without_a_secret_words_stay() -> None:
    said = "asked to copy 'drawer 24: 939767', got '939768'"

    for server in (Server("h", 1), SERVER):
        assert server.words(said) == said
        assert server.says("/health", 503, "busy\n") == "/health says 503: busy"
        assert server.says("/health", 307, " \n") == "/health says 307"
    assert hide_words({"reason": said}, None) == {"reason": said}


def test_a_key_that_is_spelled_like_a_word_of_ours_changes_none() -> None:
    """`ready` may be a key: whoever reads the state must still find it."""
    state = StateRecord("ready", "ready", reason="it is ready", engine="ready", pids=Pids(7))
    told = StateRecord.from_json(hide_words(state.to_json(), "ready"))

    assert (told.state, told.profile, told.engine) == ("ready", "ready", "ready")
    assert told.reason == "it is [redacted]"


# Members of an event that hold the launcher's own words alone: names, kinds, places, times.
OWN = set(
    "schema time profile event state run restarts previous moved seconds url log usual of phase"
    " progress read cached total where end cause knob restart first stacks ok degraded gpu bdf xid"
    " ours done left".split()
)


def members(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from members(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from members(part)


def test_each_member_of_an_event_is_ours_or_looked_at() -> None:
    """A new one is decided upon: does anybody else's word get there?"""
    schema = json.loads((ROOT / "docs/events.schema.json").read_text())

    assert set(members(schema)) - OWN - WORDS == set()
    assert not OWN & WORDS
