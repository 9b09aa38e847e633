"""Somebody's launch judged: what `glm5-serve lint` shows, and its JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.knowledge import wrappers
from launcher.lint.fix import Fixed, fixed
from launcher.lint.lint import Entry
from launcher.lint.rewrite import rewrite
from launcher.lint.run import Judged, Judgement, Said, judge, nothing

SCHEMA = 1


@dataclass(frozen=True)
class Linted:
    """A text, what is said of its launches, and what would be changed of it; no `fix` where it is
    judged over releases.
    """

    text: str
    judgement: Judgement
    fix: Fixed | None


def lint(
    text: str,
    target: Target,
    place: str = "this text",
    said: Said = nothing,
    *,
    every: bool = False,
) -> Linted:
    """Judge every launch of a text; what is given beside it is as in `judge`. Raises UserError."""
    judgement = judge(text, target, place, said, every=every)
    one = all(judged.is_of_one for judged in judgement.launches)
    return Linted(text, judgement, fixed(text, target, said) if one else None)


def to_json(linted: Linted) -> dict[str, Any]:
    """What `lint --json` prints: keys are left out."""
    judgement, fix = linted.judgement, linted.fix
    launches = [_launch(judged) for judged in judgement.launches]
    unread = list(map(judgement.hidden, judgement.unread))
    data = {"schema": SCHEMA, "launches": launches, "unread": unread}
    return data | ({"fix": fix_json(judgement, fix)} if fix else {})


def said_before(judgement: Judgement) -> list[str]:
    """What a change rests on: what was assumed, and what was not read."""
    unread = (f"not read: {what}" for what in judgement.unread)
    read = (what for one in judgement.launches for what in one.launch.notes)
    assumed = (f"assumed: {what}" for one in judgement.launches for what in one.assumed)
    return list(dict.fromkeys([*unread, *read, *assumed]))


def fix_json(judgement: Judgement, fix: Fixed) -> dict[str, Any]:
    """What `lint --fix --json` prints of the change."""
    hidden = judgement.hidden
    changes = [
        {name: hidden(text) for name, text in asdict(change).items()} for change in fix.changes
    ]
    text = None if fix.obstacles else hidden(fix.text)
    return {
        "text": text,
        "changes": changes,
        "obstacles": list(map(hidden, fix.obstacles)),
        "notes": list(map(hidden, said_before(judgement))),
    }


def _launch(judged: Judged) -> dict[str, Any]:
    releases = {name: _of_release(judged, name) for name in judged.releases}
    return {
        "name": judged.launch.name,
        "line": judged.launch.line,
        "form": judged.launch.form,
        "arch": judged.target.arch,
        "gpu": judged.target.gpu,
        "assumed": list(judged.assumed),
        "notes": list(map(judged.hidden, judged.notes)),
        "releases": releases,
    }


def _of_release(judged: Judged, release: str) -> dict[str, Any]:
    found = rewrite(judged.launch, judged.of(release), judged.before)
    wrapper = wrappers.of_program(judged.launch.starter)
    own = ("-m", judged.launch.starter) if wrapper else dialect(judged.launch.engine).program
    program = ("python3", *own)
    env = {name: judged.hidden(value) for name, value in found.launch.env.items()}
    instead = {"argv": [*program, *map(judged.hidden, found.launch.words)], "env": env}
    return {
        "entries": [_entry(judged, entry) for entry in judged.releases[release]],
        "instead": None if found.obstacle else instead,
        "obstacle": judged.hidden(found.obstacle),
    }


def _entry(judged: Judged, entry: Entry) -> dict[str, Any]:
    data = asdict(entry)
    for key in ("name", "value"):
        data[key] = judged.hidden(data[key])
    for key in ("why", "instead", "unjudged"):
        data[key] = judged.sentence(data[key]) if data[key] else data[key]
    data["concerns"] = [
        {
            "verdict": concern.verdict,
            "when": concern.when,
            "why": judged.sentence(concern.why),
            "instead": judged.sentence(concern.instead) if concern.instead else None,
            "id": concern.id,
        }
        for concern in entry.concerns
    ]
    return data
