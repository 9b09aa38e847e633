"""What runs, started again from its profile; what is stopped, brought up as it was before."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace

from launcher.config import layers
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.config.target import observe_target, require_own
from launcher.doctor.run import require_fit, suspects
from launcher.errors import Exit, UserError
from launcher.files import following
from launcher.gateway import NAME as GATEWAY
from launcher.gateway import instances
from launcher.gateway.settings import Options
from launcher.lint.notes import noted
from launcher.operate import control, gateway, whose
from launcher.operate.running import plan_of
from launcher.operate.up import (
    Screen,
    places,
    require_nothing_left,
    show_until_settled,
    tell_notes,
    up,
)
from launcher.plan import plan
from launcher.redact.secrets import hide
from launcher.statedir.events import read_events
from launcher.statedir.folder import StateDir


def restart(
    instance: StateDir,
    environ: Mapping[str, str],
    tell: Callable[[str], None],
    screen: Screen,
    *,
    named: bool,
) -> int:
    """Have the launcher drain its server and start it again from the profile as it is now; 0 once
    it is ready. What is not up is brought up where somebody `named` it.

    The profile is read and checked first: with a broken one, what runs goes on. `tell` gets each
    difference.
    """
    if not instance.is_held():
        _require_startable(instance, named=named)
        return _started(instance, environ, tell, screen)
    control.require_here(instance)
    old = plan_of(instance)
    try:
        new = (
            gateway.plan(Options.of(old), instance)
            if old.engine == GATEWAY
            else _from_profile(instance, old, environ, screen)
        )
    except UserError:
        tell(f"{instance.name} goes on as it was started: it is not restarted")
        raise
    _tell_kept(old, tell)
    for line in plan.differences(old, new):
        tell(line)
    try:
        instance.write(instance.plan, plan.to_json(new))
    except OSError as error:
        raise instance.cannot_write(error) from None
    end = following.end_of(instance.events)
    told = control.signalled(instance, signal.SIGUSR1)
    if told is None:
        raise UserError(
            f"{instance.name} went down meanwhile",
            fix=f"`glm5-serve up --profile {instance.name}`",
            status=Exit.NO,
        )
    with os.fdopen(told.pidfd):
        events = read_events(instance.events, end, control.living(instance, told))
        return show_until_settled(events, screen.shower(screen.kind), lambda: Exit.NO)


def _require_startable(instance: StateDir, *, named: bool) -> None:
    """Raise UserError where what is not up is not to be started by a restart: what nobody named
    was stopped, and stays so.
    """
    whose.require_own(instance, "restart")
    last, name = instances.plan_of(instance), instance.name
    if last and last.name != name:  # of a state folder that somebody put together
        what = f"{instance.plan} is the plan of {last.name}, not of {name}"
        raise UserError(what, fix=f"look where it comes from; `glm5-serve up {name}`")
    if last and last.engine == GATEWAY:
        fix = f"`glm5-serve gateway up {name}`"
        raise UserError(f"gateway {name} is not up", fix=fix, status=Exit.NO)
    if unit := whose.unit_of(instance):
        what = f"{name} is not up, and is systemd's to start"
        raise UserError(what, fix=f"`systemctl start {unit}`", status=Exit.NO)
    if not named:
        fix = f"`glm5-serve up {name}`, or as it was started before: `glm5-serve restart {name}`"
        raise UserError(f"{name} is not up", fix=fix, status=Exit.NO)


def _started(
    instance: StateDir, environ: Mapping[str, str], tell: Callable[[str], None], screen: Screen
) -> int:
    """Bring up what is stopped, by the words that it was brought up by before, if it ever was."""
    last = instances.plan_of(instance)
    ask, allow = PlanRequest(instance.name), tuple[str, ...]()
    if last:
        said = last.words["environment"] | last.words.get("places", {})
        own = {name: value for name, value in environ.items() if not name.startswith(layers.PREFIX)}
        ask, allow, environ = _asked(last), last.allowed, own | said
    composed = load(ask, environ)  # nothing is said to be started by a profile that cannot be read
    require_nothing_left(instance)
    tell(f"{instance.name} is not up: starting it")
    _tell_kept(last, tell)
    return up(ask, environ, screen, allow, detach=True, composed=composed)


def _tell_kept(old: plan.Plan | None, tell: Callable[[str], None]) -> None:
    """Tell what was said at `up`, and still counts over what the profile says now."""
    if old is None or old.engine == GATEWAY:
        return
    words = old.words
    said = [f"--set {shlex.quote(setting)}" for setting in words["settings"]]
    said += [f"{name}={shlex.quote(value)}" for name, value in words["environment"].items()]
    if said:
        tell(
            f"note: kept from its `up`, over the profile: {hide(' '.join(said))}; without them:"
            f" `glm5-serve down --profile {old.name}`, then `glm5-serve up {old.name}`"
        )


def _asked(old: plan.Plan) -> PlanRequest:
    """What the operator said when it was brought up."""
    words = old.words
    return PlanRequest(
        words["profile"],
        tuple(words["settings"]),
        words["api_key_file"],
        words.get("health_listen"),  # an older launcher kept none
    )


def _from_profile(
    instance: StateDir, old: plan.Plan, environ: Mapping[str, str], screen: Screen
) -> plan.Plan:
    """The plan of what runs, from its profile as it is now. Raises UserError where that, or this
    host, will not do.
    """
    words, ask = old.words, _asked(old)
    # The layers of `up` again: its own GLM5_SERVE__ variables, not those of this shell.
    same = {name: value for name, value in environ.items() if not name.startswith(layers.PREFIX)}
    same |= words["environment"] | words.get("places", {})
    composed = load(ask, same)
    require_own(composed)
    seen = observe_target(composed, same)
    new = noted(resolve(composed, ask, instance.folder, words["environment"], seen.target))
    tell_notes(new)
    new = replace(new, words=new.words | {"places": places(same)})
    new = replace(new, allowed=tuple(dict.fromkeys((*new.allowed, *old.allowed))))
    found = require_fit(new, environ, seen, screen.report, serving=old)
    return replace(new, suspects=suspects(new, found))
