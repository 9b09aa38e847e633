"""A log line counts by who wrote it: nothing that a client can cause changes what is believed of a
server.
"""

from __future__ import annotations

import itertools
import json
import re
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import TESTS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from launcher.diagnose import forms, scan
from launcher.diagnose import shapes as understood
from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.literals import literals
from launcher.diagnose.text import diagnose_text
from launcher.diagnose.unwrap import unwrap
from launcher.diagnose.verdict import Diagnosis, to_json
from launcher.engines import activity, startup, witness
from launcher.engines.activity import Allowed
from launcher.engines.failures import ORIGINS, failures
from launcher.engines.server import PAUSED, Answer
from launcher.engines.sglang import log as speech
from launcher.engines.sglang.log import LOG
from launcher.engines.sglang.runtime import RUNTIME, allowed
from launcher.files.reading import pieces
from launcher.output import diagnosis
from launcher.plan.plan import Plan, Setting
from launcher.plan.policy import Policy, StallTimeouts
from launcher.serve.events import Event, Exited, Progressed, ReadyHinted, RestartAdvice
from launcher.serve.logfile import ServerLog
from launcher.serve.run import ServerRun
from launcher.serve.session import Died, ProcessTree

DEATHS = tomllib.loads((TESTS / "data/deaths.toml").read_text())["death"]
DEATHS_OF = {death["cause"]: death["text"].splitlines() for death in reversed(DEATHS)}
AT = "[2026-11-24 05:10:07"

# -- lines that a client can cause --------------------------------------------------------------------------
# {} is the client's: a path, a grammar, a prompt, a header, an id, or what it made the model say.

ACCESS = [
    AT + '] INFO:     10.1.2.3:51244 - "GET /{} HTTP/1.1" 401 Unauthorized',
    AT + '] INFO:     10.1.2.3:51244 - "POST /v1/chat/completions?{} HTTP/1.1" 200 OK',
    AT + '.123] INFO:     ::1:51244 - "{} / HTTP/1.1" 405 Method Not Allowed',
    'INFO:     10.1.2.3:51244 - "GET /{} HTTP/1.1" 404 Not Found',
    'INFO:      - "GET /{} HTTP/1.1" 404 Not Found',
    '(APIServer pid=1) INFO:     10.1.2.3:51244 - "GET /{} HTTP/1.1" 404 Not Found',
    AT + '] INFO:     10.1.2.3:51244 - "WebSocket /{}" [accepted]',
    AT + "] INFO:     ('10.1.2.3', 51244) - \"WebSocket /{}\" 403",
    # where a site's format leaves out who says it; aiohttp
    '10.1.2.3:51244 - "GET /{} HTTP/1.1" 404 Not Found',
    '::1:51244 - "GET /{} HTTP/1.1" 404 Not Found',
    '10.1.2.3 [08/May/2026:13:42:06 +0000] "GET /route?{} HTTP/1.1" 200 209 "-" "x"',
    '10.1.2.3 [08/May/2026:13:42:06 +0000] "GET /route HTTP/1.1" 200 209 "-" "{}"',
    '10.1.2.3 - - [08/May/2026:13:42:06 +0000] "GET /{} HTTP/1.1" 200 209',
    "Receive: obj=GenerateReqInput(text='{}', sampling_params={{}})",
    "Finish: obj=GenerateReqInput(rid='{}'), out={{'text': '{}'}}",
    "Req Time Stats(rid={}, input len=2133, output len=40, type=unified): queue_duration=0.62ms",
    "Received request x: prompt: '{}', params: x",
]
# In SGLang 0.5.8 to 0.5.23: the grammar backends in a rank, everything else in the process that
# serves.
SGLANG = [
    AT + " TP0] Hit invalid regex: key_string='{}', e=RuntimeError('[09:59:59] regex parse error')",
    AT + " DP1 TP5 EP5] Hit invalid json_schema: key_string=\"{}\", e=RuntimeError('no schema')",
    AT + " TP0] Hit invalid ebnf: key_string='{}', e=RuntimeError('EBNF')",
    AT + " TP0] Hit invalid regex schema: regex='{}', e=ValueError('{}')",
    AT + " TP0] skip invalid regex: {}, e=ValueError()",
    AT + " TP0] Got unhandled regex token: {}",
    AT + "] Failed to parse {}",
    AT + "] Failed to parse tool calls: {}",
    AT + "] Error parsing tool call: {}",
    AT + "] Error in detect_and_parse: {}",
    AT + "] Error in parse_streaming_increment: {}",
    AT + "] Error in request: {}",
    AT + "] [http_server] Error: {}",
    AT + "] Tool call parsing error: {}",
    AT + "] Tool '{}' is not defined in the tools list.",
    AT + "] Model attempted to call undefined function: {}",
    AT + "] Unexpected tool_call_id format: {}",
    AT + "] Skipping tool call {}: {}",
    AT + "] Invalid function name: {}",
    AT + "] Reasoning parsing error: {}",
    AT + "] DS32EncodingError: {}",
    AT + "] Required tool JSON parse error: {}",
    AT + "] Receive: obj=GenerateReqInput(text='{}', sampling_params={{}})",
    AT + "] Finish: obj=GenerateReqInput(rid='{}'), out={{'text': '{}'}}",
    AT + '] {{"timestamp": "2026-11-24T05:10:07", "event": "request.received", "obj": {{"text":'
    ' "{}"}}}}',
    AT + "] Input length (9) exceeds the maximum, self.rid='{}'",
    AT + " TP0] Failed to compile regex grammar: {}",
    ", self.rid='{}'",  # the end of that line, when the grammar's complaint ends in a line end
    AT + "] gRPC generate error for rid={}: {}",
]
VLLM = [
    (
        "(APIServer pid=1) INFO 09-01 10:00:01 [logger.py:43] Received request chatcmpl-1: prompt:"
        " '{}', params: x"
    ),
    (
        "(APIServer pid=1) ERROR 09-01 10:00:01 [serving_chat.py:257] Error in preprocessing prompt"
        " inputs: {}"
    ),
    "(APIServer pid=1) ERROR 09-01 10:00:01 [serving_chat.py:257] ValueError: {}",
    (
        "(APIServer pid=1) ERROR 09-01 10:00:01 [hermes_tool_parser.py:130] Error in extracting"
        " tool call: {}"
    ),
    "ERROR 09-01 10:00:01 [backend_xgrammar.py:160] Failed to advance FSM for request {}",
    (
        "(APIServer pid=1) WARNING 09-01 10:00:01 [protocol.py:53] The following fields were"
        " present: {{'{}'}}"
    ),
]
# A logger's words about a request that nobody has listed: they count for nothing, but may be the
# last words.
UNHEARD_OF = [
    "[05:10:07] /project/cpp/grammar_functor.cc:95: Warning: {}",
    "/opt/engine/lib/python3.11/site-packages/x/serving.py:503: UserWarning: {}",
    AT + "] Some new word about a request: {}",
    AT + " TP3] Grammar of request r-7 took 4 s: '{}'",
    AT + ' TP0] "{}" was asked for and is no adapter',
    "(EngineCore_DP0 pid=7) WARNING 09-01 10:00:01 [scheduler.py:9] request {} was aborted",
]
REFUSED = [  # SGLang and starlette print the traceback of a request that failed
    [
        AT + "] Error in request: {}",
        "Traceback (most recent call last):",
        (
            '  File "/opt/x/sglang/srt/entrypoints/openai/serving_base.py", line 110, in'
            " handle_request"
        ),
        "    raise ValueError(text)",
        "ValueError: {}",
    ],
    [
        AT + "] ERROR:    Exception in ASGI application",
        "Traceback (most recent call last):",
        '  File "/opt/x/uvicorn/protocols/http/httptools_impl.py", line 409, in run_asgi',
        "    result = await app(",
        "             ^^^^^^^^^^",
        "KeyError: '{}'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "/opt/x/starlette/middleware/errors.py", line 187, in __call__',
        "    raise exc",
        "torch.OutOfMemoryError: {}",
    ],
    [
        AT + "] Error in detect_and_parse: {}",
        "Traceback (most recent call last):",
        (
            '  File "/opt/x/sglang/srt/function_call/glm47_moe_detector.py", line 400, in'
            " detect_and_parse"
        ),
        "    {}",
        "json.decoder.JSONDecodeError: {}",
    ],
]


