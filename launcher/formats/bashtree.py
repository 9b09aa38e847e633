"""Questions to the parts of a shell script, whose answer hangs on no variable."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.formats.grammar import Node, parsed

MOST_READS = 5  # of one script
_SIGN = re.compile(r"(?<!\S)=[=~]")


def read(source: str) -> tuple[Node, bool, str]:
    """The tree of an ASCII text, whether it is all of it, and the text as it was read: where `==`
    or `=~` is a word of a command, as in `test a == b`, other letters stand for it, for the grammar
    knows it as a sign alone.
    """
    root, is_whole = parsed(source)
    for _ in range(MOST_READS):
        if not _SIGN.search(source) or not (found := [*_signs(root)]):
            break
        letters = bytearray(source, "ascii")
        for at in found:
            letters[at : at + 2] = b"xx"
        source = letters.decode("ascii")
        root, is_whole = parsed(source)
    return root, is_whole, source


def _signs(root: Node) -> Iterator[int]:
    """Where such a sign compares nothing."""
    left = [root]
    while left:
        node = left.pop()
        left += node.children
        if node.type in ("command", "ERROR"):
            yield from (one.start_byte for one in node.children if one.type in ("==", "=~"))


def is_test(node: Node) -> bool:
    """Whether commands begin with a test, `[ ... ] && A=1`: what follows may not be run."""
    while node.type in ("list", "negated_command") and node.named_children:
        node = node.named_children[0]
    return node.type == "test_command"


def descendant(node: Node, kind: str) -> Node | None:
    """The first part of a kind, also where a here document holds it."""
    for child in node.named_children:
        if child.type == kind:
            return child
        if child.type == "heredoc_redirect" and (found := descendant(child, kind)):
            return found
    return None


def redirects(node: Node) -> Iterator[Node]:
    """The files that a command is redirected to or from."""
    for child in node.named_children:
        if child.type == "file_redirect":
            yield child
        elif child.type == "heredoc_redirect":
            yield from redirects(child)


def writes(redirect: Node) -> bool:
    """Whether what a command prints goes there."""
    return any(child.type in (">", ">>", ">|", "&>") for child in redirect.children)


def writes_file(command: str) -> bool:
    """Whether a command writes its input to a file."""
    return re.match(r"(?:sudo )?tee\b", command) is not None


def first_error(node: Node) -> Node | None:
    """The first part that bash does not understand, however deep it is."""
    left = [node]
    while left:
        node = left.pop()
        if node.type == "ERROR" or node.is_missing:
            return node
        left += [child for child in reversed(node.children) if child.has_error]
    return None
