"""Whose stack is blamed for a crash in native code: faulthandler prints those of all threads."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose.diagnosis import diagnose

CRASH = "Fatal Python error: Segmentation fault"
CRASHED = [
    "Current thread 0x00007f5173ff16c0 (most recent call first):",
    '  File "/opt/x/store.py", line 561 in put_batch',
    '  File "/usr/lib/python3.12/threading.py", line 1010 in run',
]


def waits(number: int, name: str, frames: int) -> list[str]:
    """The stack of a thread that did nothing."""
    frame = '  File "/usr/lib/python3.12/threading.py", line {} in wait'
    head = f"Thread 0x{number:016x} {name}(most recent call first):"
    return [head, *(frame.format(line) for line in range(1, frames + 1)), ""]


others = st.lists(
    st.builds(
        waits, st.integers(1, 2**47), st.sampled_from(["", "[worker-1] "]), st.integers(0, 12)
    ),
    max_size=60,
)


@given(before=others, after=others)
def test_the_thread_that_crashed_is_named_wherever_it_stands(
    before: list[list[str]], after: list[list[str]]
) -> None:
    lines = [CRASH, "", *chain(*before), *CRASHED, "", *chain(*after)]

    assert "crashed in put_batch (x/store.py):" in diagnose(lines).what


@given(told=others)
def test_where_the_stack_of_the_crash_is_cut_off_nobody_is_named(told: list[list[str]]) -> None:
    assert "code crashed: " in diagnose([CRASH, "", *chain(*told)]).what


def test_a_crash_in_a_thread_without_python_names_nobody() -> None:
    lines = [CRASH, "", CRASHED[0], "  <no Python frame>", "", *waits(1, "", 2)]

    assert "code crashed: " in diagnose(lines).what


def test_a_stack_that_is_of_no_thread_by_name_is_the_one() -> None:
    assert (
        "put_batch" in diagnose([CRASH, "", "Stack (most recent call first):", *CRASHED[1:]]).what
    )


def test_each_crash_has_its_own_stack() -> None:
    lines = [*waits(1, "", 2), CRASH, "", "Stack (most recent call first):", *CRASHED[1:]]

    assert "put_batch" in diagnose(lines).what


def test_the_frame_in_which_the_signal_arrived_did_not_crash() -> None:
    dump = "!!!!!!! Segfault encountered !!!!!!!"
    arrives = '  File "/go/src/runtime/sys_linux_amd64.s", line 330, in runtime.sigreturn'
    below = '  File "/opt/x/runtime.cc", line 7, in raise_error'

    assert "code crashed: " in diagnose([dump, arrives]).what
    assert "crashed in raise_error (x/runtime.cc)" in diagnose([dump, arrives, below]).what


# -- what a page or a carrier made of a traceback --------------------------------------------------

WRITTEN = {
    "as it was": '  File "/opt/sglang/srt/managers/x.py", line 7, in fold',
    "without its spaces": 'File "/opt/sglang/srt/managers/x.py", line 7, in fold',
    "with a page's quotes": "File \u201c/opt/sglang/srt/managers/x.py\u201d, line 7, in fold",
}


@pytest.mark.parametrize("frame", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("before", ["", "[2026-11-24 05:10:00 TP3] ", "(EngineCore pid=7) "])
def test_a_frame_is_one_however_it_is_written(before: str, frame: str) -> None:
    traced = ["Traceback (most recent call last):", frame, "FooError: the capacitor is empty"]
    found = diagnose([before + line for line in traced])

    assert "FooError, in fold (managers/x.py)" in found.what


def test_a_sentence_about_a_file_is_no_frame() -> None:
    told = ['see File "/opt/x.py", line 7, in fold', "FooError: the capacitor is empty"]

    assert "in fold" not in diagnose(told).what
