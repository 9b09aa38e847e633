"""What is known to end servers: `knowledge/failures.toml`, and what each engine adds to it, read.

Pure, and the standard library alone: the supervisor asks at a death.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from launcher import knowledge
from launcher.engines import engine
from launcher.engines.log import PHASES, SERVING
from launcher.knowledge import codes, rows, xid
from launcher.knowledge.families import FAMILIES
from launcher.plan.evidence import Known

ORIGINS = ("kernel", "server", "manager")  # whose words they may be
WEIGHTS = ("hardware", "host", "cause", "generic", "last")
# The last: a step that a start may not come back from. It is told where the log ends in it.
NEVER_THE_CAUSE = ("consequence", "note", "unfinished")
_THEN = ("never", "again", "reboot")
_KEYS = (
    "family weight origin watched rest pattern until of beside phases reading needs what fix knob"
    " then follows passes known source"
).split()
_OVER = (
    "what",
    "fix",
    "knob",
    "source",
    "pattern",
)  # what an engine may say of an entry of everybody's
_GENERAL = rows.kept(Path(knowledge.__file__).with_name("failures.toml"))
_OF_ENGINES = {name: rows.kept(engine.failures(name)) for name in engine.NAMES}


@dataclass(frozen=True)
class Words:
    """What one engine says of a failure, where that is something else than everybody's."""

    what: str = ""
    fix: str = ""
    knob: str | None = None
    source: str = ""


@dataclass(frozen=True)
class Failure:
    """One way to die, as its entry tells it."""

    id: str
    family: str
    weight: str
    origin: str
    pattern: re.Pattern[str] | None
    what: str
    fix: str
    then: str
    known: str
    source: str
    knob: str | None = None
    needs: re.Pattern[str] | None = None
    until: re.Pattern[str] | None = None  # the line that ends a step
    follows: bool = False
    watched: bool = True
    rest: bool = False
    reading: bool = False
    passes: str = ""
    of: str = ""
    beside: tuple[str, ...] = ()  # causes to which it adds
    phases: tuple[str, ...] = ()
    engine: str = ""  # the only one that says so
    words: Mapping[str, Words] = field(default_factory=dict)  # by engine

    def told(self, engine: str | None) -> Words:
        """What it is, what to do, and the knob, in the words of the engine whose log it is; the
        source says where another engine than that one was tested.
        """
        own = self.words.get(engine or "", Words())
        source = own.source or self._source_for(engine)
        return Words(own.what or self.what, own.fix or self.fix, own.knob or self.knob, source)

    def _source_for(self, name: str | None) -> str:
        """A test of one engine is none of another."""
        titles = {each: engine.dialect(each).name for each in engine.NAMES}
        tested = [title for title in titles.values() if f"{title} " in self.source]
        if name is None or self.known != Known.RUN or not tested or titles[name] in tested:
            return self.source
        return f"not with {titles[name]}: {self.source}"


@dataclass(frozen=True)
class _Over:
    """What an engine says of an entry of everybody's."""

    id: str
    words: Words
    pattern: str


@cache
def _general() -> rows.Table[Failure]:
    return rows.read(_GENERAL, None, partial(_failure, ""))


@cache
def _own(name: str) -> rows.Table[Failure | _Over]:
    return rows.read(_OF_ENGINES[name], None, partial(_of_engine, name))


def tables() -> tuple[rows.Table[Any], ...]:
    """Every table, and what is wrong with its rows."""
    return (_general(), *map(_own, engine.NAMES))


def complaints() -> tuple[str, ...]:
    """The rows that are left out where deaths are judged; none of a sound installation."""
    told = (*tables(), codes.table())
    return tuple(complaint for table in told for complaint in table.complaints)


@cache
def failures() -> dict[str, Failure]:
    """All of them, in the order of the files."""
    found = {row.id: row for row in _general().rows}
    for name in engine.NAMES:
        for row in _own(name).rows:
            found[row.id] = _with(found[row.id], name, row) if isinstance(row, _Over) else row
    return found


@cache
def cases(id: str) -> tuple[Failure, ...]:
    """What is said of a failure in some phases of a server's life."""
    return tuple(row for row in failures().values() if row.of == id)


def _with(row: Failure, name: str, over: _Over) -> Failure:
    """An entry with what an engine adds: its words, and lines that it alone prints."""
    known = [row.pattern.pattern] if row.pattern else []
    own = [over.pattern] if over.pattern else []
    pattern = re.compile("|".join(known + own)) if known + own else None
    return replace(row, pattern=pattern, words={**row.words, name: over.words})


def _of_engine(name: str, id: str | int, row: Mapping[str, Any]) -> Failure | _Over:
    if str(id) not in {each.id for each in _general().rows}:
        return _failure(name, id, row)
    rows.only(row, _OVER)
    words = {key: rows.text(key, row[key]) for key in _OVER[:-1] if key in row}
    pattern = rows.pattern("pattern", row.get("pattern", ""))
    return _Over(str(id), Words(**words), pattern.pattern)


def _failure(name: str, id: str | int, row: Mapping[str, Any]) -> Failure:
    """A row. Raises one of `rows.BAD` for what is none."""
    rows.only(row, _KEYS)
    fields = {**_of_xids(str(id)), "origin": "server", **row}
    _require(fields)
    for key in ("pattern", "needs", "until"):
        fields[key] = rows.pattern(key, row[key]) if key in row else None
    lists = {key: rows.texts(key, row.get(key, [])) for key in ("beside", "phases")}
    return Failure(**{**fields, **lists, "id": str(id), "engine": name})


def _require(row: Mapping[str, Any]) -> None:
    """Raise ValueError for a word that is none of its vocabulary, KeyError for one that lacks."""
    wanted: Iterable[tuple[str, Iterable[str]]] = (
        ("family", FAMILIES),
        ("weight", (*WEIGHTS, *NEVER_THE_CAUSE)),
        ("origin", ORIGINS),
        ("then", _THEN),
        ("known", {*Known}),
    )
    for key, words in wanted:
        if row[key] not in words:
            raise ValueError(f"{key}: {row[key]!r} is not one of {', '.join(words)}")
    if odd := set(row.get("phases", ())) - {*PHASES, SERVING}:
        raise ValueError(f"phases: {', '.join(odd)} is none")
    for key in ("what", "fix", "source"):
        rows.text(key, row[key])


def _of_xids(id: str) -> dict[str, Any]:
    """What the table of Xids knows of a cause: the advice and, if the entry says none, what it
    is.
    """
    first = next(iter(xid.of_cause(id)), None)
    return {"what": first.what, "then": first.advice} if first else {}
