"""What another shell can do with a running instance: look at it, stop it, restart it, read its log."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher import layers, plan, preflight
from launcher.errors import Exit, RefusalError
from launcher.events import NOW
from launcher.health import Server
from launcher.instance import Instance, known, parsed
from launcher.keys import read_key, withdraw
from launcher.planning import Aim, targeted
from launcher.reaper import descendants
from launcher.resolve import Ask, compose, resolve
from launcher.smoke import Result, examine, explained
from launcher.up import read_events, show_until_settled

YOUNG = 60.0  # seconds for `up` to judge the host and launch; a hung driver takes it some 20


def pick(home: Path, profile: str | None) -> Instance:
    """The instance that is meant: the named one, else the only one that is up, else the only one there ever was.

    Raises RefusalError (usage) when several could be meant.
    """
    if profile is not None:
        return Instance(home, Path(profile).stem if profile.endswith(".toml") else profile)
    candidates = [instance for instance in known(home) if instance.is_held()] or known(home)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise RefusalError(
            f"nothing was ever up from {home}",
            fix="`glm5-serve up --profile NAME` brings one up, `glm5-serve profiles` lists them",
            status=Exit.NO,
        )
    names = ", ".join(instance.name for instance in candidates)
    raise RefusalError(f"several could be meant: {names}", fix="say which: --profile NAME", status=Exit.USAGE)


def status(instance: Instance) -> dict[str, Any]:
    """How an instance is, its processes counted now."""
    seen = instance.look()
    pids = seen["pids"]
    if launcher := pids.get("launcher"):
        pids["others"] = [pid for pid in descendants(launcher) if pid != pids.get("server")]
    return seen


def down(instance: Instance, *, now: bool) -> str:
    """Stop an instance and wait until nothing of it is left; in words, what was done.

    The launcher drains; `now` has it kill instead. Stopping what is not up is no error.
    """
    pidfd = _signal(instance, NOW if now else signal.SIGTERM)
    if pidfd is None:
        withdraw(str(instance.folder / "config.yaml"))  # what a killed launcher left
        seen = instance.look()
        return f"{instance.name} is not up: {seen['state']}, {seen['reason']}"
    with os.fdopen(pidfd):
        select.select([pidfd], [], [])
    return f"{instance.name} is down"


def _signal(instance: Instance, number: signal.Signals) -> int | None:
    """Signal the launcher, None if there is none. One whose `up` still judges the host has not said who it is yet.

    Raises RefusalError when it does not say so for YOUNG seconds.
    """
    end = time.monotonic() + YOUNG
    while time.monotonic() < end:
        pidfd = instance.signal(number)
        if pidfd is not None or not instance.is_held():
            return pidfd
        time.sleep(0.05)
    raise RefusalError(
        f"{instance.name} has been coming up for {YOUNG:g} s, and no launcher has said who it is",
        fix=f"`fuser -v {instance.lock}` names the process that does it",
        status=Exit.NO,
    )


def restart(
    instance: Instance,
    environ: Mapping[str, str],
    tell: Callable[[str], None],
    show: Callable[[dict[str, Any]], None],
) -> int:
    """Have the launcher drain its server and start it again from the profile as it is now; 0 once it is ready.

    The profile is read and checked first: with a broken one, what runs goes on. `tell` gets each difference.
    """
    if not instance.is_held():
        raise RefusalError(
            f"{instance.name} is not up",
            fix=f"`glm5-serve up --profile {instance.name}`",
            status=Exit.NO,
        )
    try:
        old = plan.loads(instance.plan.read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusalError(
            f"{instance.plan} cannot be read: {error}",
            fix=f"`glm5-serve down --profile {instance.name}`, then `up`",
            status=Exit.NO,
        ) from None
    from launcher.doctor import require_fit, suspects

    words = old.words
    ask = Ask(words["profile"], tuple(words["settings"]), words["api_key_file"])
    # The layers of `up` again: its own GLM5_SERVE__ variables, not those of this shell.
    same = {name: value for name, value in environ.items() if not name.startswith(layers.PREFIX)}
    same |= words["environment"]
    composed = compose(ask, same)
    target = targeted(composed.profile, same, Aim())
    new = resolve(composed, ask, instance.folder, words["environment"], target)
    new = replace(new, allowed=tuple(dict.fromkeys((*new.allowed, *old.allowed))))
    preflight.require(new, environ, port=(new.host, new.port) != (old.host, old.port))
    new = replace(new, suspects=suspects(new, require_fit(new, environ, as_json=False, serving=True)))
    for line in plan.differences(old, new):
        tell(line)
    try:
        instance.write(instance.plan, plan.to_json(new))
    except OSError as error:
        raise instance.cannot_write(error) from None
    seen = instance.told()
    pidfd = _signal(instance, signal.SIGUSR1)
    if pidfd is None:
        raise RefusalError(
            f"{instance.name} went down meanwhile",
            fix=f"`glm5-serve up --profile {instance.name}`",
            status=Exit.NO,
        )
    with os.fdopen(pidfd):
        events = read_events(instance.events, seen, lambda: not select.select([pidfd], [], [], 0)[0])
        return show_until_settled(events, show, lambda: Exit.NO)


def log_lines(instance: Instance, last: int, *, follow: bool) -> Iterator[str]:
    """The last lines of the server's log, and with `follow` those to come while a launcher is alive."""
    try:
        file = instance.server_log.open(errors="replace")
    except OSError as error:
        raise RefusalError(
            f"no log of {instance.name} at {instance.server_log}: {error.strerror}",
            fix=f"`glm5-serve up --profile {instance.name}` writes it",
            status=Exit.NO,
        ) from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(file)
        yield from _tail(file.read(), last)
        while follow:
            alive = instance.is_held()
            yield from (line.rstrip("\n") for line in file)
            with contextlib.suppress(OSError):
                if instance.server_log.stat().st_ino != os.fstat(file.fileno()).st_ino:
                    file = stack.enter_context(instance.server_log.open(errors="replace"))
                    continue
            if not alive:
                return
            time.sleep(0.2)


