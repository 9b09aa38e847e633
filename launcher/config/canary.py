"""What of the canary's questions a profile's model and parsers allow."""

from __future__ import annotations

from dataclasses import replace

from launcher.config.profile import Profile
from launcher.plan.plan import Plan
from launcher.plan.policy import CanaryPolicy

ROOM = 4096  # tokens of context that the longer question and its answer have room in


def settled(plan: Plan, profile: Profile, context: str) -> Plan:
    """The plan with what it is asked while it serves; `context` is its engine's option for that.

    The questions are those of the smoke test: without one there are none.
    """
    said = profile.canary
    asks = [kind for kind in dict.fromkeys(said.asks) if _is_allowed(kind, plan, context)]
    if not said.every:
        return plan
    canary = CanaryPolicy(said.every, said.act)
    if plan.smoke and asks:
        canary = replace(canary, within=plan.smoke["within"], asks=tuple(asks))
    return replace(plan, policy=replace(plan.policy, canary=canary))


def _is_allowed(kind: str, plan: Plan, context: str) -> bool:
    match kind:
        case "fact":
            return bool(plan.smoke.get("questions"))
        case "context":
            told = plan.flag(context) or ""
            return not told.isdecimal() or int(told) >= ROOM
        case "reasoning":
            return "reasoning" in plan.parsers and bool(plan.smoke.get("questions"))
        case _:
            return kind in plan.parsers
