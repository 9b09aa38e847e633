"""Bringing a profile up: resolve, claim, check, and become the supervisor, or start one and watch
it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from launcher import folding, printable
from launcher.config import layers
from launcher.config.composed import Composed
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.config.target import instance_of, observe_target, require_own
from launcher.doctor.neighbours import JUDGED, require_apart
from launcher.doctor.run import Report, require_fit, suspects
from launcher.errors import Exit, UserError, in_words
from launcher.files import following, guarded, ownership
from launcher.files.rotation import rotate
from launcher.gateway import NAME as GATEWAY
from launcher.gateway.instances import plan_of
from launcher.host.facts import Engine
from launcher.lint.notes import noted
from launcher.operate import whose
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan, to_json
from launcher.serve import capabilities, leftovers
from launcher.serve.wishes import NOW, WISHES
from launcher.statedir import namelock
from launcher.statedir.events import Event, read_events
from launcher.statedir.folder import StateDir
from launcher.statedir.lock import Claim

LARGEST_LOG = 8 << 20  # bytes of what detached launchers printed, when another begins
LEFT_WITHIN = 10.0  # seconds for the processes of a launcher that was killed to be gone
LEAST_DESCRIPTORS = 64  # that a launcher with a server may want open at a time
# where profiles and caches lie, for whoever runs `up`
PLACES = (
    "HOME",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
)


Show = Callable[[Event], None]


@dataclass(frozen=True)
class Screen:
    """How what happens is shown: by the supervisor, which is told the `kind`, or here by
    `shower(kind)`.
    """

    kind: str
    shower: Callable[[str], Show]
    report: Report  # of the host, where something keeps it from being started
    ready: Callable[[Plan], None] = lambda plan: None  # what is said once it is, detached


def up(
    ask: PlanRequest,
    environ: Mapping[str, str],
    screen: Screen,
    allow: Sequence[str] = (),
    *,
    detach: bool,
    composed: Composed | None = None,
    asked: Callable[[], Engine] | None = None,
) -> int:
    """Bring a profile up; in the foreground this does not return. `composed` is the profile, where
    it was read already, and `asked` tells what its engine answers, where that was asked.

    Raises UserError when something is in the way, be it a failed check that is not in `allow`:
    nothing was started then.
    """
    capabilities.drop_ambient()
    require_fit_place()
    composed = composed or load(ask, environ)
    require_own(composed)
    instance = instance_of(composed, environ)
    _require_no_gateway(instance)
    claim = claimed(instance)
    try:
        seen = observe_target(composed, environ, asked=asked)
        plan = noted(resolve(composed, ask, instance.folder, layers.ours(environ), seen.target))
        tell_notes(plan)
        # Kept with it, for a restart by whomever.
        plan = replace(
            plan, allowed=(*plan.allowed, *allow), words=plan.words | {"places": places(environ)}
        )
        findings = require_fit(plan, environ, seen, screen.report)
    except UserError:
        instance.abandon(claim)
        raise
    for found in findings:
        if found.id in JUDGED and found.severity is Severity.WARN:
            folding.tell(f"note: {found.evidence}", sys.stderr)
    plan = replace(plan, suspects=suspects(plan, findings))
    return started(plan, instance, claim, screen, detach=detach)


def _require_no_gateway(instance: StateDir) -> None:
    """Raise UserError for the folder of a gateway, whether it is up or not."""
    if (made := plan_of(instance)) and made.engine == GATEWAY:
        name = instance.name
        raise UserError(
            f"{name} is a gateway, and a profile of that name would take its state folder",
            fix="rename the profile; or, where nobody wants that gateway any more, `glm5-serve"
            f" gateway down {name}`, then `rm -r {instance.folder}`",
            status=Exit.USAGE,
        )


def claimed(instance: StateDir) -> Claim:
    """Become the one who starts an instance; `down --now` ends this process from then on. Raises
    UserError.
    """
    signal.signal(NOW, _be_ended)
    whose.require_startable(instance, os.environ)
    return instance.claim(partial(require_nothing_left, instance))


def started(plan: Plan, instance: StateDir, claim: Claim, screen: Screen, *, detach: bool) -> int:
    """Supervise a plan; detached, the status once it is ready, or is not to be. Raises UserError
    where the state folder takes nothing, or another server of ours takes what it wants.
    """
    try:
        instance.write(instance.plan, to_json(plan))
        require_apart(plan, instance, partial(folding.tell, stream=sys.stderr))
    except OSError as error:
        raise instance.cannot_write(error) from None
    if detach:
        status = _watch(instance, claim, screen.shower(screen.kind))
        if status == Exit.FINE:
            screen.ready(plan)
        return status
    _become_supervisor(instance, claim, screen.kind)


def tell_notes(plan: Plan) -> None:
    """What `render` would say of it; on stderr, as JSON lines of events go to stdout."""
    for note in plan.notes:
        folding.tell(f"note: {note}", sys.stderr)


def require_own_folder() -> None:
    """The server is `python -m`, which imports from the current folder before all else.

    Raises UserError.
    """
    fix = "`cd /`, or to a folder that is yours alone: Python imports from the current one"
    try:
        doubt = ownership.of_current_folder()
    except OSError as error:
        raise UserError(f"the current folder cannot be used: {in_words(error)}", fix=fix) from None
    if doubt:
        raise UserError(f"the current folder is not yours alone: {doubt.what}", fix=fix)


def require_fit_place() -> None:
    """Raise UserError where no launcher can do its work, whatever it is to keep up."""
    require_own_proc()
    require_descriptors()
    require_own_folder()


def require_own_proc(proc: Path = Path("/proc")) -> None:
    """Raise UserError where /proc is missing, or shows another PID namespace: nobody could be found
    by it, watched or killed.
    """
    try:
        seen = (proc / "self").readlink().name
    except OSError:
        seen = ""
    if seen != str(os.getpid()):
        what = "shows the processes of another PID namespace" if seen else "is not mounted"
        raise UserError(
            f"{proc} {what}: no server could be watched here",
            fix="`mount -t proc proc /proc` in this namespace; `unshare --pid --fork --mount-proc`",
        )


def require_descriptors() -> None:
    """Raise UserError where so few files may be open at a time that a launcher cannot say how it
    is, whatever its server does with them.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= most < LEAST_DESCRIPTORS:
        raise UserError(
            f"{most} files may be open at a time, wanted {LEAST_DESCRIPTORS} at least",
            fix="`ulimit -n 65536`; in a unit LimitNOFILE=65536",
        )


