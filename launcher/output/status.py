"""How instances are: what `status` prints, for a person or as JSON for a script."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher import __version__, counting
from launcher.counting import rate
from launcher.engines.engine import NAMES, dialect
from launcher.gateway import NAME as GATEWAY
from launcher.output import nextstep, starts
from launcher.output.bars import duration, signs_for
from launcher.output.events import COLOURS, timeline
from launcher.statedir.state import Canary, Pids, StartRecord, StateRecord
from launcher.statedir.times import local, seconds_since

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SCHEMA = 1
GONE = ("stopped", "failed", "dead")  # states in which nobody answers
WIDTH = 10  # of the names in a status


def status(seen: StateRecord, *, as_json: bool) -> None:
    """How an instance is."""
    if as_json:
        print(json.dumps(seen.to_json(), indent=1))
        return
    from launcher.output.console import beside, console

    screen = console(sys.stdout)
    screen.print(_head(seen))
    for name, told in (*_rows(seen), *_roles(seen.pids)):
        beside(screen, (name, ""), WIDTH, str(told))
        if name == "start" and seen.state == "starting" and seen.start:
            _print_phases(screen, seen.start, _elapsed(seen))


def next_step(seen: StateRecord) -> None:
    """What helps with one that is down: the way up, or what became of it. A gateway has its own
    way.
    """
    if seen.engine == GATEWAY:
        return
    if seen.state == "failed":
        kind = " --kind death" if any(seen.deaths.values()) else ""
        nextstep.tell((f"events -p {seen.profile}{kind}", "what happened"))
    elif seen.state == "dead":
        nextstep.tell(
            (f"up {seen.profile} --detach", "start it again"),
            (f"down -p {seen.profile}", "leave it stopped: its alert ends"),
        )
    elif seen.canary and seen.canary.degraded:
        nextstep.tell(
            (f"events -p {seen.profile} --kind canary", "what it answered"),
            (f"restart -p {seen.profile}", "load it again, when its requests are answered"),
        )
    elif seen.state == "stopped":
        nextstep.tell((f"up {seen.profile} --detach", "start it, and keep it up"))


def _head(seen: StateRecord) -> Text:
    """Its name, its state, and since when."""
    from launcher.output.console import words

    since = "last seen" if seen.state == "dead" else "since"
    began = f"  {since} {local(seen.since)}{_ago(seen.since)}" if seen.since else ""
    colour = f"bold {COLOURS.get(seen.state, 'red')}"
    worse = ("  degraded", "bold red") if seen.canary and seen.canary.degraded else ""
    return words((seen.profile, "bold"), "  ", (seen.state, colour), worse, began)


def _engine(seen: StateRecord) -> str:
    """The engine as people write it, and its release; of another launcher's as it calls it."""
    name = dialect(seen.engine).name if seen.engine in NAMES else seen.engine
    return " ".join(filter(None, (name, seen.release))) or "-"


def _rows(seen: StateRecord) -> list[tuple[str, object]]:
    """What is told of an instance; of one without a state file only the reason."""
    rows: list[tuple[str, object]] = [("reason", seen.reason or "-")]
    if seen.launcher:
        if older := _other_launcher(seen):
            rows.append(("launcher", older))
        where = f"{there}/v1  model {seen.model}" if (there := _where(seen)) else "-"
        rows.append(("endpoint", where))
        rows.append(("engine", _engine(seen)))
        rows.append(("run", "-" if seen.run is None else seen.run))
        rows.append(("restarts", "-" if seen.restarts is None else seen.restarts))
        rows.append(("start", _start(seen)))
        rows += [("canary", _canary(seen.canary))] if seen.canary else []
        is_said = bool(seen.last_error) and str(seen.last_error) in seen.reason
        rows.append(("last error", "the reason says it" if is_said else seen.last_error or "-"))
        rows.append(("server log", seen.server_log or "-"))
    return rows


def _other_launcher(seen: StateRecord) -> str:
    """That what keeps it up is of another version than is installed; "" where it is the same, or
    none is left.
    """
    version = seen.launcher.version if seen.launcher else None
    if seen.state in GONE or version in (None, __version__):
        return ""
    again = f"`glm5-serve restart -p {seen.profile}`"
    return f"of glm5-serve {version}; {__version__} is installed: {again} takes it"


