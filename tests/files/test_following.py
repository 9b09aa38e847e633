"""Following a file that is put aside while somebody reads it: every line comes, once and in
order.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher.files import following
from launcher.files.rotation import rotate


def opened() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


@example(
    # more files at each look than are read at one
    [
        ["rotate", "write", "rotate", "write", "rotate"],
        ["write", "rotate", "write", "rotate"],
        ["write", "rotate", "write", "rotate", "write", "rotate"],
    ]
)
@given(rounds=st.lists(st.lists(st.sampled_from(["write", "rotate"]), max_size=6), max_size=8))
def test_no_line_is_lost_or_told_twice(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[str]]
) -> None:
    """Between two looks at it anything may happen that its writer does, but more rotations than
    files are kept.
    """
    path = tmp_path_factory.mktemp("f") / "server.log"
    write(path, "before")
    written: list[str] = []
    todo = iter(rounds)

    def going_on() -> bool:
        kept = 0
        for step in next(todo, ["end"]):
            if step == "end":
                return False
            if step == "write":
                written.append(str(len(written)))
                write(path, written[-1])
            elif path.exists() and kept < 4:
                kept += 1
                rotate(path, 4)
        return True

    told = [line.decode() for line in following.lines(path, following.end_of(path), going_on, 0.0)]

    assert told == written


def test_files_that_were_finished_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    write(path, "x")
    before = opened()
    most = 0
    left = 20

    def going_on() -> bool:
        nonlocal left, most
        if left == 0:
            return False
        left -= 1
        rotate(path, 4)
        write(path, f"line {left}")
        most = max(most, opened() - before)
        return True

    assert len(list(following.lines(path, following.end_of(path), going_on, 0.0))) == 20
    assert most <= 2
    assert opened() == before


def test_a_line_that_is_being_written_is_told_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("")
    pieces = iter(["be", "gin", "ning\nnext", ""])

    def going_on() -> bool:
        with path.open("a") as file:
            file.write(piece := next(pieces))
        return bool(piece)

    told = [line.decode() for line in following.lines(path, following.end_of(path), going_on, 0.0)]
    assert told == ["beginning", "next"]


def test_a_file_that_comes_late_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path.with_name("events.jsonl.1"), "of an earlier launcher")
    end = following.end_of(path)
    steps = iter([True, False])

    def going_on() -> bool:
        write(path, "a")
        return next(steps)

    assert end is None
    assert list(following.lines(path, end, going_on, 0.0)) == [b"a", b"a"]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    os.mkfifo(path)
    with pytest.raises(OSError, match="is a FIFO, wanted a regular file"):
        following.end_of(path)

    assert list(following.lines(path, None, lambda: False, 0.0)) == []
