"""What a log tells last decides: signs of life, of an answer that does not come, of an end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.text import diagnose_text
from launcher.engines.failures import failures
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


SGLANG = "[2026-11-24 05:10:00 TP1] "
BATCH = f"{SGLANG}Decode batch, #running-req: 1, #token: 7"
PREFILL = f"{SGLANG}Prefill batch, #new-seq: 1, #new-token: 9"
ANSWERED = '[2026-11-24 05:10:01] INFO:     10.0.0.1:4711 - "POST /v1/completions HTTP/1.1" 200 OK'
REFUSED = ANSWERED.replace("200 OK", "503 Service Unavailable")
SIGQUIT = (
    f"{SGLANG[:-6]}] Received sigquit from a child process. It usually means the child failed."
)
OWN = '  File "/opt/sglang/srt/layers/x.py", line 7, in forward'
THEIRS = '  File "/opt/x/sglang/srt/entrypoints/openai/serving_chat.py", line 7, in create'
CODE = "    x = y.view(z)"
ERRORS = ["FooError: the capacitor is empty", "RuntimeError: shape '[6, -1]' is invalid"]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("after", [[], [""], [REFUSED], [SIGQUIT], [PREFILL, SIGQUIT]])
def test_a_log_that_ends_in_an_exception_tells_of_a_death_without_its_head(
    error: str, after: list[str]
) -> None:
    for before in ([], [BATCH]):
        lines = [*before, OWN, CODE, "        ^^^^^", error, *after]
        for found in (diagnose(lines), diagnose_text(["\n".join(lines).encode()])):
            assert found.family == "engine", found.what
            assert error.split(":")[0] in found.what
            assert "left no word" not in found.what
            assert error in found.evidence


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    "told",
    [
        ([OWN, CODE], [BATCH]),
        ([OWN, CODE], [PREFILL]),
        ([OWN, CODE], [ANSWERED]),
        ([THEIRS, CODE], []),  # a request's, which fails alone
        ([THEIRS, OWN, CODE], []),
        ([], []),  # without a frame it may be the text of a client
    ],
)
def test_an_exception_that_the_server_survives_is_no_end(
    error: str, told: tuple[list[str], list[str]]
) -> None:
    frames, after = told
    lines = [BATCH, *frames, error, *after]

    for found in (diagnose(lines), diagnose_text(["\n".join(lines).encode()])):
        assert found.family == SERVES, found.what


def test_who_tells_of_anothers_death_does_not_take_its_place() -> None:
    other = ['  File "/opt/sglang/srt/managers/y.py", line 1, in wait', "BarError: consequence"]
    found = diagnose([BATCH, OWN, CODE, ERRORS[0], SIGQUIT, PREFILL, *other])

    assert "FooError, in forward" in found.what


def test_an_empty_line_of_a_pod_is_no_evidence() -> None:
    pod = "2026-11-24T05:10:00.1+02:00 stderr F"
    lines = [BATCH, OWN, ERRORS[0], ""]
    found = diagnose_text(["\n".join(f"{pod} {line}".rstrip() for line in lines).encode()])

    assert found.evidence[-1] == ERRORS[0]


CASES = Path(__file__).with_name("cases")
AT = "[2026-11-24 05:01:00 TP0] "
WORKER = "(Worker_TP0 pid=51) INFO 09-02 12:00:00 [x.py:9] "
STEPS = {  # a log that ends in a step, what its advice names, and lines that tell of its end
    "g7-sglang-first-collective.log": (
        "glm5-serve doctor --only iommu-translation",
        [
            f"{AT}Init torch distributed ends. elapsed=3.1 s",
            f"{AT}Load weight begin. avail mem=90.00 GB",
            f"{AT}The server is fired up and ready to roll!",
            BATCH,
        ],
    ),
    "g8-vllm-autotune.log": (
        "--no-enable-flashinfer-autotune",
        [
            f"{WORKER}flashinfer.jit: [Autotuner]: Autotuning process ends",
            f"{WORKER}Capturing the model for CUDA graphs",
            "(APIServer pid=1) INFO:     Application startup complete.",
            WORKS,
        ],
    ),
    "g9-vllm-first-collective.log": (
        "glm5-serve doctor --only iommu-translation",
        [f"{WORKER}Starting to load model x...", WORKS],
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_log_that_ends_in_a_step_tells_what_that_means_if_nothing_came(name: str) -> None:
    lines, advice = (CASES / name).read_text().splitlines(), STEPS[name][0]
    found = diagnose(lines)

    assert not found.is_known
    assert "if nothing came for minutes, most likely" in found.what
    assert advice in found.fix
    for end in STEPS[name][1]:
        after = diagnose([*lines, end])
        assert "most likely" not in after.what, end
        assert advice not in after.fix, end


@pytest.mark.parametrize("name", STEPS)
def test_what_tells_of_a_death_in_a_step_is_told_and_the_step_is_not(name: str) -> None:
    lines = (CASES / name).read_text().splitlines()
    raised = [OWN, CODE, ERRORS[0]]
    known = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"

    assert ERRORS[0].split(":")[0] in diagnose([*lines, *raised]).what
    assert diagnose([*lines, known]).is_known
    for end in (raised, [known], [ERRORS[0]]):
        found = diagnose([*lines, *end])
        assert "most likely" not in found.what
        assert not [id for id in found.also if failures()[id].weight == "unfinished"]


def test_a_step_is_told_in_the_words_of_the_engine_whose_log_it_is() -> None:
    steps = [row for row in failures().values() if row.weight == "unfinished"]

    assert len(steps) >= 3
    for row in steps:
        assert row.engine
        assert row.family == "hang"
        assert row.until, "what ends it"


STUCK = (
    "(APIServer pid=1) INFO 11-24 05:10:00 [loggers.py:259] Engine 000: Avg prompt throughput: 0.0"
    " tokens/s, Avg generation throughput: 0.0 tokens/s, Running: {} reqs, Waiting: {} reqs"
)
ANSWERS = (
    "(APIServer pid=1) INFO 11-24 05:10:00 [loggers.py:259] Engine 000: Avg prompt throughput: 84.1"
    " tokens/s, Avg generation throughput: 6.2 tokens/s, Running: 1 reqs, Waiting: 0 reqs"
)


@pytest.mark.parametrize(("running", "waiting"), [(1, 0), (3, 9), (0, 2)])
def test_requests_that_wait_to_the_end_without_a_token_are_a_hang(
    running: int, waiting: int
) -> None:
    stuck = STUCK.format(running, waiting)
    health = '(APIServer pid=1) INFO:     10.1.2.3:51244 - "GET /health HTTP/1.1" 200 OK'
    for lines in ([ANSWERS, *[stuck] * 6], [ANSWERS, *[stuck, health] * 20]):
        found = diagnose_text(["\n".join(lines).encode()])

        assert (found.is_known, found.family) == (False, "hang")
        assert "of no token" in found.what


@pytest.mark.parametrize(
    "lines",
    [
        [ANSWERS, *[STUCK.format(1, 0)] * 5],
        [ANSWERS, *[STUCK.format(1, 0)] * 9, ANSWERS],
        [ANSWERS, *[STUCK.format(1, 0)] * 9, STUCK.format(0, 0)],
        [ANSWERS, *[STUCK.format(0, 0)] * 90],
    ],
    ids=["not for long", "it went on", "nobody waits any more", "nobody waits"],
)
def test_a_server_that_answered_or_has_nothing_to_do_serves(lines: list[str]) -> None:
    assert diagnose_text(["\n".join(lines).encode()]).family == "serves"
