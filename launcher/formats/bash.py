"""A shell script as bash would take it: each simple command with its words and variables.

Nothing is run. What comes from outside (the environment, arguments, a command's output) is kept as
it is written; where a script decides, its first branch counts, and the others are looked at.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from launcher.formats import arithmetic
from launcher.formats.masking import masked
from launcher.formats.words import Piece, Text, Word, split, text_of

DEEPEST = 60  # levels of commands within commands, and of functions that call functions
MOST_STEPS = 40_000  # parts of scripts that are looked at
MOST_MADE = 1 << 20  # characters that variables may make of a script
MOST_NOTES = 20
MOST_VALUES = 64  # of a loop
MOST_WORDS = 4000  # of a command
MOST_BRANCHES = 50  # of a decision that are looked at with what was set before it
MOST_PIECES = 500  # of a word whose places are kept
LONGEST_TRIMMED = 1000  # characters of what `${name%pattern}` is worked out for
DECLARE = ("declare", "export", "local", "readonly", "typeset")
Value = tuple[Text, ...]  # of an array; a variable has one


@dataclass(frozen=True)
class Command:
    """A simple command: its words, the variables that it gets, and where it stands."""

    words: tuple[Word, ...]
    env: dict[str, Word]
    hidden: dict[str, Word]  # set, but not exported
    line: int
    within: str = ""  # the function that it is in
    script: str = ""  # that it reads from its standard input


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


@dataclass
class Scope:
    """What a script has set so far."""

    variables: dict[str, Value] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    exports_all: bool = False
    arguments: Value | None = None  # None: from outside

    def copy(self) -> Scope:
        """Another that what follows does not change."""
        return Scope(dict(self.variables), set(self.exported), self.exports_all, self.arguments)

    def take(self, other: Scope, before: Scope) -> None:
        """What another branch set since `before`, and this one did not."""
        for name, value in other.variables.items():
            was = before.variables.get(name)
            if value != was and self.variables.get(name) == was:
                self.variables[name] = value
        self.exported |= other.exported


class Budget:
    """How much may still be made of one text."""

    def __init__(self) -> None:
        self.steps, self.made = MOST_STEPS, MOST_MADE
        self.is_spent = False

    def step(self) -> bool:
        """Whether there is one left."""
        self.steps -= 1
        self.is_spent |= self.steps < 0
        return self.steps >= 0

    def makes(self, length: int) -> bool:
        """Whether so many characters are still to be had."""
        self.made -= length
        self.is_spent |= self.made < 0
        return self.made >= 0


class Script:
    """One script, read to its end by `commands`; `files` are those that it writes."""

    def __init__(
        self,
        text: str,
        scope: Scope | None = None,
        place: Callable[[int], int | None] = lambda at: at,
        budget: Budget | None = None,
        depth: int = 0,
        files: dict[str, str] | None = None,
        wanted: Callable[[Word], bool] = lambda word: True,
    ) -> None:
        self.text, self.scope, self.place = text, scope or Scope(), place
        self.budget, self.depth = budget or Budget(), depth
        self.files: dict[str, str] = {} if files is None else files
        self.wanted = wanted  # commands without such a word are of no interest
        self.functions: dict[str, Node] = {}
        self.called: set[str] = set()
        self.used: set[str] = set()  # variables that something was made of
        self.unread: list[str] = []  # files that are sourced, and not here
        self.sourced: set[str] = set()  # files of its own that it reads
        self.within = ""
        source, self.notes = masked(text)
        self.root = _parser().parse(source.encode("ascii")).root_node
        self.source = source

    def commands(self) -> Iterator[Command]:
        """Every simple command that is reached, and those of functions that nobody calls."""
        yield from self._run(self.root, 0)
        for name, body in list(self.functions.items()):
            if name not in self.called:
                before, self.scope = self.scope, self.scope.copy()
                self.scope.arguments, self.within = None, name
                yield from self._run(body, 0)
                self.scope, self.within = before, ""
        if self.root.has_error and len(self.notes) < MOST_NOTES:
            self.notes.append(self._complaint())

    def _complaint(self) -> str:
        node = _first_error(self.root)
        line = node.start_point.row + 1 if node else 1
        return f"line {line} is not what bash understands: read as far as it goes"

    # -- statements --------------------------------------------------------------------------------

    def _run(self, node: Node, depth: int, script: str = "") -> Iterator[Command]:
        if depth > DEEPEST or not self.budget.step():
            return
        match node.type:
            case "command":
                yield from self._command(node, depth, script)
            case "variable_assignment":
                self._assign(node)
            case "declaration_command":
                self._declare(node)
            case "unset_command":
                for child in node.named_children:
                    self.scope.variables[self._raw(child)] = ()
            case "function_definition":
                self._define(node)
            case "redirected_statement":
                yield from self._redirected(node, depth)
            case "if_statement" | "case_statement":
                yield from self._branches(node, depth)
            case "for_statement":
                yield from self._for(node, depth)
            case "subshell" | "command_substitution" | "process_substitution":
                before, self.scope = self.scope, self.scope.copy()
                yield from self._all(node, depth)
                self.scope = before
            case "comment" | "test_command" | "heredoc_body" | "heredoc_redirect":
                return
            case _:
                yield from self._all(node, depth, script)

    def _all(self, node: Node, depth: int, script: str = "") -> Iterator[Command]:
        for child in node.named_children:
            yield from self._run(child, depth + 1, script)

    def _branches(self, node: Node, depth: int) -> Iterator[Command]:
        """The first branch for what it sets; what only another sets counts, too."""
        before, first = self.scope, self.scope.copy()
        others: list[Scope] = []
        self.scope, items = first, 0
        for child in node.named_children:
            items += child.type == "case_item"
            is_other = child.type in ("elif_clause", "else_clause") or (
                child.type == "case_item" and items > 1
            )
            if is_other and len(others) < MOST_BRANCHES:
                others.append(before.copy())
                self.scope = others[-1]
            yield from self._run(child, depth + 1)
        for other in others:
            first.take(other, before)
        self.scope = first

    def _for(self, node: Node, depth: int) -> Iterator[Command]:
        name = self._raw(node.child_by_field_name("variable"))
        body = node.child_by_field_name("body")
        asked = [self.expand(child) for child in node.children_by_field_name("value")]
        words = [word for value in asked for text in value for word in split(text)]
        for word in words[:MOST_VALUES] or [Word((Piece(f"${name}", known=False),))]:
            self.scope.variables[name] = (word.pieces,)
            if body:
                yield from self._run(body, depth + 1)

    def _define(self, node: Node) -> None:
        name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
        if name and body:
            self.functions[self._raw(name)] = body

    def _redirected(self, node: Node, depth: int) -> Iterator[Command]:
        body = node.child_by_field_name("body")
        heredoc, target = _descendant(node, "heredoc_body"), ""
        said = _descendant(node, "herestring_redirect")
        for redirect in _redirects(node):
            destination = redirect.child_by_field_name("destination")
            if destination and redirect.children and _writes(redirect):
                target = self._value(destination)
        script = self._heredoc(node, heredoc) if heredoc else ""
        if said and said.named_children:
            script = self._value(said.named_children[-1])
        if script and target:
            self.files[target.rpartition("/")[2]] = script
        elif script and body and _writes_file(self._raw(body)):
            self.files[self._raw(body).split()[-1].rpartition("/")[2]] = script
        if body:
            yield from self._run(body, depth + 1, "" if target else script)
        for child in node.named_children:  # what follows `<<EOF` on its line
            if child.type == "heredoc_redirect":
                for other in child.named_children:
                    if other.type not in ("heredoc_start", "heredoc_body", "heredoc_end"):
                        yield from self._run(other, depth + 1, script)

    def _heredoc(self, node: Node, body: Node) -> str:
        start = _descendant(node, "heredoc_start")
        if start and self._raw(start)[:1] in "'\"\\":
            return self._raw(body)
        return text_of(self._string(body))

    def _declare(self, node: Node) -> None:
        keyword = self._raw(node.children[0]) if node.children else ""
        exports = keyword == "export"
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._assign(child, exports=exports)
            elif child.type == "variable_name" and exports:
                self.scope.exported.add(self._raw(child))
            elif child.type == "word" and self._raw(child).startswith("-") and keyword != "export":
                exports = exports or "x" in self._raw(child)

    def _assign(self, node: Node, *, exports: bool = False) -> None:
        name_node, value_node = (node.child_by_field_name(part) for part in ("name", "value"))
        if name_node is None:
            return
        name = self._raw(name_node).partition("[")[0]
        value = self._assigned(value_node)
        if any(child.type == "+=" for child in node.children) or name_node.type == "subscript":
            before = self.scope.variables.get(name, ())
            is_list = value_node is not None and value_node.type == "array"
            if is_list or name_node.type == "subscript":
                value = (*before, *value)
            else:
                value = ((*(before[0] if before else ()), *(value[0] if value else ())),)
        if self.budget.makes(sum(len(piece.text) for text in value for piece in text)):
            self.scope.variables[name] = value
        if exports or self.scope.exports_all:
            self.scope.exported.add(name)

    def _assigned(self, node: Node | None) -> Value:
        if node is None:
            return ((),)
        if node.type == "array":
            children = node.named_children[:MOST_WORDS]
            asked = [self.expand(child) for child in children if child.type != "comment"]
            return tuple(word.pieces for value in asked for text in value for word in split(text))
        made = self.expand(node)
        return (_few([piece for text in made for piece in text]),)

    # -- commands ----------------------------------------------------------------------------------

    def _command(self, node: Node, depth: int, script: str) -> Iterator[Command]:
        before, assigned = self.scope, {}
        words: list[Word] = []
        for child in node.named_children:
            if child.type == "variable_assignment" and not words:
                name = child.child_by_field_name("name")
                value = self._assigned(child.child_by_field_name("value"))
                assigned[self._raw(name)] = Word(tuple(piece for text in value for piece in text))
            elif child.type == "comment" or child.type.endswith("_redirect"):
                continue
            else:
                yield from self._inside(child, depth)
                part = (
                    child.named_children[0]
                    if child.type == "command_name" and child.named_children
                    else child
                )
                words += [word for text in self.expand(part) for word in split(text)]
                if len(words) > MOST_WORDS:
                    break
        if not words:
            before.variables |= {key: (word.pieces,) for key, word in assigned.items()}
            return
        yield from self._called(node, words, assigned, depth, script)

    def _inside(self, node: Node, depth: int) -> Iterator[Command]:
        """The commands of `$(...)` within a word."""
        if node.type == "command_substitution":
            yield from self._run(node, depth + 1)
        elif node.type in ("string", "concatenation", "command_name"):
            for child in node.named_children:
                yield from self._inside(child, depth)

    def _called(
        self, node: Node, words: list[Word], assigned: dict[str, Word], depth: int, script: str
    ) -> Iterator[Command]:
        name = words[0].value
        match name:
            case "set":
                self._set([word.value for word in words[1:]])
            case "shift":
                taken = int(words[1].value) if words[1:] and words[1].value.isdecimal() else 1
                if self.scope.arguments is not None:
                    self.scope.arguments = self.scope.arguments[taken:]
            case "source" | "." if words[1:]:
                yield from self._source(words[1].value, depth)
            case "eval":
                yield from self.nested(_joined(words[1:]), self.scope)
            case _ if name in self.functions and depth < DEEPEST:
                yield from self._function(name, words[1:], assigned, depth)
            case _ if script or any(map(self.wanted, words)):
                yield self._made(node, words, assigned, script)

    def _set(self, words: Sequence[str]) -> None:
        if "-a" in words or any(re.fullmatch(r"-[a-z]*a[a-z]*", word) for word in words):
            self.scope.exports_all = True
        if "+a" in words:
            self.scope.exports_all = False
        pairs = pairwise(words)
        for sign, option in pairs:
            if option == "allexport":
                self.scope.exports_all = sign == "-o"

    def _source(self, path: str, depth: int) -> Iterator[Command]:
        text = self.files.get(path.rpartition("/")[2])
        if text is None:
            self.unread.append(path)
        else:
            self.sourced.add(path.rpartition("/")[2])
            yield from self.nested((Piece(text),), self.scope)

    def _function(
        self, name: str, words: Sequence[Word], assigned: dict[str, Word], depth: int
    ) -> Iterator[Command]:
        self.called.add(name)
        before, outer = self.scope.arguments, self.within
        self.scope.arguments, self.within = tuple(word.pieces for word in words), name
        self.scope.variables |= {name: (word.pieces,) for name, word in assigned.items()}
        yield from self._run(self.functions[name], depth + 2)
        self.scope.arguments, self.within = before, outer

    def _made(
        self, node: Node, words: list[Word], assigned: dict[str, Word], script: str
    ) -> Command:
        known = {name: Word(value[0]) for name, value in self.scope.variables.items() if value}
        env = {name: word for name, word in known.items() if name in self.scope.exported}
        hidden = {name: word for name, word in known.items() if name not in env}
        line = node.start_point.row + 1
        return Command(tuple(words), env | assigned, hidden, line, self.within, script)

    def nested(self, text: Text, scope: Scope) -> Iterator[Command]:
        """The commands of a script within this one, as `eval` and `bash -c` have it."""
        if self.depth > DEEPEST // 4 or not self.budget.makes(len(text_of(text))):
            return
        inner = Script(
            text_of(text),
            scope,
            lambda at: self.placed(text, at),
            self.budget,
            self.depth + 1,
            self.files,
            self.wanted,
        )
        inner.functions = self.functions
        inner.within = self.within
        yield from inner._run(inner.root, 0)
        self.used |= inner.used
        self.unread += inner.unread

    @staticmethod
    def placed(text: Text, at: int) -> int | None:
        """Where a character of a text stands in its source."""
        for piece in text:
            if at < len(piece.text):
                return None if piece.at is None else piece.at + at
            at -= len(piece.text)
        return None

    # -- words -------------------------------------------------------------------------------------

    def _raw(self, node: Node | None) -> str:
        return self.text[node.start_byte : node.end_byte] if node else ""

    def _value(self, node: Node) -> str:
        return "".join(text_of(text) for text in self.expand(node))

    def _piece(self, start: int, end: int, *, known: bool = True) -> Piece:
        """Characters of the source as they are."""
        at, last = self.place(start), self.place(end - 1) if end > start else None
        is_whole = at is not None and last == at + end - start - 1
        fill = "\x01" in self.source[start:end]
        return Piece(self.text[start:end], at if is_whole else None, known and not fill)

    def _outside(self, node: Node) -> Value:
        return ((self._piece(node.start_byte, node.end_byte, known=False),),)

    def expand(self, node: Node) -> Value:
        """What a word comes to: several where an array is in it, none for an empty one."""
        if not self.budget.step():
            return self._outside(node)
        match node.type:
            case "raw_string":
                return ((self._piece(node.start_byte + 1, node.end_byte - 1),),)
            case "string" | "translated_string":
                return self._quoted(node)
            case "ansi_c_string":
                return ((Piece(_ansi(self._raw(node)[2:-1])),),)
            case "concatenation" | "command_name":
                return self._joined([self.expand(child) for child in node.children])
            case "simple_expansion":
                return self._variable(node, self._raw(node)[1:], quoted=False)
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
        return tuple(map(_few, made))

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
        return tuple(text or (Piece(""),) for text in self._joined([*parts, (rest,)]))

    def _string(self, node: Node) -> Text:
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
                return self._variable(node, self._raw(node)[1:], quoted=True)
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
                yield self._piece(start, end)
                return
            following = self.source[slash + 1]
            if following == "\n":
                if slash > start:
                    yield self._piece(start, slash)
                start = slash + 2
            elif not only or following in only:
                if slash > start:
                    yield self._piece(start, slash)
                yield self._piece(slash + 1, slash + 2)
                start = slash + 2
            else:
                yield self._piece(start, slash + 2)
                start = slash + 2

    # -- parameters --------------------------------------------------------------------------------

    def _lookup(self, name: str) -> Value | None:
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
        value = self._lookup(name)
        if value is None:
            return self._outside(node)
        if name in ("@", "*"):
            return value if quoted else self._loose(value)
        return self._of(value[:1], node, quoted=quoted)

    def _of(self, value: Value, node: Node, *, quoted: bool) -> Value:
        first = value[0] if value else ()
        if not self.budget.makes(len(text_of(first))):
            return self._outside(node)
        return (first,) if quoted else self._loose((first,))

    @staticmethod
    def _loose(value: Value) -> Value:
        """Pieces that a shell splits at blanks, but those from outside."""
        return tuple(
            tuple(Piece(p.text, p.at, p.known, fixed=not p.known) for p in text) for text in value
        )

    def _arithmetic(self, node: Node) -> Value:
        number = arithmetic.value(self._raw(node)[3:-2], self._number)
        return self._outside(node) if number is None else ((Piece(str(number)),),)

    def _number(self, name: str) -> str | None:
        value = self._lookup(name)
        return text_of(value[0]) if value else None

    def _parameter(self, node: Node, *, quoted: bool) -> Value:
        """`${name}` with whatever follows the name."""
        inner = self._raw(node)[2:-1]
        found = re.match(r"(#|!)?([A-Za-z_]\w*|[0-9]+|[@*#])(\[[^\]]*\])?", inner)
        if not found:
            return self._outside(node)
        sign, name, index = found.groups()
        rest, value = inner[found.end() :], self._lookup(found[2])
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
            default = (
                self._default(node) if rest.startswith((":-", "-")) and value is None else None
            )
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
                return self._defaulted(node, found[0], quoted=quoted)
            case found if found[0][-1] == "?":
                return (
                    self._outside(node) if value is None else self._of(value, node, quoted=quoted)
                )
            case found if found[0][-1] == "+":
                if value is None:
                    return self._outside(node)
                made = self._default(node) if not is_empty else ((),)
                return (
                    self._outside(node) if made is None else (made if quoted else self._loose(made))
                )
            case found:
                if value is None or not all(piece.known for text in value for piece in text):
                    return self._outside(node)
                return self._changed(text_of(value[0] if value else ()), found[0], rest, node)

    def _defaulted(self, node: Node, sign: str, *, quoted: bool) -> Value:
        made = self._default(node)
        if made is None:
            return self._outside(node)
        if sign.endswith("="):
            name = re.match(r"\w+", self._raw(node)[2:])
            if name:
                self.scope.variables[name[0]] = made
                if self.scope.exports_all:
                    self.scope.exported.add(name[0])
        return made if quoted else self._loose(made)

    def _default(self, node: Node) -> Value | None:
        """What stands behind the operator of an expansion."""
        operators = [child for child in node.children if re.fullmatch(r":?[-=+]", self._raw(child))]
        if not operators:
            return None
        start, end = operators[0].end_byte, node.end_byte - 1
        parts: list[Value] = []
        for child in node.children:
            if child.start_byte >= start and child.end_byte <= end and child.is_named:
                if child.start_byte > start:
                    parts.append(((self._piece(start, child.start_byte),),))
                parts.append(self.expand(child))
                start = child.end_byte
        if start < end:
            parts.append((tuple(self._unescaped(start, end, '$`"\\')),))
        return (tuple(piece for text in self._joined(parts) for piece in text),)

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


def _few(pieces: list[Piece]) -> Text:
    """Pieces whose number is kept small: where many came together, none has a place of its own."""
    if len(pieces) <= MOST_PIECES:
        return tuple(pieces)
    known, fixed = all(piece.known for piece in pieces), all(piece.fixed for piece in pieces)
    return (Piece(text_of(pieces), None, known, fixed),)


def _joined(words: Sequence[Word]) -> Text:
    pieces: list[Piece] = []
    for at, word in enumerate(words):
        pieces += [*([Piece(" ")] if at else []), *word.pieces]
    return tuple(pieces)


def _descendant(node: Node, kind: str) -> Node | None:
    for child in node.named_children:
        if child.type == kind:
            return child
        if child.type == "heredoc_redirect" and (found := _descendant(child, kind)):
            return found
    return None


def _redirects(node: Node) -> Iterator[Node]:
    for child in node.named_children:
        if child.type == "file_redirect":
            yield child
        elif child.type == "heredoc_redirect":
            yield from _redirects(child)


def _writes(redirect: Node) -> bool:
    return any(child.type in (">", ">>", ">|", "&>") for child in redirect.children)


def _writes_file(command: str) -> bool:
    return re.match(r"(?:sudo )?tee\b", command) is not None


def _first_error(node: Node) -> Node | None:
    if node.type == "ERROR" or node.is_missing:
        return node
    return next(
        (found for child in node.children if child.has_error and (found := _first_error(child))),
        None,
    )
