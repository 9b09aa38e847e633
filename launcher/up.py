"""Bringing a profile up: resolve, claim, check, and become the supervisor, or start one and watch it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from launcher import capability, console
from launcher.errors import Exit
from launcher.events import WISHES
from launcher.instance import Instance
from launcher.plan import to_json
from launcher.planning import planned
from launcher.preflight import require
from launcher.resolve import Ask
from launcher.serverlog import rotate

LARGEST_LOG = 8 << 20  # bytes of what detached launchers printed, when another begins
LOOK_EVERY = 0.05  # seconds between looks at the events of a detached launcher


def up(ask: Ask, environ: Mapping[str, str], allow: Sequence[str] = (), *, detach: bool, as_json: bool) -> int:
    """Bring a profile up; in the foreground this does not return.

    Raises RefusalError when something is in the way, be it a failed check that is not in `allow`: nothing was
    started then.
    """
    from launcher.doctor import require_fit, suspects

    capability.lay_down()
    plan, instance = planned(ask, environ)
    lock = instance.claim()
    plan = replace(plan, allowed=(*plan.allowed, *allow))  # kept with it, for a restart
    require(plan, environ)
    plan = replace(plan, suspects=suspects(plan, require_fit(plan, environ, as_json=as_json)))
    try:
        instance.write(instance.plan, to_json(plan))
    except OSError as error:
        raise instance.cannot_write(error) from None
    if detach:
        return _watch(instance, lock, console.screen(console.kind_for(sys.stderr, as_json=as_json)))
    _become_supervisor(instance, lock, console.kind_for(sys.stderr, as_json=as_json))


def supervisor_command(instance: Instance, screen: str, lock: int) -> list[str]:
    """The supervisor's own command. It is a new program, so that what was imported here does not stay."""
    return [sys.executable, "-P", "-m", "launcher.supervise", str(instance.folder), screen, str(lock)]


def _become_supervisor(instance: Instance, lock: int, screen: str) -> NoReturn:
    os.set_inheritable(lock, True)
    # They stay pending while the new program is young, and are delivered when it can answer them.
    signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)
    command = supervisor_command(instance, screen, lock)
    capability.take_up()
    os.execv(command[0], command)


def _watch(instance: Instance, lock: int, show: Callable[[dict[str, Any]], None]) -> int:
    """Start the supervisor in a session of its own and show what it says until it is ready, or is not to be.

    Whoever interrupts the watching stops the launcher, and sees how it goes.
    """
    seen = instance.told()
    if instance.launcher_log.exists() and instance.launcher_log.stat().st_size > LARGEST_LOG:
        rotate(instance.launcher_log, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)
    with instance.launcher_log.open("ab") as log:
        launcher = subprocess.Popen(
            supervisor_command(instance, "plain", lock),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,
        )
    os.close(lock)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: launcher.send_signal(signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WISHES)
    events = read_events(instance.events, seen, lambda: launcher.poll() is None)
    return show_until_settled(events, show, lambda: _said_last(instance, launcher))


def _said_last(instance: Instance, launcher: subprocess.Popen[bytes]) -> int:
    status = launcher.wait()
    if status not in (Exit.FINE, Exit.NO):
        with contextlib.suppress(OSError):
            print(instance.launcher_log.read_text()[-2000:], file=sys.stderr)
    return status if status > 0 else Exit.NO


def show_until_settled(
    events: Iterator[dict[str, Any]], show: Callable[[dict[str, Any]], None], at_end: Callable[[], int]
) -> int:
    """Show events until one says that it has become ready (0); `at_end` if the last one does not.

    A ready server tells its state again when a health check fails or is answered again: that is no news here.
    """
    for event in events:
        show(event)
        if event.get("event") == "state" and event["state"] == "ready" and event["moved"]:
            return Exit.FINE
    return at_end()


def read_events(path: Path, offset: int, going_on: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """Events from byte `offset` on as they are written, until `going_on` says no more will be."""
    file, rest = None, b""
    with contextlib.ExitStack() as stack:
        while True:
            alive = going_on()  # asked first: what was written before the end is still read
            if file is None:
                with contextlib.suppress(FileNotFoundError):
                    file = stack.enter_context(path.open("rb"))
                    file.seek(offset)
            rotated = file is not None and not _is_at(path, file)  # nothing is added to one that was moved away
            *lines, rest = (rest + (file.read() if file else b"")).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError):  # a full disk cuts lines short
                    yield json.loads(line)
            if rotated:
                stack.close()
                file, offset, rest = None, 0, b""
            elif not alive:
                return
            else:
                time.sleep(LOOK_EVERY)


def _is_at(path: Path, file: BinaryIO) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    return False
