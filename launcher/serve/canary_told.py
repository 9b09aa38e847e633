"""What the canary found, as status, metrics and events tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.serve import smoke
from launcher.serve.canary import Canary, Look, Said
from launcher.statedir.state import Canary as Record


def record(told: Record, now: Canary, last: Look, time: str) -> Record:
    """The record after one more look, at a time of day; what that does not tell stays as it was."""
    worse, signs = now.degraded, last.signs
    speed = last.tokens / last.seconds if last.seconds and last.tokens else None
    return Record(
        every=told.every,
        has_questions=now.next is not None,
        degraded=worse is not None,
        since=(told.since or time) if worse else None,
        reason=worse.what if worse else "",
        answers=now.counts,
        time=time,
        last=last.detail,
        seconds=last.seconds or told.seconds,
        step_seconds=(signs and signs.step) or told.step_seconds,
        accepted=(signs and signs.accepted) or told.accepted,
        tokens_per_second=speed or told.tokens_per_second,
    )


@dataclass(frozen=True)
class News:
    """What is worth an event; `cause` is told where it is degraded since now."""

    degraded: bool
    reason: str
    cause: str | None = None


def news(was: Canary, now: Canary, suspects: Sequence[str]) -> News | None:
    """A wrong answer, or that all is worse, or well again."""
    worse = now.degraded
    if worse and not was.degraded:
        return News(True, smoke.explained(worse.what, suspects), worse.cause)
    if was.degraded and not worse:
        return News(False, "it answers as it did after its start")
    if now.last and now.last.said is Said.WRONG:
        return News(worse is not None, now.last.detail)
    return None
