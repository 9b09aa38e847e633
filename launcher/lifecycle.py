r"""Every state of a served model, and everything that can happen to it, in one `match`.

Pure: no clock, no process, no file. Time comes in with the events (`now`, monotonic seconds), wishes come
in as events, and what should be done about it goes out as actions. `supervisor.py` carries the actions out.

    Idle -> Starting -> Ready          Stopping is where everyone waits until the last process is gone;
              ^  |        |            its `then` says what follows: the end, a start that was asked
              |  '> Stopping <'        for, or a start that counts as a death. A death in Starting or
              |      |    |            Ready goes to Backoff at once, or to Ended when the budget of
              '-- Backoff  '-> Ended   deaths is spent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar

from launcher.events import (
    Action,
    Asked,
    Begun,
    Event,
    Gone,
    Hinted,
    Kill,
    Launch,
    Probe,
    Probed,
    Terminate,
    Ticked,
    Wish,
)
from launcher.policy import Policy


class Then(Enum):
    """What follows when the last process is gone."""

    END = "end"
    RESTART = "restart"
    RETRY = "retry"


@dataclass(frozen=True)
class Past:
    """What earlier runs of the server leave behind."""

    run: int = 0  # how many times the server was launched; numbers the present run
    deaths: tuple[float, ...] = ()  # when it died, within the policy's window
    restarts: int = 0  # launches after the first, whoever wanted them
    served: bool = False  # whether any run was ever ready


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
    asking: bool = False
    ask_at: float = 0.0
    hinted: bool = False


@dataclass(frozen=True)
class Ready:
    """The server has generated a token."""

    name: ClassVar[str] = "ready"
    past: Past
    reason: str
    ask_at: float
    asking: bool = False
    misses: int = 0


@dataclass(frozen=True)
class Stopping:
    """The server was asked, or made, to go; the last process is not gone yet."""

    name: ClassVar[str] = "stopping"
    past: Past
    reason: str
    since: float
    then: Then
    killed: bool = False


@dataclass(frozen=True)
class Backoff:
    """The server died; the next launch waits."""

    name: ClassVar[str] = "backoff"
    past: Past
    reason: str
    until: float


State = Idle | Starting | Ready | Stopping | Backoff | Ended


Step = tuple[State, tuple[Action, ...]]

# Seconds between questions to a server that is not ready yet, and once its log says that it is.
ASK_AGAIN, ASK_SOON = 0.5, 0.05


def step(state: State, event: Event, policy: Policy) -> Step:
    """Give the next state and what to do now. An event that changes nothing returns the state itself."""
    match state, event:
        case Idle(past), Begun(now):
            return _launch(past, now, "first start")

        case Starting(past), Gone(how=how) as gone if not past.served and gone.is_a_no:
            # The server said no by itself (bad argument, missing model, no memory): it would say it again. SGLang
            # kills itself on a rank's exception, so a signal alone does not mean that somebody else did it.
            return Ended(past, f"{how} before it was ready; not tried again", failed=True), ()
        case ((Starting(past) | Ready(past)), Gone(now, _, how)):
            return _bury(past, now, how, policy)
        case Starting(past, since=since), Ticked(now) if now >= since + policy.ready_within:
            why = f"not ready within {policy.ready_within:g} s"
            return Stopping(past, why, now, Then.RETRY, killed=True), (Kill(),)
        case Starting(past, asking=False, ask_at=ask_at), Ticked(now) if now >= ask_at:
            return replace(state, asking=True), (Probe(past.run, first=True),)
        case Starting(past, asking=False), Hinted():
            return replace(state, asking=True, hinted=True), (Probe(past.run, first=True),)
        case Starting(hinted=False), Hinted():
            return replace(state, hinted=True), ()
        case Starting(past), Probed(now, run, ok, detail) if run == past.run:
            if ok:
                return Ready(replace(past, served=True), detail, now + policy.probe_every), ()
            return replace(state, asking=False, ask_at=now + (ASK_SOON if state.hinted else ASK_AGAIN)), ()

        case Ready(past, asking=False, ask_at=ask_at), Ticked(now) if now >= ask_at:
            return replace(state, asking=True), (Probe(past.run, first=False),)
        case Ready(past, misses=misses), Probed(now, run, ok, detail) if run == past.run:
            ask_at = now + policy.probe_every
            if ok:
                reason = "answers again" if misses else state.reason
                return replace(state, reason=reason, asking=False, ask_at=ask_at, misses=0), ()
            if misses + 1 >= policy.unhealthy_after:
                why = f"{misses + 1} health checks in a row failed, the last one: {detail}"
                return Stopping(past, why, now, Then.RETRY, killed=True), (Kill(),)
            why = f"{misses + 1} of {policy.unhealthy_after} health checks failed: {detail}"
            return replace(state, reason=why, asking=False, ask_at=ask_at, misses=misses + 1), ()

        case ((Starting(past) | Ready(past)), Asked(now, Wish.STOP, by)):
            return Stopping(past, f"stop asked for by {by}", now, Then.END), (Terminate(),)
        case ((Starting(past) | Ready(past)), Asked(now, Wish.RESTART, by)):
            return Stopping(past, f"restart asked for by {by}", now, Then.RESTART), (Terminate(),)
        case Backoff(past), Asked(_, Wish.STOP, by):
            return Ended(past, f"stop asked for by {by}"), ()
        case Backoff(past), Asked(now, Wish.RESTART, by):
            return _launch(past, now, f"restart asked for by {by}", fresh=True)
        case Idle(past), Asked(_, Wish.STOP, by):
            return Ended(past, f"stop asked for by {by}"), ()

        case Stopping(then=Then.END, killed=False), Asked(_, Wish.STOP, by):
            return replace(state, reason=f"stop asked for again by {by}: killed", killed=True), (Kill(),)
        case Stopping(then=Then.RESTART | Then.RETRY), Asked(_, Wish.STOP, by):
            return replace(state, reason=f"stop asked for by {by}", then=Then.END), ()
        case Stopping(since=since, killed=False), Ticked(now) if now >= since + policy.stop_within:
            why = f"{state.reason}; not gone within {policy.stop_within:g} s: killed"
            return replace(state, reason=why, killed=True), (Kill(),)
        case Stopping(past, reason, then=Then.END), Gone():
            return Ended(past, reason), ()
        case Stopping(past, reason, then=Then.RESTART), Gone(now=now):
            return _launch(past, now, reason, fresh=True)
        case Stopping(past, reason, then=Then.RETRY), Gone(now=now):
            return _bury(past, now, reason, policy)

        case Backoff(past, reason, until), Ticked(now) if now >= until:
            return _launch(past, now, f"after: {reason}")

        case _:
            return state, ()


def wakes_at(state: State, policy: Policy) -> float | None:
    """When `step` next wants a `Ticked`, if nothing else happens before."""
    match state:
        case Starting(since=since, asking=asking, ask_at=ask_at):
            deadline = since + policy.ready_within
            return deadline if asking else min(deadline, ask_at)
        case Ready(asking=False, ask_at=ask_at):
            return ask_at
        case Stopping(since=since, killed=False):
            return since + policy.stop_within
        case Backoff(until=until):
            return until
        case _:
            return None


def _launch(past: Past, now: float, reason: str, *, fresh: bool = False) -> Step:
    run = past.run + 1
    past = replace(past, run=run, restarts=run - 1)
    return Starting(past, reason, now, ask_at=now + ASK_AGAIN), (Launch(run, fresh),)


def _bury(past: Past, now: float, how: str, policy: Policy) -> Step:
    """Count a death; launch again within the budget, else give up (Erlang's intensity and period)."""
    deaths = (*(d for d in past.deaths if now - d < policy.window), now)
    past = replace(past, deaths=deaths)
    if len(deaths) > policy.deaths:
        why = f"{how}; {len(deaths)} deaths within {policy.window:g} s, {policy.deaths} allowed: gave up"
        return Ended(past, why, failed=True), ()
    pause = policy.pause_before(len(deaths))
    if pause <= 0:
        return _launch(past, now, f"after: {how}")
    return Backoff(past, how, now + pause), ()
