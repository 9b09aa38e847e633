"""What people read is in the words of their trade: fix and not mend, complete and not whole."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

PLAIN = {
    r"mend(?:s|ed|ing)?": "fix",
    r"\d+ well|of \d+ well": "ok",
    r"(?:is|are) (?:not )?whole(?! number)": "complete",
    r"patience": "timeout",
    r"anew": "again",
    r"without a word": "silently, unexpectedly",
    r"last words": "last lines",
    r"in so many words": "explicitly",
    r"sensible": "usable",
    r"sane": "correct",
    r"no software cures": "hardware limit",
    r"several could be meant": "more than one",
    r"nobody pasted": "not provided",
    r"nothing was ever up": "not yet",
    r"no figures|figures are \d+": "metrics",
}
ODD = re.compile(rf"(?<![\w-])(?:{'|'.join(PLAIN)})\b", re.IGNORECASE)
LAUNCHER = ROOT / "launcher"
PRINTED = ("cli", "doctor/checks")  # folders whose commands and checks print their docstrings
TREES = (ast.Module, ast.ClassDef, ast.FunctionDef)
NAMES = re.compile(r"[\w.-]*")  # of an option, a file, an id: not ours to choose, or no sentence


def sentences(path: Path) -> Iterator[str]:
    """What a file may have said to somebody."""
    if path.suffix == ".py":
        yield from of_program(ast.parse(path.read_text()), is_printed(path))
    elif path.suffix == ".toml":
        yield from of_table(tomllib.loads(path.read_text()))
    elif path.suffix == ".yml":
        yield from of_table(yaml.safe_load(path.read_text()))
    else:
        yield from path.read_text().splitlines()


def is_printed(path: Path) -> bool:
    return path.is_relative_to(LAUNCHER) and str(path.relative_to(LAUNCHER)).startswith(PRINTED)


def of_program(tree: ast.Module, is_printed: bool) -> Iterator[str]:
    documented = [
        node for node in ast.walk(tree) if isinstance(node, TREES) and has_docstring(node)
    ]
    shown = [node for node in documented if is_printed and getattr(node, "decorator_list", None)]
    hidden = {id(node.body[0].value) for node in documented if node not in shown}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in hidden
        ):
            yield node.value


def has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> bool:
    return ast.get_docstring(node) is not None


def of_table(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from of_table(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from of_table(inner)
    elif isinstance(value, str):
        yield value


FILES = (
    *(path for path in LAUNCHER.rglob("*.py") if "demo" not in path.parts),
    *LAUNCHER.rglob("*.toml"),
    *(ROOT / "profiles").glob("*.toml"),
    *(ROOT / "systemd").iterdir(),
    *(ROOT / "monitoring").glob("alerts.yml"),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "README.md",
)


def test_what_people_read_has_no_odd_words() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {text[max(0, odd.start() - 30) : odd.end() + 30]!r}"
        for path in FILES
        for text in sentences(path)
        if not NAMES.fullmatch(text)
        for odd in ODD.finditer(text)
    }

    assert not found, f"say it plainly: {PLAIN}"


@pytest.mark.parametrize(
    "text",
    [
        "9 of 12 well",
        "12 well",
        "keeps files that are whole",
        "the patience of that phase",
        "it was mended",
        "nothing was ever up",
        "figures are 12 s old",
    ],
)
def test_an_odd_word_is_found(text: str) -> None:
    assert ODD.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "wanted a whole number",
        "is no whole number",
        "give it the whole command",
        "recommend",
        "as well",
        "amendments, sanely",
        "published figures",
    ],
)
def test_a_plain_word_is_none(text: str) -> None:
    assert not ODD.search(text)
