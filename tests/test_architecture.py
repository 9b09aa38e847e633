"""import-linter holds the layers (`.importlinter`); here is what it cannot see: what is loaded by
running.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from conftest import TESTS, World
from rig import healthy

from launcher.config.profile import Stalls
from launcher.engines.engine import NAMES, dialect, failures, log, runtime
from launcher.engines.log import PHASES
from launcher.formats.reading import read
from launcher.host import facts_json
from launcher.host.facts import Model
from launcher.plan.plan import ENGINE
from launcher.plan.policy import StallTimeouts

SCRIPTS = ("bench", "playground", "scripts", "tests", "tests/rig")  # each is first in its path


def test_what_stays_for_weeks_loads_the_standard_library_alone() -> None:
    code = (
        "import sys; before = {*sys.modules}; import launcher.supervise; from"
        " launcher.engines.engine import NAMES, runtime; [runtime(name) for name in NAMES];"
        " print(*({*sys.modules} - before))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in told.stdout.split()}

    assert "launcher" in loaded
    assert loaded - {"launcher"} <= sys.stdlib_module_names
    assert not [
        name
        for name in told.stdout.split()
        if name.startswith(
            ("launcher.config", "launcher.cli", "launcher.engines.options", "tomllib")
        )
    ]


def test_no_script_hides_a_module_of_python_from_those_beside_it() -> None:
    scripts = [file for folder in SCRIPTS for file in (TESTS.parent / folder).glob("*.py")]

    assert len(scripts) > 30
    assert not [file for file in scripts if file.stem in sys.stdlib_module_names]


PURE = """
import importlib.abc, json, os, sys
for name in ("geteuid", "getuid", "getpwuid", "memfd_create", "sched_getaffinity"):
    vars(os).pop(name, None)
ABSENT = "resource pwd grp subprocess psutil pynvml click rich requests huggingface_hub".split()
HOST = "launcher.host.observe", "launcher.host.collectors", "launcher.operate", "launcher.serve"
class Closed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT or name.startswith(HOST):
            raise ImportError(f"{name} is closed here")
sys.meta_path.insert(0, Closed())
from launcher.api import texts
launch, log, facts = json.load(sys.stdin)
host = {"facts": facts.encode()}
print(json.dumps([
    texts.lint(launch, release="0.5.23", gpu="sm120"), texts.diagnose(log.encode()),
    texts.doctor(host), texts.fit(host), texts.kind(launch.encode()), texts.shareable(launch),
]))
"""


def test_judgements_take_text_and_give_data_without_a_host_around_them(world: World) -> None:
    """As they would in a browser, where half of these modules are not to be had; and the command
    line says the same.
    """
    launch = (TESTS / "golden/card-0.5.23.sh").read_text()
    log = "ModuleNotFoundError: No module named 'flashinfer'"
    facts = json.dumps(facts_json.to_json(replace(healthy.host(), model=Model())))
    told = subprocess.run(
        [sys.executable, "-c", PURE],
        input=json.dumps([launch, log, facts]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert told.returncode == 0, told.stderr
    linted, died, judged, fits, kind, shared = json.loads(told.stdout)
    for name, text in (("launch", launch), ("log", log), ("facts", facts)):
        (world.folder / name).write_text(text)
    said = [
        json.loads(world.run(*words.split(), "--json").stdout)
        for words in (
            "lint launch --release 0.5.23 --gpu sm120",
            "diagnose log",
            "doctor --facts facts",
            "fit --facts facts",
        )
    ]
    assert [linted, died, judged, fits] == said
    assert died["cause"] == "module-missing"
    assert (kind, shared) == ("lint", launch)


LAUNCHER = Path(__file__).parents[1] / "launcher"
# Where what comes and goes is JSON as it lies there.
PLAIN = {
    LAUNCHER / "files/reading.py",
    LAUNCHER / "host/facts_json.py",
    *(LAUNCHER / "api").glob("*.py"),
}


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


LONGEST_FILE, LONGEST_FUNCTION = 500, 70  # lines


def test_a_file_or_a_function_is_no_longer_than_a_reader_can_hold() -> None:
    found = []
    for path in sorted(LAUNCHER.rglob("*.py")):
        name, text = path.relative_to(LAUNCHER).as_posix(), path.read_text()
        found += [name] if len(text.splitlines()) > LONGEST_FILE else []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                found += [f"{name}: {node.name}"] if lines > LONGEST_FUNCTION else []

    assert found == []


# Where an engine is named in code all the same, and why: the rest asks its values.
NAMES_IT = {
    "engines/engine.py": "the cases by which their values are found",
    "engines/vllm/counterparts.py": "what the one's options are in the other",
    "plan/plan.py": "what is started where nothing is said",
    "cli/options.py": "an old option that is refused",
    "cli/plan.py": "an old option that is refused",
    "redact/bundle.py": "words before a number that make it no address",
    "host/environment.py": "variables that are no secrets, of whichever engine",
    "host/parsers/__init__.py": "programs whose output people paste",
    "host/parsers/python.py": "programs whose output people paste",
    "host/collectors/engine_child.py": "folders of kernels; it runs without this package",
    "knowledge/nccl.py": "a table: variables that nobody reads, and what is meant",
    "engines/descriptions.py": "a table: what options and variables are for",
    "files/loaded.py": "variables that name libraries, of whichever engine",
    "lint/around.py": "which defaults a published port was held against",
}


def strings(tree: ast.Module) -> Iterator[str]:
    """The strings of a module that are no docstrings."""
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def test_an_engine_is_named_in_its_own_folder() -> None:
    """A second engine is a folder and its cases."""
    found = {
        path.relative_to(LAUNCHER).as_posix()
        for path in LAUNCHER.rglob("*.py")
        for name in NAMES
        if not path.is_relative_to(LAUNCHER / "engines" / name)
        and any(name in text.lower() for text in strings(ast.parse(path.read_text())))
    }

    assert found == set(NAMES_IT)


def test_an_engine_that_is_not_known_is_named_with_those_that_are() -> None:
    assert ENGINE in NAMES
    for found in (log, runtime, dialect):
        with pytest.raises(ValueError, match=f"'odd' is not an engine.*: {', '.join(NAMES)}"):
            found("odd")


@pytest.mark.parametrize("name", NAMES)
def test_the_phases_of_an_engine_are_those_that_everybody_knows(name: str) -> None:
    timeouts = {field.name for field in fields(StallTimeouts)}

    assert {*log(name).phases} <= {*PHASES}
    assert {*PHASES} - {"smoke"} == timeouts == {*Stalls.model_fields}
    assert failures(name).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_what_runs_an_engine_is_what_it_is_recognised_by(name: str) -> None:
    known = dialect(name)
    words = ("--port", "1") if known.positional else ("--model-path", "m")
    text = " ".join(("python3", *known.program, *words))

    assert known.name == runtime(name).name == log(name).name
    assert known.package == runtime(name).package
    [launch] = read(text).launches
    assert (launch.engine, launch.words) == (name, words)
    options = known.options.release(known.options.newest).options
    assert {f"--{name}" for name in (known.config, *known.secrets)} <= {*options}
    assert known.oldest in known.options.releases
