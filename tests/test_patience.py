"""No test waits for ever: what may wait says for how long, or on its line why it need not (`# no bound: ...`)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HANGS = ("rig/stub", "rig/sabotage", "rig/hostile.py")  # what hangs on purpose: whoever starts them ends them
REASON = re.compile(r"# no bound: \w")


def has_timeout(call: ast.Call) -> bool:
    return any(word.arg == "timeout" for word in call.keywords)


def has_argument(call: ast.Call) -> bool:
    return bool(call.args) or has_timeout(call)


def never(call: ast.Call) -> bool:
    return False


BOUNDED: dict[str, Callable[[ast.Call], bool]] = {  # what may wait for ever, unless
    **dict.fromkeys(("communicate", "urlopen", "as_completed"), has_timeout),
    **dict.fromkeys(("subprocess.run", "subprocess.check_output", "subprocess.check_call"), has_timeout),
    **dict.fromkeys(("requests.get", "requests.post", "requests.request"), has_timeout),
    **dict.fromkeys(("wait", "join", "result", "exception", "acquire"), has_argument),
    **dict.fromkeys(("os.waitpid", "os.wait", "os.read", "signal.pause", "signal.sigwait", "input"), never),
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
    timed = {call for function in ast.walk(tree) if sets_timeout(function) for call in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            rule = next((rule for end, rule in BOUNDED.items() if f".{name}".endswith(f".{end}")), None)
            if (rule and not rule(node)) or (name.rpartition(".")[2] in SOCKET and node not in timed):
                yield node, f"{name}()"
        elif isinstance(node, ast.withitem) and "Popen(" in ast.unparse(node.context_expr):
            yield node.context_expr, "with Popen(): its end waits for the process"
        elif isinstance(node, ast.For) and ast.unparse(node.iter).endswith(("stdout", "stderr")):
            yield node, "for line in a pipe"
        elif isinstance(node, ast.While) and isinstance(node.test, ast.Constant):
            yield node, "while True"
        elif isinstance(node, ast.Import) and any(name.name in IMPORTS for name in node.names):
            yield node, "import of what waits"


def sets_timeout(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and bool(
        re.search(r"\.(settimeout\([^)N]|setblocking\(False)", ast.unparse(node))
    )


@pytest.mark.parametrize("path", sorted(HERE.rglob("*.py")), ids=lambda path: str(path.relative_to(HERE)))
def test_whatever_may_wait_says_for_how_long(path: Path) -> None:
    if str(path.relative_to(HERE)).startswith(HANGS):
        return
    found = [f"{path.name}:{line}: {what}" for line, what in waits(path.read_text())]
    assert not found, "give it a timeout, or say `# no bound: why` on its line"


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
