"""What `diagnose` prints."""

from __future__ import annotations

import json
import sys

from launcher import folding, printable
from launcher.diagnose.verdict import Diagnosis, in_words, to_json
from launcher.engines import engine
from launcher.engines.log import PHASES, SERVING
from launcher.errors import Exit
from launcher.knowledge.families import QUIET, SERVES, STOPPED

COLUMN = 11  # where a row begins behind its name
MOST = 240  # columns of a line of a log


def show(found: Diagnosis, *, as_json: bool) -> int:
    """Print it; 1 if it died of nobody knows what."""
    is_explained = found.is_known or found.family in (QUIET, SERVES, STOPPED)
    if as_json:
        print(json.dumps(to_json(found), indent=1))
    elif sys.stdout.isatty():
        is_well = found.family in (QUIET, SERVES)
        _in_colour(text(found), "green" if is_well else "red" if is_explained else "yellow")
    else:
        print(text(found))
    return Exit.FINE if is_explained else Exit.NO


def _in_colour(told: str, colour: str) -> None:
    """Print it with the cause in a colour, and lines of the log as what they are."""
    from launcher.output.console import console, words

    screen = console(sys.stdout)
    styles = {"cause": ("bold", colour), "evidence": ("bold", "dim"), "fix": ("bold", "green")}
    style = ("bold", "")
    for line in told.splitlines():
        head, rest = line[:COLUMN], line[COLUMN:]
        style = styles.get(head.strip(), ("bold", "")) if head.strip() else style
        screen.print(words((head, style[0]), (rest, style[1])))


def text(found: Diagnosis) -> str:
    """A diagnosis for a person."""
    rows = [("cause", f"{found.cause}: {found.what}" if found.is_known else found.what)]
    rows.append(("family", _family(found)))
    rows += [("evidence" if i == 0 else "", each) for i, each in enumerate(found.evidence)]
    rows.append(("fix", found.fix))
    if found.knob:
        rows.append(("knob", found.knob))
    if found.is_known:
        again = {
            "never": "no use, the same command fails again",
            "again": "a restart may help",
            "reboot": "no use, reboot first",
        }
        rows.append(("restart", again[found.then]))
        rows.append(("known", f"{found.known} ({found.source})"))
    if found.also:
        rows.append(("also seen", ", ".join(found.also)))
    width = folding.columns(sys.stdout)
    return "\n".join(_row(name, printable.line(told), width) for name, told in rows)


def _family(found: Diagnosis) -> str:
    """What kind of end it was, and where in the life of whose server."""
    where = {**PHASES, SERVING: "serving"}.get(found.phase or "")
    names = {name: engine.log(name).name for name in engine.NAMES}
    told = [part for part in (names.get(found.engine or ""), where) if part]
    return in_words(found) + (f" ({', '.join(told)})" if told else "")


def _row(name: str, told: str, width: int) -> str:
    """A row; of a line of a log only so much."""
    line = f"{name:<{COLUMN - 1}} {told}"
    if name in ("evidence", "") and len(line) > MOST:
        line = f"{line[: MOST - 1]}…"
    indent = len(line) - len(line.lstrip())
    return folding.folded(line, width, COLUMN - indent)
