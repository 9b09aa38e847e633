"""Why a server died, from what it and the kernel left behind: the root cause, its evidence, and what to do.

Pure, and the standard library alone: the supervisor asks at every death. What is known stands in
`signatures.toml`; here is only how one cause is chosen among many complaints. Line by line, with little kept:
a log may be larger than memory.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

WEIGHTS = ("hardware", "host", "cause", "generic", "last")  # "consequence" and "note" are never the cause
UNKNOWN = "unknown"
LONGEST = 2000  # characters that are looked at; server_args is one line of 18,000, and names everything
EVIDENCE = 4  # lines that are shown for a cause
LAST_LINES = 12  # of the rank that died first, when nothing is recognized
BLOCK = 500  # lines at most of what one speaker says at a death
FRAMES = 100  # of a traceback that are remembered
GAP = 8  # lines at most from one frame to the next, or to the message: code, and marks below it
SHAPES = 2048  # of lines that are remembered as telling or not
# Read when the program starts: a package that is upgraded under it must not change what it understands.
_TABLE = Path(__file__).with_name("signatures.toml").read_text()
# SGLang: "[2026-01-29 00:56:20 TP6]". vLLM: "(Worker_TP1 pid=1360047) ERROR 03-05 09:56:09 [x.py:880]".
# torch: "[rank3]:". Who speaks is empty for SGLang's own process.
_SPEAKER = re.compile(
    r"^\[[\d: .,-]+((?: ?[DTPE]P\d+)*)\]|^\((?P<vllm>\w[^()]*?) pid=\d+[^()]*\)|^\[(?P<torch>rank\d+)\]:"
)
_FRAME = re.compile(r'^(?P<before>.*?)  File "[^"]+", line \d+')
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_EXCEPTION = re.compile(r"hit an exception|encountered a fatal error|EngineCore failed to start")
_GONE = re.compile(r"crashed with exit code|died during init|failed to start")
_START = re.compile(r"server_args=ServerArgs\(|server_args=\{|Initializing a V1 LLM engine")
_OUR_START = re.compile(r"^=== glm5-serve: run ")
# The last line of a start: SGLang's, and uvicorn's where it is vLLM's (SGLang prints that one earlier).
_READY = re.compile(r"The server is fired up and ready|^(?:\(\w+ pid=\d+\) )?INFO: +Application startup complete")
# The kernel is known by its words: files come with every kind of prefix, or with none.
_KERNEL = re.compile(r"NVRM: |nvidia-nvswitch\d|[Oo]ut of memory: Kill|oom-kill:|oom_reaper: |segfault at ")
_MARKS = (_FRAME, _TRACEBACK, _EXCEPTION, _GONE, _START, _OUR_START, _READY)
_SHAPE = str.maketrans("123456789", "000000000")


@dataclass(frozen=True)
class Signature:
    """One way to die, as `signatures.toml` tells it."""

    id: str
    weight: str
    pattern: re.Pattern[str]
    what: str
    fix: str
    then: str
    known: str
    source: str
    knob: str | None = None
    needs: re.Pattern[str] | None = (
        None  # the line, or a frame of the traceback that it ends, must match this, too
    )
    follows: bool = False  # it is a consequence, if something else died before


@dataclass(frozen=True)
class Diagnosis:
    """What is believed: `cause` is a signature's id or "unknown"; `then` what a supervisor should do about it.

    `then` is never (the same start fails again), again, or reboot (the host first).
    """

    cause: str
    what: str
    evidence: tuple[str, ...]
    fix: str
    then: str = "again"
    knob: str | None = None
    known: str | None = None
    source: str | None = None
    also: tuple[str, ...] = field(default=())

    @property
    def is_known(self) -> bool:
        """Whether a signature was recognized."""
        return self.cause != UNKNOWN

    @property
    def in_short(self) -> str:
        """One line for a state file or an event: what it is, and the words that say so."""
        said = f" ({self.evidence[0][:200]})" if self.evidence else ""
        return f"{self.cause}: {self.what}{said}"


@cache
def signatures() -> dict[str, Signature]:
    """All of them, in the file's order. Raises ValueError for a file that is not well-formed."""
    import tomllib  # at the first death, not in every idle launcher

    table = tomllib.loads(_TABLE)
    return {id: _signature(id, entry) for id, entry in table.items()}


def _signature(id: str, entry: dict[str, Any]) -> Signature:
    fields = dict(entry)
    for name in ("pattern", "needs"):
        if name in fields:
            fields[name] = re.compile(fields[name])
    return Signature(id=id, **fields)


