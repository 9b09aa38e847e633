"""What the words of a script come to: quotes, variables, `${name:-default}`, `$((...))`.

What comes from outside (the environment, arguments, a command's output) is kept as it is written.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from launcher.formats import arithmetic
from launcher.formats.grammar import Node
from launcher.formats.masking import FILL
from launcher.formats.scope import Budget, Scope, Value
from launcher.formats.words import Piece, Text, text_of

MOST_PIECES = 500  # of a word whose places are kept
# `${NAME:-}`: nothing where nobody sets it, which whoever writes so expects to be done.
UNSET = re.compile(r"\$\{[A-Za-z_]\w*:?-\}")
_OPTION = re.compile(r"(?:^|[\s\"'(])--?[A-Za-z][\w-]*(?:=|[ \t\\\n]+)$")
_QUOTED = ("raw_string", "string", "translated_string", "ansi_c_string")
LONGEST_OPTION = 100  # characters, with what stands before its value
LONGEST_TRIMMED = 1000  # characters of what `${name%pattern}` is worked out for


class Expansion:
    """The words of one text: `source` is how its parser saw it, character for character, `place`
    where each of them stands in the author's text.
    """

    def __init__(
        self,
        text: str,
        source: str,
        place: Callable[[int], int | None],
        scope: Scope,
        budget: Budget,
    ) -> None:
        self.text, self.source, self.place = text, source, place
        self.scope, self.budget = scope, budget
        self.used: set[str] = set()  # variables that something was made of

    def raw(self, node: Node | None) -> str:
        """Its characters as the author wrote them."""
        return self.text[node.start_byte : node.end_byte] if node else ""

    def value(self, node: Node) -> str:
        """What a word comes to, as text."""
        return "".join(text_of(text) for text in self.expand(node))

    def piece(self, start: int, end: int, *, known: bool = True) -> Piece:
        """Characters of the source as they are."""
        at, last = self.place(start), self.place(end - 1) if end > start else None
        is_whole = at is not None and last == at + end - start - 1
        fill = FILL in self.source[start:end]
        return Piece(self.text[start:end], at if is_whole else None, known and not fill)

    def _outside(self, node: Node) -> Value:
        return ((self.piece(node.start_byte, node.end_byte, known=False),),)

    def expand(self, node: Node) -> Value:
        """What a word comes to: several where an array is in it, none for an empty one."""
        if not self.budget.step():
            return self._outside(node)
        match node.type:
            case "raw_string":
                return ((self.piece(node.start_byte + 1, node.end_byte - 1),),)
            case "string" | "translated_string":
                return self._quoted(node)
            case "ansi_c_string":
                return ((Piece(_ansi(self.raw(node)[2:-1])),),)
            case "concatenation" | "command_name":
                return self._joined([self.expand(child) for child in node.children])
            case "simple_expansion":
                return self._variable(node, self.raw(node)[1:], quoted=False)
            case "expansion":
                return self._parameter(node, quoted=False)
            case "arithmetic_expansion":
                return self._arithmetic(node)
            case "command_substitution" | "process_substitution":
                return self._outside(node)
            case _:
                return (tuple(self._unescaped(node.start_byte, node.end_byte, "")),)

    @staticmethod
    def _joined(parts: Sequence[Value]) -> Value:
        made: list[list[Piece]] = [[]]
        for part in parts:
            if part:
                made[-1] += part[0]
                made += map(list, part[1:])
        return tuple(map(few, made))

    def _quoted(self, node: Node) -> Value:
        """A string in double quotes, in which nothing is split but `"${array[@]}"`."""
        parts: list[Value] = []
        drawn = self.source[node.start_byte : node.end_byte]  # quotes as the parser has them
        at = node.start_byte + (2 if drawn[:1] == "$" else 1)
        end = node.end_byte - 1 if drawn[-1:] == '"' else node.end_byte
        for child in node.named_children:
            if child.type != "string_content":
                parts.append((tuple(self._unescaped(at, child.start_byte, '$`"\\')),))
                parts.append(self._within_quotes(child))
                at = child.end_byte
        rest = tuple(self._unescaped(at, max(at, end), '$`"\\'))
        if not rest and len(parts) == 2 and parts[1] == () and not parts[0][0]:
            return ()  # "${empty[@]}"
        return tight(tuple(text or (Piece(""),) for text in self._joined([*parts, (rest,)])))

    def document(self, node: Node) -> Text:
        """The text of a here document."""
        made: list[Piece] = []
        at = node.start_byte
        for child in node.named_children:
            if child.type not in ("heredoc_content",):
                made += self._unescaped(at, child.start_byte, "$`\\")
                made += [piece for text in self._within_quotes(child) for piece in text]
                at = child.end_byte
        return (*made, *self._unescaped(at, node.end_byte, "$`\\"))

    def _within_quotes(self, node: Node) -> Value:
        match node.type:
            case "simple_expansion":
                return self._variable(node, self.raw(node)[1:], quoted=True)
            case "expansion":
                return self._parameter(node, quoted=True)
            case "arithmetic_expansion":
                return self._arithmetic(node)
            case _:
                return self._outside(node)

    def _unescaped(self, start: int, end: int, only: str) -> Iterator[Piece]:
        """Characters with their backslashes taken away: all of them, or those before `only`."""
        while start < end:
            slash = self.source.find("\\", start, end)
            if slash < 0 or slash + 1 >= end:
                yield self.piece(start, end)
                return
            following = self.source[slash + 1]
            if following == "\n":
                if slash > start:
                    yield self.piece(start, slash)
                start = slash + 2
            elif not only or following in only:
                if slash > start:
                    yield self.piece(start, slash)
                yield self.piece(slash + 1, slash + 2)
                start = slash + 2
            else:
                yield self.piece(start, slash + 2)
                start = slash + 2

    def lookup(self, name: str) -> Value | None:
        """The value of a variable or argument; None where it comes from outside."""
        self.used.add(name)
        arguments = self.scope.arguments
        if name in ("@", "*"):
            return arguments
        if name.isdecimal():
            if arguments is None or name == "0":
                return None
            return (arguments[int(name) - 1],) if 0 < int(name) <= len(arguments) else ((),)
        if name == "#":
            return None if arguments is None else ((Piece(str(len(arguments))),),)
        return self.scope.variables.get(name)

    def _variable(self, node: Node, name: str, *, quoted: bool) -> Value:
        value = self.lookup(name)
        if value is None:
            return self._outside(node)
        if name in ("@", "*"):
            return value if quoted else self._loose(value)
        return self._of(value[:1], node, quoted=quoted)

    def _of(self, value: Value, node: Node, *, quoted: bool) -> Value:
        first = value[0] if value else ()
        said = text_of(first)
        if not self.budget.makes(len(said)):
            return self._outside(node)
        if not quoted and UNSET.fullmatch(said) and not self._follows_option(node):
            return ((),)
        return (first,) if quoted else self._loose((first,))

    def _follows_option(self, node: Node) -> bool:
        """Whether it stands where an option may want a value."""
        before = self.source[max(0, node.start_byte - LONGEST_OPTION) : node.start_byte]
        return _OPTION.search(before) is not None

    @staticmethod
    def _loose(value: Value) -> Value:
        """Pieces that a shell splits at blanks, but those from outside."""
        return tuple(
            tuple(Piece(p.text, p.at, p.known, fixed=not p.known) for p in text) for text in value
        )

    def _arithmetic(self, node: Node) -> Value:
        number = arithmetic.value(self.raw(node)[3:-2], self._number)
        return self._outside(node) if number is None else ((Piece(str(number)),),)

    def _number(self, name: str) -> str | None:
        value = self.lookup(name)
        return text_of(value[0]) if value else None

    def _parameter(self, node: Node, *, quoted: bool) -> Value:
        """`${name}` with whatever follows the name."""
        inner = self.raw(node)[2:-1]
        found = re.match(r"(#|!)?([A-Za-z_]\w*|[0-9]+|[@*#])(\[[^\]]*\])?", inner)
        if not found:
            return self._outside(node)
        sign, name, index = found.groups()
        rest, value = inner[found.end() :], self.lookup(found[2])
        if sign == "#" and not rest:
            size = (
                None
                if value is None
                else len(value)
                if index
                else len(text_of(value[0] if value else ()))
            )
            return self._outside(node) if size is None else ((Piece(str(size)),),)
        if sign:
            return self._outside(node)
        if index in ("[@]", "[*]") or name in ("@", "*"):
            return self._list(value, rest, node, quoted=quoted, joins=index == "[*]" and quoted)
        if index and value is not None:
            place = index[1:-1]
            value = value[int(place) : int(place) + 1] if place.isdecimal() else None
        return self._operated(value, rest, node, quoted=quoted)

    def _list(
        self, value: Value | None, rest: str, node: Node, *, quoted: bool, joins: bool
    ) -> Value:
        if value is None or rest:
            is_default = rest.startswith((":-", "-")) and value is None
            default = self._default(node, quoted=quoted) if is_default else None
            return default if default is not None else self._outside(node)
        if joins:
            blank = (Piece(" "),)
            return (
                sum(((text if not at else (*blank, *text)) for at, text in enumerate(value)), ()),
            )
        return value if quoted else self._loose(value)

    def _operated(self, value: Value | None, rest: str, node: Node, *, quoted: bool) -> Value:
        is_empty = value is not None and not text_of(value[0] if value else ())
        match re.match(r":?[-=?+]|##?|%%?|//?|\^\^?|,,?|:|@", rest):
            case None:
                return (
                    self._outside(node) if value is None else self._of(value, node, quoted=quoted)
                )
            case found if found[0][-1] in "-=":
                if value and not (found[0][0] == ":" and is_empty):
                    return self._of(value, node, quoted=quoted)
                is_option = quoted or self._follows_option(node)
                if value is None and is_option and UNSET.fullmatch(self.raw(node)):
                    return self._outside(node)
                return self._defaulted(node, found[0], quoted=quoted)
            case found if found[0][-1] == "?":
                return (
                    self._outside(node) if value is None else self._of(value, node, quoted=quoted)
                )
            case found if found[0][-1] == "+":
                if value is None:
                    return self._outside(node)
                made = self._default(node, quoted=quoted) if not is_empty else ((),)
                return self._outside(node) if made is None else made
            case found:
                if value is None or not all(piece.known for text in value for piece in text):
                    return self._outside(node)
                return self._changed(text_of(value[0] if value else ()), found[0], rest, node)

    def _defaulted(self, node: Node, sign: str, *, quoted: bool) -> Value:
        made = self._default(node, quoted=quoted)
        if made is None:
            return self._outside(node)
        if sign.endswith("="):
            name = re.match(r"\w+", self.raw(node)[2:])
            if name:
                self.scope.variables[name[0]] = tight(made)
                if self.scope.exports_all:
                    self.scope.exported.add(name[0])
        return made

    def _default(self, node: Node, *, quoted: bool) -> Value | None:
        """What stands behind the operator of an expansion; where that is not `quoted`, it is split
        at blanks but those within quotes of its own.
        """
        operators = [child for child in node.children if re.fullmatch(r":?[-=+]", self.raw(child))]
        if not operators:
            return None
        start, end = operators[0].end_byte, node.end_byte - 1
        loose = tight if quoted else self._loose
        parts: list[Value] = []
        for child in node.children:
            if child.start_byte >= start and child.end_byte <= end and child.is_named:
                if child.start_byte > start:
                    parts.append(loose(((self.piece(start, child.start_byte),),)))
                parts.append(self.expand(child) if quoted else self._bare(child))
                start = child.end_byte
        if start < end:
            parts.append(loose((tuple(self._unescaped(start, end, '$`"\\')),)))
        return (tuple(piece for text in self._joined(parts) for piece in text),)

    def _bare(self, node: Node) -> Value:
        """A word of which only what it has in quotes is not split."""
        if node.type == "concatenation":
            return self._joined([self._bare(child) for child in node.children])
        made = self.expand(node)
        return tight(made) if node.type in _QUOTED else self._loose(made)

    def _changed(self, text: str, sign: str, rest: str, node: Node) -> Value:
        pattern = rest[len(sign) :]
        if "$" in pattern or len(text) > LONGEST_TRIMMED or pattern.count("*") > 3:
            return self._outside(node)
        made = _trimmed(text, sign, pattern)
        return self._outside(node) if made is None else ((Piece(made),),)


def _trimmed(text: str, sign: str, pattern: str) -> str | None:
    match sign:
        case "#" | "##":
            ends = range(len(text) + 1) if sign == "#" else range(len(text), -1, -1)
            return next(
                (text[end:] for end in ends if fnmatch.fnmatchcase(text[:end], pattern)), text
            )
        case "%" | "%%":
            starts = range(len(text), -1, -1) if sign == "%" else range(len(text) + 1)
            return next(
                (text[:at] for at in starts if fnmatch.fnmatchcase(text[at:], pattern)), text
            )
        case "/" | "//":
            old, _, new = pattern.partition("/")
            return text.replace(old, new, 1 if sign == "/" else -1) if old else text
        case "^^":
            return text.upper()
        case ",,":
            return text.lower()
        case _:
            return None


def _ansi(text: str) -> str:
    """What `$'...'` says."""
    codes = {
        "n": "\n",
        "t": "\t",
        "r": "\r",
        "'": "'",
        '"': '"',
        "\\": "\\",
        "a": "\a",
        "e": "\x1b",
    }
    return re.sub(r"\\(.)", lambda found: codes.get(found[1], found[0]), text, flags=re.DOTALL)


def tight(value: Value) -> Value:
    """Pieces that no shell splits."""
    return tuple(tuple(p if p.fixed else replace(p, fixed=True) for p in text) for text in value)


def few(pieces: list[Piece]) -> Text:
    """Pieces whose number is kept small: where many came together, none has a place of its own."""
    if len(pieces) <= MOST_PIECES:
        return tuple(pieces)
    known, fixed = all(piece.known for piece in pieces), all(piece.fixed for piece in pieces)
    return (Piece(text_of(pieces), None, known, fixed),)
