"""Ctrl-C at any moment of a command, its imports included, ends it with 130 and no word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GLM5_SERVE, PATIENCE, World

# Sends itself SIGINT when the nth module is looked for after the command began.
AT_IMPORT = """
import importlib.abc, os, signal, sys
import launcher.__main__

class AtImport(importlib.abc.MetaPathFinder):
    left = int(sys.argv.pop(1))
    def find_spec(self, name, path=None, target=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, AtImport())
launcher.__main__.main()
"""
COMMANDS = (
    ("status",),
    ("profiles",),
    ("render", "-p", "8xpro6000"),
    ("doctor", "-p", "stub"),
    ("up", "-p", "stub", "--detach"),
    ("lint", "no-such-file"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_it_is_quiet_at_every_import(world: World, words: tuple[str, ...]) -> None:
    """Some of those that a command makes, and of one the first, which all commands have alike."""
    met = set()
    for number in (*((1, 2, 3, 5, 8) if words == COMMANDS[0] else ()), 20, 60, 150, 300):
        done = subprocess.run(
            [sys.executable, "-c", AT_IMPORT, str(number), *words],
            env=world.environ, cwd=world.folder, timeout=PATIENCE, check=False,
            capture_output=True, text=True,
        )  # fmt: skip

        met.add(done.returncode)
        assert "Traceback" not in done.stderr, number
        if done.returncode == 130:
            assert not done.stderr.startswith("error"), number
        world.until_nothing_is_left()
    assert 130 in met
    assert met <= {0, 1, 2, 78, 130}, "it had been done before so many imports"


def test_nothing_of_ours_stands_outside_of_what_is_quiet() -> None:
    """What is imported before `main` is entered is Python's own: the program that pip writes
    imports this module alone.
    """
    before = "import sys; had = {*sys.modules}; import launcher.__main__; "
    shown = f"{before}print(*sorted({{*sys.modules}} - had))"
    done = subprocess.run(
        [sys.executable, "-c", shown], timeout=PATIENCE, check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == ["launcher", "launcher.__main__"]
    assert "from launcher.__main__ import main" in Path(GLM5_SERVE).read_text()