def _tail(text: str, last: int) -> list[str]:
    return text.splitlines()[-last:] if last else []


def events(instance: Instance, last: int, kinds: Sequence[str], *, follow: bool) -> Iterator[dict[str, Any]]:
    """The last events, and with `follow` those to come while a launcher is alive. Raises RefusalError."""
    files = sorted(instance.folder.glob(f"{instance.events.name}*"), reverse=True)
    if not files:
        raise RefusalError(
            f"no events of {instance.name} at {instance.events}",
            fix=f"`glm5-serve up --profile {instance.name}` writes them",
            status=Exit.NO,
        )
    seen = instance.told()
    older = "".join(path.read_text(errors="replace") for path in files if path != instance.events)
    now = instance.events.read_bytes()[:seen].decode(errors="replace") if seen else ""
    told = [event for event in parsed((older + now).splitlines()) if not kinds or event.get("event") in kinds]
    yield from told[-last:] if last else []
    if follow:
        for event in read_events(instance.events, seen, instance.is_held):
            if not kinds or event.get("event") in kinds:
                yield event


def smoke(instance: Instance) -> Result:
    """Ask a running server its questions. Raises RefusalError when it is not up, or its profile asks none."""
    if not instance.is_held():
        fix = f"`glm5-serve up --profile {instance.name}`"
        raise RefusalError(f"{instance.name} is not up", fix=fix, status=Exit.NO)
    made = plan.loads(instance.plan.read_text())
    if not made.smoke:
        fix = "set smoke.enabled = true and its questions, then `glm5-serve restart`"
        raise RefusalError(f"profile {instance.name} has no smoke test", fix=fix)
    key = read_key(Path(made.key_file)) if made.key_file else None
    result = examine(Server(made.host, made.port, key), made.model_name, made.smoke, made.parsers)
    return result if result.ok else replace(result, detail=explained(result.detail, made.suspects))
