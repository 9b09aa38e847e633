"""Asking hosts over ssh, many at once, each within a deadline; nothing is installed or written
there.

It is the system's `ssh` with its user's configuration, keys and known hosts; it asks nobody for
anything, forwards nothing, and only what a shell reads from standard input is run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shlex
import signal
import time
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import UserError
from launcher.files import programs
from launcher.host.facts import Host
from launcher.host.inventory import Target
from launcher.host.remote_refusals import Unreachable, Way
from launcher.host.remote_reply import Reply, read

SCRIPT = Path(__file__).with_name("collect.sh")
MOST_SAID = 64 << 20  # bytes of an answer; a script's has 50 kB to some MB, of the kernel's log
MOST_ERRORS = 64 << 10
PIECE = 64 << 10  # that is read at once
AT_ONCE = 64  # connections
CONNECT = 10  # seconds to a banner, at most; ssh counts in whole ones
ALIVE = 5  # seconds between questions to a silent sshd; two that are not answered end it
OPTIONS = (
    "BatchMode=yes",
    "ConnectionAttempts=1",
    f"ServerAliveInterval={ALIVE}",
    "ServerAliveCountMax=2",
    "ClearAllForwardings=yes",
    "ControlMaster=no",  # else a master stays behind, and holds our pipes
    "ForwardAgent=no",
    "ForwardX11=no",
    "LogLevel=ERROR",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
)
PROFILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Ask:
    """What each host is asked, and how."""

    how: str = "auto"  # facts: by its own glm5-serve; script: without; auto: that if it is there
    deadline: float = 30.0  # seconds, for a host
    profile: str | None = None  # a name; what another host has of that name may be another
    python: str = "python3"  # the engine's; "": none is run
    packages: tuple[str, ...] = ()
    model: str = ""  # whose fingerprint is made
    sudo: bool = False
    config: Path | None = None  # of ssh, in place of the user's


@dataclass(frozen=True)
class Answer:
    """A host that was asked: its facts, or why there are none."""

    target: Target
    seen: Host | Unreachable
    seconds: float


def ask(targets: Sequence[Target], what: Ask, environ: Mapping[str, str]) -> list[Answer]:
    """Ask all hosts, in the order in which they are given.

    It takes one deadline for every AT_ONCE hosts. Raises UserError where there is no ssh.
    """
    try:
        ssh = programs.find("ssh", environ)
    except programs.NoProgramError as error:
        raise UserError(str(error), fix="install it: apt install openssh-client") from None
    return asyncio.run(_all(ssh, targets, what, environ))


async def _all(
    ssh: str, targets: Sequence[Target], what: Ask, environ: Mapping[str, str]
) -> list[Answer]:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(target: Target) -> Answer:
        async with free:
            return await _one(ssh, target, what, environ)

    return list(await asyncio.gather(*map(one, targets)))


async def _one(ssh: str, target: Target, what: Ask, environ: Mapping[str, str]) -> Answer:
    mark = f"glm5-{secrets.token_hex(16)}"  # nothing that a program prints is taken for it
    reply = await _talk(command(ssh, target, what), script(what, mark), what.deadline, environ)
    has_agent = bool(environ.get("SSH_AUTH_SOCK"))
    way = Way(target, what.config)
    seen = read(reply, mark, way, what.deadline, has_agent=has_agent)
    return Answer(target, seen, reply.seconds)


def command(ssh: str, target: Target, what: Ask) -> list[str]:
    """The words of ssh for a host; what is run there comes on standard input."""
    connect = max(1, min(CONNECT, int(what.deadline) - 1))  # its own words come before we end it
    words = [ssh, "-T", "-x", "-a"]
    words += ["-F", str(what.config.absolute())] if what.config else []
    for option in (*OPTIONS, f"ConnectTimeout={connect}"):
        words += ["-o", option]
    words += ["-l", target.user] if target.user else []
    words += ["-p", str(target.port)] if target.port else []
    return [*words, "--", target.address, "sh -s"]


def script(what: Ask, mark: str) -> bytes:
    """What a shell reads there: the values of its variables, then the script."""
    values = {
        "MARK": mark,
        "HOW": what.how,
        "PROFILE": what.profile or "",
        "PYTHON": what.python,
        "PACKAGES": " ".join(what.packages),
        "MODEL": what.model,
        "SUDO": "yes" if what.sudo else "no",
    }
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return head.encode() + SCRIPT.read_bytes()


async def _talk(
    words: Sequence[str], text: bytes, deadline: float, environ: Mapping[str, str]
) -> Reply:
    """Run ssh, and take it down with all it started when it is late, or when we are ended."""
    begin = time.monotonic()
    loop = asyncio.get_running_loop()
    transport, pipes = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(PIECE, loop),
        *words,
        env={**environ, "LC_ALL": "C"},
        cwd=programs.ROOT,
        start_new_session=True,
    )
    child = Process(transport, pipes, loop)
    assert child.stdin
    assert child.stdout
    assert child.stderr
    said, errors = bytearray(), bytearray()
    status = None
    try:
        async with asyncio.timeout(deadline):
            await asyncio.gather(
                _write(child.stdin, text),
                _read(child.stdout, said, MOST_SAID),
                _read(child.stderr, errors, MOST_ERRORS),
            )
            status = await child.wait()
    except TimeoutError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        transport.close()  # who left the group may hold its pipes for longer than we wait
        await child.wait()
    return Reply(bytes(said), errors.decode(errors="replace"), status, time.monotonic() - begin)


async def _write(stream: asyncio.StreamWriter, text: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # ssh says why itself
        stream.write(text)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


async def _read(stream: asyncio.StreamReader, into: bytearray, most: int) -> None:
    """All that comes; what is more than `most` is read and dropped, so that nobody waits."""
    while piece := await stream.read(PIECE):
        into += piece[: max(0, most - len(into))]
