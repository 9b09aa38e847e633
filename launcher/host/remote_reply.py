"""What a host answered over ssh, read: its facts, or why there are none. Pure.

Whatever a host prints, reading it gives one of the two: a login message before it, a program that
did not end, an answer that is cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from launcher.errors import UserError
from launcher.host import facts_json, parsers
from launcher.host.facts import Fact, Gpu, Host, unknown
from launcher.host.remote_refusals import Unreachable, Way, endless, late, refusal

TIMED_OUT = (124, 137)  # how `timeout` ends, with TERM and with KILL
FLOOD = 64 << 10  # bytes that are no answer, and more than a login message has
GPUS = "nvidia-smi-q"  # the answer that shows the GPUs


@dataclass(frozen=True)
class Reply:
    """What came of asking a host: all it said, what ssh said, how ssh ended (None: not in time)."""

    said: bytes
    errors: str
    status: int | None
    seconds: float


@dataclass(frozen=True)
class Part:
    """One answer of the script; its status is None where it was cut."""

    name: str
    said: bytes
    status: int | None


def parts(said: bytes, mark: str) -> tuple[list[Part], bool]:
    """The answers, and whether the script came to its end."""
    found: list[Part] = []
    pattern = re.compile(rb"\n" + mark.encode() + rb" (begin|end|complete) ?([^\n]*)\n")
    pieces = pattern.split(said)
    for kind, words, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        name, _, status = words.decode(errors="replace").rpartition(" ")
        if kind == b"begin":
            found.append(Part(words.decode(errors="replace"), text, None))
        elif kind == b"end" and found and found[-1].name == name and status.isdecimal():
            found[-1] = replace(found[-1], status=int(status))
    return found, b"complete" in pieces[1::3]


def read(
    reply: Reply, mark: str, way: Way, deadline: float, *, has_agent: bool
) -> Host | Unreachable:
    """The host that answered so, or why nothing is known of it."""
    found, ended = parts(reply.said, mark)
    facts = next((one for one in found if one.name == "facts" and one.status == 0), None)
    if facts:
        return _of_facts(facts, way.target.name)
    if own := next((one for one in found if one.name == "facts" and len(found) == 1), None):
        return _without_facts(own, reply, way, deadline)
    if not found:
        if reply.status is None:
            return _late(reply, way, deadline)
        if reply.status == 0:
            return _nothing(way)
        return refusal(way, reply.errors, has_agent=has_agent)
    return _of_texts(found, ended, way, deadline)


def _of_facts(part: Part, host: str) -> Host | Unreachable:
    try:
        told = facts_json.loads(part.said.decode("utf-8", "replace"), f"what {host} said")
    except UserError as error:
        fix = "the releases differ: --remote script asks without its glm5-serve"
        return Unreachable("facts", error.what, fix)
    return replace(told, observed=f"{host}, by its glm5-serve")


def _without_facts(part: Part, reply: Reply, way: Way, deadline: float) -> Unreachable:
    """Its own glm5-serve was asked alone, and has not told."""
    if reply.status is None:
        return _late(reply, way, deadline)
    if part.status == 127:
        fix = f"install it for that user of {way.target.name}, or leave --remote facts out"
        return Unreachable("not-installed", "no glm5-serve is found there", fix)
    lines = [line.strip() for line in reply.errors.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("error")), "no reason")
    what = f"its glm5-serve ended with status {part.status}: {said.removeprefix('error').strip()}"
    return Unreachable("facts", what, "--remote script asks without it")


def _late(reply: Reply, way: Way, deadline: float) -> Unreachable:
    told = len(reply.said) + len(reply.errors)
    return endless(way, deadline) if told >= FLOOD else late(way, deadline)


def _nothing(way: Way) -> Unreachable:
    return Unreachable(
        "nothing",
        "it let us in, and told nothing that is known here: another shell, or a command of its own",
        way.in_words("ssh {ssh} uname -a must print one line"),
    )


def _of_texts(found: list[Part], ended: bool, way: Way, deadline: float) -> Host | Unreachable:
    host = way.target.name
    whole = [one for one in found if one.status is not None and one.status not in TIMED_OUT]
    try:
        texts = [(one.name, one.said) for one in whole if one.name != "facts"]
        seen = parsers.of_texts(texts, host)
    except UserError:
        return _nothing(way)
    cut = [one.name for one in found if one.status is None or one.status in TIMED_OUT]
    notes = [f"{name} did not end" for name in cut]
    notes += [] if ended or cut else [f"cut after {deadline:g} s"]
    told = f"; {', '.join(notes)}" if notes else ""
    seen = replace(seen, observed=f"{host}, by a script over ssh{told}")
    if GPUS in cut:
        why: Fact[tuple[Gpu, ...]] = unknown(
            "`nvidia-smi -q` did not answer in time: the driver or a GPU hangs"
        )
        seen = replace(seen, driver=replace(seen.driver, gpus=why))
    return seen