def diagnose(lines: Iterable[str], kernel: Iterable[str] = ()) -> Diagnosis:
    """The cause of the last death that these lines tell of; `kernel`: what the kernel said meanwhile.

    The weightiest complaint wins, and the first one among equals: what a rank's exception does to the other
    ranks comes after it. A log of several starts is judged by its last one.
    """
    log, apart = _Log(), _Log()
    for line in lines:
        log.take(line)
    for line in kernel:
        apart.take(line)
    hits = [*apart.hits.values(), *log.hits.values()]
    deadly = [hit for hit in hits if hit.weight in WEIGHTS]
    if not deadly:
        return _unknown(log, hits)
    best = min(deadly, key=lambda hit: WEIGHTS.index(hit.weight))
    signature = best.signature
    return Diagnosis(
        signature.id,
        _filled(signature.what, best.words),
        tuple(best.lines.values())[:EVIDENCE],
        _filled(signature.fix, best.words),
        signature.then,
        signature.knob,
        signature.known,
        signature.source,
        also=tuple(dict.fromkeys(hit.signature.id for hit in hits if hit.signature is not signature)),
    )


@dataclass(frozen=True)
class _Hit:
    """A signature that was recognized: where first, how much it counts, and the lines that say so."""

    signature: Signature
    at: int
    weight: str
    words: Mapping[str, str]
    is_kernels: bool
    is_old: bool = False  # of the start before
    lines: dict[str, str] = field(default_factory=dict)  # by what is in them besides rank and time


@dataclass
class _Block:
    """What one speaker says at a death, up to the next line of another one."""

    at: int
    speaker: str | None
    is_exception: bool
    is_open: bool = True
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))


class _Log:
    """What a log told of its last start so far."""

    def __init__(self) -> None:
        self.at = 0
        self.hits: dict[str, _Hit] = {}
        self.death: _Block | None = None  # the first one
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._began: int | None = None
        self._is_ours = False
        self._frames: deque[str] = deque(maxlen=FRAMES)
        self._frame_at = -GAP
        self._code = ""  # how the line of code below a frame begins

    def take(self, line: str) -> None:
        """One more line. Nearly all are numbers of a server that works: those are only passed through."""
        line = line[:LONGEST]
        self.at += 1
        if (self.death and self.death.is_open) or _tells(line.translate(_SHAPE)):
            self._look(_printable(line))
        if line and not line.isspace():
            self.last.append(line)

    def _look(self, line: str) -> None:
        if self._starts(line):
            self._begin()
        elif _READY.search(line):
            self._forgive()
        self._listen(line)
        if not self._is_of_a_traceback(line):
            for signature, match in _matches(line):
                self._hit(signature, match, line)

    def _starts(self, line: str) -> bool:
        if _OUR_START.search(line):
            self._is_ours = True
            return True
        twice = bool(self.last) and "server_args" in self.last[-1]
        return not self._is_ours and not twice and _START.search(line) is not None

    def _begin(self) -> None:
        """Another start: the server's words of the last one do not count any more.

        The kernel's do where they stand before the only start: that is a kernel log and then a server's. Of more
        starts, those since the start before tell of another death: they explain this one if it does not itself.
        """
        since = self._began or 0
        stay = {id: hit for id, hit in self.hits.items() if hit.is_kernels and hit.at >= since}
        if self._began is not None:
            stay = {id: replace(hit, weight=_weaker(hit.weight), is_old=True) for id, hit in stay.items()}
        self.hits, self.death, self._began = stay, None, self.at

    def _forgive(self) -> None:
        """It serves: what it said before did not kill it. The kernel's words may be of later, put in front."""
        self.hits = {id: hit for id, hit in self.hits.items() if hit.is_kernels or hit.weight == "note"}
        self.death = None

    def _listen(self, line: str) -> None:
        """Keep the words of the first exception, or the first sign of a death where none tells of its own."""
        speaker = _speaker(line)
        if self.death and (speaker not in (None, self.death.speaker) or self.at > self.death.at + BLOCK):
            self.death.is_open = False
        is_exception = _EXCEPTION.search(line) is not None
        is_sign = self.death is None and (_GONE.search(line) or _TRACEBACK.search(line))
        if is_sign or (is_exception and not (self.death and self.death.is_exception)):
            self.death = _Block(self.at, speaker, is_exception)
        if self.death and self.death.is_open and line:
            self.death.lines.append(line)

    def _is_of_a_traceback(self, line: str) -> bool:
        """Whether it is a frame or its code: names of functions are no complaints. Frames are kept for `needs`."""
        if _TRACEBACK.search(line):
            self._frames.clear()
            return False
        if frame := _FRAME.match(line):
            if self.at - self._frame_at > GAP:
                self._frames.clear()
            self._frames.append(line)
            self._frame_at, self._code = self.at, frame["before"]
            return True
        return self.at == self._frame_at + 1 and line[len(self._code) :].startswith("    ")

    def _hit(self, signature: Signature, match: re.Match[str], line: str) -> None:
        frames = self._frames if self.at - self._frame_at <= GAP else ()
        shown = [line]
        if signature.needs:
            shown += [text for text in (*frames, line) if signature.needs.search(text)][-1:]
            if len(shown) == 1:
                return
        hit = self.hits.get(signature.id)
        if hit is None or hit.is_old:
            weight = "consequence" if signature.follows and self._died_before() else signature.weight
            words = {name: text or "?" for name, text in match.groupdict().items()}
            hit = _Hit(signature, self.at, weight, words, _KERNEL.search(line) is not None)
            self.hits.pop(signature.id, None)  # in the order of their lines
            self.hits[signature.id] = hit
        if len(hit.lines) < EVIDENCE:
            for text in shown:
                hit.lines.setdefault(re.sub(r"^\[[^\]]*\]:? ?", "", text), text.strip())

    def _died_before(self) -> bool:
        """Whether something that is no mere consequence came before: another's exception, or a known complaint."""
        if self.death and self.death.is_exception and not self.death.is_open:
            return True
        return any(hit.weight in WEIGHTS and not hit.signature.follows for hit in self.hits.values())


