"""Whatever a file holds: its text is read however it was written, and what is none is refused."""

from __future__ import annotations

import contextlib
import gzip
import os
import subprocess
from pathlib import Path

import pytest
from conftest import GLM5_SERVE
from hypothesis import given
from hypothesis import strategies as st

from launcher.diagnose.encoding import PIECE, RefusedError, texts
from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import to_json
from launcher.knowledge.families import FAMILIES, NO_LOG

XID = "[ 5080.898738] NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus.\n"
LOG = XID + "[ 5080.9] x\n" * 20


@pytest.mark.parametrize(
    "data",
    [
        LOG.encode(),
        b"\xef\xbb\xbf" + LOG.encode(),
        LOG.encode("utf-16"),
        LOG.encode("utf-16-le"),
        LOG.encode("utf-16-be"),
        b"\xfe\xff" + LOG.encode("utf-16-be"),
        LOG.encode("utf-32"),
        LOG.replace("\n", "\r\n").encode(),
        gzip.compress(LOG.encode()),
        gzip.compress(LOG.encode()) + gzip.compress(b"[ 1.1] y\n"),
        gzip.compress(LOG.encode("utf-16")),
        gzip.compress(LOG.encode() * 50)[:-30],
        b"\0" * 5000 + LOG.encode(),
    ],
)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_log_is_read_however_it_is_written(data: bytes, size: int) -> None:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]

    assert diagnose_text(pieces).cause == "gpu-fell-off-bus"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(100), "a program"),
        (b"PK\x03\x04" + LOG.encode(), "a zip archive"),
        (b"\x28\xb5\x2f\xfd" + os.urandom(300), "zstd"),
        (bytes(range(256)) * 40, "binary"),
        (bytes(70_000), "zeros"),
        (gzip.compress(bytes(range(256)) * 40), "binary"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, what: str) -> None:
    found = diagnose_text([data])

    assert (found.family, found.evidence) == (NO_LOG, ())
    assert what in found.what


def test_a_damaged_line_makes_no_log_binary() -> None:
    assert diagnose_text([LOG.encode() + b"\x00\x01\xff\xfe\x80 x\n"]).cause == "gpu-fell-off-bus"


def test_little_is_unpacked_at_once() -> None:
    packed = gzip.compress(b"x" * (64 << 20))

    assert max(len(piece) for piece in texts([packed])) <= PIECE + (1 << 16)


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_no_bytes_are_a_traceback(pieces: list[bytes]) -> None:
    found = diagnose_text(pieces)

    assert found.family in FAMILIES
    assert to_json(found)["fix"]


@given(
    st.sampled_from([b"\x1f\x8b\x08", b"\xff\xfe", b"\xfe\xff", b"{", b"\xff\xfe\0\0"]), st.binary()
)
def test_nor_are_those_that_begin_as_something(begin: bytes, rest: bytes) -> None:
    with contextlib.suppress(RefusedError):
        assert b"\0" not in b"".join(texts([begin, rest]))


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_never_ends_is_refused(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    path = {"fifo": str(tmp_path / "fifo"), "device": "/dev/zero"}[kind]
    done = subprocess.run(
        [GLM5_SERVE, "diagnose", path], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 2
    assert "wanted a regular file" in done.stderr
