"""What a log tells of a death: complaints that are known, whose they are, and the words of what
died first.

Line by line, with little kept: a log may be larger than memory.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import replace

from launcher import printable
from launcher.diagnose import shapes
from launcher.diagnose.deaths import LAST_LINES, Block, LastWords, Moment
from launcher.diagnose.hits import Hit, weaker
from launcher.diagnose.matching import Found, matches
from launcher.diagnose.shapes import Kind
from launcher.diagnose.tracebacks import Frames, function
from launcher.engines import witness
from launcher.engines.failures import WEIGHTS, Failure, cases
from launcher.engines.log import PHASES, SERVING, Said

LONGEST = (
    2000  # characters that are looked at; server_args is one line of 18,000, and names everything
)
EVIDENCE = 4  # lines that are shown for a cause
WORKED = 50  # batches (of forty tokens, from each replica) after a complaint: nothing died of it
STACKS = 10_100  # lines that faulthandler prints of a hundred threads, at most
MOVED = 2  # phases that opened after an exception: it was caught
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
_ORDER = (*PHASES, SERVING)


class LogScan:
    """What a log told of its last start so far."""

    def __init__(self) -> None:
        self.taken, self.at, self.worked = 0, 0, 0  # lines, those that count, and batches
        self.worked_at = -1  # the last line that told of tokens, or that it is ready
        self.rested_at = -1  # or that nobody waits for any
        self.alive_at = -1  # of what a logger said calmly, or a request that was answered
        self.hits: dict[str, Hit] = {}
        self.ends = LastWords()
        self.last: deque[str | bytes] = deque(
            maxlen=LAST_LINES
        )  # those skipped as they stand in the file
        self.complaints: dict[str | None, str] = {}  # the first of each speaker that nobody listed
        self.engines: Counter[str] = Counter()  # shapes of lines that one of them writes
        self.phase: str | None = None
        self._has_others = False  # than the kernel
        self.moved = 0
        self.stopped_at: int | None = None
        self._began: int | None = None
        self._starters: set[str | None] = set()
        self._is_ours = False
        self._frames = Frames()
        self._crash: Hit | None = None  # whose stack follows
        self._is_anothers_stack = False  # of a thread that did not crash
        self._held: str | None = None  # a traceback begins; its first frame tells whose it is
        self._traceback = witness.Traceback.NONE
        self._request_goes_on = (
            False  # the last message was about a request, and may have more lines
        )
        self._shown: set[str] = set()  # failures that no further line could say more of

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
        return self.at > 0 and not self._has_others

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
        self.taken += 1
        if shape.kind is Kind.ACCESS:
            self._answers(b'" 200' in line)
        else:
            self.at += 1
            if shape.goes_on:
                self.alive_at = self.at
            if line:
                self.last.append(line)
            if shape.work and not (shape.kind is Kind.MAYBE_WORK and _IDLE.search(line)):
                self._work(shape.work)
            elif shape.work and not _STUCK.search(line):
                self._rest()

    def take(self, line: str, *, by_kernel: bool | None = None) -> shapes.Shape:
        """One more line, of the kernel or of a server; None: its beginning tells. Its shape."""
        line = line[:LONGEST]
        self.taken += 1
        words = None if by_kernel is False else witness.kernels(line, surely=bool(by_kernel))
        shape = shapes.of(line)
        if words is not None:
            self._hear(line, words, shape.kind)
        elif shape.kind in (Kind.ACCESS, Kind.ASKED):
            self._request_goes_on |= shape.kind is Kind.ASKED
            self._answers(shape.kind is Kind.ACCESS and '" 200' in line)
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
        self.at += 1
        for found in matches(words, "kernel", but=self._shown):
            self._hit(found, printable.line(line), is_logged=False)
        if kind is Kind.COMPLAINT:
            self._complain("the kernel", line)
        self._keep(line)

    def _see(self, line: str, shape: shapes.Shape) -> None:
        """A line of the server itself."""
        self.at += 1
        self._has_others |= not _BETWEEN_BOOTS.fullmatch(line)
        if shape.engine:
            self.engines[shape.engine] += 1
        if shape.work and not (shape.kind is Kind.MAYBE_WORK and shapes.IDLE.search(line)):
            self._work(shape.work)
        elif shape.work and not shapes.STUCK.search(line):
            self._rest()
        if shape.goes_on:
            self.alive_at = self.at
        is_below_frames = bool(self._frames.near(self.at))
        if shape.kind is Kind.TELLING or self.ends.is_open() or is_below_frames:
            self._look(printable.line(line), shape.phase)
        elif shape.kind is Kind.COMPLAINT:
            self._complain(witness.said(line).speaker, line)
        self._keep(line)

    def _answers(self, is_well: bool) -> None:
        if is_well:
            self.alive_at = self.at

    def _work(self, batches: int) -> None:
        self.worked += batches
        self.worked_at, self.phase = self.at, SERVING
        self._shown.clear()  # it may have survived one, which counts anew when it comes again

    def _rest(self) -> None:
        """Prompts are read, or nobody waits for anything: whoever took long before answered."""
        self.rested_at = self.at
        self._shown.clear()

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

    def _look(self, line: str, phase: str | None) -> None:
        told = witness.said(line)
        if self._starts(line, told):
            self._begin(told.speaker)
        elif phase == SERVING or shapes.VLLM_READY.match(line):
            self._forgive()
        elif phase and (self.phase is None or _ORDER.index(phase) > _ORDER.index(self.phase)):
            self.phase, self.moved = phase, self.moved + 1
        if self._is_a_stop(told):
            self.stopped_at = self.at
        alive = max(self.worked_at, self.rested_at, self.alive_at)
        now = Moment(self.at, self.phase, self.worked)
        self.ends.listen(line, told, now, self._frames, alive)
        if thread := shapes.THREAD.match(told.text):
            self._is_anothers_stack = thread["which"] == "T"
        if self._frames.take(line, told.text, self.at):
            self._follow_stack(line)
            return
        self._finish(told.text)
        text, from_start = witness.evidence(told)
        known = matches(text, "server", from_start=from_start, but=self._shown)
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
        """Another start: the server's words of the last one do not count any more.

        The kernel's do where they stand before the only start: that is a kernel log and then a
        server's. Of more starts, those since the start before tell of another death: they explain
        this one if it does not itself. Of several replicas each says once that it starts.
        """
        if self._starters and speaker and speaker not in self._starters:
            self._starters.add(speaker)
            return
        self._starters = {speaker}
        since = self._began or 0
        stay = {id: hit for id, hit in self.hits.items() if hit.is_kernels and hit.at >= since}
        if self._began is not None:
            stay = {
                id: replace(hit, weight=weaker(hit.weight), is_old=True) for id, hit in stay.items()
            }
        self.hits, self.ends, self._began = stay, LastWords(), self.at
        self.phase, self.stopped_at = "process", None
        self.worked_at = self.rested_at = self.alive_at = -1
        self.complaints.clear()
        self._shown.clear()

    def _forgive(self) -> None:
        """It serves: what it said before did not kill it.

        The kernel's words may be of later, put in front.
        """
        self.hits = {
            id: hit for id, hit in self.hits.items() if hit.is_kernels or hit.weight == "note"
        }
        self.ends, self.phase, self.worked_at = LastWords(), SERVING, self.at
        self.complaints.clear()
        self._shown.clear()

    def _is_a_stop(self, told: Said) -> bool:
        """Whether somebody asked it to stop, and nothing had died before."""
        if self.stopped_at is not None or self.ends.death or self._died_before():
            return False
        words = shapes.STOP.match(told.text) if told.is_framed else None
        return bool(words or shapes.SHUTDOWN.match(told.text))

    def _follow_stack(self, frame: str) -> None:
        """The first frame below a crash in native code says where it was, but for those of other
        threads, and of the signal itself.
        """
        if self._crash and self.at - self._crash.at > STACKS:
            self._crash = None
        is_innocent = self._is_anothers_stack or _SIGNALS.search(frame)
        if self._crash and not is_innocent and (where := function(frame)):
            self._crash.words["where"] = f" in {where}"
            self._crash = None

    def _hit(self, found: Found, line: str, *, is_logged: bool) -> None:
        failure, phase = found.failure, self._frames.phase(self.at) or self.phase
        failure = next((case for case in cases(failure.id) if phase in case.phases), failure)
        if failure.id in self._shown:
            return
        shown = [line]
        if failure.needs:
            frames = self._frames.near(self.at)
            shown += [text for text in (*frames, line) if failure.needs.search(text)][-1:]
            if len(shown) == 1:
                return
        if failure.of and failure.pattern:  # the line tells what the phase was only guessed to be
            for id in (failure.of, *(case.id for case in cases(failure.of) if case.phases)):
                self.hits.pop(id, None)
        hit = self.hits.get(failure.id)
        if hit is None or hit.is_old or self._was_survived(hit):
            hit = self._new(failure, found.words, phase, is_logged=is_logged)
            self.hits.pop(failure.id, None)  # in the order of their lines
            self.hits[failure.id] = hit
        hit.last = self.at
        self.ends.is_told |= hit.weight == "consequence"
        if len(hit.lines) < EVIDENCE:
            for text in shown:
                hit.lines.setdefault(re.sub(r"^\[[^\]]*\]:? ?", "", text), text.strip())
        else:
            self._shown.add(failure.id)

    def _finish(self, text: str) -> None:
        """Drop the steps that a line ends."""
        for hit in self._steps():
            if hit.failure.until and hit.failure.until.search(text):
                del self.hits[hit.failure.id]

    def _steps(self) -> list[Hit]:
        return [hit for hit in self.hits.values() if hit.failure.weight == "unfinished"]

    def _new(
        self, failure: Failure, words: dict[str, str], phase: str | None, *, is_logged: bool
    ) -> Hit:
        is_kernels = failure.origin == "kernel"
        follows = failure.follows and self._died_before()
        stopped = self.stopped_at is not None and not is_kernels and failure.weight != "note"
        weight = "consequence" if follows or stopped else failure.weight
        is_fatal = self.ends.is_open() and bool(self.ends.death and self.ends.death.is_exception)
        made = Hit(
            failure,
            self.at,
            self.taken,
            weight,
            dict(words),
            is_kernels,
            is_logged,
            phase,
            self.worked,
            self.moved,
            is_fatal,
        )
        if failure.id in ("native-crash", "bus-error"):
            self._crash, self._is_anothers_stack = made, False
        return made

    def last_words(self) -> Block | None:
        """What died first, unless it went on."""
        death = self.ends.death
        return None if death and self.worked - death.worked >= WORKED else death

    def last_exception(self) -> Block | None:
        """What was raised last, without the word that a process ends of it: there was no sign of
        life since, or others told of a death.
        """
        raised = self.ends.raised
        if raised is None or self.worked - raised.worked >= WORKED:
            return None
        is_last = raised.at > max(self.worked_at, self.rested_at, self.alive_at)
        return raised if is_last or self.ends.is_told else None

    def settled(self) -> list[Hit]:
        """Every hit at the end: what the server went on after is a note."""
        hits = [hit for hit in self.hits.values() if hit.failure.weight != "unfinished"]
        return [replace(hit, weight="note") if self._was_survived(hit) else hit for hit in hits]

    def stands(self) -> list[Hit]:
        """The steps that the log ends in: no other phase opened since, and nobody died or served,
        the last one first.
        """
        alive = max(self.worked_at, self.rested_at)
        told = self.ends.error.at if self.ends.error else -1
        return [
            hit
            for hit in reversed(self._steps())
            if hit.last > max(alive, told) and hit.moved == self.moved
        ]

    def waits(self) -> Hit | None:
        """What said that an answer takes long, of which there was no sign since."""
        alive = max(self.worked_at, self.rested_at)
        waits = (hit for hit in self.hits.values() if hit.failure.family == "hang")
        return next((hit for hit in waits if hit.weight == "note" and hit.last > alive), None)

    def _was_survived(self, hit: Hit) -> bool:
        if hit.is_kernels:
            return False
        moved = self.moved - hit.moved
        is_past = not hit.is_fatal and moved >= (1 if hit.is_logged else MOVED)
        return is_past or self.worked - hit.worked >= WORKED

    def _died_before(self) -> bool:
        """Whether something that is no mere consequence came before: another's exception, or a
        known complaint.
        """
        if self.ends.came_before(self.at):
            return True
        return any(hit.weight in WEIGHTS and not hit.failure.follows for hit in self.settled())