def shapes() -> list[str]:
    """Every regular expression by which a line of a log is understood, from the tables and modules
    themselves.
    """
    found = [row.pattern.pattern for row in failures().values() if row.pattern]
    for module in (scan, understood, speech, startup, witness):
        values = [value for name, value in vars(module).items() if not name.startswith("__")]
        flat = [
            part for value in values for part in (value if isinstance(value, tuple) else (value,))
        ]
        texts = [value.pattern for value in flat if isinstance(value, re.Pattern)]
        found += [text.decode() if isinstance(text, bytes) else text for text in texts]
    found += [LOG.doom.pattern, LOG.drained.pattern, *(bar.pattern for bar, _ in LOG.bars)]
    found += forms.PATTERNS
    texts = [LOG.ready, understood.RUN, *(text for text, _ in LOG.opens)]
    return [*found, *(re.escape(text) for text in texts)]


def samples() -> list[str]:
    """Real lines that are understood: of deaths, of starts, of work."""
    told = [line for death in DEATHS for line in death["text"].splitlines() if line.strip()]
    return [*told, *LIFE, *DEATH, *FORGED]


LISTENING = [  # a start, up to where clients can be heard
    "[2026-11-24 05:00:00] server_args=ServerArgs(model_path='m', tp_size=8)",
    "[2026-11-24 05:00:10 TP0] Init parallel begin.",
    "[2026-11-24 05:00:14 TP0] Load weight begin. avail mem=94.08 GB",
    "Multi-thread loading shards:  26% Completed | 12/47 [00:20<01:10,  2.0s/it]",
    "[2026-11-24 05:02:15 TP0] KV Cache is allocated. #tokens: 180191, KV size: 5.90 GB",
    "[2026-11-24 05:02:16 TP0] Capture target decode CUDA graph begin.",
    (
        "[2026-11-24 05:03:16 TP0] max_total_num_tokens=180191, chunked_prefill_size=8192,"
        " max_prefill_tokens=16384, max_running_requests=2048, context_len=202752,"
        " available_gpu_mem=12.24 GB"
    ),
    (
        "[2026-11-24 05:03:17] INFO:     Uvicorn running on http://127.0.0.1:30000 (Press CTRL+C to"
        " quit)"
    ),
]
READY = "[2026-11-24 05:03:20] The server is fired up and ready to roll!"
LIFE = [
    *LISTENING,
    READY,
    (
        "[2026-11-24 05:06:00 TP0] Prefill batch, #new-seq: 1, #new-token: 8192, #cached-token: 12,"
        " token usage: 0.00"
    ),
    "[2026-11-24 05:06:09 TP0] Decode batch, #running-req: 1, #token: 1920, token usage: 0.94",
]
DEATH = [
    "[2026-11-24 05:10:08 TP3] Scheduler hit an exception: Traceback (most recent call last):",
    '  File "/opt/x/sglang/srt/managers/scheduler.py", line 3162, in run_scheduler_process',
    "    scheduler.event_loop_normal()",
    "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
    (
        "[2026-11-24 05:10:09] SIGQUIT received. signum=None, frame=None. It usually means one"
        " child failed."
    ),
]
FORGED = [  # what a line end in a client's text makes of it
    "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.",
    (
        "[ 1234.567890] NVRM: Xid (PCI:0000:01:00): 119, pid=1, name=x, Timeout after 45s of"
        " waiting for RPC response"
    ),
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,task=python3,pid=4711,uid=70",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "pynvml.NVMLError: Driver/library version mismatch",
    "=== glm5-serve: run 7, 2026-11-24T05:00:00Z",
    "[2026-11-24 05:10:07] server_args=ServerArgs(model_path='x')",
    (
        "[2026-11-24 05:10:07] ERROR:    [Errno 98] error while attempting to bind on address"
        " ('::1', 1): in use"
    ),
    (
        "[2026-11-24 05:10:07] INFO:     Uvicorn running on http://127.0.0.1:30000 (Press CTRL+C to"
        " quit)"
    ),
    (
        "[2026-11-24 05:10:07 TP0] Prefill batch, #new-seq: 1, #new-token: 99999999999,"
        " #cached-token: 1"
    ),
    '[2026-11-24 05:10:07] INFO:     127.0.0.1:5 - "POST /pause_generation HTTP/1.1" 200 OK',
    (
        "[2026-11-24 05:10:07] Gracefully exiting... Remaining number of requests 0. Remaining"
        " requests x"
    ),
    READY,
]

