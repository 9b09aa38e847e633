"""What two counts of an engine's work say of the time between them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.sglang import api as sglang
from launcher.engines.signs import LEAST, Counted, Signs, between, total
from launcher.engines.vllm.api import counted_of

BEFORE = Counted(0, 0, 0.0, 1000, 1000, 20.0, 1000, 3500, 5000)


def after(steps: int, rows: int, step: float, accepted: float = 3.5, **more: float) -> Counted:
    """So many more steps, with so many requests in all of them, of so many seconds."""
    worked = replace(
        BEFORE,
        steps=BEFORE.steps + steps,
        rows=BEFORE.rows + rows,
        row_seconds=BEFORE.row_seconds + rows * step,
        passes=BEFORE.passes + rows,
        passed=BEFORE.passed + rows * accepted,
    )
    return replace(worked, **more)  # type: ignore[arg-type]


def test_one_request_alone_tells_its_step_and_what_was_accepted() -> None:
    signs = between(BEFORE, after(50, 50, 0.02))

    assert signs == Signs((0, 0), pytest.approx(0.02), pytest.approx(3.5))


def test_with_others_its_load_is_told_and_nothing_of_what_they_sent() -> None:
    signs = between(BEFORE, after(50, 800, 0.05, running=16, used=64000.0))

    assert signs == Signs((4, 12), pytest.approx(0.05), None)


def test_steps_beside_long_prompts_tell_no_pace() -> None:
    read = after(50, 800, 0.4, running=16, prompts=BEFORE.prompts + 50 * 2048)

    assert between(BEFORE, read) == Signs((4, 0), None, None)


@pytest.mark.parametrize("end", [after(3, 3, 0.02), BEFORE, replace(BEFORE, steps=3, rows=3)])
def test_too_little_and_a_start_in_between_tell_nothing(end: Counted) -> None:
    assert between(BEFORE, end) is None


def test_what_counts_no_steps_tells_whether_others_were_served() -> None:
    idle = Counted(0, 0)

    assert between(idle, idle) == Signs((0, 0), None, None)
    assert between(idle, Counted(3, 0, 4000.0)) == Signs((2, 12), None, None)


@given(st.integers(LEAST, 10**6), st.floats(1e-5, 10), st.floats(1, 8))
def test_a_sign_is_what_it_was_made_of(rows: int, step: float, accepted: float) -> None:
    signs = between(BEFORE, after(rows, rows, step, accepted))

    assert signs
    assert signs.step == pytest.approx(step, rel=1e-3)
    assert signs.accepted == pytest.approx(accepted, rel=1e-3)


def test_replicas_are_summed() -> None:
    assert total([Counted(1, 2, 3.0, 4), Counted(1, 1, 1.0, 1)]) == Counted(2, 3, 4.0, 5)


LOAD = {
    "num_running_reqs": 1,
    "num_waiting_reqs": 2,
    "num_used_tokens": 90,
    "decode_moments": [10.0, 20.0, 200000.0, 40.0, 400000.0, 60.0],
}


def test_sglangs_moments_are_read_as_its_scheduler_sums_them() -> None:
    """decode_moments of 0.5.23: steps, requests, microseconds, squares, products, tokens."""
    assert sglang._counted(LOAD) == Counted(1, 2, 90.0, 10, 20, 0.4)
    spoken = sglang._counted(LOAD | {"speculative": {"accept_length": 3.0}})
    assert spoken == Counted(1, 2, 90.0, 10, 20, 0.4, 20, 60)


@pytest.mark.parametrize("moments", [None, [], [1.0] * 5, "x", {"a": 1}])
def test_a_release_without_moments_tells_how_many_it_serves(moments: object) -> None:
    assert sglang._counted(LOAD | {"decode_moments": moments}) == Counted(1, 2, 90.0)
    assert sglang._counted({"decode_moments": moments}) is None


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
    assert counted_of(VLLM) == Counted(1, 2, 0.25, 10, 20, 0.4, 0, 0, 1200)
    assert counted_of(VLLM + DRAFTED) == Counted(1, 2, 0.25, 10, 20, 0.4, 20, 60, 1200)
    assert counted_of("") is None
    assert counted_of('vllm:iteration_tokens_total_count{engine="0"} 10.0\n') is None
