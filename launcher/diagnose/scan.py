"""What a log tells of a death: complaints that are known, whose they are, and the words of what
died first.

Line by line, with little kept: a log may be larger than memory.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache, lru_cache

from launcher import printable
from launcher.diagnose.signatures import WEIGHTS, Signature, literals, matches, signatures
from launcher.engines import engine, witness
from launcher.engines.log import Said

LONGEST = (
    2000  # characters that are looked at; server_args is one line of 18,000, and names everything
)
EVIDENCE = 4  # lines that are shown for a cause
LAST_LINES = 12  # of the rank that died first, when nothing is recognized
BLOCK = 500  # lines at most of what one speaker says at a death
FRAMES = 100  # of a traceback that are remembered
GAP = 8  # lines at most from one frame to the next, or to the message: code, and marks below it
WORKED = 50  # batches (of forty tokens, from each replica) after a complaint: nothing died of it
SHAPES = 2048  # of lines that are remembered as telling or not
_LOGS = tuple(map(engine.log, engine.NAMES))  # whose a log is nobody says
_FRAME = re.compile(r'^(?P<before>.{0,200}?)  File "[^"]+", line \d+')
_GROUPED = re.compile(r" {2,}[|+] ")  # a traceback of several at once
# All of these are looked for from the first word of a line on.
_TRACEBACK = re.compile(
    r"(?:[\w. ]{1,80}: |[\w ]{1,80} hit an exception: )?Traceback \(most recent call last\)"
)
_EXCEPTION = re.compile(
    r"\w{1,40} encountered a fatal error|EngineCore failed to start|"
    + "|".join(log.exception_words for log in _LOGS)
)
_GONE = re.compile(
    r"(?:EngineCore|WorkerProc) failed to start|" + "|".join(log.death_words for log in _LOGS)
)
_START = re.compile("Initializing a V1 LLM engine|" + "|".join(log.start_words for log in _LOGS))
RUN = "=== glm5-serve: run "  # and its number: how a run begins in the log that we keep
_OUR_START = re.compile(rf"{RUN}\d+, [\dT:-]+Z$")
# The last line of a start: the engine's own, and uvicorn's where it is vLLM's (others print that
# one earlier).
_READY = {log.ready for log in _LOGS}
_VLLM_READY = re.compile(r"(?:\(\w+ pid=\d+\) )?INFO: +Application startup complete")
_WORK = re.compile("|".join(log.work_words for log in _LOGS))
_MARKS = (_FRAME, _TRACEBACK, _EXCEPTION, _GONE, _START, _OUR_START, _VLLM_READY)
_SHAPE = str.maketrans("123456789", "000000000")


@dataclass(frozen=True)
class Hit:
    """A signature that was recognized: where first, how much it counts, and the lines that say
    so.
    """

    signature: Signature
    at: int  # among those that count
    line: int  # among all
    weight: str
    words: Mapping[str, str]
    is_kernels: bool
    worked: int = 0  # batches that had been told of by then
    is_old: bool = False  # of the start before
    lines: dict[str, str] = field(default_factory=dict)  # by what is in them besides rank and time


@dataclass
class Block:
    """What one speaker says at a death, up to the next line of another one."""

    at: int
    speaker: str | None
    is_exception: bool
    is_open: bool = True
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))


class Kind(Enum):
    """What a line may be good for."""

    ASKED = "about a request: what a client wrote is no evidence, and none of the last words"
    PLAIN = "of no interest"
    WORK = "tells of tokens"
    TELLING = "may tell of a start or a death"


class LogScan:
    """What a log told of its last start so far."""

    def __init__(self) -> None:
        self.taken, self.at, self.worked = 0, 0, 0  # lines, those that count, and batches
        self.hits: dict[str, Hit] = {}
        self.death: Block | None = None  # the first one
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._began: int | None = None
        self._is_ours = False
        self._frames: deque[str] = deque(maxlen=FRAMES)
        self._frame_at = -GAP
        self._code = ""  # how the line of code below a frame begins
        self._held: str | None = None  # a traceback begins; its first frame tells whose it is
        self._traceback = witness.Traceback.NONE
        self._request_goes_on = (
            False  # the last message was about a request, and may have more lines
        )
        self._shown: set[str] = set()  # signatures that no further line could say more of

    def take(self, line: str, *, by_kernel: bool | None = None) -> None:
        """One more line, of the kernel or of a server; None: its beginning tells.

        Nearly all are numbers of a server that works: those are only passed through.
        """
        line = line[:LONGEST]
        self.taken += 1
        words = None if by_kernel is False else witness.kernels(line, surely=bool(by_kernel))
        kind = _kind(line.translate(_SHAPE))
        if words is not None:
            self._hear(line, words)
        elif kind is Kind.ASKED:
            self._request_goes_on |= not witness.is_access(line)
        elif not self._is_of_a_request(line):
            self._see(line, kind)

    def close(self) -> None:
        """There are no more lines: a traceback that just began is one."""
        if self._held is not None:
            held, self._held = self._held, None
            self._see(held, Kind.TELLING)

    def _hear(self, line: str, words: str) -> None:
        """A line of the kernel, and its words without the stamp."""
        self.at += 1
        for signature, match in matches(words, "kernel", but=self._shown):
            self._hit(signature, match, printable.line(line))
        self._keep(line)

    def _see(self, line: str, kind: Kind) -> None:
        """A line of the server itself."""
        self.at += 1
        if kind is Kind.WORK:
            self.worked += 1
            self._shown.clear()  # it may have survived one, which counts anew when it comes again
        if kind is Kind.TELLING or (self.death and self.death.is_open):
            self._look(printable.line(line))
        self._keep(line)

    def _keep(self, line: str) -> None:
        if line and not line.isspace():
            self.last.append(line)

    def _is_of_a_request(self, line: str) -> bool:
        """Whether it is of a request that failed alone: the rest of its text, or the traceback.

        A traceback that just begins is held back.
        """
        before = self._traceback
        if self._request_goes_on and before is witness.Traceback.NONE:
            self._request_goes_on = witness.goes_on(witness.said(line))
            if self._request_goes_on:
                return True
        if before is witness.Traceback.NONE and "Traceback" not in line:
            return False
        self._traceback = now = before.after(witness.said(line))
        if now.is_one:
            self._held = None
            return True
        self.close()  # what was held back is of no request
        if now is witness.Traceback.BEGUN:
            self._held = line
        return self._held is not None

    def _look(self, line: str) -> None:
        told = witness.said(line)
        if self._starts(line, told.text):
            self._begin()
        elif told.text.rstrip() in _READY or _VLLM_READY.match(line):
            self._forgive()
        self._listen(line, told)
        if not self._is_of_a_traceback(line, told.text):
            text, from_start = witness.evidence(told)
            known = matches(text, "server", told.speaker, from_start=from_start, but=self._shown)
            for signature, match in known:
                self._hit(signature, match, line)

    def _starts(self, line: str, text: str) -> bool:
        if _OUR_START.match(line):
            self._is_ours = True
            return True
        twice = bool(self.last) and "server_args" in self.last[-1]
        return not self._is_ours and not twice and _START.match(text) is not None

    def _begin(self) -> None:
        """Another start: the server's words of the last one do not count any more.

        The kernel's do where they stand before the only start: that is a kernel log and then a
        server's. Of more starts, those since the start before tell of another death: they explain
        this one if it does not itself.
        """
        since = self._began or 0
        stay = {id: hit for id, hit in self.hits.items() if hit.is_kernels and hit.at >= since}
        if self._began is not None:
            stay = {
                id: replace(hit, weight=_weaker(hit.weight), is_old=True)
                for id, hit in stay.items()
            }
        self.hits, self.death, self._began = stay, None, self.at
        self._shown.clear()

    def _forgive(self) -> None:
        """It serves: what it said before did not kill it.

        The kernel's words may be of later, put in front.
        """
        self.hits = {
            id: hit for id, hit in self.hits.items() if hit.is_kernels or hit.weight == "note"
        }
        self.death = None
        self._shown.clear()

    def _listen(self, line: str, told: Said) -> None:
        """Keep the words of the first exception, or the first sign of a death where none tells of
        its own.
        """
        if self.death and (
            told.speaker not in (None, self.death.speaker) or self.at > self.death.at + BLOCK
        ):
            self.death.is_open = False
        is_exception = _EXCEPTION.match(told.text) is not None
        is_sign = self.death is None and (_GONE.match(told.text) or _TRACEBACK.match(told.text))
        if is_sign or (is_exception and not (self.death and self.death.is_exception)):
            self.death = Block(self.at, told.speaker, is_exception)
        if self.death and self.death.is_open and line:
            self.death.lines.append(line)

    def _is_of_a_traceback(self, line: str, text: str) -> bool:
        """Whether it is a frame or its code: names of functions are no complaints.

        Frames are kept for `needs`.
        """
        if _TRACEBACK.match(text):
            self._frames.clear()
            return False
        if frame := _FRAME.match(line):
            if self.at - self._frame_at > GAP:
                self._frames.clear()
            self._frames.append(line)
            self._frame_at, self._code = self.at, frame["before"]
            return True
        if _GROUPED.match(text):
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
        if hit is None or hit.is_old or self._was_survived(hit):
            weight = (
                "consequence" if signature.follows and self._died_before() else signature.weight
            )
            words = {name: text or "?" for name, text in match.groupdict().items()}
            is_kernels = signature.origin == "kernel"
            hit = Hit(signature, self.at, self.taken, weight, words, is_kernels, self.worked)
            self.hits.pop(signature.id, None)  # in the order of their lines
            self.hits[signature.id] = hit
        if len(hit.lines) < EVIDENCE:
            for text in shown:
                hit.lines.setdefault(re.sub(r"^\[[^\]]*\]:? ?", "", text), text.strip())
        else:
            self._shown.add(signature.id)

    def settled(self) -> list[Hit]:
        """Every hit at the end: what the server worked on after is a note."""
        hits = self.hits.values()
        return [replace(hit, weight="note") if self._was_survived(hit) else hit for hit in hits]

    def _was_survived(self, hit: Hit) -> bool:
        return not hit.is_kernels and self.worked - hit.worked >= WORKED

    def _died_before(self) -> bool:
        """Whether something that is no mere consequence came before: another's exception, or a
        known complaint.
        """
        if self.death and self.death.is_exception and not self.death.is_open:
            return True
        return any(hit.weight in WEIGHTS and not hit.signature.follows for hit in self.settled())


def _weaker(weight: str) -> str:
    return "generic" if weight in WEIGHTS[: WEIGHTS.index("generic")] else weight


@lru_cache(maxsize=SHAPES)
def _kind(shape: str) -> Kind:
    """What a line of this shape may be good for: a server prints the same all day, with other
    numbers.
    """
    if witness.is_about_a_request(shape):
        return Kind.ASKED
    told = witness.said(shape)
    if told.speaker is not None and _WORK.match(told.text):
        return Kind.WORK
    return Kind.TELLING if any(word in shape for word in _words()) else Kind.PLAIN


@cache
def _words() -> tuple[str, ...]:
    """Texts of which one stands in every line that any pattern matches, digits being 0.

    They are found fast.
    """
    patterns = [signature.pattern for signature in signatures().values()]
    marks = [*(pattern.pattern for pattern in (*patterns, *_MARKS)), *_READY]
    return tuple({word for mark in marks for word in literals(mark.translate(_SHAPE))})
