"""When a state has to be looked at again, and how long it may last.

Pure, as `lifecycle.py`: seconds of its clock, in and out.
"""

from __future__ import annotations

from launcher.plan.policy import Policy
from launcher.serve import canary
from launcher.serve.states import Backoff, Proving, Ready, Starting, State, Stopping

# Seconds between questions to a server that is not ready yet, and once its log says that it is.
ASK_AGAIN, ASK_SOON = 0.5, 0.05
# seconds for a health check of a server that has nothing to do; more is worth a word, and no fault
SLOW = 5.0
# seconds after which whoever asks is lost: each of its questions and looks ends long before
ASK_WITHIN = 90.0
RECORD_WITHIN = 60.0  # seconds that keeping the stacks may take before it is killed without


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
        case Ready(asking=asking, ask_at=ask_at, late=late, canary=bird):
            due = canary.wakes_at(bird, policy.canary) if bird else None
            waits = ASK_WITHIN if late else SLOW
            probe = ask_at + waits if asking else ask_at
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
