"""Reading what anybody may have put there: regular files up to a limit, and nothing waits."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.files.reading import (
    UnfitError,
    in_words,
    opened,
    parsed,
    read_bytes,
    read_end,
    read_json,
    read_text,
)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def a_loop(path: Path) -> None:
    path.symlink_to(path)


UNFIT: list[tuple[Callable[[Path], object], str]] = [
    (os.mkfifo, "is a FIFO, wanted a regular file"),
    (a_socket, "is a socket, wanted a regular file"),
    (Path.mkdir, "is a folder, wanted a regular file"),
    (lambda path: path.symlink_to("/dev/zero"), "is a device, wanted a regular file"),
    (lambda path: path.symlink_to("/dev/stdin"), "is a "),
    (a_loop, "Too many levels of symbolic links"),
    (lambda path: None, "No such file or directory"),
]


@pytest.mark.parametrize(("put", "why"), UNFIT)
@pytest.mark.parametrize(
    "read", [read_bytes, read_text, read_end, read_json, lambda path, _: opened(path)]
)
def test_what_is_no_file_is_refused_in_words(
    tmp_path: Path, put: Callable[[Path], object], why: str, read: Callable[[Path, int], object]
) -> None:
    put(tmp_path / "it")
    with pytest.raises(OSError, match=why) as refused:
        read(tmp_path / "it", 100)

    assert refused.value.strerror
    assert why in refused.value.strerror


def test_a_name_that_no_file_can_have_is_refused() -> None:
    for name in ("a\0b", "a\ud800b"):
        with pytest.raises(OSError, match=r"has a name that no file can have|No such file"):
            read_bytes(name, 100)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"x" * 100)

    assert read_bytes(path, 100) == b"x" * 100
    with pytest.raises(UnfitError, match="has 100 bytes or more, wanted at most 99 bytes"):
        read_bytes(path, 99)


def test_a_file_without_a_size_is_read_up_to_its_limit_too() -> None:
    assert b"Name:" in read_bytes("/proc/self/status", 1 << 16)
    with pytest.raises(UnfitError, match="wanted at most 9 bytes"):
        read_bytes("/proc/self/status", 9)


@pytest.mark.parametrize("limit", [1 << 10, 4 << 20, 64 << 20])
def test_a_setting_of_the_kernel_is_read_whatever_the_limit(limit: int) -> None:
    path = "/proc/sys/kernel/osrelease"

    assert read_bytes(path, limit).decode().strip() == os.uname().release


def test_a_sparse_giant_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.touch()
    os.truncate(path, 3 << 40)
    for read in (read_bytes, read_text, read_json):
        with pytest.raises(UnfitError, match="has 3072 GiB or more, wanted at most 1 MiB"):
            read(path, 1 << 20)
    assert read_end(path, 1 << 20) == b""


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "it").write_text("x" * 100)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for name in ("fifo", "it", "nothing"):
        with pytest.raises(OSError, match=r"."):
            read_bytes(tmp_path / name, 9)

    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


def test_text_is_utf_8_or_refused(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"\xff")
    with pytest.raises(UnfitError, match="is not text in UTF-8"):
        read_text(tmp_path / "it", 100)
    assert read_text(tmp_path / "it", 100, "replace") == "\ufffd"


@given(st.lists(st.text("ab", max_size=5), max_size=9), st.integers(1, 60))
def test_the_end_of_a_file_is_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], limit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    text = "".join(f"{line}\n" for line in lines)
    path.write_text(text)
    end = read_end(path, limit).decode()

    assert len(end) <= limit
    assert text.endswith(end)
    assert (end or "\n").count("\n") == len((end or "\n").splitlines())
    assert end == text or text[: -len(end) or None].endswith("\n")
    longest = next(
        rest
        for at in range(len(lines) + 1)
        if len(rest := "".join(f"{line}\n" for line in lines[at:])) <= limit
    )
    assert end == longest


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expecting value"),
        ("[" * 2_000_000, "it nests too deep"),
        ('{"a":' * 200_000, "it nests too deep"),
        ("[" + "0," * 12_000_000 + "0]", "it has more than 10,000,000 values"),
        ("[],[]" * 5_000_000, "it has more than 10,000,000 values"),
        ("9" * 100_000, "it has a number of thousands of digits"),
        ("\ud800", "expecting value|codec"),
    ],
)
def test_json_that_cannot_be_held_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parsed(text)


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "it").write_text('{"a": [1, 2.5, null]}')
    assert read_json(tmp_path / "it", 100) == {"a": [1, 2.5, None]}
    (tmp_path / "it").write_text("{")
    with pytest.raises(UnfitError, match="is not usable JSON: expecting"):
        read_json(tmp_path / "it", 100)


# bytes of address space: as many values as are allowed, and the interpreter; most values, and the
# largest of those that are told as several
MOST_MEMORY = 1536 << 20
WORST = """
from launcher.files.reading import parsed
for value, times in ((b"1.5,", 9_999_000), (b'{"a":0},', 3_333_000)):
    assert parsed(b"[" + value * times + b"0]")
