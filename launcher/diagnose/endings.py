"""The words for an end: of one whose cause is known, of one whose cause is not, and of none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from launcher import printable
from launcher.diagnose import advice, last_signs
from launcher.diagnose.deaths import LAST_LINES, Block
from launcher.diagnose.hits import EVIDENCE, Hit
from launcher.diagnose.matching import SAYS, SERVER, matches
from launcher.diagnose.scan import LogScan
from launcher.diagnose.tracebacks import function
from launcher.diagnose.verdict import ELSE, KERNEL_KNOWS, LEFT, UNKNOWN, Diagnosis
from launcher.engines import engine
from launcher.engines.failures import failures
from launcher.engines.log import PHASES, SERVING
from launcher.knowledge import codes, families, xid

NOTHING = "no known failure in this log"
MESSAGE = 160  # characters of an exception's own words
COMPLAINTS = 6  # lines that look like one, and of which nobody knows, at most
REPORT = (
    "the lines above are the last of what died first: report them with `glm5-serve bundle`;"
    f" {KERNEL_KNOWS}"
)
WHO = (
    "if nobody meant it, `journalctl` of that minute tells who asked: a unit's stop, an eviction or"
    " a probe of Kubernetes, a terminal that was closed, the end of a user's last login (a server"
    " of a user's own outlives that by `loginctl enable-linger USER`)"
)
OWN = "if a server died all the same, its own log tells more: `glm5-serve diagnose LOG`"
# An exception of the engine's own code says little; where it was says more.
_BY_PHASE = {"weights": "checkpoint"}
_WORD = re.compile(r"(?P<before>: | \(| )?\{(?P<name>\w+)\}(?P<after>\))?")


def known(hit: Hit, gravest: Hit, hits: Sequence[Hit], speaks: str | None) -> Diagnosis:
    """What is believed where a failure was recognized, in the words of the engine that speaks.

    What to do is the advice of the `gravest` of them, behind what a note adds to this cause.
    """
    failure, words = hit.failure, hit.failure.told(speaks)
    beside = [each for each in hits if failure.id in each.failure.beside]
    knobs = (each.failure.told(speaks).knob for each in beside)
    return Diagnosis(
        failure.id,
        failure.family,
        _what(hit, words.what),
        tuple(hit.lines.values())[:EVIDENCE],
        "; ".join(_fix(each, speaks) for each in (*beside, gravest)),
        gravest.failure.then,
        next(filter(None, knobs), words.knob),
        failure.known,
        words.source,
        failure.origin,
        speaks,
        hit.phase,
        hit.line,
        also=tuple(dict.fromkeys(each.failure.id for each in hits if each.failure is not failure)),
    )


def _fix(hit: Hit, speaks: str | None) -> str:
    told = hit.words.get("xid_fix") or hit.failure.told(speaks).fix
    told = filled(told, {"leftovers": _leftovers(speaks), **hit.words})
    return _passed_on(told, hit.words.get(SAYS, ""))


def _leftovers(speaks: str | None) -> str:
    """What a killed server leaves in /dev/shm, as the reaper knows it."""
    names = (speaks,) if speaks else engine.NAMES
    shared = dict.fromkeys(glob for name in names for glob in engine.runtime(name).shared)
    return ", ".join(shared)


def _passed_on(fix: str, says: str) -> str:
    """What to do, behind what the message itself says of it."""
    return f"as the message says ({says}); else {fix}" if says else fix


def undecided(log: LogScan, notes: list[Hit], speaks: str | None) -> Diagnosis:
    """Nothing deadly recognized: a stop, a server that serves, or the last lines of the rank that
    died first.
    """
    seen = {hit.failure.id: hit.weight for hit in notes}
    death = _of_its_own(_end(log))
    ended = death or _of_its_own(log.ends.error)
    stands = log.hits.waits() or _stands(log, speaks)
    went_on = not (log.pulse.worked_at < 0 or death or stands or "consequence" in seen.values())
    died = death and (log.pulse.stopped_at is None or death.at < log.pulse.stopped_at)
    if (log.pulse.stopped_at is not None and not died) or _is_interrupted(death):
        family, what, fix = families.STOPPED, f"{NOTHING}: it was asked to stop, and went", ELSE
        asked = [hit for hit in notes if hit.failure.family == families.STOPPED]
        what += "".join(f"; {_what(hit)}" for hit in asked)
        fix = "; ".join([*([_fix(hit, speaks) for hit in asked] or [WHO]), ELSE])
        what, fix = _with_passed(log.hits.passed(), what, fix, speaks)
    elif went_on:
        family, ending, asks = last_signs.judge(log.pulse)
        what, fix = f"{NOTHING}: {ending}", f"{asks}; {ELSE}" if asks else ELSE
        what, fix = _with_passed(log.hits.passed(), what, fix, speaks)
    elif log.is_kernels and not (notes or log.complaints or death):
        family, what, fix = families.QUIET, f"{NOTHING}: the kernel tells of no fault", OWN
    else:
        told = [hit for hit in notes if hit.weight != "consequence"]  # not what ended it
        about = [hit for hit in (_stands(log, speaks), *told) if hit]
        family, what, fix = _family(ended, about), *_unknown(log, death, seen, speaks)
    what += "".join(f"; the kernel: {_what(hit)}" for hit in notes if hit.is_kernels)
    evidence = tuple(printable.line(line).strip() for line in _words(log, death))
    phase = (ended.phase if ended and not went_on else None) or log.pulse.phase
    also = tuple(seen)
    return Diagnosis(UNKNOWN, family, what, evidence, fix, engine=speaks, phase=phase, also=also)


def _with_passed(passed: Hit | None, what: str, fix: str, speaks: str | None) -> tuple[str, str]:
    """What it said of itself before it worked on, told beside how the log ends."""
    if passed is None:
        return what, fix
    told = failures()[passed.failure.passes].told(speaks)
    said = filled(told.what, passed.words)
    return f"{what}; before that {said}", f"{filled(told.fix, passed.words)}; {fix}"


def _end(log: LogScan) -> Block | None:
    """What a process ended of: by its own word, or by a traceback that nothing came after."""
    death, raised = log.last_words(), log.last_exception()
    is_silent = death is None or (death.error is None and raised and raised.at < death.at)
    return raised if raised and is_silent else death


def _of_its_own(end: Block | None) -> Block | None:
    """An end, unless its exception only says that another process has ended."""
    if end is None:
        return None
    told = matches(f"{end.error}: {end.message}", SERVER, from_start=False)
    return None if any(found.failure.weight == "consequence" for found in told) else end


def _stands(log: LogScan, speaks: str | None) -> Hit | None:
    """The step that the log ends in, of the engine that speaks."""
    steps = (hit for hit in log.hits.stands() if hit.failure.engine in ("", speaks))
    return next(steps, None)


def _unknown(
    log: LogScan, death: Block | None, seen: Mapping[str, str], speaks: str | None
) -> tuple[str, str]:
    """What is said of an unknown death, and what to do."""
    if death:
        what = f"{LEFT} {death.speaker or 'what died first'}{_place(death)}"
        fix = _passed_on(REPORT, advice.given(death.message))
        if log.pulse.probed_at > death.at:
            return f"{what}; {last_signs.ANSWERS}", f"{last_signs.ASK}; {fix}"
        return what, fix
    if "consequence" in seen.values():
        return "no known cause: who died first left no word here; the last lines of all", REPORT
    if step := _stands(log, speaks):
        what = f"{NOTHING}; if nothing came for minutes, most likely {_what(step)}"
        return what, f"{_fix(step, speaks)}; {ELSE}"
    if log.ends.error:
        what = f"no known cause; there is an exception{_place(log.ends.error)}"
        return what, _passed_on(ELSE, advice.given(log.ends.error.message))
    if waits := log.hits.waits():
        when = "it served, and then" if log.pulse.worked_at >= 0 else "at its end"
        return f"{NOTHING}; {when} {_what(waits)}", f"{_fix(waits, speaks)}; {ELSE}"
    if log.last:
        return f"{NOTHING}; the last lines", ELSE
    nobody = "no line of it is the server's, or the kernel's" if log.pulse.taken else "it is empty"
    return f"{NOTHING}: {nobody}", ELSE


def _is_interrupted(death: Block | None) -> bool:
    """Whether what ended it is somebody at a keyboard, or what cancels its tasks then."""
    code = codes.of("exception").by_name.get((death and death.error) or "")
    return code is not None and code.family == families.STOPPED


def _place(death: Block) -> str:
    """The exception, and where in its life the server was, as far as it is known."""
    called = (function(frame) for frame in reversed(death.frames))
    at = next((f"in {name}" for name in called if name), None)
    where = {**PHASES, SERVING: "while it served"}.get(death.phase or "")
    told = [part for part in (death.error, at, where) if part]
    said = f" ({death.message[:MESSAGE].strip()})" if death.message.strip() else ""
    return f": {', '.join(told)}{said}" if told else ""


def _family(death: Block | None, notes: Iterable[Hit]) -> str:
    """What an unknown death is about: by its exception, where it was raised, or what was noted."""
    code = codes.of("exception").by_name.get(death.error or "") if death else None
    if code and code.family != "engine":
        return code.family
    code_of = death and next(filter(None, map(families.of_code, reversed(death.frames))), None)
    if code_of:
        return code_of
    if death and death.error:
        return _BY_PHASE.get(death.phase or "", "engine")
    told = (hit.failure.family for hit in notes if hit.failure.family != families.UNKNOWN)
    return next(told, families.UNKNOWN)


def _words(log: LogScan, death: Block | None) -> list[str]:
    """The lines that look most like a complaint, the first of each speaker, then the last lines."""
    last = [str(line) for line in ((death and death.lines) or log.last)]
    first = [line for line in log.complaints.values() if line not in last][:COMPLAINTS]
    return [*first, *last][: LAST_LINES + COMPLAINTS]


def _xid(hit: Hit) -> xid.Xid | None:
    number = hit.words.get("xid", "")
    return xid.named(int(number)) if number.isdecimal() else None


def _what(hit: Hit, text: str | None = None) -> str:
    """What it is; of an Xid, what the table says of that number."""
    row = _xid(hit)
    if row:
        return f"{row.what} (Xid {row.number})"
    return filled(hit.failure.what if text is None else text, hit.words)


def filled(text: str, words: Mapping[str, str]) -> str:
    """A text with the words of a line in it; what a line does not tell is left out, with what led
    to it.
    """

    def put(found: re.Match[str]) -> str:
        word = words.get(found["name"])
        if word is not None:
            return f"{found['before'] or ''}{word}{found['after'] or ''}"
        return "" if found["before"] != " " else " ?"

    return _WORD.sub(put, text)
