"""What two counts of an engine's work say of the time between them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.figures import Figures, Steps
from launcher.engines.sglang import figures as sglang
from launcher.engines.sglang.figures import of_loads
from launcher.engines.signs import LEAST, Signs, between
from launcher.engines.vllm.figures import of_metrics

BEFORE = Figures(running=0, kv=0.0, drafts=1000, accepted=2500, steps=Steps(1000, 1000, 20.0, 5000))


def after(
    steps: int, rows: int, step: float, accepted: float = 3.5, prompts: float = 0.0, **more: float
) -> Figures:
    """So many more steps, with so many requests in all of them, of so many seconds."""
    worked = replace(
        BEFORE,
        drafts=1000 + rows,
        accepted=2500 + rows * (accepted - 1),
        steps=Steps(1000 + steps, 1000 + rows, 20.0 + rows * step, 5000 + prompts),
    )
    return replace(worked, **more)  # type: ignore[arg-type]


def test_one_request_alone_tells_its_step_and_what_was_accepted() -> None:
    signs = between(BEFORE, after(50, 50, 0.02))

    assert signs == Signs((0, 0), pytest.approx(0.02), pytest.approx(3.5))


def test_with_others_its_load_is_told_and_nothing_of_what_they_sent() -> None:
    signs = between(BEFORE, after(50, 800, 0.05, running=16, kv=0.5))

    assert signs == Signs((4, -5), pytest.approx(0.05), None)


def test_steps_beside_long_prompts_tell_no_pace() -> None:
    read = after(50, 800, 0.4, prompts=50 * 2048, running=16)

    assert between(BEFORE, read) == Signs((4, 0), None, None)


@pytest.mark.parametrize("end", [after(3, 3, 0.02), BEFORE, after(-990, -990, 0.02)])
def test_too_little_and_a_start_in_between_tell_nothing(end: Figures) -> None:
    assert between(BEFORE, end) is None


def test_what_counts_no_steps_tells_whether_others_were_served() -> None:
    idle = Figures(running=0)

    assert between(idle, idle) == Signs((0, 0), None, None)
    assert between(idle, Figures(running=3, kv=0.25)) == Signs((2, -2), None, None)
    assert between(idle, Figures()) is None, "nobody knows"


@given(st.integers(LEAST, 10**6), st.floats(1e-5, 10), st.floats(1, 8))
def test_a_sign_is_what_it_was_made_of(rows: int, step: float, accepted: float) -> None:
    signs = between(BEFORE, after(rows, rows, step, accepted))

    assert signs
    assert signs.step == pytest.approx(step, rel=1e-3)
    assert signs.accepted == pytest.approx(accepted, rel=1e-3)


LOAD = {
    "num_running_reqs": 1,
    "num_waiting_reqs": 2,
    "token_usage": 0.25,
    "decode_moments": [10.0, 20.0, 200000.0, 40.0, 400000.0, 60.0],
}


def test_sglangs_moments_are_read_as_its_scheduler_sums_them() -> None:
    """decode_moments of 0.5.23: steps, requests, microseconds, squares, products, tokens."""
    made = Figures(running=1, waiting=2, kv=0.25, steps=Steps(10, 20, 0.4))

    assert of_loads([LOAD]) == made
    spoken = of_loads([LOAD | {"speculative": {"accept_length": 9.0}}])
    assert spoken == replace(made, drafts=20, accepted=40), "and not its mean since the start"
    other = LOAD | {"decode_moments": None}
    assert of_loads([LOAD, other]).steps == made.steps, "a replica that has not decoded yet"
    assert of_loads([LOAD, LOAD]).steps == Steps(20, 40, 0.8)


@pytest.mark.parametrize("moments", [None, [], [1.0] * 5, "x", {"a": 1}])
def test_a_release_without_moments_tells_how_many_it_serves(moments: object) -> None:
    made = of_loads([LOAD | {"decode_moments": moments}])

    assert made == Figures(running=1, waiting=2, kv=0.25)


GAUGE = 'sglang:spec_accept_length{{tp_rank="0"}} {}\n'
COUNTERS = """sglang:generation_tokens_total{{is_streaming="false",model_name="m"}} {}
sglang:spec_verify_calls_total{{model_name="m"}} {}
"""


@pytest.mark.parametrize(
    ("load", "before", "later", "accepted"),
    [
        ({}, GAUGE.format(3.5), GAUGE.format(1.6), 1.6),
        ({}, GAUGE.format(3.5), GAUGE.format(3.5), None),
        ({}, GAUGE.format(3.5) + COUNTERS.format(700, 200), COUNTERS.format(880, 300), 1.8),
        ({}, COUNTERS.format(700, 200), COUNTERS.format(703, 201), None),
        ({"num_running_reqs": 1}, GAUGE.format(3.5), GAUGE.format(1.6), None),
        ({}, "", "", None),
    ],
    ids=["0.5.12", "no report", "0.5.13", "too few", "others", "no metrics"],
)
def test_sglang_without_moments_tells_what_was_accepted_by_its_metrics(
    load: dict[str, int], before: str, later: str, accepted: float | None
) -> None:
    """The gauge of the last forty steps, where no counter is: read in 0.5.9 to 0.5.23."""
    made = of_loads([{"num_running_reqs": 0, "num_waiting_reqs": 0} | load])
    signs = between(sglang.of_metrics(made, before), sglang.of_metrics(made, later))

    assert signs
    assert signs.accepted == (accepted and pytest.approx(accepted))


def test_sglangs_moments_count_for_more_than_its_other_counters() -> None:
    told = of_loads([LOAD | {"speculative": {}}])

    assert sglang.of_metrics(told, COUNTERS.format(700, 200)).drafts == 20


VLLM = """
vllm:num_requests_running{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="m"} 1200.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 10.0
vllm:inter_token_latency_seconds_count{engine="0",model_name="m"} 20.0
vllm:inter_token_latency_seconds_sum{engine="0",model_name="m"} 0.4
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.01",model_name="m"} 7.0
"""
DRAFTED = """vllm:spec_decode_num_drafts_total{engine="0",model_name="m"} 20.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="m"} 40.0
"""


def test_vllms_counters_are_read_by_their_names() -> None:
    made = Figures(running=1, waiting=2, kv=0.25, steps=Steps(10, 20, 0.4, 1200))
    made = replace(made, lacks=("/metrics has no vllm:generation_tokens_total",))

    assert of_metrics(VLLM) == made
    assert of_metrics(VLLM + DRAFTED) == replace(made, drafts=20, accepted=40)
    for little in ("", 'vllm:iteration_tokens_total_count{engine="0"} 10.0\n'):
        told = of_metrics(little)
        assert told == Figures(lacks=told.lacks)
        assert "vllm:num_requests_running" in told.lacks[0]
