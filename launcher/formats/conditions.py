"""Whether a test of a shell script holds, by what the script itself says: its own values, the
defaults of its variables, and the arguments that it is not given. Nothing is run: files, programs
and the environment are not asked, and what hangs on them is not known.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from launcher.formats import arithmetic
from launcher.formats.expansion import UNSET, Expansion
from launcher.formats.grammar import Node
from launcher.formats.words import Piece, text_of

LONGEST = 60  # characters of a test that are quoted
MOST_TOKENS = 200  # of a test
_COMPOUND = ("binary_expression", "unary_expression", "parenthesized_expression")
_QUOTED = ("string", "raw_string", "ansi_c_string")
_ARGUMENT = re.compile(r"\$\{?(#|[1-9])\}?")  # of the script itself
_PLAIN = re.compile(r"[\w./:,*?=+-]*")  # a pattern that means the same here as to bash
_COMPARED = re.compile(r"(?<![<>=!])(<=|>=|==|!=|<|>)(?![<>=])")
_SIGNS: dict[str, Callable[[int, int], bool]] = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-gt": operator.gt,
    "-ge": operator.ge,
    "-lt": operator.lt,
    "-le": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Clause:
    """A branch of a decision: whether it is taken where those before it are not, None: that is not
    known; the test in the author's words, and the parts that are its test and what it does.
    """

    holds: bool | None
    said: str
    nodes: tuple[Node, ...]


@dataclass
class Conditions:
    """The tests of one script. `bare`: it is the script itself, which gets no arguments here;
    `changing`: variables that a loop changes while it is looked at once.
    """

    words: Expansion
    bare: bool
    changing: set[str] = field(default_factory=set)

    def holds(self, *nodes: Node) -> bool | None:
        """Whether the last of some commands succeeds; None where the script alone does not say."""
        used, self.words.used = self.words.used, set()
        made = self._of(nodes[-1]) if nodes else None
        names, self.words.used = self.words.used, used
        return None if names & self.changing else made

    def clauses(self, node: Node) -> list[Clause]:
        """The branches of an `if` or a `case`, in their order."""
        return [*(self._of_case(node) if node.type == "case_statement" else self._of_if(node))]

    def said(self, node: Node) -> str:
        """A part of the script on one line, cut where it is long."""
        text = " ".join(self.words.raw(node).split())
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."

    def _of_if(self, node: Node) -> Iterator[Clause]:
        tests: list[Node] = []
        does: list[Node] = []
        others = ("elif_clause", "else_clause")
        is_then = node.type == "else_clause"
        for child in node.children:
            is_then = is_then or child.type == "then"
            if child.is_named and child.type not in others:
                (does if is_then else tests).append(child)
        is_else = node.type == "else_clause"
        said = "else" if is_else else " ".join(map(self.said, tests[-1:]))
        yield Clause(True if is_else else self.holds(*tests), said, (*tests, *does))
        for child in node.named_children:
            if child.type in others:
                yield from self._of_if(child)

    def _of_case(self, node: Node) -> Iterator[Clause]:
        subject = node.child_by_field_name("value")
        used, self.words.used = self.words.used, set()
        text = None if subject is None else self._text(subject, argument=False)
        if self.words.used & self.changing:
            text = None
        self.words.used = used
        for item in node.named_children:
            if item.type != "case_item":
                continue
            patterns = item.children_by_field_name("value")
            alike = [*_together(patterns)]
            falls = any(child.type in (";&", ";;&") for child in item.children)
            each = [None if text is None else self._matches(text, one) for one in alike]
            catches_all = "*" in map(self.words.raw, patterns)
            said = f"case {self.words.raw(subject)} in {'|'.join(map(self.words.raw, patterns))}"
            does = tuple(one for one in item.named_children if one not in patterns)
            holds = True if catches_all and not falls else None if falls else _any(each)
            yield Clause(holds, " ".join(said.split())[:LONGEST], does)

    # -- commands ----------------------------------------------------------------------------------

    def _of(self, node: Node) -> bool | None:
        inner = node.named_children
        match node.type:
            case "test_command":
                is_single = node.children[0].type == "["
                return self._test([*_tokens(node)], splits=is_single)
            case "command":
                return self._command(node)
            case "negated_command" if inner:
                return _not(self._of(inner[-1]))
            case "list" if len(inner) == 2:
                both = [self._of(one) for one in inner]
                is_and = any(child.type == "&&" for child in node.children)
                return _all(both) if is_and else _any(both)
            case "compound_statement" if node.children[0].type == "((":
                return self._sum(self.words.raw(node)[2:-2])
            case "compound_statement" if inner:
                return self._of(inner[-1])
            case "redirected_statement" if inner:
                return self._of(inner[0])
            case "variable_assignment" | "declaration_command":
                return True
            case _:
                return None

    def _command(self, node: Node) -> bool | None:
        first, *rest = node.named_children
        match self._text(first):
            case "true" | ":":
                return True
            case "false":
                return False
            case "test":
                return self._test(rest, splits=True)
            case _:
                return None

    def _sum(self, said: str) -> bool | None:
        """`((...))`: a comparison, or a number that is not 0."""
        left, sign, right = (*_COMPARED.split(said, maxsplit=1), "", "")[:3]
        numbers = [arithmetic.value(one, self._number) for one in (left, right or "0")]
        one, other = numbers
        if one is None or other is None:
            return None
        return _SIGNS[sign or "!="](one, other)

    def _number(self, name: str) -> str | None:
        value = self.words.lookup(name)
        return text_of(value[0]) if value and all(piece.known for piece in value[0]) else None

    # -- [ and [[ ----------------------------------------------------------------------------------

    def _test(self, tokens: list[Node], *, splits: bool) -> bool | None:
        """What stands between the brackets, or behind `test`; `-o` and `-a` bind as `||` and
        `&&`. `splits`: a variable without quotes may be several words there, or none.
        """
        if not tokens or len(tokens) > MOST_TOKENS:
            return None
        bare = [self._text(one) for one in tokens if splits and one.type.endswith("expansion")]
        if any(one is not None and len(one.split()) != 1 for one in bare):
            return None
        made, rest = self._or(tokens)
        return None if rest else made

    def _or(self, tokens: list[Node]) -> tuple[bool | None, list[Node]]:
        made, rest = self._and(tokens)
        while rest and self.words.raw(rest[0]) in ("||", "-o"):
            other, rest = self._and(rest[1:])
            made = _any([made, other])
        return made, rest

    def _and(self, tokens: list[Node]) -> tuple[bool | None, list[Node]]:
        made, rest = self._one(tokens)
        while rest and self.words.raw(rest[0]) in ("&&", "-a"):
            other, rest = self._one(rest[1:])
            made = _all([made, other])
        return made, rest

    def _one(self, tokens: list[Node]) -> tuple[bool | None, list[Node]]:
        said = [self.words.raw(one) for one in tokens[:2]]
        if said[:1] == ["!"]:
            made, rest = self._one(tokens[1:])
            return _not(made), rest
        if said[:1] == ["("]:
            made, rest = self._or(tokens[1:])
            return made, rest[1:]
        if len(tokens) > 1 and re.fullmatch("-[a-zA-Z]", said[0]):
            return self._unary(said[0], tokens[1]), tokens[2:]
        if len(tokens) > 2 and (said[1] in _SIGNS or re.fullmatch(r"=~?|-[a-z]{2}", said[1])):
            right = next(_together(tokens[2:]))
            return self._binary(tokens[0], said[1], right), tokens[2 + len(right) :]
        text = self._text(tokens[0]) if tokens else None
        return (None if text is None else bool(text)), tokens[1:]

    def _unary(self, sign: str, node: Node) -> bool | None:
        text = self._text(node)
        if text is None or sign not in ("-z", "-n"):
            return None
        return bool(text) is (sign == "-n")

    def _binary(self, left: Node, sign: str, right: list[Node]) -> bool | None:
        text = self._text(left)
        if text is None:
            return None
        if sign in ("=", "=="):
            return self._matches(text, right)
        if sign == "!=":
            return _not(self._matches(text, right))
        other = self._text(right[0]) if len(right) == 1 else None
        are_numbers = all(re.fullmatch(r"\s*-?\d{1,18}\s*", one or "") for one in (text, other))
        if not sign.startswith("-") or sign not in _SIGNS or not are_numbers:
            return None
        return _SIGNS[sign](int(text), int(other or ""))

    def _matches(self, text: str, parts: list[Node]) -> bool | None:
        """Whether a text is what the parts of a word say, which may be a pattern."""
        pattern, drawn = parts[0], "".join(map(self.words.raw, parts))
        if len(parts) > 1:
            return self._like(text, drawn)
        if pattern.type in _QUOTED:
            said = self._text(pattern)
            return None if said is None else text == said
        if pattern.type in ("simple_expansion", "expansion"):
            said = self._text(pattern)
            return None if said is None or re.search(r"[*?\[\\(]", said) else text == said
        return self._like(text, drawn)

    @staticmethod
    def _like(text: str, pattern: str) -> bool | None:
        drawn = re.sub(r"""(["'])([\w./:,-]*)\1""", r"\2", pattern)
        return fnmatch.fnmatchcase(text, drawn) if _PLAIN.fullmatch(drawn) else None

    def _text(self, node: Node, *, argument: bool = True) -> str | None:
        """What a word comes to; None where not all of it is said."""
        pieces = [piece for text in self.words.expand(node) for piece in text]
        told = [self._told(piece, argument=argument) for piece in pieces]
        if any(one is None for one in told):
            return None
        return "".join(one or "" for one in told)

    def _told(self, piece: Piece, *, argument: bool) -> str | None:
        if piece.known:
            return piece.text
        if UNSET.fullmatch(piece.text):
            return ""
        found = _ARGUMENT.fullmatch(piece.text)
        is_absent = self.bare and argument and self.words.scope.arguments is None
        return None if not (found and is_absent) else "0" if found[1] == "#" else ""


def _tokens(node: Node) -> Iterator[Node]:
    """The words and signs of a test, without its brackets."""
    for child in node.children:
        if child.type in _COMPOUND:
            yield from _tokens(child)
        elif child.type not in ("[", "[[", "]", "]]"):
            yield child


def _together(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Nodes in groups that nothing stands between: each is one word."""
    word: list[Node] = []
    for node in nodes:
        if word and word[-1].end_byte != node.start_byte:
            yield word
            word = []
        word.append(node)
    if word:
        yield word


def _not(one: bool | None) -> bool | None:
    return None if one is None else not one


def _all(each: Sequence[bool | None]) -> bool | None:
    return False if False in each else None if None in each else True


def _any(each: Sequence[bool | None]) -> bool | None:
    return True if True in each else None if None in each else False
