"""The server's output on its way to disk."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from launcher.serve.logfile import LARGEST_FILE, LONGEST_LINE, ServerLog


def fed(log: ServerLog, *pieces: bytes) -> list[str]:
    """The lines that come out for what goes in."""
    return [line for piece in pieces for line in log.feed(piece)] + list(log.flush())


def test_carriage_returns_end_lines_too(tmp_path: Path) -> None:
    assert fed(ServerLog(tmp_path / "log", None), b"a\r\nb\rc\n\nd") == ["a", "b", "c", "d"]
    assert (tmp_path / "log").read_text() == "a\nb\nc\nd\n"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_where_pieces_are_cut_does_not_matter(raw: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    pieces = [raw[a:b] for a, b in pairwise(edges)]

    assert fed(ServerLog(Path("/dev/null"), None), *pieces) == fed(
        ServerLog(Path("/dev/null"), None), raw
    )


def test_a_key_does_not_survive_being_cut(tmp_path: Path) -> None:
    lines = fed(ServerLog(tmp_path / "log", "sekret"), b"it is sek", b"ret!\n")

    assert lines == ["it is [redacted]!"]
    assert "sekret" not in (tmp_path / "log").read_text()


def test_a_line_of_50_mb_is_cut_and_the_next_is_whole(tmp_path: Path) -> None:
    piece = b"sekret" * 10923
    long, after = fed(ServerLog(tmp_path / "log", "sekret"), *[piece] * 800, b"end\n", b"next\n")

    assert after == "next"
    assert len(long) < 2 * LONGEST_LINE
    assert long.endswith(" [line cut]")
    assert (tmp_path / "log").stat().st_size < 2 * LONGEST_LINE


def test_a_large_file_makes_room(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.touch()
    os.truncate(path, LARGEST_FILE + 1)
    fed(ServerLog(path, None), b"first\n", b"second\n")

    assert path.read_text() == "second\n"
    assert (tmp_path / "server.log.1").stat().st_size == LARGEST_FILE + 1 + len("first\n")


def test_what_cannot_be_written_is_still_read(tmp_path: Path) -> None:
    assert fed(ServerLog(tmp_path, None), b"a\n", b"b\n") == ["a", "b"]
    assert fed(ServerLog(Path("/dev/full"), None), b"a\n") == ["a"]


@given(
    st.lists(st.sampled_from([b"sek", b"ret", b"sekret", b"\n", b"\r", b"x", b"\xff"]), max_size=30)
)
def test_no_cut_lets_a_key_through(pieces: list[bytes]) -> None:
    lines = fed(ServerLog(Path("/dev/null"), "sekret"), *pieces)

    assert not any("sekret" in line for line in lines)
    assert lines == fed(ServerLog(Path("/dev/null"), "sekret"), b"".join(pieces))


def test_a_cut_line_holds_no_part_of_a_key(tmp_path: Path) -> None:
    key = "k" * 20 + "e" * 20
    (line,) = ServerLog(tmp_path / "log", key).feed(
        b"x" * (LONGEST_LINE - 39) + key.encode() + b"x"
    )

    assert "k" not in line.removesuffix(" [line cut]")


def test_the_next_run_loses_no_line_to_a_cut_one_of_the_last(tmp_path: Path) -> None:
    """The same log serves every run until a restart that was asked for."""
    log = ServerLog(tmp_path / "log", None)
    fed(log, b"x" * (2 * LONGEST_LINE))

    assert fed(log, b"first\nsecond\n") == ["first", "second"]