"""


def test_the_worst_json_that_is_taken_fits_into_memory() -> None:
    bound = (MOST_MEMORY, MOST_MEMORY)
    done = subprocess.run(
        [sys.executable, "-c", WORST],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, bound),
        timeout=120,
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (1536, "1.5 KiB"), (8 << 20, "8 MiB"), (3 << 30, "3 GiB")]
)
def test_sizes_are_said_in_words(size: int, words: str) -> None:
    assert in_words(size) == words


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("lint", "fifo"), 2, "cannot read fifo: is a FIFO, wanted a regular file"),
        (("lint", "/dev/zero"), 2, "cannot read /dev/zero: is a device, wanted a regular file"),
        (("lint", "."), 2, "cannot read .: is a folder, wanted a regular file"),
        (("lint", "giant"), 78, "no launch of SGLang or vLLM in giant"),
        (("diagnose", "fifo"), 2, "cannot read fifo: is a FIFO, wanted a regular file"),
        (("diagnose", "/dev/zero"), 2, "cannot read /dev/zero: is a device, wanted a regular file"),
        (("model", "model"), 1, "model/config.json: is a FIFO, wanted a regular file"),
        (
            ("doctor", "--from", "many"),
            78,
            "many has 1001 files of 0 bytes, wanted at most 1000 of 64 MiB",
        ),
        (
            ("doctor", "--from", "large"),
            78,
            "large has 11 files of 176 MiB, wanted at most 1000 of 64 MiB",
        ),
    ],
)
def test_a_command_waits_for_no_writer_and_holds_no_giant(
    tmp_path: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    for name in ("model", "many", "large"):
        (tmp_path / name).mkdir()
    for name in ("fifo", "model/config.json"):
        os.mkfifo(tmp_path / name)
    for name in ("giant", *(f"large/{at}" for at in range(11))):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 1 << 40)
    for at in range(1001):
        (tmp_path / "many" / str(at)).touch()
    program = [sys.executable, "-m", "launcher", *words]
    bound = (2 << 30, 2 << 30)
    done = subprocess.run(
        program,
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, bound),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert said in " ".join((done.stdout + done.stderr).split())


def test_what_somebody_pipes_in_himself_is_read() -> None:
    """`lint <(command)`: the shell opened a pipe for it."""
    script = (
        f"{sys.executable} -m launcher lint <(echo python3 -m sglang.launch_server --model-path m"
        " --tp 8) --json"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)

    assert '"form": "shell"' in done.stdout, done.stderr


@pytest.mark.parametrize("command", ["lint -", "diagnose -", "lint /dev/stdin"])
def test_a_closed_standard_input_is_told(command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m launcher {command} <&-"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, "is closed" in done.stderr) == (2, True), done.stderr
