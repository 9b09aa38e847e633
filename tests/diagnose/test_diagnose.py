"""Last words, real ones, and the cause that must be found in them."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tomllib
import tracemalloc
from pathlib import Path

import pytest
from conftest import GLM5_SERVE, TESTS
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose import forms
from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.literals import literals
from launcher.diagnose.verdict import UNKNOWN
from launcher.engines import engine
from launcher.engines.failures import WEIGHTS, failures
from launcher.knowledge import codes, xid
from launcher.plan.evidence import Known

DEATHS = tomllib.loads((TESTS / "data/deaths.toml").read_text())["death"]
with (TESTS / "diagnose/cases/expected.tsv").open() as file:
    CAUSES = {death["cause"] for death in DEATHS} | {
        case["cause"] for case in csv.DictReader(file, delimiter="\t")
    }


def lines(cause: str) -> list[str]:
    """The first sample of a cause."""
    return str(next(death["text"] for death in DEATHS if death["cause"] == cause)).splitlines()


@pytest.mark.parametrize(
    "death", DEATHS, ids=lambda death: f"{death['cause']} {death['source'][:24]}"
)
def test_a_real_death_is_recognized(death: dict[str, str]) -> None:
    found = diagnose(death["text"].splitlines())

    assert found.cause == death["cause"]
    assert found.evidence
    assert all(line in death["text"] for line in found.evidence)
    assert "{" not in found.fix


def test_forty_causes_and_more_have_a_real_sample() -> None:
    assert len(CAUSES - {UNKNOWN}) >= 40


def test_what_has_no_sample_is_a_note_or_was_only_read() -> None:
    for id in set(failures()) - CAUSES:
        signature = failures()[id]
        assert signature.weight not in WEIGHTS or signature.known == Known.READ, id


def test_failures_keep_to_the_vocabulary() -> None:
    for row in failures().values():
        for name in (None, *engine.NAMES):
            told = row.told(name)
            assert not told.knob or re.fullmatch(r"(raise|lower) --[a-z-]+", told.knob)
            assert not told.knob or told.knob.split()[0].upper() in told.fix
            assert told.what[0].islower() or told.what.split()[0] in TITLES, told.what
        assert row.pattern or row.of or row.id in of_codes(), row.id
        assert row.known in set(Known)


@pytest.mark.parametrize(
    ("then", "causes"),
    [
        (
            "never",
            [
                "bad-option",
                "model-missing",
                "no-memory-for-kv",
                "no-kernel-for-gpu",
                "model-unsupported",
            ],
        ),
        (
            "again",
            [
                "gpu-out-of-memory",
                "nccl-timeout",
                "port-taken",
                "rank-killed",
                "gpu-memory-contained",
            ],
        ),
        (
            "reboot",
            ["gpu-fell-off-bus", "gpu-memory-uncorrectable", "nvlink-error", "gpu-firmware-halted"],
        ),
    ],
)
def test_what_is_worth_another_start(then: str, causes: list[str]) -> None:
    assert {cause: failures()[cause].then for cause in causes} == dict.fromkeys(causes, then)


def test_opposite_ooms_want_opposite_moves() -> None:
    assert diagnose(lines("no-memory-for-kv")).knob == "raise --mem-fraction-static"
    assert diagnose(lines("graph-out-of-memory")).knob == "lower --mem-fraction-static"
    assert diagnose([EXCEPTION, *lines("gpu-out-of-memory")]).knob == "lower --mem-fraction-static"
    assert diagnose(lines("load-out-of-memory")).knob is None


def test_a_fix_names_what_this_release_takes_and_the_layer_that_died() -> None:
    assert "--cuda-graph-max-bs-decode" in diagnose(lines("graph-out-of-memory")).fix
    attention = diagnose(lines("triton-attention-shared-memory"))
    assert "--attention-backend" in attention.fix
    assert "extend_attention.py" in attention.evidence[1]


def test_little_is_kept_of_a_long_log() -> None:
    """A server that complains for hours: 4,000 complaints of 1,000 characters."""
    told = (
        f"[2026-11-24 05:10:00 TP0] KV cache pool is full. Retract requests. {n} " + "x" * 900
        for n in range(4_000)
    )
    tracemalloc.start()
    found = diagnose(told)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found.also == ("kv-pool-full",)
    assert most < 2_000_000


def test_a_root_cause_wins_over_its_consequences_wherever_it_stands() -> None:
    reset = (
        "[2026-11-24 05:10:03 TP{}] RuntimeError: [gloo/transport/tcp/pair.cc:537] Connection reset"
        " by peer"
    )
    peers = [reset.format(rank) for rank in range(7)]
    root = lines("illegal-memory-access")

    for told in (root + peers, peers + root):
        found = diagnose(told)
        assert found.cause == "illegal-memory-access"
        assert "peer-gone" not in found.evidence


def test_the_kernels_word_weighs_more_than_the_servers() -> None:
    found = diagnose([*lines("illegal-memory-access"), *lines("gpu-fell-off-bus")])

    assert (found.cause, found.then) == ("gpu-fell-off-bus", "reboot")
    assert "illegal-memory-access" in found.also


TITLES = (
    "CUDA",
    "NCCL",
    "FlashInfer",
    "FlashInfer's",
    "SGLang's",
    "Triton's",
    "InfiniBand",
    "NVSHMEM,",
    "vLLM",
    "{package}",
)


def of_codes() -> set[str]:
    """The failures that a code is of."""
    codes_ = {code.cause for row in codes.table().rows for code in row}
    return codes_ | {row.cause for row in xid.xids().values()}


EXCEPTION = (
    "[2026-11-24 05:10:00 TP1] Scheduler hit an exception: Traceback (most recent call last):"
)
NO_ROOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
ILLEGAL = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"
ASSERTED = "RuntimeError: CUDA error: device-side assert triggered"
TIMEOUT = (
    "[rank3]:[E1124 05:20:00 ProcessGroupNCCL.cpp:632] [Rank 3] Watchdog caught collective"
    " operation timeout: x"
)
READY = "[2026-11-24 05:05:00] The server is fired up and ready to roll!"
START = "[2026-11-24 05:00:00] server_args=ServerArgs(model_path='x')"
UNREADABLE = "PermissionError: [Errno 13] Permission denied: '/models/x'"
BAD_OPTION = "launch_server.py: error: unrecognized arguments: --foo"
XID_13 = (
    "[Wed Jun 24 15:44:20 2026] NVRM: Xid (PCI:0000:70:00): 13, Graphics Exception: ESR"
    " 0x5167b0=0x80f0017"
)
XID_79 = "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
SXID = (
    "nvidia-nvswitch1: SXid (PCI:0000:aa:00.0): 24007, Severity 1 Engine instance 12 Sub-engine"
    " instance 00"
)
SEGFAULT = (
    "python3[2536443]: segfault at 7f79 ip 00007f7c sp 00007f7c error 4 in"
    " libnccl.so.2[7f7c7ac00000+d3d3000]"
)
MEMCG = (
    "Memory cgroup out of memory: Killed process 123 (python3) total-vm:1kB, anon-rss:1kB,"
    " oom_score_adj:0"
)


def crashed(signal: int) -> str:
    """What SGLang says of a rank that a signal ended."""
    return f"[2026-11-24 05:10:05] Subprocess scheduler_3 (pid=1) crashed with exit code -{signal}."


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (NO_ROOM, "gpu-out-of-memory"),
        (ILLEGAL, "illegal-memory-access"),
        (ASSERTED, "device-assert"),
    ],
)
def test_a_collective_that_times_out_after_an_exception_is_its_consequence(
    said: str, cause: str
) -> None:
    assert diagnose([EXCEPTION, said, TIMEOUT]).cause == cause
    assert diagnose([TIMEOUT, EXCEPTION, NO_ROOM]).cause == "nccl-timeout"


def test_what_follows_an_unknown_exception_is_not_the_cause() -> None:
    for after in (
        TIMEOUT,
        crashed(9),
        "[rank1]: RuntimeError: [gloo/transport/tcp/pair.cc:5] Connection closed by peer",
    ):
        found = diagnose([EXCEPTION, "KeyError: 'weird'", after])

        assert (found.cause, found.evidence[-1]) == (UNKNOWN, "KeyError: 'weird'")


@pytest.mark.parametrize("method", ["sample_tokens", "execute_model"])
@pytest.mark.parametrize("traceback", [True, False])
def test_the_words_of_an_exception_that_was_raised_anew_are_no_consequence_of_it(
    method: str, traceback: bool
) -> None:
    core = "(EngineCore pid=7) ERROR 07-01 20:30:01 [core.py:1197] "
    began = ["EngineCore encountered a fatal error.", "TimeoutError"]
    anew = "The above exception was the direct cause of the following exception:"
    gave_up = f"TimeoutError: RPC call to {method} timed out."
    head = ["Traceback (most recent call last):"] * traceback

    def told(*lines: str) -> str:
        return diagnose(core + line for line in (*began, *lines)).cause

    assert told(anew, *head, gave_up) == "vllm-worker-hangs"
    assert told(*head, gave_up) == UNKNOWN, "another exception, after it"
    assert told(anew, *head, "ValueError: no such thing", gave_up) == UNKNOWN
    oom = [core + line for line in (began[0], NO_ROOM, anew, *head, gave_up)]
    assert diagnose(oom).cause == "gpu-out-of-memory"


def test_a_crash_dump_that_fills_the_disk_is_not_the_cause() -> None:
    full = "[2026-11-24 05:10:02] Failed to write crash dump: [Errno 28] No space left on device"

    assert diagnose([EXCEPTION, ILLEGAL, full]).cause == "illegal-memory-access"
    assert diagnose([full, EXCEPTION, ILLEGAL]).cause == "illegal-memory-access", "only logged"
    assert diagnose([full]).cause == "disk-full"


@pytest.mark.parametrize("before", ["", "(Worker_TP1 pid=7) ERROR 03-05 09:56:09 [x.py:880] "])
@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("flashinfer/core.py", "TrtllmGenRunner: No kernel found for the given options"),
        ("custom_all_reduce.py", "x()"),
    ],
)
@pytest.mark.parametrize(
    ("said", "cause"), [(NO_ROOM, "gpu-out-of-memory"), (ILLEGAL, "illegal-memory-access")]
)
def test_frames_of_a_traceback_do_not_decide(
    before: str, file: str, code: str, said: str, cause: str
) -> None:
    told = [f'  File "/opt/{file}", line 307, in register_graph_buffers', f"    {code}", said]

    assert diagnose([before + line for line in told]).cause.removeprefix("vllm-") == cause


def test_an_old_frame_does_not_explain_a_new_death() -> None:
    frame = '  File "/opt/model_runner.py", line 735, in load_model'
    old = [EXCEPTION, frame, "TypeError: ignored"]

    assert (
        diagnose([*old, *["[2026-11-24 05:06:00 TP0] Decode batch."] * 9, NO_ROOM]).cause
        == "gpu-out-of-memory"
    )
    assert (
        diagnose([*old, EXCEPTION, '  File "/opt/x.py", line 1, in y', NO_ROOM]).cause
        == "gpu-out-of-memory"
    )
    assert diagnose([EXCEPTION, frame, NO_ROOM]).cause == "load-out-of-memory"


def test_what_a_server_survived_did_not_kill_it() -> None:
    missing = "ImportError: /opt/foo/_C.abi3.so: undefined symbol: _ZN3c104cuda"

    assert diagnose([START, missing]).cause == "library-missing"
    assert diagnose([START, missing, READY, EXCEPTION, NO_ROOM]).cause == "gpu-out-of-memory"


def test_what_it_worked_on_after_did_not_kill_it() -> None:
    """Hours after ready a disk is full for a moment; then the server dies of something else."""
    work = ["[2026-11-24 05:06:00 TP0] Decode batch, #running-req: 1"] * 60
    for complaint in (
        "OSError: [Errno 28] No space left on device",
        "Too many open files",
        UNREADABLE,
    ):
        assert (
            diagnose([START, READY, complaint, *work, EXCEPTION, NO_ROOM]).knob
            == "lower --mem-fraction-static"
        )
        assert (
            diagnose([START, READY, complaint, *work, complaint]).cause
            == diagnose([complaint]).cause
        )
        assert diagnose([START, READY, complaint, crashed(9)]).cause == diagnose([complaint]).cause


def xid_line(number: int, text: str = "pid=1234, name=python3") -> str:
    return f"NVRM: Xid (PCI:0000:01:00): {number}, {text}"


@pytest.mark.parametrize(
    ("xids", "cause"),
    [
        ((48, 63, 94), "gpu-memory-contained"),
        ((48,), "gpu-memory-contained"),
        ((48, 63, 95), "gpu-memory-uncorrectable"),
        ((63, 64), "gpu-memory-uncorrectable"),
        ((94, 79), "gpu-fell-off-bus"),
        ((63,), UNKNOWN),
    ],
)
def test_a_memory_error_that_was_contained_wants_no_reboot(
    xids: tuple[int, ...], cause: str
) -> None:
    assert diagnose([xid_line(number) for number in xids]).cause == cause


def test_what_nvml_tells_by_number_alone() -> None:
    assert diagnose([xid_line(74, "as NVML tells it of GPU 0")]).cause == "nvlink-error"
    for number in (145, 149, 154):
        assert diagnose([xid_line(number, "as NVML tells it of GPU 0")]).cause == UNKNOWN
    assert diagnose([xid_line(149, "NETIR_LINK_EVT Nonfatal XC0 i0 Link 00")]).cause == UNKNOWN


@pytest.mark.parametrize(
    "said",
    [
        "Triton Error [CUDA]: out of memory",
        "CUDA driver error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_memory_runs_out_in_many_words(said: str) -> None:
    assert diagnose([START, EXCEPTION, f"RuntimeError: {said}"]).cause == "gpu-out-of-memory"
    assert (
        diagnose([START, f"Exception: Capture cuda graph failed: {said}"]).cause
        == "graph-out-of-memory"
    )


def test_ranks_of_every_kind_are_told_apart() -> None:
    head, tail = (
        "[2026-11-24 05:00:00 DP0 PP1 ATTN_CP2 MOE_DP3",
        "Scheduler hit an exception: Traceback",
    )
    first, second = (
        f"{head} TP0 EP0] {tail}",
        f"{head} TP1 EP1] Scheduler watchdog timeout (watchdog_timeout=300)",
    )

    assert diagnose([START, first, "KeyError: 7", second]).cause == UNKNOWN


@pytest.mark.parametrize(
    ("line", "signal", "cause"),
    [
        (SEGFAULT, 11, "nccl-segfault"),
        (SXID, 6, "nvlink-error"),
        (MEMCG, 9, "container-out-of-memory"),
    ],
)
def test_the_kernels_word_counts_wherever_it_stands(line: str, signal: int, cause: str) -> None:
    server = [START, crashed(signal)]

    assert diagnose([line, *server]).cause == cause
    assert diagnose(server, [line]).cause == cause
    assert diagnose([START, line, START.replace("05:", "06:"), "x", crashed(signal)]).cause == cause


@pytest.mark.parametrize("line", [XID_79, XID_13, MEMCG])
def test_the_kernels_word_of_an_older_start_is_no_cause_of_this_ones(line: str) -> None:
    assert diagnose([line, START, "x", START, BAD_OPTION]).cause == "bad-option"
    assert diagnose([START, line, START, BAD_OPTION]).cause == "bad-option"
    assert diagnose([START, line, START, "x", START, crashed(11)]).cause == "rank-crashed"
    assert diagnose([START, BAD_OPTION], [line]).cause == diagnose([line]).cause


def test_one_start_may_be_announced_twice() -> None:
    """The launcher's line stands before SGLang's own; the kernel's words between them are of this
    start.
    """
    ours = "=== glm5-serve: run 2, 2026-11-24T05:00:00Z"

    assert diagnose([ours, "x", SEGFAULT, START, BAD_OPTION]).cause == "nccl-segfault"


def test_every_line_that_a_pattern_matches_is_looked_at() -> None:
    """Lines are sieved by texts that are derived from the patterns."""
    known = [row.pattern.pattern for row in failures().values() if row.pattern]
    for pattern in (*known, *forms.PATTERNS):
        assert not re.search(r"\(\?i|\\\d", pattern), pattern
        without_sets = re.sub(r"\[[^]^][^]]*\]", "", pattern)
        assert not re.search(r"(?:[^\\]\.|\\S|\[\^[^]]*\])[*+]", without_sets), (
            f"{pattern}: quadratic"
        )
        assert all(len(word) >= 3 for word in literals(pattern)), (pattern, literals(pattern))
        for line in (line for death in DEATHS for line in death["text"].splitlines()):
            found = re.search(pattern, line)
            assert not found or any(word in line for word in literals(pattern)), line


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"NVRM: Xid \([^)]*\): (?:13|31),", ["NVRM: Xid ("]),
        (r"[Nn]inja.*(?:a|b)|colou?rs|(?:x(?:y|z)|[|]) \|tail", ["inja", "colo", " |tail"]),
        (r"[^\[]{1,20}\[\d+\]: fault .{0,20} in it|to{2}k its.{1,}", ["]: fault ", "k its"]),
    ],
)
def test_the_plain_texts_of_a_pattern(pattern: str, words: list[str]) -> None:
    assert literals(pattern) == tuple(words)


def test_eight_ranks_that_say_the_same_are_one_evidence() -> None:
    said = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    told = [f"[2026-11-24 05:10:03 TP{rank}] {said}" for rank in range(8)]

    assert diagnose(told).evidence == (told[0],)


def test_only_the_last_start_counts() -> None:
    first = [
        "[2026-11-24 05:00:00] server_args=ServerArgs(model_path='x')",
        *lines("no-memory-for-kv"),
    ]
    second = ["[2026-11-24 06:00:00] server_args=ServerArgs(model_path='x')", *lines("port-taken")]

    assert diagnose(first + second).cause == "port-taken"


def test_the_options_that_sglang_prints_are_no_complaint() -> None:
    args = (
        "[2026-11-24 05:00:00] server_args={'x': 1, "
        + "'pad': 0, " * 400
        + "'y': 'CUDA out of memory'}"
    )

    assert diagnose([args]).cause == UNKNOWN


def test_an_unknown_death_shows_the_last_words_of_the_rank_that_died_first() -> None:
    told = [
        "[2026-11-24 05:10:00 TP3] Scheduler hit an exception: Traceback (most recent call last):",
        '  File "scheduler.py", line 1, in run',
        "FrobnicationError: the flux capacitor is empty",
        "[2026-11-24 05:10:01 TP0] Scheduler hit an exception: Traceback (most recent call last):",
        "BarError: a consequence",
        (
            "[2026-11-24 05:10:01] Received sigquit from a child process. It usually means the"
            " child failed."
        ),
    ]
    found = diagnose(told)

    assert found.cause == UNKNOWN
    assert "TP3" in found.what
    assert found.evidence[-1] == "FrobnicationError: the flux capacitor is empty"
    assert found.also == ("child-failed",)


def test_what_it_was_killed_for_stands_where_its_log_knows_of_nothing() -> None:
    silent, words, known = (
        diagnose([START, "x"]),
        diagnose([START, EXCEPTION, "KeyError: 7"]),
        diagnose([BAD_OPTION]),
    )

    assert silent.or_else("hang", "kv has not moved").in_short == "kv has not moved"
    assert words.or_else("hang", "kv has not moved").evidence == words.evidence
    assert silent.or_else("process-lost", "sglang::scheduler_TP1 died").cause == "process-lost"
    assert words.or_else("reaper-killed", "its reaper was killed").cause == "reaper-killed"
    assert words.or_else("process-lost", "sglang::scheduler_TP1 died") is words, (
        "what it said tells more"
    )
    assert known.or_else("hang", "kv has not moved") is known
    assert silent.or_else("", "x") is silent


def test_nothing_is_unknown() -> None:
    found = diagnose([])

    assert (found.cause, found.evidence) == (UNKNOWN, ())
    assert "is empty" in found.what


@pytest.mark.parametrize(
    "told",
    [
        [START, READY, "[2026-11-24 06:00:00 TP0] Decode batch. #running-req: 1"],
        [READY, "[2026-01-28 21:25:03] SIGTERM received. Draining requests and shutting down..."],
        [READY, "ConnectionResetError: [Errno 104] Connection reset by peer"],
    ],
)
def test_where_nothing_died_no_death_is_told_of(told: list[str]) -> None:
    found = diagnose(told)

    assert found.cause == UNKNOWN
    assert "no known failure in this log" in found.what
    assert "died first" not in found.fix


def test_the_words_of_a_vllm_rank_end_where_another_speaks() -> None:
    one, other = (
        "(EngineCore_DP0 pid=7) ERROR 03-05 09:56:09 [core.py:1] ",
        "(APIServer pid=1) INFO:     Shutting down",
    )
    found = diagnose([f"{one}EngineCore encountered a fatal error.", f"{one}FooError: x", other])

    assert found.evidence == (f"{one}EngineCore encountered a fatal error.", f"{one}FooError: x")
    assert "EngineCore_DP0" in found.what


def test_nothing_that_commands_a_terminal_is_repeated() -> None:
    told = run(
        "-", text=b"RuntimeError: \x1b]0;title\x07\x1b[2JCUDA out of memory\x08\x9b\n"
    ).stdout.decode()

    assert "RuntimeError: CUDA out of memory" in told
    assert all(line.isprintable() for line in told.splitlines())
    assert diagnose(["CUDA out of memory \x1b[2J"]).evidence[0].isprintable()


@given(st.lists(st.text(max_size=80), max_size=30))
def test_no_text_is_a_traceback(told: list[str]) -> None:
    assert diagnose(told).fix


def run(*words: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [GLM5_SERVE, "diagnose", *words], input=text, capture_output=True, check=False, timeout=60
    )


def test_the_command_tells_cause_evidence_and_fix() -> None:
    done = run("-", text="\n".join(lines("triton-shared-memory")).encode())

    assert done.returncode == 0
    assert done.stdout.startswith(b"cause      triton-shared-memory: ")
    assert b"106496 bytes are wanted, 101376 there" in done.stdout
    assert b"no use, the same command fails again" in done.stdout


def test_json_has_the_cause_the_evidence_and_the_fix(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("\n".join(lines("no-memory-for-kv")))
    told = json.loads(run(str(log), "--json").stdout)

    assert told["cause"] == "no-memory-for-kv"
    assert told["evidence"] == [
        "ValueError: Loaded weights leave no GPU memory for the KV cache under"
        " --mem-fraction-static=0.88."
    ]
    assert told["knob"] == "raise --mem-fraction-static"
    assert told["fix"].startswith("RAISE")


@pytest.mark.parametrize("words", [("/nowhere/log",), ("/",)])
def test_what_cannot_be_read_is_one_clear_message(words: tuple[str, ...]) -> None:
    done = run(*words)

    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 2
    assert b"Traceback" not in done.stderr


def test_binary_rubbish_and_long_lines_are_unknown_and_quick() -> None:
    done = run("-", "--json", text=bytes(range(256)) * 100 + b"x" * 50_000_000)

    assert done.returncode == 1
    assert json.loads(done.stdout)["cause"] == UNKNOWN


def test_a_key_in_a_log_is_not_repeated() -> None:
    done = run("-", text=b"Traceback (most recent call last):\nError: api_key='sk-secret-123'\n")

    assert b"sk-secret-123" not in done.stdout


def test_the_supervisor_may_ask_it() -> None:
    """It needs the standard library alone, and never ours beyond this."""
    loaded = "[m for m in sys.modules if m.split('.')[0] in ('rich', 'click')]"
    code = f"import sys, launcher.diagnose.diagnosis; print({loaded})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "[]\n"


def test_a_pool_that_came_out_negative_is_known_where_the_log_ends_there() -> None:
    said = "[2025-07-02 07:41:59 DP0 TP0] max_total_tokens=131072 is larger than the profiled value {}."

    assert diagnose([said.format(-561981)]).cause == "no-memory-for-kv"
    assert diagnose([said.format(561981)]).cause == "unknown"
