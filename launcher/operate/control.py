"""What another shell can do with a running instance: look at it, stop it, restart it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from launcher import nesting
from launcher.errors import Exit, UserError
from launcher.files.reading import kind
from launcher.gateway.manifest import FILE as GATEWAY
from launcher.operate import stopping, whose
from launcher.redact.keys import remove_key
from launcher.redact.secrets import hide_data
from launcher.serve import leftovers
from launcher.serve.reaper import descendants
from launcher.serve.wishes import DOWN, NOW
from launcher.statedir import home as home_of
from launcher.statedir import namelock, verdict
from launcher.statedir.folder import Signalled, StateDir
from launcher.statedir.holder import holder
from launcher.statedir.home import known, listed
from launcher.statedir.processes import halted, is_launcher, run_state
from launcher.statedir.replica import split
from launcher.statedir.state import BARE, StateRecord
from launcher.statedir.status import NEVER

YOUNG = 60.0  # seconds for `up` to judge the host and launch; a hung driver takes it some 20
HEARD_WITHIN = 10.0  # seconds for a launcher to say that it kills
KILLED_WITHIN = (
    90.0  # seconds for it to be gone then: a driver may hold a process, and gives memory back late
)
THAW = "thawing that group (`docker unpause`, `systemctl thaw`)"
MOMENT = 2.0  # seconds for what goes by itself
ASKED_WITHIN = 60.0  # seconds for a status that another process is asked for


def select_instance(home: Path, profile: str | None) -> StateDir:
    """The instance that is meant: the named one, else the only one that is up, else the only one
    there ever was.

    Raises UserError (usage) when several could be meant, or the name is that of no instance and of
    no profile.
    """
    found = meant(home, profile) if profile else candidates(home)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"no server has been started yet: state in {home}",
            fix="`glm5-serve up --profile NAME` brings one up, `glm5-serve profiles` lists them"
            + of_others(home),
            status=Exit.NO,
        )
    names = ", ".join(instance.name for instance in found)
    are_up = any(instance.is_held() for instance in found)
    raise UserError(
        f"more than one is up: {names}"
        if are_up
        else f"none is up, and there were several: {names}",
        fix="choose with --profile NAME; `glm5-serve status` lists them",
        status=Exit.USAGE,
    )


def of_others(home: Path) -> str:
    """How the host's instances are seen, where it has such and they are not here; a variable that
    names another folder goes before root.
    """
    if not _has_others(home):
        return ""
    if os.geteuid():
        return "; `sudo glm5-serve status` shows the host's"
    named = next((name for name in home_of.NAMING if os.environ.get(name)), home_of.NAMING[0])
    return f"; without {named} (`unset {named}`) `glm5-serve status` shows the host's"


def _has_others(home: Path) -> bool:
    """Whether the host's units have instances, and this is not where they are."""
    return home.absolute() != home_of.SYSTEM and bool(known(home_of.SYSTEM))


def profile_up(home: Path) -> str | None:
    """The profile of the one server that is up, by its name; by its path where it has none. None
    where none is up, or several are.
    """
    found = profiles_up(home)
    if len(found) != 1:
        return None
    [(name, instance)] = found.items()
    from launcher.config import layers

    file = instance.profile_file()
    with contextlib.suppress(UserError):
        profile = layers.find(name, os.environ)
        if file in (None, str(profile.path)):
            return profile.name
    return file


def profiles_up(home: Path) -> dict[str, StateDir]:
    """An instance that is up of each profile that has one, by the profile's name."""
    servers = (one for one in known(home) if not os.path.lexists(one.folder / GATEWAY))
    return {split(one.name)[0]: one for one in servers if one.is_held()}


def select_up(home: Path, profile: str | None) -> StateDir:
    """The same for what is asked of a server that is up: where none is named, and several were up
    and are not any more, that is said.
    """
    if not profile and len(found := candidates(home)) > 1 and not found[0].is_held():
        raise UserError(
            "no server is up",
            fix="`glm5-serve up --profile NAME`; `glm5-serve status` lists those that there were",
            status=Exit.NO,
        )
    return select_instance(home, profile)


