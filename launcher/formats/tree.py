"""Compose files, pods and their kin, Helm values, and bare lists of words: the launches in a YAML
or JSON document, each word with its place in the text.

Every scalar is taken as it is written: what YAML makes of 0755, `yes` and 1:30 is not what was
meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from launcher.formats import launches
from launcher.formats.bash import Script
from launcher.formats.launches import SOUGHT, Launch
from launcher.formats.masking import TEMPLATE
from launcher.formats.nodes import List, Node, Scalar, Table, documents
from launcher.formats.scope import Budget, Scope
from launcher.formats.words import Piece, Text, Word, split, text_of, values
from launcher.plan.plan import ENGINE

MOST_NODES = 50_000  # aliases make many of few
DEEPEST = 60
MERGED = 16  # tables that one takes over from others (`<<: *common`)
COMMANDS = ("entrypoint", "command", "args")
LISTS = re.compile(
    rf"(?i)(?:extra|engine|server|runtime|launch|{'|'.join(launches.IMAGES)}).*args"
    r"|args|arguments|command|cmd"
)
ROLES = re.compile(r"(?i)(leader|worker|prefill|decode|router|frontend)")
_REFERENCE = re.compile(r"\$\((\w+)\)|\$\{(\w+)(?::?-([^{}]*))?\}")


@dataclass(frozen=True)
class Place:
    """Where in a document something stands: the keys that lead there, and the tables around."""

    keys: tuple[str, ...] = ()
    tables: tuple[Table, ...] = field(default=(), repr=False)

    def below(self, key: str, table: Table | None = None) -> Place:
        """One step further down."""
        return Place((*self.keys, key), (*self.tables, table) if table else self.tables)


class Document:
    """A text of YAML or JSON."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.templates = [found.span() for found in TEMPLATE.finditer(text)]
        # A template may stand where YAML wants something else: it is read as one word.
        self.source = TEMPLATE.sub(lambda found: "T" * len(found[0]), text)
        self.left = MOST_NODES
        self.budget = Budget()
        self.seen: set[int] = set()

    def launches(self) -> Iterator[Launch]:
        """Every launch, in its order. Raises NotYamlError."""
        for root in documents(self.source):
            yield from self._walk(root, Place())

    # -- values ------------------------------------------------------------------------------------

    def scalar(self, node: Node) -> Text:
        """A scalar with the places of its characters."""
        if not isinstance(node, Scalar):
            return ()
        value, start, end = node.value, node.start, node.end
        if node.is_null:
            return (Piece(""),)
        if node.style in ("'", '"'):
            start, end = start + 1, end - 1
        if self.source[start:end] == value:
            return self._marked(start, end)
        return self._by_lines(value, start, end)

    def _by_lines(self, value: str, start: int, end: int) -> Text:
        """A block: its lines are found one after the other."""
        made: list[Piece] = []
        for number, line in enumerate(re.split(r"(?<=\n)|(?<= )(?=\S)", value)):
            bare = line.rstrip("\n ")
            at = self.source.find(bare, start, end) if bare else -1
            if at < 0:
                made.append(Piece(line))
                continue
            made += [
                *self._marked(at, at + len(bare)),
                *([Piece(line[len(bare) :])] if line != bare else []),
            ]
            start = at + len(bare)
            if number > MOST_NODES:
                break
        return tuple(made)

    def _marked(self, start: int, end: int) -> Text:
        """Characters of the text, those of templates as not known."""
        made = []
        for first, last in self.templates:
            if first < end and last > start:
                if first > start:
                    made.append(Piece(self.text[start:first], start))
                made.append(
                    Piece(
                        self.text[max(start, first) : min(end, last)],
                        max(start, first),
                        known=False,
                    )
                )
                start = min(end, last)
        return (
            (*made, Piece(self.text[start:end], start)) if start < end or not made else tuple(made)
        )

    # -- the walk ----------------------------------------------------------------------------------

    def _walk(self, node: Node, place: Place) -> Iterator[Launch]:
        self.left -= 1
        if self.left < 0 or len(place.keys) > DEEPEST or id(node) in self.seen:
            return
        self.seen.add(id(node))
        if isinstance(node, List):
            if not place.keys and all(isinstance(item, Scalar) for item in node.items):
                yield from self._of_words(
                    [Word(self.scalar(item)) for item in node.items], {}, "options", place
                )
            for item in node.items:
                yield from self._walk(item, place)
        elif isinstance(node, Table):
            yield from self._table(node, place)

    def _table(self, node: Table, place: Place) -> Iterator[Launch]:
        tables = self._merged(node)
        here = place.below("", node)
        said = [(key, _of(tables, key)) for key in COMMANDS]
        words = [word for _, one in said if one is not None for word in self._words_of(one)]
        taken: set[str] = set()
        if words and any(isinstance(one, (Scalar, List)) for _, one in said):
            is_pod = said[2][1] is not None or isinstance(_of(tables, "env"), List)
            found = list(
                self._container(words, tables, "kubernetes" if is_pod else "compose", here)
            )
            yield from found
            taken = set(COMMANDS) if found else set()
        for key_node, value in node.items:
            key = key_node.value
            if key in taken:
                continue
            if LISTS.fullmatch(key) and key not in COMMANDS and isinstance(value, List):
                yield from self._options(value, tables, place.below(key, node))
            yield from self._walk(value, place.below(key, node))

    def _merged(self, node: Table) -> list[Table]:
        """A table, and those that it takes over, the nearest first."""
        tables = [node]
        for table in tables:
            more = _get(table, "<<")
            others: list[Node | None] = [*more.items] if isinstance(more, List) else [more]
            tables += [other for other in others[:MERGED] if isinstance(other, Table)]
            if len(tables) > MERGED:
                break
        return tables[:MERGED]

    def _words_of(self, node: Node) -> list[Word]:
        if isinstance(node, List):
            return [Word(self.scalar(item)) for item in node.items]
        return self._shell_words(self.scalar(node))

    def _shell_words(self, text: Text) -> list[Word]:
        """The words of a command line in one string, in which compose puts no variables."""
        script = Script(
            text_of(text).replace("\n", " "), Scope(), lambda at: _placed(text, at), self.budget
        )
        found = next(script.commands(), None)
        return list(found.words) if found else [Word((piece,)) for piece in text]

    def _container(
        self, words: list[Word], tables: Sequence[Table], form: str, place: Place
    ) -> Iterator[Launch]:
        env, notes = self._environment(tables)
        image = text_of(self.scalar(found)) if (found := _of(tables, "image")) else ""
        for launch in self._of_words(words, env, form, place):
            engine = launch.engine or launches.engine_of(image)
            yield replace(
                launch,
                engine=engine,
                release=launch.release or launches.release_of(image),
                form=form,
            ).noting(*notes)

    def _of_words(
        self, words: list[Word], env: Mapping[str, Word], form: str, place: Place
    ) -> Iterator[Launch]:
        """The launches that a container's words come to: a program, a script, or options."""
        filled = [Word(_filled(word.pieces, env)) for word in words]
        found = launches.of_words(filled, env, form)
        if found:
            yield self._named(found, place, words)
            return
        is_found = False
        for word in words:
            if SOUGHT.search(word.value) and re.search(r"\s", word.value):
                for launch in self._script(_filled(word.pieces, env), env, form):
                    is_found = True
                    yield self._named(launch, place, [word])
        if (
            not is_found
            and filled
            and filled[0].value.startswith("--")
            and any("model" in word.value for word in filled)
        ):
            yield self._named(Launch(tuple(filled), env, form), place, words)

    def _script(self, text: Text, env: Mapping[str, Word], form: str) -> Iterator[Launch]:
        scope = Scope({name: (word.pieces,) for name, word in env.items() if word.known}, set(env))
        script = Script(
            text_of(text),
            scope,
            lambda at: _placed(text, at),
            self.budget,
            1,
            wanted=launches.is_of_interest,
        )
        for launch in launches.of_script(script, form):
            outside = {name: word for name, word in env.items() if not word.known}
            yield replace(launch, variables=outside | dict(launch.variables))

    def _options(self, node: List, tables: Sequence[Table], place: Place) -> Iterator[Launch]:
        """A list of options under a key of its own, as charts have them."""
        words = [part for item in node.items for part in split(_loose(self.scalar(item)))]
        said = values(words)
        if sum(word.startswith("--") for word in said) >= 2 and said[0].startswith("--"):
            image = text_of(self.scalar(found)) if (found := _of(tables, "image")) else ""
            engine = launches.engine_of(image) or ENGINE
            yield self._named(Launch(tuple(words), {}, "options", engine), place, words)

    def _environment(self, tables: Sequence[Table]) -> tuple[dict[str, Word], list[str]]:
        """`environment` of compose, a table or a list of `NAME=value`, and `env` of Kubernetes, a
        list of tables.
        """
        made: dict[str, Word] = {}
        for key in ("environment", "env"):
            node = _of(tables, key)
            if isinstance(node, Table):
                for table in reversed(self._merged(node)):
                    for name, value in table.items:
                        if name.value != "<<":
                            made[name.value] = Word(_filled(self.scalar(value), {}))
            elif isinstance(node, List):
                made |= dict(self._listed(node))
        files = [key for key in ("env_file", "envFrom") if _of(tables, key) is not None]
        return made, [f"variables of {key} are not read" for key in files]

    def _listed(self, node: List) -> Iterator[tuple[str, Word]]:
        for item in node.items:
            if isinstance(item, Table) and isinstance(name := _get(item, "name"), Scalar):
                value, source = _get(item, "value"), _get(item, "valueFrom")
                if source is not None:
                    yield name.value, Word((Piece(_from(source), known=False),))
                else:
                    yield (
                        name.value,
                        Word(_filled(self.scalar(value), {}) if value else (Piece(""),)),
                    )
            elif isinstance(item, Scalar):
                text = self.scalar(item)
                name_, equals, _ = text_of(text).partition("=")
                rest = (
                    launches.rest_of(Word(text), len(name_) + 1)
                    if equals
                    else Word((Piece(f"${name_}", known=False),))
                )
                yield name_, Word(_filled(rest.pieces, {}))

    def _named(self, launch: Launch, place: Place, words: Sequence[Word]) -> Launch:
        at = next((piece.at for word in words for piece in word.pieces if piece.at is not None), 0)
        line = self.text.count("\n", 0, at) + 1
        return replace(launch, name=launch.name or self._name(place), line=line)

    def _name(self, place: Place) -> str:
        """What the document calls it: its service or container, and its role."""
        roles = [key for key in place.keys if ROLES.search(key)]
        table = place.tables[-1] if place.tables else None
        own = _get(table, "name") or _get(table, "container_name") if table else None
        if "services" in place.keys[:-1]:
            at = place.keys.index("services")
            return place.keys[at + 1] if len(place.keys) > at + 1 else ""
        parts = [*(roles[-1:]), *([own.value] if isinstance(own, Scalar) else [])]
        return " ".join(dict.fromkeys(parts))


