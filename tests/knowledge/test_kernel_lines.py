"""The kernel's lines that matter: every cause that it can tell passes each filter on the way to who
judges.
"""

from __future__ import annotations

import string
import tomllib

import pytest
from conftest import TESTS
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.diagnose.matching import matches
from launcher.engines import witness
from launcher.engines.failures import Failure, failures
from launcher.host.parsers.kernellog import KERNEL_LINE
from launcher.knowledge import xid
from launcher.knowledge.kernel_lines import BEGINS, DEADLY, WORTH
from launcher.serve.gpu_monitor_child import kernels_line

DEATHS = tomllib.loads((TESTS / "data/deaths.toml").read_text())["death"]
OF_THE_KERNEL = [
    failure for failure in failures().values() if failure.origin == "kernel" and failure.pattern
]
PLAIN = string.ascii_letters + string.digits + " .,:;_-/()[]=!#\\"


def lost(words: str, *, watched: bool = True) -> list[str]:
    """The filters that a line of the kernel, without its stamp, does not pass."""
    of_the_watch = {
        "the watch over the GPUs": DEADLY.match(words) and kernels_line(f"3,1,2,-;{words}"),
        "what is known for the kernel's": BEGINS.match(words) and witness.kernels(words),
    }
    passed = {
        **(of_the_watch if watched else {}),
        "what is kept for doctor and reports": WORTH.search(words),
        "what is known for a kernel's log": KERNEL_LINE.search(f"[ 5080.898738] {words}"),
    }
    return [name for name, found in passed.items() if not found]


@pytest.mark.parametrize("signature", OF_THE_KERNEL, ids=lambda signature: signature.id)
@given(data=st.data())
@settings(max_examples=25)
def test_whatever_a_pattern_takes_passes_every_filter(
    signature: Failure, data: st.DataObject
) -> None:
    assert signature.pattern
    words = data.draw(st.from_regex(rf"\A(?:{signature.pattern.pattern})", alphabet=PLAIN))

    assert lost(words.split("\n")[0], watched=signature.watched) == [], words


@pytest.mark.parametrize(
    "death", DEATHS, ids=lambda death: f"{death['cause']} {death['source'][:24]}"
)
def test_what_a_real_log_says_passes_every_filter(death: dict[str, str]) -> None:
    for line in death["text"].splitlines():
        words = witness.kernels(line, surely=True) or ""
        found = [found.failure for found in matches(words, "kernel")]
        if found:
            watched = any(failure.watched for failure in found)
            assert lost(words, watched=watched) == [], line


@pytest.mark.parametrize("number", [*xid.xids(), 199])
def test_every_xid_passes_every_filter(number: int) -> None:
    assert lost(f"NVRM: Xid (PCI:0000:61:00): {number}, pid=1, name=x, Ch 00000008") == []


def test_a_word_that_the_list_lacks_is_lost() -> None:
    assert len(lost("mlx5_core 0000:61:00.0: health compromised")) == 4


@pytest.mark.parametrize(
    "line",
    [
        "usb 1-1: Product: NVRM: Xid (PCI:0000:01:00): 79, x",
        "bash[77]: segfault at 0 ip 0 in libc.so.6",
    ],
)
def test_the_watch_passes_on_nothing_else(line: str) -> None:
    assert DEADLY.match(line) is None
