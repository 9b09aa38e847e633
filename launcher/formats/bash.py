"""A shell script as bash would take it: each simple command with its words and variables.

Nothing is run. Where a script decides, the branch counts that its own values choose; where they
tell none, the first does, and that is said. Other branches are looked at, and so is what a
function does that nobody calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from launcher.formats import bashtree as tree
from launcher.formats import braces
from launcher.formats.conditions import Clause, Conditions
from launcher.formats.expansion import Expansion, few, tight
from launcher.formats.grammar import Node
from launcher.formats.masking import masked
from launcher.formats.scope import MOST_TESTS, Budget, Scope, Value
from launcher.formats.words import Piece, Text, Word, split, text_of

DEEPEST = 60  # levels of commands within commands, and of functions that call functions
MOST_NOTES = 20
MOST_VALUES = 64  # of a loop
MOST_WORDS = 4000  # of a command
TANGLED = "is no script that bash's grammar could be held against: not read"
ASSUMED = "assumed: {} holds: nothing here tells it"
SKIPPED = "behind `{}`: as this script stands, it does not run this"
BRACED = ("concatenation", "word", "brace_expression")  # what braces may stand in
BARE = "JSON without quotes around it: bash takes its own quotes away, and splits it at commas"
_CHANGED = re.compile(r"\b([A-Za-z_]\w*)(?:\+?=|\+\+|--)")  # in a loop
_GROWS = re.compile(  # from pass to pass
    r"\b([A-Za-z_]\w*)(?==[\"']?\$(?:\{?\1\b|\(\([^()\n]*\b\1\b)|\+=|\+\+|--)"
)
MOST_BRANCHES = 50  # of a decision that are looked at with what was set before it


@dataclass(frozen=True)
class Command:
    """A simple command: its words, the variables that it gets, and where it stands."""

    words: tuple[Word, ...]
    env: dict[str, Word]
    hidden: dict[str, Word]  # set, but not exported
    line: int
    within: str = ""  # the function that it is in
    script: Text = ()  # that it reads from its standard input
    notes: tuple[str, ...] = ()  # which tests of the script it hangs on


class Script:
    """One script, read to its end by `commands`; `files` are those that it writes."""

    def __init__(
        self,
        text: str,
        scope: Scope | None = None,
        place: Callable[[int], int | None] = lambda at: at,
        budget: Budget | None = None,
        depth: int = 0,
        files: dict[str, Text] | None = None,
        wanted: Callable[[Word], bool] = lambda word: True,
    ) -> None:
        self.budget, self.depth = budget or Budget(), depth
        self.files: dict[str, Text] = {} if files is None else files
        self.wanted = wanted  # commands without such a word are of no interest
        self.functions: dict[str, tuple[Script, Node]] = {}  # whose text they stand in
        self.called: set[str] = set()
        self.unread: list[str] = []  # files that are sourced, and not here
        self.sourced: set[str] = set()  # files of its own that it reads
        self.within = ""
        source, self.notes = masked(text)
        self.root, is_whole, source = tree.read(source)
        self.notes += [] if is_whole else [TANGLED]
        self.words = Expansion(text, source, place, scope or Scope(), self.budget)
        self.tests = Conditions(self.words, bare=depth == 0)

    @property
    def scope(self) -> Scope:
        """What is set where it is being read."""
        return self.words.scope

    @scope.setter
    def scope(self, scope: Scope) -> None:
        self.words.scope = scope

    @property
    def used(self) -> set[str]:
        """The variables that something was made of."""
        return self.words.used

    def commands(self) -> Iterator[Command]:
        """Every simple command that is reached, and those of functions that nobody calls."""
        yield from self._run(self.root, 0)
        for name, (owner, body) in list(self.functions.items()):
            if name not in self.called and owner is self:
                before, self.scope = self.scope, self.scope.copy()
                self.scope.arguments, self.within, self.tests.bare = None, name, False
                yield from self._run(body, 0)
                self.scope, self.within = before, ""
        if self.root.has_error and len(self.notes) < MOST_NOTES:
            self.notes.append(self._complaint())

    def _complaint(self) -> str:
        node = tree.first_error(self.root)
        line = node.start_point.row + 1 if node else 1
        return f"line {line} is not what bash understands: read as far as it goes"

    # -- statements --------------------------------------------------------------------------------

    def _run(self, node: Node, depth: int, script: Text = ()) -> Iterator[Command]:
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
                    self.scope.variables[self.words.raw(child)] = ()
            case "function_definition":
                self._define(node)
            case "redirected_statement":
                yield from self._redirected(node, depth)
            case "if_statement" | "case_statement":
                yield from self._branches(node, depth)
            case "list" if len(node.named_children) == 2:
                yield from self._list(node, depth, script)
            case "while_statement" | "c_style_for_statement":
                yield from self._loop(node, depth, script)
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

    def _all(self, node: Node, depth: int, script: Text = ()) -> Iterator[Command]:
        for child in node.named_children:
            yield from self._run(child, depth + 1, script)

    def _branches(self, node: Node, depth: int) -> Iterator[Command]:
        """The branch that is taken. Where that is not known: the first that may be for what it
        sets; what only another sets counts, too.
        """
        before, first = self.scope.copy(), self.scope
        open_: list[Clause] = []
        is_decided = False
        for clause in self.tests.clauses(node):
            if is_decided or clause.holds is False:
                yield from self._skipped(clause.nodes, depth, clause.said)
            else:
                open_.append(clause)
                is_decided = clause.holds is True
        if not open_:
            return
        self.scope, others = first, []
        for at, clause in enumerate(open_):
            if 0 < at <= MOST_BRANCHES:
                others.append(before.copy())
                self.scope = others[-1]
            if len(open_) > 1 or not is_decided:
                self.scope.assuming = (*before.assuming, clause.said)
            for child in clause.nodes:
                yield from self._run(child, depth + 1)
            self.scope.assuming = before.assuming
        for other in others:
            first.take(other, before)
        if node.type == "if_statement" and not others and not is_decided:
            first.doubt(before)
        if len(open_) > 1 or not is_decided:
            first.assume(before, open_[0].said)
        self.scope = first

    def _skipped(self, nodes: Sequence[Node], depth: int, test: str) -> Iterator[Command]:
        """The commands of a branch that is not taken, which changes nothing of what follows."""
        before, functions, self.scope = self.scope, {**self.functions}, self.scope.copy()
        self.scope.skipped = self.scope.skipped or test
        for node in nodes:
            yield from self._run(node, depth + 1)
        self.functions.update(functions)
        self.scope = before

    def _list(self, node: Node, depth: int, script: Text) -> Iterator[Command]:
        """`A && B` and `A || B`."""
        left, right = node.named_children
        is_and = any(child.type == "&&" for child in node.children)
        holds = self.tests.holds(left)
        yield from self._run(left, depth + 1, script)
        if holds is (not is_and):
            yield from self._skipped([right], depth, self.tests.said(left))
        elif holds is None and tree.is_test(left):
            before, test = self.scope.copy(), self.tests.said(left)
            self.scope.assuming = (*before.assuming, test if is_and else f"! {test}")
            yield from self._run(right, depth + 1, script)
            self.scope.assuming = before.assuming
            self.scope.doubt(before)
            self.scope.assume(before, test if is_and else f"! {test}")
        else:
            yield from self._run(right, depth + 1, script)

    def _loop(self, node: Node, depth: int, script: Text) -> Iterator[Command]:
        """The body of a loop is looked at once: what changes in it is not known to its tests."""
        test = node.child_by_field_name("condition")
        is_while = node.children[0].type == "while"
        if is_while and test and self.tests.holds(test) is False:
            yield from self._skipped(node.named_children, depth, self.tests.said(test))
            return
        before = self.tests.changing
        self.tests.changing = before | {*_CHANGED.findall(self.words.raw(node))}
        if "shift" in self.words.raw(node):
            self.tests.changing |= {*"#@*123456789"}
        yield from self._all(node, depth, script)
        self.tests.changing = before
        for name in {*_GROWS.findall(self.words.raw(node))} & self.scope.variables.keys():
            self.scope.variables[name] = ((Piece(f"${name}", known=False),),)

    def _for(self, node: Node, depth: int) -> Iterator[Command]:
        name = self.words.raw(node.child_by_field_name("variable"))
        body = node.child_by_field_name("body")
        asked = [self._expanded(child) for child in node.children_by_field_name("value")]
        words = [word for value in asked for text in value for word in split(text)]
        for word in words[:MOST_VALUES] or [Word((Piece(f"${name}", known=False),))]:
            self.scope.variables[name] = (word.pieces,)
            if body:
                yield from self._run(body, depth + 1)

    def _define(self, node: Node) -> None:
        name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
        if name and body:
            self.functions[self.words.raw(name)] = self, body

    def _redirected(self, node: Node, depth: int) -> Iterator[Command]:
        body = node.child_by_field_name("body")
        heredoc, target = tree.descendant(node, "heredoc_body"), ""
        said = tree.descendant(node, "herestring_redirect")
        for redirect in tree.redirects(node):
            destination = redirect.child_by_field_name("destination")
            if destination and redirect.children and tree.writes(redirect):
                target = self.words.value(destination)
        script = self._heredoc(node, heredoc) if heredoc else ()
        if said and said.named_children:
            script = next(iter(self.words.expand(said.named_children[-1])), ())
        if script and target:
            self.files[target.rpartition("/")[2]] = script
        elif script and body and tree.writes_file(self.words.raw(body)):
            self.files[self.words.raw(body).split()[-1].rpartition("/")[2]] = script
        if body:
            yield from self._run(body, depth + 1, () if target else script)
        for child in node.named_children:  # what follows `<<EOF` on its line
            if child.type == "heredoc_redirect":
                for other in child.named_children:
                    if other.type not in ("heredoc_start", "heredoc_body", "heredoc_end"):
                        yield from self._run(other, depth + 1, script)

    def _heredoc(self, node: Node, body: Node) -> Text:
        start = tree.descendant(node, "heredoc_start")
        if start and self.words.raw(start)[:1] in "'\"\\":
            return (self.words.piece(body.start_byte, body.end_byte),)
        return few([*self.words.document(body)])

    def _declare(self, node: Node) -> None:
        keyword = self.words.raw(node.children[0]) if node.children else ""
        exports = keyword == "export"
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._assign(child, exports=exports)
            elif child.type == "variable_name" and exports:
                self.scope.exported.add(self.words.raw(child))
            elif (
                child.type == "word"
                and self.words.raw(child).startswith("-")
                and keyword != "export"
            ):
                exports = exports or "x" in self.words.raw(child)

    def _assign(self, node: Node, *, exports: bool = False) -> None:
        name_node, value_node = (node.child_by_field_name(part) for part in ("name", "value"))
        if name_node is None:
            return
        name = self.words.raw(name_node).partition("[")[0]
        outer, self.words.used = self.words.used, set()
        value = self._assigned(value_node)
        tests = self._hangs_on(self.words.used)
        self.words.used |= outer
        grows = name_node.type == "subscript" or any(one.type == "+=" for one in node.children)
        if grows:
            tests = (*self.scope.assumed.get(name, ()), *tests)
        self.scope.assumed[name] = tuple(dict.fromkeys(tests))[:MOST_TESTS]
        if grows:
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

    def _hangs_on(self, names: Iterable[str]) -> tuple[str, ...]:
        """The tests that are only taken to hold, and decide what some variables are."""
        tests = (test for name in sorted(names) for test in self.scope.assumed.get(name, ()))
        return tuple(dict.fromkeys(tests))

    def _assigned(self, node: Node | None) -> Value:
        if node is None:
            return ((),)
        if node.type == "array":
            children = node.named_children[:MOST_WORDS]
            asked = [self._expanded(child) for child in children if child.type != "comment"]
            return tuple(word.pieces for value in asked for text in value for word in split(text))
        made = self.words.expand(node)
        return tight((few([piece for text in made for piece in text]),))

    # -- commands ----------------------------------------------------------------------------------

    def _command(self, node: Node, depth: int, script: Text) -> Iterator[Command]:
        before, assigned = self.scope, {}
        words: list[Word] = []
        outer, self.words.used = self.words.used, set()
        for child in node.named_children:
            if child.type == "variable_assignment" and not words:
                name = child.child_by_field_name("name")
                value = self._assigned(child.child_by_field_name("value"))
                assigned[self.words.raw(name)] = Word(
                    tuple(piece for text in value for piece in text)
                )
            elif child.type == "comment" or child.type.endswith("_redirect"):
                continue
            else:
                yield from self._inside(child, depth)
                part = (
                    child.named_children[0]
                    if child.type == "command_name" and child.named_children
                    else child
                )
                words += [word for text in self._expanded(part) for word in split(text)]
                if len(words) > MOST_WORDS:
                    break
        tests = self._hangs_on(self.words.used)
        self.words.used |= outer
        if not words:
            before.variables |= {key: (word.pieces,) for key, word in assigned.items()}
            return
        yield from self._called(node, words, assigned, depth, script, tests)

    def _expanded(self, node: Node) -> Value:
        """A word with its braces: `{a,b}` is two, and JSON that nobody quoted loses its quotes."""
        drawn = self.words.raw(node)
        if node.type not in BRACED or "{" not in drawn:
            return self.words.expand(node)
        if re.search(r"""(?:^|=)\{["']""", drawn) and BARE not in self.notes:
            self.notes.append(BARE)
        parts = braces.expanded(drawn)
        if len(parts) == 1 or self.depth > DEEPEST // 4:
            return self.words.expand(node)
        inner = Script(" ".join(("_", *parts)), self.scope, lambda at: None, self.budget, DEEPEST)
        command = next(inner.commands(), None)
        return tuple(word.pieces for word in command.words[1:]) if command else ()

    def _inside(self, node: Node, depth: int) -> Iterator[Command]:
        """The commands of `$(...)` within a word."""
        if node.type == "command_substitution":
            yield from self._run(node, depth + 1)
        elif node.type in ("string", "concatenation", "command_name"):
            for child in node.named_children:
                yield from self._inside(child, depth)

    def _called(
        self,
        node: Node,
        words: list[Word],
        assigned: dict[str, Word],
        depth: int,
        script: Text,
        tests: tuple[str, ...],
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
                yield replace(self._made(node, words, assigned, script), notes=self._notes(tests))

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
            yield from self.nested(text, self.scope)

    def _function(
        self, name: str, words: Sequence[Word], assigned: dict[str, Word], depth: int
    ) -> Iterator[Command]:
        self.called.add(name)
        owner, body = self.functions[name]
        before, outer, elsewhere = self.scope.arguments, owner.within, owner.scope
        self.scope.arguments = tuple(word.pieces for word in words)
        self.scope.variables |= {key: (word.pieces,) for key, word in assigned.items()}
        owner.within, owner.scope = name, self.scope
        yield from owner._run(body, depth + 2)
        owner.within, owner.scope = outer, elsewhere
        self.scope.arguments = before

    def _notes(self, tests: tuple[str, ...]) -> tuple[str, ...]:
        """What is to be said of the branches that a command hangs on."""
        skipped, told = self.scope.skipped, (*tests, *self._hangs_on(self.scope.exported))
        tests = tuple(dict.fromkeys((*self.scope.assuming, *told)))
        return (
            *([SKIPPED.format(skipped)] if skipped else []),
            *([ASSUMED.format(", ".join(f"`{one}`" for one in tests))] if tests else []),
        )

    def _made(
        self, node: Node, words: list[Word], assigned: dict[str, Word], script: Text
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
        if scope is self.scope:  # `eval` and `source`; another shell has none of its functions
            inner.functions, inner.called = self.functions, self.called
        inner.within = self.within
        yield from inner._run(inner.root, 0)
        self.words.used |= inner.used
        self.unread += inner.unread

    @staticmethod
    def placed(text: Text, at: int) -> int | None:
        """Where a character of a text stands in its source."""
        for piece in text:
            if at < len(piece.text):
                return None if piece.at is None else piece.at + at
            at -= len(piece.text)
        return None


def _joined(words: Sequence[Word]) -> Text:
    pieces: list[Piece] = []
    for at, word in enumerate(words):
        pieces += [*([Piece(" ")] if at else []), *word.pieces]
    return tuple(pieces)
