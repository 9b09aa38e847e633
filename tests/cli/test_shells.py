"""Completion in bash, zsh and fish themselves, each on a terminal of its own: the key is pressed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import GLM5_SERVE, PATIENCE, World, running

# The words that start each without its owner's settings, and what reads the script there.
SHELLS = {
    "bash": (("bash", "--norc", "--noprofile", "-i"), "source {}"),
    "zsh": (("zsh", "-f", "-i"), "autoload -Uz compinit; compinit -u; source {}"),
    "fish": (("fish", "--no-config", "-i"), "source {}"),
}


class Terminal:
    """A shell on a terminal, and what it has printed so far."""

    def __init__(self, fd: int) -> None:
        self.fd, self.said = fd, ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, wanted: str) -> None:
        end = time.monotonic() + PATIENCE
        while wanted not in self.said:
            readable, _, _ = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))
            assert readable, f"no {wanted!r} in {self.said!r}"
            self.said += os.read(self.fd, 4096).decode(errors="replace")  # no bound: it is there


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, world: World) -> Iterator[Terminal]:
    """A shell that has read what `completion` printed."""
    words, read = SHELLS[request.param]
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]} here: `apt install {words[0]}`")
    script = world.folder / "script"
    script.write_text(world.run("completion", request.param).stdout)
    ours, theirs = pty.openpty()
    path = f"{Path(GLM5_SERVE).parent}:{world.environ['PATH']}"
    environ = world.environ | {"PATH": path, "TERM": "xterm", "COLUMNS": "120"}
    owning = ("setsid", "--ctty", *words)  # fish wants the terminal to be its own
    with running(
        *owning, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=world.folder
    ):
        os.close(theirs)
        made = Terminal(ours)
        made.type(f"{read.format(script)}; echo re'a'd\n")
        made.until("read\r\n")
        yield made
    os.close(ours)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("glm5-serve diag", "diagnose"),
        ("glm5-serve render 8xb300-glm52-v", "8xb300-glm52-vllm"),
        ("glm5-serve up --set flags.max-num-se", "flags.max-num-seqs="),
    ],
)
def test_a_word_is_completed(terminal: Terminal, typed: str, completed: str) -> None:
    terminal.type(f"{typed}\t")
    rest = completed.removeprefix(typed.split()[-1])
    terminal.said = ""
    terminal.until(rest)
