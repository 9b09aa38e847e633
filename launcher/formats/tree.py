"""Compose files, pods and their kin, tasks of Ansible and workflows, Helm values, options as a
table, and bare lists of words: the launches in a YAML or JSON document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from launcher.formats import claims, flagtable, fragments, launches, selectors, variables
from launcher.formats.around import Around, of_tables
from launcher.formats.bash import Script
from launcher.formats.container import (
    IMAGES,
    OF_HOST,
    engine_of,
    enters,
    release_of,
    starts,
    taken_by,
)
from launcher.formats.launches import SOUGHT, Launch
from launcher.formats.nodes import List, Node, Scalar, Table, documents
from launcher.formats.scope import Budget, Scope, Value
from launcher.formats.words import Piece, Text, Word, text_of, values
from launcher.formats.yamltext import Source, filled, get, merged, of, word

MOST_NODES = 50_000  # aliases make many of few
DEEPEST = 60
COMMANDS = ("entrypoint", "command", "cmd", "args")
LISTS = re.compile(r"(?i)[\w-]*(?:args|flags|options)|arguments|command|cmd|argv")
VARIABLES = (("environment",), ("env",), ("envs",))  # tables of whatever a container reads
# One item of such a list that is two words, as some charts have them: an option and its value.
PAIR = re.compile(r"(--?[A-Za-z][\w.-]*)[ \t]+(\S.*)", re.DOTALL)
# tables of options by the role of their server, as recipes have them
RECIPE = re.compile(rf"(?i)(?:{'|'.join(IMAGES)})_?config")
ROLES = re.compile(r"(?i)(leader|worker|prefill|decode|router|frontend)")
PROSE = re.compile(r"(?i)name|title|description|summary|comments?|notes?|message|help|doc|image")
# What a document is called by what stands at its top.
FORMS = {
    "apiversion": "kubernetes",
    "containers": "kubernetes",
    "services": "compose",
    "jobs": "workflow",
    "containerdefinitions": "task definition",
    "hostconfig": "docker inspect",
    "hosts": "ansible",
    "tasks": "ansible",
}


@dataclass(frozen=True)
class Place:
    """Where in a document something stands: the keys that lead there, and the tables around."""

    keys: tuple[str, ...] = ()
    tables: tuple[Table, ...] = field(default=(), repr=False)
    form: str = ""

    def below(self, key: str, table: Table | None = None) -> Place:
        """One step further down."""
        tables = (*self.tables, table) if table else self.tables
        return replace(self, keys=(*self.keys, key), tables=tables)


class Document:
    """A text of YAML or JSON."""

    def __init__(self, text: str) -> None:
        self.source = Source(text)
        self.left = MOST_NODES
        self.budget = Budget()
        self.seen: set[Node] = set()
        self.claims: dict[str, claims.Claim] = {}

    def launches(self) -> Iterator[Launch]:
        """Every launch, in its order. Raises NotYamlError."""
        roots = [*documents(self.source.seen, self.source.text)]
        self.claims = claims.read(roots)
        for root in roots:
            if not isinstance(root, Scalar):
                for launch in self._walk(root, Place(form=self._form(root))):
                    engine = launch.engine or launches.engine_by(launch.words)
                    yield replace(launch, engine=engine)

    def _form(self, root: Node) -> str:
        first = root.items[0] if isinstance(root, List) and root.items else root
        keys = (
            {name.value.lower() for name, _ in first.items} if isinstance(first, Table) else set()
        )
        known = next((form for key, form in FORMS.items() if key in keys), "")
        if known or self.source.text.lstrip()[:1] in ("{", "["):
            return known or "json"
        return "ansible" if isinstance(root, List) and isinstance(first, Table) else ""

    # -- the walk ----------------------------------------------------------------------------------

    def _walk(self, node: Node, place: Place) -> Iterator[Launch]:
        self.left -= 1
        if self.left < 0 or len(place.keys) > DEEPEST or node in self.seen:
            return
        self.seen.add(node)
        if isinstance(node, List):
            yield from self._list(node, place)
        elif isinstance(node, Table):
            yield from self._table(node, place)
        elif SOUGHT.search(node.value) and not PROSE.fullmatch((place.keys or ("",))[-1]):
            yield from self._task(self.source.scalar(node), place)

    def _list(self, node: List, place: Place) -> Iterator[Launch]:
        """A command word by word, a script line by line, or more of anything."""
        if node.items and all(isinstance(item, Scalar) for item in node.items):
            words = [Word(self.source.scalar(item)) for item in node.items]
            form = place.form if place.keys else "options"
            if found := [*self._of_words(words, self._around(place), form, place, "")]:
                yield from found
            elif any(SOUGHT.search(one.value) for one in words):
                lines = (piece for one in words for piece in (*one.pieces, Piece("\n")))
                yield from self._task(tuple(lines), place)
            return
        for item in node.items:
            yield from self._walk(item, place)

    def _table(self, node: Table, place: Place) -> Iterator[Launch]:
        tables = merged(node)
        here = place.below("", node)
        said = [of(tables, key) for key in COMMANDS]
        words = [one for found in said if found is not None for one in self._words_of(found)]
        taken: set[str] = set()
        if words and any(isinstance(one, (Scalar, List)) for one in said):
            found = list(self._container(words, tables, here))
            yield from found
            taken = set(COMMANDS) if found else set()
        elif flagtable.is_one(node, named=self._names_options(place)):
            yield self._flags(node, place)
            return
        for key_node, value in node.items:
            key = key_node.value
            if key.lower() in taken:
                continue
            below = place.below(key, node)
            is_list = LISTS.fullmatch(key) and place.keys[-1:] not in VARIABLES
            found = [*self._options(value, below)] if is_list else []
            yield from found or self._walk(value, below)

    def _names_options(self, place: Place) -> bool:
        """Whether the keys that lead to a table say that it is one of options."""
        named = [key for key in place.keys if key][-2:]
        return any(map(LISTS.fullmatch, named[-1:])) or any(map(RECIPE.fullmatch, named))

    # -- what is found -----------------------------------------------------------------------------

    def _words_of(self, node: Node) -> list[Word]:
        if isinstance(node, List):
            return [Word(self.source.scalar(item)) for item in node.items]
        return self._shell_words(self.source.scalar(node))

    def _shell_words(self, text: Text) -> list[Word]:
        """The words of a command line in one string, in which compose puts no variables."""
        script = Script(
            text_of(text).replace("\n", " "), Scope(), lambda at: _placed(text, at), self.budget
        )
        found = next(script.commands(), None)
        return list(found.words) if found else [Word((piece,)) for piece in text]

    def _container(
        self, words: list[Word], tables: Sequence[Table], place: Place
    ) -> Iterator[Launch]:
        env, image = self._common(place), _image(tables)
        env |= variables.variables(tables, self.source)
        is_pod = of(tables, "args") is not None or isinstance(of(tables, "env"), List)
        form = place.form or ("kubernetes" if is_pod else "compose")
        on_host = word(of(tables, "network_mode")) == "host"
        claim = claims.of_container(tables, place.tables, self.claims)
        around = of_tables(tables, place.tables, claim, on_host=on_host)
        around = replace(around, products=selectors.asked(place.tables, claim))
        replaced = of(tables, "entrypoint") or (is_pod and of(tables, "command"))
        entered = "" if replaced else image
        for launch in self._of_words(words, env, form, place, entered):
            yield replace(
                launch,
                engine=launch.engine or engine_of(image),
                release=launch.release or release_of(image),
                image=launch.image or image,
                form=launch.form if launch.form.startswith("docker ") else form,
                shares=launch.shares or self._shared(place, tables),
                around=launch.around if launch.around != Around() else around,
            ).noting(*variables.unread(tables))

    def _shared(self, place: Place, tables: Sequence[Table]) -> str:
        """The network of a container: that of its pod, or of the host."""
        if word(of(tables, "network_mode")) == "host":
            return OF_HOST
        keys = place.keys
        if "containers" not in keys or place.form not in ("", "kubernetes"):
            return ""
        pod = place.tables[keys.index("containers")]
        return f"the pod at line {self.source.line(pod.items[0][0].start)}"

    def _of_words(
        self, words: list[Word], env: Mapping[str, Word], form: str, place: Place, image: str
    ) -> Iterator[Launch]:
        """The launches that a container's words come to: a program, a script, or options; or the
        arguments of what its image starts by itself.
        """
        whole = [Word(filled(one.pieces, env)) for one in words]
        is_own, said = starts(image), values(whole)
        found = launches.of_words(whole, env, form)
        if is_own and not found and launches.is_serving(said):
            found = Launch(tuple(whole), env, form, engine_of(image))
        if found:
            yield self._named(launches.entered(whole, found) if is_own else found, place, words)
            return
        is_found = False
        for one in words:
            if SOUGHT.search(one.value) and re.search(r"\s", one.value):
                for launch in self._script(filled(one.pieces, env), env, form):
                    is_found = True
                    launch = launches.handed(launch, whole)
                    if is_own:
                        launch = replace(launch, under=launches.under(words))
                    yield self._named(launch, place, [one])
        begins = whole[0].value.startswith("--") if whole else False
        is_options = begins and "model" in " ".join(said) and fragments.is_engines(said)
        if not is_found and (is_options or (not begins and enters(image, whole))):
            yield self._named(Launch(tuple(whole), env, form, ""), place, words)

    def _task(self, text: Text, place: Place) -> Iterator[Launch]:
        """A script that stands somewhere, with the variables around it."""
        form = place.form or "yaml"
        for launch in self._script(text, self._around(place), form):
            image = _image(place.tables)
            made = replace(
                launch,
                release=launch.release or release_of(image),
                image=launch.image or image,
            )
            own = self._named(made, place, [Word(text)])
            yield replace(own, name=own.name or (place.keys[0] if len(place.keys) == 1 else ""))

    def _common(self, place: Place) -> dict[str, Word]:
        """The variables that a deployment gives to all of its services, or all of one."""
        made: dict[str, Word] = {}
        for table in place.tables[:-1]:
            if (node := table.get("envs")) is not None:
                made |= variables.listed(node, self.source)
        return made

    def _around(self, place: Place) -> dict[str, Word]:
        """The variables of all tables that something stands in, those of the nearest last."""
        made: dict[str, Word] = {}
        for table in place.tables:
            made |= variables.variables(merged(table), self.source)
        return made

    def _script(self, text: Text, env: Mapping[str, Word], form: str) -> Iterator[Launch]:
        known: dict[str, Value] = {name: (one.pieces,) for name, one in env.items() if one.known}
        script = Script(
            text_of(text),
            Scope(known, set(env)),
            lambda at: _placed(text, at),
            self.budget,
            1,
            wanted=launches.is_of_interest,
        )
        for launch in launches.of_script(script, form):
            outside = {name: one for name, one in env.items() if not one.known}
            yield replace(launch, variables=outside | dict(launch.variables))

    def _options(self, node: Node, place: Place) -> Iterator[Launch]:
        """Options under a key of their own, as charts have them: a list, or words in one string."""
        if isinstance(node, Scalar):
            words = self._shell_words(self.source.scalar(node)) if "--" in node.value else []
        else:
            items = node.items if isinstance(node, List) else []
            scalars = (item for item in items if isinstance(item, Scalar))
            words = [part for item in scalars for part in self._item(item)]
        said = values(words)
        begins = said[:1] and said[0].startswith("--")
        is_told = _engine_around(place) or sum(one.startswith("--") for one in said) >= 2
        if begins and is_told and fragments.is_engines(said) and not _is_anothers(place, words):
            yield self._of_chart(tuple(words), place, "options")

    def _item(self, item: Scalar) -> Iterator[Word]:
        """The words of one item of a list: itself, or an option and its value."""
        whole = Word(self.source.scalar(item))
        found = PAIR.fullmatch(whole.value)
        if found and found[2][0] in "{[" and len(whole.pieces) == 1:  # JSON, with blanks of its own
            yield from (Word((whole.pieces[0].part(*found.span(at)),)) for at in (1, 2))
        elif found:
            yield from self._shell_words(whole.pieces)
        else:
            yield whole

    def _flags(self, node: Table, place: Place) -> Launch:
        """Options as a table."""
        engine = flagtable.engine_of(node)
        named = (key for key in place.keys[-2:] if RECIPE.fullmatch(key))
        of_chart = flagtable.is_of_chart(node) or any(map(flagtable.is_camel, named))
        words = tuple(flagtable.words(node, self.source, engine, is_chart=of_chart))
        made = self._of_chart(words, place, "options" if place.keys else "config")
        made = replace(made, engine=made.engine or engine)
        line = self.source.line(node.items[0][0].start)
        return replace(made, line=line)

    def _of_chart(self, words: tuple[Word, ...], place: Place, form: str) -> Launch:
        image, role = _image(place.tables), (place.keys or ("",))[-1]
        env = self._around(place)
        own = of([*reversed(place.tables)], f"{role.lower()}_environment")
        env |= variables.listed(own, self.source) if own is not None else {}
        engine = engine_of(image) or _engine_around(place)
        launch = Launch(words, env, form, engine, release_of(image), image=image)
        is_named = LISTS.fullmatch(role) or RECIPE.fullmatch(role)
        is_role = role and not is_named and place.keys[-2:-1] != ("",)
        return self._named(replace(launch, name=role if is_role else ""), place, words).noting(
            *variables.unread(place.tables)
        )

    def _named(self, launch: Launch, place: Place, words: Sequence[Word]) -> Launch:
        at = next((piece.at for one in words for piece in one.pieces if piece.at is not None), 0)
        line = self.source.line(at) + max(0, launch.line - 1)
        return replace(launch, name=launch.name or self._name(place), line=line)

    def _name(self, place: Place) -> str:
        """What the document calls it: its service or container, and its role."""
        roles = [key for key in place.keys if ROLES.search(key)]
        named = [
            get(table, key)
            for table in place.tables[::-1][:3]
            for key in ("name", "container_name")
        ]
        own = next(filter(None, map(word, named)), "")
        if "services" in place.keys[:-1]:
            at = place.keys.index("services")
            return place.keys[at + 1] if len(place.keys) > at + 1 else ""
        return " ".join(dict.fromkeys(filter(None, (*roles[-1:], own))))


def _image(tables: Sequence[Table]) -> str:
    """The image that a container, or a chart, names: `repository:tag`, too."""
    for table in (*tables[::-1],):
        # Recipes of srt-slurm run an image by a name of their cluster's, and say which it is.
        own = get(get(get(table, "identity"), "container"), "image")
        alias = get(table, "container") or get(get(table, "model"), "container")
        node = own or get(table, "image") or alias
        if isinstance(node, Table):
            named, tag = word(get(node, "repository") or get(node, "name")), word(get(node, "tag"))
            return f"{named}:{tag}" if tag else named
        if said := word(node) or word(get(table, "repository")):
            tag = word(get(table, "tag")) if node is None else ""
            return f"{said}:{tag}" if tag else said
    return ""


def _engine_around(place: Place) -> str:
    """The engine that the keys which lead to a list of options name, or its image, or its kind."""
    kind = word(get(place.tables[0], "kind")) if place.tables else ""
    named = (*place.keys[::-1], _image(place.tables), kind)
    return next(filter(None, map(engine_of, named)), "")


def _is_anothers(place: Place, words: Sequence[Word]) -> bool:
    """Whether options stand beside an image of another program, which does not take them alone."""
    image = _image(place.tables[-1:])
    return bool(image) and not engine_of(image) and not taken_by(words)


def _placed(text: Text, at: int) -> int | None:
    return Script.placed(text, at)