def _be_ended(*_: object) -> NoReturn:
    """Not by a UserError: whoever looks at the host takes exceptions for something that it
    found.
    """
    signal.signal(NOW, signal.SIG_IGN)  # once is enough
    folding.tell("ended by `glm5-serve down --now`; nothing was started", sys.stderr)
    raise SystemExit(Exit.NO)


def places(environ: Mapping[str, str]) -> dict[str, str]:
    """Where this user's profiles and caches lie: a restart, by root for example, means the same."""
    return {name: environ[name] for name in PLACES if name in environ}


def require_nothing_left(instance: StateDir) -> None:
    """Raise UserError where the last launcher was killed, and its reaper with it, and the server
    was not.
    """
    if left := leftovers.stay(instance.status.session(), LEFT_WITHIN):
        raise UserError(
            f"processes of the last server of {instance.name} are left: {leftovers.in_words(left)}",
            fix=f"`glm5-serve down --now --profile {instance.name}` kills them",
            status=Exit.NO,
        )


def supervisor_command(instance: StateDir, screen: str, lock: int) -> list[str]:
    """The supervisor's own command.

    It is a new program, so that what was imported here does not stay.
    """
    return [
        sys.executable,
        "-P",
        "-m",
        "launcher.supervise",
        str(instance.folder),
        screen,
        str(lock),
    ]


def _become_supervisor(instance: StateDir, claim: Claim, screen: str) -> NoReturn:
    for descriptor in claim.descriptors:
        os.set_inheritable(descriptor, True)
    # They stay pending while the new program is young, and are delivered when it can answer them.
    signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)
    command = supervisor_command(instance, screen, claim.lock)
    capabilities.raise_ambient()
    os.execv(command[0], command)


def _watch(instance: StateDir, claim: Claim, show: Show) -> int:
    """Start the supervisor in a session of its own and show what it says until it is ready, or is
    not to be.

    Whoever interrupts the watching stops the launcher, and sees how it goes.
    """
    end = following.end_of(instance.events)
    if instance.launcher_log.exists() and instance.launcher_log.stat().st_size > LARGEST_LOG:
        rotate(instance.launcher_log, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)
    with os.fdopen(guarded.opened(instance.launcher_log, guarded.APPEND), "ab") as log:
        launcher = subprocess.Popen(
            supervisor_command(instance, "plain", claim.lock),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=claim.descriptors,
            preexec_fn=partial(namelock.pass_on, claim.name),
            start_new_session=True,
        )
    claim.release()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda sent, _: launcher.send_signal(sent))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WISHES)
    events = read_events(instance.events, end, lambda: launcher.poll() is None)
    status = show_until_settled(events, show, lambda: _said_last(instance, launcher))
    launcher.returncode = launcher.returncode or 0  # it goes on without us, and that is no leak
    return status


def _said_last(instance: StateDir, launcher: subprocess.Popen[bytes]) -> int:
    status = launcher.wait()
    if status not in (Exit.FINE, Exit.NO):
        with contextlib.suppress(OSError):
            print(printable.lines(instance.launcher_log.read_text()[-2000:]), file=sys.stderr)
    return status if status > 0 else Exit.NO


def show_until_settled(
    events: Iterator[Event],
    show: Show,
    at_end: Callable[[], int],
) -> int:
    """Show events until one says that it has become ready (0); `at_end` if the last one does not.

    A ready server tells its state again when a health check fails or is answered again: that is no
    news here.
    """
    for event in events:
        show(event)
        match event.kind, event.fields:
            case "state", {"state": "ready", "moved": True}:
                return Exit.FINE
    return at_end()
