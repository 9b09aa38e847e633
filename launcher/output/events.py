"""Events in words, a line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launcher import printable
from launcher.engines.log import PHASES
from launcher.statedir.events import Event
from launcher.statedir.times import local

if TYPE_CHECKING:
    from rich.console import Console

GIB = 1 << 30
STAMP = len("2026-11-27 01:02:03")

# what an event raises that is not as it should be
ODD = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
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


def in_words(event: Event) -> str | None:
    """One line for an event, or None for one that is not worth a line, or not as it should be."""
    try:
        said = _words(event)
    except ODD:
        return None
    return said and printable.line(said)


def _words(event: Event) -> str | None:
    clock = local(event.time)[11:]
    match event.kind, event.fields:
        case "state", {"state": "ready", "moved": True, "seconds": seconds, "url": url}:
            total = sum(seconds.values())
            return f"{clock}  ready      in {total:.1f} s: {url}"
        case "state", {"state": "starting", "reason": reason, "log": log}:
            return f"{clock}  starting   {event.profile}, {reason}; log in {log}"
        case "state", {"state": state, "reason": reason}:
            return f"{clock}  {state:<9}  {reason}"
        case "phase", {"phase": phase, "seconds": seconds}:
            *_, (last, took), _ = seconds.items()
            return f"{clock}  {PHASES[last]:<16}  {took:6.1f} s   next: {PHASES[phase]}"
        case "progress", {"phase": phase, "progress": {"done": done, "total": total, "left": left}}:
            return f"{clock}  {PHASES[phase]:<16}  {done}/{total}, {left} left"
        case "readahead", {"end": str()}:
            return f"{clock}  read ahead {reading_ahead(event.fields)}"
        case "death", {"run": run, "how": how, "cause": cause, "what": what, "fix": fix}:
            return f"{clock}  died       run {run} {how}; {cause}: {what}; fix: {fix}"
        case "smoke", {"ok": ok, "detail": detail, "seconds": seconds}:
            return (
                f"{clock}  smoke      {'passed' if ok else 'FAILED'} in {seconds:.1f} s: {detail}"
            )
        case "canary", {"degraded": True, "reason": reason, "cause": str()}:
            return f"{clock}  degraded   {reason}"
        case "canary", {"reason": reason}:
            return f"{clock}  canary     {reason}"
        case "gpu", {"line": line}:
            return f"{clock}  gpu        {line}"
        case "warning", {"reason": reason}:
            return f"{clock}  warning    {reason}"
    return None


def reading_ahead(told: Mapping[str, Any]) -> str:
    """How far the checkpoint is in memory, at which rate, and why not further."""
    done, total, seconds = told["read"] + told["cached"], told["total"], told["seconds"]
    gib = f"{done / GIB:.1f} of {total / GIB:.1f} GiB" if done < total else _gib(total)
    rate = f" in {seconds:.1f} s ({_gib(told['read'] / seconds)}/s)" if told["read"] else ""
    cached = f", {_gib(told['cached'])} of it were in memory" if told["cached"] else ""
    where = f", from {told['where']}" if told["where"] else ""
    why = f": {told['end']}" if told["end"] else ""
    if told["cached"] >= total > 0 and not why:
        return f"{gib}: all of it is in memory already{where}"
    return f"{gib}{rate}{cached}{where}{why}" if done else f"nothing{where}{why}"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


def dated(event: Event) -> str | None:
    """One line for an event of any day; what has no line of its own is shown as it is."""
    line, time_ = in_words(event), local(event.time)
    return f"{time_[:10]} {line or f'{time_[11:]}  {json.dumps(event.to_json())}'}"


def show(event: Event, screen: Console) -> None:
    """Print an event on a terminal: folded below itself, a fix on a line of its own, and what
    matters in its colour.
    """
    from launcher.output.console import beside

    line = dated(event) or ""
    stamp, said = line[:STAMP], line[STAMP:].strip()
    colour = KIND_COLOURS.get(event.kind, "")
    if event.kind == "state":
        colour = COLOURS.get(str(event.fields.get("state")), "red")
    if event.fields.get("ok") is False:
        colour = "red"
    what, fix, how = said.partition("; fix: ")
    beside(screen, (stamp, "dim"), STAMP, (what, colour))
    if fix:
        beside(screen, ("", ""), STAMP, f"fix: {how}")


def timeline(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """The phases of a start in words, with the seconds each took."""
    return [(PHASES.get(phase, phase), took) for phase, took in seconds.items()]