def meant(home: Path, profile: str) -> list[StateDir]:
    """The instances that a profile's name means: its own, or its replicas where it has such, those
    that are up before all that ever were.

    Raises UserError (usage) for a name that is that of no instance and of no profile.
    """
    word, number = split(profile)
    bare = Path(word).stem if word.endswith(".toml") else word
    named = StateDir(home, f"{bare}@{number}" if number else bare)
    there = os.path.lexists(named.folder) or has_launcher(named) or whose.elsewhere(named)
    found = [named] if there else []
    if not number:
        found += [one for one in listed(home) if one.name.startswith(f"{bare}@")]
    if not found:
        from launcher.config import layers  # profiles: half of what a command costs

        if not layers.is_path(word):
            layers.find(word, os.environ)  # or it is a typing error
    return [one for one in found if one.is_held()] or found or [named]


def candidates(home: Path) -> list[StateDir]:
    """Those that may be meant where none is named: all that are up, else all that ever were."""
    every = listed(home)
    return [instance for instance in every if instance.is_held()] or every


def status(instance: StateDir) -> StateRecord:
    """How an instance is, its processes counted now; what looks like a secret is left out."""
    if held := whose.astray(instance):
        ends = f"{whose.ends_it(instance, held)} ends it"
        reason = f"{whose.in_words(instance, held)}: {ends}"
        return StateRecord(instance.name, "unknown", reason=reason, parts=BARE)
    seen = instance.look()
    if seen.reason == NEVER and (theirs := whose.elsewhere(instance)):
        shown = f"{theirs.command('status', '--profile', instance.name)} shows it"
        return replace(seen, state="unknown", reason=f"{theirs.what}: {shown}")
    if not instance.is_held() and has_launcher(instance):
        reason = (
            f"its state folder {_lost(instance.folder)}; its launcher (pid"
            f" {namelock.holder(instance.folder)}) goes on: `glm5-serve down --profile"
            f" {instance.name}` stops it"
        )
        return StateRecord(instance.name, "unknown", reason=reason, parts=BARE)
    pids = seen.pids
    if pids.launcher:
        others = tuple(pid for pid in descendants(pids.launcher) if pid != pids.server)
        seen = replace(seen, pids=replace(pids, others=others))
    is_dead = seen.state == "dead" or (not instance.is_held() and instance.status.is_untold())
    if is_dead and (left := leftovers.find(instance.status.session())):
        named = leftovers.in_words(left)
        reason = f"{seen.reason}; left behind: {named}: `glm5-serve down --now` kills them"
        seen = replace(seen, state="dead", reason=reason)
    shown = hide_data(told := seen.to_json())
    return seen if shown == told else replace(StateRecord.from_json(shown), odd=seen.odd)


def _lost(folder: Path) -> str:
    """What became of the folder of a launcher that holds no lock there any more."""
    try:
        mode = folder.lstat().st_mode
    except OSError:
        return "was removed"
    return (
        "has lost its lock, or is another one now" if stat.S_ISDIR(mode) else f"is {kind(mode)} now"
    )


def is_to_stop(instance: StateDir) -> bool:
    """Whether anything of it is left to be stopped: a launcher, or what a killed one left."""
    return has_launcher(instance) or bool(leftovers.find(instance.status.session()))


def has_launcher(instance: StateDir) -> bool:
    """Whether a launcher is alive, be it one whose folder was removed: the kernel answers."""
    if instance.is_held():
        return True
    pid = namelock.holder(instance.folder)
    return pid is not None and is_launcher(pid)


