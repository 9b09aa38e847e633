"""Engine, phase, family: what is said of a log that nobody has seen."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import UNKNOWN
from launcher.engines.failures import failures
from launcher.knowledge import codes
from launcher.knowledge.families import FAMILIES

SGLANG = "[2026-11-24 05:10:00 TP1] "
HIT = f"{SGLANG}Scheduler hit an exception: Traceback (most recent call last):"
VLLM = "(Worker_TP1 pid=7) ERROR 11-24 05:10:00 [multiproc_executor.py:880] "
NO_ROOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
WORK = f"{SGLANG}Decode batch, #running-req: 1, #token: 7"
VLLM_WORK = (
    "(APIServer pid=1) INFO 11-24 05:10:00 [loggers.py:259] Engine 000: Avg prompt throughput: 8.4"
    " tokens/s, Avg generation throughput: 41.0 tokens/s, Running: 9 reqs"
)
VLLM_IDLE = VLLM_WORK.replace("41.0", "0.0")


def frame(engine: str, function: str) -> str:
    return f'  File "/opt/{engine}/x.py", line 7, in {function}'


def sglang(function: str, said: str = NO_ROOM) -> list[str]:
    return [HIT, frame("sglang/srt", "run_scheduler_process"), frame("sglang/srt", function), said]


def vllm(function: str, said: str = NO_ROOM) -> list[str]:
    return [
        f"{VLLM}WorkerProc hit an exception.",
        VLLM + frame("vllm/v1", "worker_busy_loop"),
        VLLM + frame("vllm/v1", function),
        VLLM + said,
    ]


# -- five answers to one complaint -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "of_vllm", "cause", "move"),
    [
        ("set_device", "init_device", "gpu-filled-by-others", None),
        ("load_model", "load_model", "load-out-of-memory", None),
        ("init_memory_pool", "initialize_kv_cache", "kv-out-of-memory", "lower"),
        ("capture_one_batch_size", "capture_model", "graph-out-of-memory", "lower"),
        ("event_loop_overlap", "execute_model", "gpu-out-of-memory", "lower"),
    ],
)
def test_memory_that_runs_out_has_five_answers_in_each_engines_words(
    at: str, of_vllm: str, cause: str, move: str | None
) -> None:
    ours, theirs = diagnose(sglang(at)), diagnose(vllm(of_vllm))

    assert (ours.cause, theirs.cause) == (cause, cause)
    assert (ours.engine, theirs.engine) == ("sglang", "vllm")
    assert ours.knob == (move and f"{move} --mem-fraction-static")
    assert theirs.knob == (move and f"{move} --gpu-memory-utilization")
    assert "--mem-fraction-static" not in f"{theirs.what} {theirs.fix}"
    assert "--gpu-memory-utilization" not in f"{ours.what} {ours.fix}"


@pytest.mark.parametrize("what", ["sampler", "pooler (task='classify')"])
def test_what_a_line_says_of_a_shortage_outranks_the_phase(what: str) -> None:
    anew = f"RuntimeError: CUDA out of memory occurred when warming up {what} with 1024 dummy requests."
    alone = vllm("capture_model")

    found = diagnose([*alone, VLLM + anew])

    assert (found.cause, found.knob) == ("vllm-warm-up-out-of-memory", "lower --max-num-seqs")
    assert "cudagraph" not in found.fix
    assert diagnose([*alone, VLLM + anew, *alone]).cause == found.cause, "the other ranks"
    assert diagnose([*alone, f"{VLLM}warming up sampler"]).cause == "graph-out-of-memory"


def test_the_phase_that_the_log_opened_tells_where_there_are_no_frames() -> None:
    begins = [f"{SGLANG}Init torch distributed begin.", HIT, NO_ROOM]
    loads = [*begins[:1], f"{SGLANG}Load weight begin. avail mem=9 GB", *begins[1:]]

    assert diagnose(begins).cause == "gpu-filled-by-others"
    assert diagnose(loads).cause == "load-out-of-memory"
    assert diagnose([*loads[:2], WORK, *loads[2:]]).cause == "gpu-out-of-memory"


def test_frames_of_another_engine_do_not_make_it_that_ones_log() -> None:
    borrowed = [frame("vllm/distributed", name) for name in ("a", "b", "c")]
    found = diagnose([HIT, frame("sglang/srt", "event_loop"), *borrowed, NO_ROOM])

    assert (found.engine, found.knob) == ("sglang", "lower --mem-fraction-static")


def test_a_log_that_does_not_tell_whose_it_is_gets_no_knob() -> None:
    found = diagnose([NO_ROOM])

    assert (found.cause, found.engine, found.knob) == ("gpu-out-of-memory", None, None)
    assert "--" not in found.fix


# -- what counts ---------------------------------------------------------------------------------------


def test_an_early_complaint_that_was_only_logged_yields_to_the_exception_that_ended_it() -> None:
    logged = (
        "(APIServer pid=1) ERROR 11-24 05:00:00 [repo_utils.py:47] Repo id must be in the form"
        " 'repo_name': '/data/models/x'"
    )

    assert diagnose([logged]).cause == "model-missing"
    assert diagnose([logged, *vllm("execute_model")]).cause == "gpu-out-of-memory"


def test_progress_after_a_complaint_makes_it_a_note() -> None:
    logged = f"{SGLANG}[Errno 28] No space left on device"
    later = [f"{SGLANG}Load weight begin. x", f"{SGLANG}KV Cache is allocated. x"]

    assert diagnose([logged]).cause == "disk-full"
    assert diagnose([logged, *later]).cause == UNKNOWN
    raised = "OSError: [Errno 24] Too many open files"
    assert diagnose([raised, *[VLLM_WORK] * 5]).family == "serves"
    assert diagnose([raised, *[VLLM_IDLE] * 50]).cause == "too-many-files"


def test_what_comes_after_a_stop_that_was_asked_for_is_its_consequence() -> None:
    stop = f"{SGLANG[:-6]}] SIGTERM received. Draining requests and shutting down..."
    torn = ["RuntimeError: [gloo/transport/tcp/pair.cc:5] Connection closed by peer"]
    found = diagnose([WORK, stop, *torn])

    assert (found.cause, found.family) == (UNKNOWN, "stopped")
    assert diagnose([WORK, *torn]).cause == "peer-gone"


def test_who_interrupts_a_server_asked_it_to_stop() -> None:
    found = diagnose([WORK, "Traceback (most recent call last):", "KeyboardInterrupt"])

    assert found.family == "stopped"
    assert "asked to stop" in found.what


def test_an_unknown_death_is_told_with_its_exception_and_a_family() -> None:
    found = diagnose([HIT, frame("sglang/srt", "load_weights"), "KeyError: 'odd'", *["x"] * 20])

    assert (found.cause, found.family, found.phase) == (UNKNOWN, "checkpoint", "weights")
    assert "KeyError" in found.what
    assert "load_weights" in found.what
    assert any("KeyError: 'odd'" in line for line in found.evidence)


@pytest.mark.parametrize("name", sorted(codes.of("exception").by_name))
def test_every_exception_that_is_known_has_a_family(name: str) -> None:
    found = diagnose([HIT, f"some.module.{name}: weird"])

    assert found.family in FAMILIES
    assert found.family != "unknown"


def test_the_first_complaint_of_each_is_shown_where_the_end_says_nothing() -> None:
    leaks = [f"/usr/lib/python3/x.py:{n}: UserWarning: {n} leaked objects" for n in range(16)]
    found = diagnose([f"{VLLM}RuntimeError: the flux capacitor is empty", *leaks])

    assert "flux capacitor" in found.evidence[0]


# -- tables -----------------------------------------------------------------------------------------------

CUDA = [code for row in codes.table().rows for code in row if code.of == "cuda"]


@pytest.mark.parametrize("code", CUDA, ids=lambda code: code.said)
def test_every_error_of_cuda_is_known_by_number_name_and_text(code: codes.Code) -> None:
    forms = [f"RuntimeError: x failed ({name})" for name in code.names]
    if code.text:
        forms += [f"torch.AcceleratorError: CUDA error: {code.text}"]
    for line in forms:
        found = diagnose([line])
        assert found.cause == code.cause, line
        assert found.family == failures()[code.cause].family


@pytest.mark.parametrize("number", [4, 6, 7, 8, 9, 11, 15])
def test_a_signal_is_known_in_every_form(number: int) -> None:
    name = signal.Signals(number).name
    forms = [
        f"[2026-11-24 05:10:05] Subprocess scheduler_3 (pid=1) crashed with exit code -{number}.",
        f"sglang-1 exited with code {128 + number}",
        f"vllm.service: Main process exited, code=killed, status={number}/{name[3:]}",
        f"failed (exitcode: -{number}) local_rank: 3 (pid: 4712) of binary: /opt/python",
        f"      Exit Code:    {128 + number}",
        f"Signal {number} ({name}) received by PID 4711",
    ]
    wanted = codes.of("signal").by_number[number].cause
    for line in forms:
        found = diagnose([line])
        assert found.cause == wanted, line
        assert found.family in ("killed", "native-crash")


@pytest.mark.parametrize("number", [5, 12, 13, 24, 28, 30, 98, 99, 111, 113, 116, -3])
def test_an_errno_is_known_by_its_number(number: int) -> None:
    found = diagnose([HIT, f"OSError: [Errno {number}] whatever it says: '/x'"])

    assert found.cause == codes.of("errno").by_number[number].cause


def test_a_stack_of_faulthandler_says_where() -> None:
    found = diagnose(
        [
            "Fatal Python error: Segmentation fault",
            "",
            "Current thread 0x00007fcf597eb640 (most recent call first):",
            '  File "/x/flashinfer/decode.py", line 514 in begin_forward',
            '  File "/x/sglang/srt/backend.py", line 149 in outer',
        ]
    )

    assert found.cause == "native-crash"
    assert "begin_forward (flashinfer/decode.py)" in found.what


# -- what carries a line ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda line: json.dumps({"jsonPayload": {"message": line}}),
        lambda line: json.dumps({"event": {"message": line}, "host": "x"}),
        lambda line: json.dumps({"@timestamp": "x", "@message": line}),
        lambda line: json.dumps({"MESSAGE": [*line.encode()]}),
        lambda line: f"2026-07-26 12:15:34.365 | {line}",
        lambda line: f"2026-07-26 12:15:34 {line}",
        lambda line: f'time="2026-07-26T12:15:34Z" level=error msg="{line}"',
    ],
)
def test_a_line_comes_out_of_what_ships_it(wrapped: object) -> None:
    assert callable(wrapped)
    for line, cause in (("ModuleNotFoundError: No module named 'x'", "module-missing"),):
        assert diagnose_text([wrapped(line).encode()]).cause == cause


def test_lines_that_are_passed_over_are_counted_as_those_that_are_read() -> None:
    """Work is seen however many lines of one shape there are, and whatever their numbers."""
    complaint = "OSError: [Errno 28] No space left on device"
    lines = [f"{SGLANG}Decode batch, #running-req: {n}, #token: {n * 997}" for n in range(300)]
    log = "\n".join([*lines, complaint, *lines[:60]]).encode()

    assert diagnose_text([log]).family == diagnose(log.decode().split("\n")).family == "serves"
    assert diagnose_text(["\n".join([*lines, complaint]).encode()]).cause == "disk-full"


@pytest.mark.parametrize("wrapped", [str, lambda line: json.dumps({"log": f"{line}\n"})])
def test_tokens_are_seen_in_lines_that_are_passed_over(wrapped: Callable[[str], str]) -> None:
    """vLLM tells of them and of none by the same words, and their numbers say which."""
    complaint = "OSError: [Errno 24] Too many open files"
    for told in (VLLM_WORK, VLLM_IDLE):
        lines = [VLLM_WORK, VLLM_IDLE, complaint, *[told] * 50]
        found = diagnose_text(["\n".join(map(wrapped, lines)).encode()])
        assert found.cause == diagnose(lines).cause
        assert (found.family == "serves") is (told is VLLM_WORK)
