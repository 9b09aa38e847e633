"""Whether, and when, a server is launched again.

Pure, as `lifecycle.py`. Deaths have a budget: so many within a window, and so many in a row without
being ready. What was in the way of a launch, or another node, is no death, and is waited for as
long as it takes.
"""

from __future__ import annotations

from dataclasses import replace

from launcher import counting
from launcher.plan.policy import Policy
from launcher.serve.events import Action, Exited, Launch, RestartAdvice
from launcher.serve.states import Backoff, Ended, Past, Starting, State
from launcher.serve.timing import ASK_AGAIN

Step = tuple[State, tuple[Action, ...]]


def launch(past: Past, now: float, reason: str, *, fresh: bool = False) -> Step:
    """Launch it, by a plan that is read again where `fresh`."""
    run = past.run + 1
    past = replace(past, run=run)
    starting = Starting(past, reason, now, last_progress=now, ask_at=now + ASK_AGAIN)
    return starting, (Launch(run, fresh),)


def wait(past: Past, now: float, why: str, policy: Policy) -> Step:
    """Launch it again later, as often as it takes: what was in the way is no fault of the
    server.
    """
    past = replace(past, unlaunched=past.unlaunched + 1)
    return Backoff(past, why, now + policy.backoff_before(past.unlaunched + 1)), ()


def is_final(past: Past, gone: Exited) -> bool:
    """Whether a server that was not ready would end the same way again: it said no by itself (bad
    argument, missing model, no memory).

    SGLang kills itself on a rank's exception, so a signal alone does not mean that somebody else
    did it.
    """
    return gone.advice is RestartAdvice.NEVER or (
        not past.served and gone.is_a_no and gone.advice is RestartAdvice.AGAIN
    )


def count(past: Past, now: float, how: str, policy: Policy) -> Step:
    """Count a death; launch again within the budget, else give up (Erlang's intensity and period).

    Starts that fail late and slowly may never be so many within the window: those in a row are
    counted, too.
    """
    deaths = (*(d for d in past.deaths if now - d < policy.restart_window), now)
    past = replace(past, deaths=deaths, consecutive_failures=past.consecutive_failures + 1)
    if max(len(deaths), past.consecutive_failures) > policy.restart_limit:
        many = _too_many(past, policy)
        return give_up(past, f"{how}; {many}, {policy.restart_limit} allowed: gave up")
    pause = policy.backoff_before(len(deaths))
    if pause <= 0:
        return launch(past, now, f"after: {how}")
    return Backoff(past, how, now + pause), ()


def _too_many(past: Past, policy: Policy) -> str:
    if past.consecutive_failures > len(past.deaths):
        return f"{counting.of(past.consecutive_failures, 'death')} in a row without being ready"
    many = counting.of(len(past.deaths), "death")
    return f"{many} within {policy.restart_window:g} s"


def give_up(past: Past, why: str) -> Step:
    """Launch it no more: the service has failed."""
    return Ended(past, why, failed=True), ()
