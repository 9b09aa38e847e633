"""Who serves and who hangs: batches and requests tell, in their order; who asks how it is does not."""

from __future__ import annotations

import pytest

from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import Diagnosis
from launcher.knowledge.families import SERVES, STOPPED

READY = "[2026-11-24 05:00:00] The server is fired up and ready to roll!"
READS = "[2026-11-24 {} TP0] Prefill batch, #new-seq: 1, #new-token: 8192, #queue-req: {}"
WORKS = "[2026-11-24 {} TP0] Decode batch, #running-req: {}, #token: 7, #queue-req: {}"
FAILED = (
    "[2026-11-24 {}] Health check failed. Server couldn't get a response from detokenizer for last"
    " 20 seconds. tic start time: 05:10:00. last_heartbeat time: 05:09:58"
)
PROBED = '[2026-11-24 {}] INFO:     10.0.0.1:4711 - "{} HTTP/1.1" 200 OK'
STOPS = "[2026-11-24 05:10:41] Gracefully exiting... Remaining number of requests 4."
PROBES = ["GET /health", "GET /health_generate", "GET /metrics", "GET /v1/models", "HEAD /ping"]
RATES = (
    "(APIServer pid=1) INFO 11-24 {} [loggers.py:259] Engine 000: Avg prompt throughput: {}"
    " tokens/s, Avg generation throughput: {} tokens/s, Running: {} reqs, Waiting: {} reqs"
)
VLLM_PROBED = '(APIServer pid=1) INFO:     10.0.0.1:4711 - "GET /health HTTP/1.1" 200 OK'


def both(*lines: str) -> list[Diagnosis]:
    wrapped = [f"2026-11-24T03:00:00.1+02:00 stdout F {line}" for line in lines]
    texts = ("\n".join(each).encode() for each in (lines, wrapped))
    return [diagnose(lines), *(diagnose_text([text]) for text in texts)]


# -- a health check that failed --------------------------------------------------------------------


def test_a_server_that_reads_prompts_while_its_health_check_fails_is_busy() -> None:
    for end in ([], [STOPS]):
        for found in both(READY, READS.format("05:10:24", 37), FAILED.format("05:10:40"), *end):
            assert found.cause == "server-busy"
            assert "SGLANG_HEALTH_CHECK_TIMEOUT" in found.fix


@pytest.mark.parametrize("last", ["05:09:50", "04:00:00"])
def test_a_server_that_did_nothing_before_its_health_check_failed_hangs(last: str) -> None:
    for before in (READS.format(last, 0), WORKS.format("05:10:39", 3, 0), READY):
        for found in both(READY, before, FAILED.format("05:10:40"), FAILED.format("05:11:00")):
            assert (found.cause, found.family) == ("server-hung", "hang")


def test_a_prompt_that_is_never_read_to_its_end_is_a_hang_by_the_second_check() -> None:
    checks = [FAILED.format(at) for at in ("05:10:40", "05:11:00", "05:11:20")]
    for found in both(READY, READS.format("05:10:30", 3), *checks):
        assert found.cause == "server-hung"


@pytest.mark.parametrize("before", [READS.format("05:10:24", 37), WORKS.format("04:10:00", 3, 0)])
@pytest.mark.parametrize(
    "after", [READS.format("05:11:10", 37), WORKS.format("05:11:10", 3, 0)], ids=["reads", "works"]
)
def test_a_batch_after_a_failed_health_check_clears_it(before: str, after: str) -> None:
    checks = [FAILED.format("05:10:40"), FAILED.format("05:11:00")]
    for found in both(READY, before, *checks, after, PROBED.format("05:11:11", PROBES[0])):
        assert (found.is_known, found.family) == (False, SERVES)
        assert "busy, not hung" in found.what
        assert "SGLANG_HEALTH_CHECK_TIMEOUT=" in found.fix
    for found in both(READY, before, *checks, after, STOPS):
        assert (found.is_known, found.family) == (False, STOPPED)
        assert "busy, not hung" in found.what
    for found in both(READY, before, *checks, after, FAILED.format("05:20:00")):
        assert found.cause == "server-hung"


# -- who only asks how it is -----------------------------------------------------------------------