def _weaker(weight: str) -> str:
    return "generic" if weight in WEIGHTS[: WEIGHTS.index("generic")] else weight


@lru_cache(maxsize=SHAPES)
def _tells(shape: str) -> bool:
    """Whether a line of this shape may say anything: a server prints the same all day, with other numbers."""
    return any(word in shape for word in _words())


@cache
def _words() -> tuple[str, ...]:
    """Texts of which one stands in every line that any pattern matches, digits being 0. They are found fast."""
    patterns = [*(signature.pattern for signature in signatures().values()), *_MARKS]
    return tuple({word for pattern in patterns for word in literals(pattern.pattern.translate(_SHAPE))})


def literals(pattern: str) -> list[str]:
    """The longest plain text of each alternative of a regular expression: outside of groups, and not optional."""
    text = re.sub(r"\[(?:\\.|[^]])*\]|\\.", "\0", pattern)
    groups = 1
    while groups:
        text, groups = re.subn(r"\([^()]*\)", "\0", text)
    return [max(re.split(r".[*?+]|[\0.^$]", part), key=len) for part in text.split("|")]


def _matches(line: str) -> list[tuple[Signature, re.Match[str]]]:
    found = ((signature, signature.pattern.search(line)) for signature in signatures().values())
    return [(signature, match) for signature, match in found if match]


def _speaker(line: str) -> str | None:
    found = _SPEAKER.match(line)
    return (found["vllm"] or found["torch"] or found[1] or "").strip() if found else None


def _printable(line: str) -> str:
    """A line that a terminal takes for words: whoever writes into a log could write commands for it, too."""
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def _unknown(log: _Log, notes: Iterable[_Hit]) -> Diagnosis:
    """Nothing recognized: the last words of the rank that died first, or of all when nothing tells of a death."""
    seen = {hit.signature.id: hit.weight for hit in notes}
    fix = "report it with `glm5-serve bundle`: the lines above are the last of what died first"
    if log.death:
        lines, what = (
            log.death.lines,
            f"no known cause; the last words of {log.death.speaker or 'what died first'}",
        )
    elif "consequence" in seen.values():
        lines, what = log.last, "no known cause: who died first left no word here; the last words of all"
    else:
        lines, what = (
            log.last,
            "nothing here tells of a death" + ("; the last words" if log.last else ": it is empty"),
        )
        fix = "if it did die: give the log of that start, and `journalctl -k`; or `glm5-serve bundle`"
    evidence = tuple(_printable(line).strip() for line in lines)
    return Diagnosis(UNKNOWN, what, evidence, fix, also=tuple(seen))


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON data."""
    return {
        "schema": 1,
        "cause": diagnosis.cause,
        "what": diagnosis.what,
        "evidence": list(diagnosis.evidence),
        "fix": diagnosis.fix,
        "knob": diagnosis.knob,
        "then": diagnosis.then,
        "known": diagnosis.known,
        "source": diagnosis.source,
        "also": list(diagnosis.also),
    }
