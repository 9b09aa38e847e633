"""What happened, as events.jsonl, `events --json` and `up --json` tell it: a line each.

docs/events.schema.json has the fields of each kind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from launcher import nesting
from launcher.files import following
from launcher.statedir.schema import SCHEMA, if_any, table, text, whole

KINDS = (
    "state",
    "phase",
    "progress",
    "readahead",
    "death",
    "smoke",
    "canary",
    "gpu",
    "warning",
)
LOOK_EVERY = 0.05  # seconds between looks at the events of another process
HEAD = ("schema", "time", "profile", "event")  # what every event begins with


@dataclass(frozen=True)
class Event:
    """One event: its kind, and what an event of that kind tells."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    time: str = ""
    profile: str = ""
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        head = dict(zip(HEAD, (self.schema, self.time, self.profile, self.kind), strict=True))
        return head | dict(self.fields)

    @classmethod
    def from_json(cls, data: object) -> Event:
        """The event that `to_json` gave, of any schema; a time that is no text is unknown. Raises
        ValueError for what is no event.
        """
        said = table(data)
        return cls(
            kind=text(said.get("event")),
            fields={name: value for name, value in said.items() if name not in HEAD},
            time=if_any(text, said.get("time")) or "",
            profile=if_any(text, said.get("profile")) or "",
            schema=whole(said.get("schema", SCHEMA)),
        )


def parsed(lines: Iterable[str]) -> Iterator[Event]:
    """The events that lines tell.

    A full disk cuts some short: those, and what is no event, are left out.
    """
    for line in lines:
        with contextlib.suppress(ValueError):
            yield Event.from_json(nesting.of_json(line))


def read_events(path: Path, file: BinaryIO | None, going_on: Callable[[], bool]) -> Iterator[Event]:
    """Events behind where `file` stands (`following.end_of`), until `going_on` says no more will be
    written.

    A full disk cuts lines short: those are left out.
    """
    lines = following.lines(path, file, going_on, LOOK_EVERY)
    return parsed(line.decode(errors="replace") for line in lines)
