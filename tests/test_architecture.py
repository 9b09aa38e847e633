"""import-linter holds the layers (`.importlinter`); here is what it cannot see: what is loaded by
running.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from conftest import TESTS
from rig import healthy

from launcher.host import facts_json


def test_what_stays_for_weeks_loads_the_standard_library_alone() -> None:
    code = (
        "import sys; before = {*sys.modules}; import launcher.supervise; print(*({*sys.modules} -"
        " before))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in told.stdout.split()}

    assert "launcher" in loaded
    assert loaded - {"launcher"} <= sys.stdlib_module_names
    assert not [
        name for name in told.stdout.split() if name.startswith(("launcher.config", "launcher.cli"))
    ]


PURE = """
import importlib.abc, json, sys
class Closed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("resource", "subprocess", "psutil", "pynvml", "rich") or name.startswith(
            ("launcher.host.observe", "launcher.host.collectors", "launcher.operate", "launcher.serve")
        ):
            raise ImportError(f"{name} is closed here")
sys.meta_path.insert(0, Closed())
from launcher.capacity import estimate, memory
from launcher.diagnose.text import diagnose_text
from launcher.doctor.checks import judge as judge_host
from launcher.doctor.run import of_host
from launcher.engines.target import Target
from launcher.host import facts_json
from launcher.host.facts import Host
from launcher.knowledge.shape import shape
from launcher.lint.run import judge
launch, log, facts = json.load(sys.stdin)
judged = judge(launch, Target("0.5.23", "sm120"))
found = diagnose_text(log.splitlines())
seen = of_host(facts_json.loads(facts, "facts"), "8xpro6000", (), {"HOME": "/nowhere"})
findings = judge_host(seen.host, seen.plan)
sizes = shape(memory.named("zai-org/GLM-5"))
weights = memory.from_shape(sizes, memory.PRECISIONS["nvfp4"])
fit = estimate.fit(seen.plan, sizes, weights, Host(), 96 << 30)
print(len(judged.releases["0.5.23"]), found.cause, len(findings), fit.fits)
"""


def test_judgements_take_text_and_give_data_without_a_host_around_them() -> None:
    """As they would in a browser, or in another program."""
    launch = (TESTS / "golden/card-0.5.23.sh").read_text()
    log = "ModuleNotFoundError: No module named 'flashinfer'"
    facts = json.dumps(facts_json.to_json(healthy.host()))
    told = subprocess.run(
        [sys.executable, "-c", PURE],
        input=json.dumps([launch, log, facts]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert told.returncode == 0, told.stderr
    entries, cause, findings, fits = told.stdout.split()
    assert (int(entries) > 20, cause, int(findings) > 100, fits) == (
        True,
        "module-missing",
        True,
        "True",
    )


LAUNCHER = Path(__file__).parents[1] / "launcher"
# Where what comes and goes is JSON as it lies there.
PLAIN = {LAUNCHER / "files/reading.py", LAUNCHER / "host/facts_json.py"}


def public(node: ast.AST) -> Iterator[ast.FunctionDef]:
    """The functions of a module that others call, those of its classes too."""
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
        if not named or child.name.startswith("_"):
            continue
        if isinstance(child, ast.FunctionDef):
            yield child
        else:
            yield from public(child)


def test_what_a_function_gives_has_a_type_of_its_own() -> None:
    """A dictionary of anything is for JSON alone: `to_json` makes it, children print it."""
    given = [
        f"{path.relative_to(LAUNCHER)}: {function.name}"
        for path in sorted(LAUNCHER.rglob("*.py"))
        if path not in PLAIN and not path.name.endswith("_child.py")
        for function in public(ast.parse(path.read_text()))
        if function.name != "to_json"
        and function.returns
        and "dict[str, Any]" in ast.unparse(function.returns)
    ]

    assert given == []
