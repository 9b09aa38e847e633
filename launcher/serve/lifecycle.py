r"""Every state of a served model, and everything that can happen to it, in one `match`.

Pure: no clock, no process, no file. Time comes in with the events (`now`, monotonic seconds),
wishes come in as events, and what should be done about it goes out as actions. `supervisor.py`
carries the actions out.

    Idle -> Starting -> Proving -> Ready
              ^  |         |         |
              |  '----> Stopping <---'
              |         |      |
              '-- Backoff       '-> Ended

Stopping is where everyone waits until the last process is gone; its `then` says what follows: the
end, a start that was asked for, or a start that counts as a death. A death in Starting, Proving or
Ready goes to Backoff at once, or to Ended when the budget of deaths is spent, or when another start
cannot help.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar

from launcher.plan.policy import CANARIES, Policy
from launcher.serve import canary
from launcher.serve.canary import Canary, Degraded, Look, Said
from launcher.serve.events import (
    Action,
    AskCanary,
    CanaryHeard,
    Drained,
    Event,
    Examine,
    Exited,
    GpuFaulted,
    Kill,
    Launch,
    LaunchFailed,
    Leave,
    Left,
    NodeLost,
    Probe,
    ProbeResult,
    Progressed,
    RankDied,
    ReadyHinted,
    Record,
    Request,
    RequestReceived,
    RestartAdvice,
    SmokeResult,
    StacksSaved,
    Started,
    StartFailed,
    Terminate,
    Ticked,
)


class Next(Enum):
    """What follows when the last process is gone."""

    END = "end"
    RESTART = "restart"
    RETRY = "retry"
    FAIL = "fail"


@dataclass(frozen=True)
class Past:
    """What earlier runs of the server leave behind."""

    run: int = 0  # how many times the server was launched; numbers the present run
    deaths: tuple[float, ...] = ()  # when it died, within the policy's window
    consecutive_failures: int = 0  # deaths since it was last ready, however long ago
    served: bool = False  # whether any run was ever ready
    # how often in a row this host kept us from launching it, or another node from being ready
    unlaunched: int = 0

    @property
    def restarts(self) -> int:
        """Launches after the first, whoever wanted them."""
        return max(0, self.run - 1)


@dataclass(frozen=True)
class Ended:
    """Nothing runs and nothing will."""

    name: ClassVar[str] = "stopped"
    past: Past
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class Idle:
    """Nothing was launched yet."""

    name: ClassVar[str] = "idle"
    past: Past = field(default_factory=Past)
    reason: str = ""


@dataclass(frozen=True)
class Starting:
    """The server was launched and has not generated a token yet."""

    name: ClassVar[str] = "starting"
    past: Past
    reason: str
    since: float
    phase: str = "process"
    last_progress: float = 0.0  # when it last gave a sign of life
    asking: bool = False
    ask_at: float = 0.0
    hinted: bool = False


@dataclass(frozen=True)
class Proving:
    """The server has generated a token; whether it is right is being asked."""

    name: ClassVar[str] = "starting"
    past: Past
    reason: str
    since: float
    detail: str  # of the first token


@dataclass(frozen=True)
class Ready:
    """The server has generated a token, and answers rightly."""

    name: ClassVar[str] = "ready"
    past: Past
    reason: str
    ask_at: float
    last_progress: float  # when it last gave a sign of work
    asking: bool = False  # since `ask_at`
    failures: int = 0
    canary: Canary | None = None  # None: it is not asked whether it still is right


@dataclass(frozen=True)
class Stopping:
    """The server was asked, or made, to go; the last process is not gone yet.

    `recording`: it will be killed as soon as its stacks are kept. `again`: it is started again
    whatever its log says: it served, or did not die by itself. `cause` names why it is made to go,
    where its log knows no better.
    """

    name: ClassVar[str] = "stopping"
    past: Past
    reason: str
    since: float
    then: Next
    killed: bool = False
    recording: bool = False
    again: bool = False
    cause: str = ""
    told_at: float | None = None  # when it will be asked to go; None: it was


@dataclass(frozen=True)
class Backoff:
    """The server died; the next launch waits."""

    name: ClassVar[str] = "backoff"
    past: Past
    reason: str
    until: float


State = Idle | Starting | Proving | Ready | Stopping | Backoff | Ended


Step = tuple[State, tuple[Action, ...]]

# Seconds between questions to a server that is not ready yet, once its log says that it is, and
# after a miss.
ASK_AGAIN, ASK_SOON, ASK_AFTER_MISS = 0.5, 0.05, 1.0
# seconds after which whoever asks is lost: each of its questions and looks ends long before
ASK_WITHIN = 90.0
RECORD_WITHIN = 60.0  # seconds that keeping the stacks may take before it is killed without
# seconds for a health check of a server that has nothing to do; more is worth a word, and no fault
SLOW = 5.0
SHORT = 1.0  # seconds in line for a processor between two questions that are worth a word
_UNKNOWN, _SLOWLY, _EXCUSED = "its health is unknown", "answers slowly", "no answer, but"


def step(state: State, event: Event, policy: Policy) -> Step:
    """Give the next state and what to do now.

    An event that changes nothing returns the state itself.
    """
    match state, event:
        case Idle(past), Started(now):
            return _launch(past, now, "first start")

        case Starting(past), LaunchFailed(now, why):
            return _wait(past, now, why, policy)
        case (
            (Starting(past) | Proving(past) | Ready(past)),
            Exited(now=now, how=how, advice=RestartAdvice.TOGETHER),
        ):
            return _wait(past, now, how, policy)

        case ((Starting(past) | Proving(past)), Exited(how=how) as gone) if _is_final(past, gone):
            # The server said no by itself (bad argument, missing model, no memory): it would say it
            # again. SGLang kills itself on a rank's exception, so a signal alone does not mean that
            # somebody else did it.
            return Ended(past, f"{how} before it was ready; not tried again", failed=True), ()
        case (
            (Starting(past) | Proving(past) | Ready(past)),
            Exited(how=how, advice=RestartAdvice.REBOOT),
        ):
            return Ended(past, f"{how}; the host must be rebooted first", failed=True), ()
        case ((Starting(past) | Proving(past) | Ready(past)), Exited(now, _, how)):
            return _bury(past, now, how, policy)
        case ((Starting(past) | Proving(past) | Ready(past)), GpuFaulted(now, what)):
            return Stopping(past, what, now, Next.FAIL, killed=True, cause="gpu-fault"), (Kill(),)
        case Stopping(then=Next.RESTART | Next.RETRY), GpuFaulted(_, what):
            failing = replace(
                state, reason=what, then=Next.FAIL, killed=True, recording=False, cause="gpu-fault"
            )
            return failing, () if state.killed else (Kill(),)
        case Backoff(past), GpuFaulted(_, what):
            return Ended(past, what, failed=True), ()
        case ((Starting(past) | Proving(past) | Ready(past)), RankDied(now, run, who)) if (
            run == past.run
        ):
            why, ready = f"{who} died", isinstance(state, Ready)
            return Stopping(
                past, why, now, Next.RETRY, killed=True, again=ready, cause="process-lost"
            ), (Kill(),)

        case ((Starting(past) | Proving(past) | Ready(past)), NodeLost(now, run, who)) if (
            run == past.run
        ):
            return Stopping(
                past, who, now, Next.RETRY, killed=True, again=True, cause="node-lost"
            ), (Kill(),)

        case Starting(past), StartFailed(now, run, what) if run == past.run:
            return Stopping(past, what, now, Next.RETRY, killed=True), (Kill(),)
        case Starting(past, since=since), Ticked(now) if now >= since + policy.start_timeout:
            return _record(past, now, f"not ready within {policy.start_timeout:g} s")
        case Starting(past, phase=phase, last_progress=stirred), Ticked(now) if (
            now >= stirred + policy.stall_timeout_of(phase)
        ):
            return _record(
                past, now, f"{phase} has not moved for {policy.stall_timeout_of(phase):g} s"
            )
        case Starting(past), Progressed(now, run, phase) if run == past.run:
            return replace(state, phase=phase, last_progress=now), ()
        case Starting(past, asking=False, ask_at=ask_at), Ticked(now) if now >= ask_at:
            return replace(state, asking=True, ask_at=now), (Probe(past.run, first=True),)
        case Starting(asking=True, ask_at=asked), Ticked(now) if now >= asked + ASK_WITHIN:
            return replace(state, asking=False, ask_at=now), ()  # whoever asked does not come back
        case Starting(past, asking=False), ReadyHinted(now):
            return replace(state, asking=True, ask_at=now, hinted=True), (
                Probe(past.run, first=True),
            )
        case Starting(hinted=False), ReadyHinted():
            return replace(state, hinted=True), ()
        case Starting(past, reason), ProbeResult(now, run, ok, detail) if run == past.run:
            if ok and policy.smoke:
                return Proving(past, reason, now, detail), (Examine(past.run),)
            if ok:
                return _ready(past, now, detail, policy)
            return (
                replace(
                    state, asking=False, ask_at=now + (ASK_SOON if state.hinted else ASK_AGAIN)
                ),
                (),
            )

        case Proving(past, since=since), Ticked(now) if now >= since + policy.stall_timeouts.warmup:
            return _record(
                past, now, f"the smoke test did not end within {policy.stall_timeouts.warmup:g} s"
            )
        case Proving(past), SmokeResult(now, run, _, found, silent=True) if run == past.run:
            return _record(past, now, f"the smoke test got {found}")
        case Proving(past, detail=detail), SmokeResult(now, run, ok, found) if run == past.run:
            if ok:
                return _ready(past, now, f"{detail}, {found}", policy)
            # What was right once may be right again; what never was will load 430 GB to be wrong
            # again.
            then, why = Next.RETRY if past.served else Next.FAIL, f"wrong output: {found}"
            return Stopping(past, why, now, then, killed=True, cause="wrong-output"), (Kill(),)

        case Ready(past, asking=False, ask_at=ask_at), Ticked(now) if now >= ask_at:
            return replace(state, asking=True, ask_at=now), (Probe(past.run, first=False),)
        case Ready(past, asking=True, ask_at=asked), Ticked(now) if now >= asked + ASK_WITHIN:
            why = f"a health check did not come back within {ASK_WITHIN:g} s"
            return step(state, ProbeResult(now, past.run, False, why, asked=False), policy)
        # the last word counts, not the longest
        case Ready(past), Progressed(now, run, _, until) if run == past.run:
            return replace(state, last_progress=max(now, until)), ()
        case Ready(past), ProbeResult(now, run, detail=detail, asked=False) as word if (
            run == past.run
        ):
            why = f"{_UNKNOWN}: {detail}"
            later = replace(state, reason=why, asking=False, ask_at=now + policy.probe_interval)
            return replace(later, last_progress=state.last_progress + word.starved), ()
        case (
            Ready(past, failures=misses),
            ProbeResult(now, run, ok, detail, excuse, took=took, starved=starved),
        ) if run == past.run:
            if ok or excuse:
                answers = _answers(state, took) if ok else f"{_EXCUSED} {excuse}"
                later = replace(
                    state,
                    reason=answers,
                    asking=False,
                    ask_at=now + policy.probe_interval,
                    failures=0,
                )
                return replace(later, last_progress=max(state.last_progress, now)), ()
            misses += 1
            stirred = state.last_progress + starved
            silent = now - stirred
            if misses >= policy.failure_threshold and silent >= policy.stall_timeout:
                why = (
                    f"{misses} health checks in a row failed, the last one: {detail}; no work for"
                    f" {silent:.0f} s"
                )
                return _record(past, now, why)
            why = f"{misses} of {policy.failure_threshold} health checks failed: {detail}"
            if starved >= SHORT:
                why += f"; the host is short of processors: {starved:.0f} s were spent in line"
            soon = min(policy.probe_interval, ASK_AFTER_MISS)
            missed = replace(state, reason=why, asking=False, ask_at=now + soon, failures=misses)
            return replace(missed, last_progress=stirred), ()

        case Ready(past, canary=Canary(degraded=Degraded() as worse)), Ticked(now) if (
            policy.canary.act == "restart"
        ):
            why = f"degraded: {worse.what}"
            going = Stopping(past, why, now, Next.RETRY, again=True, cause=worse.cause)
            return _asked_to_go(state, going, policy)
        case Ready(canary=Canary() as bird), Ticked(now) if _is_due(bird, now, policy):
            return _turn(state, bird, now, policy)
        case Ready(past, canary=Canary() as bird), CanaryHeard(now, run, question, look) if (
            run == past.run and bird.asking == question
        ):
            return replace(state, canary=canary.hear(bird, look, now, policy.canary)), ()

        case (
            (Starting(past) | Proving(past) | Ready(past)),
            RequestReceived(now, Request.KILL, by),
        ):
            return Stopping(past, _killed(by), now, Next.END, killed=True), (Kill(),)
        case Stopping(), RequestReceived(_, Request.KILL, by):
            killed = replace(state, then=Next.END, killed=True, recording=False)
            return (
                (killed, ()) if state.killed else (replace(killed, reason=_killed(by)), (Kill(),))
            )
        case ((Idle(past) | Backoff(past)), RequestReceived(_, Request.KILL, by)):
            return Ended(past, _killed(by)), ()
        case (
            (Starting(past) | Proving(past) | Ready(past)),
            RequestReceived(now, (Request.STOP | Request.RESTART) as asked, by),
        ):
            then = Next.END if asked is Request.STOP else Next.RESTART
            why = f"{asked.value} asked for by {by}"
            return _asked_to_go(state, Stopping(past, why, now, then), policy)
        case Stopping(past, since=since, told_at=at, killed=False), Left(now, run) if (
            at is not None and run == past.run
        ):
            return replace(state, told_at=max(now, since + policy.drain_delay)), ()
        case Stopping(told_at=at, killed=False), Ticked(now) if at is not None and now >= at:
            return replace(state, told_at=None, since=now), (Terminate(),)
        case Backoff(past), RequestReceived(_, Request.STOP, by):
            return Ended(past, f"stop asked for by {by}"), ()
        case Backoff(past), RequestReceived(now, Request.RESTART, by):
            return _launch(past, now, f"restart asked for by {by}", fresh=True)
        case Idle(past), RequestReceived(_, Request.STOP, by):
            return Ended(past, f"stop asked for by {by}"), ()

        case Stopping(past, reason, recording=True), StacksSaved(now, run, finding) if (
            run == past.run
        ):
            why = f"{reason}: {finding}" if finding else reason
            return replace(state, reason=why, recording=False, killed=True), (Kill(),)
        case Stopping(since=since, recording=True), Ticked(now) if now >= since + RECORD_WITHIN:
            return replace(state, recording=False, killed=True), (Kill(),)
        case Stopping(recording=True), RequestReceived(_, Request.STOP, by):
            why = f"stop asked for by {by}"
            return replace(state, reason=why, then=Next.END, recording=False, killed=True), (
                Kill(),
            )
        case Stopping(then=Next.RESTART | Next.RETRY), RequestReceived(_, Request.STOP, by):
            return replace(state, reason=f"stop asked for by {by}", then=Next.END), ()
        case Stopping(then=Next.RETRY), RequestReceived(_, Request.RESTART, by):
            return replace(state, reason=f"restart asked for by {by}", then=Next.RESTART), ()
        case Stopping(past, killed=False, recording=False), Drained(_, run) if run == past.run:
            # SGLang looks for itself only every five seconds, and takes its time to leave; the port
            # is wanted.
            return replace(state, killed=True), (Kill(),)
        case Stopping(since=since, killed=False, recording=False, told_at=None), Ticked(now) if (
            now >= since + policy.stop_timeout
        ):
            why = f"{state.reason}; not gone within {policy.stop_timeout:g} s: killed"
            return replace(state, reason=why, killed=True), (Kill(),)
        case Stopping(past, reason, then=Next.END), Exited():
            return Ended(past, reason), ()
        case Stopping(past, reason, then=Next.FAIL), Exited():
            return Ended(past, f"{reason}; not tried again", failed=True), ()
        case Stopping(past, reason), Exited(advice=RestartAdvice.REBOOT) as gone:
            return (
                Ended(past, f"{_told(reason, gone)}; the host must be rebooted first", failed=True),
                (),
            )
        case Stopping(past, reason, then=Next.RETRY), Exited(
            now=now, advice=RestartAdvice.TOGETHER
        ) as gone:
            return _wait(past, now, _told(reason, gone), policy)
        case Stopping(past, reason, then=Next.RESTART), Exited(now=now):
            return _launch(past, now, reason, fresh=True)
        case Stopping(past, reason, then=Next.RETRY, again=False), Exited() as gone if _is_final(
            past, gone
        ):
            return (
                Ended(
                    past, f"{_told(reason, gone)} before it was ready; not tried again", failed=True
                ),
                (),
            )
        case Stopping(past, reason, then=Next.RETRY), Exited(now=now) as gone:
            return _bury(past, now, _told(reason, gone), policy)

        case Backoff(past, reason, until), Ticked(now) if now >= until:
            return _launch(past, now, f"after: {reason}")

        case _:
            return state, ()


def wakes_at(state: State, policy: Policy) -> float | None:
    """When `step` next wants a `Ticked`, if nothing else happens before."""
    match state:
        case Starting(
            since=since, phase=phase, last_progress=stirred, asking=asking, ask_at=ask_at
        ):
            deadline = min(since + policy.start_timeout, stirred + policy.stall_timeout_of(phase))
            return min(deadline, ask_at + ASK_WITHIN if asking else ask_at)
        case Proving(since=since):
            return since + policy.stall_timeouts.warmup
        case Ready(asking=asking, ask_at=ask_at, canary=bird):
            due = canary.wakes_at(bird, policy.canary) if bird else None
            probe = ask_at + ASK_WITHIN if asking else ask_at
            return probe if due is None else min(probe, due)
        case Stopping(told_at=at, killed=False) if at is not None:
            return at
        case Stopping(since=since, killed=False, recording=recording):
            return since + (RECORD_WITHIN if recording else policy.stop_timeout)
        case Backoff(until=until):
            return until
        case _:
            return None


def is_judged(state: State) -> bool:
    """Whether something has to move in it within a time that the policy, or the state, gives."""
    return isinstance(state, Starting | Proving | Stopping) or (
        isinstance(state, Ready) and state.asking
    )


def may_take(state: State, policy: Policy, now: float) -> float | None:
    """How many seconds the state may last from `now` on without a sign that it moves; None for one
    that stays.
    """
    match state:
        case Starting(phase=phase):
            return policy.stall_timeout_of(phase)
        case Proving():
            return policy.stall_timeouts.warmup
        case Stopping(recording=True):
            return RECORD_WITHIN
        case Stopping(told_at=told_at, killed=False):
            return policy.stop_timeout + (max(0.0, told_at - now) if told_at else 0.0)
        case Stopping():
            return 0.0
        case Backoff(until=until):
            return max(0.0, until - now)
        case _:
            return None


def _launch(past: Past, now: float, reason: str, *, fresh: bool = False) -> Step:
    run = past.run + 1
    past = replace(past, run=run)
    return Starting(past, reason, now, last_progress=now, ask_at=now + ASK_AGAIN), (
        Launch(run, fresh),
    )


def _wait(past: Past, now: float, why: str, policy: Policy) -> Step:
    """Launch it again later, as often as it takes: what was in the way is no fault of the
    server.
    """
    past = replace(past, unlaunched=past.unlaunched + 1)
    return Backoff(past, why, now + policy.backoff_before(past.unlaunched + 1)), ()


def _ready(past: Past, now: float, detail: str, policy: Policy) -> Step:
    # A smoke test has asked all kinds but the longer text.
    proved = frozenset(CANARIES) - {"context"} if policy.smoke else frozenset()
    return (
        Ready(
            replace(past, served=True, consecutive_failures=0, unlaunched=0),
            detail,
            now + policy.probe_interval,
            now,
            canary=canary.begin(policy.canary, proved, now),
        ),
        (),
    )


def _is_due(bird: Canary, now: float, policy: Policy) -> bool:
    due = canary.wakes_at(bird, policy.canary)
    return due is not None and now >= due


def _turn(state: Ready, bird: Canary, now: float, policy: Policy) -> Step:
    """Ask the next question, or give up who asked the last one: he does not come back."""
    if bird.asking:
        gone = Look(Said.UNKNOWN, "whoever asked did not come back")
        return replace(state, canary=canary.hear(bird, gone, now, policy.canary)), ()
    asked, question = canary.ask(bird, now)
    return replace(state, canary=asked), (AskCanary(state.past.run, question),)


def _record(past: Past, now: float, why: str) -> Step:
    """It hangs: keep what can be known of it, then kill it."""
    return Stopping(past, why, now, Next.RETRY, recording=True, again=True, cause="hang"), (
        Record(past.run),
    )


def _answers(state: Ready, took: float) -> str:
    """What there is to say of a server that answers: nothing new, unless it was otherwise
    before.
    """
    if took >= SLOW:
        return f"{_SLOWLY}, a health check took more than {SLOW:g} s"
    otherwise = state.failures or state.reason.startswith((_UNKNOWN, _SLOWLY, _EXCUSED))
    return "answers again" if otherwise else state.reason


def _asked_to_go(state: State, going: Stopping, policy: Policy) -> Step:
    """The server is told to go, when those who send it requests had time to see that it will: its
    gateway sends it nothing more, and what it sent is answered.
    """
    if isinstance(state, Ready) and policy.leave_within:
        patience = max(policy.drain_delay, policy.leave_within + policy.stop_timeout)
        return replace(going, told_at=going.since + patience), (Leave(going.past.run),)
    if isinstance(state, Ready) and policy.drain_delay:
        return replace(going, told_at=going.since + policy.drain_delay), ()
    return going, (Terminate(),)


def _killed(by: str) -> str:
    return f"killed at once, asked for by {by}"


def _told(reason: str, gone: Exited) -> str:
    return f"{reason}: {gone.said}" if gone.said else reason


def _is_final(past: Past, gone: Exited) -> bool:
    return gone.advice is RestartAdvice.NEVER or (
        not past.served and gone.is_a_no and gone.advice is RestartAdvice.AGAIN
    )


def _bury(past: Past, now: float, how: str, policy: Policy) -> Step:
    """Count a death; launch again within the budget, else give up (Erlang's intensity and period).

    Starts that fail late and slowly may never be so many within the window: those in a row are
    counted, too.
    """
    deaths = (*(d for d in past.deaths if now - d < policy.restart_window), now)
    past = replace(past, deaths=deaths, consecutive_failures=past.consecutive_failures + 1)
    if max(len(deaths), past.consecutive_failures) > policy.restart_limit:
        return (
            Ended(
                past,
                f"{how}; {_too_many(past, policy)}, {policy.restart_limit} allowed: gave up",
                failed=True,
            ),
            (),
        )
    pause = policy.backoff_before(len(deaths))
    if pause <= 0:
        return _launch(past, now, f"after: {how}")
    return Backoff(past, how, now + pause), ()


def _too_many(past: Past, policy: Policy) -> str:
    if past.consecutive_failures > len(past.deaths):
        return f"{past.consecutive_failures} deaths in a row without being ready"
    many = "1 death" if len(past.deaths) == 1 else f"{len(past.deaths)} deaths"
    return f"{many} within {policy.restart_window:g} s"
