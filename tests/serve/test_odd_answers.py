"""Whatever figures a server gives: its answer is judged by what it says, and what is written of it
is read again, whether it is degraded above all.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines import signs
from launcher.engines.engine import runtime
from launcher.engines.figures import ACCEPTED, RATE, STEP, between, first_tokens, since
from launcher.engines.server import Answer, Server
from launcher.engines.sglang.figures import of_loads
from launcher.engines.sglang.figures import of_metrics as of_sglang
from launcher.engines.vllm.figures import of_metrics as of_vllm
from launcher.operate import metrics
from launcher.output import status
from launcher.plan.policy import CanaryPolicy
from launcher.serve import canary, canary_ask, canary_told, smoke
from launcher.serve.canary import Look, Question, Said
from launcher.statedir.readings import GpuReading
from launcher.statedir.state import Canary, Pids, StateRecord

QUESTION = {"ask": "What is 17 + 25?", "expect": "42"}
SMOKE = {"within": 5.0, "questions": [QUESTION], "thinking": "no"}
POLICY = CanaryPolicy(every=60.0, asks=("fact",))
SERVER = Server("127.0.0.1", 1, "k3y-of-the-server")
# As JSON has them, and as Python's takes them.
ODD = [10**18, 10**9, -5, -(10**400), 1e300, math.inf, -math.inf, math.nan, True, "7", None, [], {}]
numbers = st.sampled_from(ODD) | st.integers() | st.floats() | st.none() | st.text(max_size=3)


def told(text: str, usage: object, **more: object) -> bytes:
    """An answer of a chat."""
    made = {"choices": [{"message": {"content": text, **more}}], "usage": usage}
    return json.dumps(made).encode()


def looked(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, kind: str = "fact") -> Look:
    """What comes of a question that is answered so."""
    monkeypatch.setattr(canary_ask, "talk", lambda *_: (status, body))
    quiet = replace(
        runtime("sglang"),
        leads=lambda *_: Answer(True, "/ready says 200"),
        paused=lambda _: False,
        figures=lambda *_, **__: of_loads([]),
    )
    line, parsers = canary_ask.Line(), frozenset({"tools", "reasoning"})
    asked = canary_ask.Asked(SERVER, quiet, "m", SMOKE, parsers, line)
    return canary_ask.look(asked, Question(kind, 0))


def written(look: Look, degraded: canary.Degraded | None) -> StateRecord:
    """The state after that look, as whoever reads its file has it."""
    bird = canary.begin(POLICY, frozenset({"fact"}), 0.0)
    assert bird
    bird = replace(bird, last=look, degraded=degraded, counts={"wrong": 2})
    made = canary_told.record(Canary(60.0), bird, look, "2026-11-27T20:00:00.000Z")
    state = StateRecord("p", "ready", pids=Pids(1), canary=made)
    return StateRecord.from_json(json.loads(json.dumps(state.to_json())))


@pytest.mark.parametrize("usage", [*({"completion_tokens": odd} for odd in ODD), {}, None, 7, []])
@pytest.mark.parametrize(("text", "said"), [("42", Said.RIGHT), ("rubbish", Said.WRONG)])
def test_the_verdict_hangs_on_what_it_says_and_on_no_count(
    monkeypatch: pytest.MonkeyPatch, usage: object, text: str, said: Said
) -> None:
    look = looked(monkeypatch, 200, told(text, usage))

    assert look.said is said
    assert look.tokens == 0, "none of them is a count of tokens that were asked for"


def test_a_number_that_python_cannot_hold_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """1e999 is Infinity to Python's JSON, and int() of it no ValueError."""
    for figure in (b"1e999", b"-1e999", b"NaN", b"1" * 5000):
        body = told("rubbish", {"completion_tokens": 0}).replace(b": 0}", b": " + figure + b"}")
        assert looked(monkeypatch, 200, body).said is Said.WRONG


@given(st.recursive(numbers, lambda some: st.lists(some) | st.dictionaries(st.text(), some)))
def test_no_answer_is_a_bug_of_ours(said: Any) -> None:
    """Whatever JSON it gives, in each place of an answer: it is judged, and asked it was."""
    call = {"function": {"name": "get_weather", "arguments": said}}
    answers = [
        said,
        {"choices": said},
        {"choices": [said]},
        {"choices": [{"message": said}], "usage": said},
        {"choices": [{"message": {"content": said, "reasoning": said, "tool_calls": said}}]},
        {"choices": [{"message": {"content": None, "tool_calls": [call]}}], "usage": said},
    ]
    for answer in answers:
        body = json.dumps(answer).encode()
        for ask in (
            lambda client: smoke.fact(client, QUESTION),
            lambda client: smoke.reasoned(client, QUESTION),
            smoke.tool_call,
        ):
            talk = lambda *_, body=body: (200, body)
            client = smoke.Client(SERVER, "m", SMOKE, is_parsed=True, talk=talk)
            try:
                ask(client)
            except Exception as error:
                found = smoke.failed(error, SMOKE)
                assert not any((found.ok, found.unreachable, found.unknown, found.silent))


