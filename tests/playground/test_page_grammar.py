"""The page's reader of bash's trees (playground/grammar.py) stands for the native one: what reads
scripts asks no more of a node than it has.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import tree_sitter_bash
from conftest import TESTS
from pages import module
from tree_sitter import Language, Parser, Tree

from launcher.api import texts
from launcher.errors import UserError
from launcher.formats import bashtree

FORMS = [path for path in sorted((TESTS / "lint/cases").iterdir()) if path.suffix != ".source"]
SCRIPTS = [TESTS / "golden/card-0.5.23.sh", *FORMS]


def rows(tree: Tree) -> Iterator[list[Any]]:
    """As worker.mjs writes them."""
    cursor, depth = tree.walk(), 0
    while depth >= 0:
        node = cursor.node
        assert node
        bits = node.is_named + 2 * node.is_missing + 4 * node.has_error
        line, name = node.start_point.row, cursor.field_name
        yield [depth, node.type, node.start_byte, node.end_byte, line, bits, name]
        if cursor.goto_first_child():
            depth += 1
            continue
        while depth >= 0 and not cursor.goto_next_sibling():
            depth = depth - 1 if cursor.goto_parent() else -1


@pytest.fixture
def grammar(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    parser = Parser(Language(tree_sitter_bash.language()))

    def parse(text: str) -> str:
        return json.dumps({"rows": [*rows(parser.parse(text.encode()))], "is_whole": True})

    monkeypatch.setitem(sys.modules, "glm5_bash", SimpleNamespace(parse=parse))
    return module("grammar")


def judged(text: str) -> Any:
    try:
        return texts.lint(text, gpu="rtx-pro-6000")
    except UserError as refusal:
        return refusal.what


def test_a_launch_is_read_alike(grammar: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    native = [judged(path.read_text()) for path in SCRIPTS]
    monkeypatch.setattr(bashtree, "parsed", grammar.parsed)

    assert [judged(path.read_text()) for path in SCRIPTS] == native
    assert grammar.parsed.cache_info().misses > 20
