"""No test waits for ever: what may wait says for how long, or on its line why it need not (`# no
bound: ...`). None gives up early, either: a busy machine is slow (`# short: ...` says what else).
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TESTS

HERE = TESTS
# what hangs on purpose: whoever starts them ends them
HANGS = (
    "rig/stub",
    "rig/sabotage",
    "rig/hostile.py",
    "rig/listener.py",
    "rig/births.py",
)
REASON = re.compile(r"# no bound: \w")
SHORT = 20.0  # seconds; less is a measure of how busy a machine is
WHY_SHORT = re.compile(r"# short: \w")


def has_timeout(call: ast.Call) -> bool:
    return any(word.arg == "timeout" for word in call.keywords)


def has_argument(call: ast.Call) -> bool:
    return bool(call.args) or has_timeout(call)


def never(call: ast.Call) -> bool:
    return False


BOUNDED: dict[str, Callable[[ast.Call], bool]] = {  # what may wait for ever, unless
    **dict.fromkeys(("communicate", "urlopen", "as_completed"), has_timeout),
    **dict.fromkeys(
        ("subprocess.run", "subprocess.check_output", "subprocess.check_call"), has_timeout
    ),
    **dict.fromkeys(("requests.get", "requests.post", "requests.request"), has_timeout),
    **dict.fromkeys(("wait", "join", "result", "exception", "acquire"), has_argument),
    **dict.fromkeys(
        ("os.waitpid", "os.wait", "os.read", "signal.pause", "signal.sigwait", "input"), never
    ),
    **dict.fromkeys(("readline", "stdout.read", "stderr.read"), never),
    "socket.create_connection": lambda call: len(call.args) == 2 or has_timeout(call),
    "select.select": lambda call: len(call.args) == 4,
    "fcntl.flock": lambda call: "LOCK_NB" in ast.unparse(call) or "LOCK_UN" in ast.unparse(call),
}
SOCKET = ("accept", "connect", "recv", "recvmsg")  # bounded where the same function sets a time-out
IMPORTS = ("queue", "multiprocessing")  # their get() looks like any other


def waits(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each thing in it that may wait for ever and does not say why."""
    lines = source.splitlines()
    for node, what in suspects(ast.parse(source)):
        if not REASON.search(lines[node.lineno - 1]):
            yield node.lineno, what


