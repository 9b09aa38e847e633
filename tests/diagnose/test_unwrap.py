"""A server's line comes out of every wrapper as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose.diagnosis import judge
from launcher.diagnose.scan import LogScan
from launcher.diagnose.unwrap import unwrap

LINES = [
    "[2026-11-24 05:10:00 TP3] Scheduler hit an exception: Traceback (most recent call last):",
    '  File "scheduler.py", line 1, in run',
    "=== glm5-serve: run 2, 2026-11-24T05:00:00Z",
    "launch_server.py: error: unrecognized arguments: --foo",
    "(EngineCore_DP0 pid=7) ERROR 03-05 09:56:09 [core.py:1] FooError: x",
    "INFO 11-26 14:34:34 [core.py:387] x",
    "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.",
    "torch.OutOfMemoryError: CUDA out of memory.",
]
WRAPPERS = {
    "journald": "Nov 24 03:10:11 host-1 glm5-serve[123]: {}",
    "journald, a day": "Nov  4 03:10:11.123456 host-1 python3.11[123]: {}",
    "journald, iso": "2026-11-24T03:10:11+0100 host.example glm5-serve[123]: {}",
    "journald, kernel": "2026-11-24T03:10:11+01:00 host kernel: {}",
    "docker -t": "2026-11-24T03:10:11.123456789Z {}",
    "cri": "2026-11-24T03:10:11.123456789Z stderr F {}",
    "kubectl --prefix": "[pod/sglang-0/sglang] {}",
    "compose": "sglang-1  | {}",
    "compose -t": "\x1b[36msglang-1  | \x1b[0m2026-11-24T03:10:11.123456789Z {}",
    "colour": "\x1b[1;31m{}\x1b[0m",
    "colour, as a pager shows it": "^[[1;36m{}^[[0;0m^M",
    "colour, as rsyslog writes it": "#033[1;36m{}#033[0m#015",
    "colour, as JSON or a shell spells it": r"\u001b[1;36m{}\x1b[0m\033[K",
    "colour, as an editor shows it": "\u241b[1;36m{}ESC[0m",
    "colour, without its escape": "[1;36m{}[0;0m",
    "kibana": "Nov 24, 2026 @ 03:10:11.123    {}",
    "quoted": "> {}",
    "quoted twice": "> > {}",
    "quoted, docker -t in a list": "> - 2026-11-24T03:10:11.123+00:00 {}",
}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
def test_a_line_comes_out_as_it_was(wrapper: str, line: str) -> None:
    assert unwrap(line).text == line
    assert unwrap(wrapper.format(line)).text == line


@pytest.mark.parametrize("name", ["log", "message", "MESSAGE"])
@pytest.mark.parametrize("line", LINES)
def test_a_line_comes_out_of_json(name: str, line: str) -> None:
    assert unwrap(json.dumps({"stream": "stderr", name: f"\x1b[31m{line}\x1b[0m\n"})).text == line


@pytest.mark.parametrize(
    "line",
    [
        "see x[7], y[0:3] and [16 MiB]",
        "[2026-11-24 05:10:00 TP3] mem[m], a[K]",
        r"C:\new\x1b.txt",
        "issue #0151 of ^M",
    ],
)
def test_what_only_looks_like_a_colour_stays(line: str) -> None:
    assert unwrap(line + ".").text == line + "."


XID = "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."


@pytest.mark.parametrize(
    ("line", "by_kernel"),
    [
        (f"Nov 24 03:10:11 host-1 kernel: {XID}", True),
        (f"2026-11-24T03:10:11+01:00 host kernel: {XID}", True),
        (json.dumps({"MESSAGE": XID, "_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel"}), True),
        (XID, None),
        (f"2026-11-24T03:10:11,123+01:00 {XID}", None),
        (json.dumps({"message": XID}), None),
        (f"Nov 24 03:10:11 host-1 glm5-serve[123]: {XID}", False),
        (f"2026-11-24T03:10:11+0100 host glm5-serve[123]: {XID}", False),
        (
            json.dumps({"MESSAGE": XID, "_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "kernel"}),
            False,
        ),
        (json.dumps({"log": XID, "stream": "stderr"}), False),
        (f"2026-11-24T03:10:11.123456789Z stderr F {XID}", False),
        (f"[pod/sglang-0/sglang] {XID}", False),
        (f"sglang-1  | {XID}", False),
        (f"sglang-1  | 2026-11-24T03:10:11.123456789Z {XID}", False),
    ],
)
def test_what_carried_a_line_tells_whose_it_is(line: str, by_kernel: bool | None) -> None:
    """A container, or a program that has a name in the journal, is not the kernel."""
    log = LogScan()
    told = unwrap(line)
    log.take(told.text, by_kernel=told.by_kernel)

    assert told == (XID, by_kernel)
    assert judge(log).is_known == (by_kernel is not False)


@given(st.text())
def test_whatever_is_written_is_taken(text: str) -> None:
    assert unwrap("{" + text).text is not None
    told = unwrap(text).text
    assert told in text or "[" in text or "#015" in text or text.startswith("{")
