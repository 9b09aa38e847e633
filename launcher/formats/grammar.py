"""Bash's grammar: the one place that knows whose parser it is.

What reads scripts asks a `Node` for no more than tree-sitter's `type`, `start_byte`, `end_byte`,
`start_point`, `children`, `named_children`, `is_named`, `is_missing`, `has_error` and its fields;
where there is no such package (a browser), another module of these two names stands here.
"""

from __future__ import annotations

import time
from functools import cache, lru_cache

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

PATIENCE = 2.0  # seconds of a processor for the parser: a busy host reads no less
SLICE = 8192  # bytes that it gets at once

__all__ = ["Node", "parsed"]


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


@lru_cache(maxsize=8)
def parsed(source: str) -> tuple[Node, bool]:
    """The tree of an ASCII text, and whether it is all of it: what is no script at all can take the
    parser minutes, a script takes it milliseconds.
    """
    end = time.thread_time() + PATIENCE
    parser, raw = _parser(), source.encode("ascii")
    try:
        made = parser.parse(
            lambda at, _: raw[at : at + SLICE],
            progress_callback=lambda *_: time.thread_time() > end,
        )
    except ValueError:
        parser.reset()
        return parser.parse(b"").root_node, False
    return made.root_node, True
