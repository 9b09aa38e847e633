"""SGLang's log of a start, as it is read: phases only move on, progress, readiness, the first
error.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from launcher.engines import startup
from launcher.engines.log import PHASES
from launcher.engines.sglang.log import LOG
from launcher.engines.startup import Progress, Start

RANKS = range(8)


def eight_ranks() -> list[str]:
    """A start over eight ranks in SGLang's wording, each rank reaching each step at a time of its
    own.
    """
    lines = ["[2026-11-23 10:00:00] server_args=ServerArgs(model_path='m', tp_size=8)"]
    lines += [f"[2026-11-23 10:00:10 TP{n}] Init torch distributed begin." for n in RANKS]
    lines += [
        f"[2026-11-23 10:00:14 TP{n}] Load weight begin. avail mem=94.08 GB" for n in (0, 1, 2)
    ]
    lines += ["Loading safetensors checkpoint shards:   0% Completed | 0/47 [00:00<?, ?it/s]"]
    lines += [
        f"[2026-11-23 10:00:15 TP{n}] Load weight begin. avail mem=94.08 GB"
        for n in (3, 4, 5, 6, 7)
    ]
    lines += [
        "Loading safetensors checkpoint shards:  26% Completed | 12/47 [00:20<01:10,  2.0s/it]"
    ]
    lines += [f"[2026-11-23 10:02:14 TP{n}] Load weight end. avail mem=20.21 GB" for n in RANKS]
    lines += [
        f"[2026-11-23 10:02:15 TP{n}] KV Cache is allocated. #tokens: 180191, KV size: 5.90 GB"
        for n in RANKS
    ]
    lines += [
        f"[2026-11-23 10:02:15 TP{n}] Running FlashInfer autotune with cache: /c/a.json"
        for n in RANKS
    ]
    lines += [
        f"[2026-11-23 10:02:16 TP{n}] Capture cuda graph begin. This can take minutes."
        for n in RANKS
    ]
    lines += [
        "Capturing batches (bs=8 avail_mem=11.2 GB):  50%|#####     | 2/4 [00:03<00:03,  1.6s/it]"
    ]
    lines += ["[2026-11-23 10:03:16 TP0] max_total_num_tokens=180191, chunked_prefill_size=8192"]
    lines += [
        "[2026-11-23 10:03:17] INFO:     Uvicorn running on http://127.0.0.1:30000 (Press CTRL+C to"
        " quit)"
    ]
    return [*lines, "[2026-11-23 10:03:18] The server is fired up and ready to roll!"]


def follow(lines: list[str]) -> list[Start]:
    """The start after each line, a second apart."""
    starts = [startup.begin(0.0)]
    for second, line in enumerate(lines, 1):
        starts.append(startup.read(starts[-1], line, float(second), LOG))
    return starts


def test_phases_come_in_order_and_only_move_on() -> None:
    starts = follow(eight_ranks())

    assert list(starts[-1].began) == list(LOG.phases[:-1])
    for earlier, later in pairwise(starts):
        assert list(later.began)[: len(earlier.began)] == list(earlier.began)


def test_every_phase_has_a_name_for_people() -> None:
    log = follow(eight_ranks())[-1]
    assert list(startup.proving(log, 1e9).began) == list(PHASES)


def test_the_phases_add_up_to_the_whole() -> None:
    lines = eight_ranks()
    seconds = follow(lines)[-1].seconds(1000.0)

    assert sum(seconds.values()) == 1000.0
    assert seconds["process"] == 2.0


def test_progress_is_sglangs_own() -> None:
    said = [start.progress for start in follow(eight_ranks()) if start.progress]

    assert Progress(0, 47, "?") in said
    assert Progress(12, 47, "01:10") in said
    assert Progress(2, 4, "00:03") in said


def test_a_new_phase_has_no_progress_yet() -> None:
    start = follow(eight_ranks()[:-4])[-1]

    assert start.phase == "graphs"
    assert start.progress is None


def test_it_is_fired_up_when_it_says_so() -> None:
    *before, after = follow(eight_ranks())

    assert not any(start.fired_up for start in before)
    assert after.fired_up


def test_newer_wordings_open_the_same_phases() -> None:
    lines = [
        "[2026-11-23 16:46:57] Init parallel begin.",
        "[2026-11-23 16:46:59] Load weight begin. avail mem=21.78 GB",
        "Multi-thread loading shards: 100% Completed | 1/1 [00:00<00:00, 1183.16it/s]",
        "[2026-11-23 16:46:59] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 8192",
        "[2026-11-23 16:46:59] Running FlashInfer autotune (cache reuse DISABLED via X)",
        "[2026-11-23 16:46:59] Capture target prefill CUDA graph begin. backend=breakable",
        "[2026-11-23 16:46:59] Capture target decode CUDA graph begin.",
    ]

    assert [start.phase for start in follow(lines)][1:] == [
        "distributed",
        "weights",
        "weights",
        "kv",
        "compile",
        "graphs",
        "graphs",
    ]


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        ("Multi-thread loading shards:  50% Completed | 2/4 [00:03<00:03,  1.6s/it]", "weights"),
        ("DeepGEMM warmup:  50%|#####     | 2/4 [00:03<00:03, 1.6it/s]", "compile"),
        ("Compiling num tokens (num_tokens=64):  50%|## | 2/4 [00:03<00:03,  1.6s/it]", "compile"),
        ("Capturing batches (bs=8 avail_mem=11.2 GB):  50%|## | 2/4 [00:03<00:03, 1s/it]", "graphs"),
        ("Capturing num tokens (num_tokens=8):  50%|## | 2/4 [00:03<00:03,  1.6s/it]", "graphs"),
    ],
)  # fmt: skip
def test_a_bar_tells_its_phase_and_how_far_it_is(line: str, phase: str) -> None:
    start = follow([line])[-1]

    assert (start.phase, start.progress) == (phase, Progress(2, 4, "00:03"))


@pytest.mark.parametrize("before", ["KV Cache is allocated.", "Capture cuda graph begin."])
def test_kernels_that_compile_are_a_phase_before_graphs_and_part_of_them_within(
    before: str,
) -> None:
    """DeepGEMM compiles at the first pass over the model, wherever that is."""
    compiles = [
        "[2026-11-23 10:02:16 TP0] Entering DeepGEMM JIT Pre-Compile session. It may take a long",
        "[2026-11-23 10:02:16 TP0] Try DeepGEMM JIT Compiling for <GEMM_NT_F8F8BF16> N=1, K=2,",
        "DeepGEMM warmup:  12%|#2        | 1966/16384 [00:20<02:30, 95.8it/s]",
    ]
    start = follow([f"[2026-11-23 10:02:15 TP0] {before}", *compiles])[-1]

    assert start.phase == ("compile" if before.startswith("KV") else "graphs")
    assert start.progress == Progress(1966, 16384, "02:30")


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "sglang serve: error: unrecognized arguments: --foo",
        "ValueError: FlashInfer allreduce fusion requires SM90 or SM10X NVIDIA GPUs.",
        "[2026-11-23 10:00:00 TP3] RuntimeError: Unsupported architecture",
        "AssertionError",
        "KeyboardInterrupt",
    ],
)
def test_the_first_error_is_kept(line: str) -> None:
    start = follow(
        ["Traceback (most recent call last):", line, "ConnectionResetError: [Errno 104]"]
    )[-1]

    assert start.error == line.removeprefix("[2026-11-23 10:00:00 TP3] ")


@pytest.mark.parametrize(
    "line",
    [
        "[2026-11-23 16:46:58] Ignore import error when loading sglang.srt.models.grok: No module named 'x'",
        "UserWarning: Only CUDA, HIP and XPU support AWQ currently.",
        "[2026-11-23 10:00:00] INFO:     127.0.0.1:33862 - \"GET /error HTTP/1.1\" 200 OK",
        "  File \"x.py\", line 3, in error",
        "    raise ValueError(text)",
        "",
        "\x00\ufffd",
    ],
)  # fmt: skip
def test_what_only_sounds_like_an_error_is_none(line: str) -> None:
    assert follow([line])[-1].error is None


@pytest.mark.parametrize(
    "line",
    [
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 106496",
        "Exception: Capture cuda graph failed: CUDA out of memory",
        "[rank3]: RuntimeError: NCCL error",
        "subprocess.TimeoutExpired: Command 'ninja' timed out",
        "/usr/bin/python3: No module named sglang",
    ],
)
def test_an_error_by_another_name_is_kept_too(line: str) -> None:
    assert follow(["Traceback (most recent call last):", '  File "x.py", line 3, in f', line])[
        -1
    ].error


@pytest.mark.parametrize(
    "line",
    [
        "[2026-11-23 10:00:00] some library: error code 3, trying again",
        "ValueError(x) caught, falling back",
    ],
)
def test_a_word_about_an_error_is_none(line: str) -> None:
    assert follow([line])[-1].error is None


def test_the_weights_that_are_said_to_load_are_loading() -> None:
    """0.5.23's NextN draft, and a start whose "Load weight begin" has not reached the pipe yet."""
    start = follow(
        ["Multi-thread loading shards:  10% Completed | 14/141 [00:09<00:40, 14.28it/s]"]
    )[-1]

    assert start.phase == "weights"
