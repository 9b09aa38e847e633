"""The words of what died first in a log: of one speaker, up to the next line of another one."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from launcher.diagnose.shapes import EXCEPTION, FRAME, GONE, TRACEBACK
from launcher.diagnose.tracebacks import Frames
from launcher.engines import witness
from launcher.engines.log import Said
from launcher.knowledge import codes

LAST_LINES = 12  # of the rank that died first, when nothing is recognized
BLOCK = 500  # lines at most of what one speaker says at a death
_CAUSED = "the direct cause of the following exception"  # an engine words what it caught anew
_ERROR = re.compile(r"(?:[A-Za-z_]\w*\.)*(?P<name>[A-Za-z_]\w*)(?:: |:?$)")


class Moment(NamedTuple):
    """Where a log is: the line among those that count, the phase, the batches told of so far."""

    at: int
    phase: str | None
    worked: int


@dataclass
class Block:
    """What one speaker says at a death, or the exception that may have been one."""

    at: int
    phase: str | None
    worked: int
    speaker: str | None
    is_exception: bool  # a process said that it ends of it
    error: str | None = None  # the class of the exception that it ends in
    message: str = ""
    error_at: int = 0  # of its outermost words, as far as they are told
    is_worded_anew: bool = False  # and those words are still to come
    frames: tuple[str, ...] = ()  # of its traceback, outermost first
    is_open: bool = True
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    begins_as_traceback: bool = False  # which a text of a client may do

    @property
    def is_heading(self) -> bool:
        """Whether it is the heading of a traceback, and no frame or exception came."""
        has_more = self.error is not None or any(FRAME.match(line) for line in self.lines)
        return self.begins_as_traceback and not has_more

    def ends_in(self, text: str, at: int, frames: Frames) -> None:
        """Take the exception that ends it, and where that was raised."""
        if found := _ERROR.match(text):
            self.error, self.message = found["name"], text[found.end() :]
        self.error_at, self.frames = at, frames.near(at)
        self.phase = frames.phase(at) or self.phase


class LastWords:
    """The first death of a start, and the first exception, of a death or not."""

    def __init__(self) -> None:
        self.death: Block | None = None
        self.error: Block | None = None
        # The first of those whose traceback is told and that nothing alive came after: if the log
        # ends there, or others tell of a death, a process ended of it.
        self.raised: Block | None = None
        self.is_told = False  # that somebody died, by those who outlived it

    def forget(self) -> None:
        """Nobody died yet: another start, or one that serves."""
        self.death = self.error = self.raised = None
        self.is_told = False

    def is_open(self) -> bool:
        """Whether whoever died may still be speaking."""
        return self.death is not None and self.death.is_open

    def begins_at(self, at: int) -> bool:
        """Whether a line is the one in which a process says that it ends of its own exception."""
        return self.death is not None and self.death.is_exception and self.death.at == at

    def came_before(self, at: int) -> bool:
        """Whether a rank had said before a line that it ends of an exception of its own.

        What that was raised anew as (`raise ... from`) is no consequence of it, but its words.
        """
        death = self.death
        if death is None or not death.is_exception:
            return False
        is_told = death.error is not None and not death.is_worded_anew
        return not death.is_open or (is_told and at > death.error_at)

    def listen(self, line: str, told: Said, now: Moment, frames: Frames, alive: int) -> None:
        """Keep the words of the first exception, or the first sign of a death where none tells of
        its own. `alive`: the last line that tells of a server that goes on.
        """
        death = self.death
        if death and (told.speaker not in (None, death.speaker) or now.at > death.at + BLOCK):
            death.is_open = False
        is_exception = EXCEPTION.match(told.text) is not None
        is_gone = death is None and GONE.match(told.text) is not None
        is_traceback = death is None and TRACEBACK.match(told.text) is not None
        if is_gone or is_traceback or (is_exception and not (death and death.is_exception)):
            self.death = death = Block(*now, told.speaker, is_exception)
            death.begins_as_traceback = is_traceback and not (is_gone or is_exception)
        if death and death.is_open and line:
            death.lines.append(line)
            if death.error is None and _ends(told.text):
                death.ends_in(told.text, now.at, frames)
            elif _CAUSED in told.text:
                death.is_worded_anew = True
            elif death.is_worded_anew and _ends(told.text):
                death.is_worded_anew, death.error_at = False, now.at
        if self.error is None and witness.is_exception(told.text):
            self.error = Block(*now, told.speaker, False)
            self.error.ends_in(told.text, now.at, frames)
        is_first = not self.is_told and (self.raised is None or self.raised.at <= alive)
        if is_first and _ends(told.text) and frames.of_a_process(now.at):
            self.raised = Block(*now, told.speaker, False)
            self.raised.ends_in(told.text, now.at, frames)


def _ends(text: str) -> bool:
    """Whether it is an exception as the interpreter prints it, or one that is known by name."""
    found = _ERROR.match(text)
    known = codes.of("exception").by_name
    return witness.is_exception(text) or (found is not None and found["name"] in known)
