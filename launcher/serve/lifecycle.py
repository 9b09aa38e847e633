r"""Every state of a served model, and everything that can happen to it: one function a state.

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
cannot help (`restarts.py`).
"""

from __future__ import annotations

from dataclasses import replace

from launcher.plan.policy import AFTER_MISS, CANARIES, Policy
from launcher.serve import canary, restarts
from launcher.serve.canary import Canary, Degraded, Look, Said
from launcher.serve.events import (
    AskCanary,
    CanaryHeard,
    Drained,
    Event,
    Examine,
    Exited,
    GpuFaulted,
    Kill,
    LaunchFailed,
    Leave,
    Left,
    NodeLost,
    OfRun,
    Probe,
    ProbeResult,
    Progressed,
    RankDied,
    ReadyHinted,
    Record,
    RequestReceived,
    RestartAdvice,
    SmokeResult,
    StacksSaved,
    Started,
    StartFailed,
    Terminate,
    Ticked,
)
from launcher.serve.restarts import Step
from launcher.serve.states import (
    Backoff,
    Ended,
    Idle,
    Next,
    Past,
    Proving,
    Ready,
    Running,
    Starting,
    State,
    Stopping,
)
from launcher.serve.timing import ASK_AGAIN, ASK_SOON, ASK_WITHIN, RECORD_WITHIN, SLOW
from launcher.serve.wishes import Request

SHORT = 1.0  # seconds in line for a processor between two questions that are worth a word
_UNKNOWN, _SLOWLY, _EXCUSED = "its health is unknown", "answers slowly", "no answer, but"
_LATE = f"no answer to a health check for {SLOW:g} s"
_NEWS = (_UNKNOWN, _SLOWLY, _EXCUSED, _LATE)  # what an answer takes back


def step(state: State, event: Event, policy: Policy) -> Step:
    """Give the next state and what to do now.

    An event that changes nothing returns the state itself, and one of another run than the present
    one changes nothing.
    """
    if isinstance(event, OfRun) and event.run != state.past.run:
        return state, ()
    match state:
        case Idle():
            return _idle(state, event)
        case Starting():
            return _starting(state, event, policy)
        case Proving():
            return _proving(state, event, policy)
        case Ready():
            return _ready(state, event, policy)
        case Stopping():
            return _stopping(state, event, policy)
        case Backoff():
            return _backoff(state, event)
        case Ended():
            return state, ()


def _idle(state: Idle, event: Event) -> Step:
    match event:
        case Started(now):
            why = "started" if state.past.run else "first start"
            return restarts.launch(state.past, now, why)
        case RequestReceived(_, (Request.STOP | Request.KILL) as request, by):
            return Ended(state.past, _asked_for(request, by)), ()
        case _:
            return state, ()


def _running(state: Running, event: Event, policy: Policy) -> Step:
    """What means the same to a server that starts, is proved, or is ready."""
    past = state.past
    match event:
        case Exited():
            return _died(state, event, policy)
        case GpuFaulted(now, what):
            return Stopping(past, what, now, Next.FAIL, killed=True, cause="gpu-fault"), (Kill(),)
        case RankDied(now, _, who):
            why, ready = f"{who} died", isinstance(state, Ready)
            going = Stopping(past, why, now, Next.RETRY, again=ready, cause="process-lost")
            return replace(going, killed=True), (Kill(),)
        case NodeLost(now, _, who):
            going = Stopping(past, who, now, Next.RETRY, again=True, cause="node-lost")
            return replace(going, killed=True), (Kill(),)
        case RequestReceived(now, Request.KILL as request, by):
            return Stopping(past, _asked_for(request, by), now, Next.END, killed=True), (Kill(),)
        case RequestReceived(now, request, by):
            then = Next.END if request is Request.STOP else Next.RESTART
            return _ask_to_go(state, Stopping(past, _asked_for(request, by), now, then), policy)
        case _:
            return state, ()


def _died(state: Running, gone: Exited, policy: Policy) -> Step:
    """It ended by itself."""
    past, how = state.past, gone.how
    if gone.advice is RestartAdvice.TOGETHER:
        return restarts.wait(past, gone.now, how, policy)
    if not isinstance(state, Ready) and restarts.is_final(past, gone):
        return restarts.give_up(past, f"{how} before it was ready; not tried again")
    if gone.advice is RestartAdvice.REBOOT:
        return restarts.give_up(past, f"{how}; the host must be rebooted first")
    return restarts.count(past, gone.now, how, policy)