hostile = st.one_of(
    st.sampled_from(shapes()).flatmap(st.from_regex),
    st.sampled_from(samples()),
    st.text(max_size=60),
)


def in_one_line(text: str) -> str:
    """As a log prints what has no line end, and as ServerLog reads lines."""
    return re.sub(r"[\r\n]", " ", text)


@st.composite
def caused(draw: st.DrawFn, forms: Iterable[str] = (*ACCESS, *SGLANG, *VLLM)) -> list[str]:
    """A line, or a record of several, that somebody's request is the cause of."""
    record = draw(st.sampled_from([*([form] for form in forms), *REFUSED]))
    return [fill(line, lambda: draw(hostile), whole=line in ACCESS) for line in record]


def fill(form: str, text: Any, *, whole: bool) -> str:
    """A form with somebody's text in it; a path has neither blanks nor quotes, uvicorn writes them
    as %20.
    """
    fields = form.count("{}")
    given_ = [in_one_line(text()) for _ in range(fields)]
    given_ = [re.sub(r"\s", "%20", part) for part in given_] if whole else given_
    return form.format(*given_)


# -- what is believed of a server ------------------------------------------------------------------


class Told(ProcessTree):
    """A session that has printed something already, and has no processes."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.printed = "".join(f"{line}\n" for line in lines).encode()

    def pieces(self) -> Iterator[bytes]:
        yield self.printed
        self.printed = b""

    def members(self) -> list[int]:
        return []


def watched(tmp: Path, *, allowed: Allowed | None = None, kernel: Iterable[str] = ()) -> ServerRun:
    log = ServerLog(tmp / "server.log", None)
    made = ServerRun(1, Told(()), log, startup.begin(0.0), RUNTIME, allowed or Allowed())
    made.kernel = list(kernel)
    return made


def read(run: ServerRun, lines: Iterable[str], now: float) -> list[Event]:
    """What the state machine is told of the lines, if the last one was long ago."""
    cast(Told, run.session).printed = "".join(f"{line}\n" for line in lines).encode(
        errors="surrogatepass"
    )
    run._stirred = -1e9
    return list(run.read(now))


def believed(tmp: Path, log: Iterable[Iterable[str]], now: float = 100.0) -> dict[str, Any]:
    """Everything that is concluded from a log whose parts come a minute after each other."""
    run, told = watched(tmp), []
    for i, part in enumerate(log):
        told.append(read(run, part, now + 60 * i))
        if run.start.fired_up:
            run.confirmed = now
    error, why = run.judge(now + 999)
    gone = run.gone(Died(-9, "was killed"), error, why, now + 999)
    return {
        "events": told,
        "start": run.start,
        "paused": run.paused,
        "leaving": run.leaving,
        "error": error,
        "why": to_json(why),
        "gone": (gone.advice, gone.said, gone.how),
    }


SLOW = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@SLOW
@given(
    records=st.lists(caused(), min_size=1, max_size=4),
    at=st.integers(0, len(DEATH)),
    dies=st.booleans(),
)
def test_nothing_that_a_client_causes_changes_what_is_believed(
    tmp_path: Path, records: list[list[str]], at: int, dies: bool
) -> None:
    """Wherever it stands: before it is ready, while it works, in the middle of its last words."""
    death = DEATH if dies else []
    theirs = [line for record in records for line in record]
    parts = [LISTENING, [READY], LIFE[-2:], death]
    disturbed = [
        [*LISTENING, *theirs],
        [*theirs, READY, *theirs],
        [LIFE[-2], *theirs, LIFE[-1], *theirs],
        [*death[:at], *theirs, *death[at:]],
    ]

    assert believed(tmp_path, disturbed) == believed(tmp_path, parts)


@SLOW
@given(records=st.lists(caused(), min_size=1, max_size=4))
def test_what_clients_cause_while_it_serves_is_no_event(
    tmp_path: Path, records: list[list[str]]
) -> None:
    run = watched(tmp_path)
    read(run, LIFE, 100.0)
    run.confirmed, before = 100.0, run.start

    assert read(run, [line for record in records for line in record], 900.0) == []
    assert run.start == before
    assert (run.paused, run.leaving) == (False, False)


@SLOW
@given(
    text=hostile, form=st.sampled_from([*ACCESS, *SGLANG, *VLLM, *UNHEARD_OF]), dies=st.booleans()
)
def test_a_file_is_diagnosed_alike_with_and_without_them(text: str, form: str, dies: bool) -> None:
    lines = [*LIFE, *(DEATH if dies else [])]
    with_it = [*LIFE, fill(form, lambda: text, whole=form in ACCESS), *(DEATH if dies else [])]
    one, other = diagnose(lines), diagnose(with_it)

    assert (one.cause, one.what, one.then, one.knob) == (
        other.cause,
        other.what,
        other.then,
        other.knob,
    )
    assert set(one.also) == set(other.also)


@SLOW
@given(text=hostile, form=st.sampled_from(UNHEARD_OF))
@example("0: systemd-oomd killed 0 process", UNHEARD_OF[4])
@example("a.service: Found left-over process 7 (python) in control group", UNHEARD_OF[4])
@example("Failed with result 'timeout'", UNHEARD_OF[0])
def test_words_about_a_request_that_nobody_listed_are_no_evidence_either(
    tmp_path: Path, text: str, form: str
) -> None:
    line = fill(form, lambda: text, whole=False)
    run = watched(tmp_path)
    read(run, LIFE, 100.0)

    assert read(run, [line], 900.0) == []
    assert run.judge(900.0)[1].cause == "unknown"


@SLOW
@given(
    text=st.lists(hostile | st.sampled_from(FORGED), min_size=1, max_size=6),
    form=st.sampled_from(SGLANG),
    when=st.sampled_from(["warmup", "ready"]),
)
def test_line_ends_in_a_clients_text_end_no_service(
    tmp_path: Path, text: list[str], form: str, when: str
) -> None:
    """Then its lines may look like anybody's: they may mislead whoever reads, and decide nothing
    for good.
    """
    run = watched(tmp_path, allowed=Allowed(pauses=False))
    read(run, LIFE if when == "ready" else LISTENING, 100.0)
    theirs = form.replace("{}", "\n".join(["x", *text, "x"])).splitlines()
    events = read(run, theirs, 200.0)
    error, why = run.judge(201.0)

    assert run.gone(Died(-9, "was killed"), error, why, 201.0).advice is RestartAdvice.AGAIN
    assert run.start.doom is None
    assert run.start.phase == "warmup"
    assert not run.paused
    assert all(isinstance(event, Progressed | ReadyHinted) for event in events)
    assert all(event.until <= 200 + 8192 / 400 for event in events if isinstance(event, Progressed))


# -- whose word a row of the table takes -----------------------------------------------------------


def heard(text: str) -> list[str]:
    """The lines of a sample that only the kernel can have written."""
    return [line for line in text.splitlines() if witness.kernels(line) is not None]


@pytest.mark.parametrize(
    "death", DEATHS, ids=lambda death: f"{death['cause']} {death['source'][:24]}"
)
def test_a_row_takes_the_word_of_its_origin_alone(death: dict[str, str]) -> None:
    told = death["text"].splitlines()
    found = diagnose(told)
    if not found.is_known:
        return
    signature = failures()[found.cause]

    assert signature.origin in ORIGINS
    assert found.origin == signature.origin
    if signature.origin == "kernel":
        assert all(witness.kernels(line) is not None for line in found.evidence)
        assert diagnose([], heard(death["text"])).cause == found.cause, "as the supervisor hears it"
        assert diagnose(told, []).origin != "kernel", "in the server's own output it is nobody's"
    elif signature.origin == "manager":
        assert diagnose(told, []).origin != "manager", "a server prints no words of systemd's"
    else:
        assert diagnose(told, []).cause == found.cause, "as the supervisor hears it"
        assert diagnose([], told).origin != "server", "the kernel does not say so"


FRAMES = [
    AT + " TP3] {}",
    AT + "] INFO:     {}",
    "(Worker pid=7) {}",
    "INFO 09-01 10:00:01 [x.py:1] {}",
    '"{}"',
    "x: {}",
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    "death", [d for d in DEATHS if failures().get(d["cause"]) and heard(d["text"])], ids=str
)
def test_behind_a_servers_prefix_nothing_is_the_kernels(frame: str, death: dict[str, str]) -> None:
    said = [
        re.sub(r"^.*?(?=NVRM|nvidia-nv|oom|Out of|Memory c|python|pt_main)", "", line)
        for line in heard(death["text"])
    ]
    found = diagnose([frame.format(line) for line in said])

    assert found.cause == "unknown"
    assert found.then == "again"


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[   24.302465] ",
        "[Wed Jun 24 15:44:20 2026] ",
        "[四 3月 20 21:01:25 2025] ",
        "[  +0.000012] ",
        "[  123.456789][ T1234] ",
        "<4>[ 5080.898738] ",
        "kernel: ",
        "kernel: [ 5080.898738] ",
        "kern  :warn  : 2025-01-21T08:43:30,287197+00:00 ",
        "10.0.0.7: kern:     err: [2026-04-22T21:25:20.466440686Z]: ",
        "\ufeff[ 388.565288] ",
    ],
)
def test_the_kernels_lines_are_known_by_their_beginning(prefix: str) -> None:
    assert (
        diagnose([f"{prefix}NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."]).then
        == "reboot"
    )


def test_a_name_that_a_process_gave_itself_is_no_xid() -> None:
    """Fifteen letters are anybody's in the kernel's own lines, and so is the name of a file that
    was mapped.
    """
    named = "NVRM: Xid (PCI:[77]: segfault at 0 ip 0000 sp 0000 error 4 in x): 79,[400000+1000]"
    crashed = (
        "NVRM: GPU0 [77]: segfault at 0 ip 0000 sp 0000 error 4 in"
        " _kgspIsHeartbeatTimedOut[400000+1000]"
    )
    for line in (named, crashed):
        assert diagnose([line]).cause == "process-crashed"
        assert diagnose([], [line]).cause == "unknown", "the watch cannot tell whose process it was"
    assert (
        diagnose(
            [], ["usb 1-1: Product: NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."]
        ).cause
        == "unknown"
    )


def test_of_xid_109_a_restart_is_worth_it() -> None:
    switch = (
        "NVRM: Xid (PCI:0000:cb:00): 109, pid=1, name=x, Ch 00000008, errorString CTX SWITCH"
        " TIMEOUT"
    )
    fault = "NVRM: Xid (PCI:0000:cb:00): 13, pid=1, name=x, Graphics SM Warp Exception"

    assert (diagnose([switch]).cause, diagnose([switch]).then) == ("gpu-context-timeout", "again")
    assert diagnose([fault, switch]).cause == diagnose([switch, fault]).cause == "gpu-kernel-fault"


# -- what may end the service ----------------------------------------------------------------------

XID = "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
NO_KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
MISMATCH = "pynvml.NVMLError_LibRmVersionMismatch: Driver/library version mismatch"


def end_of(tmp: Path, lines: list[str], kernel: Iterable[str] = ()) -> tuple[Exited, Diagnosis]:
    run = watched(tmp, kernel=kernel)
    read(run, lines, 100.0)
    error, why = run.judge(101.0)
    return run.gone(Died(-9, "was killed"), error, why, 101.0), why


def test_only_the_kernel_ends_the_service_of_a_server_that_served(tmp_path: Path) -> None:
    assert end_of(tmp_path, [*LIFE, XID])[0].advice is RestartAdvice.AGAIN
    assert end_of(tmp_path, [*LIFE, NO_KERNEL])[0].advice is RestartAdvice.AGAIN
    assert end_of(tmp_path, [*LIFE, MISMATCH])[0].advice is RestartAdvice.AGAIN
    assert end_of(tmp_path, LIFE, [XID])[0].advice is RestartAdvice.REBOOT
    assert "no kernel image" in (end_of(tmp_path, [*LIFE, NO_KERNEL])[0].said or ""), (
        "it is told all the same"
    )


def test_a_start_that_nobody_could_reach_may_say_never(tmp_path: Path) -> None:
    """Before it listens every word is its own; after that it has as many tries as any other."""
    before, after = LISTENING[:-1], LISTENING

    assert end_of(tmp_path, [*before, NO_KERNEL])[0].advice is RestartAdvice.NEVER
    assert end_of(tmp_path, [*after, NO_KERNEL])[0].advice is RestartAdvice.AGAIN
    assert end_of(tmp_path, [*before, NO_KERNEL, after[-1], "x"])[0].advice is RestartAdvice.NEVER
    assert end_of(tmp_path, [*before, MISMATCH])[0].advice is RestartAdvice.AGAIN, (
        "the log alone cannot want a reboot"
    )


def test_a_line_from_before_it_listened_is_known_however_much_was_said_since(
    tmp_path: Path,
) -> None:
    """The tail of the log forgets where it began to listen; somebody may write that line again."""
    flood = [f"[2026-11-24 05:04:00 TP0] x {n}" for n in range(5000)]
    forged = [NO_KERNEL, LISTENING[-1]]

    assert end_of(tmp_path, [*LISTENING, *flood, *forged])[0].advice is RestartAdvice.AGAIN


def test_a_start_whose_process_was_killed_from_outside_is_no_refusal(tmp_path: Path) -> None:
    """vLLM's API server ends with status 1 when the kernel's OOM killer took its engine."""
    run = watched(tmp_path)
    killed = (
        "RuntimeError: Engine core initialization failed. Failed core proc(s): {'EngineCore': -9}"
    )
    read(run, [killed], 100.0)
    error, why = run.judge(101.0)
    gone = run.gone(Died(1, "exited with status 1"), error, why, 101.0)
    assert (why.cause, gone.is_a_no) == ("vllm-core-killed", False)

    said = watched(tmp_path)
    read(said, [killed.replace("-9", "1")], 100.0)
    assert said.gone(Died(1, "exited with status 1"), *said.judge(101.0), 101.0).is_a_no


def test_a_log_that_does_not_tell_when_it_listens_is_never_early(tmp_path: Path) -> None:
    """With --log-level-http warning nothing says "Uvicorn running on"; an answer shows it, too."""
    quiet = allowed(plan_with(log_level_http="warning"))
    run = watched(tmp_path, allowed=quiet)
    read(run, [*LISTENING[:-1], NO_KERNEL], 100.0)
    error, why = run.judge(101.0)
    assert run.gone(Died(-9, "was killed"), error, why, 101.0).advice is RestartAdvice.AGAIN

    answered = watched(tmp_path)
    read(answered, [*LISTENING[:-1], NO_KERNEL], 100.0)
    answered.confirmed = 100.0
    assert read(answered, ["[2026-11-24 05:04:00] a word"], 200.0) == []
    error, why = answered.judge(101.0)
    assert answered.gone(Died(-9, "was killed"), error, why, 101.0).advice is RestartAdvice.AGAIN


# -- what it may excuse ----------------------------------------------------------------------------


def prefill(tokens: int) -> str:
    return (
        f"[2026-11-24 05:06:00 TP0] Prefill batch, #new-seq: 1, #new-token: {tokens},"
        " #cached-token: 12"
    )


def until_of(events: list[Event], now: float) -> list[float]:
    return [event.until - now for event in events if isinstance(event, Progressed)]


def test_a_prefill_excuses_no_more_than_a_batch_may_hold(tmp_path: Path) -> None:
    unsaid = watched(tmp_path)
    read(unsaid, [LISTENING[-1], READY], 100.0)
    said = watched(tmp_path)
    read(said, [*LISTENING, READY], 100.0)
    planned = watched(tmp_path, allowed=Allowed(batch=2048))
    read(planned, [*LISTENING, READY], 100.0)

    for run, most in ((unsaid, 16384), (said, 8192), (planned, 2048)):
        assert until_of(read(run, [prefill(400)], 200.0), 200.0) == [1.0]
        assert until_of(read(run, [prefill(99_999_999_999)], 300.0), 300.0) == [
            pytest.approx(most / 400)
        ]


def test_the_log_alone_is_believed_for_a_while(tmp_path: Path) -> None:
    """Somebody may write lines like its own all day; an answer that shows work begins the time
    anew.
    """
    run = watched(tmp_path)
    read(run, LIFE, 100.0)
    run.confirmed = 100.0

    assert read(run, [prefill(400)], 999.0)
    assert read(run, [prefill(400)], 1001.0) == []
    run.confirmed = 1001.0
    assert read(run, [prefill(400)], 1002.0)


def test_a_million_tokens_may_take_as_long_as_they_take() -> None:
    assert activity.patience(None) == activity.patience(202_752) == 900
    assert activity.patience(1_048_576) == pytest.approx(2621, abs=1)


def plan_with(release: str | None = "0.5.23", quiet: float = 300.0, **flags: str) -> Plan:
    settings_ = tuple(
        Setting(f"--{option}", value, "profile", "", option=option)
        for name, value in flags.items()
        if (option := name.replace("_", "-"))
    )
    policy = Policy(stall_timeouts=StallTimeouts(warmup=quiet))
    return Plan("p", (), (), {}, "::1", 1, "m", "m", policy, settings_, {}, release=release)


def test_a_plan_bounds_what_may_be_excused() -> None:
    assert allowed(plan_with()) == Allowed(None, False, 300.0)
    assert allowed(plan_with(chunked_prefill_size="4096", max_prefill_tokens="16384")).batch == 4096
    assert allowed(plan_with(max_prefill_tokens="32768")).batch == 32768
    assert allowed(plan_with(chunked_prefill_size="-1", max_prefill_tokens="16384")).batch is None
    pauses = {
        release: allowed(plan_with(release)).pauses
        for release in ("0.5.8", "0.5.19", "0.5.20", None)
    }
    assert pauses == {"0.5.8": True, "0.5.19": True, "0.5.20": False, None: True}


def test_an_unchunked_prompt_is_a_batch_however_long() -> None:
    limits = LISTENING[-2].replace("chunked_prefill_size=8192", "chunked_prefill_size=-1")

    assert startup.read(startup.begin(0), LISTENING[-2], 1, LOG).prefill == 8192
    assert startup.read(startup.begin(0), limits, 1, LOG).prefill == 202_752
    assert startup.read(startup.begin(0), f"x {limits}", 1, LOG).prefill is None


def test_words_of_work_in_a_clients_text_forgive_nothing() -> None:
    complaint = "OSError: [Errno 28] No space left on device"
    work = "[2026-11-24 05:06:00 TP0] Decode batch, #running-req: 1, #token: 1920"
    theirs = f"{AT}] Tool call parsing error: {work}"

    assert diagnose([*LIFE, complaint, *[theirs] * 99]).cause == "disk-full"
    assert diagnose([*LIFE, complaint, *[work] * 99]).cause == "unknown"


def test_the_rest_of_a_clients_text_is_no_evidence_either() -> None:
    """Seen on SGLang 0.5.23: it prints the type of a JSON schema with its line ends."""
    theirs = (
        f"{AT}] Failed to compile json grammar: [01:11:08] /x/json_schema_converter.cc:4175:"
        ' Unsupported type "a'
    )
    rest = 'no kernel image is available for execution on the device"'
    nccl = DEATHS_OF["nccl-nvls-failed"][0]

    assert diagnose([*LIFE, theirs, rest, ", self.rid='x'"]).cause == "unknown"
    assert diagnose([*LIFE, theirs, rest, *DEATH]).cause == "illegal-memory-access"
    assert diagnose([*LIFE, theirs, DEATH[3]]).cause == "illegal-memory-access", (
        "an exception is none of it"
    )
    assert diagnose([*LIFE, theirs, nccl]).cause == "nccl-nvls-failed"


@pytest.mark.parametrize(
    "death", DEATHS, ids=lambda death: f"{death['cause']} {death['source'][:24]}"
)
def test_a_death_right_after_a_complaint_about_a_request_is_one(death: dict[str, str]) -> None:
    """What the interpreter, a library or a compiler prints is not taken for the rest of somebody's
    text.
    """
    told = death["text"].splitlines()
    if death["cause"] == "scheduler-watchdog" and not told[0].startswith("["):
        return  # without its logger's prefix it could be anybody's
    if death["cause"] in {"cluster-has-no-gpu", "killed-by-memory-guard"}:
        return  # what a cluster or another program says stands in no server's log

    assert diagnose([f"{AT}] Failed to parse x", *told]).cause == diagnose(told).cause


@pytest.mark.parametrize(
    "file", ["multiproc_worker_utils", "flashmla_sparse", "core", "gpu_worker", "backend_registry"]
)
def test_the_engines_own_files_do_not_speak_of_requests(file: str) -> None:
    assert not witness.is_about_a_request(
        f"(EngineCore pid=7) ERROR 09-01 10:00:01 [{file}.py:1] ValueError: x"
    )


def test_how_a_run_begins_is_ours_to_say(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "server.log", None)
    log.begin(1)
    lines = list(
        log.feed(
            b"RuntimeError: CUDA error: device-side assert triggered\n"
            + FORGED[5].encode()
            + b"\nx\n"
        )
    )
    kept = (tmp_path / "server.log").read_text().splitlines()

    assert lines[1] == f" {FORGED[5]}"
    assert [line for line in kept if line.startswith(understood.RUN)] == kept[:1]
    assert diagnose(kept).cause == "device-assert"


@pytest.mark.parametrize(
    "line",
    [
        (
            '[2026-11-24 05:10:07] INFO:     127.0.0.1:5 - "GET /x"POST /pause_generation HTTP/1.1"'
            " 200 OK"
        ),
        (
            '[2026-11-24 05:10:07] INFO:     127.0.0.1:5 - "GET /"POST /pause_generation HTTP/1.1"'
            ' 200 OK" 404'
        ),
        '[2026-11-24 05:10:07] Failed to parse "POST /pause_generation HTTP/1.1" 200 OK',
        (
            '[2026-11-24 05:10:07] INFO:     127.0.0.1:5 - "POST /pause_generation HTTP/1.1" 401'
            " Unauthorized"
        ),
        '[2026-11-24 05:10:07] INFO:     127.0.0.1:5 - "POST /pause_generationx HTTP/1.1" 200 OK',
        (
            '[2026-11-24 05:10:07 TP0] INFO:     127.0.0.1:5 - "POST /pause_generation HTTP/1.1"'
            " 200 OK"
        ),
    ],
)
def test_only_the_whole_line_is_a_pause(line: str) -> None:
    assert LOG.pause(line) is None


def test_a_pause_that_was_answered_lasts_until_it_works_again_or_was_silent_too_long(
    tmp_path: Path,
) -> None:
    run = watched(tmp_path, allowed=Allowed(pauses=False))
    now = time.monotonic()
    run.heard(Answer(False, "/ready says 503", excuse=PAUSED), now)
    run.heard(Answer(False, "/health says 503"), now)
    assert run.excuse() == PAUSED
    run.confirmed = -1e9
    assert run.excuse() == ""
    run.heard(Answer(True, "/health says 200"), now)
    assert run.excuse() == ""


def test_a_pause_is_believed_only_where_it_cannot_be_asked_for_and_for_a_while(
    tmp_path: Path,
) -> None:
    paused = (
        '[2026-11-24 05:10:07] INFO:     127.0.0.1:5 - "POST /pause_generation HTTP/1.1" 200 OK'
    )
    asked, unasked = watched(tmp_path, allowed=Allowed(pauses=False)), watched(tmp_path)
    for run in (asked, unasked):
        read(run, [*LIFE, paused], 100.0)
        run.confirmed = time.monotonic()

    assert asked.excuse() == ""
    assert unasked.excuse() == "generation is paused"
    unasked.confirmed = -1e9
    assert unasked.excuse() == ""


# -- cost ------------------------------------------------------------------------------------------


WORDS = sorted({word for shape in shapes() for word in literals(shape) if len(word) > 3})
MANY = itertools.cycle(WORDS)
HOSTILE = {  # a line, or a piece of one, for each number
    "all beginnings": lambda n: f"{n} {' '.join(WORDS[n % 50 :] + WORDS[: n % 50])}"[:2000] + "\n",
    "one beginning": lambda n: f"{n} {(next(MANY) + ' ') * 500}"[:2000] + "\n",
    "a framed one": lambda n: (
        f"{AT} TP0] RuntimeError: {n} {(next(MANY) + ' ') * 500}"[:2000] + "\n"
    ),
    "tracebacks": lambda n: (
        f'Traceback (most recent call last):\n  File "/uvicorn/{n}", line 1, in x\n' * 20
    ),
    "no line end": lambda n: (next(MANY) + " ") * 50,
    "deep JSON": lambda n: '{"log":' * 250,
    "a long JSON": lambda n: '{"log": "' + "x" * 2000 + '"}\n',
    "escapes": lambda n: "\x1b]" * 500 + "\x1b[0m" * 100,
    "prefixes": lambda n: (
        "(a pid=1 (a pid=1, (a pid=1) [pod/x [2026-11-24 05:10:07 TP0 TP0 " * 20 + "\n"
    ),
    "blanks": lambda n: "sglang-1" + " " * 2000,
}


def cost(path: Path, kind: str, size: int) -> float:
    """Processor seconds that a file of so many bytes takes."""
    with path.open("w") as file:
        for n in itertools.count():
            file.write(HOSTILE[kind](n))
            if file.tell() >= size:
                break
    began = time.process_time()
    diagnosis.show(diagnose_text(pieces(str(path), "")), as_json=True)
    return time.process_time() - began


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_diagnosis_costs_as_much_as_its_log_is_long(tmp_path: Path, kind: str) -> None:
    cost(tmp_path / "first", kind, 1 << 14)
    part, whole = (cost(tmp_path / "log", kind, size) for size in (1 << 17, 1 << 19))

    assert whole < 2.5 * 4 * max(part, 0.01), (
        "four times as much for four times the length, and not sixteen"
    )


def test_the_lines_of_a_form_are_all_a_clients(tmp_path: Path) -> None:
    """The forms themselves: a word of them that is believed would make the tests above say
    nothing.
    """
    for form in (*ACCESS, *SGLANG, *VLLM):
        line = fill(form, lambda: "x", whole=form in ACCESS)
        assert witness.is_about_a_request(line), line
    assert json.loads(json.dumps(to_json(diagnose(LIFE))))["cause"] == "unknown"


FORWARDED = (
    "RuntimeError: CUDA error: no kernel image is available for execution on the device:0",
    "Decode batch. #running-req: 1 x:0",
    "Gracefully exiting... Remaining number of requests 0:0",
    "EADDRINUSE of mine:0",
    "Subprocess x crashed with exit code -9 of:0",
)


@pytest.mark.parametrize("who", FORWARDED)
@pytest.mark.parametrize("stamp", ["", "[2026-11-26 01:00:00] "])
def test_whoever_says_who_he_is_by_a_header_says_nothing_else(who: str, stamp: str) -> None:
    """uvicorn believes X-Forwarded-For of this host: then a client's text stands where the address
    should.
    """
    line = f'{stamp}INFO:     {who} - "GET /v1/models HTTP/1.1" 401 Unauthorized'

    assert witness.is_access(line)
    assert diagnose([line]).cause == "unknown"
    assert "empty" not in diagnose([line]).what


KERNELS_LINES = [
    "Sat 2026-02-14 05:03:42 UTC host kernel: ",
    "f\u00e9vr. 14 05:03:42 host kernel: ",
    "11\u6708 15 05:03:42 host kernel: ",
    "[ 1843.3] host kernel: ",
    "1771045422.123 host kernel: ",
    "[Feb14 05:03] ",
    "kernel:[ 1843.3] ",
    "/var/log/kern.log:Feb 14 05:03:42 host kernel: ",
    "> [ 1843.3] ",
    "2026-02-14 05:03:42 host kernel: ",
]


@pytest.mark.parametrize("before", KERNELS_LINES)
def test_the_kernel_is_known_in_what_people_paste(before: str) -> None:
    assert (
        diagnose([f"{before}NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus."]).then
        == "reboot"
    )


@pytest.mark.parametrize(
    "before", ["[2026-01-29 00:56:20 TP6] ", "INFO: host ", "[2026-01-29 00:56:20] Hit "]
)
def test_a_server_that_speaks_of_the_kernel_is_not_the_kernel(before: str) -> None:
    assert diagnose([f"{before}kernel: NVRM: Xid (PCI:0000:61:00): 79, x"]).cause == "unknown"


@pytest.mark.parametrize(
    "frame",
    [
        "2026-01-29 00:56:20,123 - vllm.serving - ERROR - ",
        "[2026-01-29 00:56:20][UC][I] ",
        "2026-01-29 00:56:20.123 ERROR 4711 [ TP0 scheduler.py:3190] ",
        "2026-01-29 00:56:20.123 INFO 4711 [ http_server.py:190] ",
        "(SGLangEngine pid=4711, ip=10.0.0.1) [2026-01-29 00:56:20 TP0] ",
        "2026-01-29 00:56:20,123 - WARNING - autotuner.py:457 - flashinfer.jit: ",
        "2026-01-29 00:56:20.123 | INFO     | my.app:serve:7 - ",
        "2026-01-29 00:56:20 | ERROR | stderr | ",
    ],
)
def test_a_frame_of_a_sites_own_is_a_frame(frame: str) -> None:
    asked = (
        "prompt: 'why does it say CUDA error: no kernel image is available for execution on the"
        " device?'"
    )

    assert diagnose([f"{frame}Received {asked}"]).cause == "unknown"
    assert not diagnose_text([f"{frame}Received {asked}".encode()]).is_known


@pytest.mark.parametrize(
    ("frame", "speaker"),
    [
        ("[2026-01-29 00:56:20 DP1 TP0] ", "DP1 TP0"),
        ("2026-01-29 00:56:20.123 ERROR 4711 [ DP1 TP0 scheduler.py:3190] ", "DP1 TP0"),
        ("2026-01-29 00:56:20.123 ERROR 4711 [ engine.py:1676] ", ""),
        ("(WorkerDict pid=4711) [2026-01-29 00:56:20 TP0] ", "WorkerDict"),
        ("(WorkerDict pid=4711) ", "WorkerDict"),
        ("(Worker_TP1 pid=4711) ERROR 01-29 00:56:20 [core.py:1] ", "Worker_TP1"),
    ],
)
def test_whoever_carries_the_lines_of_a_rank_its_exception_is_found(
    frame: str, speaker: str
) -> None:
    said = witness.said(f"{frame}Scheduler hit an exception: x")

    assert (said.speaker, said.text) == (speaker, "Scheduler hit an exception: x")


def test_a_log_of_sglang_in_rays_frame_is_none_of_vllm() -> None:
    before = "(WorkerDict pid=4711) "
    found = diagnose(
        [
            f"{before}[2026-01-29 00:56:20 TP0] Scheduler hit an exception: Traceback (most recent"
            " call last):",
            f'{before}  File "/opt/sglang/srt/managers/scheduler.py", line 7, in run_batch',
            f"{before}RuntimeError: the capacitor is empty",
        ]
    )

    assert found.engine == "sglang"
    assert "RuntimeError, in run_batch (managers/scheduler.py)" in found.what


# -- loggers that write JSON -----------------------------------------------------------------------

LOGGERS: list[dict[str, str]] = [
    {"levelname": "INFO", "name": "vllm.entrypoints.logger", "filename": "logger.py"},
    {"level": "info", "logger": "sglang.srt.entrypoints.http_server"},
    {"severity": "WARN", "module": "serving_chat"},
    {"level": "INFO", "logger": "uvicorn.access"},
]


def in_json(text: str, logger: dict[str, str], key: str = "message") -> str:
    return json.dumps({"timestamp": "2026-09-02T10:00:00Z", **logger, key: text})


@pytest.mark.parametrize("logger", LOGGERS, ids=lambda each: next(iter(each.values())))
@pytest.mark.parametrize(
    "death", DEATHS, ids=lambda death: f"{death['cause']} {death['source'][:24]}"
)
def test_what_a_client_said_is_no_evidence_in_json_either(
    logger: dict[str, str], death: dict[str, str]
) -> None:
    """Without its frame a message that begins with a request's would be anybody's line."""
    quoted = death["text"].strip()
    for asked in (f"Received request x: prompt: {quoted!r}", f"Receive: obj='{quoted}'"):
        found = diagnose_text([in_json(asked, logger).encode()])

        assert not found.is_known, found.cause
        assert found.then not in {"never", "reboot"}


@pytest.mark.parametrize(
    "logger",
    [
        {"levelname": "ERROR", "name": "vllm.v1.engine.core", "filename": "core.py"},
        {"level": "error", "logger": "sglang.srt.managers.scheduler"},
    ],
    ids=["vllm", "sglang"],
)
@pytest.mark.parametrize("key", ["message", "msg", "event"])
def test_an_exception_in_a_loggers_json_is_found(logger: dict[str, str], key: str) -> None:
    traced = [
        "EngineCore failed to start.",
        "Traceback (most recent call last):",
        '  File "/opt/vllm/v1/worker/gpu_model_runner.py", line 7, in load_model',
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total",
    ]
    told = in_json("\n".join(traced), logger, key)

    assert diagnose_text([told.encode()]).family == "gpu-memory"


def test_what_a_shipper_knows_of_a_stream_adds_no_frame() -> None:
    """Its level is the stream's, and the line within has its own frame, or is bare."""
    bare = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    ship = {"level": "error", "logger": "containerd", "stream": "stderr"}

    assert unwrap(in_json(bare, ship, "log")).text == bare
    assert unwrap(in_json(bare, {"level": "error"})).text == bare