def _placed(text: Text, at: int) -> int | None:
    return Script.placed(text, at)


def _loose(text: Text) -> Text:
    return tuple(replace(piece, fixed=not piece.known) for piece in text)


def _get(node: Node | None, key: str) -> Node | None:
    return node.get(key) if isinstance(node, Table) else None


def _of(tables: Sequence[Table], key: str) -> Node | None:
    return next((found for table in tables if (found := _get(table, key)) is not None), None)


def _from(node: Node) -> str:
    """`valueFrom` in words: its kind, and what it names."""
    kind = node.items[0][0].value if isinstance(node, Table) and node.items else ""
    inner = _get(node, kind)
    named = _get(inner, "name") or _get(inner, "fieldPath")
    return f"valueFrom {kind} {named.value if isinstance(named, Scalar) else ''}".strip()


def _filled(text: Text, env: Mapping[str, Word]) -> Text:
    """`$(NAME)` and `${NAME:-default}` with what is known of them, `$$` as one dollar."""
    made: list[Piece] = []
    for piece in text:
        if not piece.known or "$" not in piece.text:
            made.append(piece)
            continue
        at = 0
        for found in re.finditer(rf"\$\$|{_REFERENCE.pattern}", piece.text):
            made += [piece.part(at, found.start())] if found.start() > at else []
            made += _reference(piece, found, env)
            at = found.end()
        made += [piece.part(at, len(piece.text))] if at < len(piece.text) or not made else []
    return tuple(made)


def _reference(piece: Piece, found: re.Match[str], env: Mapping[str, Word]) -> Text:
    whole = piece.part(*found.span())
    if found[0] == "$$":
        return (piece.part(found.start() + 1, found.end()),)
    name = found[1] or found[2]
    if name in env and found[1]:
        return env[name].pieces if env[name].known else (replace(whole, known=False),)
    if found[3] is not None:
        return (piece.part(*found.span(3)),)
    return (replace(whole, known=False),)