@given(st.integers(), st.floats(0, 1e6), numbers, numbers)
def test_a_canary_is_read_again_whatever_it_was_told(
    tokens: int, seconds: float, step: Any, accepted: Any
) -> None:
    """Its writer bounds what a server gives; where one does not, a figure is lost and no more."""
    look = Look(Said.WRONG, "got rubbish", tokens, seconds, signs.Signs((0, 0), step, accepted))
    worse = canary.Degraded(1.0, "got rubbish", "wrong-output")
    bird = canary.begin(POLICY, frozenset({"fact"}), 0.0)
    assert bird
    try:
        seen = written(look, worse)
    except (TypeError, ArithmeticError):  # no figure at all: signs never have one
        assert not all(isinstance(told, int | float | None) for told in (step, accepted))
        return
    assert seen.canary
    assert (seen.canary.degraded, seen.canary.reason) == (True, "got rubbish")
    figures = {name: value for name, value, _ in metrics._of_canary(seen)}
    assert figures["degraded"] is True
    assert "degraded since" in status._canary(seen.canary)


@pytest.mark.parametrize("name", [n for n in Canary(1.0).to_json() if n != "degraded"])
@given(odd=numbers)
def test_one_odd_part_of_a_canary_hides_no_other(name: str, odd: Any) -> None:
    made = Canary(60.0, degraded=True, reason="got rubbish", last="got rubbish").to_json()

    assert Canary.from_json(made | {name: odd}).degraded is True


@given(odd=numbers, name=st.sampled_from(sorted(set(GpuReading(0).to_json()) - {"index"})))
def test_one_odd_figure_of_a_gpu_hides_no_other(odd: Any, name: str) -> None:
    made = GpuReading(3, "0000:01:00.0", used=5.0).to_json() | {name: odd}
    if name in ("pids", "slowed"):
        return  # lists, which the launcher makes itself
    assert GpuReading.from_json(made).index == 3


huge = st.one_of(
    st.integers(0, 10**40).map(str),
    st.floats(0, 1e99).map(repr),
    st.sampled_from(["1e99", "9" * 40, "-5", "NaN", "+Inf", "0", "1e-99"]),
)
SGLANG = ("realtime_tokens_total", "generation_tokens_total", "spec_verify_calls_total")


@given(st.lists(huge, min_size=24, max_size=24), st.lists(numbers, min_size=12, max_size=12))
def test_no_figure_of_an_engine_is_one_that_no_server_can_have(
    texts: list[str], odd: list[Any]
) -> None:
    """Whatever its /metrics and its /v1/loads say: rates, shares and signs are those of a server,
    or none.
    """
    from launcher.engines.vllm.figures import NAMES

    vllm = [
        of_vllm(
            "".join(
                f'{name}{{engine="0",le="+Inf"}} {text}\n'
                for name, text in zip(sorted(NAMES), half, strict=False)
            )
        )
        for half in (texts[:12], texts[12:])
    ]
    loads = [
        {"num_running_reqs": odd[n], "num_waiting_reqs": odd[n + 1], "token_usage": odd[n + 2]}
        | {"gen_throughput": odd[n + 3], "decode_moments": odd[n : n + 6], "timestamp": odd[n]}
        | {"speculative": {}}
        for n in (0, 6)
    ]
    sglang = [
        of_sglang(
            of_loads([load]),
            "".join(
                f'sglang:{name}{{mode="decode"}} {text}\n'
                for name, text in zip(SGLANG, half, strict=False)
            )
            + f"sglang:spec_accept_length {half[5]}\n",
        )
        for load, half in zip(loads, (texts[:12], texts[12:]), strict=True)
    ]
    for before, now in (vllm, sglang):
        rates, sign = between(before, now, 0.001), signs.between(before, now)
        assert rates.tokens is None or 0 <= rates.tokens <= RATE
        assert rates.hits is None or 0 <= rates.hits <= 1
        for accepted in (rates.accept, sign and sign.accepted, now.accept):
            assert accepted is None or 0 <= accepted <= ACCEPTED
        assert sign is None or sign.step is None or 0 < sign.step <= STEP
        first_tokens(before, now, 1.0)
        since(before, now)
        if sign:
            worse = canary.Degraded(1.0, "slow", "slow-output")
            seen = written(Look(Said.RIGHT, "right", 3, 1.0, sign), worse)
            assert seen.canary
            assert seen.canary.step_seconds == (sign.step or None)
            assert seen.canary.accepted == (sign.accepted or None)


def test_what_a_server_can_have_is_told_as_it_is() -> None:
    text = 'vllm:num_requests_running{engine="0"} 12\nvllm:generation_tokens_total{engine="0"} 1e15'
    made = of_vllm(text)

    assert (made.running, made.generated) == (12, 1e15)
