"""What is so, told: how it is to the state file, what happened to the events file, and both to the
screen.

The files are written aside (`serve/writer.py`): who decides what to do does not wait for a disk.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.engines.log import PHASES
from launcher.engines.server import Server
from launcher.engines.startup import Start
from launcher.errors import in_words
from launcher.gateway import NAME as GATEWAY
from launcher.plan.plan import Plan
from launcher.redact.told import hide_words
from launcher.serve import canary_told
from launcher.serve.gpu_monitor import GpuNews
from launcher.serve.readahead import Told
from launcher.serve.sdnotify import Notifier
from launcher.serve.smoke import Result
from launcher.serve.states import Backoff, Ended, Next, Ready, Starting, State, Stopping
from launcher.serve.writer import Writer

if TYPE_CHECKING:
    from launcher.diagnose.verdict import Diagnosis
from launcher.statedir import starts
from launcher.statedir.events import Event
from launcher.statedir.folder import StateDir
from launcher.statedir.readings import GpuReading, Probe, Readings
from launcher.statedir.session import Session
from launcher.statedir.starts import PastStart, Usual
from launcher.statedir.state import Canary, Pids, Progress, Smoke, StartRecord, StateRecord
from launcher.statedir.times import now_text

Show = Callable[[Event], None]
PROGRESS_EVERY = 1.0  # seconds between two words about the same phase
WAITS_EVERY = 5.0  # seconds between two of what the processes of a start wait for
STUCK = 10.0  # seconds without an answer of the state folder's disk that are worth a word


@dataclass(frozen=True)
class Snapshot:
    """How it is at one moment (`now`: monotonic seconds)."""

    plan: Plan
    state: State
    start: Start
    server: int | None
    last_error: str | None
    now: float
    session: Session | None = None  # by what its processes are known without their launcher

    @property
    def name(self) -> str:
        """The state's name; an end is `stopped`, or `failed` when nobody asked for it."""
        return "failed" if isinstance(self.state, Ended) and self.state.failed else self.state.name

    @property
    def url(self) -> str:
        """Where it answers; of several nodes the first one does."""
        host = self.plan.nodes[0].address if self.plan.follows else self.plan.host
        return Server(host, self.plan.port).url

    @property
    def progress(self) -> Progress | None:
        done = self.start.progress
        return Progress(done.done, done.total, done.left) if done else None


