"""How events look to a person, a line each, and in the journal with their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping

from launcher import printable
from launcher.engines.log import PHASES
from launcher.serve import journald
from launcher.statedir.events import Event

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
}


def in_words(event: Event) -> str | None:
    """One line for an event, or None for one that is not worth a line, or not as it should be."""
    try:
        said = _words(event)
    except ODD:
        return None
    return said and printable.line(said)


def _words(event: Event) -> str | None:
    clock = event.time[11:19]
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
        case "death", {"run": run, "how": how, "cause": cause, "what": what, "fix": fix}:
            return f"{clock}  died       run {run} {how}; {cause}: {what}; fix: {fix}"
        case "smoke", {"ok": ok, "detail": detail, "seconds": seconds}:
            return (
                f"{clock}  smoke      {'passed' if ok else 'FAILED'} in {seconds:.1f} s: {detail}"
            )
        case "gpu", {"line": line}:
            return f"{clock}  gpu        {line}"
        case "warning", {"reason": reason}:
            return f"{clock}  warning    {reason}"
    return None


def dated(event: Event) -> str | None:
    """One line for an event of any day; what has no line of its own is shown as it is."""
    line = in_words(event)
    time = printable.line(event.time)
    return f"{time[:10]} {line or f'{time[11:19]}  {json.dumps(event.to_json())}'}"


def timeline(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """The phases of a start in words, with the seconds each took."""
    return [(PHASES.get(phase, phase), took) for phase, took in seconds.items()]


SERIOUS = {"death", "gpu", "warning"}
FIELDS = (
    "event",
    "profile",
    "state",
    "phase",
    "run",
    "restarts",
    "reason",
    "cause",
    "fix",
    "how",
    "xid",
    "ok",
)


def to_journal(event: Event) -> None:
    """Log an event with its fields: `journalctl -t glm5-serve GLM5_CAUSE=no-memory-for-kv`."""
    line = in_words(event)
    if line is None or event.kind == "progress":
        return
    told = event.to_json()
    failed = told.get("state") == "failed" or told.get("ok") is False
    fields = {f"GLM5_{name.upper()}": told[name] for name in FIELDS if told.get(name) is not None}
    priority = 3 if failed else 4 if event.kind in SERIOUS else 6
    journald.send(line[10:], {"PRIORITY": priority, "SYSLOG_IDENTIFIER": "glm5-serve", **fields})
