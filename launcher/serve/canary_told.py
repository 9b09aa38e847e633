"""What the canary found, as status, metrics and events tell it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launcher.serve import smoke
from launcher.serve.canary import Canary, Look, Said
from launcher.statedir.state import Canary as Record


def record(told: Record, now: Canary, last: Look, time: str) -> Record:
    """The record after one more look, at a time of day; what that does not tell stays as it was."""
    worse, signs = now.degraded, last.signs
    speed = last.tokens / last.seconds if last.seconds and last.tokens else None
    return Record(
        every=told.every,
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


def news(was: Canary, now: Canary, suspects: Sequence[str]) -> dict[str, Any] | None:
    """The fields of an event: a wrong answer, or that all is worse, or well again; else None."""
    worse, said = now.degraded, {"degraded": now.degraded is not None}
    if worse and not was.degraded:
        return {**said, "reason": smoke.explained(worse.what, suspects), "cause": worse.cause}
    if was.degraded and not worse:
        return {**said, "reason": "it answers as it did after its start"}
    if now.last and now.last.said is Said.WRONG:
        return {**said, "reason": now.last.detail}
    return None
