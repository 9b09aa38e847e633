"""What a log tells of a death: complaints that are known, whose they are, and the words of what
died first.

Line by line, with little kept: a log may be larger than memory.
"""

from __future__ import annotations

import re
from collections import Counter, deque

from launcher import printable
from launcher.diagnose import bars, shapes
from launcher.diagnose.deaths import LAST_LINES, Block, LastWords, Moment
from launcher.diagnose.hits import WORKED, Hit, Hits
from launcher.diagnose.matching import ANYBODY, KERNEL, SERVER, Found, matches
from launcher.diagnose.pulse import Pulse
from launcher.diagnose.shapes import Kind
from launcher.diagnose.tracebacks import Frames, function
from launcher.engines import witness
from launcher.engines.log import SERVING, Said

LONGEST = (
    2000  # characters that are looked at; server_args is one line of 18,000, and names everything
)
STACKS = 10_100  # lines that faulthandler prints of a hundred threads, at most
SPEAKERS = 32  # of whom the first complaint is kept
# of which one line is as good as another, but for the numbers of one that tells of tokens
SKIPPED = (Kind.PLAIN, Kind.WORK, Kind.MAYBE_WORK, Kind.ACCESS)
_IDLE = re.compile(shapes.IDLE.pattern.encode())
_STUCK = re.compile(shapes.STUCK.pattern.encode())
# The frames in which a signal arrives, or is sent: what crashed stands below them.
_SIGNALS = re.compile(
    r" in (?:runtime\.sigreturn|__restore_rt|(?:__GI_)?(?:raise|abort)\b|__pthread_kill\w*)"
)
_BETWEEN_BOOTS = re.compile(r"\s*|-- .*")  # as journalctl writes them


