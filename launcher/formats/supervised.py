"""A container with `glm5-serve up` as its first process, in an image of the repository's
Containerfile: the profile is resolved inside, and restarts are the launcher's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from launcher.formats import alone
from launcher.formats.spec import KEY, Mount, Probes, Spec, Wish, called
from launcher.plan.plan import Plan

COMMAND = "/opt/glm5-serve/bin/glm5-serve"  # as the Containerfile has it
STATE = "/var/lib/glm5-serve"  # root's: its history stays when the container is another
PROFILES = "/etc/glm5-serve/profiles"
BEGUN = 600  # seconds in which it has judged the host and answers: not those of the start


def spec(plan: Plan, wish: Wish, packaged: Path) -> Spec:
    """The container of a plan; `packaged` is the folder of the profiles that its image has, too.

    Raises UserError for what cannot be in one.
    """
    host, port = _health(plan)
    return replace(
        alone.spec(plan, wish),
        head=tuple(alone.head(plan, wish)),
        entry=(COMMAND,),
        command=tuple(_words(plan, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")),
        env=dict(plan.words["environment"]),
        mounts=(*alone.beside(plan), *_own(plan, packaged)),
        probes=Probes(host, port, "/ready", "/live", "/live", BEGUN),
        drain=round(plan.policy.stop_timeout + plan.policy.drain_delay),
        restart="no",
        # py-spy's, for the stacks of a server that hangs
        capabilities=("SYS_PTRACE", *(("IPC_LOCK",) if wish.rdma else ())),
        own_init=True,
    )


def _health(plan: Plan) -> tuple[str, int]:
    """Where the launcher answers: as its profile says, else beside the server."""
    host, _, port = plan.health_listen.rpartition(":")
    if port:
        return host.strip("[]"), int(port)
    return plan.host, plan.port + 1 if plan.port < 65535 else plan.port - 1


def _words(plan: Plan, listens: str) -> Iterator[str]:
    """What `up` is told: what it was told here, but for what has another place inside."""
    yield from ("up", "--profile", plan.name)
    for setting in plan.words["settings"]:
        yield from ("--set", setting)
    if plan.python != "python3":
        yield from ("--set", "engine.python=python3")
    if plan.key_file:
        yield from ("--api-key-file", KEY)
    if not plan.health_listen:
        yield from ("--health-listen", listens)


def _own(plan: Plan, packaged: Path) -> Iterator[Mount]:
    yield Mount(f"{called(plan.name)}-state", STATE, is_writable=True)
    folder = Path(plan.words["profile"]).parent
    if folder.resolve() != packaged.resolve():
        yield Mount(str(folder), PROFILES)
