"""What makes a server slow: what is told, and of what nothing is."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.bench.causes import Allowed, Lines, causes, lines, signs, watts
from launcher.bench.record import Level, Times
from launcher.engines.engine import generator
from launcher.host.facts import Driver, Gpu, known
from launcher.plan.findings import Finding, Severity


def card(index: int, **facts: Any) -> Gpu:
    return Gpu(index, **{name: known(value) for name, value in facts.items()})


def host(*cards: Gpu) -> Driver:
    return Driver(gpus=known(cards))


BUSY = {"power_draw": 140.0, "power_limit": 600.0, "utilisation": 100}


def test_a_gpu_that_waits_is_known_by_its_power() -> None:
    told = signs([host(card(0, **BUSY), card(1, **BUSY))] * 3, {0, 1})

    assert watts(told) == 280
    every = signs([host(*(card(number, **BUSY) for number in range(8)))], set(range(8)))
    assert causes(every, [], [], Lines(), [])[0].startswith("GPUs 0-7: 140 W of 600 W")
    assert causes(told, [], [], Lines(), []) == (
        "GPUs 0, 1: 140 W of 600 W, though it is always busy: it waits, for other GPUs or memory,"
        " more than it computes",
    )


@pytest.mark.parametrize(
    "other",
    [
        {"power_draw": 400.0},  # it computes
        {"utilisation": 30},  # nobody asked it
    ],
)
def test_a_gpu_that_works_or_rests_is_no_cause(other: dict[str, Any]) -> None:
    assert causes(signs([host(card(0, **BUSY | other))], {0}), [], [], Lines(), []) == ()


def test_what_is_not_ours_or_not_told_is_no_cause() -> None:
    assert signs([host(card(3, **BUSY))], {0}) == ()
    assert causes(signs([host(card(0))], {0}), [], [], Lines(), []) == ()
    assert watts(signs([host(card(0), card(1, **BUSY))], {0, 1})) is None
    assert watts(()) is None


def test_slow_clocks_and_narrow_links_are_told() -> None:
    facts = {"clock_reasons": ("hw_thermal_slowdown",), "link_gen": 3, "link_gen_max": 5}
    narrow = {"link_width": 8, "link_width_max": 16}
    told = "; ".join(causes(signs([host(card(2, **facts, **narrow))], {2}), [], [], Lines(), []))

    assert "GPU 2: heat slows the clocks down, by the hardware" in told
    assert "PCIe generation 3 of 5 under load" in told
    assert "PCIe lanes 8 of 16 under load" in told


def test_a_link_that_was_at_full_speed_once_is_no_cause() -> None:
    samples = [host(card(0, link_gen=now, link_gen_max=5)) for now in (1, 5, 1)]

    assert causes(signs(samples, {0}), [], [], Lines(), []) == ()


def test_findings_of_doctor_and_lines_of_the_log_are_causes_too() -> None:
    found = [
        Finding(
            "acs-redirect", Severity.FAIL, "t", "8 bridges", fix="run it", group="IOMMU and ACS"
        ),
        Finding("p2p-status", Severity.OK, "t", "fine", group="peer-to-peer"),
        Finding("disk-space", Severity.WARN, "t", "little", group="disks"),
    ]
    line = (
        "Using default MoE kernel config. Performance might be sub-optimal! Config file not found"
    )
    told = causes((), [], found, Lines([line]), generator("sglang").slow)

    assert len(told) == 2
    assert told[0].startswith("its log tells: no tuned kernel configuration")
    assert told[1] == "acs-redirect: 8 bridges; fix: run it"


STAMP = "[2026-11-26 20:00:0{} TP0] "
DECODE = (
    "Decode batch, #running-req: 16, #token: 9000, token usage: {}, cuda graph: {},"
    " gen throughput (token/s): 300.00, #queue-req: {}"
)
STATS = (
    "INFO 11-26 20:00:{}0 [loggers.py:335] Engine 000: Avg prompt throughput: 8.1 tokens/s, Avg"
    " generation throughput: 4.1 tokens/s, Running: 9 reqs, Waiting: {} reqs,{} GPU KV cache usage:"
    " {}%, Prefix cache hit rate: 0.0%"
)


def said(text: str, times: int = 3) -> list[str]:
    return [STAMP.format(number) + text for number in range(times)]


def of_log(engine: str, before: list[str], meanwhile: list[str]) -> str:
    return "; ".join(causes((), [], [], Lines(before, meanwhile), generator(engine).slow))


@pytest.mark.parametrize(
    ("engine", "line", "words"),
    [
        (
            "vllm",
            "Using default W8A8 Block FP8 kernel config. Performance might be sub-optimal! Config",
            "block-quantised",
        ),
        (
            "sglang",
            "Using default W8A8 Block FP8 kernel config. Performance might be sub-optimal! Config",
            "block-quantised",
        ),
        (
            "vllm",
            "Your GPU does not have native support for FP4 computation but FP4 quantization is"
            " being used. Weight-only FP4 compression will be used leveraging the Marlin kernel.",
            "by Marlin's kernels",
        ),
        ("vllm", "Cudagraph is disabled under eager mode", "without CUDA graphs"),
        ("vllm", "Custom allreduce is disabled because it's not supported on", "all-reduce is off"),
        ("sglang", "CustomAllreduce is disabled because it's not supported on", "is off"),
        ("sglang", "CustomAllReduceV2 is disabled because your platform lacks", "is off"),
        ("sglang", "Custom allreduce is disabled because your platform lacks", "is off"),
        ("sglang", "Setup Custom allreduce failed with no. To silence this warning,", "is off"),
        ("sglang", "Setup FlashInfer PCIe-IPC allreduce failed with no.", "is off"),
    ],
)
def test_what_a_start_tells_of_slow_kernels_is_a_cause(engine: str, line: str, words: str) -> None:
    assert words in of_log(engine, [STAMP.format(0) + line], [])


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        ("vllm", "Using configuration from x.json for W8A8 Block FP8 kernel."),
        ("vllm", "Using default Mamba SSU config. Performance might be sub-optimal!"),
        ("vllm", "Using Marlin kernel for NvFp4"),
        ("vllm", "Custom allreduce is enabled"),
        ("sglang", "Setup Custom allreduce done"),
        ("sglang", "Capture cuda graph begin. This can take up to several minutes."),
        ("sglang", "disable_custom_all_reduce=True, disable_cuda_graph=False"),
        ("sglang", "Beam search group aborted: KV cache pool is full. Beam retraction is not"),
        ("sglang", "Testing retraction. #retracted_reqs: 3, #new_tokens_gained: 9"),
        ("sglang", DECODE.format(0.45, True, 12)),
        ("sglang", DECODE.format(0.99, True, 0)),
        ("sglang", "Prefill batch, #new-seq: 1, #new-token: 64, cuda graph: False, #queue-req: 0"),
        ("vllm", STATS.format(1, 0, "", "97.5")),
        ("vllm", STATS.format(1, 20, "", "34.0")),
    ],
)
def test_what_is_no_sign_of_slowness_is_no_cause(engine: str, line: str) -> None:
    assert of_log(engine, [line] * 5, said(line)) == ""


PULLED = "KV cache pool is full. Retract requests. #retracted_reqs: 3, #new_tokens_gained: 9"


@pytest.mark.parametrize(
    ("engine", "lines", "words"),
    [
        ("sglang", said(DECODE.format(0.10, False, 0)), "decodes without CUDA graphs"),
        ("sglang", said(DECODE.format(0.97, True, 12)), "requests wait"),
        ("sglang", said(DECODE.replace("token", "full token").format("1.00", True, 1)), "wait"),
        ("sglang", said(PULLED, 1), "requests were thrown out"),
        ("vllm", [STATS.format(1, 3, " Preemptions: 2,", "80.0")], "requests were thrown out"),
        ("vllm", [STATS.format(n, 12, "", "99.1") for n in range(3)], "requests wait"),
        ("vllm", [STATS.format(n, 12, "", "100.0") for n in range(3)], "requests wait"),
    ],
)
def test_what_it_says_under_the_load_is_a_cause_and_before_it_is_none(
    engine: str, lines: list[str], words: str
) -> None:
    assert words in of_log(engine, [], lines)
    assert of_log(engine, lines, []) == "", "said of another load"


def test_lines_of_a_load_are_those_that_came_since_the_first_look() -> None:
    """The log may have lost its head meanwhile."""
    told = said("Decode batch", 6)

    assert lines(told[:4], told[2:]) == Lines(told[:4], told[4:])


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        ("sglang", DECODE.format(0.10, False, 0)),
        ("sglang", DECODE.format(0.97, True, 12)),
        ("vllm", STATS.format(1, 12, "", "99.1")),
    ],
)
def test_what_was_so_once_is_no_cause(engine: str, line: str) -> None:
    assert of_log(engine, [], [line]) == ""


def level(concurrency: int, **figures: Any) -> Level:
    times = Times(1.0, 2.0, 3.0)
    told = {"slowest": 99.0, "fastest": 101.0, "accept_length": None} | figures
    return Level(
        concurrency=concurrency,
        rounds=3,
        requests=9,
        input_tokens=9,
        output_tokens=9,
        output_tok_s=100.0,
        ttft_ms=times,
        tpot_ms=times,
        goodput_req_s=1.0,
        good=9,
        one_piece=0,
        counted=True,
        cache_hits=None,
        joules_per_token=None,
        **told,
    )


def test_drafts_that_are_refused_are_a_cause_and_no_drafts_are_none() -> None:
    levels = [
        level(count, accept_length=length) for count, length in ((1, 1.02), (8, 2.6), (16, None))
    ]

    assert causes((), levels, [], Lines(), ()) == (
        "its drafts are refused: tokens a step, by requests at once: 1.02 at 1; 1: without",
    )
    assert causes((), levels[1:], [], Lines(), ()) == ()


def test_groups_of_findings_are_those_that_there_are() -> None:
    from launcher.bench.causes import GROUPS, OTHERS
    from launcher.doctor.checks import every_check

    assert {*GROUPS} <= {check.group for check in every_check()}
    assert {*OTHERS} <= {check.id for check in every_check()}


def told_of(*levels: Level, **allowed: Any) -> tuple[str, ...]:
    return causes((), levels, [], Lines(), [], Allowed(option="max-running-requests", **allowed))


def test_requests_that_wait_at_the_door_are_told() -> None:
    [told] = told_of(level(2), level(8), level(16), at_once=4)

    assert told == "at 8, 16 at once 4 run, the others wait: --max-running-requests 4"
    assert told_of(level(4), at_once=4) == told_of(level(64)) == ()


def test_drafts_are_refused_by_their_share_of_those_that_are_made() -> None:
    """vllm#55605: of five drafts 8.85 % were taken, 1.44 tokens a step, and it was slower."""
    deep, shallow = level(1, accept_length=1.44), level(1, accept_length=1.44)

    assert "tokens a step of at most 6" in told_of(deep, drafts=5)[0]
    assert told_of(shallow, drafts=1) == told_of(deep) == ()
    assert "are refused" in told_of(level(1, accept_length=1.05))[0]


def test_rounds_that_are_far_apart_are_told() -> None:
    [told] = told_of(level(1, slowest=57.0, fastest=146.0))

    assert told.startswith("at 1 at once its rounds are 156% apart")
    assert told_of(level(1, slowest=95.0, fastest=105.0)) == ()
