"""What `lint` knows to break on a GPU before the start, `diagnose` knows from its last words."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from launcher.diagnose.diagnosis import diagnose
from launcher.engines import issues
from launcher.engines.engine import NAMES
from launcher.engines.issues import Shows

SAID = tomllib.loads(Path(__file__).with_name("refusals.toml").read_text())
LATE = (Shows.LOAD, Shows.AFTER, Shows.TRAFFIC)
TRACEBACKS = {
    "sglang": (
        "[2026-09-01 05:31:26 TP1] Scheduler hit an exception: Traceback (most recent call last):",
        '  File "/x/sglang/srt/layers/attention/attention_registry.py", line 377, in make',
        "    make()",
        "{}",
        "",
        "[2026-09-01 05:31:26] Received sigquit from a child process.",
    ),
    "vllm": (
        "(Worker_TP3 pid=2390) ERROR 09-01 10:12:02 [multiproc_executor.py:948] WorkerProc failed.",
        "(Worker_TP3 pid=2390) ERROR 09-01 10:12:02 [multiproc_executor.py:948] Traceback (most"
        " recent call last):",
        '(Worker_TP3 pid=2390) ERROR 09-01 10:12:02 [multiproc_executor.py:948]   File "/x/vllm/v1/'
        'attention/selector.py", line 241, in get',
        "(Worker_TP3 pid=2390) ERROR 09-01 10:12:02 [multiproc_executor.py:948]     get()",
        "(Worker_TP3 pid=2390) ERROR 09-01 10:12:02 [multiproc_executor.py:948] {}",
    ),
}


def rows(engine: str) -> set[str]:
    """The issues of an engine for which a start on some GPU dies behind its first words."""
    return {
        row.id
        for row in issues.every_issue([engine])
        if row.severity.value == "breaks" and row.shows in LATE and row.when.gpu
    }


def test_each_gpu_that_lacks_a_kernel_has_its_last_words_here() -> None:
    assert set().union(*map(rows, NAMES)) == set(SAID)


@pytest.mark.parametrize("engine", NAMES)
def test_its_last_words_tell_the_cause(engine: str) -> None:
    for id in sorted(rows(engine)):
        log = [line.replace("{}", SAID[id]["says"]) for line in TRACEBACKS[engine]]

        assert diagnose(log).cause == SAID[id]["cause"], id


def test_what_only_sounds_like_it_is_none_of_these() -> None:
    for said in (
        "AssertionError",
        "ValueError: FlashAttention is fast",
        "RuntimeError: Failed to set the allowed number of threads to 4",
        "[PG ID 2 PG GUID 3 Rank 3] Last enqueued NCCL work: 12, last completed NCCL work: 11.",
    ):
        log = [line.replace("{}", said) for line in TRACEBACKS["sglang"]]
        causes = {row["cause"] for row in SAID.values()} | {"topk-width", "nccl-never-began"}

        assert diagnose(log).cause not in causes, said
