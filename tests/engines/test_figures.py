"""What engines say of their work, and what two looks at it tell."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.exposition import samples
from launcher.engines.figures import Figures, First, Rates, between, first_tokens, since
from launcher.engines.http import countdown
from launcher.engines.server import Server
from launcher.engines.sglang import figures as sglang
from launcher.engines.sglang.figures import of_loads
from launcher.engines.vllm.figures import of_metrics

VLLM = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 12.0
vllm:num_requests_running{engine="1",model_name="tiny"} 3.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.61
vllm:prefix_cache_queries_total{engine="0",model_name="tiny"} 1000.0
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 250.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 1.5e+06
vllm:spec_decode_num_drafts_total{engine="0",model_name="tiny"} 100.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="tiny"} 210.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="tiny"} 4.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.25",model_name="tiny"} 9.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="tiny"} 10.0
"""
COUNTED = of_metrics(VLLM)
LOAD = {
    "timestamp": 1000.0,
    "dp_rank": 0,
    "num_running_reqs": 12,
    "num_waiting_reqs": 3,
    "token_usage": 0.5,
    "gen_throughput": 512.5,
    "speculative": {"accept_length": 3.0, "accept_rate": 0.6},
}


def test_replicas_are_told_together_and_the_fullest_cache() -> None:
    assert (
        Figures(
            running=15,
            waiting=2,
            kv=0.61,
            generated=1_500_000.0,
            answered=1_500_000.0,
            prompts=1000.0,
            cached=250.0,
            drafts=100.0,
            accepted=210.0,
            first={0.1: 4.0, 0.25: 9.0, math.inf: 10.0},
        )
        == COUNTED
    )


def test_snapshots_of_loads_are_told_together() -> None:
    other = LOAD | {"timestamp": 990.0, "token_usage": 0.75, "num_running_reqs": 1}

    assert of_loads([LOAD, other]) == Figures(running=13, waiting=6, kv=0.75, rate=1025.0, at=990.0)
    assert of_loads([]) == Figures()
    assert of_loads([{"num_running_reqs": 0}]) == Figures(running=0), "an older release"


def test_ranks_of_one_replica_tell_the_same_tokens_and_replicas_their_own() -> None:
    text = "".join(
        f'sglang:realtime_tokens_total{{{dp}mode="{mode}",tp_rank="{rank}"}} {tokens}.0\n'
        for dp, tokens in (('dp_rank="0",', 100), ('dp_rank="1",', 30))
        for mode in ("decode", "prefill_compute")
        for rank in range(2)
    )
    made = sglang.of_metrics(Figures(), text)

    assert (made.generated, made.prompts, made.cached) == (130.0, 130.0, 0.0)
    assert sglang.of_metrics(Figures(), "").generated is None


def test_accepted_drafts_of_several_replicas_are_not_added_up() -> None:
    gauge = 'sglang:spec_accept_length{{tp_rank="0",dp_rank="{}"}} {}\n'
    told = "".join(gauge.format(*each) for each in ((0, 3.0), (1, 2.0)))

    assert sglang.of_metrics(Figures(), told).accept == 2.5
    assert sglang.of_metrics(Figures(), gauge.format(0, 0.0)).accept is None, "it does not draft"


def test_what_is_counted_since_a_look_is_unknown_where_one_of_two_says_nothing() -> None:
    text = 'sglang:generation_tokens_total{model_name="tiny"} 1.2e+02\n'
    answered = replace(sglang.of_metrics(Figures(), text), lacks=())

    assert answered == Figures(answered=120.0)
    assert since(answered, answered).answered == 0
    assert since(Figures(), answered) == since(answered, Figures()) == Figures()
    assert since(COUNTED, replace(COUNTED, cached=0.0)).cached is None, "another server"


def test_rates_are_what_counters_did_meanwhile() -> None:
    later = replace(
        COUNTED, generated=1_501_000.0, prompts=1100.0, cached=325.0, drafts=200.0, accepted=420.0
    )

    assert between(COUNTED, later, 2.0) == Rates(tokens=500.0, hits=0.75, accept=3.1)


def test_a_counter_that_fell_is_of_another_server() -> None:
    assert between(COUNTED, replace(COUNTED, generated=10.0), 1.0).tokens is None


def test_an_idle_server_has_no_share_of_nothing() -> None:
    assert between(COUNTED, COUNTED, 1.0) == Rates(tokens=0.0)


def test_the_engines_own_rate_counts_while_something_runs() -> None:
    """SGLang leaves the last one there for half a minute."""
    load = of_loads([LOAD])

    assert between(None, load, 0.0) == Rates(tokens=512.5)
    assert between(None, replace(load, running=0), 0.0).tokens == 0.0
    assert between(None, replace(load, rate=None), 0.0).tokens is None


def test_first_tokens_of_a_minute_are_told_and_all_where_none_came() -> None:
    later = replace(COUNTED, first={0.1: 4.0, 0.25: 19.0, math.inf: 20.0})

    assert first_tokens(COUNTED, later, 60.0) == First(0.25, 10, 60.0)
    assert first_tokens(COUNTED, COUNTED, 60.0) == First(0.25, 10, 0.0)
    assert first_tokens(None, Figures(), 60.0) is None
    assert first_tokens(None, replace(COUNTED, first={0.1: 0.0, math.inf: 3.0}), 60.0) == First(
        math.inf, 3, 0.0
    )


