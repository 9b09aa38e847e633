"""One instance as `top` shows it: how it is, and what its server says of its work.

The server is asked as the launcher asks it: over a connection of which it is known that it is the
server's.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from launcher.engines.figures import Figures, First, Rates, between, first_tokens
from launcher.engines.server import Answer, Server, ask
from launcher.errors import UserError
from launcher.files import guarded, reading
from launcher.gateway.instances import plan_of
from launcher.gateway.runtime import runtime
from launcher.host.peer import Peer
from launcher.operate import control
from launcher.plan.plan import Plan
from launcher.redact.keys import read_key
from launcher.statedir.events import Event, parsed
from launcher.statedir.folder import StateDir
from launcher.statedir.readings import Readings
from launcher.statedir.state import StateRecord
from launcher.statedir.status import LARGEST_END, LARGEST_STATE

WITHIN = 1.0  # seconds for each answer of a server
WHOLE_EVERY = 5.0  # seconds between two questions that cost it more
WINDOW = 60.0  # seconds that shares and waits are told of
TOLD = ("state", "death", "smoke", "canary", "gpu", "warning")  # events that are worth a line
LAST = 5  # of them


@dataclass(frozen=True)
class Seen:
    """One instance: how it is, and its server's figures, `age` seconds old; `why` there are none,
    or no newer ones.
    """

    record: StateRecord
    figures: Figures | None = None
    rates: Rates = field(default_factory=Rates)
    first: First | None = None
    age: float = 0.0
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """What scripts read: state.json's words for what is in there, too."""
        record, figures = self.record, self.figures
        names = ("profile", "state", "since", "reason", "model", "engine", "release")
        made = {name: getattr(record, name) for name in names}
        made["endpoint"] = record.endpoint if record.is_up else None
        made["start"] = record.start.to_json() if record.start else None
        made["degraded"] = told.degraded if (told := record.canary) and told.is_asked else None
        made["why"] = self.why or None
        if figures is None:
            return made | {"figures": None}
        return made | {
            "figures": {
                "age": round(self.age, 3),
                "running": figures.running,
                "waiting": figures.waiting,
                "kv_used": figures.kv,
                "tokens_per_second": _round(self.rates.tokens),
                "cache_hits": _round(self.rates.hits),
                "accept_length": _round(self.rates.accept),
                "first_token": asdict(self.first) if self.first else None,
                "lacks": list(figures.lacks),
            }
        }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