def _starting(state: Starting, event: Event, policy: Policy) -> Step:
    past = state.past
    match event:
        case Ticked(now):
            return _starting_ticked(state, now, policy)
        case LaunchFailed(now, why):
            return restarts.wait(past, now, why, policy)
        case StartFailed(now, _, what):
            return Stopping(past, what, now, Next.RETRY, killed=True), (Kill(),)
        case Progressed(now, _, phase):
            return replace(state, phase=phase, last_progress=now), ()
        case ReadyHinted(now) if not state.asking:
            hinted = replace(state, asking=True, ask_at=now, hinted=True)
            return hinted, (Probe(past.run, first=True),)
        case ReadyHinted() if not state.hinted:
            return replace(state, hinted=True), ()
        case ProbeResult(now, ok=True, detail=detail) if policy.smoke:
            return Proving(past, state.reason, now, detail), (Examine(past.run),)
        case ProbeResult(now, ok=True, detail=detail):
            return _become_ready(past, now, detail, policy)
        case ProbeResult(now):
            soon = ASK_SOON if state.hinted else ASK_AGAIN
            return replace(state, asking=False, ask_at=now + soon), ()
        case _:
            return _running(state, event, policy)


def _starting_ticked(state: Starting, now: float, policy: Policy) -> Step:
    past, stall_timeout = state.past, policy.stall_timeout_of(state.phase)
    if now >= state.since + policy.start_timeout:
        return _record(past, now, f"not ready within {policy.start_timeout:g} s")
    if now >= state.last_progress + stall_timeout:
        return _record(past, now, f"{state.phase} has not moved for {stall_timeout:g} s")
    if state.asking and now >= state.ask_at + ASK_WITHIN:
        return replace(state, asking=False, ask_at=now), ()  # whoever asked does not come back
    if not state.asking and now >= state.ask_at:
        return replace(state, asking=True, ask_at=now), (Probe(past.run, first=True),)
    return state, ()


def _proving(state: Proving, event: Event, policy: Policy) -> Step:
    past, within = state.past, policy.stall_timeouts.warmup
    match event:
        case Ticked(now) if now >= state.since + within:
            return _record(past, now, f"the smoke test did not end within {within:g} s")
        case SmokeResult(now, detail=found, silent=True):
            return _record(past, now, f"the smoke test got {found}")
        case SmokeResult(now, ok=True, detail=found):
            return _become_ready(past, now, f"{state.detail}, {found}", policy)
        case SmokeResult(now, detail=found):
            # What was right once may be right again; what never was will load 430 GB to be wrong
            # again.
            then, why = Next.RETRY if past.served else Next.FAIL, f"wrong output: {found}"
            return Stopping(past, why, now, then, killed=True, cause="wrong-output"), (Kill(),)
        case _:
            return _running(state, event, policy)


def _become_ready(past: Past, now: float, detail: str, policy: Policy) -> Step:
    # A smoke test has asked all kinds but the longer text.
    proved = frozenset(CANARIES) - {"context"} if policy.smoke else frozenset()
    served = replace(past, served=True, consecutive_failures=0, unlaunched=0)
    bird = canary.begin(policy.canary, proved, now)
    return Ready(served, detail, now + policy.probe_interval, now, canary=bird), ()


def _ready(state: Ready, event: Event, policy: Policy) -> Step:
    match event:
        case Ticked(now):
            return _ready_ticked(state, now, policy)
        case Progressed(now, until=until):  # the last word counts, not the longest
            return replace(state, last_progress=max(now, until)), ()
        case ProbeResult(now, detail=detail, asked=False):
            return _unasked(state, now, detail, event.starved, policy)
        case ProbeResult():
            return _probed(state, event, policy)
        case CanaryHeard(now, _, question, look) if (
            state.canary and state.canary.asking == question
        ):
            return replace(state, canary=canary.hear(state.canary, look, now, policy.canary)), ()
        case _:
            return _running(state, event, policy)


