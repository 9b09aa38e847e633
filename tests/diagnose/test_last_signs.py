"""What a log tells last decides: signs of life, of an answer that does not come, of an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.text import diagnose_text
from launcher.knowledge.families import SERVES

RATES = (
    "(APIServer pid=1) INFO 11-24 05:10:00 [loggers.py:259] Engine 000: Avg prompt throughput: {}"
    " tokens/s, Avg generation throughput: {} tokens/s, Running: {} reqs, Waiting: {} reqs"
)
WORKS = RATES.format("8.4", "41.0", 9, 0)
READS = RATES.format("812.0", "0.0", 1, 0)  # a long prompt
RESTS = RATES.format("0.0", "0.0", 0, 0)
STUCK = [RATES.format("0.0", "0.0", 3, 0), RATES.format("0.0", "0.0", 0, 2)]
WAITS = (
    "(EngineCore pid=7) INFO 11-24 05:11:00 [shm_broadcast.py:705] No available shared memory"
    " broadcast block found in 60 seconds."
)
ALIVE = [WORKS, READS, RESTS]


@given(
    told=st.lists(st.sampled_from([*ALIVE, *STUCK, *[WAITS] * 4]), max_size=40),
    last=st.sampled_from([*ALIVE, WAITS]),
    after=st.lists(st.sampled_from(STUCK), max_size=2),
)
def test_who_works_or_rests_after_a_wait_serves_and_who_waits_last_does_not(
    told: list[str], last: str, after: list[str]
) -> None:
    lines = [WORKS, *told, last, *after]

    for found in (diagnose(lines), diagnose_text(["\n".join(lines).encode()])):
        assert (found.family == SERVES) is (last != WAITS), found.what
        assert (found.family == "hang") is (last == WAITS)
        assert not found.is_known


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_that_the_start_before_served_says_nothing_of_the_last_one(engine: str) -> None:
    at = "[2026-11-24 05:00:00] "
    start, works, loads = {
        "sglang": (
            f"{at}server_args=ServerArgs(model_path='x')",
            f"{at[:-2]} TP0] Decode batch, #running-req: 1, #token: 7",
            f"{at[:-2]} TP0] Load weight begin. avail mem=90.00 GB",
        ),
        "vllm": (
            "(EngineCore pid=7) INFO 11-24 05:00:00 [core.py:9] Initializing a V1 LLM engine",
            WORKS,
            "(EngineCore pid=7) INFO 11-24 05:00:00 [x.py:9] Starting to load model x...",
        ),
    }[engine]

    assert diagnose([start, works]).family == SERVES
    assert diagnose([start, works, start, loads]).family != SERVES
    assert diagnose([start, works, start, loads, works]).family == SERVES
