"""What nests a hundred thousand levels deep is bad text like any other: no reader ends in a
RecursionError.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, World

from launcher import nesting
from launcher.errors import Exit

READERS = ("loads", "load", "raw_decode", "literal_eval")
MODULES = ("json", "tomllib", "yaml", "ast", "decoder")
# The names of errors among which a RecursionError is.
GUARDS = ("RecursionError", "NO_ANSWER", "SILENCE", "Exception")
# Those that need no guard of their own, each with its reason.
FINE = {
    # what an engine answers: `SILENCE` and `NO_ANSWER` are caught by who has asked
    "engines/sglang/api.py": "first_token",
    "engines/sglang/figures.py": "published",
    "engines/vllm/api.py": "_token",
    "serve/smoke.py": "tool_call chat stream",
    # our own files, or what this program has just written
    "config/layers.py": "aliases _aliases",
    "knowledge/rows.py": "parsed",
    "engines/options.py": "data _data",
    "engines/vllm/counterparts.py": "_table",
    "operate/demo_engine.py": "recipes",
    "operate/demo.py": "ask",
    "operate/bench_files.py": "line _line",
    "serve/readahead_child.py": "main",
    # whose text was judged just before
    "gateway/manifest.py": "urls",
}


def readings(tree: ast.AST, guarded: bool = False, within: str = "") -> Iterator[tuple[str, int]]:
    """The function and the line of each call of a reader that nothing guards."""
    for node in ast.iter_child_nodes(tree):
        name = node.name if isinstance(node, ast.FunctionDef) else within
        safe = guarded and not isinstance(node, ast.FunctionDef)
        match node:
            case ast.Try(body, handlers, orelse, final):
                names = " ".join(ast.unparse(one.type) for one in handlers if one.type)
                held = guarded or any(guard in names for guard in GUARDS)
                yield from readings(ast.Module(body, []), held, name)
                rest: list[ast.stmt] = [*(line for one in handlers for line in one.body)]
                yield from readings(ast.Module([*rest, *orelse, *final], []), guarded, name)
                continue
            case ast.With(items):
                said = " ".join(ast.unparse(one) for one in items if "suppress" in ast.unparse(one))
                safe = safe or any(guard in said for guard in GUARDS)
            case ast.Attribute(ast.Name(module), attr) if module in MODULES and attr in READERS:
                if not guarded:
                    yield name, node.lineno
        yield from readings(node, safe, name)


def unguarded() -> list[str]:
    found = []
    for path in sorted((ROOT / "launcher").rglob("*.py")):
        name = str(path.relative_to(ROOT / "launcher"))
        for function, line in readings(ast.parse(path.read_text())):
            if function not in FINE.get(name, "").split():
                found.append(f"{name}:{line} {function}")
    return found


def test_no_reader_of_json_or_toml_forgets_depth() -> None:
    """`nesting.of_json` and `reading.parsed` are such readers, or RecursionError is caught."""
    assert unguarded() == []


def test_the_law_sees_a_reader_without_a_guard() -> None:
    text = "def f(x):\n try:\n  json.loads(x)\n except ValueError:\n  pass\n"
    assert list(readings(ast.parse(text))) == [("f", 3)]
    assert not list(readings(ast.parse(text.replace("ValueError", "(ValueError, RecursionError)"))))


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, b"[" * 200_000])
def test_depth_is_an_error_of_the_text(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="it nests too deep"):
        nesting.of_json(text)
    with pytest.raises(ValueError, match="it nests too deep"):
        nesting.of_json("[" * 101 + "]" * 101)
    assert nesting.of_json("[" * 100 + "]" * 100)
    assert len(nesting.of_json("[" + "{}," * 9999 + "{}]")) == 10_000
    assert nesting.of_json('{"a": [1]}') == {"a": [1]}


FILES = ("plan.json", "state.json", "readings.json", "starts.json", "events.jsonl")
COMMANDS = (
    "status -p stub --json",
    "events -p stub",
    "events -p stub --starts",
    "metrics",
    "top -p stub --once",
    "bundle -p stub -o made.tar.gz",
    "down -p stub",
)


def deep(form: str, levels: int) -> str:
    opened, closed = ("[", "]") if form == "list" else ('{"a":', "}")
    return opened * levels + "1" + closed * levels


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("form", ["list", "table"])
def test_no_file_of_an_instance_ends_a_command_with_a_bug(
    world: World, file: str, form: str
) -> None:
    """Neither one that cannot be read at all, nor one that just can."""
    assert world.run("up", "-p", "stub", "-d").returncode == Exit.FINE
    assert world.run("down", "-p", "stub").returncode == Exit.FINE
    path = world.instance / file
    if not path.exists():
        path.write_text("{}\n")
    kept = path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text()
    for text in (deep(form, 200_000), within(kept, deep(form, 900))):
        for words in COMMANDS:
            path.write_text(text + "\n")
            done = world.run(*words.split())
            assert done.returncode in (0, 1, 78), (words, done.stderr[-600:])
            assert "RecursionError" not in done.stdout + done.stderr, words


def within(kept: str, text: str) -> str:
    """A good record, in which one part is deep."""
    told = json.loads(kept)
    return (
        json.dumps(told | {"odd": 1})[:-1]
        + f', "words": {text}, "smoke": {text}, "fields": {text}'
        + "}"
    )


def test_no_profile_ends_a_command_with_a_bug(world: World, tmp_path: Path) -> None:
    for levels in (900, 100_000):
        for text in (f"x = {'[' * levels}{']' * levels}", f"x = {'{a=' * levels}1{'}' * levels}"):
            for head in ("", "[env]\n", "[flags]\n", "[smoke]\n"):
                path = tmp_path / "p.toml"
                path.write_text(head + text + "\n")
                for words in ("render -p", "profiles validate"):
                    done = world.run(*words.split(), str(path))
                    assert done.returncode in (0, 1, 2, 78), (words, levels, done.stderr[-600:])
                    assert "RecursionError" not in done.stdout + done.stderr