class LogScan:
    """What a log told of its last start so far. `is_apart`: it is what a server printed, or the
    kernel, and nobody else's words are in it.
    """

    def __init__(self, *, is_apart: bool = False) -> None:
        self._is_apart = is_apart
        self.pulse, self.ends, self._frames = Pulse(), LastWords(), Frames()
        self.hits = Hits(self.pulse, self.ends, self._frames)
        self.last: deque[str | bytes] = deque(
            maxlen=LAST_LINES
        )  # those skipped as they stand in the file
        self.complaints: dict[str | None, str] = {}  # the first of each speaker that nobody listed
        self.engines: Counter[str] = Counter()  # shapes of lines that one of them writes
        self._has_others = False  # than the kernel
        self._began: int | None = None
        self._starters: set[str | None] = set()
        self._is_ours = False
        self._units: set[str] = set()  # that systemd said to have started
        self._crash: Hit | None = None  # whose stack follows
        self._is_anothers_stack = False  # of a thread that did not crash
        self._held: str | None = None  # a traceback begins; its first frame tells whose it is
        self._traceback = witness.Traceback.NONE
        self._request_goes_on = (
            False  # the last message was about a request, and may have more lines
        )

    @property
    def engine(self) -> str | None:
        """Whose log it is; None where that does not tell.

        One may print frames of another, whose parts it uses: it comes first in NAMES.
        """
        most = self.engines.total() / 4
        return next((name for name in shapes.LOGS if self.engines[name] > most), None)

    @property
    def is_kernels(self) -> bool:
        """Whether all of its lines are the kernel's."""
        return self.pulse.at > 0 and not self._has_others

    @property
    def is_quiet(self) -> bool:
        """Whether a line of a kind in SKIPPED changes nothing but counts."""
        return (
            self._held is None
            and self._traceback is witness.Traceback.NONE
            and not (self._request_goes_on or self.ends.is_open())
        )

    def skip(self, shape: shapes.Shape, line: bytes) -> None:
        """One more line of a shape that was met before, of a kind in SKIPPED, while it is quiet."""
        self.pulse.taken += 1
        if shape.kind is Kind.ACCESS:
            if b'" 200' in line:
                self.pulse.asked(line, is_for_work=b'"POST ' in line or b'"PUT ' in line)
        else:
            self.pulse.at += 1
            if shape.goes_on:
                self.pulse.alive_at = self.pulse.at
            if line:
                self.last.append(line)
            if shape.work and not (shape.kind is Kind.MAYBE_WORK and _IDLE.search(line)):
                self._work(shape.work, line)
            elif shape.work:
                self._rest(line, is_stuck=_STUCK.search(line) is not None)
            elif shape.reads:
                self.pulse.tell(line, reads=True)

    def take(self, line: str, *, by_kernel: bool | None = None) -> shapes.Shape:
        """One more line, of the kernel or of a server; None: its beginning tells. Its shape, which
        is of no use for others where it is more than one.
        """
        self.pulse.taken += 1
        parts = bars.split(line[:LONGEST])
        told = [self._take(part, by_kernel) for part in parts]
        return told[0] if len(told) == 1 else shapes.Shape(Kind.TELLING)

    def _take(self, line: str, by_kernel: bool | None) -> shapes.Shape:
        words = None if by_kernel is False else witness.kernels(line, surely=bool(by_kernel))
        shape = shapes.of(line)
        if words is not None:
            self._hear(line, words, shape.kind)
        elif shape.kind in (Kind.ACCESS, Kind.ASKED):
            self._request_goes_on |= shape.kind is Kind.ASKED
            if shape.kind is Kind.ACCESS and '" 200' in line:
                self.pulse.asked(line, is_for_work='"POST ' in line or '"PUT ' in line)
        elif not self._is_of_a_request(line):
            self._see(line, shape)
        return shape

    def close(self) -> None:
        """There are no more lines: a traceback that just began is one."""
        if self._held is not None:
            held, self._held = self._held, None
            self._see(held, shapes.Shape(Kind.TELLING))

    def _hear(self, line: str, words: str, kind: Kind) -> None:
        """A line of the kernel, and its words without the stamp."""
        self.pulse.at += 1
        for found in matches(words, KERNEL, but=self.hits.shown):
            self._hit(found, printable.line(line), is_logged=False)
        if kind is Kind.COMPLAINT:
            self._complain("the kernel", line)
        self._keep(line)

    def _see(self, line: str, shape: shapes.Shape) -> None:
        """A line of the server itself."""
        self.pulse.at += 1
        self._has_others |= not _BETWEEN_BOOTS.fullmatch(line)
        if shape.engine:
            self.engines[shape.engine] += 1
        if shape.work and not (shape.kind is Kind.MAYBE_WORK and shapes.IDLE.search(line)):
            self._work(shape.work, line)
        elif shape.work:
            self._rest(line, is_stuck=shapes.STUCK.search(line) is not None)
        elif shape.reads:
            self.pulse.tell(line, reads=True)
        if shape.goes_on:
            self.pulse.alive_at = self.pulse.at
        is_below_frames = bool(self._frames.near(self.pulse.at))
        if shape.kind is Kind.TELLING or self.ends.is_open() or is_below_frames:
            self._look(printable.line(line), shape.phase)
        elif shape.kind is Kind.COMPLAINT:
            self._complain(witness.said(line).speaker, line)
        self._keep(line)

    def _work(self, batches: int, line: str | bytes) -> None:
        self.pulse.serve(batches)
        self.pulse.tell(line)
        self.hits.shown.clear()  # it may have survived one, which counts anew when it comes again

    def _rest(self, line: str | bytes, *, is_stuck: bool) -> None:
        """Prompts are read, or nobody waits for anything: whoever took long before answered; unless
        somebody waits, and nothing moves.
        """
        self.pulse.rest(line, is_stuck=is_stuck)
        if not is_stuck:
            self.hits.shown.clear()

    def _keep(self, line: str) -> None:
        if line and not line.isspace():
            self.last.append(line)

    def _complain(self, speaker: str | None, line: str) -> None:
        if len(self.complaints) < SPEAKERS:
            self.complaints.setdefault(speaker, printable.line(line))

    def _is_of_a_request(self, line: str) -> bool:
        """Whether it is of a request that failed alone: the rest of its text, or the traceback.

        A traceback that just begins is held back.
        """
        before = self._traceback
        if self._request_goes_on and before is witness.Traceback.NONE:
            self._request_goes_on = witness.goes_on(witness.said(line))
            if self._request_goes_on:
                return True
        begins = "Traceback" in line or "Exception ignored" in line
        if before is witness.Traceback.NONE and not begins:
            return False
        self._traceback = now = before.after(witness.said(line))
        if now.is_one:
            self._held = None
            return True
        self.close()  # what was held back is of no request
        if now is witness.Traceback.BEGUN:
            self._held = line
        return self._held is not None

    def _look(self, line: str, phase: str | None) -> None:
        told, pulse = witness.said(line), self.pulse
        if self._starts(line, told):
            self._begin(told.speaker)
        elif phase == SERVING or shapes.VLLM_READY.match(line):
            self._forgive()
        else:
            pulse.enter(phase)
        is_managers = self._may_be_a_managers(told)
        if is_managers and (started := shapes.STARTED.match(told.text)):
            self._units.add(started["unit"])
        if self._is_a_stop(told):
            pulse.stopped_at = pulse.at
        now = Moment(pulse.at, pulse.phase, pulse.worked)
        self.ends.listen(line, told, now, self._frames, pulse.lived_at)
        if thread := shapes.THREAD.match(told.text):
            self._is_anothers_stack = thread["which"] == "T"
        if self._frames.take(line, told.text, pulse.at):
            self._follow_stack(line)
            return
        self.hits.finish(told.text)
        if witness.goes_on_after(told.text):
            return
        text, from_start = witness.evidence(told)
        whose = ANYBODY if is_managers else SERVER
        alike = matches(text, whose, from_start=from_start, but=self.hits.shown)
        known = [found for found in alike if self.hits.needed(found.failure, line)]
        for found in known:
            self._hit(found, line, is_logged=from_start)
        if not known and shapes.COMPLAINT.search(told.text):
            self._complain(told.speaker, line)

    def _starts(self, line: str, told: Said) -> bool:
        """Whether another start of the server is announced: by its own word, or by ours before
        it.
        """
        if shapes.OUR_START.match(line):
            self._is_ours = True
            return True
        twice = bool(self.last) and "server_args" in str(self.last[-1])
        return not self._is_ours and not twice and shapes.START.match(told.text) is not None

    def _begin(self, speaker: str | None) -> None:
        """Another start. Of several replicas each says once that it starts."""
        if self._starters and speaker and speaker not in self._starters:
            self._starters.add(speaker)
            return
        self._starters = {speaker}
        self.hits.begin(self._began)
        self._began = self.pulse.at
        self.pulse.begin()
        self.ends.forget()
        self.complaints.clear()

    def _forgive(self) -> None:
        """It serves: what it said before did not kill it."""
        self.hits.forgive()
        self.pulse.serve()
        self.ends.forget()
        self.complaints.clear()

    def _is_a_stop(self, told: Said) -> bool:
        """Whether somebody asked it to stop, and nothing had died before."""
        is_first = self.pulse.stopped_at is None
        is_told = self.ends.death or self.ends.is_told
        if not is_first or is_told or self.hits.tell_of_a_death():
            return False
        if shapes.SHUTDOWN.match(told.text) or (told.is_framed and shapes.STOP.match(told.text)):
            return True
        is_managers = self._may_be_a_managers(told) and shapes.UNIT_STOP.match(told.text)
        return bool(is_managers and not self._ends_by_itself(told))

    def _may_be_a_managers(self, told: Said) -> bool:
        """Whether systemd, or who else runs the server, may have written a line."""
        return not (self._is_apart or told.is_framed)

    def _ends_by_itself(self, told: Said) -> bool:
        """Whether systemd tells that a unit is over, whose start this log tells, and of no other
        one's: who is asked to stop has a line before that says so.
        """
        ended = shapes.ENDED.match(told.text)
        return ended is not None and self._units == {ended["unit"]}

    def _follow_stack(self, frame: str) -> None:
        """The first frame below a crash in native code says where it was, but for those of other
        threads, and of the signal itself.
        """
        if self._crash and self.pulse.at - self._crash.at > STACKS:
            self._crash = None
        is_innocent = self._is_anothers_stack or _SIGNALS.search(frame)
        if self._crash and not is_innocent and (where := function(frame)):
            self._crash.words["where"] = f" in {where}"
            self._crash = None

    def _hit(self, found: Found, line: str, *, is_logged: bool) -> None:
        made = self.hits.take(found, line, is_logged=is_logged)
        if made and made.failure.id in ("native-crash", "bus-error"):
            self._crash, self._is_anothers_stack = made, False

    def last_words(self) -> Block | None:
        """What died first, unless it went on."""
        death = self.ends.death
        if death and (self.pulse.worked - death.worked >= WORKED or death.is_heading):
            return None
        return death

    def last_exception(self) -> Block | None:
        """What was raised last, without the word that a process ends of it: there was no sign of
        life since, or others told of a death.
        """
        raised = self.ends.raised
        if raised is None or self.pulse.worked - raised.worked >= WORKED:
            return None
        return raised if raised.at > self.pulse.lived_at or self.ends.is_told else None