@pytest.mark.parametrize("probe", PROBES)
def test_probes_are_no_sign_that_those_who_wait_are_served(probe: str) -> None:
    asked = [PROBED.format(at, probe) for at in ("05:11:00", "05:20:00", "06:10:00")]
    for found in both(READY, WORKS.format("05:10:00", 16, 8), *asked):
        assert (found.is_known, found.family) == (False, "hang")
        assert "8 requests that wait" in found.what
        assert "glm5-serve smoke" in found.fix


@pytest.mark.parametrize("probe", PROBES)
def test_a_server_that_nobody_asks_for_tokens_is_idle(probe: str) -> None:
    asked = [PROBED.format(at, probe) for at in ("05:11:00", "05:20:00", "06:10:00")]
    for last in (WORKS.format("05:10:00", 1, 0), READY):
        for found in both(READY, last, *asked):
            assert (found.is_known, found.family) == (False, SERVES)
    for found in both(READY, WORKS.format("05:10:00", 16, 0), *asked):
        assert "for 60 min nothing came" in found.what
        assert found.fix.startswith("`glm5-serve smoke`")


@pytest.mark.parametrize(
    "after",
    [
        [PROBED.format("05:11:00", "GET /health")],
        [PROBED.format("05:40:00", "POST /v1/completions")],
        [PROBED.format("05:40:00", "POST /pause_generation")],
        [PROBED.format("05:11:00", "GET /health"), WORKS.format("06:00:00", 1, 0)],
    ],
    ids=["not for long", "answered", "paused", "it goes on"],
)
def test_whoever_waited_may_have_been_served(after: list[str]) -> None:
    for found in both(READY, WORKS.format("05:10:00", 16, 8), *after):
        assert (found.is_known, found.family) == (False, SERVES)
        assert "still serves at its end" in found.what


def test_an_exception_that_only_probes_came_after_is_told_and_so_is_that() -> None:
    raised = ['  File "/opt/sglang/srt/managers/x.py", line 7, in run', "FooError: empty"]
    probe = PROBED.format("05:20:00", "GET /health_generate")
    for found in both(READY, WORKS.format("05:10:00", 1, 0), *raised, probe):
        assert "FooError" in found.what
        assert "no sign that it generates" in found.what
        assert "glm5-serve smoke" in found.fix


# -- counters that repeat --------------------------------------------------------------------------


@pytest.mark.parametrize(("running", "waiting"), [(0, 3), (2, 0), (4, 9)])
def test_requests_that_wait_for_minutes_without_a_token_are_a_hang(
    running: int, waiting: int
) -> None:
    stuck = [RATES.format(at, "0.0", "0.0", running, waiting) for at in ("05:10:10", "05:31:10")]
    for found in both(
        RATES.format("05:10:00", "8.4", "41.0", 12, 0), stuck[0], VLLM_PROBED, *stuck
    ):
        assert (found.is_known, found.family) == (False, "hang")
        assert "for 21 min" in found.what
    asked = [VLLM_PROBED] * 90
    for found in both(RATES.format("05:10:00", "8.4", "41.0", 12, 0), stuck[0], *asked):
        assert (found.is_known, found.family) == (False, "hang")


@pytest.mark.parametrize(
    "figures",
    [
        [("05:10:10", "0.0", "0.0", 0, 0), ("05:40:10", "0.0", "0.0", 0, 0)],
        [("05:10:10", "0.0", "0.0", 0, 3), ("05:10:40", "0.0", "0.0", 0, 3)],
        [("05:10:10", "0.0", "0.0", 0, 3), ("05:40:10", "0.0", "12.0", 3, 9)],
        [("05:10:10", "0.0", "31.0", 8, 9), ("05:40:10", "0.0", "31.0", 8, 9)],
        [("05:10:10", "0.0", "0.0", 0, 3), ("05:40:10", "0.0", "0.0", 0, 0)],
    ],
    ids=["idle", "a short time", "it went on", "the cache is full", "nobody any more"],
)
def test_a_server_that_works_rests_or_waits_shortly_serves(
    figures: list[tuple[object, ...]],
) -> None:
    lines = [
        RATES.format("05:10:00", "8.4", "41.0", 12, 0),
        *(RATES.format(*one) for one in figures),
    ]
    for found in both(*lines, *[VLLM_PROBED] * 30):
        assert (found.is_known, found.family) == (False, SERVES), found.what