def suspects(tree: ast.Module) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
    timed = {
        call for function in ast.walk(tree) if sets_timeout(function) for call in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            rule = next(
                (rule for end, rule in BOUNDED.items() if f".{name}".endswith(f".{end}")), None
            )
            if (rule and not rule(node)) or (
                name.rpartition(".")[2] in SOCKET and node not in timed
            ):
                yield node, f"{name}()"
        elif isinstance(node, ast.withitem) and "Popen(" in ast.unparse(node.context_expr):
            yield node.context_expr, "with Popen(): its end waits for the process"
        elif isinstance(node, ast.For) and ast.unparse(node.iter).endswith(("stdout", "stderr")):
            yield node, "for line in a pipe"
        elif isinstance(node, ast.While) and isinstance(node.test, ast.Constant):
            yield node, "while True"
        elif isinstance(node, ast.Import) and any(name.name in IMPORTS for name in node.names):
            yield node, "import of what waits"


def short(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each wait in it that gives up early and does not say why."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and any(map(is_short, bounds(node))):
            said = " ".join(lines[node.lineno - 1 : node.end_lineno])
            if not WHY_SHORT.search(said):
                yield node.lineno, ast.unparse(node.func)


def bounds(call: ast.Call) -> Iterator[ast.expr]:
    """What says for how long a call waits."""
    name = ast.unparse(call.func).rpartition(".")[2]
    called = ("timeout", "within") if name in ("until", "next_line") else ("timeout",)
    yield from (word.value for word in call.keywords if word.arg in called)
    if name in ("wait", "join", "settimeout", "result", "exception"):
        yield from call.args[:1]
    elif name == "until":
        yield from call.args[2:3]


def is_short(bound: ast.expr) -> bool:
    number = bound.value if isinstance(bound, ast.Constant) else None
    return isinstance(number, int | float) and 0 < number < SHORT


def sets_timeout(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and bool(
        re.search(r"\.(settimeout\([^)N]|setblocking\(False)", ast.unparse(node))
    )


@pytest.mark.parametrize(
    "path", sorted(HERE.rglob("*.py")), ids=lambda path: str(path.relative_to(HERE))
)
def test_whatever_may_wait_says_for_how_long(path: Path) -> None:
    if str(path.relative_to(HERE)).startswith(HANGS):
        return
    found = [f"{path.name}:{line}: {what}" for line, what in waits(path.read_text())]
    assert not found, "give it a timeout, or say `# no bound: why` on its line"


@pytest.mark.parametrize(
    "path", sorted(HERE.rglob("*.py")), ids=lambda path: str(path.relative_to(HERE))
)
def test_whatever_waits_gives_a_busy_machine_its_time(path: Path) -> None:
    found = [f"{path.name}:{line}: {what}" for line, what in short(path.read_text())]
    assert not found, f"give it {SHORT:g} s or more, or say `# short: why` on its line"


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['true'], timeout=5)",
        "process.wait(1)",
        "thread.join(0.5)",
        "until(lambda: True, 'it is so', 5)",
        "client.settimeout(1)",
    ],
)
def test_a_wait_that_gives_up_early_is_found(line: str) -> None:
    assert len(list(short(line))) == 1
    assert not list(short(f"{line}  # short: it is to give up"))
    assert not list(short(re.sub(r"[\d.]+\)", "60)", line)))


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['true'])",
        "process.communicate()",
        "process.wait()",
        "thread.join()",
        "future.result()",
        "with subprocess.Popen(['x']) as child: pass",
        "for line in child.stdout: pass",
        "child.stdout.readline()",
        "child.stdout.read()",
        "while True: pass",
        "os.waitpid(pid, 0)",
        "os.read(terminal, 9)",
        "client.recv(9)",
        "requests.get(url)",
        "select.select([fd], [], [])",
        "fcntl.flock(fd, fcntl.LOCK_EX)",
        "import queue",
    ],
)
def test_a_wait_without_a_bound_is_found(line: str) -> None:
    assert len(list(waits(line))) == 1
    assert not list(waits(f"{line}  # no bound: it is there"))


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['true'], timeout=1)",
        "process.communicate(timeout=1)",
        "process.wait(1)",
        "'-'.join(words)",
        "thread.join(1)",
        "gpus.get()",
        "with running('x') as child: pass",
        "for line in text.splitlines(): pass",
        "def f(client):\n client.settimeout(1)\n client.recv(9)",
        "select.select([fd], [], [], 1)",
    ],
)
def test_what_says_for_how_long_is_left_alone(line: str) -> None:
    assert not list(waits(line))


def ran(path: Path, text: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest over one file, under what tests/conftest.py says."""
    path.write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        *words,
        path,
    ]
    keep = {name: value for name, value in os.environ.items() if name != "NO_SKIP"}
    environ |= {"PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, env=keep | environ, cwd=path.parent, text=True, capture_output=True, timeout=60
    )


@pytest.mark.parametrize(
    "beside", [(), ("-n", "1", "--dist", "worksteal")], ids=["alone", "beside others"]
)
def test_where_nothing_may_be_skipped_a_skip_fails(tmp_path: Path, beside: tuple[str, ...]) -> None:
    text = "import pytest\ndef test_it(): pytest.skip('no such tool')"

    assert ran(tmp_path / "test_skip.py", text, *beside).returncode == 0
    refused = ran(tmp_path / "test_skip.py", text, *beside, NO_SKIP="1")
    assert refused.returncode == 1
    assert "may not be skipped here: Skipped: no such tool" in refused.stdout


def test_a_test_that_hangs_is_failed_and_the_next_one_runs(tmp_path: Path) -> None:
    text = """
import subprocess
def test_it():
    with subprocess.Popen(["sleep", "50"]) as child:
        try:
            child.wait()
        finally:
            child.kill()
def test_next(): pass
"""
    done = ran(tmp_path / "test_hang.py", text, "-o", "timeout=1", "-o", "timeout_method=signal")

    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "Timeout (>1.0s) from pytest-timeout" in done.stdout
