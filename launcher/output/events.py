"""Events in words, a line each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launcher import printable
from launcher.engines.log import PHASES
from launcher.statedir.events import Event
from launcher.statedir.times import is_time, local

if TYPE_CHECKING:
    from rich.console import Console

GIB = 1 << 30
STAMP = len("2026-11-27 01:02:03")
NO_TIME = "no time"

# what an event raises that is not as it should be
ODD = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
# of states; else red
COLOURS = {
    "ready": "green",
    "starting": "cyan",
    "stopping": "yellow",
    "backoff": "yellow",
    "stopped": "default",
}
# of events; else none
KIND_COLOURS = {"death": "red", "canary": "yellow", "gpu": "red", "warning": "yellow"}
LINES, LINE = 3, 160  # of a log, and characters of each, where nobody knows why it died


def in_words(event: Event) -> str | None:
    """One line for an event: the time of day, and what happened. None for one that is not worth a
    line, or not as it should be.
    """
    said = what(event)
    return said and f"{local(event.time)[11:] if is_time(event.time) else NO_TIME}  {said}"


def what(event: Event) -> str | None:
    """What happened, without its time; None as `in_words`."""
    if event.kind == "readahead" and event.fields.get("end") is None:
        return None  # it is told once it is over
    try:
        said = _words(event)
    except ODD:
        return None
    return said and printable.line(said)


def _words(event: Event) -> str | None:
    told = {name: value for name, value in event.fields.items() if value is not None}
    match event.kind, told:
        case "state", {"state": "ready", "moved": True, "seconds": seconds, "url": url}:
            total = sum(seconds.values())
            return f"ready      in {total:.1f} s: {url}"
        case "state", {"state": "starting", "reason": reason, "log": log}:
            return f"starting   {event.profile}, {reason}; log in {log}"
        case "state", {"state": state, "reason": reason}:
            return f"{state:<9}  {reason}"
        case "phase", {"phase": phase, "seconds": seconds}:
            *_, (last, took), _ = seconds.items()
            return f"{PHASES[last]:<16}  {took:6.1f} s   next: {PHASES[phase]}"
        case "progress", {"phase": phase, "progress": {"done": done, "total": total, "left": left}}:
            return f"{PHASES[phase]:<16}  {done}/{total}, {left} left"
        case "readahead", _:
            return f"read ahead {reading_ahead(told)}{'' if 'end' in told else ', and goes on'}"
        case "death", {"run": run, "how": how, "cause": cause, "what": what, "fix": fix}:
            why = f"{what}{_last_lines(told)}" if cause == "unknown" else what
            return f"died       run {run} {how}; {cause}: {why}; fix: {fix}"
        case "smoke", {"ok": ok, "detail": detail, "seconds": seconds}:
            return f"smoke      {'passed' if ok else 'FAILED'} in {seconds:.1f} s: {detail}"
        case "canary", {"degraded": True, "reason": reason, "cause": str()}:
            return f"degraded   {reason}"
        case "canary", {"reason": reason}:
            return f"canary     {reason}"
        case "gpu", {"line": line}:
            return f"gpu        {line}"
        case "warning", {"reason": reason}:
            return f"warning    {reason}"
    return None


def _last_lines(told: Mapping[str, Any]) -> str:
    """The end of what a server of unknown death wrote: who reads it may know more."""
    lines = [line[:LINE] for line in told.get("evidence", ())[-LINES:] if line]
    return f": {' | '.join(lines)}" if lines else ""


def reading_ahead(told: Mapping[str, Any]) -> str:
    """How far the checkpoint is in memory, at which rate, and why not further."""
    done, total, seconds = told["read"] + told["cached"], told["total"], told["seconds"]
    gib = f"{done / GIB:.1f} of {total / GIB:.1f} GiB" if done < total else _gib(total)
    rate = f" in {seconds:.1f} s ({_gib(told['read'] / seconds)}/s)" if told["read"] else ""
    cached = f", {_gib(told['cached'])} of it were in memory" if told["cached"] else ""
    where = f", from {told['where']}" if told["where"] else ""
    why = f": {told['end']}" if told.get("end") else ""
    if told["cached"] >= total > 0 and not why:
        return f"{gib}: all of it is in memory already{where}"
    return f"{gib}{rate}{cached}{where}{why}" if done else f"nothing{where}{why}"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


def dated(event: Event) -> str:
    """One line for an event of any day: what has no words of its own by the names of its fields."""
    return f"{stamp(event.time)}  {_in_full(event)}"


def stamp(time_: str) -> str:
    """When it happened, in STAMP columns."""
    return f"{local(time_):<{STAMP}}"


def clock(time_: str, now: float) -> str:
    """The time of day of what happened today, else the day with it."""
    return local(time_).removeprefix(time.strftime("%Y-%m-%d ", time.localtime(now)))


def _in_full(event: Event) -> str:
    try:
        said = _words(event)
    except ODD:
        said = None
    told = (f"{name} {_plain(value)}" for name, value in event.fields.items() if value is not None)
    return printable.line(said or f"{event.kind:<9}  {', '.join(told) or 'no more is told'}")


def _plain(value: object) -> str:
    """A field's value in a line."""
    return value if isinstance(value, str) else json.dumps(value)


def show(event: Event, screen: Console) -> None:
    """Print an event on a terminal: folded below itself, a fix on a line of its own, and what
    matters in its colour.
    """
    from launcher.output.console import beside

    said = _in_full(event)
    colour = KIND_COLOURS.get(event.kind, "")
    if event.kind == "state":
        colour = COLOURS.get(str(event.fields.get("state")), "red")
    if event.fields.get("ok") is False:
        colour = "red"
    told, fix, how = said.rpartition("; fix: ")
    told, how = (told, how) if fix else (how, "")
    beside(screen, (stamp(event.time), "dim"), STAMP, (told, colour))
    if fix:
        beside(screen, ("", ""), STAMP, f"fix: {how}")


def timeline(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """The phases of a start in words, with the seconds each took."""
    return [(PHASES.get(phase, phase), took) for phase, took in seconds.items()]