class Recorder:
    """Tells pictures.

    A folder that takes nothing is said once on the screen, and is no reason to stop serving.
    """

    def __init__(
        self, instance: StateDir, show: Show, notifier: Notifier, lock: int | None = None
    ) -> None:
        """`lock` is the descriptor by which this launcher holds the instance."""
        self.instance = instance
        self.lock = lock
        self.writer = Writer(self._failed)
        self.show = show
        self.notifier = notifier
        self.key: str | None = None  # of the server: it stands in nothing that is told
        self.gpus: tuple[GpuReading, ...] = ()
        self.deaths: Counter[str] = Counter()
        self._smoke: Smoke | None = None
        self._canary: Canary | None = None
        self._starts = starts.read(instance.starts)
        self._usual: Usual | None = None  # seconds of a start like the present one
        self._was: tuple[str, float] | None = None
        self._since = now_text()
        self._took: dict[str, float] = {}  # seconds of the last start's phases, once it is over
        self._progress_at = self._read_at = self._waits_at = 0.0
        self._complaints: set[str] = set()
        self._dropped = 0

    def record(self, picture: Snapshot) -> None:
        """Write how it is; nothing happened."""
        self.writer.put(partial(self._write_state, self._record(picture)), "state")

    def waits(self, picture: Snapshot) -> None:
        """Write what the processes of a start wait for, as often as somebody may look."""
        if picture.now - self._waits_at >= WAITS_EVERY:
            self._waits_at = picture.now
            self.record(picture)

    def state(self, picture: Snapshot, *, moved: bool) -> None:
        """Tell a state: a new one (`moved`), or the same with another reason."""
        past = picture.state.past
        more: dict[str, Any] = {}
        over = ""  # since when it was starting, where it is no more
        if moved:
            began, self._since = self._since, now_text()
            if self._was:
                name, since = self._was
                over = began if name == Starting.name else ""
                more["previous"] = {"state": name, "seconds": round(picture.now - since, 3)}
            self._was = (picture.name, picture.now)
            self._canary = _canary(picture)
            if over:
                self._took = picture.start.seconds(picture.now)
            if isinstance(picture.state, Starting):
                self._took = {}
                self._usual = self._usual_of(picture.plan)
        if isinstance(picture.state, Ready):
            more |= {"seconds": self._took, "url": picture.url, "moved": moved}
        if picture.name == "starting":
            more["log"] = str(self.instance.server_log)
            if self._usual:
                more["usual"] = self._usual.to_json()
        if picture.name == "failed":
            more["error"] = picture.last_error
        said = {
            "state": picture.name,
            "reason": _reason(picture),
            "run": past.run,
            "restarts": past.restarts,
        }
        self._tell(picture, "state", **said, **more)
        if over:
            self._keep_start(picture, over)
        self._notify(picture)

    def _keep_start(self, picture: Snapshot, began: str) -> None:
        """Keep what became of a start, for the next ones to be compared with."""
        plan, start = picture.plan, picture.start
        made = PastStart(
            time=began,
            run=picture.state.past.run,
            outcome=_outcome(picture.state),
            reason=picture.state.reason,
            model=plan.model_name,
            engine=plan.engine,
            release=plan.release,
            seconds=self._took,
            waits=start.waits,
            gpus=plan.gpus,
        )
        self._starts = (*self._starts, made)[-starts.KEPT :]
        data = hide_words(starts.to_json(self._starts), self.key)
        self.writer.put(partial(self.instance.write, self.instance.starts, data), "starts")

    def _usual_of(self, plan: Plan) -> Usual | None:
        """What a start like this took here before."""
        return starts.usual(self._starts, plan.model_name, plan.engine, plan.release)

    def death(
        self,
        picture: Snapshot,
        run: int,
        how: str,
        why: Diagnosis,
        lost: list[str],
        stacks: Path | None,
    ) -> None:
        """Tell that a run died although nobody asked for it, and why, as far as is known."""
        self.deaths[why.cause] += 1
        said = {
            "run": run,
            "how": how,
            "cause": why.cause,
            "what": why.what.removeprefix(f"{why.cause.replace('-', ' ')}: "),  # it stands before
            "evidence": list(why.evidence),
        }
        more = {
            "fix": why.fix,
            "knob": why.knob,
            "restart": why.then,
            "first": lost[0] if lost else None,
        }
        self._tell(picture, "death", **said, **more, stacks=str(stacks) if stacks else None)

    def smoke(self, picture: Snapshot, run: int, result: Result, detail: str) -> None:
        """Tell how the smoke test went."""
        seconds = round(result.seconds, 3)
        self._smoke = Smoke(result.ok, detail, seconds, now_text())
        self._tell(picture, "smoke", run=run, ok=result.ok, detail=detail, seconds=seconds)

    def canary(self, picture: Snapshot, before: State) -> None:
        """Tell what came of a question that a server was asked while it serves."""
        was = before.canary if isinstance(before, Ready) else None
        now = picture.state.canary if isinstance(picture.state, Ready) else None
        if now is None or was is None or now.last is None or now is was:
            return
        told = self._canary or Canary(picture.plan.policy.canary.every)
        self._canary = canary_told.record(told, now, now.last, now_text())
        if news := canary_told.news(was, now, picture.plan.suspects):
            cause = {"cause": news.cause} if news.cause else {}
            said = {"degraded": news.degraded, "reason": news.reason, **cause}
            self._tell(picture, "canary", run=picture.state.past.run, **said)
        else:
            self.record(picture)
        for kind in now.unasked - was.unasked:
            self.complain(
                f"the canary asks no question of kind {kind}: the first answer was wrong:"
                f" {now.last.detail}"
            )

    def gpu(self, picture: Snapshot, told: GpuNews, *, ours: bool) -> None:
        """Tell a GPU's fault, or what the kernel said; `ours`: it is about what is served here."""
        more = {"gpu": told.gpu, "bdf": told.bdf, "xid": told.xid}
        self._tell(picture, "gpu", **more, line=told.line, ours=ours)

    def reading(self, seconds: float, ok: bool) -> None:
        """Keep how long the server took to answer, and what its GPUs do."""
        # `since` says which state it was read in: clocks are set, and compare badly.
        probe = Probe(round(seconds, 4), ok)
        read = Readings(self._since, now_text(), time.time(), probe, self.gpus)
        self.writer.put(
            partial(self.instance.write, self.instance.readings, read.to_json()), "readings"
        )

    def _notify(self, picture: Snapshot) -> None:
        """What systemd shows, and when it goes on with those that wait for us."""
        reason = hide_words(picture.state.reason, self.key, in_words=True)
        words = [f"STATUS={picture.name}: {reason}"]
        if isinstance(picture.state, Ready):
            words.append("READY=1")
        if isinstance(picture.state, Ended) or (
            isinstance(picture.state, Stopping) and picture.state.then in (Next.END, Next.FAIL)
        ):
            words.append("STOPPING=1")
        self.notifier.tell(*words)

    def phase(self, picture: Snapshot) -> None:
        """Tell that the start is in its next phase."""
        seconds = picture.start.seconds(picture.now)
        self._tell(picture, "phase", phase=picture.start.phase, seconds=seconds)
        self.notifier.tell(f"STATUS=starting: {PHASES[picture.start.phase]}")

    def progress(self, picture: Snapshot) -> None:
        """Tell how far the phase is, now and then."""
        if picture.now - self._progress_at >= PROGRESS_EVERY:
            self._progress_at = picture.now
            done = picture.progress
            told = done.to_json() if done else None
            self._tell(picture, "progress", phase=picture.start.phase, progress=told)
            if done:
                status = (
                    f"{PHASES[picture.start.phase]}, {done.done}/{done.total}, {done.left} left"
                )
                self.notifier.tell(f"STATUS=starting: {status}")

    def read_ahead(self, told: Told, now: float) -> None:
        """Tell how far the checkpoint is read into memory, now and then, and how that ended."""
        if told.end is not None or now - self._read_at >= PROGRESS_EVERY:
            self._read_at = now
            event = self._event("readahead", **asdict(told))
            self.writer.put(partial(self.instance.tell, event))
            self.show(event)

    def _tell(self, picture: Snapshot, kind: str, **fields: Any) -> None:
        event = self._event(kind, **fields)
        self.record(picture)
        self.writer.put(partial(self.instance.tell, event))
        self.show(event)

    def _write_state(self, record: StateRecord) -> None:
        """In the writer's thread."""
        if self.lock is not None and not self.instance.lock.is_on(self.lock):
            self.complain(f"{self.instance.folder} was removed: it is recreated")
            # and kept: the lock that is held lies in no folder any more
            self.lock = self.instance.claim().lock
        self.instance.write(self.instance.state, hide_words(record.to_json(), self.key))

    def _failed(self, error: Exception) -> None:
        """Say what the writer could not do. In its thread."""
        if isinstance(error, OSError):
            self.complain(f"cannot write {self.instance.folder}: {in_words(error)}")
        else:
            self.complain(str(error))

    def look_after_the_disk(self) -> None:
        """Say that the state folder's disk does not answer, and what was lost by it; now and
        then.
        """
        if self.writer.stuck() >= STUCK:
            self.complain(
                f"the disk of {self.instance.folder} has not answered for {STUCK:g} s: `status`,"
                " events and the log stand still; the server is watched and serves on"
            )
        elif self.writer.dropped > self._dropped:
            lost, self._dropped = self.writer.dropped - self._dropped, self.writer.dropped
            self.complain(
                f"{lost} events were not written: the disk of {self.instance.folder} did not answer"
            )

    def complain(self, text: str) -> None:
        """Warn, once."""
        if text not in self._complaints:
            self._complaints.add(text)
            event = self._event("warning", reason=text)
            self.writer.put(partial(self._try_to_tell, event))
            self.show(event)

    def _try_to_tell(self, event: Event) -> None:
        with contextlib.suppress(OSError):
            self.instance.tell(event)

    def close(self, within: float) -> bool:
        """Have all written that was told, within so many seconds; whether it was."""
        return self.writer.close(within)

    def _event(self, kind: str, **fields: Any) -> Event:
        return Event(kind, hide_words(fields, self.key), now_text(), self.instance.name)

    def _record(self, picture: Snapshot) -> StateRecord:
        """The state file. Everything that `status` says is here or asked of the kernel."""
        plan, past = picture.plan, picture.state.past
        return StateRecord(
            profile=plan.name,
            state=picture.name,
            since=self._since,
            reason=_reason(picture),
            endpoint=picture.url,
            model=plan.model_name,
            engine=plan.engine,
            release=plan.release,
            run=past.run,
            restarts=past.restarts,
            last_error=picture.last_error,
            deaths=dict(self.deaths),
            smoke=self._smoke,
            canary=self._canary,
            pids=Pids(os.getpid(), picture.server),
            session=picture.session,
            start=self._start(picture),
            profile_path=plan.words["profile"],
            server_log=str(self.instance.server_log),
            launcher=self.instance.launcher_record(),
        )

    def _start(self, picture: Snapshot) -> StartRecord:
        """How far the start came; what comes after it is no part of it."""
        start = picture.start
        phase = "ready" if isinstance(picture.state, Ready) else start.phase
        return StartRecord(
            self._took or start.seconds(picture.now),
            phase,
            picture.progress,
            start.waits,
            self._usual,
            picture.plan.gpus,
        )


def _canary(picture: Snapshot) -> Canary | None:
    """How a server will be asked that became ready; None of a gateway, and of a node that follows:
    whom they stand for is asked.
    """
    plan, state = picture.plan, picture.state
    if not isinstance(state, Ready) or plan.follows or plan.engine == GATEWAY:
        return None
    return Canary(plan.policy.canary.every, has_questions=bool(plan.policy.canary.asks))


def _reason(picture: Snapshot) -> str:
    """Why it is as it is; of one that waits for its next start, when that will be, too."""
    state = picture.state
    left = state.until - picture.now if isinstance(state, Backoff) else 0.0
    return f"{state.reason}; the next start in {left:.0f} s" if left >= 1 else state.reason


def _outcome(state: State) -> str:
    """What became of a start, by the state that came after it: it was ready, it was asked to stop,
    or it failed, whatever is done about that.
    """
    match state:
        case Ready():
            return starts.READY
        case Stopping(then=Next.END | Next.RESTART) | Ended(failed=False):
            return starts.STOPPED
        case _:
            return starts.FAILED