class Watch:
    """One instance, looked at again and again."""

    def __init__(self, instance: StateDir) -> None:
        self.instance = instance
        self._of: object = None  # the run of the server that all below is of
        self._plan: Plan | None = None
        self._server: Server | None = None
        self._why = ""  # it is not asked
        self._got: tuple[float, Figures] | None = None
        self._counted: deque[tuple[float, Figures]] = deque()  # those with counters, by when
        self._whole_at = 0.0
        self._is_all = False  # it has no more figures than those that cost it little
        self._told: tuple[int, tuple[Event, ...]] = (-1, ())

    def look(self, *, whole: bool = False) -> Seen:
        """How it is now; `whole`: with all of its figures, whenever they were asked for before."""
        if self._is_anothers():
            name = self.instance.name
            why = f"another user's: `glm5-serve top {name}` shows it to root and to that user"
            return Seen(StateRecord(name, "unknown", reason=why))
        record = self.instance.look()
        if record.state != "ready":
            self._of, self._got = None, None
            return Seen(record)
        if self._of != (run := (record.launcher, record.run)):
            self._begin()
            self._of = run
        why = self._why or self._ask(whole=whole)
        return self._seen(record, why)

    def _is_anothers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.instance.folder.lstat().st_uid != os.geteuid()
        return False

    def _begin(self) -> None:
        """Find out whom to ask."""
        self._got, self._why, self._whole_at, self._is_all = None, "", 0.0, False
        self._counted.clear()
        self._plan = made = plan_of(self.instance)
        if made is None:
            self._why = f"not asked: {self.instance.plan} cannot be read"
        elif made.follows:
            self._why = f"the first node answers: {made.nodes[0].name}"
        else:
            self._server = self._place(made)

    def _place(self, made: Plan) -> Server | None:
        """Where it is asked, with its key, and only itself."""
        try:
            key = read_key(Path(made.key_file)) if made.key_file else None
        except UserError as error:
            self._why = f"not asked: {error.what}"
            return None
        return Server(made.host, made.port, key, Peer(partial(control.processes, self.instance)))

    def _ask(self, *, whole: bool) -> str:
        """Take in its figures; in words, why there are none."""
        assert self._plan
        assert self._server
        now = time.monotonic()
        whole = (whole or now >= self._whole_at + WHOLE_EVERY) and not self._is_all
        of, found = runtime(self._plan.engine), list[Figures]()

        def question(server: Server, within: float) -> Answer:
            found.append(of.figures(server, within, whole=whole))
            return Answer(True, "")

        answer = ask(question, self._server, WITHIN)
        if not found:
            return answer.detail
        self._keep(time.monotonic(), found[0], whole=whole)
        return ""

    def _keep(self, now: float, figures: Figures, *, whole: bool) -> None:
        if whole:
            self._whole_at, self._is_all = now, figures.is_all
        elif self._got:  # what is lacking is so until it is asked for again
            figures = replace(figures, lacks=figures.lacks or self._got[1].lacks)
        self._got = now, figures
        if figures.generated is not None or figures.first:
            self._counted.append((now, figures))
        while self._counted and self._counted[0][0] < now - WINDOW:
            self._counted.popleft()

    def _seen(self, record: StateRecord, why: str) -> Seen:
        if self._got is None:
            return Seen(record, why=why)
        at, figures = self._got
        age = time.monotonic() - at
        age = max(age, time.time() - figures.at) if figures.at else age
        return Seen(record, figures, self._rates(figures), self._first(), age, why)

    def _rates(self, figures: Figures) -> Rates:
        """Tokens by the last two looks at counters; shares by all of the window."""
        if not self._counted:
            return between(None, figures, 0.0)
        (began, oldest), (ended, newest) = self._counted[0], self._counted[-1]
        if len(self._counted) == 1:
            return between(None, newest, 0.0)
        at, before = self._counted[-2]
        window, last = between(oldest, newest, ended - began), between(before, newest, ended - at)
        is_counted = newest.generated is not None
        return replace(window, tokens=(last if is_counted else between(None, figures, 0.0)).tokens)

    def _first(self) -> First | None:
        if not self._counted:
            return None
        (began, oldest), (ended, newest) = self._counted[0], self._counted[-1]
        is_window = len(self._counted) > 1
        return first_tokens(oldest if is_window else None, newest, ended - began)

    def events(self) -> tuple[Event, ...]:
        """The last that happened and is worth a line; read again where there is more of it."""
        if self._is_anothers() or (size := self.instance.told()) == self._told[0]:
            return self._told[1]
        lines = list[str]()
        with (
            contextlib.suppress(OSError),
            os.fdopen(guarded.opened(self.instance.events), "rb") as file,
        ):
            file.seek(max(0, os.fstat(file.fileno()).st_size - LARGEST_END))
            lines = file.read(LARGEST_END).decode(errors="replace").splitlines()
        self._told = size, tuple(filter(_is_told, parsed(lines)))[-LAST:]
        return self._told[1]

    def readings(self) -> Readings | None:
        """What its launcher read last."""
        with contextlib.suppress(OSError, ValueError):
            if not self._is_anothers():
                data = guarded.read(self.instance.readings, LARGEST_STATE)
                return Readings.from_json(reading.parsed(data))
        return None


def _is_told(event: Event) -> bool:
    """Whether it is worth a line: not one more wrong answer of a server that is degraded."""
    told = event.fields
    is_more = event.kind == "canary" and told.get("degraded") and "cause" not in told
    return event.kind in TOLD and not is_more