@given(
    st.builds(
        Figures, generated=st.none() | st.floats(0, 1e12), running=st.none() | st.integers(0, 9)
    ),
    st.builds(
        Figures, generated=st.none() | st.floats(0, 1e12), rate=st.none() | st.floats(0, 1e6)
    ),
    st.floats(0, 1e4),
)
def test_no_rate_is_negative(before: Figures, now: Figures, seconds: float) -> None:
    tokens = between(before, now, seconds).tokens

    assert tokens is None or tokens >= 0


@pytest.mark.parametrize(
    "line",
    [
        'vllm:generation_tokens_total{model_name="a\\"} 7"} x',
        "vllm:generation_tokens_total NaN",
        "vllm:generation_tokens_total 1.2.3",
        "vllm:generation_tokens_total -7",
        f"vllm:generation_tokens_total {'9' * 999}",
        "# vllm:generation_tokens_total 7",
        'x vllm:generation_tokens_total{a="b"} 7',
    ],
)
def test_what_is_no_sample_is_none(line: str) -> None:
    assert not samples(line, frozenset({"vllm:generation_tokens_total"}))


GENERATED = "vllm:generation_tokens_total"
EXEMPLAR = ' # {trace_id="a b"} 0.67 1520879607.789'


@pytest.mark.parametrize(
    "end", ["", "\r", " 1520879607789", " 1520879607.789", EXEMPLAR, f" 1520879607.789{EXEMPLAR}"]
)
@pytest.mark.parametrize("labels", ["", '{engine="0",model_name="a # {b} 7"}'])
def test_a_time_an_exemplar_and_the_end_of_a_line_are_not_the_value(end: str, labels: str) -> None:
    text = "\n".join([f"# HELP {GENERATED} x{end}", *[f"{GENERATED}{labels} 7.0{end}"] * 2, ""])

    assert samples(text, frozenset({GENERATED})) == {GENERATED: [(labels[1:-1], 7.0)] * 2}


@pytest.mark.parametrize("end", [" x", " # 7", " 1 2", ' {a="b"}', "e"])
def test_what_else_stands_behind_a_value_makes_it_none(end: str) -> None:
    assert not samples(f"{GENERATED} 7{end}", frozenset({GENERATED}))


def test_a_whole_exposition_reads_the_same_in_any_of_these_forms() -> None:
    for end in ("\r\n", " 1520879607789\n", f"{EXEMPLAR}\n"):
        assert of_metrics(VLLM.replace("\n", end)) == COUNTED


def test_a_metric_that_the_engine_should_have_is_missed() -> None:
    renamed = VLLM.replace("vllm:kv_cache_usage_perc", "vllm:kv_usage")

    assert COUNTED.lacks == ()
    assert of_metrics(renamed).lacks == ("/metrics has no vllm:kv_cache_usage_perc",)
    assert "vllm:num_requests_running" in of_metrics("").lacks[0]
    assert of_metrics(VLLM.replace("spec_decode", "other")).lacks == (), "it need not draft"


def test_sglangs_tokens_are_missed_and_what_was_missed_before_stays() -> None:
    before = Figures(lacks=("/v1/loads says 401",))
    has_them = 'sglang:realtime_tokens_total{mode="decode",tp_rank="0"} 5.0\n'

    assert sglang.of_metrics(before, has_them).lacks == before.lacks
    for served in (
        'sglang:generation_tokens_total{tp_rank="0"} 5.0\n',
        'sglang:time_to_first_token_seconds_bucket{le="0.1"} 1.0\n',
    ):
        assert sglang.of_metrics(before, served).lacks == (
            "/v1/loads says 401",
            "/metrics has no sglang:realtime_tokens_total",
        )
    assert sglang.of_metrics(of_loads([LOAD | {"decode_moments": [1.0] * 6}]), "").lacks


def test_before_its_first_request_sglang_has_no_counters_and_nothing_is_amiss() -> None:
    fresh = of_loads([LOAD | {"decode_moments": [0.0] * 6}])

    assert sglang.of_metrics(fresh, "").lacks == ()
    assert sglang.of_metrics(fresh, "sglang:num_running_reqs 0.0\n").lacks == ()


def test_both_questions_for_figures_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by what each question may take."""
    now, asked = [0.0], list[tuple[str, float]]()

    def talk(server: Server, method: str, path: str, body: None, within: float) -> Any:
        asked.append((path, within))
        now[0] += within * 0.75
        return 200, b'{"loads": []}'

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sglang, "talk", talk)
    sglang.figures(Server("127.0.0.1", 1), 8.0, whole=True)
    left = countdown(1.0)
    now[0] += 1.0

    assert asked == [("/v1/loads", 8.0), ("/metrics", 2.0)]
    with pytest.raises(TimeoutError):
        left()


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    of_metrics(text)