def _ready_ticked(state: Ready, now: float, policy: Policy) -> Step:
    past, bird = state.past, state.canary
    if not state.asking and now >= state.ask_at:
        return replace(state, asking=True, ask_at=now, late=False), (Probe(past.run, first=False),)
    if state.asking and now >= state.ask_at + ASK_WITHIN:
        why = f"a health check did not come back within {ASK_WITHIN:g} s"
        return _unasked(state, now, why, 0.0, policy)
    if state.asking and not state.late and now >= state.ask_at + SLOW:
        return _late(state, policy), ()
    match bird:
        case Canary(degraded=Degraded() as worse) if policy.canary.act == "restart":
            why = f"degraded: {worse.what}"
            going = Stopping(past, why, now, Next.RETRY, again=True, cause=worse.cause)
            return _ask_to_go(state, going, policy)
        case Canary() if _is_due(bird, now, policy):
            return _ask_canary(state, bird, now, policy)
        case _:
            return state, ()


def _late(state: Ready, policy: Policy) -> Ready:
    """A health check is not answered yet: told once, unless the last ones were told already. What
    comes of it is told when its time is over.
    """
    is_told = state.failures or state.reason.startswith(_NEWS)
    why = f"{_LATE}; it may take {policy.answer_within:g} s"
    return replace(state, late=True, reason=state.reason if is_told else why)


def _unasked(state: Ready, now: float, why: str, starved: float, policy: Policy) -> Step:
    """A question that was not asked, or whose asker is lost, says nothing of the server."""
    later = replace(state, asking=False, ask_at=now + policy.probe_interval)
    stirred = state.last_progress + starved
    return replace(later, reason=f"{_UNKNOWN}: {why}", last_progress=stirred), ()


def _probed(state: Ready, word: ProbeResult, policy: Policy) -> Step:
    """It answered, has an excuse, or missed; so many misses in a row are a hang, unless it
    works.
    """
    now = word.now
    if word.ok or word.excuse:
        answers = _answers(state, word.took) if word.ok else f"{_EXCUSED} {word.excuse}"
        later = replace(state, asking=False, ask_at=now + policy.probe_interval, failures=0)
        return replace(later, reason=answers, last_progress=max(state.last_progress, now)), ()
    misses, stirred = state.failures + 1, state.last_progress + word.starved
    silent = now - stirred
    if misses >= policy.failure_threshold and silent >= policy.stall_timeout:
        why = f"{misses} health checks in a row failed, the last one: {word.detail}"
        return _record(state.past, now, f"{why}; no work for {silent:.0f} s")
    why = _missed(misses, policy.failure_threshold, word.detail)
    if word.starved >= SHORT:
        why += f"; the host is short of processors: {word.starved:.0f} s were spent in line"
    soon = min(policy.probe_interval, AFTER_MISS)
    missed = replace(state, reason=why, asking=False, ask_at=now + soon, failures=misses)
    return replace(missed, last_progress=stirred), ()


def _missed(misses: int, threshold: int, detail: str) -> str:
    """More than the threshold are no hang while it worked a moment ago."""
    if misses > threshold:
        return f"{misses} health checks in a row failed, the last one: {detail}"
    return f"{misses} of {threshold} health checks failed: {detail}"


def _answers(state: Ready, took: float) -> str:
    """What there is to say of a server that answers: nothing new, unless it was otherwise
    before.
    """
    if took >= SLOW:
        return f"{_SLOWLY}, a health check took more than {SLOW:g} s"
    otherwise = state.failures or state.reason.startswith(_NEWS)
    return "answers again" if otherwise else state.reason


def _is_due(bird: Canary, now: float, policy: Policy) -> bool:
    due = canary.wakes_at(bird, policy.canary)
    return due is not None and now >= due


def _ask_canary(state: Ready, bird: Canary, now: float, policy: Policy) -> Step:
    """Ask the next question, or give up who asked the last one: he does not come back."""
    if bird.asking:
        gone = Look(Said.UNKNOWN, "whoever asked did not come back")
        return replace(state, canary=canary.hear(bird, gone, now, policy.canary)), ()
    asked, question = canary.ask(bird, now)
    return replace(state, canary=asked), (AskCanary(state.past.run, question),)


def _record(past: Past, now: float, why: str) -> Step:
    """It hangs: keep what can be known of it, then kill it."""
    hung = Stopping(past, why, now, Next.RETRY, recording=True, again=True, cause="hang")
    return hung, (Record(past.run),)