def status_of_all(home: Path, instances: Sequence[StateDir]) -> list[StateRecord]:
    """How each of these is.

    One of another user is asked by a process of its own, that may become its owner.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(_status_by_owner, home), instances))


def _status_by_owner(home: Path, instance: StateDir) -> StateRecord:
    with contextlib.suppress(OSError, UserError):
        if instance.folder.lstat().st_uid == os.geteuid():
            return status(instance)
    return _asked(home, instance.name)


def _asked(home: Path, name: str) -> StateRecord:
    asked = subprocess.run(
        [sys.executable, "-m", "launcher", "status", "--profile", name, "--json"],
        env={**os.environ, "GLM5_SERVE_STATE_DIR": str(home)},
        capture_output=True,
        text=True,
        timeout=ASKED_WITHIN,
        check=False,
    )
    try:
        return StateRecord.from_json(nesting.of_json(asked.stdout))
    except ValueError:
        said = asked.stderr.strip().partition("\n")[0].removeprefix("error").strip()
        why = said or "it says nothing"
        return StateRecord(name, "unknown", reason=why, parts=("profile", "state", "reason"))


def down(instance: StateDir, *, now: bool, tell: Callable[[str], None] = lambda line: None) -> str:
    """Stop an instance and wait until nothing of it is left; in words, what was done. `tell` gets
    what takes time meanwhile.

    The launcher drains; `now` has it kill instead, and kills what does not go. Stopping what is not
    up is no error. Raises UserError where something of it stays.
    """
    number = NOW if now else DOWN
    if held := whose.astray(instance):
        said = stopping.end_astray(instance, held, number, partial(_await, instance, now=now))
        is_ours = instance.folder.lstat().st_uid == os.geteuid()
        return said + (_settle(instance, instance.look()) if is_ours else "")
    drain = stopping.Drain(instance, tell)
    told = signalled(instance, number, now=now)
    if told is None:
        remove_key(str(instance.folder / "config.yaml"))  # what a killed launcher left
        seen = instance.look()
        left = _clear(instance, now=now)
        return f"{instance.name} is not up: {seen.state}, {seen.reason}{left}" + _settle(
            instance, seen
        )
    with os.fdopen(told.pidfd):
        done = _await(instance, told, now=now, look=drain.look)
    if now:
        remove_key(str(instance.folder / "config.yaml"))
    else:
        done += drain.end()
    return f"{instance.name} is down{done}" + _clear(instance, now=now)


def _await(
    instance: StateDir,
    told: Signalled,
    *,
    now: bool,
    look: Callable[[], None] = lambda: None,
) -> str:
    """Wait until a launcher that was told to go is gone; in words, what that took."""
    if now:
        return _hurry(instance, told)
    alive = living(instance, told)
    while alive():
        _is_over(told, 0.5)
        look()
    return ""


def _settle(instance: StateDir, seen: StateRecord) -> str:
    """Have what was dead, or had failed, be stopped, as somebody took it down: its alert ends. In
    words, that it is.
    """
    if seen.state not in ("dead", "failed"):
        return ""
    reason = f"taken down by `glm5-serve down`; it was {seen.state}: {seen.reason}"
    return "; it is stopped now" if verdict.leave(instance, "stopped", reason) else ""


def living(instance: StateDir, told: Signalled) -> Callable[[], bool]:
    """Whether a launcher is alive, to be asked again and again.

    It raises UserError for one that is stopped, or frozen, and stays so: that would be waited for
    without end.
    """
    awake = time.monotonic()

    def ask() -> bool:
        nonlocal awake
        if not (why := halted(told.pid)):
            awake = time.monotonic()
        if time.monotonic() - awake > MOMENT:
            on = THAW if run_state(told.pid) != "T" else f"`kill -CONT {told.pid}`"
            raise UserError(
                f"the launcher of {instance.name} (pid {told.pid}) {why}, and hears nothing",
                fix=(
                    f"{on} has it go on, and do what it was asked to; "
                    f"`glm5-serve down --now --profile {instance.name}` kills it with its server"
                ),
                status=Exit.NO,
            )
        return not _is_over(told, 0.0)

    return ask


def _hurry(instance: StateDir, told: Signalled) -> str:
    """Have a launcher be gone that was told to kill, whatever state it is in; what that took, in
    words.
    """
    if run_state(told.pid) == "T":
        _send(told, signal.SIGCONT)
    began = time.monotonic()
    while not _is_over(told, 0.2) and time.monotonic() < began + KILLED_WITHIN:
        if not _heard(instance, told.pid) and time.monotonic() > began + HEARD_WITHIN:
            break
    if _is_over(told, 0.0):
        return ""
    _send(told, signal.SIGCONT)
    if _is_over(told, MOMENT):
        return ""
    _send(told, signal.SIGKILL)
    if not _is_over(told, HEARD_WITHIN) and (why := halted(told.pid)):
        raise UserError(
            f"the launcher of {instance.name} (pid {told.pid}) was killed, and {why}",
            fix=f"{THAW} has it die: SIGKILL waits for pid {told.pid} there",
            status=Exit.NO,
        )
    if not _is_over(told, 0.0):
        raise UserError(
            f"the launcher of {instance.name} (pid {told.pid}) was killed and is not gone: the"
            " kernel holds it",
            fix=(
                f"`cat /proc/{told.pid}/stack` as root tells in what, most often a file system that"
                " hangs"
            ),
            status=Exit.NO,
        )
    return f"; its launcher (pid {told.pid}) did not go by itself and was killed"


def _heard(instance: StateDir, pid: int) -> bool:
    """Whether a launcher says that it stops; what an earlier one said does not count."""
    return instance.status.has_said(pid, ("stopping", "stopped", "failed"))


def _clear(instance: StateDir, *, now: bool) -> str:
    """Kill what is left of a server whose launcher is gone, and say so.

    Raises UserError where anything stays.

    Without `now` nothing is killed.
    """
    session = instance.status.session()
    if not (left := leftovers.stay(session, MOMENT)):
        return ""
    if not now:
        raise UserError(
            f"{instance.name} is not up, but processes of its server are left:"
            f" {leftovers.in_words(left)}",
            fix=f"`glm5-serve down --now --profile {instance.name}` kills them",
            status=Exit.NO,
        )
    killed, held = leftovers.kill(session, KILLED_WITHIN)
    if held:
        raise UserError(
            f"processes of {instance.name} were killed and are not gone:"
            f" {leftovers.in_words(held)}",
            fix=(
                "the kernel holds them, most often in the driver: `dmesg` may say why; a reboot"
                " ends them"
            ),
            status=Exit.NO,
        )
    return f"; killed what was left of its server: {leftovers.in_words(killed)}"


def _is_over(told: Signalled, within: float) -> bool:
    return bool(select.select([told.pidfd], [], [], within)[0])


def _send(told: Signalled, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(told.pidfd, number)


def signalled(instance: StateDir, number: int, *, now: bool = False) -> Signalled | None:
    """Signal the launcher, None if there is none.

    One whose `up` still judges the host has not said who it is yet.

    Raises UserError when it does not say so for YOUNG seconds; with `now` that `up` is ended
    before.
    """
    require_here(instance)
    began = time.monotonic()
    while time.monotonic() < began + YOUNG:
        told = _told(instance, number, young=now and time.monotonic() > began + MOMENT)
        if told is not None or not instance.is_held():
            return told
        time.sleep(0.05)
    who = f"`fuser -v {instance.lock.path}` as root names the process that does it"
    ends = f"`glm5-serve down --now --profile {instance.name}` ends it"
    raise UserError(
        f"{instance.name} has been coming up for {YOUNG:g} s, and no launcher has said who it is"
        + ("; who holds its lock is not to be seen, and got no signal" if now else ""),
        fix=f"{who}, `kill -9 PID` ends that" if now else f"{ends}; {who}",
        status=Exit.NO,
    )


def _told(instance: StateDir, number: int, *, young: bool) -> Signalled | None:
    """Signal the launcher that its state file names.

    Where there is none, the one whose folder was removed, or an `up` that is `young`, by the word
    of the kernel.
    """
    try:
        if (told := instance.signal(number)) is not None:
            return told
        pid = _holder(instance, young=young)
        if pid is None or not (young or (is_launcher(pid) and not instance.is_held())):
            return None
        with contextlib.ExitStack() as undo:
            told = Signalled(pid, os.pidfd_open(pid))
            undo.callback(os.close, told.pidfd)
            if _holder(instance, young=young) == pid:
                signal.pidfd_send_signal(told.pidfd, number)
                undo.pop_all()
                return told
    except ProcessLookupError:
        pass
    except PermissionError:
        fix = f"run it as the user of that process: `ps -fp $(fuser {instance.lock.path})`"
        raise UserError(f"the launcher of {instance.name} is another user's", fix=fix) from None
    return None


def _holder(instance: StateDir, *, young: bool) -> int | None:
    """Who holds an instance, by the name of its folder; one that is `young` by its lock, too."""
    if (pid := namelock.holder(instance.folder)) is not None or not young:
        return pid
    held = holder(instance.folder, instance.lock.path)
    return held.pid if held and held.uid == os.geteuid() else None


def require_here(instance: StateDir) -> None:
    """Raise UserError for a launcher that no process here may signal."""
    if instance.status.is_elsewhere():
        raise UserError(
            f"the launcher of {instance.name} lives in another PID namespace, a container most"
            " likely, and cannot be signalled from here",
            fix=(
                "run this command where it was brought up: by `docker exec` or `kubectl exec`, for"
                " example"
            ),
            status=Exit.NO,
        )


def processes(instance: StateDir) -> list[int]:
    """The processes that live below the launcher, as the kernel has it now."""
    launcher = instance.look().pids.launcher
    return descendants(launcher) if launcher else []