def _canary(told: Canary) -> str:
    """Whether it answers as it did after its start, and by what that is known."""
    nothing = "nothing to ask that this server can answer" if told.every else "off"
    if told.time is None:
        waits = f"not asked yet, one question every {counting.span(told.every)}"
        return waits if told.is_asked else nothing
    counts = ", ".join(f"{count} {said}" for said, count in sorted(told.answers.items()))
    seconds = seconds_since(told.time, time.time())
    ago = "" if seconds is None else f" {duration(seconds)} ago"
    is_told = told.degraded and told.last in told.reason
    last = f"{counts}; the last one{ago}{'' if is_told else f': {told.last}'}"
    if told.degraded:
        since = f"{local(told.since or '')}{_ago(told.since or '')}"
        return f"degraded since {since}: {told.reason}; {last}"
    if not told.is_asked:
        return f"{nothing}: {last}"
    signs = (
        (told.step_seconds, 1000, "ms a step"),
        (told.accepted, 1, "tokens of a step accepted"),
        (told.tokens_per_second, 1, "tok/s"),
    )
    pace = ", ".join(f"{rate(value * by)} {unit}" for value, by, unit in signs if value)
    return f"fine: {last}{f'; {pace}' if pace else ''}"


def status_of_all(every: Sequence[StateRecord], *, as_json: bool) -> None:
    """How each instance is: a line each, or a block where lines have no room."""
    if as_json:
        told = [seen.to_json() for seen in every]
        print(json.dumps({"schema": SCHEMA, "instances": told}, indent=1))
        return
    from launcher.output.console import console, table_of, table_or_blocks, words

    table = table_of("profile", "state", "since", "endpoint", "reason")
    for seen in every:
        began = f"{local(seen.since)}{_ago(seen.since)}" if seen.since else "-"
        began = f"last seen {began}" if seen.since and seen.state == "dead" else began
        state = words((seen.state, f"bold {COLOURS.get(seen.state, 'red')}"))
        where = words(_where(seen) or "-")
        table.add_row(words(seen.profile), state, began, where, words(_why_so(seen)))
    blocks = ((_head(seen), (_where(seen), _why_so(seen))) for seen in every)
    table_or_blocks(console(sys.stdout), table, blocks)


def _where(seen: StateRecord) -> str:
    """Where it answers; "" where nobody does."""
    return seen.endpoint or "" if seen.state not in GONE else ""


def _why_so(seen: StateRecord) -> str:
    """Why it is as it is, in the list of all: that it is degraded comes first."""
    told = seen.canary
    return f"degraded: {told.reason}" if told and told.degraded else seen.reason


def _elapsed(seen: StateRecord) -> float:
    """Seconds that it has been in its state."""
    return seconds_since(seen.since, time.time()) or 0.0


def _print_phases(screen: Console, start: StartRecord, elapsed: float) -> None:
    """A start that goes on, beside those before it."""
    from launcher.output.console import words

    for line in starts.phases(start, elapsed, signs_for(screen.encoding)):
        starts.put(screen, words("  ", *line))


def _start(seen: StateRecord) -> str:
    """How long each phase took, or how long it will; "-" where a state file tells nothing of the
    kind.
    """
    if (start := seen.start) is None:
        return "-"
    if seen.state == "starting":
        return starts.to_come(start, _elapsed(seen))
    phases = ", ".join(f"{name} {took:.1f}" for name, took in timeline(start.seconds))
    waited = f"; {told}" if (told := starts.meanwhile(start)) else ""
    return f"{sum(start.seconds.values()):.1f} s: {phases}{waited}"


def _roles(pids: Pids) -> list[tuple[str, object]]:
    """The processes that live, and how much each holds."""
    import psutil

    roles: list[tuple[str, object]] = []
    for pid in [pids.launcher, pids.server, *(pids.others or ())]:
        try:
            if pid is None or not psutil.pid_exists(pid):
                continue
            process = psutil.Process(pid)
            # SGLang's ranks put their title where the command line was; the name keeps 15
            # characters of it.
            title = next((word for word in process.cmdline()[:1] if "::" in word), process.name())
            resident = process.memory_info().rss / 2**20
            role = {pids.launcher: "launcher", pids.server: "server"}.get(pid, title)
        except (psutil.Error, TypeError, ValueError, OverflowError):  # gone, or no pid at all
            continue
        roles.append(("process", f"{pid:<8} {role}, {resident:.0f} MiB"))
    return roles


def _ago(since: str) -> str:
    """How long ago that was, in brackets; nothing for what is no time."""
    seconds = seconds_since(since, time.time())
    return "" if seconds is None else f" ({duration(seconds)})"
