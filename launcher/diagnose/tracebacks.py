"""Tracebacks in a log: their frames, what is none of a complaint in them, and which phase they were
of.
"""

from __future__ import annotations

import re
from collections import deque

from launcher.diagnose.shapes import BARE_FRAME, FRAME, LOGS, THREAD, TRACEBACK
from launcher.engines import witness
from launcher.engines.log import PHASES, SERVING

MOST = 100  # frames that are remembered
GAP = 8  # lines at most from one frame to the next, or to the message: code, and marks below it
_GROUPED = re.compile(r" {2,}[|+] ")  # a traceback of several at once
# "line 5, in load_model", and faulthandler's "line 5 in load_model"
_FUNCTION = re.compile(r'File ["“](?P<file>[^"”]+)["”], line \d+,? in (?P<name>\w+)')
_PLACES = tuple(
    (re.compile("|".join(words for words, of in places if of == phase)), phase)
    for places in ([place for log in LOGS.values() for place in log.places],)
    for phase in (*PHASES, SERVING)
    if any(of == phase for _, of in places)
)


class Frames:
    """The frames of the traceback that a log is in, or was in a few lines ago."""

    def __init__(self) -> None:
        self._frames: deque[str] = deque(maxlen=MOST)
        self._lines: deque[str] = deque(maxlen=MOST)  # of code
        self._at = -GAP
        self._code = ""  # how the line of code below a frame begins

    def take(self, line: str, text: str, at: int) -> bool:
        """Whether a line is a frame or its code: names of functions are no complaints."""
        if TRACEBACK.match(text) or THREAD.match(text):
            self._frames.clear()
            self._lines.clear()
            return False
        frame = FRAME.match(line)
        if frame or BARE_FRAME.match(text):
            if at - self._at > GAP:
                self._frames.clear()
                self._lines.clear()
            self._frames.append(line)
            self._at, self._code = at, frame["before"] if frame else line[: -len(text)]
            return True
        if _GROUPED.match(text):
            return True
        is_code = at == self._at + 1 and line[len(self._code) :].startswith("    ")
        if is_code:
            self._lines.append(line)
        return is_code

    def code(self, at: int) -> tuple[str, ...]:
        """The lines of code that the traceback shows which a line ends, outermost first."""
        return tuple(self._lines) if at - self._at <= GAP else ()

    def near(self, at: int) -> tuple[str, ...]:
        """The frames of the traceback that a line ends, outermost first."""
        return tuple(self._frames) if at - self._at <= GAP else ()

    def of_a_process(self, at: int) -> bool:
        """Whether a line ends a traceback, which is not one of a request that fails alone."""
        frames = [witness.said(frame).text for frame in self.near(at)]
        return bool(frames) and not any(map(witness.is_a_requests_frame, frames))

    def phase(self, at: int) -> str | None:
        """The phase of a server's life that they are of: the innermost one of a start, if any."""
        named = filter(None, map(_FUNCTION.search, reversed(self.near(at))))
        told = [
            next((phase for place, phase in _PLACES if place.fullmatch(name["name"])), None)
            for name in named
        ]
        phases = list(filter(None, told))
        # a start, too, runs what serves
        return next((phase for phase in phases if phase != SERVING), next(iter(phases), None))


def function(frame: str) -> str | None:
    """The function that a frame is of, and its file: `begin_forward (flashinfer/decode.py)`."""
    found = _FUNCTION.search(frame)
    if found is None:
        return None
    return f"{found['name']} ({'/'.join(found['file'].split('/')[-2:])})"
