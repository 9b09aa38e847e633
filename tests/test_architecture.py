"""The layers: the core is pure, and what stays for weeks imports little."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[1] / "launcher"
CHECKS = {f"checks.{path.stem}" for path in (LAUNCHER / "checks").glob("[!_]*.py")} | {"checks"}
JUDGING = {"address", "facts", "fixscript", "kernelwords", "nccl", "proof", "report"} | CHECKS
KNOWING = {f"knowledge.{path.stem}" for path in (LAUNCHER / "knowledge").glob("[!_]*.py")} | {"knowledge"}
LINTING = {"advisories", "concerns", "faults", "meanings", "shelltext"}
RESOLVING = {"capacity", "catalogue", "evidence", "fit", "recipe", "spelling", "target", "traits"} | LINTING
DYING = {"deathlog", "diagnose", "signatures", "unwrap", "witness"}
CORE = (
    {"errors", "events", "flow", "lifecycle", "plan", "policy", "printable", "startlog"}
    | DYING
    | KNOWING
    | JUDGING
    | RESOLVING
)
ALSO = {  # data files
    "events": {"signal"},
    "catalogue": {"pathlib"},
    "signatures": {"pathlib"},
    "knowledge.models": {"pathlib"},
    "knowledge.xid": {"pathlib"},
    "knowledge.drivers": {"pathlib", "tomllib"},
}
PURE = {
    "__future__",
    "collections",
    "dataclasses",
    "difflib",
    "enum",
    "functools",
    "inspect",
    "ipaddress",
    "json",
    "math",
    "re",
    "shlex",
    "statistics",
    "tomllib",
    "types",
    "typing",
}


def source(module: str) -> Path:
    """The file of a module, `checks` being a package."""
    path = LAUNCHER / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(module: str) -> set[str]:
    """The modules that a module imports when it is imported itself: `launcher.x` as `.x`."""
    found = set()
    for node in ast.parse(source(module).read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module == "launcher":
            found |= {f".{name.name}" for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            package, _, rest = node.module.partition(".")
            names = {f".{rest}.{name.name}" for name in node.names}
            modules = {name for name in names if source(name[1:]).exists()}
            found |= (modules or {f".{rest}"}) if package == "launcher" else {package}
        elif isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
    return found


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_knows_only_the_core(module: str) -> None:
    names = ALSO.get(module, set())
    assert imported(module) <= PURE | names | {f".{name}" for name in CORE}


def test_what_stays_imports_the_standard_library_alone() -> None:
    todo, seen = ["supervise"], set()
    while todo:
        module = todo.pop()
        seen.add(module)
        names = imported(module)
        assert {name for name in names if not name.startswith(".")} <= sys.stdlib_module_names, module
        todo += [n[1:] for n in names if n.startswith(".") and source(n[1:]).exists() and n[1:] not in seen]

    assert {"lifecycle", "serve.peer"} <= seen
    assert "profile" not in seen
