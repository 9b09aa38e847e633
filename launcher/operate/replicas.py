"""Several servers of one profile, started one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from launcher import folding
from launcher.config.load import PlanRequest, load
from launcher.config.replicas import DEVICES
from launcher.config.target import engine_asked, instance_of, planned
from launcher.errors import Exit, UserError
from launcher.plan.plan import Plan
from launcher.serve import capabilities
from launcher.statedir.replica import split

if TYPE_CHECKING:
    from launcher.operate.up import Screen


def up(
    ask: PlanRequest,
    environ: Mapping[str, str],
    screen: Callable[[], Screen],
    allow: Sequence[str] = (),
    *,
    detach: bool,
) -> int:
    """Bring a profile up, and each of its replicas where it has several; 0 once all are ready.

    Two loads at a time would share the disk: one is started when the one before it is ready.
    Raises UserError before the first one where they do not fit beside each other.
    """
    capabilities.drop_ambient()
    composed = load(ask, environ)
    count = composed.profile.replicas
    if count == 1 or split(ask.profile)[1]:
        with engine_asked(composed, environ) as asked:
            from launcher.operate.up import up as up_one  # while the engine answers

            return up_one(
                ask, environ, screen(), allow, detach=detach, composed=composed, asked=asked
            )
    every = [replace(ask, profile=f"{ask.profile}@{at}") for at in range(1, count + 1)]
    if not detach:
        raise UserError(
            f"{count} replicas are {count} servers, and without --detach one is kept up here",
            fix=f"`--detach` starts them one after the other; `glm5-serve up {every[0].profile}`"
            " starts one here",
            status=Exit.USAGE,
        )
    for one in every:
        _require_own_gpus(planned(one, environ)[0])
    from launcher.operate.up import up as up_one

    for one in every:
        instance = instance_of(load(one, environ), environ)
        if instance.is_held():
            folding.tell(f"{instance.name} is up already", sys.stderr)
        elif status := up_one(one, environ, screen(), allow, detach=True):
            return status
    return Exit.FINE


def _require_own_gpus(plan: Plan) -> None:
    if plan.gpus and DEVICES not in plan.env:
        raise UserError(
            f"which GPUs {plan.name} would have is unknown: the driver does not name this host's",
            fix=f"name those of all replicas: `--set env.{DEVICES}=0,1,...`",
        )
