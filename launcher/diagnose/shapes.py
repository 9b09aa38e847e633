"""What a line may be good for, by its shape: a server prints the same all day, with other
numbers.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache, lru_cache
from typing import NamedTuple

from launcher.diagnose.literals import literals
from launcher.diagnose.matching import sieve
from launcher.engines import engine, witness
from launcher.engines.log import RUN, SERVING, Log, Said

SHAPES = 4096  # that are remembered
IDS = (  # of requests, addresses of memory, long numbers: their digits being 0
    r"\b(?:0x[0-9a-f]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|(?=[a-f]*0)[0-9a-f]{5,}\b)"
)
_IDS = re.compile(IDS)
NUMBERS = str.maketrans("123456789", "000000000")
LOGS = {name: engine.log(name) for name in engine.NAMES}  # whose a log is nobody says
READY = {log.ready for log in LOGS.values()}
# The last line of a start: the engine's own, and uvicorn's where it is vLLM's (others print that
# one earlier).
VLLM_READY = re.compile(r"(?:\(\w+ pid=\d+\) )?INFO: +Application startup complete")
# All of these are looked for from the first word of a line on.
TRACEBACK = re.compile(
    r"(?:[\w. ]{1,80}: |[\w ]{1,80} hit an exception: )?Traceback \(most recent call last\)"
)
# Python's faulthandler: that of the thread which crashed, and those of all others.
THREAD = re.compile(
    r"(?P<which>Current t|T)hread 0x[\da-f]+ (?:\[.{0,80}\] )?\(most recent call first\)"
)
EXCEPTION = re.compile("|".join(log.exception_words for log in LOGS.values()))
GONE = re.compile("|".join(log.death_words for log in LOGS.values()))
START = re.compile("|".join(log.start_words for log in LOGS.values()))
STOP = re.compile("|".join(log.stop_words for log in LOGS.values()))
# uvicorn's, whoever asked it; and a terminal's.
SHUTDOWN = re.compile(
    r"Shutting down$|Finished server process|Application shutdown complete|"
    # vLLM's, which a page shows without what its logger wrote in front
    r"\[shutdown\] EngineCore: trigger received signal=SIG(?:TERM|INT)$|"
    r"KeyboardInterrupt|\^C"
)
# systemd's, which no logger frames.
UNIT_STOP = re.compile(
    r"\S{1,80}\.service: (?:Deactivated successfully|Succeeded\.?$|Stopping)|"
    r"Stopp(?:ing|ed) \S{1,80}\.service\b"
)
# systemd's, of a unit whose name it tells; older releases tell its description instead.
STARTED = re.compile(r"Started (?P<unit>\S{1,80}\.service)\b")
ENDED = re.compile(r"(?P<unit>\S{1,80}\.service): (?:Deactivated successfully|Succeeded)\.?$")
OUR_START = re.compile(rf"{RUN}\d+, [\dT:-]+Z$")
FRAME = re.compile(r'^(?P<before>.{0,200}?)  File "[^"]+", line \d+')
# A frame where what carried it took its spaces, and a page its quotes: from the first word on.
BARE_FRAME = re.compile(r'File (?:"[^"]+"|“[^”]+”), line \d+, in ')
_MARKS = {name: re.compile(log.marks) for name, log in LOGS.items()}
_WORK = {name: re.compile(log.work_words) for name, log in LOGS.items()}
IDLE = re.compile("|".join(log.idle_words for log in LOGS.values() if log.idle_words))
STUCK = re.compile("|".join(log.stuck_words for log in LOGS.values() if log.stuck_words))
_READS = re.compile("|".join(log.reads_words for log in LOGS.values() if log.reads_words))
WAITING = re.compile("|".join(log.waiting_words for log in LOGS.values() if log.waiting_words))
# What a complaint looks like that nobody has listed.
COMPLAINT = re.compile(
    r"\b\w*(?:Error|Exception)\b|\bERROR\b|\bFATAL\b|\bCRITICAL\b|\b[Ff]atal\b|[Ff]ailed\b|[Ff]ailure\b"
    r"|\bWARN\b|[Cc]annot |[Cc]ould not |[Uu]nable to |\bassert|[Aa]bort|panic|not found\b|\bNVRM:"
)


class Kind(Enum):
    """What a line may be good for."""

    ACCESS = "tells who asked for what, and nothing else"
    ASKED = "about a request: what a client wrote is no evidence, and none of the last lines"
    PLAIN = "of no interest"
    WORK = "tells of tokens"
    MAYBE_WORK = "tells of tokens, or that there were none"
    COMPLAINT = "looks like a complaint, of nothing that is known"
    TELLING = "may tell of a start or a death"


class Shape(NamedTuple):
    """What a line is good for; by whom it is written, as far as it tells; the phase that it
    opens.
    """

    kind: Kind
    engine: str | None = None
    phase: str | None = None
    work: int = 0  # batches that it counts for
    goes_on: bool = False  # a logger's, and no complaint: whoever says so is alive
    reads: bool = False  # it tells of a batch of prompts


def of(line: str) -> Shape:
    """What a line may be good for: by its shape, in which each digit is 0 and each id, too."""
    return _of_numbers(line.translate(NUMBERS))


@lru_cache(maxsize=SHAPES)
def _of_numbers(shape: str) -> Shape:
    return _of(_IDS.sub("00000", shape))


@lru_cache(maxsize=SHAPES)
def _of(shape: str) -> Shape:
    if witness.is_about_a_request(shape):
        return Shape(Kind.ACCESS if witness.is_access(shape) else Kind.ASKED)
    told = witness.said(shape)
    speaks = _engine(shape)
    for name, work in _WORK.items() if told.speaker is not None or told.is_framed else ():
        if work.match(told.text):
            kind = Kind.MAYBE_WORK if LOGS[name].idle_words else Kind.WORK
            return Shape(kind, name, work=LOGS[name].work)
    phase = _phase(told)
    if phase or any(word in shape for word in _words()):
        return Shape(Kind.TELLING, speaks, phase, goes_on=phase is not None)
    if COMPLAINT.search(told.text):
        return Shape(Kind.COMPLAINT, speaks)
    is_calm = told.is_framed and not (told.text[:1].isspace() or COMPLAINT.search(shape))
    reads = is_calm and _READS.match(told.text) is not None
    return Shape(Kind.PLAIN, speaks, goes_on=is_calm, reads=reads)


def _engine(shape: str) -> str | None:
    """The engine whose line it is; a frame of SGLang may stand among those of vLLM, whose parts it
    once used.
    """
    return next((name for name, marks in _MARKS.items() if marks.search(shape)), None)


def _phase(told: Said) -> str | None:
    """The phase that a line opens, whichever engine says so."""
    if told.text.rstrip() in READY:
        return SERVING
    return next(filter(None, (_opens(log, told) for log in LOGS.values())), None)


def _opens(log: Log, told: Said) -> str | None:
    if told.is_framed:
        return next((phase for words, phase in log.opens if told.text.startswith(words)), None)
    return next((phase for bar, phase in log.bars if bar.match(told.text)), None)


@cache
def _words() -> tuple[str, ...]:
    """Texts of which one stands in every line that any pattern matches. They are found fast."""
    marks = (
        FRAME,
        BARE_FRAME,
        TRACEBACK,
        THREAD,
        EXCEPTION,
        GONE,
        START,
        STOP,
        SHUTDOWN,
        UNIT_STOP,
        STARTED,
        ENDED,
        OUR_START,
        VLLM_READY,
    )
    of_marks = {word for mark in marks for word in literals(mark.pattern)}
    return tuple(sorted({*sieve(), *of_marks, *READY}, key=len))
