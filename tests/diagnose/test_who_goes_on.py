"""Who says that it goes on did not die; who outlived another one, or was asked to stop, goes."""

from __future__ import annotations

import pytest

from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import Diagnosis
from launcher.engines import witness
from launcher.knowledge.families import SERVES, STOPPED, UNKNOWN

SGLANG = "[2026-11-24 05:10:00 TP1] "
BATCH = f"{SGLANG}Decode batch, #running-req: 1, #token: 7"
SIGQUIT = "[2026-11-24 05:10:00] Received sigquit from a child process. It usually means the child"
API, WORKER = "(APIServer pid=1) ", "(Worker_TP1 pid=7) "
RATES = (
    f"{API}INFO 11-24 05:10:00 [loggers.py:259] Engine 000: Avg prompt throughput: 8.4 tokens/s,"
    " Avg generation throughput: 41.0 tokens/s, Running: 9 reqs, Waiting: 0 reqs"
)
FRAME = '  File "/opt/{}/x.py", line 7, in {}'
FAILED = [
    "[Errno 13] Permission denied: '/root/.cache/refs/main'",
    "No CUDA GPUs are available",
    "CUDA error: an illegal memory access was encountered",
    "[Errno 28] No space left on device",
    "cudaHostRegister failed (code=801)",
]
GOES_ON = [
    "Ignored error while writing commit hash to /root/.cache/refs/main: {}",
    "Could not cache non-existence of file. Will ignore error and continue. Error: {}",
    "Failed to pin: {}, falling back to pageable memory",
    "{} -- transfers will still work but may be slower",
    "[Autotuner]: Skipping tactic <x.MoERunner object at 0x7f1> 14, due to failure: {}",
]


def both(*lines: str) -> list[Diagnosis]:
    return [diagnose(lines), diagnose_text(["\n".join(lines).encode()])]


@pytest.mark.parametrize("said", GOES_ON)
@pytest.mark.parametrize("failed", FAILED)
@pytest.mark.parametrize("frame", ["", WORKER, SGLANG, f"{WORKER}WARNING 11-24 05:10:00 [x.py:9] "])
def test_who_says_that_it_goes_on_told_of_no_death(frame: str, failed: str, said: str) -> None:
    for found in both(frame + said.format(failed)):
        assert not found.is_known, found.cause


@pytest.mark.parametrize("failed", FAILED)
def test_an_exception_that_speaks_of_a_fallback_ends_a_process_all_the_same(failed: str) -> None:
    for found in both(f"RuntimeError: {failed}; falling back to x is not possible"):
        assert found.is_known


def test_what_the_interpreter_ignores_ends_nobody() -> None:
    ignored = [
        "Exception ignored in: <function Pool.__del__ at 0x7f1>",
        "Traceback (most recent call last):",
        FRAME.format("torch/_dynamo", "__del__"),
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    ]
    for found in both(RATES, *ignored):
        assert (found.is_known, found.family) == (False, SERVES)
    for found in both(RATES, *ignored[1:]):
        assert found.is_known


def test_a_hint_at_the_hubs_limits_is_no_refusal() -> None:
    hint = "Please set a HF_TOKEN to enable higher rate limits and faster downloads."
    for found in both(f"{WORKER}Warning: You are sending unauthenticated requests. {hint}"):
        assert not found.is_known
    refused = "HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://hub.example/x"
    assert diagnose([refused]).cause == "hub-limits"


# -- who outlived another one ----------------------------------------------------------------------


@pytest.mark.parametrize("killed", ["Killed", "./run.sh: line 22: 4711 Killed    python -m sglang"])
def test_sglang_that_kills_itself_for_a_child_was_not_killed_by_others(killed: str) -> None:
    raised = [FRAME.format("sglang/srt", "forward"), "FooError: the capacitor is empty"]
    for found in both(BATCH, *raised, SIGQUIT, killed):
        assert "FooError, in forward" in found.what
        assert "rank-killed" in found.also
    for found in both(BATCH, SIGQUIT, killed):
        assert (found.family, "left no word" in found.what) == (UNKNOWN, True)
    assert diagnose([BATCH, killed]).cause == "rank-killed"
    gone = f"{SGLANG[:-6]}] Subprocess scheduler_1 (pid=8) crashed with exit code -9."
    assert diagnose([BATCH, gone, SIGQUIT, killed]).cause == "rank-killed"


DEAD = [
    f"{API}ERROR 11-24 05:10:01 [async_llm.py:764] vllm.v1.engine.exceptions.EngineDeadError:"
    " EngineCore encountered an issue. See stack trace (above) for the root cause.",
    "CRITICAL 11-24 05:10:01 [launcher.py:101] MQLLMEngine is already dead, terminating server",
    "ERROR 11-24 05:10:01 [client.py:300] RuntimeError('Engine process (pid 76) died.')",
]
STOPS = [f"{API}INFO:     Shutting down", f"{API}INFO:     Application shutdown complete."]


@pytest.mark.parametrize("dead", DEAD)
def test_a_server_that_stops_because_its_engine_died_was_not_asked_to(dead: str) -> None:
    for found in both(RATES, dead, *STOPS):
        assert "who died first left no word here" in found.what
        assert found.family == UNKNOWN


@pytest.mark.parametrize("dead", DEAD)
def test_an_engine_that_ends_after_a_server_was_asked_to_stop_did_not_die(dead: str) -> None:
    for found in both(RATES, STOPS[0], dead, STOPS[1]):
        assert found.family == STOPPED


# -- asked to stop ---------------------------------------------------------------------------------

INTERRUPTED = [
    f"{WORKER}Process Worker_TP1:",
    f"{WORKER}Traceback (most recent call last):",
    WORKER + FRAME.format("vllm/entrypoints/openai", "signal_handler"),
    f"{WORKER}KeyboardInterrupt: terminated",
]
LOADS = f"{WORKER}INFO 11-24 05:10:00 [x.py:9] Starting to load model x..."


@pytest.mark.parametrize(
    "lines",
    [
        INTERRUPTED,
        ["^CProcess Worker-1:", *INTERRUPTED[1:]],
        [f"{WORKER}WARNING 11-24 05:10:00 [multiproc_executor.py:866] WorkerProc was terminated"],
        ["KeyboardInterrupt"],
    ],
)
def test_who_was_interrupted_while_it_loads_was_asked_to_stop(lines: list[str]) -> None:
    for found in both(LOADS, *lines):
        assert (found.is_known, found.family) == (False, STOPPED)


def test_who_is_ended_for_anothers_exception_was_not_asked_to_stop() -> None:
    died = [f"{WORKER}ERROR 11-24 05:10:00 [x.py:9] WorkerProc hit an exception.", "FooError: x"]
    ended = f"{WORKER}WARNING 11-24 05:10:00 [multiproc_executor.py:866] WorkerProc was terminated"
    assert "FooError" in diagnose([LOADS, *died, ended]).what


@pytest.mark.parametrize(
    ("function", "is_a_requests"),
    [
        ("create_chat_completion", True),
        ("chat_completion_stream_generator", True),
        ("signal_handler", False),
        ("run_server_worker", False),
        ("build_async_engine_client_from_engine_args", False),
        ("lifespan", False),
    ],
)
def test_a_traceback_is_a_requests_by_its_first_function(
    function: str, is_a_requests: bool
) -> None:
    frame = FRAME.format("vllm/entrypoints/openai", function)
    assert witness.is_a_requests_frame(frame) is is_a_requests