def _ask_to_go(state: Running, going: Stopping, policy: Policy) -> Step:
    """The server is told to go, when those who send it requests had time to see that it will: its
    gateway sends it nothing more, and what it sent is answered.
    """
    if isinstance(state, Ready) and policy.leave_within:
        patience = max(policy.drain_delay, policy.leave_within + policy.stop_timeout)
        return replace(going, told_at=going.since + patience), (Leave(going.past.run),)
    if isinstance(state, Ready) and policy.drain_delay:
        return replace(going, told_at=going.since + policy.drain_delay), ()
    return going, (Terminate(),)


def _stopping(state: Stopping, event: Event, policy: Policy) -> Step:
    match event:
        case Ticked(now):
            return _stopping_ticked(state, now, policy)
        case Exited():
            return _gone(state, event, policy)
        case RequestReceived():
            return _stopping_asked(state, event)
        case GpuFaulted(_, what) if state.then in (Next.RESTART, Next.RETRY):
            failing = replace(state, reason=what, then=Next.FAIL, cause="gpu-fault")
            return _kill(failing)
        case Left(now) if state.told_at is not None and not state.killed:
            return replace(state, told_at=max(now, state.since + policy.drain_delay)), ()
        case StacksSaved(_, _, finding) if state.recording:
            why = f"{state.reason}: {finding}" if finding else state.reason
            return _kill(replace(state, reason=why))
        case Drained() if not (state.killed or state.recording):
            # SGLang looks for itself only every five seconds, and takes its time to leave; the port
            # is wanted.
            return _kill(state)
        case _:
            return state, ()


def _kill(state: Stopping) -> Step:
    """Kill what is to go anyway, unless it was."""
    return replace(state, killed=True, recording=False), () if state.killed else (Kill(),)


def _stopping_ticked(state: Stopping, now: float, policy: Policy) -> Step:
    if state.killed:
        return state, ()
    if state.told_at is not None:
        is_time = now >= state.told_at
        return (replace(state, told_at=None, since=now), (Terminate(),)) if is_time else (state, ())
    if state.recording:
        return _kill(state) if now >= state.since + RECORD_WITHIN else (state, ())
    if now >= state.since + policy.stop_timeout:
        late = f"{state.reason}; not gone within {policy.stop_timeout:g} s: killed"
        return _kill(replace(state, reason=late))
    return state, ()


def _stopping_asked(state: Stopping, event: RequestReceived) -> Step:
    """Whoever asks while it goes already has a say in what follows."""
    why = _asked_for(event.request, event.by)
    match event.request:
        case Request.KILL:
            reason = state.reason if state.killed else why
            return _kill(replace(state, reason=reason, then=Next.END))
        case Request.STOP if state.recording:
            return _kill(replace(state, reason=why, then=Next.END))
        case Request.STOP if state.then in (Next.RESTART, Next.RETRY):
            return replace(state, reason=why, then=Next.END), ()
        case Request.RESTART if state.then is Next.RETRY:
            return replace(state, reason=why, then=Next.RESTART), ()
        case _:
            return state, ()


def _gone(state: Stopping, gone: Exited, policy: Policy) -> Step:
    """The last process is gone, as it was to."""
    past, reason = state.past, state.reason
    if state.then is Next.END:
        return Ended(past, reason), ()
    if state.then is Next.FAIL:
        return restarts.give_up(past, f"{reason}; not tried again")
    told = f"{reason}: {gone.said}" if gone.said else reason
    if gone.advice is RestartAdvice.REBOOT:
        return restarts.give_up(past, f"{told}; the host must be rebooted first")
    if state.then is Next.RESTART:
        return restarts.launch(past, gone.now, reason, fresh=True)
    if gone.advice is RestartAdvice.TOGETHER:
        return restarts.wait(past, gone.now, told, policy)
    if not state.again and restarts.is_final(past, gone):
        return restarts.give_up(past, f"{told} before it was ready; not tried again")
    return restarts.count(past, gone.now, told, policy)


def _backoff(state: Backoff, event: Event) -> Step:
    past = state.past
    match event:
        case Ticked(now) if now >= state.until:
            return restarts.launch(past, now, f"after: {state.reason}")
        case GpuFaulted(_, what):
            return restarts.give_up(past, what)
        case RequestReceived(now, Request.RESTART as request, by):
            return restarts.launch(past, now, _asked_for(request, by), fresh=True)
        case RequestReceived(_, request, by):
            return Ended(past, _asked_for(request, by)), ()
        case _:
            return state, ()


def _asked_for(request: Request, by: str) -> str:
    what = "killed at once," if request is Request.KILL else request.value
    return f"{what} asked for by {by}"
