"""What is printed behind a progress bar is a line of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose import bars
from launcher.diagnose.diagnosis import diagnose
from launcher.diagnose.text import diagnose_text

BARS = [
    "Loading safetensors checkpoint shards:  75% Completed | 3/4 [00:08<00:02,  2.83s/it]",
    "Multi-thread loading shards:   0% Completed | 0/87 [00:00<?, ?it/s]",
    "(Worker_TP0 pid=7) Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:01<00:03, 1.0s/it]",
    "Capturing batches (bs=1 avail_mem=2.20 GB):  98%|\u2588\u2588\u2588 | 51/52 [00:09<00:00,  5.01it/s]",
    " 50%|\u2588\u2588\u2588\u2588     | 1/2 [00:03<00:03,  3.01s/it]",
]
BEHIND = [
    "Killed",
    "[2026-11-24 05:10:00 TP1] Load weight end.",
    "Traceback (most recent call last):",
]


@pytest.mark.parametrize("bar", BARS)
@pytest.mark.parametrize("behind", BEHIND)
def test_what_follows_a_bar_is_a_line_of_its_own(bar: str, behind: str) -> None:
    assert bars.split(bar) == (bar,)
    assert bars.split(bar + behind) == (bar, behind)
    assert bars.split(bar + bar + behind) == (bar, bar, behind)


@pytest.mark.parametrize("bar", BARS)
def test_who_was_killed_behind_a_bar_was_killed(bar: str) -> None:
    for found in (diagnose([f"{bar}Killed"]), diagnose_text([f"{bar}Killed\n".encode()])):
        assert found.cause == "rank-killed"


@pytest.mark.parametrize(
    "line",
    [
        "[2026-11-24 05:10:00] Receive: obj={'text': 'x: 5%| | 1/2 [0:1<0:1, 1it/s]Killed'}",
        "INFO 11-24 05:10:00 [logger.py:9] Received request x: prompt: '5%| 1/2 [1, 1it/s]Killed'",
        'a "quoted" text: 5%| | 1/2 [00:01<00:01, 1.0it/s]Killed',
    ],
)
def test_a_bar_in_somebodys_text_is_none(line: str) -> None:
    assert bars.split(line) == (line,)
    assert not diagnose([line]).is_known


@given(st.text() | st.lists(st.sampled_from([*BARS, *BEHIND])).map("".join))
def test_nothing_is_lost(line: str) -> None:
    assert "".join(bars.split(line)) == line
