"""Whatever stands in a pasted file: an end, no traceback, bounded time and memory."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.healthy import plan

from launcher.doctor.checks import judge
from launcher.errors import UserError
from launcher.host import parsers
from launcher.host.parsers.text import clean

MANY = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# What readers look for, and what they look across: repeated, each once cost the square of its
# length.
UNITS = (
    " ", "\t", "\n", "=", "|", "9", "[", "{", "> ", "GPU0 X ", "| 0 NVIDIA ", "| 0 N/A N/A 1 C ",
    "|   0  NVIDIA B200 On  |   00000000:05:00.0 Off | 0 |\n", "GPU 00000000:06:00.0\n",
    "==============NVSMI LOG==============\n", "    A : b\n", "name, ", "1, NVIDIA A1, \n",
    "index, name\n", "GPU 0: a (UUID: GPU-0)\n", "ACSCtl: a+ ", "a+ ", "00:00.0 VGA: \n", '{"a":',
    '{"_TRANSPORT":"kernel",', "kernel: ", "NVRM: loading NVIDIA UNIX ", "Kernel Module ",
    "[12345] ", "<1>", "2026-01-01T00:00:00 ", "Jan 1 1 a kernel: ", "Process ID : 1\n",
    "Processes:", "<a>", "</gpu>", '<gpu id="0">', "<nvidia_smi_log>\n", "Device: 0, a, pciBusID: 1,",
    "Device=0 CAN Access Peer Device=1\n", "memcpy CE GPU(row) -> GPU(column) \n", "| a | Pass |\n",
    "max locked memory ", "Driver Version: ", "Unable to determine the device handle for GPU ",
    "GPU 0,1,2: ", "NCCL_A=b\n", "MESSAGE=a\n", "\x1b[", "\x1b]", "\x00", "\r",
)  # fmt: skip


def survived(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    try:
        found = judge(parsers.host(str(path)), plan())
    except UserError:
        return
    assert not [one for one in found if "the check itself failed" in one.evidence]


@MANY
@given(st.binary(max_size=4000))
def test_any_bytes_are_survived(tmp_path: Path, raw: bytes) -> None:
    survived(tmp_path / "any", raw)


@MANY
@given(st.lists(st.one_of(st.sampled_from(UNITS), st.text(max_size=20)), max_size=60))
def test_any_mixture_of_what_readers_look_for_is_survived(tmp_path: Path, parts: list[str]) -> None:
    survived(tmp_path / "any", "".join(parts).encode("utf-8", "replace"))


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_what_repeats_costs_no_more_than_its_length(tmp_path: Path, unit: str) -> None:
    before = time.process_time()
    survived(tmp_path / "any", (unit * (100_000 // len(unit)) + "!").encode())

    assert time.process_time() - before < 1


def test_an_archive_that_unpacks_to_more_is_read_to_the_limit() -> None:
    assert len(clean(gzip.compress(b"a" * (1 << 22)), 1 << 10)) == 1 << 10
    assert clean(b"\x1f\x8b" + b"nothing", 1 << 10) == ""


def test_a_bug_report_is_read_as_it_is_attached(tmp_path: Path) -> None:
    text = "*** /proc/cmdline\n*** ls: x\nBOOT_IMAGE=/vmlinuz ro iommu=pt\n"
    (tmp_path / "nvidia-bug-report.log.gz").write_bytes(gzip.compress(text.encode()))

    assert "iommu=pt" in parsers.host(str(tmp_path)).kernel.cmdline.get()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "utf-8"])
def test_an_encoding_of_windows_is_no_obstacle(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "smi").write_bytes(
        "GPU 0: NVIDIA B200 (UUID: GPU-0)\r\nGPU 1: NVIDIA B200 (UUID: GPU-1)\r\n".encode(encoding)
    )

    assert len(parsers.host(str(tmp_path / "smi")).driver.gpus.get()) == 2
