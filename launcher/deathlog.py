"""What a log tells of a death: complaints that are known, whose they are, and the words of what died first.

Line by line, with little kept: a log may be larger than memory.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

from launcher.signatures import WEIGHTS, Signature, literals, matches, signatures

LONGEST = 2000  # characters that are looked at; server_args is one line of 18,000, and names everything
EVIDENCE = 4  # lines that are shown for a cause
LAST_LINES = 12  # of the rank that died first, when nothing is recognized
BLOCK = 500  # lines at most of what one speaker says at a death
FRAMES = 100  # of a traceback that are remembered
GAP = 8  # lines at most from one frame to the next, or to the message: code, and marks below it
WORKED = 50  # batches (of forty tokens, from each replica) after a complaint: nothing died of it
SHAPES = 2048  # of lines that are remembered as telling or not
# SGLang: "[2026-01-29 00:56:20 TP6]". vLLM: "(Worker_TP1 pid=1360047) ERROR 03-05 09:56:09 [x.py:880]".
# torch: "[rank3]:". Who speaks is empty for SGLang's own process.
_SPEAKER = re.compile(
    r"^\[[\d: .,-]+((?: ?(?:ATTN_CP|MOE_DP|[DTPE]P)\d+)*)\]"
    r"|^\((?P<vllm>\w[^()]*?) pid=\d+[^()]*\)|^\[(?P<torch>rank\d+)\]:"
)
_FRAME = re.compile(r'^(?P<before>.*?)  File "[^"]+", line \d+')
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_EXCEPTION = re.compile(r"hit an exception|encountered a fatal error|EngineCore failed to start")
_GONE = re.compile(r"crashed with exit code|died during init|failed to start")
_START = re.compile(r"server_args=ServerArgs\(|server_args=\{|Initializing a V1 LLM engine")
RUN = "=== glm5-serve: run "  # and its number: how a run begins in the log that we keep
_OUR_START = re.compile(f"^{RUN}")
# The last line of a start: SGLang's, and uvicorn's where it is vLLM's (SGLang prints that one earlier).
_READY = re.compile(r"The server is fired up and ready|^(?:\(\w+ pid=\d+\) )?INFO: +Application startup complete")
# The kernel is known by its words: files come with every kind of prefix, or with none.
_KERNEL = re.compile(r"NVRM: |nvidia-nvswitch\d|[Oo]ut of memory: Kill|oom-kill:|oom_reaper: |segfault at ")
_MARKS = (_FRAME, _TRACEBACK, _EXCEPTION, _GONE, _START, _OUR_START, _READY)
_SHAPE = str.maketrans("123456789", "000000000")


@dataclass(frozen=True)
class Hit:
    """A signature that was recognized: where first, how much it counts, and the lines that say so."""

    signature: Signature
    at: int
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


class DeathLog:
    """What a log told of its last start so far."""

    def __init__(self) -> None:
        self.at, self.worked = 0, 0
        self.hits: dict[str, Hit] = {}
        self.death: Block | None = None  # the first one
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
        self.worked += "Decode batch" in line
        if (self.death and self.death.is_open) or _tells(line.translate(_SHAPE)):
            self._look(printable(line))
        if line and not line.isspace():
            self.last.append(line)

    def _look(self, line: str) -> None:
        if self._starts(line):
            self._begin()
        elif _READY.search(line):
            self._forgive()
        self._listen(line)
        if not self._is_of_a_traceback(line):
            for signature, match in matches(line):
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
            self.death = Block(self.at, speaker, is_exception)
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
        if hit is None or hit.is_old or self._was_survived(hit):
            weight = "consequence" if signature.follows and self._died_before() else signature.weight
            words = {name: text or "?" for name, text in match.groupdict().items()}
            hit = Hit(signature, self.at, weight, words, _KERNEL.search(line) is not None, self.worked)
            self.hits.pop(signature.id, None)  # in the order of their lines
            self.hits[signature.id] = hit
        if len(hit.lines) < EVIDENCE:
            for text in shown:
                hit.lines.setdefault(re.sub(r"^\[[^\]]*\]:? ?", "", text), text.strip())

    def settled(self) -> list[Hit]:
        """Every hit at the end: what the server worked on after is a note."""
        hits = self.hits.values()
        return [replace(hit, weight="note") if self._was_survived(hit) else hit for hit in hits]

    def _was_survived(self, hit: Hit) -> bool:
        return not hit.is_kernels and self.worked - hit.worked >= WORKED

    def _died_before(self) -> bool:
        """Whether something that is no mere consequence came before: another's exception, or a known complaint."""
        if self.death and self.death.is_exception and not self.death.is_open:
            return True
        return any(hit.weight in WEIGHTS and not hit.signature.follows for hit in self.settled())


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


def _speaker(line: str) -> str | None:
    found = _SPEAKER.match(line)
    return (found["vllm"] or found["torch"] or found[1] or "").strip() if found else None


def printable(line: str) -> str:
    """A line that a terminal takes for words: whoever writes into a log could write commands for it, too."""
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)
